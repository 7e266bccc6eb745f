//! The client's machine against the server's, on a simulated wire.

mod pair_support;
#[path = "support/vigil.rs"]
mod vigil;

use std::time::Duration;

use engineio_core::client::{self, ProbeFailure};
use engineio_core::server;
use engineio_core::{Config, DisconnectReason, Revision, Transport, Transports};
use pair_support::Pair;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn numbered(prefix: char, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

fn transports(pair: &Pair) -> (Transport, Transport) {
    let server = pair.server.as_ref().expect("no server");
    (pair.client.transport(), server.transport())
}

/// The transports to which a session may be upgraded.
fn if_any(upgrade: bool) -> Transports {
    match upgrade {
        true => Transports::ALL,
        false => Transports::from_iter([]),
    }
}

#[test]
fn a_session_upgrades_and_stays_alive() {
    let mut pair = Pair::open(Transport::Polling);
    pair.advance(secs(1));
    assert_eq!(
        transports(&pair),
        (Transport::WebSocket, Transport::WebSocket)
    );
    pair.advance(secs(3600));
    assert!(pair.client.is_open(), "{:?}", pair.client_events);
    pair.check();
}

#[test]
fn a_session_on_polling_stays_alive() {
    let config = client::Config {
        upgrades: if_any(false),
        ..client::Config::default()
    };
    let mut pair = Pair::with(config, Config::default(), Transport::Polling);
    pair.advance(secs(3600));
    pair.client_send();
    pair.server_send();
    pair.advance(secs(1));
    assert_eq!(transports(&pair), (Transport::Polling, Transport::Polling));
    assert_eq!(pair.texts_of_server(), ["c0"]);
    assert_eq!(pair.texts_of_client(), ["s0"]);
    pair.check();
}

#[test]
fn messages_sent_during_an_upgrade_arrive_once_and_in_order() {
    for latency in [0, 1, 7, 40, 150] {
        let mut pair = Pair::new(Transport::Polling);
        pair.latency = ms(latency);
        for _ in 0..100 {
            pair.server_send();
            pair.client_send();
            pair.advance(ms(7));
            pair.check();
        }
        pair.advance(secs(2));
        assert_eq!(pair.texts_of_client(), pair.server_sent);
        assert_eq!(pair.texts_of_server(), numbered('c', 100));
        assert_eq!(
            transports(&pair),
            (Transport::WebSocket, Transport::WebSocket)
        );
    }
}

#[test]
fn a_refused_websocket_costs_nothing() {
    let mut pair = Pair::open(Transport::Polling);
    pair.refuse_websocket = true;
    for _ in 0..20 {
        pair.server_send();
        pair.client_send();
        pair.advance(ms(5));
    }
    pair.advance(secs(60));
    let failure = ProbeFailure::Closed(DisconnectReason::Refused);
    assert!(
        pair.client_events
            .contains(&client::Event::UpgradeFailed(failure))
    );
    assert_eq!(transports(&pair), (Transport::Polling, Transport::Polling));
    assert_eq!(pair.texts_of_client(), numbered('s', 20));
    assert_eq!(pair.texts_of_server(), numbered('c', 20));
    pair.check();
}

#[test]
fn a_websocket_that_breaks_at_any_moment_of_the_upgrade_loses_nothing_before_it_is_used() {
    for moment in 0..12 {
        let mut pair = Pair::open(Transport::Polling);
        (0..moment).for_each(|_| pair.advance(ms(5)));
        pair.client_send();
        pair.server_send();
        let upgraded = pair.client.transport() == Transport::WebSocket;
        pair.close_websocket();
        pair.client_send();
        pair.advance(secs(1));
        pair.check();
        if !upgraded && pair.client.is_open() {
            assert_eq!(pair.texts_of_server(), pair.client_sent);
            assert_eq!(pair.texts_of_client(), pair.server_sent);
        }
    }
}

#[test]
fn two_transports_are_tried_and_messages_arrive_once_and_in_order() {
    use Transport::{WebSocket, WebTransport};

    // WebSocket is tried after 200 ms, and the one that answers first wins.
    for (latency, webtransport, expected) in [
        (1, 0, WebTransport),
        (40, 0, WebTransport),
        (1, 150, WebTransport),
        (40, 190, WebTransport),
        (1, 300, WebSocket),
        (7, 5_000, WebSocket),
        (150, 20_000, WebSocket),
    ] {
        let all: Transports = [Transport::Polling, WebSocket, WebTransport]
            .into_iter()
            .collect();
        let client = client::Config {
            upgrades: all,
            ..client::Config::default()
        };
        let server = Config {
            transports: all,
            ..Config::default()
        };
        let mut pair = Pair::with(client, server, Transport::Polling);
        pair.latency = ms(latency);
        pair.webtransport_delay = ms(webtransport);
        for _ in 0..200 {
            pair.server_send();
            pair.client_send();
            pair.advance(ms(7));
            pair.check();
        }
        pair.advance(secs(30));
        assert_eq!(transports(&pair), (expected, expected), "{webtransport}");
        assert_eq!(pair.texts_of_server(), pair.client_sent);
        assert_eq!(pair.texts_of_client(), pair.server_sent);
        pair.check();
    }
}

#[test]
fn a_session_of_revision_3_upgrades_and_stays_alive() {
    for upgrade in [true, false] {
        let config = client::Config {
            revision: Revision::V3,
            upgrades: if_any(upgrade),
            ..client::Config::default()
        };
        let mut pair = Pair::with(config, Config::default(), Transport::Polling);
        pair.advance(secs(3600));
        assert!(pair.client.is_open(), "{:?}", pair.client_events);
        assert_eq!(pair.client.transport() == Transport::WebSocket, upgrade);
        pair.client_send();
        pair.server_send();
        pair.is_cut = true;
        pair.advance(secs(30));
        assert!(pair.client.is_open());
        pair.advance(secs(20));
        assert_eq!(pair.client.closed(), Some(DisconnectReason::PingTimeout));
        pair.check();
    }
}

#[test]
fn both_ends_notice_a_cut() {
    for transport in [Transport::Polling, Transport::WebSocket] {
        let mut pair = Pair::open(transport);
        pair.advance(secs(1));
        pair.is_cut = true;
        pair.advance(secs(43));
        assert!(pair.client.is_open());
        pair.advance(secs(5));
        assert_eq!(pair.client.closed(), Some(DisconnectReason::PingTimeout));
        let server = pair.server.as_ref().expect("no server");
        assert_eq!(server.closed(), Some(DisconnectReason::PingTimeout));
        pair.check();
    }
}

#[test]
fn an_aborted_poll_ends_both() {
    let mut pair = Pair::open(Transport::Polling);
    pair.refuse_websocket = true;
    pair.advance(secs(1));
    pair.abort_poll();
    pair.advance(secs(1));
    assert_eq!(pair.client.closed(), Some(DisconnectReason::TransportError));
    let server = pair.server.as_ref().expect("no server");
    assert_eq!(server.closed(), Some(DisconnectReason::TransportError));
    pair.check();
}

#[test]
fn an_orderly_close_of_the_client_brings_everything_out() {
    for (transport, upgrade) in [
        (Transport::Polling, false),
        (Transport::Polling, true),
        (Transport::WebSocket, true),
    ] {
        for moment in 0..12 {
            let config = client::Config {
                upgrades: if_any(upgrade),
                ..client::Config::default()
            };
            let mut pair = Pair::with(config, Config::default(), transport);
            while !pair.client.is_open() {
                pair.step();
            }
            (0..moment).for_each(|_| pair.advance(ms(5)));
            (0..50).for_each(|_| pair.client_send());
            pair.client_close();
            pair.advance(secs(1));
            assert_eq!(pair.client.closed(), Some(DisconnectReason::Client));
            assert_eq!(pair.texts_of_server(), numbered('c', 50));
            let last = pair.server_events.last();
            assert_eq!(last, Some(&server::Event::Closed(DisconnectReason::Client)));
            pair.check();
        }
    }
}

#[test]
fn an_orderly_close_of_the_server_brings_everything_out() {
    for transport in [Transport::Polling, Transport::WebSocket] {
        for moment in 0..12 {
            let mut pair = Pair::open(transport);
            (0..moment).for_each(|_| pair.advance(ms(5)));
            (0..50).for_each(|_| pair.server_send());
            pair.server_close();
            pair.advance(secs(1));
            assert_eq!(pair.client.closed(), Some(DisconnectReason::Server));
            assert_eq!(pair.texts_of_client(), numbered('s', 50));
            pair.check();
        }
    }
}

/// The number of steps, unless the environment names another in `WALK_STEPS`.
const STEPS: usize = 200_000;

/// SplitMix64: small, seedable, and good enough to wander with.
struct Random(u64);

impl Random {
    const fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

#[derive(Debug, Default)]
struct Census {
    upgraded: usize,
    fell_back: usize,
    closed: [usize; 4],
    delivered: usize,
    steps: usize,
}

/// One life of a session, with whatever happens to it.
fn wander(random: &mut Random, census: &mut Census) {
    let transport = match random.next(4) {
        0 => Transport::WebSocket,
        _ => Transport::Polling,
    };
    let server = Config {
        max_payload: [40, 1000, 1_000_000][random.next(3) as usize],
        ..Config::default()
    };
    let config = client::Config {
        revision: [Revision::V4, Revision::V3][usize::from(random.next(3) == 0)],
        ..client::Config::default()
    };
    let mut pair = Pair::with(config, server, transport);
    pair.refuse_websocket = transport == Transport::Polling && random.next(6) == 0;
    let (mut client_closed, mut server_closed, mut faults) = (false, false, false);
    for _ in 0..random.next(300) {
        pair.latency = ms([0, 1, 5, 30, 120][random.next(5) as usize]);
        match random.next(600) {
            0..170 => pair.client_send(),
            170..340 => pair.server_send(),
            340..400 => pair.advance(ms(random.next(40))),
            400..590 => {
                pair.step();
            }
            590 => pair.advance(secs(random.next(60))),
            591 => pair.advance(ms(random.next(1000))),
            592 => (pair.client_close(), client_closed = true).1,
            593 => (pair.server_close(), server_closed = true).1,
            594 => (pair.abort_poll(), faults = true).1,
            595 | 596 => (pair.close_websocket(), faults = true).1,
            597 if random.next(3) == 0 => (pair.is_cut, faults) = (true, true),
            _ => pair.advance(ms(1)),
        }
        pair.check();
    }
    let before = (client_closed, server_closed);
    pair.advance(secs(5));
    pair.check();
    let server = pair.server.as_ref();
    match (pair.client.closed(), before) {
        // Nobody ended it: everything has arrived.
        (None, (false, _)) if !faults && server.is_some_and(server::Session::is_open) => {
            assert_eq!(pair.texts_of_server(), pair.client_sent);
            assert_eq!(pair.texts_of_client(), pair.server_sent);
            census.closed[0] += 1;
        }
        (Some(reason), (true, false)) if !faults => {
            assert_eq!(reason, DisconnectReason::Client);
            // Closed before it was open, a session has brought nothing out.
            if pair.client_events.contains(&client::Event::Opened) {
                assert_eq!(pair.texts_of_server(), pair.client_sent);
            }
            census.closed[1] += 1;
        }
        (Some(reason), (false, true)) if !faults => {
            assert_eq!(reason, DisconnectReason::Server);
            assert_eq!(pair.texts_of_client(), pair.server_sent);
            census.closed[2] += 1;
        }
        (closed, _) => {
            assert!(
                closed.is_none() || faults || before.0 || before.1,
                "{closed:?} by itself"
            );
            census.closed[3] += 1;
        }
    }
    let events = &pair.client_events;
    census.upgraded += usize::from(events.contains(&client::Event::Upgraded));
    let fell_back = |event: &client::Event| matches!(event, client::Event::UpgradeFailed(_));
    census.fell_back += usize::from(events.iter().any(fell_back));
    census.delivered += pair.texts_of_client().len() + pair.texts_of_server().len();
    pair.advance(secs(200));
    pair.check();
    census.steps += pair.steps;
}

#[test]
fn a_random_walk_breaks_no_invariant() {
    let wanted = std::env::var("WALK_STEPS").map_or(STEPS, |steps| steps.parse().unwrap());
    let mut census = Census::default();
    let mut seeds = 0..;
    while census.steps < wanted {
        let seed = seeds.next().unwrap();
        let outcome = engineio_core::driver::catch_panic(|| {
            let mut census = Census::default();
            wander(&mut Random(seed), &mut census);
            census
        });
        let one = outcome.unwrap_or_else(|_| panic!("the walk with seed {seed} failed"));
        census.upgraded += one.upgraded;
        census.fell_back += one.fell_back;
        census.delivered += one.delivered;
        census.steps += one.steps;
        for (sum, n) in census.closed.iter_mut().zip(one.closed) {
            *sum += n;
        }
    }
    // The walk must have been everywhere, or it shows nothing.
    assert!(census.upgraded > 300 && census.fell_back > 50, "{census:?}");
    assert!(census.closed.iter().all(|&n| n > 50), "{census:?}");
    assert!(census.delivered > 50_000, "{census:?}");
    println!("{} walks, {census:?}", seeds.start);
}
