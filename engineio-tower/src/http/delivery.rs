//! The end of a session whose packets were dropped with the response that carried them.

use std::fmt;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use engineio_core::DisconnectReason;
use http::Response;

use crate::forward::Packets;
use crate::session::{Session, now};
use crate::sync::Mutex;

/// The most that a host takes of a body at once, in bytes. Hosts write what they have taken before they take more, and so
/// the rest shows whether the client has received it.
const PART: usize = 64 * 1024;

/// The packets of one response on their way to the client, for hosts that do not use [`ResponseBody`](crate::ResponseBody).
///
/// By the time a poll has its response, the packets in it have left the queue of their session. A host that does not
/// send all of the response, for example because the connection has broken meanwhile, loses them, and the session would
/// go on without them. If this is dropped before [`confirm`](Self::confirm), the session ends with
/// [`DisconnectReason::TransportError`], as with a poll that is aborted while it waits.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use engineio_tower::Delivery;
/// use http::Response;
///
/// async fn write(mut response: Response<Bytes>, io: &mut Vec<u8>) {
///     let delivery = Delivery::take(&mut response);
///     io.extend_from_slice(response.body());
///     delivery.confirm();
/// }
/// # let _ = write;
/// ```
#[derive(Debug, Default)]
#[must_use = "the session ends if it is dropped"]
pub struct Delivery(Option<Owner>);

/// The session or node that is notified of lost packets.
enum Owner {
    /// The session, which is one of this process.
    Here(Arc<Session>),
    /// The process that owns the session.
    Elsewhere(Box<dyn Packets>),
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(session) => f.debug_tuple("Here").field(session).finish(),
            Self::Elsewhere(_) => f.write_str("Elsewhere"),
        }
    }
}

/// The place in a response's extensions, whose values must be `Clone`. A host that does not take it is trusted to send what
/// it is given.
#[derive(Clone)]
enum Slot {
    Here(Arc<Session>),
    Elsewhere(Arc<Trusted>),
}

/// Packets that count as delivered unless they are taken.
struct Trusted(Mutex<Option<Box<dyn Packets>>>);

impl Trusted {
    fn take(&self) -> Option<Box<dyn Packets>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Trusted {
    fn drop(&mut self) {
        if let Some(packets) = self.take() {
            packets.confirm();
        }
    }
}

impl Delivery {
    pub(crate) fn new(session: Option<Arc<Session>>) -> Self {
        Self(session.map(Owner::Here))
    }

    /// The delivery of a response of another process, if it has packets.
    pub(crate) fn forwarded(packets: Option<Box<dyn Packets>>) -> Self {
        Self(packets.map(Owner::Elsewhere))
    }

    pub(crate) fn put<B>(mut self, response: &mut Response<B>) {
        let slot = match self.0.take() {
            Some(Owner::Here(session)) => Slot::Here(session),
            Some(Owner::Elsewhere(packets)) => {
                Slot::Elsewhere(Arc::new(Trusted(Mutex::new(Some(packets)))))
            }
            None => return,
        };
        response.extensions_mut().insert(slot);
    }

    /// Takes the delivery out of a response of [`Server::respond`](crate::Server::respond). If the response carries no
    /// packets, the delivery is empty.
    pub fn take<B>(response: &mut Response<B>) -> Self {
        let owner = match response.extensions_mut().remove() {
            Some(Slot::Here(session)) => Some(Owner::Here(session)),
            Some(Slot::Elsewhere(trusted)) => trusted.take().map(Owner::Elsewhere),
            None => None,
        };
        Self(owner)
    }

    /// Returns whether the response carries no packets, so that it does not matter whether it is sent.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Takes the next part, at most 64 KiB, of a body that is written piece by piece. Taking the last part
    /// [confirms](Self::confirm) the delivery. Returns `None` at the end.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use engineio_tower::Delivery;
    /// use http::Response;
    /// use tokio::io::{AsyncWrite, AsyncWriteExt};
    ///
    /// async fn write<W: AsyncWrite + Unpin>(mut response: Response<Bytes>, io: &mut W) -> std::io::Result<()> {
    ///     let mut delivery = Delivery::take(&mut response);
    ///     while let Some(part) = delivery.next_part(response.body_mut()) {
    ///         io.write_all(&part).await?; // The session ends if this fails before the last part.
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = write::<Vec<u8>>;
    /// ```
    pub fn next_part(&mut self, body: &mut Bytes) -> Option<Bytes> {
        if body.is_empty() {
            return None;
        }
        let part = body.split_to(body.len().min(PART));
        if body.is_empty() {
            std::mem::take(self).confirm();
        }
        Some(part)
    }

    /// States that the host has taken the whole body and will write it.
    pub fn confirm(mut self) {
        if let Some(Owner::Elsewhere(packets)) = self.0.take() {
            packets.confirm();
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(Owner::Here(session)) = self.0.take() {
            session.update(|session| session.abort(now(), DisconnectReason::TransportError));
        }
    }
}
