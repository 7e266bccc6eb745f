//! One forwarded request and its response.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use engineio_tower::Refusal;
use engineio_tower::forward::{Forwarded, Forwarding, RequestBody};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use tokio::time::Sleep;

use super::head;
use super::relays::Relay;
use super::tunnel::StreamTunnel;
use crate::link::stream::{Collected, poll_send};
use crate::link::{Failure, Links};
use crate::{Member, meter};

type Connecting = Pin<Box<dyn Future<Output = Result<SendRequest<Bytes>, Failure>> + Send>>;

/// A request that is being forwarded. Dropping it resets its stream.
pub(super) struct Exchange {
    links: Arc<Links>,
    owner: Option<Arc<Member>>,
    /// Of a WebSocket.
    relay: Option<Relay>,
    has_body: bool,
    patience: Duration,
    stage: Stage,
}

enum Stage {
    Begun(Box<Request<()>>),
    Connecting(Connecting, Box<Request<()>>),
    /// The head has been sent.
    Sent(Sent),
    Receiving(Response<Bytes>, RecvStream, Collected),
    /// The connection has broken, and a new one tells whether the owner lives.
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

/// The state of the body's way to the owner.
enum Upload {
    /// A chunk that waits for room, or an empty one.
    Chunk(Bytes),
    Done,
}

impl Exchange {
    pub(super) const fn new(
        links: Arc<Links>,
        owner: Option<Arc<Member>>,
        relay: Option<Relay>,
        request: Box<Request<()>>,
        has_body: bool,
        patience: Duration,
    ) -> Self {
        Self {
            links,
            owner,
            relay,
            has_body,
            patience,
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

    fn send(
        &self,
        mut connection: SendRequest<Bytes>,
        request: Request<()>,
    ) -> Result<Stage, h2::Error> {
        let websocket = request.method() == Method::CONNECT;
        let streams = self.has_body || websocket;
        let (response, stream) = connection.send_request(request, !streams)?;
        Ok(Stage::Sent(Sent {
            response,
            stream: streams.then_some(stream),
            upload: match self.has_body {
                true => Upload::Chunk(Bytes::new()),
                false => Upload::Done,
            },
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
            Failure::Refused | Failure::Gone => Refusal::UnknownSid,
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
        loop {
            let stage = std::mem::replace(&mut self.stage, Stage::Done);
            self.stage = match stage {
                Stage::Begun(request) => {
                    let ready = self.owner.as_deref().and_then(|owner| {
                        let mut connection = self.links.connected(owner)?;
                        let ready = matches!(connection.poll_ready(cx), Poll::Ready(Ok(())));
                        ready.then_some(connection)
                    });
                    match ready {
                        Some(connection) => match self.send(connection, *request) {
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
                    Poll::Ready(Ok(connection)) => match self.send(connection, *request) {
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

/// The body of the client broke off.
struct BrokenOff;

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
        let mut sent = false;
        let Some(stream) = &mut self.stream else {
            return Ok(sent);
        };
        while let Upload::Chunk(chunk) = &mut self.upload {
            if !chunk.is_empty() {
                let last = body.is_end_stream();
                match poll_send(stream, chunk, last, cx) {
                    Poll::Pending => return Ok(sent),
                    Poll::Ready(true) if !last => sent = true,
                    // All of it is sent, or the owner takes no more: its response tells why.
                    Poll::Ready(_) => self.upload = Upload::Done,
                }
                continue;
            }
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return Ok(sent),
                Poll::Ready(None) => {
                    let _ = stream.send_data(Bytes::new(), true);
                    self.upload = Upload::Done;
                }
                Poll::Ready(Some(Ok(frame))) => *chunk = frame.into_data().unwrap_or_default(),
                Poll::Ready(Some(Err(_))) => {
                    // The owner must not take what has come for all of it.
                    stream.send_reset(h2::Reason::CANCEL);
                    return Err(BrokenOff);
                }
            }
        }
        Ok(sent)
    }
}
