//! Decides which nodes are alive, from announcements and time alone.
//!
//! # Evidence
//!
//! A node is silent while its announcements do not come, but silence alone proves nothing: the bus may be deaf, that
//! is, deliver nothing. The proof is an announcement of this node's own that left after the silence had lasted
//! [`SILENCE`] and came back over the same channel. Own announcements prove the time between them only if all of them
//! came back; where one is missing, the silence of the others begins anew. So with a bus that delivers late, or
//! nothing, no node is declared dead.
//!
//! | input | effect |
//! |---|---|
//! | an announcement of another node | the node is alive; its silence begins anew |
//! | a farewell | the node is gone |
//! | a node was silent for [`SILENCE`] | this node announces itself; hearing that is the evidence, and the other node is dead |
//! | a connection to a node was refused | the node is asked for an announcement; without one after [`ANSWER`], with evidence, it is dead |
//! | no own announcement for [`DEAF_AFTER`] | this node is deaf: it reports it and asks for a new connection |
//! | an announcement with this node's own id | while joining: refuse to start, if the other was first; later: announce at once |

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::announcement::{Announcement, Presence};
use super::hearing::{DEAF_AFTER, Hearing, MAX_GAP};
use super::output::{Departure, Output, Refused};
use crate::{Member, NodeId};

/// The time between two announcements.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// The silence after which a node is dead. A node that is frozen for three seconds just before it would have announced
/// itself is silent for four; half a second more keeps it alive on a busy machine.
pub(crate) const SILENCE: Duration = Duration::from_millis(4500);

/// The time that a node has to answer when a connection to it was refused.
pub(crate) const ANSWER: Duration = Duration::from_millis(200);

/// The time between hearing the own first announcement and having joined. Longer than [`INTERVAL`], so that every node
/// has announced itself once.
pub(crate) const JOIN: Duration = Duration::from_millis(1500);

/// The time within which a joining node has to hear its own first announcement.
pub(crate) const JOIN_LIMIT: Duration = Duration::from_secs(5);

/// A node that was heard within this time is not replaced by another with the same id.
const OVERDUE: Duration = Duration::from_millis(1500);

/// The shortest time between two announcements, however many nodes ask for one.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// The maximum number of nodes of a cluster, this one included.
pub(crate) const MAX_NODES: usize = 256;

/// The state machine of the membership. Time is an argument.
#[derive(Debug)]
pub(crate) struct Detector {
    id: NodeId,
    incarnation: u64,
    phase: Phase,
    hearing: Hearing,
    next_announcement: Instant,
    peers: BTreeMap<NodeId, Peer>,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Joining {
        started: Instant,
        heard: Option<Instant>,
    },
    Up,
    Draining,
    /// Left, or refused to start.
    Over,
}

#[derive(Debug)]
struct Peer {
    member: Member,
    heard: Instant,
    silent_since: Instant,
    /// The time at which it was asked for an announcement.
    queried: Option<Instant>,
}

