//! The task of one WebSocket: reads, handlers and writes, polled together.

use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use engineio_core::DisconnectReason;
use engineio_core::server::{Input, Session, WebSocketId};
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::pump::Pump;
use crate::session::{PartyId, Shared, Signal, now};
use crate::sync::Mutex;
use crate::websocket::{Received, WebSocket};

/// How many frames are read before handlers and writes get their turn, and before other tasks get theirs.
const READ_BATCH: usize = 64;

/// How many frames are taken out of the session at once, to be written together.
const WRITE_BATCH: usize = 8;

/// How long a peer may take to answer a close frame before the connection is dropped.
const CLOSE_HANDSHAKE: Duration = Duration::from_secs(2);

/// Runs the WebSocket of one client over the bytes that follow the handshake.
///
/// On hyper the service runs it by itself. A host without hyper marks its request with
/// [`HostUpgrade`](crate::HostUpgrade), takes the driver out of the response and runs it where it likes; it needs no
/// `Send` stream. Dropping it ends the WebSocket.
///
/// # Examples
///
/// ```
/// use engineio_tower::Driver;
/// use http::Response;
/// use tokio::io::{AsyncRead, AsyncWrite};
///
/// async fn answered<B, IO: AsyncRead + AsyncWrite + Unpin>(mut response: Response<B>, io: IO) {
///     if let Some(driver) = Driver::take(&mut response) {
///         driver.run(io).await;
///     }
/// }
/// # let _ = answered::<(), tokio::io::DuplexStream>;
/// ```
#[derive(Debug)]
pub struct Driver {
    session: Arc<Shared>,
    id: WebSocketId,
    pump: Pump,
    /// This task has the right to run the handlers.
    pumping: bool,
}

/// The place of a driver in a response's extensions, whose values must be `Clone`.
#[derive(Clone, Debug)]
struct Slot(Arc<Mutex<Option<Driver>>>);

impl Driver {
    pub(crate) fn new(session: Arc<Shared>, id: WebSocketId) -> Self {
        // A server that shuts down waits for the last words of its WebSockets.
        session.server.owes();
        Self {
            session,
            id,
            pump: Pump::default(),
            pumping: false,
        }
    }

    pub(crate) fn put<B>(self, response: &mut Response<B>) {
        let slot = Slot(Arc::new(Mutex::new(Some(self))));
        response.extensions_mut().insert(slot);
    }

    /// Takes the driver out of a response, if the response accepts a WebSocket.
    pub fn take<B>(response: &mut Response<B>) -> Option<Self> {
        let Slot(slot) = response.extensions_mut().remove::<Slot>()?;
        slot.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Runs the WebSocket until it is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the WebSocket without a close frame; a handler that is under way is run to its end elsewhere.
    pub async fn run<IO: AsyncRead + AsyncWrite + Unpin>(mut self, io: IO) {
        let max_payload = self.session.server.config.max_payload;
        let mut socket = WebSocket::new(io, max_payload);
        self.session.set_driver(self.id);
        let reason = poll_fn(|cx| {
            let done = self.poll(&mut socket, cx);
            if done.is_ready() {
                self.leave(cx);
            }
            done
        })
        .await;
        close(socket, reason, self.session.server.config.close_timeout).await;
    }

    /// Goes on as far as possible; ready when the session has let go of the WebSocket.
    fn poll<IO: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &mut WebSocket<IO>,
        cx: &mut Context<'_>,
    ) -> Poll<DisconnectReason> {
        loop {
            let now = now();
            let mut read = 0;
            let mut hungry = self.session.ask(Session::wants_input);
            while hungry && read < READ_BATCH {
                let (input, closed) = match socket.poll_read(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Received::Frame(frame)) => {
                        (Input::WebSocketFrame(self.id, frame), None)
                    }
                    Poll::Ready(Received::Closed(reason)) => {
                        (Input::WebSocketClosed(self.id, reason), Some(reason))
                    }
                };
                read += 1;
                hungry = self.session.update(|session| {
                    session.handle_input(now, input);
                    session.wants_input()
                });
                if let Some(reason) = closed {
                    return Poll::Ready(reason);
                }
            }

            self.poll_pump(cx);

            // What the handlers sent goes out together. Nothing is taken for a connection that is still full: the
            // outbox is what bounds a client that does not read.
            let mut blocked = match socket.poll_room(cx) {
                Poll::Ready(Ok(())) => false,
                Poll::Ready(Err(_)) => return self.broken(),
                Poll::Pending => true,
            };
            let mut more = true;
            while more && !blocked {
                let mut frames = [const { None }; WRITE_BATCH];
                more = self.session.take_frames(now, self.id, &mut frames);
                for frame in frames.iter_mut().map_while(Option::take) {
                    match socket.poll_write(frame, cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) => return self.broken(),
                        Poll::Pending => blocked = true,
                    }
                }
            }
            match socket.poll_flush(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return self.broken(),
                Poll::Pending => blocked = true,
            }

