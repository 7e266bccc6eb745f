//! The body of a response: the inner service's, or one buffer of the engine.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::http::delivery::Delivery;

pin_project! {
    /// The body of a response of [`EngineIoService`](crate::EngineIoService): that of the inner service, or that of the
    /// Engine.IO server, whose length is known and which is handed out in parts of at most 64 KiB.
    ///
    /// If it carries packets and is dropped before its last part was taken, for example because the connection has
    /// broken meanwhile, their session ends with
    /// [`DisconnectReason::TransportError`](crate::DisconnectReason::TransportError), since it would otherwise go on
    /// without them.
    ///
    /// ```
    /// use engineio_tower::ResponseBody;
    /// use http::Response;
    ///
    /// // A host that passes on the responses of the app unchanged.
    /// fn is_from_app<B>(response: Response<ResponseBody<B>>) -> bool {
    ///     response.into_body().into_inner().is_ok()
    /// }
    /// # let _ = is_from_app::<()>;
    /// ```
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    #[derive(Debug)]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Engine { bytes: Bytes, delivery: Delivery },
    }
}

impl<B> ResponseBody<B> {
    pub(crate) const fn inner(body: B) -> Self {
        Self {
            kind: Kind::Inner { body },
        }
    }

    pub(crate) const fn engine(bytes: Bytes, delivery: Delivery) -> Self {
        Self {
            kind: Kind::Engine { bytes, delivery },
        }
    }

    /// Returns the inner service's body.
    ///
    /// # Errors
    ///
    /// Returns the body itself as the error if it is that of the Engine.IO server.
    pub fn into_inner(self) -> Result<B, Self> {
        match self.kind {
            Kind::Inner { body } => Ok(body),
            kind @ Kind::Engine { .. } => Err(Self { kind }),
        }
    }
}

/// An empty body, whatever that of the inner service: layers around it that answer by themselves ask for one, as
/// tower-http's for CORS and timeouts do.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::engine(Bytes::new(), Delivery::default())
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Inner { body } => body.poll_frame(cx),
            KindProjection::Engine { bytes, delivery } => {
                Poll::Ready(delivery.next_part(bytes).map(|part| Ok(Frame::data(part))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Engine { bytes, .. } => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Engine { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
