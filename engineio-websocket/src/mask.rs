//! The masks of a client's frames (RFC 6455 § 5.3).

use std::cell::RefCell;
use std::io;

/// The size of the mask key of a frame in bytes.
pub(crate) const KEY: usize = 4;

/// The number of keys that are drawn at once. The system call that draws them costs as much as masking a few KiB.
const KEYS: usize = 256;

/// Random bytes of the system, of which those from `next` on are unused.
struct Keys {
    random: [u8; KEYS * KEY],
    next: usize,
}

thread_local! {
    static UNUSED: RefCell<Keys> = const {
        RefCell::new(Keys {
            random: [0; KEYS * KEY],
            next: KEYS * KEY,
        })
    };
}

/// Draws the key of one frame. Each key comes from the system's randomness and is used once, because a script that can
/// predict a mask can choose the bytes on the wire (RFC 6455 § 10.3).
pub(crate) fn draw_key() -> io::Result<[u8; KEY]> {
    UNUSED.with_borrow_mut(|keys| {
        if keys.next == keys.random.len() {
            getrandom::fill(&mut keys.random)?;
            keys.next = 0;
        }
        let mut key = [0; KEY];
        key.copy_from_slice(&keys.random[keys.next..keys.next + KEY]);
        keys.next += KEY;
        Ok(key)
    })
}

/// Masks or unmasks bytes whose first one has the first byte of the key; eight at a time, which compilers turn into
/// vectors.
pub(crate) fn apply(bytes: &mut [u8], key: [u8; KEY]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (eights, rest) = bytes.as_chunks_mut::<8>();
    for eight in eights {
        *eight = (u64::from_ne_bytes(*eight) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{KEYS, draw_key};

    #[test]
    fn no_key_is_used_twice() {
        let draw = || draw_key().unwrap();
        let keys: HashSet<_> = std::iter::repeat_with(draw).take(4 * KEYS).collect();
        // Two of 1,024 random keys are equal once in 8,000 runs; three pairs never.
        assert!(keys.len() >= 4 * KEYS - 2, "{} different keys", keys.len());
    }
}
