//! The rules of the detector, one scenario each, with time as an argument.

use std::time::{Duration, Instant};

use super::announcement::{Announcement, Presence};
use super::detector::*;
use crate::NodeId;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

pub(super) fn announcement(name: &str, incarnation: u64, presence: Presence) -> Announcement {
    Announcement {
        id: id(name),
        incarnation,
        beat: 1,
        presence,
        address: format!("{name}:7000").into(),
        sessions: 0,
    }
}

/// The node `me`, its clock, and a bus that returns what it announces.
struct Node {
    detector: Detector,
    now: Instant,
    start: Instant,
    /// Whether its announcements come back.
    hears: bool,
    outputs: Vec<Output>,
}

const ME: u64 = 50;

impl Node {
    fn joining() -> Self {
        let start = Instant::now();
        Self {
            detector: Detector::new(start, id("me"), ME),
            now: start,
            start,
            hears: true,
            outputs: Vec::new(),
        }
    }

    fn up() -> Self {
        let mut node = Self::joining();
        node.pass(ms(1600));
        assert!(node.take().contains(&Output::Joined));
        node
    }

    /// Lets time pass, with all that is due in it.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.follow();
            match self.detector.poll_timeout().filter(|next| *next <= end) {
                Some(next) => self.now = self.now.max(next),
                None => break,
            }
            self.detector.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// Collects outputs, and returns own announcements from the bus.
    fn follow(&mut self) {
        while let Some(output) = self.detector.poll_output() {
            if let Output::Announce { beat, presence } = output
                && self.hears
            {
                let mut own = announcement("me", ME, presence);
                own.beat = beat;
                self.detector.handle_announcement(self.now, &own);
            }
            self.outputs.push(output);
        }
    }

    fn hear(&mut self, name: &str, incarnation: u64, presence: Presence) {
        let heard = announcement(name, incarnation, presence);
        self.detector.handle_announcement(self.now, &heard);
        self.follow();
    }

    /// Lets time pass in which a node announces itself each second.
    fn pass_with(&mut self, name: &str, seconds: u64) {
        for _ in 0..seconds {
            self.pass(ms(1000));
            self.hear(name, 1, Presence::Up);
        }
    }

    /// Takes what happened, without the announcements.
    fn take(&mut self) -> Vec<Output> {
        self.follow();
        let mut outputs = std::mem::take(&mut self.outputs);
        outputs.retain(|output| !matches!(output, Output::Announce { .. }));
        outputs
    }

    fn announced(&mut self) -> usize {
        self.follow();
        let is_announcement = |output: &&Output| matches!(output, Output::Announce { .. });
        let count = self.outputs.iter().filter(is_announcement).count();
        self.outputs.clear();
        count
    }
}

fn alive(name: &str) -> Output {
    Output::Alive(announcement(name, 1, Presence::Up).member().unwrap())
}

fn gone(name: &str, departure: Departure) -> Output {
    Output::Gone(id(name), departure)
}

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
fn a_deaf_node_does_not_bury_one_that_refuses_connections() {
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
