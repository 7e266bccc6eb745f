//! A server in memory, which a connector leads to: no sockets, so that the clock can be paused.

#![allow(dead_code)]

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::time::Instant;

type Script = dyn Fn(usize, &Request<Full<Bytes>>) -> Option<Response<Full<Bytes>>> + Send + Sync;

/// Connects to a server that answers as its script says.
#[derive(Clone)]
pub(crate) struct Memory {
    answer: Arc<Script>,
    pub(crate) seen: Arc<Mutex<Vec<(Method, Instant)>>>,
    /// The number of connections so far.
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Memory {
    /// `None` is no answer, ever. The script is given the number of the request, from 0.
    pub(crate) fn new(
        answer: impl Fn(usize, &Request<Full<Bytes>>) -> Option<&'static str> + Send + Sync + 'static,
    ) -> Self {
        Self::with_responses(move |number, request| {
            Some(Response::new(Full::from(answer(number, request)?)))
        })
    }

    pub(crate) fn with_responses(
        answer: impl Fn(usize, &Request<Full<Bytes>>) -> Option<Response<Full<Bytes>>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            answer: Arc::new(answer),
            seen: Arc::default(),
            connections: Arc::default(),
        }
    }

    async fn answer(self, request: Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            return pending().await;
        };
        let request = Request::from_parts(head, Full::new(body.to_bytes()));
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.push((request.method().clone(), Instant::now()));
            seen.len() - 1
        };
        match (self.answer)(number, &request) {
            Some(response) => response,
            None => pending().await,
        }
    }

    /// Starts to serve one connection, and returns the client's end of it.
    pub(crate) fn connect(&self) -> DuplexStream {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let (near, far) = tokio::io::duplex(64 * 1024);
        let this = self.clone();
        let service = service_fn(move |request| {
            let this = this.clone();
            async move { Ok::<_, Infallible>(this.answer(request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(far), service));
        near
    }
}

impl tower_service::Service<Uri> for Memory {
    type Response = DuplexStream;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<DuplexStream, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let io = self.connect();
        Box::pin(async move { Ok(io) })
    }
}

/// A refusal with this status.
pub(crate) fn refusal(status: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
