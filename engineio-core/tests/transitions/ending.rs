//! The client closes, the application aborts, and what comes after the end: rows 34 to 36, 44 and 45.

use engineio_core::server::{Event, Input};
use engineio_core::{DisconnectReason, Message, Refusal, SendError, Timer, Transport};

use crate::support::{Rig, Seen, message, ms, payload, secs};

fn closed_by_client() -> [Seen; 2] {
    [Seen::Closed(DisconnectReason::Client), Seen::Finished]
}

// row 34
#[test]
fn a_close_packet_by_post_ends_the_poll_that_waits_with_a_noop() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    let post = rig.post("4a\u{1e}1\u{1e}4b");
    let [closed, finished] = closed_by_client();
    assert_eq!(
        rig.seen(),
        [
            Seen::PostOk(post),
            payload(poll, "6"),
            message("a"),
            closed,
            finished,
        ]
    );
}

// row 35
#[test]
fn a_close_packet_without_a_poll_leaves_a_second_for_the_poll_that_it_overtook() {
    let mut rig = Rig::polling();
    let post = rig.post("1");
    let closed = Seen::Closed(DisconnectReason::Client);
    assert_eq!(rig.seen(), [Seen::PostOk(post), closed]);
    assert_eq!(rig.session.timeout_reason(), Some(Timer::Linger));
    rig.wait(ms(999));
    let poll = rig.poll();
    assert_eq!(rig.seen(), [payload(poll, "6"), Seen::Finished]);
    assert_eq!(rig.session.poll_timeout(), None);
    let poll = rig.poll();
    assert_eq!(rig.seen(), [Seen::PollRefused(poll, Refusal::UnknownSid)]);
}

#[test]
fn a_client_that_closed_and_does_not_poll_is_forgotten_after_a_second() {
    let mut rig = Rig::polling();
    rig.post("1");
    rig.seen();
    rig.wait(secs(1));
    assert_eq!(rig.seen(), [Seen::Finished]);
    assert_eq!(rig.session.poll_timeout(), None);
    let poll = rig.poll();
    assert_eq!(rig.seen(), [Seen::PollRefused(poll, Refusal::UnknownSid)]);
}

#[test]
fn a_close_packet_by_post_ends_an_upgrade_too() {
    let (mut rig, websocket) = Rig::probed();
    let post = rig.post("1");
    assert_eq!(
        rig.seen(),
        [
            Seen::PostOk(post),
            Seen::WebSocketClosed(websocket, DisconnectReason::Client),
            Seen::Closed(DisconnectReason::Client),
        ]
    );
    let poll = rig.poll();
    assert_eq!(rig.seen(), [payload(poll, "6"), Seen::Finished]);
}

// row 36
#[test]
fn a_close_packet_by_websocket_is_honoured_at_once() {
    let (mut rig, websocket) = Rig::websocket();
    rig.frame(websocket, "1");
    rig.frame(websocket, "4late");
    let [closed, finished] = closed_by_client();
    assert_eq!(
        rig.seen(),
        [
            Seen::WebSocketClosed(websocket, DisconnectReason::Client),
            closed,
            finished,
        ]
    );
    assert_eq!(
        rig.session.poll_timeout(),
        None,
        "no poll can be on its way"
    );
}

// row 44
#[test]
fn an_abort_releases_everything_and_drops_the_queue() {
    let (mut rig, websocket) = Rig::probed();
    rig.client_is_slow = true;
    let poll = rig.poll();
    let post = rig.begin_post();
    rig.send("dropped");
    rig.abort(DisconnectReason::SlowConsumer);
    rig.client_is_slow = false;
    rig.drive();
    assert_eq!(
        rig.seen(),
        [
            Seen::PostRefused(post, Refusal::BadRequest),
            Seen::WebSocketClosed(websocket, DisconnectReason::SlowConsumer),
            Seen::Closed(DisconnectReason::SlowConsumer),
            Seen::Finished,
            payload(poll, "1"),
        ]
    );
    assert_eq!(rig.session.queued_bytes(), 0);
    assert_eq!(rig.session.poll_timeout(), None);
}

