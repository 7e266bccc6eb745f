//! The options of a client, by topic.

mod handlers;
pub(crate) mod headers;
mod limits;
mod network;
mod session;
#[cfg(feature = "rustls-no-provider")]
mod tls;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use engineio_core::client::Config;
use engineio_core::driver::catch_panic;
use engineio_core::{Revision, Transport};
use http::header::HeaderMap;

use self::network::NetworkOptions;
use crate::client::Client;
use crate::driver;
use crate::handlers::Handlers;
use crate::net::cookies::CookieJar;
use crate::net::headers::{Headers, check};
use crate::net::http::Http;
use crate::net::route::{Redirects, Route};
use crate::net::websocket::WebSockets;
#[cfg(feature = "webtransport")]
use crate::net::webtransport::WebTransports;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::state::Phase;
use crate::target::Target;
use crate::wakers::Interest;
use crate::{Error, ErrorKind, Reconnect};

/// The name of the query parameter that makes polling requests unique. A URL that was copied from a browser may have it.
const DEFAULT_STAMP: &str = "t";

/// Configures an async client, or a blocking one: the options are the same. Created by [`Client::builder`] or by
/// `blocking::Client::builder`.
///
/// An option that cannot be used is reported by `connect`, before anything is sent.
///
/// # Examples
///
/// ```no_run
/// use engineio_client::{Client, Transport};
///
/// # async fn example() -> Result<(), engineio_client::Error> {
/// let client = Client::builder("https://example.com")
///     .header("x-tenant", "blue")
///     .bearer_auth("secret")
///     .transports([Transport::WebSocket, Transport::Polling])
///     .try_all_transports(true)
///     .on_message(|client, message| async move {
///         let _ = client.send(message).await;
///     })
///     .connect()
///     .await?;
/// client.wait().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `connect` is called"]
pub struct ClientBuilder<M = Async> {
    target: Result<Target, Error>,
    strip_slash: bool,
    transports: Vec<Transport>,
    try_all: bool,
    upgrade: bool,
    headers: HeaderMap,
    cookies: bool,
    jar: CookieJar,
    redirects: Redirects,
    stamp: Option<String>,
    network: NetworkOptions,
    request_timeout: Duration,
    max_response: usize,
    websocket_compression: Option<usize>,
    #[cfg(feature = "webtransport")]
    certificate_hashes: Vec<crate::net::webtransport::CertificateHash>,
    session: Config,
    reconnect: Option<Reconnect>,
    pub(crate) handlers: Handlers,
    /// The first option that cannot be used.
    invalid: Option<Error>,
    mode: PhantomData<M>,
}

/// Starts a thread that calls the handlers.
pub(crate) type StartThread = fn(Handlers, Arc<Shared>) -> Result<(), Error>;

/// Marks a builder that makes an async client.
#[derive(Debug)]
pub struct Async;

impl<M> ClientBuilder<M> {
    pub(crate) fn new(url: &str) -> Self {
        let mut builder = Self {
            target: Target::parse(url),
            strip_slash: false,
            transports: vec![Transport::Polling, Transport::WebSocket],
            try_all: false,
            upgrade: true,
            headers: HeaderMap::new(),
            cookies: true,
            jar: CookieJar::new(),
            redirects: Redirects::default(),
            stamp: Some(DEFAULT_STAMP.to_owned()),
            network: NetworkOptions::default(),
            request_timeout: Duration::from_secs(20),
            max_response: 32 << 20,
            websocket_compression: None,
            #[cfg(feature = "webtransport")]
            certificate_hashes: Vec::new(),
            session: Config::default(),
            reconnect: None,
            handlers: Handlers::default(),
            invalid: None,
            mode: PhantomData,
        };
        let target = builder.target.as_ref().ok();
        if let Some((user, password)) = target.and_then(|target| target.credentials.clone()) {
            builder = builder.basic_auth(&user, password.as_deref());
        }
        builder
    }

    fn fail(&mut self, error: Error) {
        self.invalid.get_or_insert(error);
    }

