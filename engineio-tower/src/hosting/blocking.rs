//! Serves from a program without async code: a host that owns its runtime.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tower_service::Service;

use crate::http::service::EngineIoService;

/// The default time limit for clients to fetch their last messages.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until the process ends. To stop earlier, use a [`Host`].
///
/// # Errors
///
/// Fails if the address cannot be bound, or threads cannot be started.
///
/// # Panics
///
/// Panics inside an async task, whose thread it would block: use [`engineio_tower::serve`](crate::serve) there.
///
/// # Examples
///
/// ```no_run
/// use engineio_tower::{EngineIoService, Server};
///
/// fn main() -> std::io::Result<()> {
///     let server = Server::builder()
///         .on_message_blocking(|socket, message| {
///             let _ = socket.blocking_send(message); // Waits while the client is slow.
///         })
///         .build();
///     engineio_tower::blocking::serve("127.0.0.1:5000", EngineIoService::new(server))
/// }
/// ```
pub fn serve<S, B>(address: impl ToSocketAddrs, service: EngineIoService<S>) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    Host::bind(address, service)?.run()
}

/// Serves an address on threads of its own, and can be stopped from any thread.
///
/// # Examples
///
/// ```
/// use engineio_tower::{EngineIoService, Server, blocking::Host};
///
/// # fn main() -> std::io::Result<()> {
/// let server = Server::builder().build();
/// let host = Host::bind("127.0.0.1:0", EngineIoService::new(server))?;
/// println!("listening on {}", host.local_addr()?);
/// let stopper = host.stopper();
/// std::thread::spawn(move || stopper.stop());
/// host.run()?; // Returns when it has been stopped.
/// # Ok(())
/// # }
/// ```
pub struct Host<S> {
    runtime: Runtime,
    listener: TcpListener,
    service: EngineIoService<S>,
    stopper: Stopper,
    grace: Duration,
}

/// Stops a [`Host`], from any thread.
///
/// ```no_run
/// use engineio_tower::{EngineIoService, Server, blocking::Host};
///
/// # fn run() -> std::io::Result<()> {
/// let host = Host::bind("127.0.0.1:5000", EngineIoService::new(Server::builder().build()))?;
/// let stopper = host.stopper();
/// std::thread::spawn(move || {
///     let mut line = String::new();
///     let _ = std::io::stdin().read_line(&mut line); // Enter ends the server.
///     stopper.stop();
/// });
/// host.run()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Notify>);

impl Stopper {
    /// Makes the host disconnect every client gracefully and return from [`run`](Host::run).
    ///
    /// Returns at once. It may be called before `run`, and more than once.
    pub fn stop(&self) {
        self.0.notify_one();
    }
}

impl<S> Host<S> {
    /// Binds the address and prepares the threads, one for each core. From now on clients can connect; they are served
    /// as soon as [`run`](Self::run) is called.
    ///
    /// # Errors
    ///
    /// Fails if the address cannot be bound, or threads cannot be started.
    pub fn bind(address: impl ToSocketAddrs, service: EngineIoService<S>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("engineio")
            .enable_all()
            .build()?;
        Ok(Self {
            runtime,
            listener,
            service,
            stopper: Stopper(Arc::default()),
            grace: GRACE,
        })
    }

    /// Sets the time limit for clients to fetch their last messages, and for handlers and requests to end, once the
    /// host is stopped; see [`Server::shutdown`](crate::Server::shutdown). Default 10 s.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Returns the bound address.
    ///
    /// # Errors
    ///
    /// Fails if the system does not know it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns a handle that stops the host.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves until it is stopped: then it disconnects the clients gracefully, after their queued messages, and
    /// finishes the requests in progress.
    ///
    /// # Errors
    ///
    /// Fails if the listener cannot be watched.
    ///
    /// # Panics
    ///
    /// Panics inside an async task, whose thread it would block.
    pub fn run<B>(self) -> io::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send + 'static,
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let Self {
            runtime,
            listener,
            service,
            stopper,
            grace,
        } = self;
        let server = service.server().clone();
        let served = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            super::serve::serve(listener, service)
                .shutdown_timeout(grace)
                .with_graceful_shutdown(async move {
                    stopper.0.notified().await;
                    server.shutdown(grace).await;
                })
                .await
        });
        // A handler that still blocks a thread has exceeded the grace.
        runtime.shutdown_timeout(Duration::ZERO);
        served
    }
}

impl<S> std::fmt::Debug for Host<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}
