//! Recognises a message that has arrived before.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::wire::Stamp;

/// The most senders that are remembered.
const MAX_SENDERS: usize = 1024;

/// A sender that has published nothing for this time may be forgotten. A broker delivers no message as late as that.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The messages of each sender that have arrived, as a sliding window over their numbers (as in RFC 4303 § 3.4.3).
#[derive(Debug, Default)]
pub(crate) struct Duplicates {
    senders: HashMap<u64, Window>,
}

#[derive(Debug)]
struct Window {
    /// The highest number that has arrived.
    highest: u64,
    /// Bit n: number `highest - n` has arrived.
    seen: u128,
    last: Instant,
}

impl Duplicates {
    /// Takes note of a message, and returns whether it arrives for the first time.
    ///
    /// A message more than 127 numbers behind its sender's last one counts as a duplicate.
    pub(crate) fn is_new(&mut self, now: Instant, stamp: Stamp) -> bool {
        if !self.senders.contains_key(&stamp.sender) {
            self.make_room(now);
        }
        let window = self.senders.entry(stamp.sender).or_insert(Window {
            highest: stamp.number,
            seen: 0,
            last: now,
        });
        window.last = now;
        if let Some(ahead) = stamp
            .number
            .checked_sub(window.highest)
            .filter(|ahead| *ahead > 0)
        {
            let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
            window.seen = window.seen.checked_shl(shift).unwrap_or(0) | 1;
            window.highest = stamp.number;
            return true;
        }
        let behind = u32::try_from(window.highest - stamp.number).unwrap_or(u32::MAX);
        let Some(bit) = 1_u128.checked_shl(behind) else {
            return false;
        };
        let is_new = window.seen & bit == 0;
        window.seen |= bit;
        is_new
    }

    fn make_room(&mut self, now: Instant) {
        if self.senders.len() < MAX_SENDERS {
            return;
        }
        self.senders
            .retain(|_, window| now.duration_since(window.last) < REMEMBERED);
        if self.senders.len() >= MAX_SENDERS {
            let oldest = self.senders.iter().min_by_key(|(_, window)| window.last);
            if let Some(sender) = oldest.map(|(sender, _)| *sender) {
                self.senders.remove(&sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(sender: u64, number: u64) -> Stamp {
        Stamp { sender, number }
    }

    #[test]
    fn a_message_is_new_once_in_whatever_order_it_arrives() {
        let mut duplicates = Duplicates::default();
        let now = Instant::now();
        for number in [5, 7, 6, 1, 8] {
            assert!(duplicates.is_new(now, stamp(1, number)), "{number}");
            assert!(!duplicates.is_new(now, stamp(1, number)), "{number} again");
        }
        assert!(duplicates.is_new(now, stamp(2, 5)), "of another sender");
        assert!(duplicates.is_new(now, stamp(1, 1000)));
        assert!(!duplicates.is_new(now, stamp(1, 8)), "out of the window");
        assert!(duplicates.is_new(now, stamp(1, 999)));
        assert!(duplicates.is_new(now, stamp(1, u64::MAX)));
    }

    #[test]
    fn strange_senders_take_no_more_memory_than_stated() {
        let mut duplicates = Duplicates::default();
        let now = Instant::now();
        for sender in 0..10_000 {
            duplicates.is_new(now + Duration::from_millis(sender), stamp(sender, 1));
        }
        assert_eq!(duplicates.senders.len(), MAX_SENDERS);
        assert!(
            !duplicates.is_new(now, stamp(9_999, 1)),
            "the newest are kept"
        );
    }
}
