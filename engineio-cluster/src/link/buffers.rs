//! The memory of large pieces of a WebSocket on their way through this process.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::limits::MAX_FRAME;

/// The size of a buffer, in bytes: what one frame of HTTP/2 carries.
pub(crate) const BUFFER: usize = MAX_FRAME as usize;

/// Pieces below this size, in bytes, get memory of their own, so that one that has to wait holds little more than itself.
pub(crate) const LARGE: usize = 16 * 1024;

/// The most buffers that are kept for later: 4 MiB.
const KEPT: usize = 64;

/// Buffers that are free. The usual allocators return memory of this size to the system when much of it is free at once, as
/// between two bursts, and a burst then costs more for the faults of its pages than for all its copies.
static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Returns a buffer of [`BUFFER`] bytes with anything in it.
pub(crate) fn take() -> Vec<u8> {
    let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    free.unwrap_or_else(|| vec![0; BUFFER])
}

/// Keeps a buffer for later.
pub(crate) fn give_back(buffer: Vec<u8>) {
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    if free.len() < KEPT {
        free.push(buffer);
    }
}

/// Returns the first `len` bytes of a buffer, which is given back when they are dropped.
pub(crate) fn freeze(buffer: Vec<u8>, len: usize) -> Bytes {
    Bytes::from_owner(Filled { buffer, len })
}

struct Filled {
    buffer: Vec<u8>,
    len: usize,
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_and_only_so_many_are_kept() {
        let mut buffer = take();
        buffer[..3].copy_from_slice(b"abc");
        let bytes = freeze(buffer, 3);
        let rest = bytes.slice(1..);
        drop(bytes);
        assert_eq!(rest, "bc");
        drop(rest);
        let taken: Vec<_> = (0..KEPT + 5).map(|_| take()).collect();
        assert!(taken.iter().all(|buffer| buffer.len() == BUFFER));
        taken.into_iter().for_each(give_back);
        assert_eq!(FREE.lock().unwrap().len(), KEPT);
    }
}
