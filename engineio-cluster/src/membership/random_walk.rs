//! Three nodes on a bus with random faults, and what must hold whatever happens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::announcement::Announcement;
use super::detector::*;
use super::output::{Departure, Output, Refused};
use super::scenarios::{announcement, id};
use crate::NodeId;

const NAMES: [&str; 3] = ["a", "b", "c"];
const STEP: Duration = Duration::from_millis(20);

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[derive(Clone)]
enum OnBus {
    Announcement(Announcement),
    Query(NodeId, u64),
}

struct Node {
    detector: Detector,
    incarnation: u64,
    /// The process runs; otherwise it was killed.
    alive: bool,
    /// The process is frozen until then.
    frozen_until: Instant,
    /// Nothing reaches the node until then.
    deaf_until: Instant,
    /// The time until which messages for the node are delayed.
    stalled_until: Instant,
    waiting: VecDeque<OnBus>,
    believes: BTreeMap<NodeId, u64>,
}

struct World {
    now: Instant,
    nodes: Vec<Node>,
    next_incarnation: u64,
    /// When the last fault on anybody's way of being heard ended: from then on the bus is good.
    fault_free_since: Instant,
    killed: BTreeSet<(usize, u64)>,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let nodes = (0..NAMES.len())
            .map(|n| start(now, n, n as u64 + 1))
            .collect();
        Self {
            now,
            nodes,
            next_incarnation: 10,
            fault_free_since: now,
            killed: BTreeSet::new(),
        }
    }

    fn publish(&mut self, message: &OnBus) {
        for node in self.nodes.iter_mut().filter(|node| node.alive) {
            if self.now >= node.deaf_until {
                node.waiting.push_back(message.clone());
            }
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        for n in 0..self.nodes.len() {
            let now = self.now;
            let node = &mut self.nodes[n];
            if !node.alive || now < node.frozen_until {
                continue;
            }
            if now >= node.stalled_until {
                for message in std::mem::take(&mut node.waiting) {
                    match message {
                        OnBus::Announcement(heard) => {
                            node.detector.handle_announcement(now, &heard)
                        }
                        OnBus::Query(id, incarnation) => {
                            node.detector.handle_query(now, &id, incarnation)
                        }
                    }
                }
            }
            if node.detector.poll_timeout().is_some_and(|next| next <= now) {
                node.detector.handle_timeout(now);
            }
            let outputs: Vec<_> = std::iter::from_fn(|| node.detector.poll_output()).collect();
            for output in outputs {
                self.follow(n, output);
            }
        }
    }

    fn follow(&mut self, n: usize, output: Output) {
        match output {
            Output::Announce { beat, presence } => {
                let incarnation = self.nodes[n].incarnation;
                let mut own = announcement(NAMES[n], incarnation, presence);
                own.beat = beat;
                self.publish(&OnBus::Announcement(own));
            }
            Output::Query { id, incarnation } => self.publish(&OnBus::Query(id, incarnation)),
            Output::Alive(member) => {
                self.nodes[n].believes.insert(member.id, member.incarnation);
            }
            Output::Gone(other, departure) => {
                let incarnation = self.nodes[n].believes.remove(&other).unwrap();
                self.check_departure(n, other, incarnation, departure);
            }
            Output::Refused(Refused::Deaf) => self.nodes[n].alive = false,
            Output::Refused(reason) => panic!("{} refuses to start: {reason:?}", NAMES[n]),
            _ => {}
        }
    }

    /// Only a process that was killed is declared dead.
    fn check_departure(&self, n: usize, other: NodeId, incarnation: u64, departure: Departure) {
        if departure == Departure::Farewell || departure == Departure::Replaced {
            return;
        }
        let index = NAMES.iter().position(|name| id(name) == other).unwrap();
        let died = self.killed.contains(&(index, incarnation));
        assert!(died, "{other} lives, but {} says {departure:?}", NAMES[n]);
    }

    /// Every dead process is known to be dead within five seconds of a good bus, and every living one is known.
    fn check_beliefs(&self) {
        let settled = Duration::from_secs(5) + 2 * STEP;
        let good_for = self.now.saturating_duration_since(self.fault_free_since);
        if good_for < settled {
            return;
        }
        for (n, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.alive) {
            for (index, incarnation) in &self.killed {
                let known = node.believes.get(&id(NAMES[*index])) == Some(incarnation);
                assert!(!known, "{} still believes in {}", NAMES[n], NAMES[*index]);
            }
            for (index, other) in self
                .nodes
                .iter()
                .enumerate()
                .filter(|(i, o)| *i != n && o.alive)
            {
                let known = node.believes.get(&id(NAMES[index]));
                assert_eq!(
                    known,
                    Some(&other.incarnation),
                    "{} does not know {}",
                    NAMES[n],
                    NAMES[index]
                );
            }
        }
    }

    /// One node cannot connect to another: because that one is dead, or because a firewall is in the way.
    fn refuse_connection(&mut self, n: usize) {
        let other = (n + 1) % NAMES.len();
        // A process that stands still accepts connections, and one that hears late cannot answer: that is two faults.
        if self.nodes[other].alive && self.now < self.fault_free_since {
            return;
        }
        let now = self.now;
        self.nodes[n]
            .detector
            .handle_refused_connection(now, &id(NAMES[other]));
        for _ in 0..20 {
            self.step();
        }
    }

    fn fault(&mut self, random: &mut Random) {
        let n = random.below(NAMES.len() as u64) as usize;
        let long = Duration::from_millis(random.below(12_000));
        let until = self.now + long;
        let node = &mut self.nodes[n];
        if !node.alive {
            let incarnation = self.next_incarnation;
            self.next_incarnation += 1;
            self.nodes[n] = start(self.now, n, incarnation);
            self.fault_free_since = self.fault_free_since.max(self.now);
            return;
        }
        match random.below(5) {
            0 => {
                node.deaf_until = until;
                // The silence of the others begins with the first own announcement that is heard again.
                self.fault_free_since = self.fault_free_since.max(until + INTERVAL);
            }
            1 => node.stalled_until = until,
            2 => node.frozen_until = until.min(self.now + Duration::from_secs(3)),
            3 => {
                node.alive = false;
                node.waiting.clear();
                self.killed.insert((n, node.incarnation));
            }
            _ => {
                self.refuse_connection(n);
                return;
            }
        }
        self.fault_free_since = self.fault_free_since.max(until);
    }
}

fn start(now: Instant, n: usize, incarnation: u64) -> Node {
    Node {
        detector: Detector::new(now, id(NAMES[n]), incarnation),
        incarnation,
        alive: true,
        frozen_until: now,
        deaf_until: now,
        stalled_until: now,
        waiting: VecDeque::new(),
        believes: BTreeMap::new(),
    }
}

#[test]
fn no_live_node_is_declared_dead_and_every_dead_one_is_whatever_the_faults() {
    for seed in 1..=30 {
        let mut world = World::new();
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        for _ in 0..500 {
            world.step();
        }
        for _ in 0..30 {
            world.fault(&mut random);
            for _ in 0..random.below(1000) {
                world.step();
                world.check_beliefs();
            }
        }
    }
}
