//! Pings, pongs and their absence, rows 29 to 33, 46, 54, 59, 60 and 68.

use engineio_core::server::Input;
use engineio_core::{Config, DisconnectReason, Message, Refusal, Timer};

use crate::support::{Rig, Seen, message, ms, payload, secs, text};

// row 29
#[test]
fn the_first_ping_comes_after_one_interval_and_waits_for_the_poll() {
    let mut rig = Rig::polling();
    rig.wait(ms(24_999));
    rig.poll();
    assert_eq!(rig.seen(), []);
    rig.send("a");
    rig.seen();
    rig.wait(ms(1));
    assert_eq!(rig.seen(), [], "no poll that could carry it");
    assert_eq!(rig.session.timeout_reason(), Some(Timer::PingTimeout));
    assert_eq!(rig.time_left(), Some(secs(20)));
    rig.send("b");
    let poll = rig.poll();
    assert_eq!(
        rig.seen(),
        [payload(poll, "2\u{1e}4b")],
        "ahead of messages"
    );
}

#[test]
fn a_ping_overtakes_messages_that_a_slow_client_has_not_read() {
    let (mut rig, websocket) = Rig::websocket();
    rig.client_is_slow = true;
    rig.send("a");
    rig.wait(secs(25));
    rig.client_is_slow = false;
    rig.drive();
    assert_eq!(rig.seen(), [text(websocket, "2"), text(websocket, "4a")]);
}

// row 30
#[test]
fn a_pong_starts_the_next_interval_and_one_not_asked_for_changes_nothing() {
    let (mut rig, websocket) = Rig::websocket();
    rig.wait(secs(20));
    rig.frame(websocket, "3");
    assert_eq!(rig.time_left(), Some(secs(5)), "pings cannot be put off");

    rig.wait(secs(5));
    assert_eq!(rig.seen(), [text(websocket, "2")]);
    rig.wait(secs(10));
    rig.frame(websocket, "3");
    assert_eq!(rig.session.timeout_reason(), Some(Timer::Ping));
    assert_eq!(rig.time_left(), Some(secs(25)));
    rig.wait(secs(5));
    rig.frame(websocket, "3");
    assert_eq!(rig.time_left(), Some(secs(20)));
    rig.wait(secs(20));
    assert_eq!(rig.seen(), [text(websocket, "2")]);
}

#[test]
fn a_pong_by_post_counts() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    rig.wait(secs(25));
    let post = rig.post("3");
    assert_eq!(rig.seen(), [payload(poll, "2"), Seen::PostOk(post)]);
    assert_eq!(rig.time_left(), Some(secs(25)));
}

// row 68
#[test]
fn a_request_after_the_deadline_finds_the_session_over_though_the_timer_was_not_looked_at() {
    for late in [secs(0), ms(20)] {
        let mut rig = Rig::polling();
        rig.wait(secs(25));
        rig.now += secs(20) + late;
        let poll = rig.poll();
        let closed = Seen::Closed(DisconnectReason::PingTimeout);
        let refused = Seen::PollRefused(poll, Refusal::UnknownSid);
        assert_eq!(rig.seen(), [refused, closed, Seen::Finished]);
    }
    for request in [Rig::begin_post as fn(&mut Rig) -> _, |rig| rig.post("3")] {
        let mut rig = Rig::polling();
        rig.wait(secs(25));
        rig.now += secs(20);
        let post = request(&mut rig);
        let closed = Seen::Closed(DisconnectReason::PingTimeout);
        let refused = Seen::PostRefused(post, Refusal::UnknownSid);
        assert_eq!(rig.seen(), [refused, closed, Seen::Finished]);
    }
    // What is due but ends nothing counts as well: this poll brings the ping.
    let mut rig = Rig::polling();
    rig.now += secs(25);
    let poll = rig.poll();
    assert_eq!(rig.seen(), [payload(poll, "2")]);
}

