//! The packets of POSTs that were answered before the inbox had room for them.

use std::collections::VecDeque;

use crate::codec::Packets;
use crate::driver::Budget;

/// The maximum number of POSTs that are answered in advance: that of a client that learns that it may move, and one that
/// it has begun before it has learned it. It could begin more without waiting for room, so further ones wait.
const POSTS: usize = 2;

#[derive(Debug)]
pub(super) struct Backlog {
    /// The remaining packets of each body, in the order of their arrival.
    pub(super) bodies: VecDeque<Packets>,
    /// Limits the packets that are not messages. No request is left that could continue after other tasks have run, so
    /// the bodies must not have more of them than one turn.
    pub(super) budget: Budget,
}

impl Default for Backlog {
    fn default() -> Self {
        Self {
            bodies: VecDeque::new(),
            budget: Budget::for_packets(),
        }
    }
}

impl Backlog {
    /// Returns whether no further POST is answered in advance.
    pub(super) fn is_full(&self) -> bool {
        self.bodies.len() >= POSTS
    }

    pub(super) fn push(&mut self, packets: Packets) {
        self.bodies.push_back(packets);
    }
}
