//! Keeps a small message from holding the large buffer that it arrived in.

use bytes::Bytes;

use crate::Config;

/// Copies `bytes` into memory of its own if `buffer`, the size of the allocation that it is a slice of, is much larger.
///
/// A slice keeps the whole allocation alive, but a queue counts only the length of the message and
/// [`Config::PACKET_OVERHEAD`]. Copying whenever the allocation is larger than twice the message and that overhead
/// keeps the memory behind a full queue below twice its limit. A slice that fills most of its buffer is returned as it
/// is.
///
/// Both payload decoders call this for the text and binary messages that they cut out of a body. A WebSocket codec
/// calls it with the capacity of its read buffer.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use engineio_core::codec::detach;
///
/// let body = Bytes::from(vec![b'4'; 1_000]);
/// let most = detach(body.slice(..900), body.len());
/// assert_eq!(most.as_ptr(), body.as_ptr());
/// let little = detach(body.slice(..10), body.len());
/// assert_ne!(little.as_ptr(), body.as_ptr());
/// ```
#[must_use]
pub fn detach(bytes: Bytes, buffer: usize) -> Bytes {
    let bearable = bytes.len().saturating_mul(2) + Config::PACKET_OVERHEAD;
    if buffer > bearable {
        Bytes::copy_from_slice(&bytes)
    } else {
        bytes
    }
}
