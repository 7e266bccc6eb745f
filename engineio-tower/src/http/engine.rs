//! The Engine.IO server's work on one request, from its head to its response.

use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use engineio_core::driver::catch_panic;
use engineio_core::{Action, Method, Query, Refusal, Revision, Sid, SidParameter, Transport};
use http::request::Parts;
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::task::coop;

use crate::forward::{Arrived, Forwarded, Forwarding};
use crate::http::connect::ConnectFuture;
use crate::http::delivery::Delivery;
use crate::http::over::{Leaving, Over};
use crate::http::poll::PollFuture;
use crate::http::post::{Form, PostFuture};
use crate::http::request_body::{BorrowedBody, discard};
use crate::http::response::{Answer, EngineResponse, Reply, remove_connection_headers};
use crate::http::time_limit::{ORIGIN_PREDICATE, TimeLimit};
use crate::http::upgrade;
use crate::policy::admission::PendingRequest;
use crate::policy::cors::Preflight;
use crate::policy::origin::Verdict;
use crate::repeated::log_repeated;
use crate::server::ServerInner;
use crate::session::driver::LinkDriver;
use crate::session::handler::Contained;
use crate::session::rejection::Rejection;
use crate::session::{Opening, Session};

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
    enum Work<B> {
        /// None: this is the whole response.
        Written { response: Option<EngineResponse> },
        /// None.
        Answered { answer: Option<Answer> },
        /// The body, which no poll has, is read all the same: a host does not see the end of a connection behind it.
        Poll { #[pin] future: PollFuture, #[pin] body: Option<B> },
        Post { #[pin] future: PostFuture<B> },
        Connect { #[pin] future: ConnectFuture },
        /// Another process owns the session.
        Forward { #[pin] body: B, forwarding: Box<dyn Forwarding>, handshake: Option<Box<upgrade::Handshake>>, leaving: Leaving },
        /// The application decides on the origin. This is rare and large: boxed, so that a waiting poll is small.
        Origin { check: Box<OriginCheck<B>> },
    }
}

impl<B> Work<B> {
    fn answered(answer: impl Into<Answer>) -> Self {
        Self::Answered {
            answer: Some(answer.into()),
        }
    }
}

impl<B> EngineFuture<B> {
    const fn new(server: Arc<ServerInner>, reply: Reply, work: Work<B>) -> Self {
        Self {
            server,
            reply,
            work,
        }
    }
}

impl<B> Future for EngineFuture<B>
where
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    type Output = (EngineResponse, Delivery);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A host may answer the requests of a connection in a loop for as long as none has to wait, as actix-web does. Other
        // tasks of the thread run at times, as with a socket of tokio.
        ready!(coop::poll_proceed(cx)).made_progress();
        let mut this = self.project();
        loop {
            let answer = match this.work.as_mut().project() {
                WorkProjection::Written { response } => match response.take() {
                    Some(response) => return Poll::Ready((response, Delivery::default())),
                    None => return Poll::Pending,
                },
                WorkProjection::Answered { answer } => match answer.take() {
                    Some(answer) => answer,
                    None => return Poll::Pending,
                },
                WorkProjection::Poll { future, body } => {
                    if discard(body, cx).is_err() {
                        // The client has aborted the request. Its session hears of it when the work is dropped.
                        this.work.set(Work::answered(Refusal::BadRequest));
                        continue;
                    }
                    ready!(future.poll(cx))
                }
                WorkProjection::Post { future } => ready!(future.poll(cx)),
                WorkProjection::Forward {
                    body,
                    forwarding,
                    handshake,
                    leaving,
                } => {
                    let mut body = BorrowedBody::new(body);
                    let response = forwarding.poll_response(&mut body, cx);
                    if response.is_pending() && leaving.poll(this.server, cx).is_ready() {
                        forwarding.release();
                    }
                    let forwarded = ready!(response);
                    match forwarded.map(|forwarded| relay(forwarded, handshake.take())) {
                        // The owner has written all of it.
                        Ok(answered) => return Poll::Ready(answered),
                        Err(_) if body.is_too_large => Refusal::PayloadTooLarge.into(),
                        Err(refusal) => refusal.into(),
                    }
                }
                WorkProjection::Connect { future } => {
                    let progress = catch_panic(|| future.poll(cx));
                    ready!(progress.unwrap_or_else(|_| Poll::Ready(panicked())))
                }
                WorkProjection::Origin { check } => {
                    let progress = catch_panic(|| {
                        let allowed = ready!(check.poll(this.server, cx));
                        // The client that may be connected now is counted in its place.
                        drop(check.pending.take());
                        Poll::Ready(check.unchecked.take().map(|unchecked| match allowed {
                            Ok(allowed) => {
                                this.server.origin_checked(unchecked, allowed, this.reply)
                            }
                            Err(rejection) => Work::answered(Answer::Refused(rejection)),
                        }))
                    });
                    match progress {
                        Ok(Poll::Ready(Some(work))) => {
                            this.work.set(work);
                            continue;
                        }
                        Ok(_) => return Poll::Pending,
                        Err(_) => panicked(),
                    }
                }
            };
            let ServerInner {
                options, templates, ..
            } = &**this.server;
            return Poll::Ready(this.reply.write(options, templates, answer));
        }
    }
}

/// Completes the response of another process: a WebSocket is accepted here, where the client is connected.
fn relay(
    forwarded: Forwarded,
    handshake: Option<Box<upgrade::Handshake>>,
) -> (EngineResponse, Delivery) {
    let Forwarded {
        response,
        tunnel,
        packets,
    } = forwarded;
    let response = match (tunnel, handshake) {
        (Some(tunnel), Some(handshake)) => handshake.relay(response, tunnel),
        _ => response,
    };
    (response, Delivery::forwarded(packets))
}

/// Answers a request with 500. The panic hook has logged the details.
#[cold]
pub(crate) fn panicked() -> Answer {
    log_repeated!(error, target: "engineio::request", "a hook of the application panicked; the request is answered with 500");
    Answer::Refused(Rejection::internal_error())
}

/// A request whose origin the application is deciding on.
struct OriginCheck<B> {
    allowed: Contained<bool>,
    unchecked: Option<Unchecked<B>>,
    over: Over,
    pending: Option<PendingRequest>,
}

impl<B> OriginCheck<B> {
    fn poll(
        &mut self,
        server: &Arc<ServerInner>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Rejection>> {
        let Some(unchecked) = &mut self.unchecked else {
            return Poll::Pending;
        };
        match unchecked
            .limit
            .poll(&ORIGIN_PREDICATE, &mut self.allowed, cx)
        {
            Poll::Pending => self
                .over
                .poll(server, cx)
                .map(|_| Err(Rejection::unavailable())),
            decided => decided,
        }
    }
}

/// A request whose origin has not been checked yet.
struct Unchecked<B> {
    head: Parts,
    body: B,
    query: Query,
    peer: Option<SocketAddr>,
    preflight: Option<Preflight>,
    /// The time limit for the application's decision.
    limit: TimeLimit,
}

impl ServerInner {
    /// Serves a request for the server's path.
    pub(crate) fn respond<B: Body>(
        self: &Arc<Self>,
        head: Parts,
        body: B,
        peer: Option<SocketAddr>,
    ) -> EngineFuture<B> {
        let mut query = Query::parse(head.uri.query().unwrap_or_default());
        if !query.is_script() {
            query.jsonp = None;
        }
        let mut reply = Reply::new(&self.options, &head, query.jsonp);
        let origins = &self.options.origins;
        let unchecked = Unchecked {
            query,
            peer,
            preflight: origins.preflight(&head),
            limit: TimeLimit::new(self.options.connect_timeout),
            head,
            body,
        };
        // Around all hooks that are called on the way.
        let work = catch_panic(|| {
            let Unchecked { head, query, .. } = &unchecked;
            let verdict = if head.extensions.get::<Arrived>().is_some() {
                // The process that received the request has checked it, and knows the client's scheme.
                Verdict::Allowed
            } else {
                origins.check(head, query.is_script())
            };
            match verdict {
                Verdict::Ask(allowed) => match self.admission.begin_request() {
                    Ok(pending) => Work::Origin {
                        check: Box::new(OriginCheck {
                            allowed: Contained::new(allowed),
                            unchecked: Some(unchecked),
                            over: Over::default(),
                            pending: Some(pending),
                        }),
                    },
                    Err(refusal) => Work::answered(refusal),
                },
                verdict => {
                    self.origin_checked(unchecked, matches!(verdict, Verdict::Allowed), &mut reply)
                }
            }
        });
        let work = work.unwrap_or_else(|_| Work::answered(panicked()));
        EngineFuture::new(Arc::clone(self), reply, work)
    }

    /// Continues with a request whose origin has been checked.
    fn origin_checked<B: Body>(
        self: &Arc<Self>,
        mut unchecked: Unchecked<B>,
        allowed: bool,
        reply: &mut Reply,
    ) -> Work<B> {
        reply.allowed = allowed;
        // In its place, because it is large.
        let head = &mut unchecked.head;
        if !allowed {
            self.options.origins.log_refusal(head);
            return Work::answered(Refusal::Forbidden);
        }
        if let Some(preflight) = unchecked.preflight {
            let mut response = reply.preflight(preflight);
            if let Some(hook) = &self.options.headers {
                hook(head, response.headers_mut());
                remove_connection_headers(response.headers_mut());
            }
            return Work::Written {
                response: Some(response),
            };
        }
        let (query, peer, body) = (unchecked.query, unchecked.peer, unchecked.body);
        let upgrade = upgrade::is_requested(head);
        let method = match head.method {
            http::Method::GET => Method::Get,
            http::Method::CONNECT if upgrade => Method::Get,
            http::Method::POST => Method::Post,
            _ => Method::Other,
        };
        let action = match query.action(method, upgrade, &self.config) {
            Ok(action) => action,
            Err(refusal) => return Work::answered(self.refusal_for(refusal, &query)),
        };
        if let Some(sid) = self.elsewhere(&action, head) {
            return self
                .forward_request(&sid, unchecked.head, body, peer, upgrade)
                .unwrap_or_else(Work::answered);
        }
        let work = match action {
            Action::Open(..) if self.is_leaving() => Err(Refusal::Unavailable),
            Action::Open(transport, revision) => {
                self.call_headers_hook(head, reply);
                if let Some(hook) = &self.options.initial_headers {
                    hook(head, reply.headers_mut());
                }
                let opening = Opening {
                    transport,
                    revision,
                    // A script cannot hold bytes.
                    base64: query.base64 || query.jsonp.is_some(),
                };
                ConnectFuture::open(self, unchecked.head, peer, opening, unchecked.limit)
                    .map(|future| Work::Connect { future })
            }
            Action::Poll(sid) => self.find(&sid, &query).map(|session| {
                self.call_headers_hook(head, reply);
                Work::Poll {
                    future: PollFuture::open(session),
                    body: (!body.is_end_stream()).then_some(body),
                }
            }),
            Action::Post(sid) => self.find(&sid, &query).map(|session| {
                self.call_headers_hook(head, reply);
                Work::Post {
                    future: PostFuture::open(session, form(head, &query), body),
                }
            }),
            Action::Upgrade(sid) => self.find(&sid, &query).and_then(|session| {
                self.call_headers_hook(head, reply);
                open_upgrade(session, head, query.base64).map(Work::answered)
            }),
            _ => Err(Refusal::BadRequest),
        };
        work.unwrap_or_else(Work::answered)
    }

    /// Lets the application add headers to the response. A request with an unknown session id does not get this far.
    fn call_headers_hook(&self, head: &Parts, reply: &mut Reply) {
        if let Some(hook) = &self.options.headers {
            hook(head, reply.headers_mut());
        }
    }

    /// Chooses the refusal of a malformed request: if its session does not exist either, the client learns that.
    fn refusal_for(&self, refusal: Refusal, query: &Query) -> Refusal {
        match query.sid {
            SidParameter::Given(sid)
                if refusal != Refusal::UnknownTransport
                    && self.registry.get(&sid).is_none()
                    // A session of another process that lives is taken to exist.
                    && !self.forward().is_some_and(|forward| forward.is_elsewhere(&sid)) =>
            {
                Refusal::UnknownSid
            }
            _ => refusal,
        }
    }

    /// Returns the id of the request's session if another process owns it. A request that was forwarded once is served here.
    fn elsewhere(&self, action: &Action, head: &Parts) -> Option<Sid> {
        let forward = self.forward()?;
        let (Action::Poll(sid) | Action::Post(sid) | Action::Upgrade(sid)) = action else {
            return None;
        };
        let is_elsewhere = forward.is_elsewhere(sid) && head.extensions.get::<Arrived>().is_none();
        is_elsewhere.then_some(*sid)
    }

    /// Begins to forward a request to the owner of its session.
    fn forward_request<B: Body>(
        &self,
        sid: &Sid,
        mut head: Parts,
        body: B,
        peer: Option<SocketAddr>,
        upgrade: bool,
    ) -> Result<Work<B>, Refusal> {
        let forward = self.forward().ok_or(Refusal::UnknownSid)?;
        let handshake = match upgrade {
            true => Some(upgrade::Handshake::check(&mut head, &self.options)?),
            false => None,
        };
        Ok(Work::Forward {
            leaving: Leaving::new(head.method == http::Method::GET && !upgrade),
            forwarding: forward.forward(sid, head, peer, upgrade),
            body,
            handshake: handshake.map(Box::new),
        })
    }

    /// Finds the session of a request, whose parameters must match those that the session was opened with.
    fn find(self: &Arc<Self>, sid: &Sid, query: &Query) -> Result<Arc<Session>, Refusal> {
        let session = self.registry.get(sid).ok_or(Refusal::UnknownSid)?;
        // Its runtime may not have served this server yet: in actix-web each worker has one of its own. On one that cannot
        // watch, the runtime that opened the session goes on.
        let _ = self.deadlines.watch(self);
        // A session that may be answered with bytes cannot be asked for scripts.
        let scripts = query.jsonp.is_none() || session.base64 || session.revision == Revision::V4;
        if query.revision != Some(session.revision) || !scripts {
            return Err(Refusal::BadRequest);
        }
        Ok(session)
    }
}

/// Returns the encoding of a POST's packets.
fn form(head: &Parts, query: &Query) -> Form {
    let content_type = head.headers.get(http::header::CONTENT_TYPE);
    if query.jsonp.is_some() {
        Form::Jsonp
    } else if content_type.is_some_and(|kind| kind == "application/octet-stream") {
        Form::Binary
    } else {
        Form::Text
    }
}

fn open_upgrade(session: Arc<Session>, head: &mut Parts, base64: bool) -> Result<Answer, Refusal> {
    let handshake = upgrade::Handshake::check(head, &session.server.options)?;
    let id = session.open_link(Transport::WebSocket, base64)?;
    Ok(Answer::Response(
        handshake.accept(LinkDriver::new(session, id)),
    ))
}
