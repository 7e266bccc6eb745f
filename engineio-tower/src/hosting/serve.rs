//! Serves a service on a TCP listener, over HTTP/1 and HTTP/2.

use std::error::Error;
use std::future::{Future, Pending, Ready, pending, poll_fn, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service;

use super::connection::{self, Connection};
use super::serve_options::Options;
use crate::policy::origin::Scheme;
use crate::repeated::log_repeated;

/// The pause after the system has refused to accept: it is mostly out of file descriptors, and the loop would spin
/// until a connection ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a service on a listener until the process ends, or until the future given to
/// [`with_graceful_shutdown`](Serve::with_graceful_shutdown) completes.
///
/// It speaks HTTP/1 and HTTP/2 (without TLS by prior knowledge), upgrades to WebSocket over both, switches Nagle's
/// algorithm off, drops clients that connect and send no request in time (slowloris), and passes on the address of the
/// peer as a [`PeerAddr`](crate::PeerAddr). The service may be an [`EngineIoService`](crate::EngineIoService), or any other one that
/// takes a [`hyper`] body, such as an axum `Router` with a layer.
///
/// A client that closes its sending side after a request (half-close) counts as gone, as on every host with hyper. Its
/// waiting poll is aborted, and its other requests may get no answer.
///
/// Header names are sent in lower case, as HTTP/2 requires and HTTP/1 allows. For clients that compare names such as
/// `Sec-WebSocket-Accept` with regard to case, put a proxy in front that capitalizes them.
///
/// # Errors
///
/// The future never fails: a connection that cannot be accepted is logged. (It returns a `Result` so that it can end a
/// `main` and replace axum's `serve`.)
///
/// # Cancel safety
///
/// Dropping the future at once ends all connections that have not become WebSockets.
///
/// # Examples
///
/// ```no_run
/// use engineio_tower::{EngineIoService, Message, Server, Socket};
/// use std::time::Duration;
/// use tokio::net::TcpListener;
///
/// #[tokio::main]
/// async fn main() -> std::io::Result<()> {
///     let server = Server::builder()
///         .on_message(|socket: Socket, message: Message| async move {
///             let _ = socket.send(message).await;
///         })
///         .build();
///     let listener = TcpListener::bind("127.0.0.1:5000").await?;
///     engineio_tower::serve(listener, EngineIoService::new(server)).await
/// }
/// ```
pub fn serve<S>(listener: TcpListener, service: S) -> Serve<S> {
    Serve {
        listener,
        service,
        handshake: plain,
        signal: pending(),
        options: Options::default(),
    }
}

fn plain(stream: TcpStream) -> Ready<io::Result<TcpStream>> {
    ready(Ok(stream))
}

/// The empty handshake of a connection without TLS.
type Plain = fn(TcpStream) -> Ready<io::Result<TcpStream>>;

/// Serves connections when it is awaited; returned by [`serve`].
#[must_use = "nothing is served until it is awaited"]
pub struct Serve<S, H = Plain, F = Pending<()>> {
    listener: TcpListener,
    service: S,
    handshake: H,
    signal: F,
    options: Options,
}

impl<S, H, F> Serve<S, H, F> {
    /// Sets whether Nagle's algorithm is disabled. Default `true`: with the algorithm, the second of two small packets
    /// waits for the peer's delayed acknowledgement, some 40 ms.
    pub const fn nodelay(mut self, nodelay: bool) -> Self {
        self.options.nodelay = nodelay;
        self
    }

    /// Sets the time limit for the head of a request: for the first one of a connection from connecting to the end of the
    /// head, the TLS handshake included, and for later ones over HTTP/1 from their first byte. Default 15 s. It protects
    /// against slow headers (slowloris).
    pub const fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.options.header_read_timeout = timeout;
        self
    }

    /// Sets the time for which a connection is kept open between two requests (keep-alive). Default 75 s: balancers, proxies
    /// and HTTP clients reuse idle connections for up to a minute, and a request on a connection that the server is just
    /// closing gets no answer.
    ///
    /// An HTTP/2 connection gets a ping after a silence of this length, and is closed if the ping is not answered in 20 s.
    pub const fn keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.options.keep_alive_timeout = timeout;
        self
    }

    /// Sets the time limit for requests in progress after the signal to shut down. Default 30 s. TLS handshakes in
    /// progress are abandoned at once, and connections without a complete request after a second. A connection without a
    /// request in progress that the client does not close is dropped once the client has taken no byte of the last
    /// responses for 2 s. This ends HTTP/2 connections whose client is gone, and WebSockets over HTTP/2.
    pub const fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.options.shutdown_timeout = timeout;
        self
    }

    /// Serves over TLS: the closure performs the handshake. The requests then carry [`Scheme::Https`].
    ///
    /// The handshake runs in the connection's own task, so a slow client delays no other. For HTTP/2, let ALPN offer
    /// `h2`; browsers then open WebSockets over it.
    ///
    /// ```
    /// use std::io;
    /// use engineio_tower::{EngineIoService, Serve, Server};
    /// use tokio::io::{AsyncRead, AsyncWrite};
    /// use tokio::net::{TcpListener, TcpStream};
    /// # struct TlsAcceptor;
    /// # impl TlsAcceptor {
    /// #     async fn accept(&self, stream: TcpStream) -> io::Result<TcpStream> { Ok(stream) }
    /// # }
    ///
    /// // `TlsAcceptor` of tokio-rustls, for example.
    /// async fn run(listener: TcpListener, server: Server, acceptor: &'static TlsAcceptor) -> io::Result<()> {
    ///     engineio_tower::serve(listener, EngineIoService::new(server))
    ///         .tls(move |stream| acceptor.accept(stream))
    ///         .await
    /// }
    /// ```
    pub fn tls<H2, Fut, IO>(self, handshake: H2) -> Serve<S, H2, F>
    where
        H2: Fn(TcpStream) -> Fut,
        Fut: Future<Output = io::Result<IO>>,
        IO: AsyncRead + AsyncWrite,
    {
        Serve {
            listener: self.listener,
            service: self.service,
            handshake,
            signal: self.signal,
            options: Options {
                scheme: Some(Scheme::Https),
                ..self.options
            },
        }
    }

    /// Shuts down gracefully when the future completes: stops accepting, closes idle connections, and finishes the
    /// requests in progress. Let the signal disconnect the clients of the Engine.IO server first: a waiting poll is a
    /// request in progress, and WebSockets, which are not HTTP connections any more, are not waited for.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use engineio_tower::{EngineIoService, Server};
    /// # async fn run(listener: tokio::net::TcpListener, server: Server, stopped: tokio::sync::oneshot::Receiver<()>) -> std::io::Result<()> {
    /// engineio_tower::serve(listener, EngineIoService::new(server.clone()))
    ///     .with_graceful_shutdown(async move {
    ///         let _ = stopped.await;
    ///         server.shutdown(Duration::from_secs(10)).await;
    ///     })
    ///     .await
    /// # }
    /// ```
    pub fn with_graceful_shutdown<F2>(self, signal: F2) -> Serve<S, H, F2>
    where
        F2: Future<Output = ()>,
    {
        Serve {
            listener: self.listener,
            service: self.service,
            handshake: self.handshake,
            signal,
            options: self.options,
        }
    }

    /// Returns the address of the listener.
    ///
    /// # Errors
    ///
    /// Fails if the system does not know it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl<S, H, F> std::fmt::Debug for Serve<S, H, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<S, B, H, Fut, IO, F> IntoFuture for Serve<S, H, F>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    H: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = io::Result<IO>> + Send + 'static,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run(self))
    }
}