// row 44
#[test]
fn messages_that_the_application_has_not_taken_are_dropped_if_it_aborts_or_panics() {
    use DisconnectReason::{HandlerPanic, PingTimeout, Server};
    for (reason, kept) in [(Server, false), (HandlerPanic, false), (PingTimeout, true)] {
        let mut rig = Rig::polling();
        rig.app_is_busy = true;
        rig.post("4one\u{1e}4two");
        assert_eq!(rig.take_event(), Some(Event::Message("one".into())));
        rig.abort(reason);
        if kept {
            assert_eq!(rig.take_event(), Some(Event::Message("two".into())));
        }
        assert_eq!(rig.take_event(), Some(Event::Closed(reason)));
        assert_eq!(rig.take_event(), None);
    }
}

/// A client that has left has said all that it wanted to say, unless the application cannot hear it any more.
#[test]
fn messages_of_a_client_that_has_left_are_dropped_only_for_a_panic() {
    for reason in [DisconnectReason::Server, DisconnectReason::HandlerPanic] {
        let mut rig = Rig::polling();
        rig.app_is_busy = true;
        rig.post("4last\u{1e}1");
        rig.abort(reason);
        if reason == DisconnectReason::Server {
            assert_eq!(rig.take_event(), Some(Event::Message("last".into())));
        }
        let closed = Event::Closed(DisconnectReason::Client);
        assert_eq!(rig.take_event(), Some(closed));
    }
}

#[test]
fn an_abort_cuts_an_orderly_close_short() {
    let mut rig = Rig::polling();
    rig.send("dropped");
    rig.close();
    rig.abort(DisconnectReason::Shutdown);
    assert_eq!(
        rig.seen(),
        [Seen::Closed(DisconnectReason::Shutdown), Seen::Finished]
    );
}

// row 45
#[test]
fn a_closed_session_refuses_what_comes_and_tells_nothing_twice() {
    let (mut rig, websocket) = Rig::websocket();
    rig.abort(DisconnectReason::Server);
    rig.seen();

    let poll = rig.poll();
    let post = rig.begin_post();
    let late = rig.open_websocket();
    let handshake = rig.accept_polling();
    assert_eq!(
        rig.seen(),
        [
            Seen::PollRefused(poll, Refusal::UnknownSid),
            Seen::PostRefused(post, Refusal::UnknownSid),
            Seen::WebSocketClosed(late, DisconnectReason::TransportError),
            Seen::PollRefused(handshake, Refusal::UnknownSid),
        ]
    );

    rig.finish_post(post, "4late");
    rig.input(Input::PostTooLarge(post));
    rig.input(Input::PostAborted(post));
    rig.input(Input::PollAborted(poll));
    rig.frame(websocket, "4late");
    rig.input(Input::LinkClosed(
        websocket,
        DisconnectReason::TransportClose,
    ));
    rig.wait(secs(100));
    rig.close();
    rig.abort(DisconnectReason::Shutdown);
    assert_eq!(rig.seen(), []);
    assert_eq!(rig.session.closed(), Some(DisconnectReason::Server));
    assert_eq!(
        rig.session.may_upgrade(Transport::WebSocket),
        Err(Refusal::UnknownSid)
    );
    let refused = rig.try_send(Message::from("late"));
    assert_eq!(refused, Err(SendError::Closed(Message::from("late"))));
}

#[test]
fn the_last_poll_given_up_before_its_answer_is_just_gone() {
    let mut rig = Rig::polling();
    rig.client_is_slow = true;
    let poll = rig.poll();
    rig.abort(DisconnectReason::Server);
    rig.input(Input::PollAborted(poll));
    rig.client_is_slow = false;
    rig.drive();
    assert_eq!(
        rig.seen(),
        [Seen::Closed(DisconnectReason::Server), Seen::Finished]
    );
}

#[test]
fn by_what_the_client_was_reached_is_known_after_the_end() {
    let (mut rig, websocket) = Rig::websocket();
    rig.input(Input::LinkClosed(
        websocket,
        DisconnectReason::TransportClose,
    ));
    assert_eq!(rig.session.transport(), Transport::WebSocket);

    let (mut rig, websocket) = Rig::probed();
    rig.frame(websocket, "5");
    rig.abort(DisconnectReason::Server);
    assert_eq!(rig.session.transport(), Transport::WebSocket);

    let mut rig = Rig::polling();
    rig.post("1");
    assert_eq!(rig.session.transport(), Transport::Polling);
}