impl Detector {
    pub(crate) fn new(now: Instant, id: NodeId, incarnation: u64) -> Self {
        Self {
            id,
            incarnation,
            phase: Phase::Joining {
                started: now,
                heard: None,
            },
            hearing: Hearing::new(now),
            next_announcement: now,
            peers: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Returns the next thing to do.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due, or `None` once the node has left.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let mut next = self.next_announcement;
        match self.phase {
            Phase::Over => return None,
            Phase::Joining {
                heard: Some(heard), ..
            } => next = next.min(heard + JOIN),
            Phase::Joining {
                started,
                heard: None,
            } => next = next.min(started + JOIN_LIMIT),
            Phase::Up | Phase::Draining => next = next.min(self.hearing.deadline()),
        }
        let asked_at = self.hearing.asked_at();
        for peer in self.peers.values() {
            let silence = peer.silent_since + SILENCE;
            if asked_at.is_none_or(|asked| asked < silence) {
                next = next.min(silence);
            }
            if let Some(queried) = peer.queried
                && self.hearing.proves(queried)
            {
                next = next.min(queried + ANSWER);
            }
        }
        Some(next)
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.phase == Phase::Over {
            return;
        }
        // The process stood still: that nothing was heard meanwhile says nothing about the bus.
        if now > self.next_announcement + MAX_GAP {
            self.hearing.at = now;
        }
        self.follow_phase(now);
        self.check_hearing(now);
        self.remove_unresponsive(now);
        let asked_at = self.hearing.asked_at();
        let evidence_wanted = self.peers.values().any(|peer| {
            let silence = peer.silent_since + SILENCE;
            silence <= now && asked_at.is_none_or(|asked| asked < silence)
        });
        if now >= self.next_announcement || evidence_wanted {
            self.announce(now);
        }
    }

    /// Handles an announcement that arrived, of this node or of another.
    pub(crate) fn handle_announcement(&mut self, now: Instant, announcement: &Announcement) {
        if self.phase == Phase::Over {
            return;
        }
        if announcement.id != self.id {
            self.on_peer(now, announcement);
        } else if announcement.incarnation == self.incarnation {
            self.on_own(now, announcement.beat);
        } else {
            self.on_namesake(now, announcement);
        }
    }

    /// Handles the question whether a node lives.
    pub(crate) fn handle_query(&mut self, now: Instant, id: &NodeId, incarnation: u64) {
        if *id == self.id && incarnation == self.incarnation && self.phase != Phase::Over {
            self.announce_soon(now);
        }
    }

    /// Handles the news that the internal address of a node refuses connections.
    pub(crate) fn handle_refused_connection(&mut self, now: Instant, id: &NodeId) {
        if self.hearing.deaf || self.phase == Phase::Over {
            return;
        }
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if peer.queried.is_none() {
            peer.queried = Some(now);
            let incarnation = peer.member.incarnation;
            self.outputs.push_back(Output::Query {
                id: *id,
                incarnation,
            });
            // Hearing it proves that the answer would have been heard.
            self.announce(now);
        }
    }

    /// Handles the loss of the connection to the broker.
    pub(crate) fn handle_bus_lost(&mut self, now: Instant) {
        self.handle_missed();
        self.become_deaf(now, now);
    }

    /// Handles the news that messages were dropped on their way here: there is no proof that a node is silent.
    pub(crate) fn handle_missed(&mut self) {
        self.hearing.last = None;
    }

    /// Handles a new connection to the broker.
    pub(crate) fn handle_bus_back(&mut self, now: Instant) {
        self.hearing.next_reconnect = now + DEAF_AFTER;
        if self.phase != Phase::Over {
            self.announce(now);
        }
    }

    /// Announces that this node takes no new sessions.
    pub(crate) fn drain(&mut self, now: Instant) {
        if self.phase == Phase::Up {
            self.phase = Phase::Draining;
            self.announce(now);
        }
    }

    /// Announces that this node leaves. Nothing follows.
    pub(crate) fn leave(&mut self, now: Instant) {
        if self.phase != Phase::Over {
            self.announce_as(now, Presence::Left);
            self.phase = Phase::Over;
        }
    }

    fn follow_phase(&mut self, now: Instant) {
        match self.phase {
            Phase::Joining {
                heard: Some(heard), ..
            } if now >= heard + JOIN => {
                self.phase = Phase::Up;
                self.outputs.push_back(Output::Joined);
                self.announce(now);
            }
            Phase::Joining {
                started,
                heard: None,
            } if now >= started + JOIN_LIMIT => {
                self.refuse(Refused::Deaf);
            }
            _ => {}
        }
    }

    fn check_hearing(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Up | Phase::Draining) || now < self.hearing.deadline() {
            return;
        }
        let since = self.hearing.at;
        self.hearing.next_reconnect = now + DEAF_AFTER;
        self.become_deaf(now, since);
        self.outputs.push_back(Output::Reconnect);
    }

    fn become_deaf(&mut self, now: Instant, since: Instant) {
        if self.hearing.deaf || self.phase == Phase::Over {
            return;
        }
        self.hearing.deaf = true;
        self.hearing.next_reconnect = self.hearing.next_reconnect.max(now + DEAF_AFTER);
        for peer in self.peers.values_mut() {
            peer.queried = None;
        }
        self.outputs.push_back(Output::Deaf(since));
    }

    fn on_own(&mut self, now: Instant, beat: u64) {
        self.hearing.at = now;
        if std::mem::take(&mut self.hearing.deaf) {
            self.outputs.push_back(Output::Hearing);
        }
        if let Phase::Joining {
            heard: heard @ None,
            ..
        } = &mut self.phase
        {
            *heard = Some(now);
        }
        let Some((sent, proves)) = self.hearing.heard(beat) else {
            return;
        };
        if !proves {
            for peer in self.peers.values_mut() {
                peer.silent_since = peer.silent_since.max(sent);
            }
        }
        self.remove_dead(|peer| {
            (sent >= peer.silent_since + SILENCE).then_some(Departure::Silence)
        });
        self.remove_unresponsive(now);
    }