/// The event that wakes the accept loop.
enum Event {
    Accepted(io::Result<(TcpStream, SocketAddr)>),
    Stop,
}

async fn run<S, B, H, Fut, IO, F>(serve: Serve<S, H, F>) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    H: Fn(TcpStream) -> Fut,
    Fut: Future<Output = io::Result<IO>> + Send + 'static,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = ()>,
{
    let Serve {
        listener,
        service,
        handshake,
        signal,
        options,
    } = serve;
    let http = Arc::new(connection::http(options));
    let graceful = GracefulShutdown::new();
    let (serving, _) = watch::channel(());
    // The tasks end with the set, so that nothing outlives a server that is dropped.
    let mut connections = JoinSet::new();
    let mut signal = pin!(signal);
    loop {
        let event = poll_fn(|cx| {
            // A panic has been told by its hook, and is the end of its connection only.
            while let Poll::Ready(Some(_)) = connections.poll_join_next(cx) {}
            if signal.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Stop);
            }
            listener.poll_accept(cx).map(Event::Accepted)
        })
        .await;
        match event {
            Event::Stop => break,
            Event::Accepted(Ok((stream, peer))) => {
                // A connection that is broken already shows that at the first read.
                let _ = stream.set_nodelay(options.nodelay);
                let connection = Connection {
                    http: Arc::clone(&http),
                    service: service.clone(),
                    peer,
                    options,
                    serving: serving.subscribe(),
                    watcher: graceful.watcher(),
                };
                connections.spawn(connection.serve(handshake(stream)));
            }
            Event::Accepted(Err(error)) if is_of_one_connection(&error) => {}
            Event::Accepted(Err(error)) => {
                log_repeated!(error, target: "engineio::serve", %error, "the system accepts no connections for now");
                if timeout(ACCEPT_PAUSE, signal.as_mut()).await.is_ok() {
                    break;
                }
            }
        }
    }
    drop(listener);
    drop(serving);
    if timeout(options.shutdown_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(target: "engineio::serve", connections = connections.len(), "requests were still under way; their connections are dropped");
    }
    Ok(())
}

/// Returns whether the error concerns only one client, which gave up before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
