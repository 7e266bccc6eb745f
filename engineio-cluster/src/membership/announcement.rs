//! The announcement of a node on the bus, as bytes.

use std::sync::Arc;

use crate::bus::fields::{Malformed, Reader, Writer};
use crate::{Member, MemberState, NodeId};

/// The largest announcement, in bytes.
pub(crate) const MAX_ANNOUNCEMENT: usize = 1024;

/// The longest internal address, in bytes: a DNS name has 253 at most (RFC 1035 § 2.3.4), and a port follows.
pub(crate) const MAX_ADDRESS: usize = 255;

/// The announcement of a node: its id, its address and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) id: NodeId,
    /// A random number drawn when the node started.
    pub(crate) incarnation: u64,
    /// Counts the announcements of this incarnation.
    pub(crate) beat: u64,
    pub(crate) presence: Presence,
    pub(crate) address: Arc<str>,
    pub(crate) sessions: u64,
}

/// A stage in the life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The node has started and checks that nobody else has its id.
    Joining,
    Up,
    Draining,
    /// The farewell.
    Left,
}

impl Announcement {
    pub(crate) fn write(&self, out: &mut Writer) {
        out.u8(match self.presence {
            Presence::Joining => 0,
            Presence::Up => 1,
            Presence::Draining => 2,
            Presence::Left => 3,
        });
        out.node(&self.id);
        out.u64(self.incarnation);
        out.u64(self.beat);
        out.u64(self.sessions);
        out.short_text(&self.address);
    }

    pub(crate) fn read(from: &mut Reader) -> Result<Self, Malformed> {
        if from.remaining() > MAX_ANNOUNCEMENT {
            return Err(Malformed);
        }
        let presence = match from.u8()? {
            0 => Presence::Joining,
            1 => Presence::Up,
            2 => Presence::Draining,
            3 => Presence::Left,
            _ => return Err(Malformed),
        };
        let announcement = Self {
            presence,
            id: from.node()?,
            incarnation: from.u64()?,
            beat: from.u64()?,
            sessions: from.u64()?,
            address: from.short_text()?.into(),
        };
        if announcement.address.is_empty() || from.remaining() > 0 {
            return Err(Malformed);
        }
        Ok(announcement)
    }

    /// Returns the entry of the table, unless the node is about to join or has left.
    pub(crate) fn member(&self) -> Option<Member> {
        let state = match self.presence {
            Presence::Up => MemberState::Up,
            Presence::Draining => MemberState::Draining,
            Presence::Joining | Presence::Left => return None,
        };
        Some(Member {
            id: self.id,
            incarnation: self.incarnation,
            address: self.address.clone(),
            state,
            sessions: self.sessions,
        })
    }
}
