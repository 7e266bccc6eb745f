//! A client that does not read: no packet and no connection of it puts its end off, rows 69 and 70.

use engineio_core::{Config, DisconnectReason, Message};

use crate::support::{Rig, ms, secs};

/// The longest that a client can take nothing: a ping, its timeout, another packet in place of the pong, a full inbox,
/// and an upgrade with the timeout that follows it.
const LONGEST: u64 = 25 + 5 * 20 + 10;

fn narrow() -> Config {
    Config {
        inbox_limit: 0,
        outbox_limit: 1,
        ..Config::default()
    }
}

/// Fills the outbox, and the inbox of an application that waits for room there.
fn fill_both(rig: &mut Rig) {
    rig.app_is_busy = true;
    rig.client_is_slow = true;
    rig.send("an echo");
    assert!(rig.try_send(Message::from("another")).is_err());
    rig.post("4a\u{1e}4b");
    assert!(!rig.session.wants_input());
}

// row 69
#[test]
fn upgrades_that_come_to_nothing_do_not_excuse_a_client_that_reads_nothing() {
    let mut rig = Rig::polling_with(narrow());
    fill_both(&mut rig);
    for _ in 0..LONGEST {
        let websocket = rig.open_websocket();
        rig.wait(secs(1));
        rig.close_link(websocket, DisconnectReason::TransportClose);
    }
    assert_eq!(rig.session.closed(), Some(DisconnectReason::PingTimeout));
}

#[test]
fn an_upgrade_that_is_left_open_does_not_excuse_it_either() {
    let mut rig = Rig::polling_with(narrow());
    fill_both(&mut rig);
    for second in 0..LONGEST {
        if second % 9 == 0 {
            rig.open_websocket();
        }
        rig.wait(secs(1));
    }
    assert_eq!(rig.session.closed(), Some(DisconnectReason::PingTimeout));
}

// row 46
#[test]
fn an_inbox_that_is_full_for_a_moment_excuses_nothing() {
    let mut rig = Rig::polling_with(Config {
        inbox_limit: 0,
        ..Config::default()
    });
    for _ in 0..LONGEST {
        rig.post("4a\u{1e}4b\u{1e}4c");
        rig.wait(secs(1));
    }
    assert_eq!(rig.session.closed(), Some(DisconnectReason::PingTimeout));
}

#[test]
fn the_ping_timeout_stands_still_while_the_inbox_is_full() {
    let (mut rig, websocket) = Rig::websocket_with(Config {
        inbox_limit: 0,
        ..Config::default()
    });
    rig.wait(secs(25));
    rig.wait(secs(15));
    rig.frame(websocket, "6");
    rig.wait(secs(5));
    rig.app_is_busy = true;
    rig.frame(websocket, "4a");
    rig.wait(secs(500));
    rig.seen();
    assert!(rig.session.is_open());
    rig.take_event();
    rig.wait(ms(14_999));
    assert!(rig.session.is_open(), "15 s were left");
    rig.wait(ms(1));
    assert_eq!(rig.session.closed(), Some(DisconnectReason::PingTimeout));
}

// row 70
#[test]
fn pongs_to_pings_that_were_never_taken_do_not_count() {
    let (mut rig, websocket) = Rig::websocket();
    rig.client_is_slow = true;
    for _ in 0..45 {
        rig.wait(secs(1));
        rig.frame(websocket, "3");
    }
    assert_eq!(rig.session.closed(), Some(DisconnectReason::SlowConsumer));

    // A client that posts and never polls.
    let mut rig = Rig::polling();
    for _ in 0..LONGEST {
        rig.wait(secs(1));
        rig.post("3\u{1e}4a");
    }
    assert_eq!(rig.session.closed(), Some(DisconnectReason::PingTimeout));
}
