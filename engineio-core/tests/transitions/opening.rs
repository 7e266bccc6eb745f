//! Before the application has decided, rows 1 to 4.

use engineio_core::server::Input;
use engineio_core::{Config, DisconnectReason, Message, Refusal, SendError, Transport};

use crate::support::{Rig, Seen, payload, secs, text};

const OPEN_BY_POLLING: &str = r#"0{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
const OPEN_BY_WEBSOCKET: &str = r#"0{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;

// row 1
#[test]
fn the_handshake_by_polling_gets_the_open_packet_and_what_was_sent_before() {
    let mut rig = Rig::opening(Config::default());
    rig.send("welcome");
    rig.try_send(Message::from([1, 2])).unwrap();
    assert_eq!(rig.seen(), []);
    assert_eq!(rig.session.poll_timeout(), None);

    let handshake = rig.accept_polling();
    let body = format!("{OPEN_BY_POLLING}\u{1e}4welcome\u{1e}bAQI=");
    assert_eq!(rig.seen(), [payload(handshake, &body)]);
    assert!(rig.session.is_open());
    assert_eq!(rig.time_left(), Some(secs(25)));
}

#[test]
fn the_handshake_announces_no_upgrade_that_is_not_offered() {
    let mut rig = Rig::opening(Config {
        allow_upgrades: false,
        ..Config::default()
    });
    let handshake = rig.accept_polling();
    let body = OPEN_BY_POLLING.replace(r#"["websocket"]"#, "[]");
    assert_eq!(rig.seen(), [payload(handshake, &body)]);
    assert_eq!(
        rig.session.may_upgrade(Transport::WebSocket),
        Err(Refusal::BadRequest)
    );
}

// row 2
#[test]
fn a_session_opened_by_websocket_gets_the_open_packet_and_what_was_sent_before_as_frames() {
    let mut rig = Rig::opening(Config::default());
    rig.send("welcome");
    rig.try_send(Message::from([1, 2])).unwrap();

    let websocket = rig.accept_websocket();
    assert_eq!(
        rig.seen(),
        [
            text(websocket, OPEN_BY_WEBSOCKET),
            text(websocket, "4welcome"),
            Seen::Binary(websocket, vec![1, 2].into()),
        ]
    );
    assert_eq!(rig.time_left(), Some(secs(25)));
}

// row 3
#[test]
fn a_session_closed_before_it_was_accepted_tells_the_application_nothing() {
    let mut rig = Rig::opening(Config::default());
    rig.send("never sent");
    rig.close();
    assert_eq!(rig.seen(), [Seen::Finished]);
    assert_eq!(rig.session.queued_bytes(), 0);
    assert_eq!(rig.session.closed(), Some(DisconnectReason::Server));
    assert_eq!(rig.session.poll_timeout(), None);
    let late = rig.try_send(Message::from("late"));
    assert_eq!(late, Err(SendError::Closed(Message::from("late"))));
}

#[test]
fn a_client_that_is_accepted_after_the_close_is_refused_and_does_not_hang() {
    let mut rig = Rig::opening(Config::default());
    rig.abort(DisconnectReason::Shutdown);
    let handshake = rig.accept_polling();
    let websocket = rig.accept_websocket();
    assert_eq!(
        rig.seen(),
        [
            Seen::Finished,
            Seen::PollRefused(handshake, Refusal::UnknownSid),
            Seen::WebSocketClosed(websocket, DisconnectReason::TransportError),
        ]
    );
}

// row 4
#[test]
fn requests_for_a_session_that_is_not_accepted_yet_are_refused() {
    let mut rig = Rig::opening(Config::default());
    let poll = rig.poll();
    let post = rig.begin_post();
    rig.finish_post(post, "4too early");
    let websocket = rig.open_websocket();
    rig.frame(websocket, "2probe");
    rig.input(Input::Timeout);
    assert_eq!(
        rig.seen(),
        [
            Seen::PollRefused(poll, Refusal::UnknownSid),
            Seen::PostRefused(post, Refusal::UnknownSid),
            Seen::WebSocketClosed(websocket, DisconnectReason::TransportError),
        ]
    );
    assert_eq!(
        rig.session.may_upgrade(Transport::WebSocket),
        Err(Refusal::BadRequest)
    );

    // The session itself is untouched by that.
    let handshake = rig.accept_polling();
    assert_eq!(rig.seen(), [payload(handshake, OPEN_BY_POLLING)]);
}
