//! Compresses and decompresses messages (permessage-deflate, RFC 7692 § 7.2).
//!
//! No state is kept from one message of a connection to the next, so compressor and decompressor belong to the thread;
//! the compressor is the one that also compresses poll responses.
//!
//! # Why level 1, and why the output may grow too large
//!
//! Microseconds per message of JSON, and the size of the result; for noise, which no level makes smaller, the time
//! until that is known. The median of 41 rounds on one core of an AMD EPYC, release build with thin LTO, flate2 1.1.10
//! on miniz_oxide 0.9.1:
//!
//! | message | level 1 | level 2 | level 4 | level 6 | decompressed | noise, level 1 | noise, level 6 |
//! |---|---|---|---|---|---|---|---|
//! | 1 KiB | 5 (33 %) | 7 (31 %) | 8 (30 %) | 8 (30 %) | 4 | 8 | 12 |
//! | 4 KiB | 9 (26 %) | 15 (24 %) | 20 (23 %) | 24 (23 %) | 7 | 16 | 33 |
//! | 16 KiB | 22 (24 %) | 42 (22 %) | 65 (20 %) | 126 (19 %) | 16 | 47 | 147 |
//! | 64 KiB | 74 (23 %) | 217 (20 %) | 453 (18 %) | 1,023 (17 %) | 65 | 185 | 1,010 |
//! | 1 MB | 2,933 (23 %) | 3,848 (19 %) | 7,509 (17 %) | 18,191 (16 %) | 2,154 | 3,359 | 21,334 |
//!
//! Level 1 takes a third to three quarters of the time of level 2, and its result is a tenth to a fifth larger. A
//! compressor that is stopped when the result becomes too large must not be used again (see `compressor`), and a new
//! one costs up to 90 µs; so there is room even for a result that is then discarded.
//!
//! # Why a thread remembers messages
//!
//! The processor time of one delivery of a broadcast of JSON to 100 clients, the kernel's included (`echo` on bare hyper
//! with one thread, the same machine): of 4 KiB 2.5 µs, and 5 µs without compression; of 60 kB 5 µs, and 10 µs without.
//! One of 70 kB took 133 µs when only 64 KiB were remembered.

#[cfg(test)]
mod tests;

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Decompress, FlushCompress, FlushDecompress, Status};

use crate::Violation;
use crate::compressor;

/// The end of each compressed message, which is left out of it (RFC 7692 § 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The same with an empty last block behind it, which shows the library that the message did not stop within a block.
const TAIL_AND_END: [u8; 6] = [0, 0, 0xff, 0xff, 0x03, 0];

/// The size of the buffer of each thread into which messages are decompressed. One that is larger gets a buffer of its own.
const DECOMPRESS_BUFFER: usize = 64 * 1024;

/// The number of bytes of a compressed message that allow for one more block that is marked as the last one, beyond eight. After it the
/// decompressor is set back, which takes 0.2 µs. Clients make one or none.
const BYTES_PER_LAST_BLOCK: usize = 64;

/// The number of compressed messages that a thread remembers, for those that go to several clients.
const REMEMBERED: usize = 4;

/// The largest message that is remembered, in bytes: a thread keeps the last four, with the buffers that they are in.
const MEMORABLE: usize = 256 * 1024;

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor>> = const { RefCell::new(None) };
    static RECENT: RefCell<Recent> = const {
        RefCell::new(Recent {
            compressed: [const { None }; REMEMBERED],
            next: 0,
        })
    };
}

/// Returns the largest compressed size that is accepted, in bytes, for a message of up to `max_payload` bytes.
/// Incompressible data grows by a thousandth in zlib, and by an eighth at worst in compressors that are optimized for
/// speed.
pub(crate) const fn compressed_limit(max_payload: usize) -> usize {
    max_payload.saturating_add(max_payload / 8 + 128)
}

/// Decompresses a message. The output never takes more than one byte beyond `max_payload`.
pub(crate) fn decompress(payload: &[u8], max_payload: usize) -> Result<Bytes, Violation> {
    let compressed = [payload, &TAIL_AND_END].concat();
    DECOMPRESSOR.with_borrow_mut(|decompressor| {
        let decompressed = decompressor
            .get_or_insert_with(|| Decompressor {
                state: Decompress::new(false),
                buffer: vec![0; DECOMPRESS_BUFFER],
            })
            .decompress(&compressed, max_payload);
        if decompressed.is_err() {
            // A decompressor that has failed is not reused.
            *decompressor = None;
        }
        decompressed
    })
}

/// The decompressor of a thread.
struct Decompressor {
    state: Decompress,
    buffer: Vec<u8>,
}

