//! The requests of other nodes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use engineio_tower::{EngineIoService, ResponseBody, Server};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use subtle::ConstantTimeEq;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower_service::Service;
use tracing::Instrument;

use crate::NodeId;
use crate::forward::{Relays, arrive};
use crate::link::{Credentials, HELLO, INCARNATION, NODE, SECRET, TARGET};
use crate::listener::Rejections;
use crate::operations;

/// This node as the others see it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    /// A random number that distinguishes this process from others with its name.
    pub(crate) incarnation: u64,
    pub(crate) credentials: Credentials,
    pub(crate) server: Server,
    /// The WebSockets that reach this node and belong to sessions of other nodes.
    pub(crate) relays: Arc<Relays>,
    /// The node takes no new sessions, because it is being replaced.
    pub(crate) draining: AtomicBool,
    pub(crate) rejections: Rejections,
}

type Answer = Response<Either<ResponseBody<Full<Bytes>>, Full<Bytes>>>;
type Answering = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

/// Whether the other end of a connection has identified itself as a node of this cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Greeted {
    known: Arc<AtomicBool>,
    rejected: Arc<Notify>,
}

impl Greeted {
    pub(super) fn is_known(&self) -> bool {
        self.known.load(Ordering::Acquire)
    }

    /// Completes when the first request was not that of a node of this cluster.
    pub(super) async fn rejected(&self) {
        self.rejected.notified().await;
    }

    /// Returns the service of the connection.
    pub(super) fn service(
        &self,
        node: Arc<Node>,
    ) -> impl hyper::service::Service<
        Request<Incoming>,
        Response = Answer,
        Error = Infallible,
        Future = Answering,
    > + use<> {
        let greeted = self.clone();
        hyper::service::service_fn(move |request| greeted.answer(&node, request))
    }

    fn answer(&self, node: &Arc<Node>, mut request: Request<Incoming>) -> Answering {
        if !self.is_known() {
            let answer = match node.check(request.headers(), request.uri().path()) {
                Ok(()) => {
                    self.known.store(true, Ordering::Release);
                    let mut answer = empty(StatusCode::OK);
                    let headers = answer.headers_mut();
                    if let Ok(id) = HeaderValue::from_str(node.id.as_str()) {
                        headers.insert(NODE, id);
                    }
                    headers.insert(INCARNATION, HeaderValue::from(node.incarnation));
                    answer
                }
                Err(status) => {
                    self.rejected.notify_one();
                    empty(status)
                }
            };
            return Box::pin(async { Ok(answer) });
        }
        if arrive(&mut request) {
            let mut service = EngineIoService::new(node.server.clone());
            return Box::pin(async move {
                let response = service.call(request).await?;
                Ok(response.map(Either::Left))
            });
        }
        let node = Arc::clone(node);
        let span = tracing::debug_span!(target: "engineio::cluster", "operation", method = %request.method());
        let answering = async move {
            let (status, body) = operations::answer(&node, request).await;
            let mut answer = Response::new(Either::Right(Full::new(body)));
            *answer.status_mut() = status;
            Ok(answer)
        };
        Box::pin(answering.instrument(span))
    }
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Either::Right(Full::default()));
    *answer.status_mut() = status;
    answer
}

impl Node {
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed) || self.server.is_shutting_down()
    }

    /// Checks the first request of a connection.
    fn check(&self, headers: &HeaderMap, path: &str) -> Result<(), StatusCode> {
        let given = headers.get(SECRET).map(HeaderValue::as_bytes);
        let wanted = self.credentials.secret.as_ref();
        if let Some(wanted) = wanted {
            let given = given.unwrap_or_default();
            if !bool::from(given.ct_eq(wanted.as_bytes())) {
                self.log_rejection(headers);
                return Err(StatusCode::UNAUTHORIZED);
            }
        }
        if path != HELLO {
            return Err(StatusCode::NOT_FOUND);
        }
        let is_meant = headers
            .get(TARGET)
            .is_some_and(|id| *id == *self.id.as_str());
        match is_meant {
            true => Ok(()),
            false => Err(StatusCode::MISDIRECTED_REQUEST),
        }
    }

    fn log_rejection(&self, headers: &HeaderMap) {
        if let Some(rejections) = self.rejections.count(Instant::now()) {
            let node = headers.get(NODE).and_then(|node| node.to_str().ok());
            let node = node.unwrap_or("unnamed");
            let reason = match headers.contains_key(SECRET) {
                true => "another secret",
                false => "no secret",
            };
            tracing::warn!(target: "engineio::cluster", node, reason, rejections, "connections that do not belong to the cluster were rejected");
        }
    }
}
