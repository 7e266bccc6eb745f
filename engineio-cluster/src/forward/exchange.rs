//! One forwarded request and its response.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use engineio_tower::Refusal;
use engineio_tower::forward::{Forwarded, Forwarding, Packets, RequestBody};
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::{Request, Response, StatusCode};
use tracing::Span;

use super::head;
use super::kind::Kind;
use super::relays::Relay;
use super::tunnel::StreamTunnel;
use super::upload::{BrokenOff, Upload};
use crate::link::stream::Collected;
use crate::link::{Failure, Lane, Links, Ticket};
use crate::{Member, meter};

type Connecting = Pin<Box<dyn Future<Output = Result<Lane, Failure>> + Send>>;

/// Asks the owner to answer a poll at once. A poll has no other bytes on its stream.
const RELEASE: Bytes = Bytes::from_static(b"r");

/// A request that is being forwarded. Dropping it resets its stream.
pub(super) struct Exchange {
    links: Arc<Links>,
    owner: Option<Arc<Member>>,
    /// Of a WebSocket.
    relay: Option<Relay>,
    kind: Kind,
    /// The place of the request on its connection.
    ticket: Option<Ticket>,
    span: Span,
    /// This node is going away, and a poll is to be answered at once.
    is_released: bool,
    stage: Stage,
}

enum Stage {
    Begun(Box<Request<()>>),
    Connecting(Connecting, Box<Request<()>>),
    /// The head has been sent.
    Sent(Sent),
    Receiving(Receiving),
    /// The connection has broken, and a new one will show whether the owner is alive.
    Probing(Connecting),
    Done,
}

struct Sent {
    response: ResponseFuture,
    to_owner: SendStream<Bytes>,
    upload: Upload,
}

struct Receiving {
    head: http::response::Parts,
    body: RecvStream,
    collected: Collected,
    to_owner: SendStream<Bytes>,
}

/// The packets of a poll, which are lost for the owner if the stream is reset before its end.
struct Unconfirmed {
    to_owner: SendStream<Bytes>,
    _ticket: Option<Ticket>,
}

impl Packets for Unconfirmed {
    fn confirm(mut self: Box<Self>) {
        // If the owner is gone, so is the session.
        let _ = self.to_owner.send_data(Bytes::new(), true);
    }
}

impl Exchange {
    pub(super) const fn new(
        links: Arc<Links>,
        owner: Option<Arc<Member>>,
        relay: Option<Relay>,
        request: Box<Request<()>>,
        kind: Kind,
        span: Span,
    ) -> Self {
        Self {
            links,
            owner,
            relay,
            kind,
            ticket: None,
            span,
            is_released: false,
            stage: Stage::Begun(request),
        }
    }

    /// Returns a future of a connection to the owner that takes another stream.
    fn connect(&self) -> Connecting {
        let links = Arc::clone(&self.links);
        let owner = self.owner.clone();
        Box::pin(async move {
            let owner = owner.ok_or(Failure::Gone)?;
            links.connect(&owner).await
        })
    }

    fn send(&mut self, lane: Lane, request: Request<()>) -> Result<Stage, h2::Error> {
        let (response, mut to_owner, ticket) = lane.send(request, false)?;
        self.ticket = Some(ticket);
        if self.is_released {
            to_owner.send_data(RELEASE, false)?;
        }
        Ok(Stage::Sent(Sent {
            response,
            to_owner,
            upload: Upload::new(self.kind),
        }))
    }

    /// Continues with the head of the response, which is all of it if a WebSocket is accepted.
    fn receive(&mut self, response: Response<RecvStream>, to_owner: SendStream<Bytes>) -> Answer {
        let (mut head, body) = response.into_parts();
        head::returned(&mut head);
        if !matches!(self.kind, Kind::WebSocket) || head.status != StatusCode::OK {
            return Answer::Rest(Receiving {
                head,
                body,
                collected: Collected::default(),
                to_owner,
            });
        }
        let relay = self.relay.take();
        let tunnel = StreamTunnel::new(to_owner, body, relay, self.ticket.take());
        Answer::Whole(Forwarded {
            response: Response::from_parts(head, Bytes::new()),
            tunnel: Some(Box::new(tunnel)),
            packets: None,
        })
    }

