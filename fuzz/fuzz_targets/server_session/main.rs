//! Bytes as the story of a session: what requests, WebSockets, application and clock do, in any order. Whatever it is,
//! the contract of the session holds.
#![no_main]

mod driver;
mod peer;
#[path = "../../../engineio-core/tests/support/vigil.rs"]
mod vigil;

use std::time::Duration;

use engineio_core::server::{First, Input};
use engineio_core::{Config, DisconnectReason, Revision, Transport};
use engineio_fuzz::Script;
use libfuzzer_sys::fuzz_target;

use driver::Driver;

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    let revision = script.pick(&[Revision::V4, Revision::V3]);
    let base64 = script.byte() & 1 == 1;
    let mut driver = Driver::new(config(&mut script), revision, base64);
    open(&mut script, &mut driver);
    while !script.is_over() {
        step(&mut script, &mut driver);
    }
    driver.end();
});

fn config(script: &mut Script<'_>) -> Config {
    let mut millis = || Duration::from_millis(script.pick(&[1_000, 100, 0, 25_000, u64::MAX]));
    Config {
        ping_interval: millis(),
        ping_timeout: millis(),
        upgrade_timeout: millis(),
        close_timeout: millis(),
        max_payload: script.pick(&[1_000_000, 40, 0]),
        max_poll_packets: script.pick(&[usize::MAX, 3, 0]),
        outbox_limit: script.pick(&[1 << 20, 300, 0]),
        inbox_limit: script.pick(&[1 << 20, 300, 0]),
        drain_events: script.byte() & 1 == 1,
        allow_upgrades: script.byte() & 1 == 0,
        ..Config::default()
    }
}

fn open(script: &mut Script<'_>, driver: &mut Driver) {
    match script.below(4) {
        0 | 1 => {
            let id = driver.open_exchange();
            driver.accept(First::Polling(id));
        }
        2 => {
            let id = driver.open_websocket();
            driver.accept(First::Link(id, Transport::WebSocket));
        }
        // The application decides later, or never.
        _ => {}
    }
}

fn step(script: &mut Script<'_>, driver: &mut Driver) {
    match script.below(20) {
        0 | 1 => {
            let id = driver.open_exchange();
            driver.input(Input::PollOpened(id));
        }
        2 => {
            let id = driver.open_post();
            driver.input(Input::PostOpened(id));
        }
        3 => {
            let id = driver.open_post();
            driver.input(Input::PostOpened(id));
            driver.receive_post(id, script);
        }
        4 => {
            if let Some(id) = driver.some_post(script) {
                driver.receive_post(id, script);
            }
        }
        5 => {
            if let Some(id) = driver.some_post(script) {
                driver.input(Input::PostWithoutPayload(id));
            }
        }
        6 => {
            if let Some(id) = driver.some_post(script) {
                driver.input(Input::PostTooLarge(id));
            }
        }
        7 => driver.abort_exchange(script),
        8 => {
            let id = driver.open_websocket();
            driver.input(Input::LinkOpened {
                id,
                transport: Transport::WebSocket,
                base64: false,
            });
        }
        9..=11 => {
            if let Some(id) = driver.some_websocket(script) {
                let frame = driver.peer.frame(script);
                driver.frame(id, frame);
            }
        }
        12 => {
            if let Some(id) = driver.some_websocket(script) {
                let reason = script.pick(&[
                    DisconnectReason::TransportClose,
                    DisconnectReason::TransportError,
                ]);
                driver.lose_websocket(id, reason);
            }
        }
        13 => driver.send(script.bytes().len()),
        14 => driver.wait(Duration::from_millis(script.pick(&[50, 500, 5_000]))),
        15 => driver.take_event(),
        16 => driver.take_message(),
        17 => driver.write(),
        18 => driver.take_all_events(),
        _ => match script.below(4) {
            0 => driver.close(),
            1 => driver.abort(),
            2 => driver.accept_late(),
            _ => driver.wait_for_deadline(),
        },
    }
}
