//! Recognises a message that has arrived before.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::fields::Stamp;

/// The maximum number of senders that are remembered.
const MAX_SENDERS: usize = 1024;

/// A sender that has published nothing for this time may be forgotten. A broker delivers no message as late as that.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The numbers behind the highest one of a sender that are remembered. Tasks that publish at the same time overtake each
/// other, but not by as many: see [`Numbers`](super::numbers::Numbers).
pub(super) const WINDOW: u64 = 1024;

/// The messages of each sender that have arrived, as a sliding window over their numbers (as in RFC 6479).
#[derive(Debug, Default)]
pub(crate) struct Duplicates {
    senders: HashMap<u64, Window>,
}

#[derive(Debug)]
struct Window {
    /// The highest number that has arrived.
    highest: u64,
    /// Bit `n % WINDOW`: number n has arrived.
    seen: [u64; (WINDOW / 64) as usize],
    last: Instant,
}

impl Duplicates {
    /// Takes note of a message, and returns whether it arrives for the first time.
    ///
    /// A message that is [`WINDOW`] numbers or more behind its sender's last one counts as a duplicate.
    pub(crate) fn is_new(&mut self, now: Instant, stamp: Stamp) -> bool {
        if !self.senders.contains_key(&stamp.sender) {
            self.make_room(now);
        }
        let window = self.senders.entry(stamp.sender).or_insert(Window {
            highest: stamp.number,
            seen: [0; (WINDOW / 64) as usize],
            last: now,
        });
        window.last = now;
        window.add(stamp.number)
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

impl Window {
    fn add(&mut self, number: u64) -> bool {
        if number > self.highest {
            let ahead = number - self.highest;
            if ahead >= WINDOW {
                self.seen.fill(0);
            } else {
                // The places of numbers that have left the window.
                (self.highest + 1..=number).for_each(|number| self.free(number));
            }
            self.highest = number;
        } else if self.highest - number >= WINDOW {
            return false;
        }
        let (word, bit) = place(number);
        let is_new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        is_new
    }

    /// Frees the place of a number.
    const fn free(&mut self, number: u64) {
        let (word, bit) = place(number);
        self.seen[word] &= !bit;
    }
}

/// Returns the word and the bit of a number.
const fn place(number: u64) -> (usize, u64) {
    let index = number % WINDOW;
    ((index / 64) as usize, 1 << (index % 64))
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
        assert!(duplicates.is_new(now, stamp(1, 2000)));
        assert!(!duplicates.is_new(now, stamp(1, 8)), "out of the window");
        assert!(duplicates.is_new(now, stamp(1, 1999)));
        assert!(duplicates.is_new(now, stamp(1, u64::MAX)));
    }

    #[test]
    fn a_thousand_numbers_may_be_overtaken_and_each_is_new_once() {
        let mut duplicates = Duplicates::default();
        let now = Instant::now();
        for block in 0..50 {
            // The first of the block comes last.
            let first = block * 1000;
            let late = (first + 1..first + 1000).chain([first]);
            for number in late.clone() {
                assert!(duplicates.is_new(now, stamp(1, number)), "{number}");
            }
            for number in late {
                assert!(!duplicates.is_new(now, stamp(1, number)), "{number} again");
            }
        }
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
