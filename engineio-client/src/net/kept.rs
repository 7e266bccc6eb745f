//! A connection that is kept from one request to the next.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::OptionFuture;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::runtime::Handle;
use tokio::task::unconstrained;
use tokio::time::timeout;

use super::connect::{Conn, Connector, Exchange};
use super::form::host;
use super::signal::Signal;
use crate::error::BoxError;

type Sender = SendRequest<Full<Bytes>>;
type Http1 = Connection<TokioIo<Conn>, Full<Bytes>>;

/// The time that a connection has to end: for the last bytes of TLS, and for those that the kernel takes at once. A server
/// that does not read would keep it, and the message of a POST, for ever.
const GRACE: Duration = Duration::from_secs(1);

/// The maximum number of times that a connection is polled before other tasks run.
const ROUNDS: usize = 16;

/// A connection for one request after another.
///
/// It makes progress only while it is polled. The task of the client does that, so that a request wakes no other task.
/// Once it is dropped, the connection has [`GRACE`] to end in good order.
pub(crate) struct Kept {
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    /// The value of `Host`.
    host: HeaderValue,
    /// It leads to a proxy, which must be told the whole URL.
    is_forwarded: bool,
    /// That of the last request.
    exchange: Arc<Exchange>,
    has_served: bool,
    signal: Arc<Signal>,
    /// That of `signal`, with which the connection is polled.
    waker: Waker,
    /// `None` once it is over.
    open: Option<(Sender, Http1)>,
    /// The reason why it is over, unless a request has it.
    failure: Option<hyper::Error>,
}

/// The failure of a request.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing of it was sent.
    NotBegun(BoxError),
    Broken(BoxError),
}

impl Kept {
    /// Connects to the server of a URL, or to the proxy that forwards requests to it.
    pub(super) async fn open(connector: &Connector, uri: &Uri) -> Result<Box<Self>, BoxError> {
        let host = host(uri)?;
        let conn = connector.for_requests(uri).await?;
        let (is_forwarded, exchange) = (conn.is_forwarded, Arc::clone(&conn.exchange));
        let open = handshake(TokioIo::new(conn)).await?;
        let signal = Signal::new();
        Ok(Box::new(Self {
            scheme: uri.scheme().cloned(),
            authority: uri.authority().cloned(),
            host,
            is_forwarded,
            exchange,
            has_served: false,
            waker: Arc::clone(&signal).into(),
            signal,
            open: Some(open),
            failure: None,
        }))
    }

    /// Returns whether requests for this URL may use the connection.
    pub(super) fn leads_to(&self, uri: &Uri) -> bool {
        self.scheme.as_ref() == uri.scheme() && self.authority.as_ref() == uri.authority()
    }

    /// Returns the value of `Host` for its requests.
    pub(super) const fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// Returns whether it leads to a proxy, which must be told the whole URL.
    pub(super) const fn is_forwarded(&self) -> bool {
        self.is_forwarded
    }

    /// Returns whether it has served a request before.
    pub(super) const fn has_served(&self) -> bool {
        self.has_served
    }

    /// Returns whether anything has come since the last request was begun.
    pub(super) fn is_answered(&self) -> bool {
        self.exchange.is_begun()
    }

    /// Returns whether it can serve no further request.
    pub(super) const fn is_over(&self) -> bool {
        self.open.is_none()
    }

    /// Waits until the connection can be given a request.
    pub(super) async fn ready(&mut self) {
        let is_ready = |open: &(Sender, Http1)| open.0.is_ready();
        if self.has_served && !self.open.as_ref().is_some_and(is_ready) {
            // It has all of the request before. hyper notices that it is free for the next one when it is polled again.
            self.progress();
            poll_fn(|cx| match (self.poll(cx), &mut self.open) {
                (Poll::Pending, Some((sender, _))) => sender.poll_ready(cx).map(|_| ()),
                _ => Poll::Ready(()),
            })
            .await;
        }
    }

    /// Sends a request and returns the head of the answer. Its body arrives while the connection is [driven](Self::drive).
    ///
    /// The connection must be [ready](Self::ready).
    // Not an async function, whose future would hold the request.
    pub(super) fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Result<Response<Incoming>, Failed>> + Send {
        self.exchange.expect();
        // The connection is polled next.
        self.signal.watch();
        let open = self.open.as_mut();
        let answer = open.map(|(sender, _)| unconstrained(sender.try_send_request(request)));
        async move {
            let mut answer = pin!(OptionFuture::from(answer));
            let answered = self.drive(|_| answer.as_mut().poll(&mut quiet())).await;
            let answered = answered.ok_or_else(|| {
                Failed::NotBegun(match self.failure.take() {
                    Some(error) => error.into(),
                    None => "the connection was closed".into(),
                })
            })?;
            match answered {
                Ok(response) => {
                    self.exchange.has_come();
                    self.has_served = true;
                    Ok(response)
                }
                Err(mut error) => Err(match error.take_message() {
                    Some(_) => Failed::NotBegun(error.into_error().into()),
                    None => Failed::Broken(error.into_error().into()),
                }),
            }
        }
    }

    /// Waits until all of the request has been written, although the answer is there.
    ///
    /// Fails if the connection ends before.
    pub(super) async fn finish(&mut self) -> Result<(), BoxError> {
        poll_fn(|cx| {
            let is_over = !self.exchange.is_request_written() && self.poll(cx).is_ready();
            if self.exchange.is_request_written() {
                return Poll::Ready(Ok(()));
            }
            if !is_over {
                return Poll::Pending;
            }
            Poll::Ready(Err(match self.failure.take() {
                Some(error) => error.into(),
                None => "the connection was closed before all of the request was sent".into(),
            }))
        })
        .await
    }

    /// Polls something that arrives by the connection, and lets that make progress, until it is there.
    pub(super) async fn drive<T>(
        &mut self,
        mut arrival: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> T {
        poll_fn(|cx| {
            self.signal.register(cx.waker());
            for _ in 0..ROUNDS {
                if self.signal.take() {
                    self.progress();
                }
                if let Poll::Ready(output) = arrival(cx) {
                    // If it is to be polled again, that is what the task does next.
                    self.signal.leave();
                    return Poll::Ready(output);
                }
                if self.signal.rest() {
                    return Poll::Pending;
                }
            }
            self.signal.leave();
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    /// Lets the connection make progress while it waits for a request. Ready once it is over.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.signal.register(cx.waker());
        if self.signal.take() {
            self.progress();
        }
        if !self.signal.rest() {
            self.signal.leave();
            cx.waker().wake_by_ref();
        }
        match self.is_over() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn progress(&mut self) {
        let Some((_, connection)) = &mut self.open else {
            return;
        };
        let mut cx = Context::from_waker(&self.waker);
        if let Poll::Ready(outcome) = Pin::new(connection).poll(&mut cx) {
            self.failure = outcome.err();
            self.open = None;
        }
    }
}

/// Returns the context for a future that only the progress of a connection completes: the driver of the connection polls it
/// right after that, and would otherwise be woken to do it again. The future must be unconstrained, because the runtime could
/// ask it to wait for the next turn, and rely on the waker.
pub(super) const fn quiet() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some((sender, mut connection)) = self.open.take() else {
            return;
        };
        drop(sender);
        // A panic within the connection may have left it in any state, and another one now would end the process.
        if std::thread::panicking() {
            return;
        }
        let mut cx = Context::from_waker(Waker::noop());
        // As a rule that is all it takes.
        if Pin::new(&mut connection).poll(&mut cx).is_pending()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(timeout(GRACE, connection));
        }
    }
}
