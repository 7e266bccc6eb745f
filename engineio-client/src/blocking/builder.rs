//! The options of a blocking client: those of the async one, and handlers that are plain closures.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engineio_core::client::Event;
use engineio_core::{DisconnectReason, Message, Revision, Transport};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;

use super::{Client, Handle, runtime, wait_for};
use crate::error::BoxError;
use crate::shared::{Phase, Shared};
use crate::{Error, ErrorKind, Reconnect};

type OnConnect = Box<dyn FnMut(Handle) + Send>;
type OnMessage = Box<dyn FnMut(Handle, Message) + Send>;
type OnDisconnect = Box<dyn FnMut(DisconnectReason) + Send>;

/// Sets a blocking client up; made by [`Client::builder`]. The options are those of
/// [`engineio_client::ClientBuilder`](crate::ClientBuilder), where they are described.
///
/// # Examples
///
/// ```no_run
/// use engineio_client::blocking::Client;
///
/// # fn example() -> Result<(), engineio_client::Error> {
/// let client = Client::builder("https://example.com")
///     .on_message(|client, message| {
///         let _ = client.send(message);
///     })
///     .connect()?;
/// client.wait()
/// # }
/// ```
#[must_use = "a builder does nothing until `connect` is called"]
pub struct ClientBuilder {
    inner: crate::ClientBuilder,
    connect: Option<OnConnect>,
    message: Option<OnMessage>,
    disconnect: Option<OnDisconnect>,
}

/// Options that are handed on as they are.
macro_rules! options {
    ($($(#[$attr:meta])* $name:ident($($arg:ident: $type:ty),*);)*) => {
        $(
            $(#[$attr])*
            #[doc = concat!("As [`", stringify!($name), "`](crate::ClientBuilder::", stringify!($name), ") of the async client.")]
            pub fn $name(mut self, $($arg: $type),*) -> Self {
                self.inner = self.inner.$name($($arg),*);
                self
            }
        )*
    };
}

impl ClientBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            inner: crate::Client::builder(url),
            connect: None,
            message: None,
            disconnect: None,
        }
    }

    options! {
        transports(transports: impl IntoIterator<Item = Transport>);
        upgrade(upgrade: bool);
        try_all_transports(try_all: bool);
        revision(revision: Revision);
        path(path: &str);
        trailing_slash(slash: bool);
        query(name: &str, value: &str);
        header(name: &str, value: &str);
        headers(headers: HeaderMap);
        bearer_auth(token: &str);
        basic_auth(user: &str, password: Option<&str>);
        cookie(name: &str, value: &str);
        cookies(cookies: bool);
        connect_timeout(timeout: Duration);
        request_timeout(timeout: Duration);
        upgrade_timeout(timeout: Duration);
        close_timeout(timeout: Duration);
        max_response(bytes: usize);
        max_post_packets(packets: usize);
        outbox_limit(bytes: usize);
        inbox_limit(bytes: usize);
        timestamp_requests(timestamps: bool);
        timestamp_param(name: &str);
        proxy(url: &str);
        reconnect(policy: Reconnect);
        #[cfg(feature = "tls")]
        root_certificate(pem: &[u8]);
        #[cfg(feature = "tls")]
        built_in_roots(trusted: bool);
        #[cfg(feature = "tls")]
        client_identity(pem: &[u8]);
        #[cfg(feature = "tls")]
        danger_accept_invalid_certificates(accept: bool);
    }

    /// As [`http_service`](crate::ClientBuilder::http_service) of the async client; the service is called in the
    /// background thread of the blocking clients.
    pub fn http_service<S, B>(mut self, service: S) -> Self
    where
        S: tower_service::Service<Request<Full<Bytes>>, Response = Response<B>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data: Send> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.inner = self.inner.http_service(service);
        self
    }

    /// Called when a session is open, before any of its messages.
    pub fn on_connect(mut self, handler: impl FnMut(Handle) + Send + 'static) -> Self {
        self.connect = Some(Box::new(handler));
        self
    }

    /// Called with each message, one after the other in the order of the server's sending, in a thread of the client's
    /// own. The iterator stays empty then. A handler that panics ends the client.
    pub fn on_message(mut self, handler: impl FnMut(Handle, Message) + Send + 'static) -> Self {
        self.message = Some(Box::new(handler));
        self
    }

    /// Called when a session is over, after the last of its messages, once for each [`on_connect`](Self::on_connect).
    pub fn on_disconnect(mut self, handler: impl FnMut(DisconnectReason) + Send + 'static) -> Self {
        self.disconnect = Some(Box::new(handler));
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// Fails as [`engineio_client::ClientBuilder::connect`](crate::ClientBuilder::connect) does, or if this is called
    /// inside an async runtime.
    pub fn connect(mut self) -> Result<Client, Error> {
        let has_handlers =
            self.connect.is_some() || self.message.is_some() || self.disconnect.is_some();
        let need_life = has_handlers && self.message.is_none();
        self.inner.handlers.elsewhere = need_life;
        self.inner.handlers.done_elsewhere = has_handlers;
        let inner = wait_for("connect", self.inner.connect())??;
        if has_handlers {
            let shared = Arc::clone(inner.shared());
            let (connect, message, disconnect) = (self.connect, self.message, self.disconnect);
            let run = move || {
                run(&shared, need_life, connect, message, disconnect);
                shared.end(Phase::Done);
            };
            std::thread::Builder::new()
                .name("engineio-handlers".to_owned())
                .spawn(run)
                .map_err(|error| {
                    let message = "the thread of the client's handlers could not be started";
                    Error::new(ErrorKind::Connect, message).with_source(error)
                })?;
        }
        Ok(Client { inner })
    }
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("inner", &self.inner)
            .field("connect", &self.connect.is_some())
            .field("message", &self.message.is_some())
            .field("disconnect", &self.disconnect.is_some())
            .finish()
    }
}

/// Calls the handlers in the order of what happened; the thread ends with the client.
fn run(
    shared: &Arc<Shared>,
    need_life: bool,
    mut connect: Option<OnConnect>,
    mut message: Option<OnMessage>,
    mut disconnect: Option<OnDisconnect>,
) {
    let Ok(runtime) = runtime() else {
        return;
    };
    let handle = Handle {
        inner: crate::Handle::new(Arc::clone(shared)),
    };
    let mut is_open = false;
    let mut has_panicked = false;
    loop {
        let next = runtime.block_on(poll_fn(|cx| {
            if need_life {
                shared.poll_life(cx)
            } else {
                shared.poll_event(cx)
            }
        }));
        let Some(event) = next else {
            return;
        };
        let call = AssertUnwindSafe(|| match event {
            Event::Opened => {
                is_open = true;
                if let Some(connect) = &mut connect {
                    connect(handle.clone());
                }
            }
            // What a panic has left of the handler is not to be trusted.
            Event::Message(data) if !has_panicked => {
                if let Some(message) = &mut message {
                    message(handle.clone(), data);
                }
            }
            // A session that was never opened had no connect.
            Event::Closed(reason) if std::mem::take(&mut is_open) => {
                if let Some(disconnect) = &mut disconnect {
                    disconnect(reason);
                }
            }
            _ => {}
        });
        if catch_unwind(call).is_err() {
            has_panicked = true;
            tracing::error!(target: crate::TARGET, "a handler panicked; the client is closed");
            shared.stop(Some(DisconnectReason::HandlerPanic));
        }
    }
}
