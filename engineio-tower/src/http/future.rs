//! The service's future.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::http::body::ResponseBody;
use crate::http::engine::EngineFuture;
use crate::http::unread::DiscardUnread;

pin_project! {
    /// The future of [`EngineIoService`](crate::EngineIoService): that of the inner service, once the service is ready,
    /// or that of the Engine.IO server, without a box. It is `Send` if the request body, the inner service and its
    /// future are.
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        kind: Kind<S, S::Future, B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<S, F, B> {
        /// The inner service has no room for the request yet.
        Waiting { inner: S, request: Option<Request<B>> },
        Inner { #[pin] future: F },
        Engine { #[pin] future: EngineFuture<DiscardUnread<B>> },
    }
}

impl<S: Service<Request<B>>, B> ResponseFuture<S, B> {
    pub(crate) const fn inner(inner: S, request: Request<B>) -> Self {
        Self {
            kind: Kind::Waiting {
                inner,
                request: Some(request),
            },
        }
    }

    pub(crate) const fn engine(future: EngineFuture<DiscardUnread<B>>) -> Self {
        Self {
            kind: Kind::Engine { future },
        }
    }
}

impl<S: Service<Request<B>>, B> std::fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut kind = self.project().kind;
        loop {
            let future = match kind.as_mut().project() {
                KindProjection::Waiting { inner, request } => {
                    ready!(inner.poll_ready(cx))?;
                    match request.take() {
                        Some(request) => inner.call(request),
                        None => return Poll::Pending,
                    }
                }
                KindProjection::Inner { future } => {
                    let response = ready!(future.poll(cx))?;
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
                KindProjection::Engine { future } => {
                    let (response, delivery) = ready!(future.poll(cx));
                    let body = |bytes| ResponseBody::engine(bytes, delivery);
                    return Poll::Ready(Ok(response.map(body)));
                }
            };
            kind.set(Kind::Inner { future });
        }
    }
}
