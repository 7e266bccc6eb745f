//! The end of a link, from the end of its session to that of its connection.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use engineio_core as proto;
use engineio_core::DisconnectReason;
use engineio_core::driver::Budget;
use engineio_websocket::{Received, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout, timeout_at};

use crate::server::PendingWork;
use crate::session::link::Link;
use crate::session::{Session, give_way, now};

/// The time limit for the peer's answer to a close frame, after which the connection is dropped.
const CLOSE_HANDSHAKE: Duration = Duration::from_secs(2);

/// The time without progress after which the rest of the written data of an ended session is dropped.
const STALL: Duration = Duration::from_secs(2);

/// Writes the rest of the data to a client whose session has ended with a timeout. Returns the end of a link that the
/// session has closed for this reason.
pub(super) async fn ending<L: Link>(
    session: &Session,
    link: &mut L,
    reason: DisconnectReason,
) -> Ending {
    let deadline = session.ask(proto::server::Session::close_deadline);
    let left = deadline.map_or(CLOSE_HANDSHAKE, |end| end.saturating_duration_since(now()));
    let given_up = matches!(
        reason,
        DisconnectReason::PingTimeout | DisconnectReason::SlowConsumer
    );
    let patience = match reason {
        _ if given_up => drain(link, session.server.config.close_timeout).await,
        // Messages queued before a graceful close are delivered, even if the peer reads slowly.
        DisconnectReason::Server | DisconnectReason::Shutdown => left,
        _ => CLOSE_HANDSHAKE,
    };
    Ending {
        reason,
        patience,
        given_up,
    }
}

/// Writes what was taken out of the outbox before the client was given up, within the limit and as long as the client
/// takes some of it: a message that takes longer than the ping timeout to transmit arrives whole. Returns the remaining
/// time.
async fn drain<L: Link>(link: &mut L, limit: Duration) -> Duration {
    let begun = now();
    loop {
        let before = link.unwritten();
        let flushed = timeout(STALL, poll_fn(|cx| link.poll_flush(cx))).await;
        let left = limit.saturating_sub(now().saturating_duration_since(begun));
        if flushed.is_ok() || left.is_zero() || link.unwritten() == before {
            return left;
        }
    }
}

/// The end of a link, before its peer knows of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) reason: DisconnectReason,
    /// The time that the peer has to take what is still to be written.
    pub(crate) patience: Duration,
    /// The session has ended with a timeout.
    given_up: bool,
}

impl Ending {
    /// Returns the time limit for the peer to take more of the unwritten data.
    pub(crate) const fn stall(self) -> Duration {
        match self.given_up {
            true => STALL,
            false => self.patience,
        }
    }

    /// Returns the time limit for the sign that nothing follows. A client whose session has ended with a timeout gets
    /// only one attempt.
    const fn farewell(self) -> Duration {
        match self.given_up {
            true => Duration::ZERO,
            false => self.patience,
        }
    }
}

/// The end of a link after the attempt to tell the peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) ending: Ending,
    /// Everything was written, and then the sign that nothing follows.
    pub(crate) said: bool,
    /// The peer has closed its side.
    pub(crate) heard: bool,
}

/// Closes a WebSocket: writes the rest of the buffer and the close frame, then reads the peer's close frame.
///
/// Borrows the socket, because a future that owned it would hold it twice.
pub(super) async fn close<IO: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocket<IO>,
    ending: Ending,
    pending: &mut Option<PendingWork>,
) {
    let deadline = Instant::now() + ending.patience;
    let Said { said, heard, .. } = say(socket, ending).await;
    if said && !heard {
        hear(socket, ending, deadline, pending).await;
    }
    shut_down(socket).await;
}

/// Waits until the peer has closed, too.
///
/// What was written may wait in the system for a peer that reads slowly. The system goes on without this process, but only
/// until the peer sends something: that is answered with a reset, and the rest is lost. So the connection is held and read
/// until the deadline, but no shutdown waits for a peer that sends nothing. That may have gone; the one whose session has
/// ended with a timeout probably has.
async fn hear<IO: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocket<IO>,
    ending: Ending,
    deadline: Instant,
    pending: &mut Option<PendingWork>,
) {
    let mut is_first = true;
    loop {
        let mut has_sent = false;
        let next = deadline.min(Instant::now() + CLOSE_HANDSHAKE);
        let heard = poll_fn(|cx| match poll_close(socket, cx, &mut has_sent) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        let heard = timeout_at(next, heard).await;
        if heard.is_ok() || next == deadline {
            return;
        }
        if !has_sent {
            if ending.given_up {
                return;
            }
            *pending = None;
        }
        if std::mem::take(&mut is_first) {
            // Some peers look for the end of the connection only.
            shut_down(socket).await;
        }
    }
}

/// Ends the direction to the peer, as far as possible without waiting.
async fn shut_down<IO: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocket<IO>) {
    let _ = timeout(Duration::ZERO, poll_fn(|cx| socket.poll_shutdown(cx))).await;
}

/// Writes the rest of the buffer, and the sign that nothing follows.
pub(super) async fn say<L: Link>(link: &mut L, ending: Ending) -> Said {
    let mut closed = false;
    let mut heard = false;
    let say = poll_fn(|cx| {
        if !closed {
            closed = true;
            link.close(ending.reason);
        }
        heard = heard || poll_close(link, cx, &mut false);
        match link.poll_flush(cx) {
            Poll::Pending if !heard => Poll::Pending,
            flushed => Poll::Ready(matches!(flushed, Poll::Ready(Ok(())))),
        }
    });
    let said = timeout(ending.farewell(), say).await;
    Said {
        ending,
        said: said.unwrap_or(false),
        heard,
    }
}

/// Reads until the peer closes. Returns whether it has. Late messages are dropped, and noted.
fn poll_close<L: Link>(link: &mut L, cx: &mut Context<'_>, has_sent: &mut bool) -> bool {
    let mut budget = Budget::for_frames();
    while !budget.is_spent() {
        match link.poll_read(cx) {
            Poll::Ready(Some(Received::Frame(frame))) => {
                *has_sent = true;
                budget.charge_frame(frame.as_bytes().len());
            }
            Poll::Ready(Some(Received::Closed(_))) => return true,
            Poll::Ready(None) => {
                *has_sent = true;
                budget.charge_empty_read();
            }
            Poll::Pending => return false,
        }
    }
    // Other tasks want the thread, and the time limit is looked at only between.
    give_way(cx);
    false
}
