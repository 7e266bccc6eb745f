//! The evidence that the bus delivers: the own announcements that come back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time without an own announcement after which this node is deaf.
pub(super) const DEAF_AFTER: Duration = Duration::from_secs(4);

/// Two own announcements that are further apart prove nothing about the time between them: this process was frozen.
pub(super) const MAX_GAP: Duration = Duration::from_secs(2);

/// Own announcements that have not come back yet and are remembered.
const MAX_UNHEARD: usize = 64;

/// The own announcements, which prove that the bus delivers.
#[derive(Debug)]
pub(super) struct Hearing {
    /// The number of the last announcement.
    pub(super) beat: u64,
    /// When announcements left that have not come back, oldest first.
    pub(super) unheard: VecDeque<(u64, Instant)>,
    /// The last announcement that came back, and when it had left.
    pub(super) last: Option<(u64, Instant)>,
    /// When something of this node's own was heard last.
    pub(super) at: Instant,
    pub(super) deaf: bool,
    pub(super) next_reconnect: Instant,
}

impl Hearing {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            beat: 0,
            unheard: VecDeque::new(),
            last: None,
            at: now,
            deaf: false,
            next_reconnect: now,
        }
    }

    /// Returns when this node is deaf, or asks for the next connection.
    pub(super) fn deadline(&self) -> Instant {
        if self.deaf {
            self.next_reconnect
        } else {
            self.at + DEAF_AFTER
        }
    }

    pub(super) fn sent(&mut self, now: Instant) -> u64 {
        self.beat += 1;
        self.unheard.push_back((self.beat, now));
        if self.unheard.len() > MAX_UNHEARD {
            self.unheard.pop_front();
        }
        self.beat
    }

    /// Returns when the last announcement left.
    pub(super) fn asked_at(&self) -> Option<Instant> {
        match self.unheard.back() {
            Some((_, sent)) => Some(*sent),
            None => self.last.map(|(_, sent)| sent),
        }
    }

    /// Returns whether an announcement that left at this time or later has come back.
    pub(super) fn proves(&self, time: Instant) -> bool {
        self.last.is_some_and(|(_, sent)| sent >= time)
    }

    /// Takes note of an announcement that came back. Returns when it had left, and whether the time since the one
    /// before it is proven. Returns `None` for an announcement that is not expected.
    pub(super) fn heard(&mut self, beat: u64) -> Option<(Instant, bool)> {
        let index = self.unheard.iter().position(|(sent, _)| *sent == beat)?;
        let (_, sent) = self.unheard.drain(..=index).next_back()?;
        let before = self.last.replace((beat, sent));
        let proves = before
            .is_some_and(|(last, left)| last + 1 == beat && sent.duration_since(left) <= MAX_GAP);
        Some((sent, proves))
    }
}
