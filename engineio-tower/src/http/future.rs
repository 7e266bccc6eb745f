//! The service's future.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::http::body::ResponseBody;
use crate::http::connect::ConnectFuture;
use crate::http::poll::PollFuture;
use crate::http::post::PostFuture;
use crate::http::response::{Answer, EngineResponse, Reply};
use crate::http::service::Unchecked;
use crate::server::ServerInner;
use crate::session::handler::BoxFuture;

pin_project! {
    /// The response of [`EngineIoService`](crate::EngineIoService): the inner service's future, or one of ours, without a
    /// box. It is `Send` exactly when the request body and the inner future are.
    pub struct ResponseFuture<F, B> {
        #[pin]
        kind: Kind<F, B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<F, B> {
        Inner { #[pin] future: F },
        Engine { #[pin] future: EngineFuture<B> },
    }
}

pin_project! {
    /// The Engine.IO server's work on a request.
    pub(crate) struct EngineFuture<B> {
        server: Arc<ServerInner>,
        reply: Reply,
        #[pin]
        work: Work<B>,
    }
}

pin_project! {
    /// The work before there is an answer.
    #[project = WorkProjection]
    pub(crate) enum Work<B> {
        /// None: this is the whole response.
        Written { response: Option<EngineResponse> },
        /// None.
        Answered { answer: Option<Answer> },
        Poll { #[pin] future: PollFuture },
        Post { #[pin] future: PostFuture<B> },
        Connect { #[pin] future: ConnectFuture },
        /// The application decides on the origin. This is rare and large: boxed, so that a waiting poll is small.
        Origin { allowed: BoxFuture<bool>, unchecked: Option<Box<Unchecked<B>>> },
    }
}

impl<B> Work<B> {
    pub(crate) fn answered(answer: impl Into<Answer>) -> Self {
        Self::Answered {
            answer: Some(answer.into()),
        }
    }
}

impl<B> EngineFuture<B> {
    pub(crate) const fn new(server: Arc<ServerInner>, reply: Reply, work: Work<B>) -> Self {
        Self {
            server,
            reply,
            work,
        }
    }
}

impl<F, B> ResponseFuture<F, B> {
    pub(crate) const fn inner(future: F) -> Self {
        Self {
            kind: Kind::Inner { future },
        }
    }

    pub(crate) const fn engine(future: EngineFuture<B>) -> Self {
        Self {
            kind: Kind::Engine { future },
        }
    }
}

impl<F, B> std::fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl<B> Future for EngineFuture<B>
where
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    type Output = EngineResponse;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<EngineResponse> {
        let mut this = self.project();
        loop {
            let answer = match this.work.as_mut().project() {
                WorkProjection::Written { response } => match response.take() {
                    Some(response) => return Poll::Ready(response),
                    None => return Poll::Pending,
                },
                WorkProjection::Answered { answer } => match answer.take() {
                    Some(answer) => answer,
                    None => return Poll::Pending,
                },
                WorkProjection::Poll { future } => ready!(future.poll(cx)),
                WorkProjection::Post { future } => ready!(future.poll(cx)),
                WorkProjection::Connect { future } => ready!(future.poll(cx)),
                WorkProjection::Origin { allowed, unchecked } => {
                    let allowed = ready!(allowed.as_mut().poll(cx));
                    let work = match unchecked.take() {
                        Some(unchecked) => {
                            this.server.origin_checked(*unchecked, allowed, this.reply)
                        }
                        None => return Poll::Pending,
                    };
                    this.work.set(work);
                    continue;
                }
            };
            let ServerInner {
                options, templates, ..
            } = &**this.server;
            return Poll::Ready(this.reply.write(options, templates, answer));
        }
    }
}

impl<F, B, R, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<R>, E>>,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().kind.project() {
            KindProjection::Inner { future } => {
                ready!(future.poll(cx)).map(|response| response.map(ResponseBody::inner))
            }
            KindProjection::Engine { future } => {
                Ok(ready!(future.poll(cx)).map(ResponseBody::engine))
            }
        })
    }
}