            // The loop ends when the session knows whom to wake; what was signalled in between is looked at first.
            let mut again = false;
            while let Some(signal) = self.session.poll_signal(PartyId::WebSocket(self.id), cx) {
                if let Signal::Close(reason) = signal {
                    return Poll::Ready(reason);
                }
                // A connection that takes nothing wakes the task itself when it does.
                again = !blocked;
            }
            // The handlers may have made room for what was not read.
            again |= !hungry && self.session.ask(Session::wants_input);
            if read == READ_BATCH {
                // Other tasks want the thread too.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !again {
                return Poll::Pending;
            }
        }
    }

    fn poll_pump(&mut self, cx: &mut Context<'_>) {
        self.pumping = self.pumping || self.session.claim_events();
        if self.pumping && self.pump.poll(&self.session, cx).is_ready() {
            self.pumping = false;
        }
    }

    /// Tells the session that the WebSocket is no more, and runs the handlers that are due here as far as they get;
    /// a task gets the rest, so that nothing waits for the peer's last words.
    fn leave(&mut self, cx: &mut Context<'_>) {
        let closed = Input::WebSocketClosed(self.id, DisconnectReason::TransportClose);
        self.session
            .leave(PartyId::WebSocket(self.id), Some(closed));
        self.poll_pump(cx);
        if std::mem::take(&mut self.pumping) {
            self.session.pump_on(std::mem::take(&mut self.pump));
        }
    }

    fn broken(&self) -> Poll<DisconnectReason> {
        let reason = DisconnectReason::TransportClose;
        let input = Input::WebSocketClosed(self.id, reason);
        self.session
            .update(|session| session.handle_input(now(), input));
        Poll::Ready(reason)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let closed = Input::WebSocketClosed(self.id, DisconnectReason::TransportClose);
        self.session
            .leave(PartyId::WebSocket(self.id), Some(closed));
        if self.pumping {
            self.session.pump_on(std::mem::take(&mut self.pump));
        } else {
            self.session.pump_elsewhere();
        }
        self.session.server.forgotten();
    }
}

/// The last words: what is still in the buffer and the close frame, then the peer's close frame.
async fn close<IO: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocket<IO>,
    reason: DisconnectReason,
    close_timeout: Duration,
) {
    let patience = match reason {
        // Nobody is there to listen: one attempt.
        DisconnectReason::PingTimeout | DisconnectReason::SlowConsumer => Duration::ZERO,
        // What was queued before an orderly close is delivered, even if the peer reads slowly.
        DisconnectReason::Server | DisconnectReason::Shutdown => close_timeout,
        _ => CLOSE_HANDSHAKE,
    };
    let mut said = false;
    let mut heard = false;
    let say = poll_fn(|cx| {
        if !said {
            said = true;
            socket.close(reason.websocket_code());
        }
        heard = heard || poll_close(&mut socket, cx);
        match socket.poll_flush(cx) {
            Poll::Pending if !heard => Poll::Pending,
            flushed => Poll::Ready(matches!(flushed, Poll::Ready(Ok(())))),
        }
    });
    let said = tokio::time::timeout(patience, say).await.unwrap_or(false);
    if said && !heard {
        let hear = poll_fn(|cx| match poll_close(&mut socket, cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        let _ = tokio::time::timeout(CLOSE_HANDSHAKE.min(patience), hear).await;
    }
    let _ = tokio::time::timeout(Duration::ZERO, poll_fn(|cx| socket.poll_shutdown(cx))).await;
}

/// Reads until the peer closes; what else it sends is late and dropped.
fn poll_close<IO: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocket<IO>,
    cx: &mut Context<'_>,
) -> bool {
    loop {
        match socket.poll_read(cx) {
            Poll::Ready(Received::Frame(_)) => {}
            Poll::Ready(Received::Closed(_)) => return true,
            Poll::Pending => return false,
        }
    }
}
