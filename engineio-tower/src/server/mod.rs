//! The server: a handle that can be cloned freely, and the state that all handles share.

pub(crate) mod builder;
pub(crate) mod deadlines;
mod delivery;
mod hook;
mod inner;
mod listening;
pub(crate) mod meter;
mod pending;
pub(crate) mod random;
pub(crate) mod registry;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engineio_core::{
    Config, DisconnectReason, Message, Query, SendError, SendOptions, Sid, SidParameter,
};
use http::{Request, Response};
use http_body::Body;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::builder::ServerBuilder;
pub(crate) use self::inner::ServerInner;
pub(crate) use self::pending::PendingWork;
use crate::forward::Forward;
use crate::policy::options::Options;
use crate::session::direct::Leave;
use crate::session::handler::{Handler, Handlers};
use crate::session::now;
use crate::session::request::PeerAddr;
use crate::session::socket::Socket;
use crate::sync::atomic::Ordering;

/// Longer grace periods are clamped to this; adding them to an `Instant` could overflow.
const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The longest part of its grace that a shutdown keeps for `on_disconnect` of the clients that it cuts off.
const CUT_OFF_RESERVE: Duration = Duration::from_secs(1);

/// An Engine.IO server: the connected clients and their handlers.
///
/// This is a handle: cloning costs a reference count, and it can be used from any task or thread. It serves requests
/// through an [`EngineIoLayer`](crate::EngineIoLayer) or an [`EngineIoService`](crate::EngineIoService).
///
/// # Examples
///
/// ```
/// use engineio_tower::{Message, Server, Socket};
///
/// let server = Server::builder()
///     .on_message(|socket: Socket, message: Message| async move {
///         let _ = socket.send(message).await;
///     })
///     .build();
/// assert!(server.is_empty());
/// server.broadcast("to everybody");
/// ```
#[derive(Clone)]
pub struct Server {
    inner: Arc<ServerInner>,
}

