//! Runs a WebSocket after its handshake, for hosts without hyper, which run it themselves.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::Response;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::forward::Tunnel;
use crate::http::io::HyperIo;
use crate::session::direct::TryWrite;
#[cfg(engineio_shuttle)]
use crate::session::direct::TryWriteFn;
use crate::session::driver::LinkDriver;
use crate::sync::Mutex;

/// The time limit for a connection to hand its bytes over after the 101. It does so as soon as the answer is written,
/// so only a peer that reads nothing at all comes near it.
const HAND_OVER: Duration = Duration::from_secs(30);

/// Runs the WebSocket of one client over the bytes that follow the handshake.
///
/// On hyper the service runs it by itself. A host without hyper marks its request with
/// [`HostUpgrade`](crate::HostUpgrade), takes the driver out of the response, and [runs](Self::run) it where it likes or
/// [spawns](Self::spawn) it. Dropping it ends the WebSocket.
///
/// # Examples
///
/// ```
/// use engineio_tower::Driver;
/// use http::Response;
/// use tokio::io::{AsyncRead, AsyncWrite};
///
/// async fn answered<B, IO: AsyncRead + AsyncWrite + Unpin>(mut response: Response<B>, io: IO) {
///     if let Some(driver) = Driver::take(&mut response) {
///         driver.run(io).await;
///     }
/// }
/// # let _ = answered::<(), tokio::io::DuplexStream>;
/// ```
#[derive(Debug)]
pub struct Driver {
    kind: Kind,
}

enum Kind {
    /// The session is one of this process.
    Link(LinkDriver),
    /// Another process owns the session, and the bytes go there.
    Relay(Box<dyn Tunnel>),
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(driver) => driver.fmt(f),
            Self::Relay(_) => f.write_str("Relay"),
        }
    }
}

/// The place of a driver in a response's extensions, whose values must be `Clone`.
#[derive(Clone, Debug)]
struct Slot(Arc<Mutex<Option<Driver>>>);

impl Driver {
    pub(crate) const fn new(driver: LinkDriver) -> Self {
        Self {
            kind: Kind::Link(driver),
        }
    }

    pub(crate) const fn relay(tunnel: Box<dyn Tunnel>) -> Self {
        Self {
            kind: Kind::Relay(tunnel),
        }
    }

    pub(crate) fn put<B>(self, response: &mut Response<B>) {
        let slot = Slot(Arc::new(Mutex::new(Some(self))));
        response.extensions_mut().insert(slot);
    }

    /// Takes the driver out of a response, if the response accepts a WebSocket.
    pub fn take<B>(response: &mut Response<B>) -> Option<Self> {
        let Slot(slot) = response.extensions_mut().remove::<Slot>()?;
        slot.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes the driver of a session of this process.
    pub(crate) fn take_link<B>(response: &mut Response<B>) -> Option<LinkDriver> {
        match Self::take(response)?.kind {
            Kind::Link(driver) => Some(driver),
            Kind::Relay(_) => None,
        }
    }

    /// Runs the WebSocket over a connection of hyper, to which the server may write while the task sleeps.
    ///
    /// As [`run`](Self::run), this is not an async function, whose future would hold the connection twice.
    pub(crate) fn run_upgraded(self, mut io: HyperIo) -> impl Future<Output = ()> {
        if let Kind::Link(_) = self.kind {
            io.closes_with_shutdown();
        }
        let connection = io.connection();
        self.run_over(io, connection)
    }

    /// Runs the WebSocket, and lets the server write to it by `try_write` while the task sleeps. For tests of races, whose
    /// connections are in memory.
    #[cfg(engineio_shuttle)]
    pub fn run_shared<IO: AsyncRead + AsyncWrite + Unpin>(
        self,
        io: IO,
        try_write: impl Fn(&[u8]) -> std::io::Result<usize> + Send + Sync + 'static,
    ) -> impl Future<Output = ()> {
        let try_write: TryWriteFn = Box::new(try_write);
        self.run_over(io, Some(Arc::new(try_write)))
    }

    /// Spawns a task that waits for the stream and runs the WebSocket over it.
    ///
    /// For hosts that hand over a connection by a future, once they have written the response. If it fails, or takes
    /// longer than 30 s, the WebSocket ends.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn spawn<IO, E>(self, upgrade: impl Future<Output = Result<IO, E>> + Send + 'static)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        E: fmt::Display,
    {
        tokio::spawn(async move {
            if let Some(io) = handed_over(upgrade).await {
                self.run(io).await;
            }
        });
    }

    /// Runs the WebSocket until it is closed. The stream need not be `Send`.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the WebSocket without a close frame; a task completes the handler that is running.
    pub fn run<IO: AsyncRead + AsyncWrite + Unpin>(self, io: IO) -> impl Future<Output = ()> {
        self.run_over(io, None)
    }

    async fn run_over<IO: AsyncRead + AsyncWrite + Unpin>(
        self,
        mut io: IO,
        connection: Option<Arc<dyn TryWrite>>,
    ) {
        match self.kind {
            Kind::Link(driver) => driver.run(io, connection).await,
            Kind::Relay(mut tunnel) => {
                poll_fn(|cx| tunnel.poll_relay(&mut io, cx)).await;
            }
        }
    }
}

/// Waits until the host hands the connection over. `None` if it fails to, or takes too long.
pub(crate) async fn handed_over<IO, E: fmt::Display>(
    upgrade: impl Future<Output = Result<IO, E>>,
) -> Option<IO> {
    match tokio::time::timeout(HAND_OVER, upgrade).await {
        Ok(Ok(io)) => return Some(io),
        Ok(Err(error)) => {
            tracing::debug!(target: "engineio::upgrade", %error, "the connection ended before the upgrade");
        }
        Err(_) => {
            tracing::debug!(target: "engineio::upgrade", "the connection was not handed over in time");
        }
    }
    None
}
