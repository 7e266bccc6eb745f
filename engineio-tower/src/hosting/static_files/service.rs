//! Static files in front of a host app.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{StaticBody, StaticFiles};
use crate::session::handler::BoxFuture;

type BoxError = Box<dyn Error + Send + Sync>;

/// Serves [`StaticFiles`] in front of a host app; every request that no file answers goes to the app untouched.
///
/// Put the Engine.IO layer outside of it, so that the Engine.IO path comes first, then the files, then the app.
///
/// ```
/// use engineio_tower::{EngineIoLayer, Server, StaticFiles, StaticFilesLayer};
/// use tower::ServiceBuilder;
/// # use std::convert::Infallible;
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::{Empty, Full};
///
/// # let app = tower::service_fn(|_: Request<Empty<Bytes>>| async {
/// #     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
/// # });
/// let files = StaticFiles::new().file("/", "index.html").dir("/static", "./public");
/// let service = ServiceBuilder::new()
///     .layer(EngineIoLayer::new(Server::builder().build()))
///     .layer(StaticFilesLayer::new(files))
///     .service(app);
/// # let _ = service;
/// ```
#[derive(Clone, Debug)]
pub struct StaticFilesLayer {
    files: StaticFiles,
}

impl StaticFilesLayer {
    /// Creates a layer that serves these files.
    #[must_use]
    pub const fn new(files: StaticFiles) -> Self {
        Self { files }
    }
}

impl<S> Layer<S> for StaticFilesLayer {
    type Service = StaticFilesService<S>;

    fn layer(&self, inner: S) -> StaticFilesService<S> {
        StaticFilesService {
            files: self.files.clone(),
            inner,
        }
    }
}

/// The service of [`StaticFilesLayer`].
#[derive(Clone, Debug)]
pub struct StaticFilesService<S> {
    files: StaticFiles,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for StaticFilesService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Response = Response<StaticFilesBody<R>>;
    type Error = S::Error;
    type Future = StaticFilesFuture<S, Request<B>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        let lookup = self.files.find(&head);
        let request = Request::from_parts(head, body);
        let Some(lookup) = lookup else {
            return StaticFilesFuture {
                state: State::Inner {
                    future: self.inner.call(request),
                },
            };
        };
        // The service that was ready goes along with the request; its clone is asked again.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        StaticFilesFuture {
            state: State::Lookup {
                lookup: Box::pin(lookup.serve()),
                waiting: Some((inner, request)),
            },
        }
    }
}

pin_project! {
    /// The future of [`StaticFilesService`].
    pub struct StaticFilesFuture<S, Rq>
    where
        S: Service<Rq>,
    {
        #[pin]
        state: State<S, Rq, S::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, Rq, F> {
        Lookup {
            lookup: BoxFuture<Option<Response<StaticBody>>>,
            waiting: Option<(S, Rq)>,
        },
        Inner {
            #[pin]
            future: F,
        },
    }
}

impl<S: Service<Rq>, Rq> std::fmt::Debug for StaticFilesFuture<S, Rq> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticFilesFuture").finish_non_exhaustive()
    }
}

impl<S, Rq, R> Future for StaticFilesFuture<S, Rq>
where
    S: Service<Rq, Response = Response<R>>,
{
    type Output = Result<Response<StaticFilesBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Inner { future } => {
                    let response = ready!(future.poll(cx))?;
                    return Poll::Ready(Ok(response.map(StaticFilesBody::inner)));
                }
                StateProjection::Lookup { lookup, waiting } => {
                    if let Some(response) = ready!(lookup.as_mut().poll(cx)) {
                        return Poll::Ready(Ok(response.map(StaticFilesBody::file)));
                    }
                    match waiting.take() {
                        Some((mut inner, request)) => State::Inner {
                            future: inner.call(request),
                        },
                        None => return Poll::Pending,
                    }
                }
            };
            state.set(next);
        }
    }
}

pin_project! {
    /// The body of a response of [`StaticFilesService`]: a file's, or the host app's. A disk error ends it with that
    /// error.
    pub struct StaticFilesBody<R> {
        #[pin]
        kind: Kind<R>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<R> {
        File { #[pin] body: StaticBody },
        Inner { #[pin] body: R },
    }
}

impl<R> StaticFilesBody<R> {
    const fn file(body: StaticBody) -> Self {
        Self {
            kind: Kind::File { body },
        }
    }

    const fn inner(body: R) -> Self {
        Self {
            kind: Kind::Inner { body },
        }
    }
}

impl<R> std::fmt::Debug for StaticFilesBody<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StaticFilesBody")
    }
}

impl<R: Default> Default for StaticFilesBody<R> {
    fn default() -> Self {
        Self::inner(R::default())
    }
}

impl<R: Body<Data = Bytes, Error: Into<BoxError>>> Body for StaticFilesBody<R> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().kind.project() {
            KindProjection::File { body } => body.poll_frame(cx).map_err(Into::into),
            KindProjection::Inner { body } => body.poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::File { body } => body.is_end_stream(),
            Kind::Inner { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::File { body } => body.size_hint(),
            Kind::Inner { body } => body.size_hint(),
        }
    }
}