impl Server {
    /// Returns a builder that configures a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::new()
    }

    /// Builds a server with default configuration that calls `handler`.
    #[must_use]
    pub fn with_handler<H: Handler>(handler: H) -> Self {
        Self::builder().handler(handler).build()
    }

    pub(crate) fn new(config: Config, options: Options, path: String, handlers: Handlers) -> Self {
        Self {
            inner: Arc::new(ServerInner::new(config, options, path, handlers)),
        }
    }

    pub(crate) const fn from_inner(inner: Arc<ServerInner>) -> Self {
        Self { inner }
    }

    pub(crate) const fn inner(&self) -> &Arc<ServerInner> {
        &self.inner
    }

    /// Returns whether a request with this path is for the server instead of the host app: `/engine.io` and everything
    /// below it.
    #[must_use]
    pub fn claims(&self, path: &str) -> bool {
        path.strip_prefix(self.inner.path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Serves a request for the server's path, for hosts that do not call a tower service.
    ///
    /// The request may carry a [`PeerAddr`] and a [`Scheme`](crate::Scheme) as extensions, and for a WebSocket hyper's
    /// `OnUpgrade` or [`HostUpgrade`](crate::HostUpgrade). Wrap the body in [`DiscardUnread`](crate::DiscardUnread)
    /// where the host resets connections whose request it has not read. Where it may drop a response unsent, take the
    /// [`Delivery`](crate::Delivery) out of it. The future is [`Send`] exactly when the body is. Call this inside a tokio
    /// runtime: a session is opened by the call, before the future is polled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future means that the client went away; the documentation of the crate describes the effects.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytes::Bytes;
    /// use engineio_tower::Server;
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    ///
    /// async fn route(server: &Server, request: Request<Full<Bytes>>) -> Response<Bytes> {
    ///     if server.claims(request.uri().path()) {
    ///         return server.respond(request).await;
    ///     }
    ///     Response::new(Bytes::from("hello"))
    /// }
    /// # let _ = route;
    /// ```
    pub fn respond<B>(&self, request: Request<B>) -> impl Future<Output = Response<Bytes>> + use<B>
    where
        B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let peer = request.extensions().get().map(|&PeerAddr(peer)| peer);
        let (head, body) = request.into_parts();
        let response = self.inner.respond(head, body, peer);
        async move {
            let (mut response, delivery) = response.await;
            delivery.put(&mut response);
            response
        }
    }

    /// Returns the path of the server, without a trailing slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.inner.path
    }

    /// Returns the number of connected clients, including those that are being disconnected. The disconnect handler of one
    /// that is no longer counted may not have run yet; [`shutdown`](Self::shutdown) waits for it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Returns whether no client is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the connected client with this id. A client that is being disconnected is not found.
    #[must_use]
    pub fn socket(&self, sid: &Sid) -> Option<Socket> {
        let socket = Socket::new(self.inner.registry.get(sid)?);
        socket.is_connected().then_some(socket)
    }

    /// Answers a waiting poll at once, with a noop if there is nothing to send, after which its client polls again. For
    /// `engineio-cluster`, when the process that received the request with this query goes away.
    pub fn release_poll(&self, query: &str) {
        if let SidParameter::Given(sid) = Query::parse(query).sid
            && let Some(session) = self.inner.registry.get(&sid)
        {
            session.release_poll();
        }
    }

    /// Returns all clients that are connected at this moment, without those that are being disconnected.
    #[must_use]
    pub fn sockets(&self) -> Vec<Socket> {
        self.inner
            .registry
            .snapshot()
            .into_iter()
            .map(Socket::new)
            .filter(Socket::is_connected)
            .collect()
    }

    /// Sends a message to one client, waiting while its outbox is full.
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Closed`] if no such client is connected.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped before it returns, the message was not queued.
    pub async fn send(&self, sid: &Sid, message: impl Into<Message>) -> Result<(), SendError> {
        match self.socket(sid) {
            Some(socket) => socket.send(message).await,
            None => Err(SendError::Closed(message.into())),
        }
    }

    /// Sends several messages together to one client, waiting while its outbox has no room for all of them; see
    /// [`Socket::send_many`].
    ///
    /// # Errors
    ///
    /// Returns the messages as [`SendError::Closed`] if no such client is connected.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped before it returns, none of the messages was queued.
    pub async fn send_many<M: Into<Message>>(
        &self,
        sid: &Sid,
        messages: impl IntoIterator<Item = M>,
    ) -> Result<(), SendError<Vec<Message>>> {
        match self.socket(sid) {
            Some(socket) => socket.send_many(messages).await,
            None => Err(SendError::Closed(
                messages.into_iter().map(Into::into).collect(),
            )),
        }
    }

    /// Sends a message to every connected client. It is encoded once and shared by all of them.
    ///
    /// Returns the number of clients for which it was queued. A client whose outbox is full, or for which other senders
    /// wait, does not get it; to wait for such clients, [`send`](Socket::send) to each of [`sockets`](Self::sockets). A
    /// text with U+001E does not reach clients that poll, see
    /// [`ServerBuilder::allow_separator`](crate::ServerBuilder::allow_separator).
    pub fn broadcast(&self, message: impl Into<Message>) -> usize {
        let message = message.into();
        let runtime = self.inner.runtime();
        let leave = match &runtime {
            Some(runtime) => Leave::Later(runtime.id()),
            None => Leave::ByTask,
        };
        let mut sessions = self.inner.registry.snapshot();
        let mut queued = 0;
        sessions.retain(|session| {
            let (sent, deferred) = session.send_and(message.clone(), SendOptions::new(), leave);
            queued += usize::from(sent.is_ok());
            deferred
        });
        if let Some(runtime) = &runtime {
            delivery::deliver(runtime, sessions);
        }
        queued
    }

    /// Disconnects one client gracefully and waits until it is gone. Returns whether it was connected.
    ///
    /// It does not wait for a client that polls, has no poll open, and for which nothing is queued: that one is disconnected
    /// by its next poll, or after [`close_timeout`](crate::ServerBuilder::close_timeout), and no longer found meanwhile. So
    /// a connect handler that disconnects an older session of its client is not held up.
    ///
    /// # Cancel safety
    ///
    /// The client is disconnected even if this is dropped while it waits.
    pub async fn disconnect(&self, sid: &Sid) -> bool {
        let Some(socket) = self.socket(sid) else {
            return false;
        };
        if socket.close_now_or_later() {
            socket.closed().await;
        }
        true
    }

    /// Disconnects every client gracefully and waits until all that were connected are gone.
    ///
    /// # Cancel safety
    ///
    /// The clients are disconnected even if this is dropped while it waits.
    pub async fn disconnect_all(&self) {
        self.close_all(DisconnectReason::Server).await;
    }

    async fn close_all(&self, reason: DisconnectReason) {
        let mut sessions = self.inner.registry.snapshot();
        sessions.retain(|session| session.end_if_accepted(|session| session.close(now(), reason)));
        for session in sessions {
            Socket::new(session).closed().await;
        }
    }

    /// Shuts down gracefully: refuses new clients with 503, sends every client its queued messages and a close packet,
    /// waits for running handlers, and then aborts the background tasks.
    ///
    /// It waits no longer than `grace`; to cut off tens of thousands of clients may take some tenths of a second more.
    /// A client that has not fetched its last messages by then loses them, and a handler that still runs continues for
    /// as long as the runtime lives. The last tenth of the grace, at most a second, is reserved for `on_disconnect` of
    /// the clients that are cut off. The host must keep serving requests meanwhile, so that polling clients can fetch
    /// their messages: call this before the host's own graceful shutdown, or as its signal.
    ///
    /// Call it from a separate task (`tokio::spawn`). A handler that awaits it waits for itself until the grace is
    /// over, and a task of [`spawn`](Self::spawn) or `on_start` is aborted by it.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, the server goes on refusing new clients, and the others are still being disconnected.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime with time enabled.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use engineio_tower::Server;
    ///
    /// # async fn example(server: Server) {
    /// // As the signal of axum's graceful shutdown, for example.
    /// server.shutdown(Duration::from_secs(10)).await;
    /// # }
    /// ```
    pub async fn shutdown(&self, grace: Duration) {
        let first = !self.inner.leaving.swap(true, Ordering::SeqCst);
        let grace = grace.min(LONGEST_GRACE);
        let deadline = Instant::now() + grace;
        let cut_off = deadline - CUT_OFF_RESERVE.min(grace / 10);
        if let Some(hook) = self.inner.handlers.shutdown.as_ref().filter(|_| first) {
            let _ = tokio::time::timeout_at(deadline, hook::run("on_shutdown", hook, self)).await;
        }
        let reason = DisconnectReason::Shutdown;
        if tokio::time::timeout_at(cut_off, self.close_all(reason))
            .await
            .is_err()
        {
            for session in self.inner.registry.snapshot() {
                session.end_if_accepted(|session| session.abort(now(), reason));
            }
        }
        let _ = tokio::time::timeout_at(deadline, self.inner.pending.idle()).await;
        self.inner.over.close();
        self.inner.end_background_tasks();
    }

    /// Refuses new clients with 503 from now on, and goes on serving those that are connected. For a process that
    /// disconnects its clients one after another before it [shuts down](Self::shutdown).
    pub fn refuse_clients(&self) {
        self.inner.refusing.store(true, Ordering::SeqCst);
    }

    /// Lets the server use the caller's runtime for its tasks, and runs [`on_start`](crate::ServerBuilder::on_start)
    /// now instead of at the first handshake. Does nothing the second time.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime, and on one without time enabled.
    pub fn start(&self) {
        if let Err(error) = self.inner.enter_runtime() {
            panic!("{error}");
        }
    }

    /// Returns whether new clients are refused, because [`shutdown`](Self::shutdown) or
    /// [`refuse_clients`](Self::refuse_clients) has been called.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.inner.is_leaving()
    }

    /// Returns the time after which a waiting poll is answered at the latest: [`Config::ping_interval`] and
    /// [`Config::ping_timeout`] together.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        let Config {
            ping_interval,
            ping_timeout,
            ..
        } = *self.inner.config;
        ping_interval.saturating_add(ping_timeout)
    }

    /// Lets other processes serve the requests for their sessions that reach this one, and appends the name of this one to
    /// the ids of new sessions. For `engineio-cluster`.
    ///
    /// Returns `false`, and changes nothing, if the server forwards already.
    pub fn forward(&self, forward: Arc<dyn Forward>) -> bool {
        self.inner.forward.set(forward).is_ok()
    }

    /// Runs a background task on the caller's runtime, or else on one that has served requests and has not ended. It ends
    /// with that runtime, and is aborted when the server has shut down, or at once if it is spawned after that, so it must
    /// not call [`shutdown`](Self::shutdown) itself.
    ///
    /// # Panics
    ///
    /// Panics outside a runtime before the first request.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let Some(runtime) = self.inner.runtime() else {
            panic!(
                "Server::spawn needs a tokio runtime: call it inside one, or after the first request"
            );
        };
        let task = runtime.spawn(task);
        let mut background = self.inner.lock_background();
        let Some(background) = background.as_mut() else {
            task.abort();
            return task;
        };
        if background.len() == background.capacity() {
            // Not each time: with thousands of running tasks, each new one would look at all of them.
            background.retain(|task| !task.is_finished());
            let kept = background.len();
            background.reserve(kept + 1);
        }
        background.push(task.abort_handle());
        task
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("path", &self.path())
            .field("connected", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Server;

    #[tokio::test]
    async fn background_tasks_that_are_done_are_forgotten() {
        let server = Server::builder().build();
        let goes_on = server.spawn(std::future::pending::<()>());
        for _ in 0..1_000 {
            server.spawn(async {}).await.unwrap();
        }
        let kept = server.inner.lock_background().as_ref().unwrap().capacity();
        assert!(kept <= 16, "{kept}");
        server.inner.end_background_tasks();
        assert!(goes_on.await.unwrap_err().is_cancelled());
    }
}
