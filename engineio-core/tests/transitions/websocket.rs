//! An open session that is reached by WebSocket, rows 25 to 28.

use bytes::Bytes;
use engineio_core::server::Input;
use engineio_core::{Config, DisconnectReason, Frame, Message, Refusal};

use crate::support::{Rig, Seen, message, text};

// row 25
#[test]
fn polling_requests_for_a_session_on_websocket_are_refused_and_harmless() {
    let (mut rig, websocket) = Rig::websocket();
    let poll = rig.poll();
    let post = rig.begin_post();
    rig.finish_post(post, "4a");
    rig.input(Input::PostTooLarge(post));
    rig.input(Input::PollAborted(poll));
    assert_eq!(
        rig.seen(),
        [
            Seen::PollRefused(poll, Refusal::BadRequest),
            Seen::PostRefused(post, Refusal::BadRequest),
        ],
        "one answer each"
    );
    rig.send("a");
    assert_eq!(rig.seen(), [text(websocket, "4a")]);
}

// row 26
#[test]
fn message_frames_are_events_and_other_packets_out_of_place_are_ignored() {
    let (mut rig, websocket) = Rig::websocket();
    for frame in ["4a", "4", "bAQIDBA==", "0{}", "5", "6"] {
        rig.frame(websocket, frame);
    }
    let binary = Bytes::from_static(b"\x04\x01");
    rig.input(Input::LinkFrame(websocket, Frame::Binary(binary)));
    assert_eq!(
        rig.seen(),
        [
            message("a"),
            message(""),
            Seen::Message(Message::from([1, 2, 3, 4])),
            Seen::Message(Message::from([4, 1])),
        ]
    );
}

#[test]
fn a_full_inbox_stops_the_reading_of_frames() {
    let (mut rig, websocket) = Rig::websocket_with(Config {
        inbox_limit: 1 + Config::PACKET_OVERHEAD,
        ..Config::default()
    });
    rig.app_is_busy = true;
    rig.frame(websocket, "4a");
    assert!(rig.session.wants_input(), "just full");
    rig.frame(websocket, "4b");
    assert!(!rig.session.wants_input());
    rig.take_event();
    assert!(rig.session.wants_input());
}

// row 27
#[test]
fn a_frame_that_is_no_packet_closes_the_session() {
    for frame in ["", "7", "a", " 4", "b!!!!"] {
        let (mut rig, websocket) = Rig::websocket();
        rig.frame(websocket, "4a");
        rig.frame(websocket, frame);
        rig.frame(websocket, "4b");
        assert_eq!(
            rig.seen(),
            [
                message("a"),
                Seen::WebSocketClosed(websocket, DisconnectReason::ParseError),
                Seen::Closed(DisconnectReason::ParseError),
                Seen::Finished,
            ],
            "{frame:?}"
        );
    }
}

// row 28
#[test]
fn a_websocket_that_ends_closes_the_session_for_the_reason_it_ended() {
    for reason in [
        DisconnectReason::TransportClose,
        DisconnectReason::TransportError,
        DisconnectReason::PayloadTooLarge,
    ] {
        let (mut rig, websocket) = Rig::websocket();
        rig.client_is_slow = true;
        rig.send("never read");
        rig.input(Input::LinkClosed(websocket, reason));
        rig.client_is_slow = false;
        rig.drive();
        assert_eq!(
            rig.seen(),
            [Seen::Closed(reason), Seen::Finished],
            "what is gone is not closed again"
        );
        assert_eq!(rig.session.queued_bytes(), 0);
        assert_eq!(rig.session.poll_timeout(), None);
    }
}

#[test]
fn a_websocket_that_ends_releases_the_post_that_was_under_way_at_the_upgrade() {
    let (mut rig, websocket) = Rig::probed();
    let post = rig.begin_post();
    rig.frame(websocket, "5");
    rig.input(Input::LinkClosed(
        websocket,
        DisconnectReason::TransportClose,
    ));
    assert_eq!(
        rig.seen(),
        [
            Seen::Upgraded,
            Seen::PostRefused(post, Refusal::BadRequest),
            Seen::Closed(DisconnectReason::TransportClose),
            Seen::Finished,
        ]
    );
}
