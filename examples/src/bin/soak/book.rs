//! The messages that one session has sent and received, which must agree.

use std::collections::BTreeSet;

use engineio_client::Message;

use crate::message::{Messages, number};

/// The echoes of one session, each expected once and in the order of the numbers.
#[derive(Debug)]
pub(crate) struct Book {
    messages: Messages,
    /// The number of messages to send if the session lasts.
    planned: u64,
    /// The number of the echo that must come next.
    next: u64,
    /// Messages that were overtaken and have not arrived.
    missing: BTreeSet<u64>,
    pub(crate) faults: Faults,
}

/// The faults that must not happen to messages.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
    pub(crate) changed: u64,
}

impl Book {
    pub(crate) fn new(messages: Messages, planned: u64) -> Self {
        Self {
            messages,
            planned,
            next: 0,
            missing: BTreeSet::new(),
            faults: Faults::default(),
        }
    }

    /// Returns the number of echoes that have arrived or were overtaken.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Enters an echo.
    pub(crate) fn enter(&mut self, echo: &Message) {
        if self.next < self.planned && *echo == self.messages.get(self.next) {
            self.next += 1;
            return;
        }
        let Some(number) = number(echo).or_else(|| self.number_of_empty(echo)) else {
            // An empty message that nobody waits for, or one whose head was damaged.
            if echo.is_empty() {
                self.faults.doubled += 1;
            } else {
                self.faults.changed += 1;
            }
            return;
        };
        if number >= self.planned || *echo != self.messages.get(number) {
            self.faults.changed += 1;
        } else if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
        } else if self.missing.remove(&number) {
            self.faults.reordered += 1;
        } else {
            self.faults.doubled += 1;
        }
    }

    /// The message that an empty echo is likely to be: the first that is missing, or else the next one.
    fn number_of_empty(&self, echo: &Message) -> Option<u64> {
        let is_it = |number: &u64| *echo == self.messages.get(*number);
        let missing = self.missing.iter().copied().find(is_it);
        missing.or_else(|| (self.next..self.planned).find(is_it))
    }

    /// Closes the book. `sent` messages were to come back, or it is unknown how many: then those alone are lost which
    /// others have overtaken.
    pub(crate) fn close(mut self, sent: Option<u64>) -> Faults {
        self.faults.lost += self.missing.len() as u64;
        if let Some(sent) = sent {
            self.faults.lost += sent.saturating_sub(self.next);
        }
        self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: u64 = 300;

    /// The faults found when the echoes come as `change` has them.
    fn faults(change: impl FnOnce(&mut Vec<Message>)) -> Faults {
        let messages = Messages::new(1);
        let mut echoes = (0..SENT).map(|n| messages.get(n)).collect();
        change(&mut echoes);
        let mut book = Book::new(messages, SENT);
        for echo in &echoes {
            book.enter(echo);
        }
        book.close(Some(SENT))
    }

    /// The number of a message that is not empty, nor next to an empty one.
    fn full() -> usize {
        let messages = Messages::new(1);
        let is_full = |n: &usize| (n - 1..=n + 1).all(|n| !messages.get(n as u64).is_empty());
        (10..200).find(is_full).unwrap()
    }

    #[test]
    fn what_comes_once_and_in_order_has_no_fault() {
        assert_eq!(faults(|_| {}), Faults::default());
    }

    #[test]
    fn each_fault_is_called_by_its_name() {
        let at = full();
        let none = Faults::default();
        let lost = faults(|echoes| drop(echoes.remove(at)));
        assert_eq!(lost, Faults { lost: 1, ..none });
        let tail = faults(|echoes| echoes.truncate(290));
        assert_eq!(tail, Faults { lost: 10, ..none });
        let doubled = faults(|echoes| echoes.insert(at, echoes[at - 1].clone()));
        assert_eq!(doubled, Faults { doubled: 1, ..none });
        let reordered = faults(|echoes| echoes.swap(at, at + 1));
        assert_eq!(
            reordered,
            Faults {
                reordered: 1,
                ..none
            }
        );
        // It is not an echo, and the original message has not arrived.
        let changed = faults(|echoes| {
            let mut bytes = echoes[at].as_bytes().to_vec();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            echoes[at] = bytes.into();
        });
        assert_eq!((changed.changed, changed.lost), (1, 1));
    }

    #[test]
    fn an_empty_message_counts_as_any_other() {
        let messages = Messages::new(1);
        let at = (10..SENT).find(|n| messages.get(*n).is_empty()).unwrap() as usize;
        let lost = faults(|echoes| drop(echoes.remove(at)));
        assert_eq!(lost.lost, 1, "{lost:?}");
        let doubled = faults(|echoes| echoes.push(Message::from("")));
        assert_eq!(doubled.doubled, 1, "{doubled:?}");
    }
}
