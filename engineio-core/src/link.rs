//! Ids of links.

/// The id of one link: a connection of a session that carries packets as frames in both directions, by WebSocket or
/// WebTransport. A number that a session assigns, unique within that session.
///
/// A server's driver gets it from [`server::Session::next_link`](crate::server::Session::next_link), a client's in
/// [`client::Output::OpenLink`](crate::client::Output::OpenLink).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId(pub(crate) u32);

impl LinkId {
    /// Returns the next id of a session.
    pub(crate) const fn next(last: &mut u32) -> Self {
        *last = last.wrapping_add(1);
        Self(*last)
    }
}
