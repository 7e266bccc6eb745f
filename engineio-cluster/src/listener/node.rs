//! This node as the others see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engineio_tower::Server;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use subtle::ConstantTimeEq;

use super::Rejections;
use crate::NodeId;
use crate::forward::Relays;
use crate::link::{Credentials, HELLO, INCARNATION, NODE, SECRET, TARGET};

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

impl Node {
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed) || self.server.is_shutting_down()
    }

    /// Answers the first request of a connection, by which another node identifies itself.
    pub(super) fn greet(&self, headers: &HeaderMap, path: &str) -> Response<()> {
        let mut answer = Response::new(());
        match self.check(headers, path) {
            Ok(()) => {
                let headers = answer.headers_mut();
                if let Ok(id) = HeaderValue::from_str(self.id.as_str()) {
                    headers.insert(NODE, id);
                }
                headers.insert(INCARNATION, HeaderValue::from(self.incarnation));
            }
            Err(status) => *answer.status_mut() = status,
        }
        answer
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
        let name = headers.get(NODE).and_then(|name| name.to_str().ok());
        // A stranger can give any name, and one of a megabyte.
        let node = name.and_then(|name| name.parse::<NodeId>().ok());
        let reason = match headers.contains_key(SECRET) {
            true => "another secret",
            false => "no secret",
        };
        let node = node.as_ref().map(NodeId::as_str);
        self.rejections.log(node, &reason);
    }
}