// row 68
#[test]
fn the_timeout_of_a_ping_counts_from_the_time_it_was_due_if_the_timer_was_looked_at_a_little_late()
{
    let mut rig = Rig::polling();
    rig.now += secs(25) + ms(20);
    rig.input(Input::Timeout);
    rig.now += secs(20) - ms(20);
    let poll = rig.poll();
    let closed = Seen::Closed(DisconnectReason::PingTimeout);
    let refused = Seen::PollRefused(poll, Refusal::UnknownSid);
    assert_eq!(rig.seen(), [refused, closed, Seen::Finished]);
    // A process that stood still gives its clients their time.
    let mut rig = Rig::polling();
    rig.now += secs(25) + secs(60);
    rig.input(Input::Timeout);
    rig.now += secs(19);
    let poll = rig.poll();
    assert_eq!(rig.seen(), [payload(poll, "2")]);
}

// row 31
#[test]
fn a_silent_client_is_closed_after_interval_plus_timeout() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    rig.wait(secs(25));
    assert_eq!(rig.seen(), [payload(poll, "2")]);
    let poll = rig.poll();
    let post = rig.begin_post();
    rig.wait(ms(19_999));
    assert_eq!(rig.seen(), []);
    rig.wait(ms(1));
    assert_eq!(
        rig.seen(),
        [
            Seen::PostRefused(post, Refusal::BadRequest),
            payload(poll, "1"),
            Seen::Closed(DisconnectReason::PingTimeout),
            Seen::Finished,
        ]
    );
    assert_eq!(rig.session.poll_timeout(), None);
}

#[test]
fn a_silent_websocket_is_closed_after_interval_plus_timeout() {
    let (mut rig, websocket) = Rig::websocket();
    rig.wait(secs(45));
    assert_eq!(
        rig.seen(),
        [
            text(websocket, "2"),
            Seen::WebSocketClosed(websocket, DisconnectReason::PingTimeout),
            Seen::Closed(DisconnectReason::PingTimeout),
            Seen::Finished,
        ]
    );
}

// row 32
#[test]
fn another_packet_stands_in_for_the_pong_once_a_ping() {
    let (mut rig, websocket) = Rig::websocket();
    rig.frame(websocket, "4before");
    assert_eq!(rig.time_left(), Some(secs(25)), "no pong is due yet");
    rig.wait(secs(25));
    rig.wait(secs(15));
    rig.frame(websocket, "4long upload");
    assert_eq!(rig.time_left(), Some(secs(20)), "the client is alive");
    rig.wait(secs(15));
    rig.frame(websocket, "4another");
    assert_eq!(rig.time_left(), Some(secs(5)), "but owes the pong");
    rig.frame(websocket, "3");
    assert_eq!(rig.session.timeout_reason(), Some(Timer::Ping));

    rig.wait(secs(5));
    rig.wait(secs(15));
    rig.frame(websocket, "6");
    assert_eq!(rig.time_left(), Some(secs(20)), "once for each ping");
}

// row 33
#[test]
fn a_ping_of_the_client_closes_the_session() {
    let (mut rig, websocket) = Rig::websocket();
    rig.frame(websocket, "2");
    assert_eq!(
        rig.seen(),
        [
            Seen::WebSocketClosed(websocket, DisconnectReason::TransportError),
            Seen::Closed(DisconnectReason::TransportError),
            Seen::Finished,
        ]
    );

    let mut rig = Rig::polling();
    let poll = rig.poll();
    let post = rig.post("4a\u{1e}2\u{1e}4b");
    assert_eq!(
        rig.seen(),
        [
            Seen::PostRefused(post, Refusal::BadRequest),
            payload(poll, "1"),
            message("a"),
            Seen::Closed(DisconnectReason::TransportError),
            Seen::Finished,
        ]
    );
}

fn overfull_websocket() -> (Rig, engineio_core::LinkId) {
    let (mut rig, websocket) = Rig::websocket_with(Config {
        inbox_limit: 0,
        ..Config::default()
    });
    rig.app_is_busy = true;
    rig.wait(secs(25));
    rig.frame(websocket, "4a");
    rig.seen();
    (rig, websocket)
}

