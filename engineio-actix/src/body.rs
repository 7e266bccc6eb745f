//! Bodies of requests that are answered before they have come.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::stream::Stream;

/// The body of a request, which the service reads as far as it wants.
///
/// actix-web reads the rest of a chunked body that nobody holds any more for as long as it comes, to keep the connection.
/// Of a body that is still held it reads no more than it must to close the connection in good order. So the response
/// holds it.
#[derive(Clone)]
pub(crate) struct Lent(Rc<RefCell<Payload>>);

impl Lent {
    pub(crate) fn new(payload: Payload) -> Self {
        Self(Rc::new(RefCell::new(payload)))
    }
}

impl Stream for Lent {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(cx)
    }
}

/// The body of a response, which holds that of its request.
pub(crate) struct Holding {
    pub(crate) bytes: Bytes,
    pub(crate) _request: Lent,
}

impl MessageBody for Holding {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.bytes.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let bytes = std::mem::take(&mut self.bytes);
        Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)))
    }
}
