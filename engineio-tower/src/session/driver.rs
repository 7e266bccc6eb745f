//! The task of one link: reads, handlers and writes, polled together.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use engineio_core as proto;
use engineio_core::driver::{Budget, catch_panic};
use engineio_core::server::Input;
use engineio_core::{DisconnectReason, Frame, LinkId};
use engineio_websocket::{PacketStream, Received, Role, WebSocket};
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::server::PendingWork;
use crate::session::closing::{Said, close, ending, say};
use crate::session::direct::TryWrite;
use crate::session::link::Link;
use crate::session::pump::Pump;
use crate::session::{Outgoing, Park, Progress, Session, WaiterId, give_way, now};

/// The binary messages that are written under one lock of the session.
const OWNERS: usize = 16;

/// Runs a link of a session of this process.
pub(crate) struct LinkDriver {
    session: Arc<Session>,
    id: LinkId,
    pump: Pump,
    /// This task holds the right to run the handlers.
    pumping: bool,
    /// The session takes input.
    wants_input: bool,
    /// Messages may be compressed, in both directions.
    deflate: bool,
    /// A server that shuts down waits for the close handshakes of its links.
    pending: Option<PendingWork>,
}

impl std::fmt::Debug for LinkDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkDriver")
            .field("session", &self.session)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl LinkDriver {
    pub(crate) fn new(session: Arc<Session>, id: LinkId) -> Self {
        Self {
            pending: Some(PendingWork::begin(&session.server)),
            session,
            id,
            pump: Pump::default(),
            pumping: false,
            wants_input: true,
            deflate: false,
        }
    }

    /// Enables permessage-deflate, which the handshake has agreed on.
    pub(crate) const fn compress_messages(&mut self) {
        self.deflate = true;
    }

    /// Runs a WebSocket until it is closed. Dropping it ends the WebSocket without a close frame.
    ///
    /// Others may write to the `connection` while this task sleeps, unless messages may be compressed, which takes longer
    /// than a lock should be held.
    pub(crate) async fn run<IO: AsyncRead + AsyncWrite + Unpin>(
        mut self,
        io: IO,
        connection: Option<Arc<dyn TryWrite>>,
    ) {
        let max_payload = self.session.server.config.max_payload;
        let mut socket = WebSocket::new(io, Role::Server, max_payload, self.deflate);
        let connection = connection.filter(|_| !self.deflate);
        let reason = match self.session.start_driver(self.id, connection) {
            Ok(()) => poll_fn(|cx| self.poll_to_end(&mut socket, cx)).await,
            Err(reason) => reason,
        };
        // With memory for the close only now.
        let ending = Box::pin(ending(&self.session, &mut socket, reason)).await;
        Box::pin(close(&mut socket, ending, &mut self.pending)).await;
    }

    /// Runs a packet stream until the session has closed it, and sends its end, with memory for that only then. Returns
    /// how it ended; the rest of the close handshake is the caller's, who keeps the driver meanwhile.
    pub(crate) async fn run_stream<IO: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut PacketStream<IO>,
    ) -> Said {
        stream.set_max_payload(self.session.server.config.max_payload);
        let reason = match self.session.start_driver(self.id, None) {
            Ok(()) => poll_fn(|cx| self.poll_to_end(stream, cx)).await,
            Err(reason) => reason,
        };
        let ending = Box::pin(ending(&self.session, stream, reason)).await;
        Box::pin(say(stream, ending)).await
    }

    /// Runs a link until the session has closed it, and reports that.
    fn poll_to_end<L: Link>(
        &mut self,
        link: &mut L,
        cx: &mut Context<'_>,
    ) -> Poll<DisconnectReason> {
        let done = self.poll(link, cx);
        if done.is_ready() {
            if let Some(rest) = self.session.take_connection(self.id) {
                link.resume(&rest);
            }
            self.leave(cx);
        }
        done
    }

    /// Makes progress as far as possible; ready when the session has closed the link.
    fn poll<L: Link>(&mut self, link: &mut L, cx: &mut Context<'_>) -> Poll<DisconnectReason> {
        let mut budget = Budget::for_frames();
        loop {
            let now = now();
            let more = match self.poll_read(now, &mut budget, link, cx) {
                Ok(more) => more,
                Err(reason) => return Poll::Ready(reason),
            };
            self.poll_pump(cx);
            let Ok(write_blocked) = self.poll_write(now, &mut budget, link, cx) else {
                return self.broken();
            };
            if more && !budget.is_spent() {
                continue;
            }
            let progress = Progress {
                write_blocked,
                wants_input: self.wants_input,
                pumping: self.pumping,
            };
            match self.session.park(self.id, progress, cx, None) {
                // Seen at the end of a turn too: a client that sends without a pause lets the task never rest.
                Park::Close(reason) => return Poll::Ready(reason),
                _ if budget.is_spent() => {
                    // Other tasks want the thread too.
                    give_way(cx);
                    return Poll::Pending;
                }
                Park::Asleep => return Poll::Pending,
                // The handlers may have made room for what was not read. What is read without room would be lost.
                Park::Again => {
                    self.wants_input = self.session.ask(proto::server::Session::wants_input)
                }
            }
        }
    }

    /// Reads available frames while the session takes them. Returns whether there may be more to read, or the reason
    /// why the link has ended.
    fn poll_read<L: Link>(
        &mut self,
        now: Instant,
        budget: &mut Budget,
        link: &mut L,
        cx: &mut Context<'_>,
    ) -> Result<bool, DisconnectReason> {
        let mut bytes = 0;
        while self.wants_input && !budget.is_spent() {
            if bytes >= Budget::READ_CHUNK {
                return Ok(true);
            }
            let Poll::Ready(mut next) = link.poll_read(cx) else {
                break;
            };
            if next.is_none() {
                bytes += Budget::READ_CHUNK;
                budget.charge_empty_read();
            }
            // A message of nothing may be compressed in a megabyte, and takes as long to decompress.
            let mut compressed = link.take_compressed_len();
            let mut closed = None;
            self.wants_input = self.session.feed(self.id, now, || {
                if closed.is_some() || budget.is_spent() {
                    return None;
                }
                Some(match next.take().or_else(|| link.parse_plain())? {
                    Received::Frame(frame) => {
                        let len = frame.as_bytes().len();
                        let len = len.max(std::mem::take(&mut compressed));
                        bytes += len;
                        budget.charge_frame(len);
                        Input::LinkFrame(self.id, frame)
                    }
                    Received::Closed(reason) => {
                        closed = Some(reason);
                        Input::LinkClosed(self.id, reason)
                    }
                })
            });
            if let Some(reason) = closed {
                log_end(link);
                return Err(reason);
            }
        }
        Ok(false)
    }

    /// Writes all frames that are due together. Returns whether the connection takes no more bytes for now; then no
    /// more frames are taken from the outbox, whose limit bounds a client that does not read (back pressure).
    fn poll_write<L: Link>(
        &self,
        now: Instant,
        budget: &mut Budget,
        link: &mut L,
        cx: &mut Context<'_>,
    ) -> io::Result<bool> {
        let threshold = match self.deflate {
            false => usize::MAX,
            true => self.threshold(),
        };
        let mut more = true;
        while more && link.poll_room(cx)?.is_ready() {
            let mut large = None;
            // Binary messages may own memory of the application, whose `Drop` must not run under the session's lock.
            let mut owners = SmallVec::<[Bytes; OWNERS]>::new();
            more = self.session.take_frames(self.id, now, |outgoing, session| {
                let frame = match outgoing {
                    Outgoing::Frame(frame) => frame,
                    Outgoing::Rest(rest) => {
                        link.resume(&rest);
                        return true;
                    }
                };
                if frame.as_bytes().len() >= threshold && session.taken_options().is_compressible()
                {
                    // To be compressed when nobody has to wait for it at the session's lock.
                    large = Some(frame);
                    return false;
                }
                if let Frame::Binary(bytes) = &frame {
                    owners.push(bytes.clone());
                }
                link.write(frame);
                link.has_room() && owners.len() < OWNERS
            });
            for owner in owners {
                // Each by itself: a second panic while the first one unwinds would end the process.
                let _ = catch_panic(|| drop(owner));
            }
            if let Some(frame) = large {
                link.write_compressed(frame);
            }
            // A handler of `on_drain`, or another thread, may send as fast as the client reads.
            budget.charge_round();
            more &= !budget.is_spent();
        }
        Ok(link.poll_flush(cx)?.is_pending())
    }

    /// Returns the size in bytes of the smallest message that is compressed.
    #[cold]
    fn threshold(&self) -> usize {
        let options = &self.session.server.options;
        options.websocket_compression.unwrap_or(usize::MAX)
    }

    fn poll_pump(&mut self, cx: &mut Context<'_>) {
        let claimed = match self.pumping {
            true => None,
            false => self.session.claim_event(),
        };
        if self.pumping || claimed.is_some() {
            let pumped = self.pump.poll_from(claimed, &self.session, cx);
            self.pumping = pumped.is_pending();
        }
    }

    /// Reports the end of the link to the session, and runs the handlers that are due until the first that has to
    /// wait; a task gets the rest, so that none waits for the close handshake.
    fn leave(&mut self, cx: &mut Context<'_>) {
        let closed = Input::LinkClosed(self.id, DisconnectReason::TransportClose);
        self.session.leave(WaiterId::Link(self.id), Some(closed));
        self.poll_pump(cx);
        if std::mem::take(&mut self.pumping) {
            self.session.pump_on(std::mem::take(&mut self.pump));
        }
    }

    fn broken(&self) -> Poll<DisconnectReason> {
        let reason = DisconnectReason::TransportClose;
        let input = Input::LinkClosed(self.id, reason);
        self.session
            .update(|session| session.handle_input(now(), input));
        Poll::Ready(reason)
    }
}

impl Drop for LinkDriver {
    fn drop(&mut self) {
        let closed = Input::LinkClosed(self.id, DisconnectReason::TransportClose);
        self.session.leave(WaiterId::Link(self.id), Some(closed));
        if self.pumping {
            self.session.pump_on(std::mem::take(&mut self.pump));
        } else {
            self.session.pump_elsewhere();
        }
    }
}

/// Logs why a link ended. The subscriber is the application's code, which must not run under the session's lock.
fn log_end(link: &mut impl Link) {
    if let Some(end) = link.take_end() {
        tracing::debug!(target: "engineio::websocket", %end, "the connection ended");
    }
}
