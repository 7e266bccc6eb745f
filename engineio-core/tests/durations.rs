//! Durations of every length: none makes a session panic, spin or wait for nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engineio_core::client;
use engineio_core::server::{First, Input, Session};
use engineio_core::{
    Config, DisconnectReason, Frame, Handshake, Payload, Revision, Sid, Transport,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn every_config() -> impl Iterator<Item = Config> {
    const LENGTHS: [Duration; 4] = [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_secs(1),
        Duration::MAX,
    ];
    (0..LENGTHS.len().pow(4)).map(|choice| {
        let pick = |digit: u32| LENGTHS[choice / LENGTHS.len().pow(digit) % LENGTHS.len()];
        Config {
            ping_interval: pick(0),
            ping_timeout: pick(1),
            upgrade_timeout: pick(2),
            close_timeout: pick(3),
            // The application is slow, so silence is excused.
            inbox_limit: 0,
            ..Config::default()
        }
    })
}

/// A session whose client writes more than the application takes, and begins an upgrade.
fn busy(config: Config, revision: Revision, now: Instant) -> Session {
    let sid = Sid::from_random([0; 15]);
    let mut session = Session::new(Arc::new(config), sid, revision, false);
    let handshake = session.next_exchange();
    session.handle_input(now, Input::Accepted(First::Polling(handshake)));
    session.take_payload(now, handshake).unwrap();
    let post = session.next_exchange();
    session.handle_input(now, Input::PostOpened(post));
    let payload = match revision {
        Revision::V3 => Payload::text("1:22:4a2:4b"),
        _ => Payload::text("4a\u{1e}4b"),
    };
    session.handle_input(now, Input::PostReceived(post, payload));
    let websocket = session.next_link();
    session.handle_input(
        now,
        Input::LinkOpened {
            id: websocket,
            transport: Transport::WebSocket,
            base64: false,
        },
    );
    let probe = Frame::text("2probe");
    session.handle_input(now, Input::LinkFrame(websocket, probe));
    while session.poll_output().is_some() {}
    session
}

/// Goes from deadline to deadline, and returns the time if the session is not over after some of them.
fn pass_deadlines(session: &mut Session, mut now: Instant) -> Option<Instant> {
    for _ in 0..20 {
        let Some(at) = session.poll_timeout() else {
            assert!(session.closed().is_some(), "open, without a deadline");
            return None;
        };
        assert!(at <= now + 21 * DAY, "that is never");
        now = now.max(at);
        session.handle_input(now, Input::Timeout);
        let next = session.poll_timeout();
        assert!(next.is_none_or(|next| next > now), "it spins");
    }
    Some(now)
}

#[test]
fn no_duration_makes_a_session_panic_spin_or_wait_for_ever() {
    let start = Instant::now();
    for revision in [Revision::V3, Revision::V4] {
        for config in every_config() {
            let mut session = busy(config, revision, start);
            if let Some(now) = pass_deadlines(&mut session, start) {
                session.close(now, DisconnectReason::Server);
                assert_eq!(pass_deadlines(&mut session, now), None);
            }
        }
    }
}

#[test]
fn what_is_announced_fits_the_timers_of_javascript() {
    let sid = Sid::from_random([0; 15]);
    for config in every_config() {
        let handshake = Handshake::new(sid, Transport::Polling, &config);
        let handshake = Handshake::from_json(&handshake.to_json()).unwrap();
        let silence = handshake.ping_interval + handshake.ping_timeout;
        assert!(handshake.ping_interval.as_millis() > 0);
        assert!(handshake.ping_timeout.as_millis() > 0);
        // A longer timeout fires at once there.
        assert!(silence.as_millis() < 1 << 31);
    }
}

/// A server can announce no time at all; a client that is slow must not spin for it.
#[test]
fn a_client_whose_server_announces_no_time_does_not_spin() {
    let now = Instant::now();
    let config = client::Config {
        inbox_limit: 0,
        ..client::Config::default()
    };
    let mut session = client::Session::new(now, config, Transport::WebSocket);
    let Some(client::Output::OpenLink(id, Transport::WebSocket)) = session.poll_output() else {
        panic!("a client begins with its WebSocket");
    };
    session.handle_input(now, client::Input::LinkOpened(id));
    for frame in [
        r#"0{"sid":"a","upgrades":[],"pingInterval":0,"pingTimeout":0}"#,
        "4a",
    ] {
        let frame = client::Input::LinkFrame(id, Frame::text(frame));
        session.handle_input(now, frame);
    }
    assert_eq!(session.poll_timeout(), Some(now));
    session.handle_input(now, client::Input::Timeout);
    assert!(session.poll_timeout().is_some_and(|at| at > now));
}
