//! An open session that is reached by polling, rows 5 to 14.

use bytes::Bytes;
use engineio_core::server::Input;
use engineio_core::{Config, DisconnectReason, Message, Payload, Refusal};

use crate::support::{Rig, Seen, message, ms, payload};

// row 5
#[test]
fn a_poll_waits_until_something_is_queued_and_takes_all_of_it() {
    let mut rig = Rig::polling();
    rig.send("a");
    rig.try_send(Message::from([1, 2, 3, 4])).unwrap();
    rig.send("€");
    let poll = rig.poll();
    assert_eq!(rig.seen(), [payload(poll, "4a\u{1e}bAQIDBA==\u{1e}4€")]);

    rig.poll();
    assert_eq!(rig.seen(), [], "nothing is queued any more");
}

// row 6
#[test]
fn a_message_answers_the_poll_that_waits() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    rig.wait(ms(500));
    assert_eq!(rig.seen(), []);
    rig.send("now");
    assert_eq!(rig.seen(), [payload(poll, "4now")]);

    // The poll is used up, so the next message waits for the next one.
    rig.send("later");
    assert_eq!(rig.seen(), []);
    assert_eq!(rig.session.queued_messages(), 1);
}

#[test]
fn a_poll_that_was_not_announced_cannot_be_answered() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    let now = rig.now;
    assert_eq!(rig.session.take_payload(now, poll), None);
    rig.send("a");
    assert_eq!(rig.seen(), [payload(poll, "4a")]);
}

#[test]
fn messages_sent_before_the_answer_is_written_travel_with_it() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    rig.client_is_slow = true;
    rig.send("a");
    rig.send("b");
    rig.client_is_slow = false;
    rig.drive();
    assert_eq!(rig.seen(), [payload(poll, "4a\u{1e}4b")]);
}

// row 7
#[test]
fn a_second_poll_closes_the_session_and_both_polls_are_answered() {
    let mut rig = Rig::polling();
    let first = rig.poll();
    let second = rig.poll();
    assert_eq!(
        rig.seen(),
        [
            Seen::PollRefused(second, Refusal::BadRequest),
            payload(first, "1"),
            Seen::Closed(DisconnectReason::TransportError),
            Seen::Finished,
        ]
    );
}

// row 8
#[test]
fn a_poll_given_up_by_the_client_closes_the_session() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    rig.input(Input::PollAborted(poll));
    assert_eq!(
        rig.seen(),
        [
            Seen::Closed(DisconnectReason::TransportError),
            Seen::Finished,
        ]
    );
}

// row 74
#[test]
fn a_poll_that_is_released_gets_a_noop_and_the_session_goes_on() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    rig.input(Input::PollReleased);
    assert_eq!(rig.seen(), [payload(poll, "6")]);
    let poll = rig.poll();
    rig.client_is_slow = true;
    rig.send("a");
    rig.input(Input::PollReleased);
    rig.client_is_slow = false;
    rig.drive();
    assert_eq!(rig.seen(), [payload(poll, "4a")]);
    assert!(rig.session.is_open());
}

// row 75
#[test]
fn without_a_poll_there_is_nothing_to_release() {
    let mut rig = Rig::polling();
    rig.input(Input::PollReleased);
    let poll = rig.poll();
    assert_eq!(rig.seen(), []);
    rig.send("a");
    assert_eq!(rig.seen(), [payload(poll, "4a")]);
}

#[test]
fn giving_up_a_poll_refuses_the_post_under_way() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    let post = rig.begin_post();
    rig.input(Input::PollAborted(poll));
    assert_eq!(
        rig.seen(),
        [
            Seen::PostRefused(post, Refusal::BadRequest),
            Seen::Closed(DisconnectReason::TransportError),
            Seen::Finished,
        ]
    );
}

#[test]
fn giving_up_a_poll_that_was_answered_already_changes_nothing() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    rig.send("a");
    rig.input(Input::PollAborted(poll));
    assert_eq!(rig.seen(), [payload(poll, "4a")]);
    assert!(rig.session.is_open());
}

#[test]
fn a_poll_given_up_between_announcement_and_answer_takes_nothing_out_of_the_queue() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    rig.client_is_slow = true;
    rig.send("a");
    assert_eq!(rig.session.queued_messages(), 1);
    rig.input(Input::PollAborted(poll));
    rig.client_is_slow = false;
    rig.drive();
    assert_eq!(
        rig.seen(),
        [
            Seen::Closed(DisconnectReason::TransportError),
            Seen::Finished,
        ]
    );
}

// row 9
#[test]
fn the_messages_of_a_post_are_events_and_the_post_is_accepted() {
    let mut rig = Rig::polling();
    let post = rig.post("4a\u{1e}bAQIDBA\u{1e}6\u{1e}5\u{1e}4");
    assert_eq!(
        rig.seen(),
        [
            Seen::PostOk(post),
            message("a"),
            Seen::Message(Message::from([1, 2, 3, 4])),
            message(""),
        ]
    );
    let next = rig.post("4b");
    assert_eq!(rig.seen(), [Seen::PostOk(next), message("b")]);
}