impl Decompressor {
    fn decompress(&mut self, compressed: &[u8], max_payload: usize) -> Result<Bytes, Violation> {
        // One byte more shows that it is too much.
        let limit = max_payload.saturating_add(1);
        let mut room = compressed.len().saturating_mul(8);
        if room <= DECOMPRESS_BUFFER {
            let buffer = &mut self.buffer[..limit.min(DECOMPRESS_BUFFER)];
            if let Some(len) = decompress_into(&mut self.state, compressed, buffer)? {
                if len > max_payload {
                    return Err(Violation::TooLarge);
                }
                let message = Bytes::copy_from_slice(&buffer[..len]);
                // Cleared, so that no later message could show it, should the library ever read beyond its output.
                buffer[..len].fill(0);
                return Ok(message);
            }
            if limit <= DECOMPRESS_BUFFER {
                return Err(Violation::TooLarge);
            }
            room = 4 * DECOMPRESS_BUFFER;
        }
        loop {
            // The system provides only the pages that are written.
            let mut buffer = vec![0; room.min(limit)];
            match decompress_into(&mut self.state, compressed, &mut buffer)? {
                Some(len) if len <= max_payload => {
                    buffer.truncate(len);
                    // The inbox counts what is in it, not what it has room for.
                    buffer.shrink_to_fit();
                    return Ok(buffer.into());
                }
                None if room < limit => room = room.saturating_mul(4),
                _ => return Err(Violation::TooLarge),
            }
        }
    }
}

/// Decompresses bytes that end with [`TAIL_AND_END`]. Returns the length of the message, or `None` if there is not enough
/// room.
///
/// All of the room is given to the library from the start, so that it writes in place and notices a reference to data before
/// the message.
fn decompress_into(
    state: &mut Decompress,
    compressed: &[u8],
    room: &mut [u8],
) -> Result<Option<usize>, Violation> {
    let mut last_blocks = compressed.len() / BYTES_PER_LAST_BLOCK + 8;
    let mut rest = compressed;
    let mut len = 0;
    loop {
        state.reset(false);
        let status = state.decompress(rest, &mut room[len..], FlushDecompress::Finish);
        // Neither is more than a slice has.
        rest = &rest[state.total_in() as usize..];
        len += state.total_out() as usize;
        match status {
            Ok(Status::StreamEnd) if rest.is_empty() => return Ok(Some(len)),
            // A last block of the message's own. What must follow it, beginning with a new byte (RFC 7692 § 7.2.1), may
            // be missing.
            Ok(Status::StreamEnd) if rest == TAIL_AND_END => return Ok(Some(len)),
            Ok(Status::StreamEnd) if rest.len() > TAIL_AND_END.len() && last_blocks > 0 => {
                last_blocks -= 1;
            }
            Ok(Status::Ok | Status::BufError) if len == room.len() => return Ok(None),
            _ => return Err(Violation::NotDeflated),
        }
    }
}

/// Returns the compressed message, or `None` if it would not become smaller.
pub(crate) fn compress(message: &Bytes) -> Option<Bytes> {
    // Only a message with other holders is going to be sent again.
    if message.is_unique() || message.len() > MEMORABLE {
        return compress_anew(message);
    }
    RECENT.with_borrow_mut(|recent| recent.compress(message))
}

fn compress_anew(message: &[u8]) -> Option<Bytes> {
    compressor::with_compressor(|state| {
        let mut out = Vec::with_capacity(compressed_limit(message.len()));
        let compressor = compressor::fresh(state);
        let compressed = compressor.compress_vec(message, &mut out, FlushCompress::Sync);
        let all_read = usize::try_from(compressor.total_in()) == Ok(message.len());
        if !matches!(compressed, Ok(Status::Ok)) || !all_read || out.len() == out.capacity() {
            *state = None;
            return None;
        }
        let len = out.strip_suffix(&TAIL)?.len();
        if len >= message.len() {
            return None;
        }
        out.truncate(len);
        // It may wait for a slow client; it should not keep the unused room meanwhile.
        out.shrink_to_fit();
        Some(out.into())
    })
}

/// The last messages of this thread that others held too: a broadcast is compressed once for all clients of a thread.
///
/// It holds the messages, so that what is found at their place in memory is still the same.
struct Recent {
    compressed: [Option<(Bytes, Option<Bytes>)>; REMEMBERED],
    next: usize,
}

impl Recent {
    fn compress(&mut self, message: &Bytes) -> Option<Bytes> {
        let is_it =
            |known: &Bytes| known.as_ptr() == message.as_ptr() && known.len() == message.len();
        let found = self
            .compressed
            .iter()
            .flatten()
            .find(|(known, _)| is_it(known));
        if let Some((_, compressed)) = found {
            return compressed.clone();
        }
        let compressed = compress_anew(message);
        self.compressed[self.next] = Some((message.clone(), compressed.clone()));
        self.next = (self.next + 1) % REMEMBERED;
        compressed
    }
}
