//! Starting, draining and leaving, and nodes with one id.

use super::*;

#[test]
fn a_node_joins_once_it_has_heard_itself_and_every_other_node_could_speak() {
    let mut node = Node::joining();
    node.pass(ms(1499));
    assert_eq!(node.take(), []);
    node.pass(ms(1));
    assert_eq!(node.take(), [Output::Joined]);
}

#[test]
fn a_node_announces_itself_each_second() {
    let mut node = Node::up();
    node.announced();
    node.pass(ms(10_000));
    assert_eq!(node.announced(), 10);
}

#[test]
fn the_younger_of_two_nodes_with_one_id_refuses_to_start() {
    let mut younger = Node::joining();
    younger.pass(ms(300));
    younger.hear("me", 1, Presence::Up);
    let refused = Refused::IdInUse {
        address: "me:7000".into(),
    };
    assert_eq!(younger.take(), [Output::Refused(refused)]);
    assert_eq!(younger.detector.poll_timeout(), None);

    let mut elder = Node::up();
    elder.pass(ms(300));
    elder.announced();
    elder.hear("me", 1, Presence::Joining);
    assert_eq!(
        elder.announced(),
        1,
        "the younger has to learn of it before it has joined"
    );
}

#[test]
fn of_two_nodes_with_one_id_that_start_together_one_refuses() {
    let mut node = Node::joining();
    node.hear("me", ME + 1, Presence::Joining);
    assert_eq!(node.take(), []);
    node.hear("me", ME - 1, Presence::Joining);
    assert!(matches!(
        node.take()[..],
        [Output::Refused(Refused::IdInUse { .. })]
    ));
}

#[test]
fn two_running_nodes_with_one_id_are_reported() {
    let mut node = Node::up();
    node.hear("me", 1, Presence::Up);
    let conflict = |name: &str| Output::Conflict {
        id: id(name),
        address: format!("{name}:7000").into(),
    };
    assert_eq!(node.take(), [conflict("me")]);
    node.hear("b", 1, Presence::Up);
    node.hear("b", 2, Presence::Up);
    assert_eq!(
        node.take(),
        [alive("b"), conflict("b")],
        "the first one stays"
    );
}

#[test]
fn a_node_that_hears_nothing_of_itself_while_it_joins_refuses_to_start() {
    let mut node = Node::joining();
    node.hears = false;
    node.pass(ms(5000));
    assert_eq!(node.take(), [Output::Refused(Refused::Deaf)]);
}

#[test]
fn the_257th_node_is_ignored_and_does_not_join() {
    let mut node = Node::up();
    for n in 1..MAX_NODES {
        node.hear(&format!("n{n}"), 1, Presence::Up);
    }
    assert_eq!(node.take().len(), MAX_NODES - 1);
    node.hear("late", 1, Presence::Up);
    assert_eq!(node.take(), [Output::TooMany(id("late"))]);

    let mut late = Node::joining();
    for n in 0..MAX_NODES {
        late.hear(&format!("n{n}"), 1, Presence::Up);
    }
    assert_eq!(
        late.take().last(),
        Some(&Output::Refused(Refused::ClusterFull))
    );
}

#[test]
fn a_draining_node_says_so_at_once_and_a_leaving_one_says_farewell() {
    let mut node = Node::up();
    node.outputs.clear();
    node.detector.drain(node.now);
    node.follow();
    let presences = |node: &Node| -> Vec<_> {
        let presence = |output: &Output| match output {
            Output::Announce { presence, .. } => Some(*presence),
            _ => None,
        };
        node.outputs.iter().filter_map(presence).collect()
    };
    assert_eq!(presences(&node), [Presence::Draining]);
    node.detector.leave(node.now);
    node.follow();
    assert_eq!(presences(&node), [Presence::Draining, Presence::Left]);
    assert_eq!(node.detector.poll_timeout(), None);
    node.pass(ms(5000));
    assert!(node.now > node.start);
    assert_eq!(presences(&node).len(), 2, "nothing follows a farewell");
}
