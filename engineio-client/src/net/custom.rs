//! The application's connector, with its type erased.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};

use futures_core::future::BoxFuture;
use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

use super::stream::Stream;
use crate::error::BoxError;

/// Makes streams with the application's service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CustomConnector(Arc<dyn Connect>);

trait Connect: Send + Sync {
    fn connect(&self, uri: Uri) -> BoxFuture<'static, Result<Stream, BoxError>>;
}

/// Behind a lock, which is held only while the service is cloned: so a service need not be `Sync`.
struct Erased<S>(Mutex<S>);

impl<S> Connect for Erased<S>
where
    S: Service<Uri> + Clone + Send + 'static,
    S::Response: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    fn connect(&self, uri: Uri) -> BoxFuture<'static, Result<Stream, BoxError>> {
        let mut service = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Box::pin(async move {
            let ready = poll_fn(|cx| service.poll_ready(cx)).await;
            ready.map_err(Into::into)?;
            let io = service.call(uri).await.map_err(Into::into)?;
            Ok(Stream::Custom(Box::new(io)))
        })
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
    pub(super) async fn connect(&self, uri: &Uri) -> Result<Stream, BoxError> {
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
