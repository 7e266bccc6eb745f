//! Bytes as the story of a client's session: what server, network, application and clock do, in any order. Whatever it
//! is, the contract of the session holds.
#![no_main]

mod driver;
#[path = "../server_session/peer.rs"]
mod peer;

use std::time::Duration;

use engineio_core::client::Config;
use engineio_core::{DisconnectReason, Revision, Transport};
use engineio_fuzz::Script;
use libfuzzer_sys::fuzz_target;

use driver::{Driver, Kind};

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    let config = config(&mut script);
    let transport = script.pick(&[Transport::Polling, Transport::WebSocket]);
    let mut driver = Driver::new(config, transport);
    if script.byte() & 1 == 0 {
        driver.open_in_good_order(&mut script);
    }
    while !script.is_over() {
        step(&mut script, &mut driver);
    }
    driver.end();
});

fn config(script: &mut Script<'_>) -> Config {
    let revision = script.pick(&[Revision::V4, Revision::V3]);
    let upgrades: &[Transport] = match script.byte() & 3 {
        0 => &[Transport::WebSocket],
        2 => &[Transport::WebSocket, Transport::WebTransport],
        _ => &[],
    };
    let mut millis = || Duration::from_millis(script.pick(&[1_000, 100, 0, 25_000, u64::MAX]));
    Config {
        revision,
        upgrades: upgrades.iter().copied().collect(),
        open_timeout: millis(),
        upgrade_timeout: millis(),
        close_timeout: millis(),
        max_post_packets: script.pick(&[16, 1, usize::MAX]),
        max_poll_packets: script.pick(&[100_000, 3, 0]),
        allow_separator: false,
        outbox_limit: script.pick(&[1 << 20, 300, 0]),
        inbox_limit: script.pick(&[1 << 20, 300, 0]),
    }
}

fn step(script: &mut Script<'_>, driver: &mut Driver) {
    const REASONS: [DisconnectReason; 4] = [
        DisconnectReason::TransportClose,
        DisconnectReason::TransportError,
        DisconnectReason::Refused,
        DisconnectReason::PayloadTooLarge,
    ];
    match script.below(20) {
        0..=3 => driver.answer_poll(script),
        4 => driver.open_by_poll(script),
        5 => driver.fail(script, Kind::Poll, REASONS),
        6 | 7 => driver.answer_post(script),
        8 => driver.fail(script, Kind::Post, REASONS),
        9 => driver.open_websocket(script),
        10 | 11 => {
            let frame = driver.peer.frame(script);
            driver.frame(script, frame);
        }
        12 => driver.say(script),
        13 => driver.lose_websocket(script, REASONS),
        14 => driver.send(script.bytes().len()),
        15 => driver.wait(Duration::from_millis(script.pick(&[50, 500, 5_000]))),
        16 => driver.take_event(),
        17 => driver.write(),
        18 => driver.take_all_events(),
        _ => match script.below(3) {
            0 => driver.close(),
            1 => driver.abort(),
            _ => driver.wait_for_deadline(),
        },
    }
}