    /// Completes the response. The owner waits to hear what becomes of the packets of a poll.
    fn complete(&mut self, received: Receiving) -> Forwarded {
        let Receiving {
            head,
            collected,
            to_owner,
            ..
        } = received;
        let body = collected.finish();
        let mut packets: Option<Box<dyn Packets>> = None;
        if matches!(self.kind, Kind::Poll { .. }) {
            let unconfirmed = Box::new(Unconfirmed {
                to_owner,
                _ticket: self.ticket.take(),
            });
            match head.status {
                // Nobody would confirm an empty body.
                StatusCode::OK if !body.is_empty() => packets = Some(unconfirmed),
                _ => unconfirmed.confirm(),
            }
        }
        Forwarded {
            response: Response::from_parts(head, body),
            tunnel: None,
            packets,
        }
    }

    /// Returns the answer to a request that did not reach the owner, or whose response did not come.
    fn refusal(&self, failure: &Failure) -> Refusal {
        meter::count(meter::FORWARD_FAILURES, failure.label(), 1);
        let owner = self.owner.as_deref();
        let lives = owner.is_some_and(|owner| self.links.is_alive(owner));
        match failure {
            Failure::Gone => Refusal::UnknownSid,
            _ if !lives => Refusal::UnknownSid,
            _ => Refusal::Unavailable,
        }
    }
}

impl Forwarding for Exchange {
    fn poll_response(
        &mut self,
        body: &mut RequestBody<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Forwarded, Refusal>> {
        let span = self.span.clone();
        let _entered = span.enter();
        loop {
            let stage = std::mem::replace(&mut self.stage, Stage::Done);
            self.stage = match stage {
                Stage::Begun(request) => {
                    let ready = self.owner.as_deref().and_then(|owner| {
                        let mut lane = self.links.connected(owner)?;
                        let ready = matches!(lane.poll_ready(cx), Poll::Ready(Ok(())));
                        ready.then_some(lane)
                    });
                    match ready {
                        Some(lane) => match self.send(lane, *request) {
                            Ok(sent) => sent,
                            Err(error) => return Poll::Ready(Err(self.malformed(&error))),
                        },
                        None => Stage::Connecting(self.connect(), request),
                    }
                }
                Stage::Connecting(mut connecting, request) => match connecting.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.stage = Stage::Connecting(connecting, request);
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(failure)) => return Poll::Ready(Err(self.refusal(&failure))),
                    Poll::Ready(Ok(lane)) => match self.send(lane, *request) {
                        Ok(sent) => sent,
                        Err(error) => return Poll::Ready(Err(self.malformed(&error))),
                    },
                },
                Stage::Sent(mut sent) => match sent.poll(body, cx) {
                    Poll::Pending => {
                        self.stage = Stage::Sent(sent);
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(Interruption::Client)) => {
                        return Poll::Ready(Err(Refusal::BadRequest));
                    }
                    Poll::Ready(Err(Interruption::Owner(error))) => self.interrupted(&error),
                    Poll::Ready(Ok(response)) => match self.receive(response, sent.to_owner) {
                        Answer::Whole(forwarded) => return Poll::Ready(Ok(forwarded)),
                        Answer::Rest(receiving) => Stage::Receiving(receiving),
                    },
                },
                Stage::Receiving(mut receiving) => {
                    let Receiving {
                        body, collected, ..
                    } = &mut receiving;
                    match collected.poll(body, cx) {
                        Poll::Pending => {
                            self.stage = Stage::Receiving(receiving);
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(())) => return Poll::Ready(Ok(self.complete(receiving))),
                        Poll::Ready(Err(error)) => self.interrupted(&error),
                    }
                }
                Stage::Probing(mut connecting) => match connecting.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.stage = Stage::Probing(connecting);
                        return Poll::Pending;
                    }
                    Poll::Ready(outcome) => {
                        let failure = outcome.err().unwrap_or(Failure::Broken);
                        return Poll::Ready(Err(self.refusal(&failure)));
                    }
                },
                Stage::Done => panic!("`Exchange` polled after completion"),
            };
        }
    }

    fn release(&mut self) {
        self.ask_for_release();
    }
}

