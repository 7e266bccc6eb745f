//! Messages that can be told apart: each follows from the session's seed and its own number.

use engineio_client::Message;

/// The largest message, in bytes; in base64 it is a third more.
pub(crate) const LARGEST: usize = 200 << 10;

/// The smallest message that has room for its number; shorter ones are empty.
const SMALLEST: usize = 24;

/// The characters of texts, of one, two, three and four bytes. U+001E cannot be in a text on polling.
const LETTERS: &str = "soak \"é\\ß\u{7f}€\u{2028}😀\r\n";

/// The messages of one session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages {
    seed: u64,
}

impl Messages {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The message of this number: always the same one.
    pub(crate) fn get(self, number: u64) -> Message {
        let seed = self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = fastrand::Rng::with_seed(seed);
        let size = match random.u8(0..100) {
            0..10 => 0,
            10..70 => random.usize(SMALLEST..256),
            70..90 => random.usize(256..8 << 10),
            90..98 => random.usize(8 << 10..64 << 10),
            _ => random.usize(64 << 10..=LARGEST),
        };
        if random.bool() {
            text(&mut random, number, size).into()
        } else {
            binary(&mut random, number, size).into()
        }
    }
}

fn text(random: &mut fastrand::Rng, number: u64, size: usize) -> String {
    let mut text = String::with_capacity(size);
    if size == 0 {
        return text;
    }
    text.push_str(&format!("n{number}:"));
    let letters: Vec<char> = LETTERS.chars().collect();
    let mut at = random.usize(..letters.len());
    while text.len() + 4 <= size {
        text.push(letters[at]);
        at = (at + 1) % letters.len();
    }
    text
}

fn binary(random: &mut fastrand::Rng, number: u64, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size);
    if size == 0 {
        return bytes;
    }
    bytes.extend(number.to_le_bytes());
    while bytes.len() < size {
        bytes.extend(random.u64(..).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// The number that a message says it has; an empty one says none.
pub(crate) fn number(message: &Message) -> Option<u64> {
    match message.as_text() {
        Some(text) => text.strip_prefix('n')?.split_once(':')?.0.parse().ok(),
        None => Some(u64::from_le_bytes(*message.as_bytes().first_chunk()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_says_its_number_unless_it_is_empty() {
        let messages = Messages::new(7);
        let mut empty = 0;
        for n in 0..2_000 {
            let message = messages.get(n);
            assert!(message.len() <= LARGEST);
            assert_eq!(message, messages.get(n));
            match number(&message) {
                Some(said) => assert_eq!(said, n),
                None => empty += usize::from(message.is_empty()),
            }
        }
        assert!((100..300).contains(&empty), "{empty}");
    }
}
