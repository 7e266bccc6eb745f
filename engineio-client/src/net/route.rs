//! The target and the connections of a session's requests, which a redirect of the handshake may change.

use std::future::ready;

use engineio_core::client::Session;
use engineio_core::{Payload, Transport};
use futures_core::future::BoxFuture;

use super::headers::Headers;
use super::http::{Http, Outcome};
use super::kept::Kept;
use super::link::Link;
use super::websocket::WebSockets;
#[cfg(feature = "webtransport")]
use super::webtransport::WebTransports;
use crate::Error;
use crate::log::TARGET;
use crate::redirect::Move;
use crate::secrets::Secrets;
use crate::target::Target;

/// The maximum number of redirects that one handshake follows. A browser follows 20, which is more than needed.
const MAX_REDIRECTS: usize = 5;

/// Decides which redirects a client follows while it opens a session; see
/// [`ClientBuilder::redirects`](crate::ClientBuilder::redirects).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Redirects {
    /// None: a redirect is an error of the kind [`Redirect`](crate::ErrorKind::Redirect).
    Never,
    /// Those that keep scheme, host and port, and those from `http` to `https` on the same host if both have the
    /// default port. The new server gets everything.
    #[default]
    SameHost,
    /// All. For those that [`SameHost`](Self::SameHost) does not follow, the application's headers (except
    /// `user-agent`), cookies, query parameters and client certificate are not sent.
    Any,
}

#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) target: Target,
    pub(crate) headers: Headers,
    pub(crate) http: Http,
    pub(crate) websockets: WebSockets,
    #[cfg(feature = "webtransport")]
    pub(crate) webtransports: WebTransports,
    /// The name of the query parameter that makes polling requests unique.
    pub(crate) stamp: Option<String>,
    pub(crate) redirects: Redirects,
    /// The number of redirects that were followed.
    pub(crate) followed: usize,
}

impl Route {
    /// Returns a route for another session.
    pub(crate) fn for_session(&self) -> Self {
        let mut this = self.clone();
        this.headers.remember(this.secrets(None));
        this
    }

    /// Returns the secrets that servers and proxies were sent and may repeat, including the id of the session.
    pub(crate) fn secrets(&self, session: Option<&Session>) -> Secrets {
        let Ok(uri) = self.target.address() else {
            return Secrets::default();
        };
        let mut secrets = self.headers.secrets(&uri);
        secrets.add_query(uri.query().unwrap_or_default());
        if let Some(opened) = session.and_then(Session::opened) {
            secrets.add_sid(opened.sid());
        }
        secrets.add_headers(&self.http.proxy_headers(&uri));
        secrets
    }

    /// Returns the target for an error. The path may be that of a redirect, which may repeat a secret.
    pub(crate) fn place(&self, secrets: &Secrets) -> String {
        secrets.redact(self.target.to_string().as_bytes())
    }

    /// Sends a GET, or a POST of this body, over the connection that was kept if it can still be used.
    pub(crate) fn request(
        &self,
        kept: Option<Box<Kept>>,
        sid: Option<&str>,
        body: Option<Payload>,
    ) -> BoxFuture<'static, Outcome> {
        let uri = self
            .target
            .uri(Transport::Polling, sid, self.stamp.as_deref());
        // Without a future around it, which would hold all of this twice.
        match uri {
            Ok(uri) => Box::pin(
                self.http
                    .clone()
                    .request(kept, uri, self.headers.clone(), body),
            ),
            Err(error) => Box::pin(ready((Err(error), kept))),
        }
    }

    /// Opens a link, of the session with this id or of a new one.
    pub(crate) fn open_link(
        &self,
        transport: Transport,
        sid: Option<&str>,
    ) -> BoxFuture<'static, Result<Link, Error>> {
        let headers = self.headers.clone();
        #[cfg(feature = "webtransport")]
        if transport == Transport::WebTransport {
            let (uri, sid) = (self.target.address(), sid.map(str::to_owned));
            let webtransports = self.webtransports.clone();
            return Box::pin(async move {
                let opened = webtransports.open(uri?, headers, sid).await;
                opened.map(|link| Link::WebTransport(Box::new(link)))
            });
        }
        let uri = self.target.uri(transport, sid, None);
        let websockets = self.websockets.clone();
        Box::pin(async move { websockets.open(uri?, headers).await.map(Link::WebSocket) })
    }

    /// Changes the route to the location of a redirect of the handshake.
    ///
    /// # Errors
    ///
    /// Returns the error if it is not a redirect, or is one that must not be followed.
    pub(crate) fn follow(&mut self, error: Error) -> Result<(), Error> {
        let Some(location) = error.location() else {
            return Err(error);
        };
        if self.followed == MAX_REDIRECTS {
            return Err(error.after_redirects(MAX_REDIRECTS));
        }
        let Some((target, step)) = self.target.moved(location, self.stamp.as_deref()) else {
            return Err(error.leading_nowhere());
        };
        let is_allowed = match self.redirects {
            Redirects::Never => false,
            Redirects::SameHost => step != Move::Away,
            Redirects::Any => true,
        };
        if !is_allowed {
            return Err(error);
        }
        let secrets = self.secrets(None);
        let shown = secrets.redact(target.to_string().as_bytes());
        tracing::debug!(target: TARGET, to = shown, "redirected");
        self.headers.remember(secrets);
        if step == Move::Away {
            self.headers = self.headers.for_a_stranger();
        }
        self.target = target;
        self.followed += 1;
        Ok(())
    }
}