    /// Checks the options and connects. The handlers are called by the client's task, or by the thread that `thread` starts.
    pub(crate) async fn start(mut self, thread: Option<StartThread>) -> Result<Client, Error> {
        let handlers = std::mem::take(&mut self.handlers);
        let settings = self.settings()?;
        let target = settings.route.target.to_string();
        let Some(&transport) = settings.transports.first() else {
            return Err(Error::invalid("no transport was given; give at least one"));
        };
        let session = settings.session(crate::clock::now(), transport);
        let delivery = handlers.delivery(settings.session.inbox_limit);
        let shared = Shared::new(session, delivery, &settings);
        shared.lock().is_connect_handled = handlers.connect.is_none();
        let client = Client::new(Arc::clone(&shared));
        let in_task = match thread.filter(|_| !handlers.is_empty()) {
            None => Some(handlers),
            Some(start) => {
                start(handlers, Arc::clone(&shared))?;
                None
            }
        };
        tokio::spawn(driver::run(Arc::clone(&shared), settings, in_task));
        let outcome = shared.wait(Interest::Phase, |state| match state.phase() {
            Phase::Connecting => None,
            Phase::Failed => Some(Err(state.error.clone())),
            phase => (state.is_connect_handled || phase.is_over()).then_some(Ok(())),
        });
        match outcome.await {
            Ok(()) => Ok(client),
            Err(error) => Err(error.unwrap_or_else(|| {
                let message = format!(
                    "the connection to {target} was closed before it was open; connect again"
                );
                Error::new(ErrorKind::Closed, message)
            })),
        }
    }

    fn settings(self) -> Result<Settings, Error> {
        if let Some(error) = self.invalid {
            return Err(error);
        }
        let mut target = self.target?;
        if self.strip_slash {
            target.strip_slash();
        }
        target.set_revision(self.session.revision);
        if let Some(name) = &self.stamp {
            check_stamp(name, &target.query)?;
        }
        let mut session = self.session;
        session.open_timeout = self.request_timeout;
        let has_webtransport = self.transports.contains(&Transport::WebTransport);
        if has_webtransport && cfg!(not(feature = "webtransport")) {
            let message = "WebTransport is not part of this build; enable the feature `webtransport` of engineio-client";
            return Err(Error::invalid(message));
        }
        if has_webtransport && session.revision != Revision::V4 {
            let message = "WebTransport is part of revision 4 only; leave it out of `transports`";
            return Err(Error::invalid(message));
        }
        let is_secure = target.is_secure() || has_webtransport;
        let connector = self.network.connector(&target, is_secure)?;
        let address = target.address()?;
        let can_upgrade = |to: &Transport| match to {
            Transport::WebSocket => true,
            #[cfg(feature = "webtransport")]
            Transport::WebTransport => connector.datagrams(&address).is_ok(),
            _ => false,
        };
        let upgrades = self.transports.iter().copied();
        session.upgrades = upgrades
            .filter(|to| self.upgrade && can_upgrade(to))
            .collect();
        check(&self.headers)?;
        let jar = self.cookies.then_some(self.jar);
        let headers = Headers::new(self.headers, jar, &address);
        let websockets = WebSockets {
            connector: connector.clone(),
            max_message: self.max_response,
            compression: self.websocket_compression,
        };
        #[cfg(feature = "webtransport")]
        let webtransports = WebTransports {
            connector: connector.clone(),
            max_message: self.max_response,
            hashes: self.certificate_hashes.into(),
        };
        Ok(Settings {
            route: Route {
                target,
                headers,
                http: Http::new(connector, self.max_response),
                websockets,
                #[cfg(feature = "webtransport")]
                webtransports,
                stamp: self.stamp,
                redirects: self.redirects,
                followed: 0,
            },
            transports: self.transports,
            try_all: self.try_all,
            session,
            request_timeout: self.request_timeout,
            reconnect: self.reconnect,
        })
    }
}

impl ClientBuilder {
    /// Connects to the server. Must be called inside a tokio runtime with time enabled, and IO unless there is a
    /// [`connector`](Self::connector).
    ///
    /// # Errors
    ///
    /// Fails if an option cannot be used, there is no such runtime, the server cannot be reached or refuses the client, or the
    /// answer is not that of an Engine.IO server. The handshake takes at most
    /// [`request_timeout`](Self::request_timeout), for each transport that is tried.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt.
    pub async fn connect(self) -> Result<Client, Error> {
        if tokio::runtime::Handle::try_current().is_err() {
            let message = "`connect` was called outside of a tokio runtime, which it needs: use `#[tokio::main]`, or \
                           the blocking client";
            return Err(Error::invalid(message));
        }
        // There is no other way to ask.
        if catch_panic(|| tokio::time::sleep(Duration::ZERO)).is_err() {
            let message = "`connect` was called in a tokio runtime without time, which it needs: call `enable_time` or \
                           `enable_all` of its `Builder`";
            return Err(Error::invalid(message));
        }
        self.start(None).await
    }
}

/// Checks that the name of the parameter that makes requests unique is not that of another one in this query.
fn check_stamp(name: &str, query: &str) -> Result<(), Error> {
    let mut own = form_urlencoded::parse(query.as_bytes());
    let is_taken = name != DEFAULT_STAMP && own.any(|(known, _)| known == name);
    if is_taken || ["", "EIO", "transport", "sid"].contains(&name) {
        let message = format!(
            "`timestamp_param` cannot be `{name}`, which is empty or the name of another parameter"
        );
        return Err(Error::invalid(message));
    }
    Ok(())
}
