//! One forwarded request and its response.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use engineio_tower::Refusal;
use engineio_tower::forward::{Forwarded, Forwarding, RequestBody};
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode};
use tokio::time::Sleep;
use tracing::Span;

use super::head;
use super::relays::Relay;
use super::tunnel::StreamTunnel;
use super::upload::{BrokenOff, Upload};
use crate::link::stream::Collected;
use crate::link::{Failure, Lane, Links, Ticket};
use crate::{Member, meter};

type Connecting = Pin<Box<dyn Future<Output = Result<Lane, Failure>> + Send>>;

/// A request that is being forwarded. Dropping it resets its stream.
pub(super) struct Exchange {
    links: Arc<Links>,
    owner: Option<Arc<Member>>,
    /// Of a WebSocket.
    relay: Option<Relay>,
    has_body: bool,
    patience: Duration,
    /// The place of the request on its connection.
    ticket: Option<Ticket>,
    span: Span,
    stage: Stage,
}

enum Stage {
    Begun(Box<Request<()>>),
    Connecting(Connecting, Box<Request<()>>),
    /// The head has been sent.
    Sent(Sent),
    Receiving(Response<Bytes>, RecvStream, Collected),
    /// The connection has broken, and a new one will show whether the owner is alive.
    Probing(Connecting),
    Done,
}

struct Sent {
    response: ResponseFuture,
    /// The stream to the owner: of the rest of the body, or of the WebSocket.
    stream: Option<SendStream<Bytes>>,
    upload: Upload,
    /// Begins again with each part of the body that is sent.
    limit: Option<Pin<Box<Sleep>>>,
    websocket: bool,
}

impl Exchange {
    pub(super) const fn new(
        links: Arc<Links>,
        owner: Option<Arc<Member>>,
        relay: Option<Relay>,
        request: Box<Request<()>>,
        has_body: bool,
        patience: Duration,
        span: Span,
    ) -> Self {
        Self {
            links,
            owner,
            relay,
            has_body,
            patience,
            ticket: None,
            span,
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
        let websocket = request.method() == Method::CONNECT;
        let streams = self.has_body || websocket;
        let (response, stream, ticket) = lane.send(request, !streams)?;
        self.ticket = Some(ticket);
        Ok(Stage::Sent(Sent {
            response,
            stream: streams.then_some(stream),
            upload: Upload::new(self.has_body),
            limit: None,
            websocket,
        }))
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
                Stage::Sent(mut sent) => match sent.poll(body, self.patience, cx) {
                    Poll::Pending => {
                        self.stage = Stage::Sent(sent);
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(Interruption::Client)) => {
                        return Poll::Ready(Err(Refusal::BadRequest));
                    }
                    Poll::Ready(Err(Interruption::Late)) => {
                        tracing::warn!(target: "engineio::cluster", owner = ?self.owner.as_ref().map(|owner| owner.id), "the owner of a session did not answer in time");
                        return Poll::Ready(Err(self.refusal(&Failure::TimedOut)));
                    }
                    Poll::Ready(Err(Interruption::Owner(error))) => self.interrupted(&error),
                    Poll::Ready(Ok(response)) => {
                        let (mut head, stream) = response.into_parts();
                        head::returned(&mut head.headers);
                        if sent.websocket
                            && head.status == StatusCode::OK
                            && let Some(to_owner) = sent.stream.take()
                        {
                            return Poll::Ready(Ok(Forwarded {
                                response: Response::from_parts(head, Bytes::new()),
                                tunnel: Some(Box::new(StreamTunnel::new(
                                    to_owner,
                                    stream,
                                    self.relay.take(),
                                    self.ticket.take(),
                                ))),
                            }));
                        }
                        let head = Response::from_parts(head, Bytes::new());
                        Stage::Receiving(head, stream, Collected::default())
                    }
                },
                Stage::Receiving(mut response, mut stream, mut collected) => {
                    match collected.poll(&mut stream, cx) {
                        Poll::Pending => {
                            self.stage = Stage::Receiving(response, stream, collected);
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(())) => {
                            *response.body_mut() = collected.finish();
                            return Poll::Ready(Ok(Forwarded {
                                response,
                                tunnel: None,
                            }));
                        }
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
}

impl Exchange {
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

enum Interruption {
    /// The body of the client broke off.
    Client,
    /// The owner did not answer in time.
    Late,
    Owner(h2::Error),
}

impl Sent {
    fn poll(
        &mut self,
        body: &mut RequestBody<'_>,
        patience: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RecvStream>, Interruption>> {
        match self.poll_upload(body, cx) {
            Ok(true) => self.limit = None,
            Ok(false) => {}
            Err(BrokenOff) => return Poll::Ready(Err(Interruption::Client)),
        }
        if let Poll::Ready(response) = Pin::new(&mut self.response).poll(cx) {
            return Poll::Ready(response.map_err(Interruption::Owner));
        }
        let limit = self
            .limit
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(limit.as_mut().poll(cx));
        Poll::Ready(Err(Interruption::Late))
    }

    /// Sends as much of the body as there is and the owner takes. Returns whether that was anything.
    fn poll_upload(
        &mut self,
        body: &mut RequestBody<'_>,
        cx: &mut Context<'_>,
    ) -> Result<bool, BrokenOff> {
        match &mut self.stream {
            Some(stream) => self.upload.poll(stream, body, cx),
            None => Ok(false),
        }
    }
}
