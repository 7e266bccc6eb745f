//! The end of a session whose packets were dropped with the response that carried them.

use std::sync::Arc;

use engineio_core::DisconnectReason;
use http::Response;

use crate::session::{Session, now};

/// The packets of one response on their way to the client, for hosts that do not use [`ResponseBody`](crate::ResponseBody).
///
/// The packets of a poll have left the queue of their session when the response is there. A host that drops the response
/// unsent, because the client has reset the stream of HTTP/2 meanwhile for example, loses them, and the session would go on
/// without them. If this is dropped before [`confirm`](Self::confirm), the session ends with
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
pub struct Delivery(Option<Arc<Session>>);

/// The place in a response's extensions. A host that does not take it is trusted to send what it is given.
#[derive(Clone, Debug)]
struct Slot(Arc<Session>);

impl Delivery {
    pub(crate) const fn new(session: Option<Arc<Session>>) -> Self {
        Self(session)
    }

    pub(crate) fn put<B>(mut self, response: &mut Response<B>) {
        if let Some(session) = self.0.take() {
            response.extensions_mut().insert(Slot(session));
        }
    }

    /// Takes the delivery out of a response of [`Server::respond`](crate::Server::respond). If the response carries no packets,
    /// nothing depends on it.
    pub fn take<B>(response: &mut Response<B>) -> Self {
        let slot = response.extensions_mut().remove::<Slot>();
        Self(slot.map(|Slot(session)| session))
    }

    /// States that the host has begun to write the body.
    pub fn confirm(mut self) {
        self.0 = None;
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            session.update(|session| session.abort(now(), DisconnectReason::TransportError));
        }
    }
}
