//! The application's connector and its streams, with their types erased and their panics caught.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use engineio_core::driver::catch_panic;
use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;

use crate::error::BoxError;
use crate::panics::{catch_panics, report};

/// Makes streams with the application's service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CustomConnector(Arc<dyn Connect>);

trait Connect: Send + Sync {
    fn connect(&self, uri: Uri) -> BoxFuture<'static, Result<CustomStream, BoxError>>;
}

/// Code of the application panicked while it was asked for a connection or used one. In the tasks of the HTTP library,
/// a panic would look like a broken connection.
#[derive(Debug, thiserror::Error)]
#[error("the application's {0} panicked")]
pub(super) struct Panicked(&'static str);

/// Behind a lock, which is held only while the service is cloned: so a service need not be `Sync`.
struct Erased<S>(Mutex<S>);

impl<S> Connect for Erased<S>
where
    S: Service<Uri> + Clone + Send + 'static,
    S::Response: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    fn connect(&self, uri: Uri) -> BoxFuture<'static, Result<CustomStream, BoxError>> {
        let cloned = catch_panic(|| {
            let service = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            S::clone(&service)
        });
        let connecting = async move {
            let mut service = cloned.map_err(|_| Panicked("connector"))?;
            let ready = poll_fn(|cx| service.poll_ready(cx)).await;
            ready.map_err(Into::into)?;
            let io = service.call(uri).await.map_err(Into::into)?;
            Ok(CustomStream {
                io: Some(Box::new(io)),
                has_panicked: false,
            })
        };
        Box::pin(
            catch_panics(connecting)
                .map(|outcome| outcome.unwrap_or_else(|_| Err(Panicked("connector").into()))),
        )
    }
}

impl CustomConnector {
    pub(crate) fn new<S>(service: S) -> Self
    where
        S: Service<Uri> + Clone + Send + 'static,
        S::Response: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        Self(Arc::new(Erased(Mutex::new(service))))
    }

    /// Connects to the scheme, host and port of a URL. Its path and query may hold secrets, and are left out.
    pub(super) async fn connect(&self, uri: &Uri) -> Result<CustomStream, BoxError> {
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        self.0.connect(Uri::from_parts(parts)?).await
    }
}

impl fmt::Debug for CustomConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomConnector")
    }
}

/// A stream that the application's connector made.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

pub(crate) struct CustomStream {
    /// `None` only while this is dropped.
    io: Option<Box<dyn Io>>,
    /// It is not called again, since the panic may have left it in any state.
    has_panicked: bool,
}

impl CustomStream {
    fn call<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut dyn Io>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Some(io) = self.io.as_deref_mut().filter(|_| !self.has_panicked) {
            if let Ok(outcome) = catch_panic(|| poll(Pin::new(io))) {
                return outcome;
            }
            self.has_panicked = true;
        }
        Poll::Ready(Err(io::Error::other(Panicked("stream"))))
    }
}

/// Panics, in the place of those who count on it, if a stream has written more than it was given.
fn plausible(written: Poll<io::Result<usize>>, given: usize) -> Poll<io::Result<usize>> {
    if let Poll::Ready(Ok(written)) = &written {
        assert!(
            *written <= given,
            "a stream of the connector wrote {written} of {given} bytes"
        );
    }
    written
}

impl AsyncRead for CustomStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (start, before) = (buf.filled().as_ptr(), buf.filled().len());
        self.call(|io| {
            let read = io.poll_read(cx, buf);
            assert!(
                buf.filled().as_ptr() == start && buf.filled().len() >= before,
                "a stream of the connector replaced the buffer that it was to read into"
            );
            read
        })
    }
}

impl AsyncWrite for CustomStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.call(|io| plausible(io.poll_write(cx, buf), buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let given = bufs.iter().map(|buf| buf.len()).sum();
        self.call(|io| plausible(io.poll_write_vectored(cx, bufs), given))
    }

    fn is_write_vectored(&self) -> bool {
        let ask = || self.io.as_ref().is_some_and(|io| io.is_write_vectored());
        let asked = catch_panic(ask);
        asked.unwrap_or(false)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.call(|io| io.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.call(|io| io.poll_shutdown(cx))
    }
}

/// A panic of the application's code does not reach the task in which the stream ends, which may be that of the client or
/// one that another panic is about to end.
impl Drop for CustomStream {
    fn drop(&mut self) {
        let io = self.io.take();
        if catch_panic(|| drop(io)).is_err() {
            report(|| {
                tracing::error!(target: crate::log::TARGET, "a stream of the application's connector panicked when it was dropped");
            });
        }
    }
}
