//! The packets of POSTs that were answered before the inbox had room for them.

use std::collections::VecDeque;
use std::time::Instant;

use super::machine::Machine;
use super::post::{Progress, take_in};
use crate::codec::Packets;
use crate::driver::Budget;
use crate::{DisconnectReason, Packet};

/// The maximum number of POSTs that are answered in advance: that of a client that learns that it may move, and one that
/// it has begun before it has learned it. It could begin more without waiting for room, so further ones wait.
const POSTS: usize = 2;

#[derive(Debug)]
pub(super) struct Backlog {
    /// The remaining packets of each body, in the order of their arrival.
    bodies: VecDeque<Packets>,
    /// Limits the packets that are not messages. No request is left that could continue after other tasks have run, so
    /// the bodies must not have more of them than one turn.
    budget: Budget,
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

impl Machine {
    /// Takes in packets of the backlog while there is room. Returns whether it is empty.
    pub(super) fn take_in_backlog(&mut self, now: Instant) -> Result<bool, DisconnectReason> {
        if self.inbox.discards_input() {
            self.take_in_accepted(false);
        }
        let Some(mut backlog) = self.backlog.take() else {
            return Ok(true);
        };
        while let Some(packets) = backlog.bodies.front_mut() {
            let outcome = match take_in(now, packets, &mut backlog.budget, self) {
                Ok(Progress::Done) => {
                    backlog.bodies.pop_front();
                    continue;
                }
                Ok(Progress::Full) => Ok(false),
                Ok(Progress::Turn) => Err(DisconnectReason::ParseError),
                Err(reason) => Err(reason),
            };
            if outcome.is_err() {
                // The session ends here, and the messages of the other bodies still count.
                backlog.bodies.pop_front();
            }
            self.backlog = Some(backlog);
            return outcome;
        }
        Ok(true)
    }

    /// Takes in messages of the backlog while there is room, if the session takes in nothing else any more. Once it
    /// `is_closed`, they come before the last event.
    pub(super) fn take_in_accepted(&mut self, is_closed: bool) {
        let Some(mut backlog) = self.backlog.take_if(|_| self.inbox.discards_input()) else {
            return;
        };
        while self.inbox_has_room() {
            let Some(packets) = backlog.bodies.front_mut() else {
                return;
            };
            match packets.next() {
                Some(Ok(Packet::Message(message))) => self.inbox.push_accepted(message, is_closed),
                Some(Ok(_)) if !backlog.budget.is_spent() => backlog.budget.charge_packet(),
                _ => drop(backlog.bodies.pop_front()),
            }
        }
        self.backlog = Some(backlog);
    }
}