// row 46
#[test]
fn a_client_that_nobody_reads_is_not_taken_for_dead() {
    let (mut rig, websocket) = overfull_websocket();
    assert!(!rig.session.wants_input());
    rig.wait(secs(300));
    assert!(rig.session.is_open(), "its pong stands in the socket");
    let pings = rig.seen();
    assert_eq!(pings.len(), 8, "it must not take the server for dead");
    assert!(pings.iter().all(|ping| *ping == text(websocket, "2")));

    // Once there is room, the whole timeout is left for the pong to come through.
    rig.take_event();
    rig.seen();
    rig.wait(secs(19));
    rig.frame(websocket, "3");
    assert_eq!(rig.session.timeout_reason(), Some(Timer::Ping));
}

#[test]
fn a_client_that_is_dead_is_found_out_once_there_is_room_again() {
    let (mut rig, websocket) = overfull_websocket();
    rig.wait(secs(300));
    rig.seen();
    rig.take_event();
    assert_eq!(rig.seen(), [Seen::Message(Message::from("a"))]);
    // The timeout that runs already, and one more.
    rig.wait(secs(40));
    rig.take_event();
    assert_eq!(
        rig.seen(),
        [
            text(websocket, "2"),
            Seen::WebSocketClosed(websocket, DisconnectReason::PingTimeout),
            Seen::Finished,
            Seen::Closed(DisconnectReason::PingTimeout),
        ]
    );
}

#[test]
fn an_inbox_that_was_full_before_the_ping_excuses_nothing() {
    let (mut rig, websocket) = Rig::websocket_with(Config {
        inbox_limit: 0,
        ..Config::default()
    });
    rig.frame(websocket, "4a");
    rig.wait(secs(45));
    assert_eq!(rig.session.closed(), Some(DisconnectReason::PingTimeout));
}

/// Fills inbox and outbox as an echo does whose client sends and does not read.
fn fill_both(rig: &mut Rig) {
    rig.app_is_busy = true;
    let limit = Config::default().outbox_limit;
    let messages = ["x".repeat(limit).into(), "no room".into()];
    let sent = messages.map(|message: Message| rig.try_send(message).is_ok());
    assert_eq!(sent, [true, false]);
}

#[test]
fn an_inbox_that_is_full_does_not_excuse_a_client_that_never_polls() {
    let mut rig = Rig::polling_with(Config {
        inbox_limit: 0,
        ..Config::default()
    });
    fill_both(&mut rig);
    let post = rig.post("4b\u{1e}4c");
    rig.seen();
    rig.wait(secs(25));
    rig.wait(secs(20));
    assert_eq!(rig.session.closed(), Some(DisconnectReason::PingTimeout));
    assert_eq!(
        rig.seen()[0],
        Seen::PostRefused(post, Refusal::BadRequest),
        "the POST that waited is answered"
    );
}

#[test]
fn an_inbox_that_is_full_does_not_excuse_a_websocket_that_is_not_read() {
    let (mut rig, websocket) = overfull_websocket();
    rig.client_is_slow = true;
    fill_both(&mut rig);
    rig.frame(websocket, "4b");
    rig.wait(secs(25));
    rig.wait(secs(20));
    assert_eq!(rig.session.closed(), Some(DisconnectReason::SlowConsumer));
}

#[test]
fn a_client_that_stops_to_read_later_is_found_out_too() {
    let (mut rig, _) = overfull_websocket();
    rig.wait(secs(300));
    assert!(rig.session.is_open(), "it takes its pings");
    rig.client_is_slow = true;
    fill_both(&mut rig);
    // The timeout that runs already, and one more.
    rig.wait(secs(40));
    assert!(rig.session.closed().is_some());
}

// row 54
#[test]
fn a_websocket_that_takes_not_even_the_ping_is_a_slow_consumer() {
    let (mut rig, websocket) = Rig::websocket();
    rig.client_is_slow = true;
    rig.wait(secs(25));
    rig.wait(secs(20));
    assert_eq!(
        rig.seen(),
        [
            Seen::WebSocketClosed(websocket, DisconnectReason::SlowConsumer),
            Seen::Closed(DisconnectReason::SlowConsumer),
            Seen::Finished,
        ]
    );
}

