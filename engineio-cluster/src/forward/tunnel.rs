//! The bytes of a WebSocket between the client's connection and a stream of HTTP/2.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use engineio_tower::forward::{ByteStream, Tunnel};
use h2::{RecvStream, SendStream};
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep};

use super::relays::Relay;
use crate::link::Ticket;
use crate::link::buffers::{self, LARGE};
use crate::link::stream::poll_send;
use crate::meter;

/// The time without progress after which a client is dropped that has yet to take what an owner had sent before it dropped the
/// WebSocket. As for a client of its own.
const STALL: Duration = Duration::from_secs(2);

thread_local! {
    /// The buffer into which clients are read, so that an idle WebSocket holds none.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Reads what the client has sent; nothing at the end of its stream.
fn poll_read(io: &mut dyn ByteStream, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    let mut buffer = BUFFER.take();
    if buffer.is_empty() {
        buffer = buffers::take();
    }
    let mut read = ReadBuf::new(&mut buffer);
    let outcome = Pin::new(io).poll_read(cx, &mut read);
    let len = read.filled().len();
    let bytes = if len >= LARGE {
        buffers::freeze(buffer, len)
    } else {
        let bytes = Bytes::copy_from_slice(&buffer[..len]);
        BUFFER.set(buffer);
        bytes
    };
    outcome.map_ok(|()| bytes)
}

/// A WebSocket whose session another node owns.
pub(super) struct StreamTunnel {
    to_owner: SendStream<Bytes>,
    from_owner: RecvStream,
    /// The bytes that were read from the client and have no room in the stream yet.
    up: Bytes,
    /// The bytes from the owner that the client's connection has not taken yet.
    down: Bytes,
    /// The client sends no more, or the owner takes no more.
    up_done: bool,
    /// The owner sends no more, and the client can read that.
    down_done: bool,
    /// The client's connection has to be flushed.
    unflushed: bool,
    /// The end of the time for the client, once the owner has dropped the WebSocket.
    dropped: Option<Pin<Box<Sleep>>>,
    _relay: Option<Relay>,
    _ticket: Option<Ticket>,
}

/// One of the two ends is gone.
struct Over;

impl StreamTunnel {
    pub(super) const fn new(
        to_owner: SendStream<Bytes>,
        from_owner: RecvStream,
        relay: Option<Relay>,
        ticket: Option<Ticket>,
    ) -> Self {
        Self {
            to_owner,
            from_owner,
            up: Bytes::new(),
            down: Bytes::new(),
            up_done: false,
            down_done: false,
            unflushed: false,
            dropped: None,
            _relay: relay,
            _ticket: ticket,
        }
    }

    /// Copies from the client to the owner until one of them has to wait.
    fn poll_up(&mut self, io: &mut dyn ByteStream, cx: &mut Context<'_>) -> Poll<Over> {
        while !self.up_done {
            if !ready!(poll_send(&mut self.to_owner, &mut self.up, false, cx)) {
                // What the owner has said before must still reach the client.
                self.up_done = true;
                break;
            }
            match ready!(poll_read(io, cx)) {
                Ok(bytes) if bytes.is_empty() => {
                    self.up_done = true;
                    let _ = self.to_owner.send_data(Bytes::new(), true);
                }
                Ok(bytes) => self.up = bytes,
                Err(_) => return Poll::Ready(Over),
            }
        }
        // The owner ends the other half when it has seen the end of this one.
        Poll::Pending
    }

    /// Copies from the owner to the client until one of them has to wait.
    fn poll_down(&mut self, io: &mut dyn ByteStream, cx: &mut Context<'_>) -> Poll<Over> {
        while !self.down_done {
            while !self.down.is_empty() {
                match ready!(Pin::new(&mut *io).poll_write(cx, &self.down)) {
                    Ok(0) | Err(_) => return Poll::Ready(Over),
                    Ok(written) => {
                        self.down.advance(written);
                        self.unflushed = true;
                        if let Some(end) = &mut self.dropped {
                            end.as_mut().reset(Instant::now() + STALL);
                        }
                        // Not before: the window is what holds an owner back whose client reads slowly.
                        let _ = self.from_owner.flow_control().release_capacity(written);
                    }
                }
            }
            match self.from_owner.poll_data(cx) {
                Poll::Ready(Some(Ok(bytes))) => self.down = bytes,
                Poll::Ready(Some(Err(error))) => {
                    // The owner resets the stream of a WebSocket that it drops.
                    if !error.is_reset() {
                        meter::count(meter::FORWARD_FAILURES, "broken", 1);
                    }
                    return Poll::Ready(Over);
                }
                Poll::Ready(None) => {
                    let _ = ready!(Pin::new(&mut *io).poll_shutdown(cx));
                    self.down_done = true;
                }
                Poll::Pending => {
                    // Even an empty slice would keep the buffer of the connection alive.
                    self.down = Bytes::new();
                    if self.unflushed {
                        match ready!(Pin::new(&mut *io).poll_flush(cx)) {
                            Ok(()) => self.unflushed = false,
                            Err(_) => return Poll::Ready(Over),
                        }
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Pending
    }

    /// Returns whether both ends have finished. The owner reads on after its end: a connection that is closed while its
    /// client sends is reset, and what the client has not read yet is lost.
    fn is_finished(&mut self, cx: &mut Context<'_>) -> bool {
        self.down_done && (self.up_done || self.to_owner.poll_reset(cx).is_ready())
    }
}

impl Tunnel for StreamTunnel {
    fn poll_relay(&mut self, io: &mut dyn ByteStream, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_up(io, cx).is_ready() || self.poll_down(io, cx).is_ready() {
            return Poll::Ready(());
        }
        if self.is_finished(cx) {
            return Poll::Ready(());
        }
        // While the client takes nothing, what comes from the owner is not looked at.
        if self.dropped.is_none() && self.to_owner.poll_reset(cx).is_ready() {
            self.dropped = Some(Box::pin(sleep(STALL)));
        }
        match &mut self.dropped {
            Some(end) => end.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
