//! Requests for sessions of other nodes, on the node that receives them.

mod exchange;
mod head;
mod kind;
mod relays;
mod tunnel;
mod upload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use engineio_tower::forward::{Forward, Forwarded, Forwarding, RequestBody};
use engineio_tower::{Refusal, Sid};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;

use crate::link::Links;
use crate::{Member, NodeId, meter};

pub(crate) use head::{arrive, remove_hop_by_hop};
use kind::Kind;
pub(crate) use relays::Relays;

/// Forwards requests to the nodes that own their sessions.
#[derive(Debug)]
pub(crate) struct Forwarder {
    pub(crate) links: Arc<Links>,
    pub(crate) relays: Arc<Relays>,
}

impl Forwarder {
    /// Returns the node that owns the session of this id, if that is another one and alive.
    pub(crate) fn owner(&self, sid: &Sid) -> Option<Arc<Member>> {
        let node = node_of(sid)?;
        if node == self.links.own_id() {
            return None;
        }
        self.links.members().get(&node)
    }
}

/// Returns the node that a session id names.
pub(crate) fn node_of(sid: &Sid) -> Option<NodeId> {
    let (_, node) = sid.as_str().rsplit_once('.')?;
    node.parse().ok()
}

impl Forward for Forwarder {
    fn node(&self) -> &str {
        self.links.own_name()
    }

    fn is_elsewhere(&self, sid: &Sid) -> bool {
        self.owner(sid).is_some()
    }

    fn forward(
        &self,
        sid: &Sid,
        head: Parts,
        peer: Option<SocketAddr>,
        websocket: bool,
    ) -> Box<dyn Forwarding> {
        // A poll with a body too, which means nothing: a host does not see the end of a connection behind it.
        let announced = |name| head.headers.contains_key(name);
        let (kind, label) = match head.method {
            _ if websocket => (Kind::WebSocket, "websocket"),
            http::Method::POST => (Kind::Post, "post"),
            _ => {
                let has_body = announced(CONTENT_LENGTH) || announced(TRANSFER_ENCODING);
                (Kind::Poll { has_body }, "poll")
            }
        };
        meter::forwarded(label);
        let owner = self.owner(sid);
        let span = tracing::debug_span!(
            target: "engineio::cluster",
            "forward",
            kind = label,
            sid = sid.short(),
            owner = owner.as_ref().map(|owner| owner.id.to_string())
        );
        let relay = match websocket {
            true => self.relays.enter(*sid),
            false => None,
        };
        if websocket && relay.is_none() {
            // The session goes on by polling, and its client may upgrade at another node.
            return Box::new(Refused(Refusal::Unavailable));
        }
        let request = head::depart(head, peer, websocket);
        Box::new(exchange::Exchange::new(
            Arc::clone(&self.links),
            owner,
            relay,
            request,
            kind,
            span,
        ))
    }
}

/// A request that is not forwarded.
struct Refused(Refusal);

impl Forwarding for Refused {
    fn poll_response(
        &mut self,
        _: &mut RequestBody<'_>,
        _: &mut Context<'_>,
    ) -> Poll<Result<Forwarded, Refusal>> {
        Poll::Ready(Err(self.0))
    }

    fn release(&mut self) {}
}
