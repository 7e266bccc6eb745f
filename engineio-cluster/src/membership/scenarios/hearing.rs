//! The conclusions of a node while the bus delivers late, in part, or nothing.

use super::*;

#[test]
fn a_deaf_node_does_not_declare_one_dead_that_refuses_connections() {
    let mut node = Node::up();
    node.hear("b", 1, Presence::Up);
    node.hears = false;
    node.take();
    node.detector.handle_refused_connection(node.now, &id("b"));
    node.pass(ms(3800));
    assert_eq!(
        node.take(),
        [Output::Query {
            id: id("b"),
            incarnation: 1
        }]
    );
}

#[test]
fn a_deaf_node_says_so_after_four_seconds_asks_for_a_connection_and_declares_nobody_dead() {
    let mut node = Node::up();
    node.hear("b", 1, Presence::Up);
    node.take();
    node.hears = false;
    let last_heard = node.now - ms(100);
    node.pass(ms(4000));
    assert_eq!(node.take(), [Output::Deaf(last_heard), Output::Reconnect]);
    node.pass(ms(60_000));
    let outputs = node.take();
    assert!(
        outputs.iter().all(|output| *output == Output::Reconnect),
        "{outputs:?}"
    );
    assert_eq!(outputs.len(), 15, "every four seconds");
}

#[test]
fn after_deafness_every_node_has_its_full_time_again() {
    let mut node = Node::up();
    node.hear("b", 1, Presence::Up);
    node.hears = false;
    node.pass(ms(30_000));
    node.take();
    node.hears = true;
    node.pass(ms(1000));
    assert_eq!(node.take(), [Output::Hearing]);
    node.pass(ms(3400));
    assert_eq!(node.take(), []);
    node.pass(ms(1600));
    assert_eq!(node.take(), [gone("b", Departure::Silence)]);
}

#[test]
fn a_lost_connection_is_deafness_at_once_and_a_new_one_ends_it() {
    let mut node = Node::up();
    node.hear("b", 1, Presence::Up);
    node.take();
    node.hears = false;
    node.detector.handle_bus_lost(node.now);
    assert_eq!(node.take(), [Output::Deaf(node.now)]);
    node.pass(ms(2000));
    node.hears = true;
    node.detector.handle_bus_back(node.now);
    assert_eq!(node.take(), [Output::Hearing]);
    node.pass(ms(3000));
    assert_eq!(node.take(), []);
}

#[test]
fn a_bus_that_delivers_six_seconds_late_and_in_order_kills_nobody() {
    let mut node = Node::up();
    node.pass_with("b", 2);
    node.take();
    // Six seconds of the bus are held back: the own announcements and those of the other.
    node.hears = false;
    node.pass(ms(6000));
    let held: Vec<_> = std::mem::take(&mut node.outputs);
    node.hears = true;
    for output in held {
        if let Output::Announce { beat, presence } = output {
            let mut own = announcement("me", ME, presence);
            own.beat = beat;
            node.detector.handle_announcement(node.now, &own);
            node.hear("b", 1, Presence::Up);
        }
    }
    let outputs = node.take();
    assert!(
        !outputs.iter().any(|o| matches!(o, Output::Gone(..))),
        "{outputs:?}"
    );
}

#[test]
fn a_process_that_stood_still_for_eight_seconds_declares_nobody_dead() {
    let mut node = Node::up();
    node.pass_with("b", 2);
    node.take();
    // The machine was suspended: the clock went on, nothing ran.
    node.now += ms(8000);
    node.detector.handle_timeout(node.now);
    node.pass(ms(500));
    assert_eq!(node.take(), [], "neither deaf nor a death");
}

#[test]
fn dropped_messages_prove_no_silence() {
    let mut node = Node::up();
    node.hear("b", 1, Presence::Up);
    node.take();
    for _ in 0..10 {
        node.pass(ms(1000));
        node.detector.handle_missed();
    }
    assert_eq!(node.take(), []);
}

#[test]
fn a_bus_that_loses_every_other_second_proves_no_silence() {
    let mut node = Node::up();
    node.hear("b", 1, Presence::Up);
    node.take();
    for _ in 0..10 {
        // The other announces itself now, which is lost, as is the own announcement.
        node.hears = false;
        node.pass(ms(1000));
        node.hears = true;
        node.pass(ms(1000));
    }
    assert_eq!(node.take(), []);
}
