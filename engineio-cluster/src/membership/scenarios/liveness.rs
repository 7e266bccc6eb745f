//! The detection of live and dead nodes.

use super::*;

#[test]
fn a_node_that_is_heard_is_alive_and_one_that_joins_is_not_yet() {
    let mut node = Node::up();
    node.hear("b", 1, Presence::Joining);
    assert_eq!(node.take(), []);
    node.hear("b", 1, Presence::Up);
    assert_eq!(node.take(), [alive("b")]);
    node.hear("b", 1, Presence::Up);
    assert_eq!(node.take(), [], "nothing has changed");
}

#[test]
fn a_silent_node_is_dead_after_four_and_a_half_seconds() {
    let mut node = Node::up();
    node.hear("b", 1, Presence::Up);
    node.take();
    node.pass(SILENCE - ms(1));
    assert_eq!(node.take(), []);
    node.pass(ms(1));
    assert_eq!(node.take(), [gone("b", Departure::Silence)]);
}

#[test]
fn a_node_frozen_for_three_seconds_stays_alive() {
    let mut node = Node::up();
    node.pass_with("b", 3);
    node.take();
    node.pass(ms(4000));
    node.hear("b", 1, Presence::Up);
    node.pass(ms(900));
    assert_eq!(node.take(), []);
}

#[test]
fn a_node_that_says_farewell_is_gone_at_once() {
    let mut node = Node::up();
    node.hear("b", 1, Presence::Up);
    node.hear("b", 1, Presence::Left);
    assert_eq!(node.take(), [alive("b"), gone("b", Departure::Farewell)]);
}

#[test]
fn the_late_farewell_of_a_predecessor_does_not_remove_its_successor() {
    let mut node = Node::up();
    node.hear("b", 2, Presence::Up);
    node.take();
    node.hear("b", 1, Presence::Left);
    assert_eq!(node.take(), []);
}

#[test]
fn a_draining_node_stays_a_member_and_is_shown_as_draining() {
    let mut node = Node::up();
    node.hear("b", 1, Presence::Up);
    node.hear("b", 1, Presence::Draining);
    let draining = announcement("b", 1, Presence::Draining).member().unwrap();
    assert_eq!(node.take(), [alive("b"), Output::Alive(draining)]);
}

#[test]
fn a_node_that_refuses_connections_and_does_not_answer_is_dead_after_200_ms() {
    let mut node = Node::up();
    node.hear("b", 1, Presence::Up);
    node.take();
    node.detector.handle_refused_connection(node.now, &id("b"));
    node.pass(ANSWER - ms(1));
    assert_eq!(
        node.take(),
        [Output::Query {
            id: id("b"),
            incarnation: 1
        }]
    );
    node.pass(ms(1));
    assert_eq!(node.take(), [gone("b", Departure::Refusal)]);
}

#[test]
fn a_node_that_refuses_connections_and_answers_on_the_bus_stays() {
    let mut node = Node::up();
    node.hear("b", 1, Presence::Up);
    node.take();
    node.detector.handle_refused_connection(node.now, &id("b"));
    node.pass(ms(150));
    node.hear("b", 1, Presence::Up);
    node.pass(ms(1000));
    assert_eq!(
        node.take(),
        [Output::Query {
            id: id("b"),
            incarnation: 1
        }]
    );
}

#[test]
fn refused_connections_by_the_thousand_ask_one_question() {
    let mut node = Node::up();
    node.hear("b", 1, Presence::Up);
    node.take();
    for _ in 0..1000 {
        node.detector.handle_refused_connection(node.now, &id("b"));
    }
    assert_eq!(node.take().len(), 1);
}

#[test]
fn a_question_is_answered_at_once_and_many_are_answered_together() {
    let mut node = Node::up();
    node.pass(ms(300));
    node.announced();
    node.detector.handle_query(node.now, &id("me"), ME);
    assert_eq!(node.announced(), 1);
    for _ in 0..1000 {
        node.detector.handle_query(node.now, &id("me"), ME);
    }
    node.pass(ms(50));
    assert_eq!(node.announced(), 1);
    node.detector.handle_query(node.now, &id("me"), ME + 1);
    node.detector.handle_query(node.now, &id("b"), ME);
    assert_eq!(node.announced(), 0, "neither is for this node");
}

#[test]
fn a_node_that_restarts_under_its_name_replaces_its_dead_predecessor() {
    let mut node = Node::up();
    node.hear("b", 1, Presence::Up);
    node.take();
    node.pass(ms(1600));
    node.hear("b", 2, Presence::Up);
    let successor = announcement("b", 2, Presence::Up).member().unwrap();
    assert_eq!(
        node.take(),
        [gone("b", Departure::Replaced), Output::Alive(successor)]
    );
}
