//! The limits of a connection between two nodes, which both ends set.

/// The maximum number of requests and WebSockets of one connection between two nodes.
pub(crate) const STREAMS: u32 = 10_000;

/// The flow-control window of one of them, in bytes. The window of the connection is that of all together.
pub(crate) const STREAM_WINDOW: u32 = 128 * 1024;

/// The bytes that are buffered towards the connection for one stream.
pub(crate) const SEND_BUFFER: usize = 64 * 1024;

/// The largest frame, in bytes.
pub(crate) const MAX_FRAME: u32 = 64 * 1024;

/// The largest head of a request, in bytes: larger than those that hosts accept.
pub(crate) const MAX_HEADERS: u32 = 1024 * 1024;