    fn on_namesake(&mut self, now: Instant, other: &Announcement) {
        if other.presence == Presence::Left {
            return;
        }
        let other_joins = other.presence == Presence::Joining;
        match self.phase {
            Phase::Joining { .. } if !other_joins || other.incarnation < self.incarnation => {
                let address = other.address.clone();
                self.refuse(Refused::IdInUse { address });
            }
            // The other one hears it and refuses to start.
            _ => self.announce_soon(now),
        }
        if !other_joins && self.phase != Phase::Over {
            self.outputs.push_back(Output::Conflict {
                id: self.id,
                address: other.address.clone(),
            });
        }
    }

    fn on_peer(&mut self, now: Instant, announcement: &Announcement) {
        let known = self.peers.get(&announcement.id);
        let same = known.is_some_and(|peer| peer.member.incarnation == announcement.incarnation);
        let Some(member) = announcement.member() else {
            if announcement.presence == Presence::Left && same {
                self.remove(&announcement.id, Departure::Farewell);
            }
            return;
        };
        match known {
            Some(peer) if !same && now < peer.heard + OVERDUE => {
                self.outputs.push_back(Output::Conflict {
                    id: member.id,
                    address: member.address,
                });
                return;
            }
            Some(_) if !same => self.remove(&announcement.id, Departure::Replaced),
            None if self.peers.len() + 1 >= MAX_NODES => {
                if matches!(self.phase, Phase::Joining { .. }) {
                    self.refuse(Refused::ClusterFull);
                } else {
                    self.outputs.push_back(Output::TooMany(member.id));
                }
                return;
            }
            _ => {}
        }
        let changed = self
            .peers
            .get(&member.id)
            .is_none_or(|peer| peer.member != member);
        if changed {
            self.outputs.push_back(Output::Alive(member.clone()));
        }
        self.peers.insert(
            member.id,
            Peer {
                member,
                heard: now,
                silent_since: now,
                queried: None,
            },
        );
    }

    /// Removes the nodes that were asked for an announcement, did not send one, and would have been heard.
    fn remove_unresponsive(&mut self, now: Instant) {
        let proven = self.hearing.last.map(|(_, sent)| sent);
        self.remove_dead(|peer| {
            let queried = peer.queried?;
            let is_proven = proven.is_some_and(|sent| sent >= queried);
            (now >= queried + ANSWER && is_proven).then_some(Departure::Refusal)
        });
    }

    fn remove_dead(&mut self, departure: impl Fn(&Peer) -> Option<Departure>) {
        let outputs = &mut self.outputs;
        self.peers.retain(|id, peer| {
            let Some(departure) = departure(peer) else {
                return true;
            };
            outputs.push_back(Output::Gone(*id, departure));
            false
        });
    }

    fn remove(&mut self, id: &NodeId, departure: Departure) {
        self.peers.remove(id);
        self.outputs.push_back(Output::Gone(*id, departure));
    }

    fn refuse(&mut self, reason: Refused) {
        self.phase = Phase::Over;
        self.outputs.push_back(Output::Refused(reason));
    }

    /// Announces at once, or a little later if the last announcement was a moment ago.
    fn announce_soon(&mut self, now: Instant) {
        let earliest = self
            .hearing
            .asked_at()
            .map_or(now, |asked| asked + MIN_INTERVAL);
        if earliest <= now {
            self.announce(now);
        } else {
            self.next_announcement = self.next_announcement.min(earliest);
        }
    }

    fn announce(&mut self, now: Instant) {
        self.announce_as(
            now,
            match self.phase {
                Phase::Joining { .. } => Presence::Joining,
                Phase::Up => Presence::Up,
                Phase::Draining => Presence::Draining,
                Phase::Over => Presence::Left,
            },
        );
    }

    fn announce_as(&mut self, now: Instant, presence: Presence) {
        let beat = self.hearing.sent(now);
        self.next_announcement = now + INTERVAL;
        self.outputs.push_back(Output::Announce { beat, presence });
    }
}
