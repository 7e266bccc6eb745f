//! The links of a session, from their opening to their end. There is one, or two while an upgrade tries two transports.

use std::task::{Context, Poll};
use std::time::Duration;

use engineio_core::{DisconnectReason, LinkId, Transport};
use futures_core::future::BoxFuture;

use super::socket::{CloseHandshake, Socket};
use crate::Error;
use crate::net::link::Link;

type Opened = BoxFuture<'static, Result<Link, Error>>;

/// A link that is being opened.
type Opening = (LinkId, Transport, Opened);

#[derive(Default)]
pub(super) struct Links {
    openings: Vec<Opening>,
    /// Abandoned futures that must still be dropped: they may be those of the application's connector, whose code must
    /// not run under the lock.
    pub(super) given_up: Vec<Opening>,
    pub(super) sockets: Vec<Socket>,
    /// Those in their closing handshake.
    closing: Vec<CloseHandshake>,
    /// A link has ended whose messages the server may not have.
    pub(super) is_in_doubt: bool,
}

impl Links {
    pub(super) fn open(&mut self, id: LinkId, transport: Transport, opening: Opened) {
        // For one, and no memory for more.
        self.openings.reserve_exact(1);
        self.openings.push((id, transport, opening));
    }

    /// Returns the outcome of an opening that has completed.
    pub(super) fn poll_opening(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Option<(LinkId, Transport, Result<Link, Error>)> {
        for at in 0..self.openings.len() {
            if let Poll::Ready(opened) = self.openings[at].2.as_mut().poll(cx) {
                let (id, transport, _) = self.openings.swap_remove(at);
                return Some((id, transport, opened));
            }
        }
        None
    }

    pub(super) fn opened(&mut self, id: LinkId, link: Link) {
        // As a rule there is one, and a session that uses polling has none.
        self.sockets.reserve_exact(1);
        self.sockets.push(Socket::new(id, link));
    }

    /// Notes that the session has frames for a link.
    pub(super) fn announce(&mut self, id: LinkId) {
        let mut sockets = self.sockets.iter_mut();
        if let Some(socket) = sockets.find(|socket| socket.id == id) {
            socket.has_frames = true;
        }
    }

    /// Closes a link, or abandons opening it. The server has the time of `patience` to take what was sent, as long as it
    /// does take it.
    pub(super) fn close(&mut self, id: LinkId, reason: DisconnectReason, patience: Duration) {
        let of_id = |opening: &mut Opening| opening.0 == id;
        self.given_up.extend(self.openings.extract_if(.., of_id));
        let of_id = |socket: &Socket| socket.id == id;
        if let Some(at) = self.sockets.iter().position(of_id) {
            let socket = self.sockets.swap_remove(at);
            self.closing.push(socket.close(reason, patience));
        }
    }

    /// Removes a link that has ended for this reason, which the server may have to be told. Returns its id.
    pub(super) fn end(
        &mut self,
        at: usize,
        reason: DisconnectReason,
        patience: Duration,
    ) -> LinkId {
        let socket = self.sockets.swap_remove(at);
        let id = socket.id;
        self.closing.extend(socket.answer(reason, patience));
        id
    }

    /// Ready when no link is closing any more.
    pub(super) fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.closing.retain_mut(|link| {
            let is_over = link.poll(cx).is_ready();
            self.is_in_doubt |= is_over && link.is_in_doubt();
            !is_over
        });
        match self.closing.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}
