//! Random numbers that are the same on every machine; a seed is the whole story of a failure.

use bytes::Bytes;
use engineio_core::Message;

pub(crate) struct Xorshift(u64);

impl Xorshift {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike, and zero would stay zero.
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            random.next();
        }
        random
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub(crate) const fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 16) % end as u64) as usize
    }

    /// Whether something happens that has a chance of one in `n`.
    pub(crate) const fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Text of every length of UTF-8, without the separator of revision 4, which no message may hold.
    pub(crate) fn text(&mut self, max_chars: usize) -> String {
        const ALPHABET: [char; 12] = [
            'a', 'b', '4', '1', ' ', '\n', '\0', ':', 'é', '€', '😀', '\u{ffff}',
        ];
        (0..self.below(max_chars + 1))
            .map(|_| ALPHABET[self.below(ALPHABET.len())])
            .collect()
    }

    pub(crate) fn bytes(&mut self, max_len: usize) -> Bytes {
        (0..self.below(max_len + 1))
            .map(|_| self.next() as u8)
            .collect()
    }

    pub(crate) fn message(&mut self, max_len: usize) -> Message {
        if self.one_in(3) {
            Message::Binary(self.bytes(max_len))
        } else {
            Message::from(self.text(max_len))
        }
    }
}