#[test]
fn a_body_that_comes_twice_or_without_a_post_is_ignored() {
    let mut rig = Rig::polling();
    let post = rig.post("4a");
    rig.finish_post(post, "4again");
    let never_opened = rig.session.next_exchange();
    rig.finish_post(never_opened, "4out of the blue");
    assert_eq!(rig.seen(), [Seen::PostOk(post), message("a")]);
    assert!(rig.session.is_open());
}

// row 10
#[test]
fn a_second_post_closes_the_session_and_everything_is_answered() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    let first = rig.begin_post();
    let second = rig.begin_post();
    assert_eq!(
        rig.seen(),
        [
            Seen::PostRefused(second, Refusal::BadRequest),
            Seen::PostRefused(first, Refusal::BadRequest),
            payload(poll, "1"),
            Seen::Closed(DisconnectReason::TransportError),
            Seen::Finished,
        ]
    );
    rig.finish_post(first, "4too late");
    rig.input(Input::PostTooLarge(second));
    assert_eq!(rig.seen(), []);
}

// row 11
#[test]
fn a_post_given_up_by_the_client_closes_the_session() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    let post = rig.begin_post();
    rig.input(Input::PostAborted(post));
    assert_eq!(
        rig.seen(),
        [
            payload(poll, "1"),
            Seen::Closed(DisconnectReason::TransportError),
            Seen::Finished,
        ]
    );
}

#[test]
fn giving_up_a_post_that_was_answered_already_changes_nothing() {
    let mut rig = Rig::polling();
    let post = rig.post("4a");
    rig.input(Input::PostAborted(post));
    rig.input(Input::PostTooLarge(post));
    assert_eq!(rig.seen(), [Seen::PostOk(post), message("a")]);
    assert!(rig.session.is_open());
}

// row 12
#[test]
fn a_post_that_is_too_large_is_refused_and_closes_the_session() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    let post = rig.begin_post();
    rig.input(Input::PostTooLarge(post));
    assert_eq!(
        rig.seen(),
        [
            Seen::PostRefused(post, Refusal::PayloadTooLarge),
            payload(poll, "1"),
            Seen::Closed(DisconnectReason::PayloadTooLarge),
            Seen::Finished,
        ]
    );
}

// row 13
#[test]
fn what_precedes_a_malformed_packet_is_delivered_before_the_session_closes() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    let post = rig.post("4a\u{1e}abc\u{1e}4b");
    assert_eq!(
        rig.seen(),
        [
            Seen::PostRefused(post, Refusal::BadRequest),
            payload(poll, "1"),
            message("a"),
            Seen::Closed(DisconnectReason::ParseError),
            Seen::Finished,
        ]
    );
}

#[test]
fn an_empty_body_and_one_that_is_not_utf8_are_malformed() {
    for body in [&b""[..], b"\x1e", b"4a\x1e4\xff"] {
        let mut rig = Rig::polling();
        let post = rig.begin_post();
        rig.input(Input::PostReceived(
            post,
            Payload::text(Bytes::from_static(body)),
        ));
        let seen = rig.seen();
        assert_eq!(seen[0], Seen::PostRefused(post, Refusal::BadRequest));
        assert!(seen.contains(&Seen::Closed(DisconnectReason::ParseError)));
        assert_eq!(seen.contains(&message("a")), body.len() > 1);
    }
}

fn small_inbox() -> Rig {
    let mut rig = Rig::polling_with(Config {
        inbox_limit: 2 * (1 + Config::PACKET_OVERHEAD),
        ..Config::default()
    });
    rig.app_is_busy = true;
    rig
}

// row 14
#[test]
fn a_post_beyond_the_inbox_is_answered_when_there_is_room() {
    let mut rig = small_inbox();
    let post = rig.post("4a\u{1e}4b");
    assert_eq!(rig.seen(), [Seen::PostOk(post)], "the inbox is just full");

    let post = rig.post("4c\u{1e}4d");
    assert!(!rig.session.wants_input());
    rig.take_event();
    assert_eq!(rig.seen(), [message("a")]);
    rig.take_event();
    assert_eq!(rig.seen(), [message("b"), Seen::PostOk(post)]);
    assert!(rig.session.wants_input());
}

#[test]
fn a_post_that_waits_for_room_is_under_way_still() {
    let mut rig = small_inbox();
    let post = rig.post("4a\u{1e}4b\u{1e}4c");
    rig.finish_post(post, "4again");
    let impatient = rig.begin_post();
    assert_eq!(
        rig.seen(),
        [
            Seen::PostRefused(impatient, Refusal::BadRequest),
            Seen::PostOk(post),
            Seen::Finished,
        ],
        "what was received counts"
    );
    rig.app_is_busy = false;
    rig.drive();
    assert_eq!(
        rig.seen(),
        [
            message("a"),
            message("b"),
            message("c"),
            Seen::Closed(DisconnectReason::TransportError),
        ],
        "and the end comes last"
    );
}
