//! A random walk of clients that send what they like and read nothing, with an application that echoes: each is closed
//! within the time that the documentation of `server::Session` states.

use engineio_core::server::{Event, ExchangeId};
use engineio_core::{Config, DisconnectReason, Message, SendError};

use crate::support::{Rig, Seen, ms, secs};
use crate::xorshift::Xorshift;

const WALKS: u64 = 2_000;

fn packet(random: &mut Xorshift) -> &'static str {
    ["3", "6", "4a", "4a\u{1e}4b", "4a\u{1e}6\u{1e}3\u{1e}4b"][random.below(5)]
}

fn walk(seed: u64) {
    let mut random = Xorshift::new(seed);
    let config = Config {
        ping_interval: secs(1 + random.below(25) as u64),
        ping_timeout: secs(1 + random.below(20) as u64),
        upgrade_timeout: secs(1 + random.below(10) as u64),
        inbox_limit: [0, 200, 10_000][random.below(3)],
        outbox_limit: [1, 500][random.below(2)],
        ..Config::default()
    };
    let longest = config.ping_interval + 5 * config.ping_timeout + config.upgrade_timeout;
    let longest_step = [200, 2_000, 9_000][random.below(3)];
    let mut rig = Rig::polling_with(config);
    rig.client_is_slow = true;
    rig.app_is_busy = true;
    let end = rig.now + longest;
    let mut post: Option<ExchangeId> = None;
    let mut has_poll = false;
    let mut link = None;
    let mut echo: Option<Message> = None;
    while rig.session.closed().is_none() && rig.now <= end {
        match random.below(6) {
            0 | 1 if post.is_none() => post = Some(rig.post(packet(&mut random))),
            2 if !has_poll => {
                rig.poll();
                has_poll = true;
            }
            3 => match link.take() {
                None => link = Some(rig.open_websocket()),
                Some(link) => rig.close_link(link, DisconnectReason::TransportClose),
            },
            4 => {
                if let Some(link) = link {
                    rig.frame(link, "2probe");
                }
            }
            _ => rig.wait(ms(1 + random.below(longest_step) as u64)),
        }
        // The application takes no further message before the echo of the last one is queued.
        loop {
            if let Some(message) = echo.take()
                && let Err(SendError::Full(message)) = rig.try_send(message)
            {
                echo = Some(message);
                break;
            }
            match rig.take_event() {
                Some(Event::Message(message)) => echo = Some(message),
                Some(_) => {}
                None => break,
            }
        }
        let seen = rig.seen();
        post = post.filter(|&post| !seen.contains(&Seen::PostOk(post)));
        let closed = |seen: &Seen| matches!(seen, Seen::WebSocketClosed(..));
        link = link.filter(|_| !seen.iter().any(closed));
    }
    let reason = rig.session.closed();
    assert_eq!(
        reason,
        Some(DisconnectReason::PingTimeout),
        "seed {seed}: after {:?} of {longest:?}",
        longest + rig.now.saturating_duration_since(end)
    );
}

#[test]
fn a_client_that_reads_nothing_is_gone_in_time_whatever_it_sends() {
    for seed in 0..WALKS {
        walk(seed);
    }
}