impl Exchange {
    /// Asks the owner for the answer to a poll.
    fn ask_for_release(&mut self) {
        if !matches!(self.kind, Kind::Poll { .. }) || std::mem::replace(&mut self.is_released, true)
        {
            return;
        }
        if let Stage::Sent(sent) = &mut self.stage {
            // If the owner is gone, the response tells so.
            let _ = sent.to_owner.send_data(RELEASE, false);
        }
    }

    /// Ends a request that HTTP/2 cannot carry. Nothing has been sent.
    fn malformed(&self, error: &h2::Error) -> Refusal {
        tracing::debug!(target: "engineio::cluster", %error, "a request cannot be forwarded");
        Refusal::BadRequest
    }

    /// Finds out whether the owner lives after the exchange with it has broken off. The request is not sent again.
    fn interrupted(&self, error: &h2::Error) -> Stage {
        tracing::debug!(target: "engineio::cluster", owner = ?self.owner.as_ref().map(|owner| owner.id), %error, "the exchange with the owner of a session broke off");
        Stage::Probing(self.connect())
    }
}

/// The response of the owner, or the beginning of it.
enum Answer {
    Whole(Forwarded),
    Rest(Receiving),
}

enum Interruption {
    /// The body of the client broke off.
    Client,
    Owner(h2::Error),
}

impl Sent {
    /// Has no time limit: the owner decides how long a request waits, and the connection ends if the owner does not live.
    fn poll(
        &mut self,
        body: &mut RequestBody<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RecvStream>, Interruption>> {
        if let Err(BrokenOff) = self.upload.poll(&mut self.to_owner, body, cx) {
            return Poll::Ready(Err(Interruption::Client));
        }
        let response = ready!(Pin::new(&mut self.response).poll(cx));
        Poll::Ready(response.map_err(Interruption::Owner))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use http::Method;
    use http_body_util::{BodyExt, Full};
    use tokio::time::timeout;

    use super::*;
    use crate::MemberState;
    use crate::link::Credentials;
    use crate::members::Members;

    fn links() -> (Arc<Links>, Arc<Member>) {
        let owner = Member {
            id: "b".parse().unwrap(),
            incarnation: 1,
            address: "127.0.0.1:1".into(),
            state: MemberState::Up,
            sessions: 1,
        };
        let members = Members::new();
        members.insert(owner.clone());
        let credentials = Credentials {
            secret: None,
            #[cfg(feature = "tls")]
            tls: None,
        };
        let links = Links::new("a".parse().unwrap(), members, credentials, None);
        (Arc::new(links), Arc::new(owner))
    }

    /// The owner decides how long a request waits: for messages, or for a handler that is slow.
    #[tokio::test(start_paused = true)]
    async fn a_request_waits_as_long_as_its_owner_lets_it() {
        for (kind, method) in [
            (Kind::Poll { has_body: false }, Method::GET),
            (Kind::Post, Method::POST),
        ] {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let (requests, connection) = h2::client::handshake(near).await.unwrap();
            tokio::spawn(connection);
            let mut owner = h2::server::handshake(far).await.unwrap();
            let request = Request::builder().method(method).uri("http://b/");
            let request = Box::new(request.body(()).unwrap());
            let (links, member) = links();
            let mut exchange = Exchange::new(
                links,
                Some(member),
                None,
                request.clone(),
                kind,
                Span::none(),
            );
            exchange.stage = exchange.send(Lane::new(requests), *request).unwrap();
            let mut body = Full::new(Bytes::from_static(b"4x")).map_err(Into::into);
            let mut response = std::pin::pin!(poll_fn(|cx| exchange.poll_response(&mut body, cx)));
            let arrived = tokio::select! {
                request = owner.accept() => request.unwrap().unwrap(),
                _ = &mut response => panic!("it has not been answered"),
            };
            let (_request, mut respond) = arrived;
            let serving = tokio::spawn(async move { while owner.accept().await.is_some() {} });
            let early = timeout(Duration::from_secs(3600), &mut response).await;
            assert!(early.is_err(), "it did not wait");
            respond.send_response(Response::new(()), true).unwrap();
            let answered = response.await.ok().unwrap();
            assert_eq!(answered.response.status(), StatusCode::OK);
            serving.abort();
        }
    }
}
