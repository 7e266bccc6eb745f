//! The raw DEFLATE compressor of a thread (RFC 1951), shared by everything that compresses whole messages.
//!
//! A compressor takes some 300 KiB, and fetching them from the system can cost fifteen times as much as compressing a
//! small message; so each thread that compresses keeps one.

use std::cell::RefCell;

use flate2::{Compress, Compression};

thread_local! {
    static COMPRESSOR: RefCell<Option<Compress>> = const { RefCell::new(None) };
}

/// Calls `run` with the raw DEFLATE compressor of this thread, or with `None` if it has none yet.
///
/// [`fresh`] makes it ready for a message. A compressor that was stopped half-way must be removed: zlib-rs 0.6.8, which
/// any crate of the program can enable, keeps a position across the reset and panics at the next message.
///
/// # Panics
///
/// Panics if `run` calls this again.
pub fn with_compressor<T>(run: impl FnOnce(&mut Option<Compress>) -> T) -> T {
    COMPRESSOR.with_borrow_mut(run)
}

/// Resets the compressor, of level 1, for the next message, or creates one.
pub fn fresh(compressor: &mut Option<Compress>) -> &mut Compress {
    let compress = compressor.get_or_insert_with(|| Compress::new(Compression::fast(), false));
    compress.reset();
    compress
}