#[test]
fn a_late_pong_does_not_put_the_next_ping_off_until_the_client_gives_up() {
    for (pong, next) in [(5, 30), (10, 35), (11, 35), (19, 35), (34, 35)] {
        let (mut rig, websocket) = Rig::websocket();
        rig.wait(secs(25));
        rig.wait(secs(pong.min(15)));
        rig.frame(websocket, "4long upload");
        rig.wait(secs(pong - pong.min(15)));
        rig.frame(websocket, "3");
        rig.seen();
        // The client waits for 45 seconds from ping to ping.
        assert_eq!(
            rig.time_left(),
            Some(secs(next - pong)),
            "pong after {pong} s"
        );
        rig.wait(secs(next - pong));
        assert_eq!(rig.seen(), [text(websocket, "2")]);
    }
}

// row 59
#[test]
fn a_client_whose_pong_is_still_waited_for_hears_another_ping() {
    let (mut rig, websocket) = Rig::websocket_with(Config {
        ping_interval: secs(4),
        ping_timeout: secs(20),
        ..Config::default()
    });
    rig.wait(secs(4));
    rig.seen();
    rig.wait(secs(13));
    assert_eq!(rig.seen(), []);
    rig.wait(secs(1));
    assert_eq!(rig.seen(), [text(websocket, "2")]);
    assert_eq!(rig.time_left(), Some(secs(6)), "the wait goes on");
    rig.frame(websocket, "3");
    assert_eq!(rig.time_left(), Some(secs(4)));
    rig.frame(websocket, "3");
    rig.wait(secs(4));
    assert_eq!(rig.seen(), [text(websocket, "2")]);

    // It changes nothing for one that is gone.
    rig.wait(secs(20));
    assert_eq!(rig.session.closed(), Some(DisconnectReason::PingTimeout));
}

/// A session whose application answers messages, and waits for room in the outbox as soon as it is full.
fn overfull_both_ways() -> Config {
    Config {
        inbox_limit: 0,
        outbox_limit: 1,
        ..Config::default()
    }
}

// row 60
#[test]
fn a_client_that_reads_nothing_is_not_excused_by_the_inbox_that_it_filled() {
    let (mut rig, websocket) = Rig::websocket_with(overfull_both_ways());
    rig.app_is_busy = true;
    rig.wait(secs(25));
    assert_eq!(rig.seen(), [text(websocket, "2")], "this ping is read");
    rig.client_is_slow = true;
    rig.send("an answer");
    assert!(rig.try_send("another".into()).is_err());
    rig.frame(websocket, "4a");
    assert!(!rig.session.wants_input(), "so that no pong would be read");
    // One whole timeout in which it takes nothing out of a full outbox, and no more.
    rig.wait(secs(20));
    rig.wait(secs(20));
    assert_eq!(rig.session.closed(), Some(DisconnectReason::SlowConsumer));

    let mut rig = Rig::polling_with(overfull_both_ways());
    rig.app_is_busy = true;
    rig.wait(secs(25));
    rig.send("an answer");
    assert!(rig.try_send("another".into()).is_err());
    rig.post("4a\u{1e}4b");
    rig.wait(secs(20));
    rig.wait(secs(20));
    assert_eq!(rig.session.closed(), Some(DisconnectReason::PingTimeout));
}

#[test]
fn a_client_that_reads_slowly_is_excused_by_a_full_inbox() {
    let (mut rig, websocket) = Rig::websocket_with(overfull_both_ways());
    rig.app_is_busy = true;
    rig.wait(secs(25));
    rig.frame(websocket, "4a");
    for _ in 0..20 {
        rig.client_is_slow = true;
        rig.send("an answer");
        assert!(rig.try_send("another".into()).is_err());
        rig.wait(secs(19));
        rig.client_is_slow = false;
        rig.drive();
        assert!(rig.session.is_open());
    }
}
