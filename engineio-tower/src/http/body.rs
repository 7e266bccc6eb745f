//! The body of a response: the inner service's, or one buffer of the engine.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response of [`EngineIoService`](crate::EngineIoService): that of the inner service, or that of the
    /// Engine.IO server, which is one buffer of known length.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use engineio_tower::ResponseBody;
    /// use http::Response;
    ///
    /// // A host that treats the two differently, as the adapter for actix-web does.
    /// fn length<B>(response: Response<ResponseBody<B>>) -> Option<usize> {
    ///     let body: Result<Bytes, B> = response.into_body().into_bytes();
    ///     body.ok().map(|bytes| bytes.len())
    /// }
    /// # let _ = length::<()>;
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
        Engine { bytes: Bytes },
    }
}

impl<B> ResponseBody<B> {
    pub(crate) const fn inner(body: B) -> Self {
        Self {
            kind: Kind::Inner { body },
        }
    }

    pub(crate) const fn engine(bytes: Bytes) -> Self {
        Self {
            kind: Kind::Engine { bytes },
        }
    }

    /// Returns the whole body if it is a response of the Engine.IO server, or the inner service's body.
    ///
    /// # Errors
    ///
    /// Returns the inner service's body as the error, for hosts that treat the two differently.
    pub fn into_bytes(self) -> Result<Bytes, B> {
        match self.kind {
            Kind::Engine { bytes } => Ok(bytes),
            Kind::Inner { body } => Err(body),
        }
    }
}

/// An empty body, whatever that of the inner service: layers around it that answer by themselves ask for one, as
/// tower-http's for CORS and timeouts do.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::engine(Bytes::new())
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
            KindProjection::Engine { bytes } if bytes.is_empty() => Poll::Ready(None),
            KindProjection::Engine { bytes } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Engine { bytes } => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Engine { bytes } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
