//! WebSocket handshakes: recognizing, checking and answering them, and handing their bytes to a driver.

use bytes::Bytes;
use engineio_core::Refusal;
use engineio_websocket::{accept_key, has_token};
use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use smallvec::SmallVec;

use crate::forward::Tunnel;
use crate::http::driver::{Driver, handed_over};
use crate::http::io::HyperIo;
use crate::http::response::EngineResponse;
use crate::policy::options::Options;
use crate::repeated::log_repeated;
use crate::session::driver::LinkDriver;

/// The maximum number of offered subprotocols that are parsed.
const MAX_SUBPROTOCOLS: usize = 16;

/// A request extension by which a host without hyper says that it will run the [`Driver`] itself.
///
/// Such a host inserts it into the request, takes the driver out of the response with
/// [`Driver::take`], and runs it over the bytes that follow the 101.
///
/// ```
/// use engineio_tower::{Driver, EngineIoService, HostUpgrade};
/// use http::Request;
/// use tower::ServiceExt;
/// # use http_body_util::Empty;
///
/// async fn answer(service: EngineIoService, mut request: Request<Empty<bytes::Bytes>>) {
///     request.extensions_mut().insert(HostUpgrade);
///     let Ok(mut response) = service.oneshot(request).await;
///     // Write the response; if it is a 101, run the driver over the bytes that follow.
///     let driver: Option<Driver> = Driver::take(&mut response);
///     # let _ = driver;
/// }
/// # let _ = answer;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HostUpgrade;

/// Returns whether the request asks to become a WebSocket, over HTTP/1.1 or by the extended CONNECT of HTTP/2 (RFC
/// 8441).
///
/// A line that lists further protocols does not count, as with ws for Node.js: actix-web would not hand over the bytes.
pub(crate) fn is_requested(head: &Parts) -> bool {
    let is_websocket = |line: &HeaderValue| {
        let protocol = line.as_bytes().trim_ascii();
        protocol.eq_ignore_ascii_case(b"websocket")
    };
    let mut lines = head.headers.get_all(UPGRADE).iter();
    head.method == Method::GET && lines.any(is_websocket) || is_extended_connect(head)
}

/// Returns whether a body follows the head of an HTTP/1.1 request. It would come before the frames, or be taken for them,
/// depending on the host.
fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH);
    headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

/// Returns whether the request is an extended CONNECT for a WebSocket.
fn is_extended_connect(head: &Parts) -> bool {
    head.method == Method::CONNECT
        && head
            .extensions
            .get::<hyper::ext::Protocol>()
            .is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// A valid WebSocket handshake, with the data that is needed to accept it.
#[derive(Debug)]
pub(crate) struct Handshake {
    /// The proof of the handshake, in HTTP/1.1.
    accept: Option<HeaderValue>,
    /// The parameters agreed on for permessage-deflate, if any.
    deflate: Option<HeaderValue>,
    /// The chosen subprotocol.
    subprotocol: Option<HeaderValue>,
    host: Host,
}

/// The source of the bytes that follow the answer.
#[derive(Debug)]
enum Host {
    Hyper(OnUpgrade),
    Own,
}

impl Handshake {
    /// Checks the handshake as RFC 6455 § 4.2.1 says, and that it has no body, and takes the upgrade out of the request.
    ///
    /// Logs a warning if the host has not prepared its connections for upgrades.
    pub(crate) fn check(head: &mut Parts, options: &Options) -> Result<Self, Refusal> {
        let headers = &head.headers;
        let version = headers.get(SEC_WEBSOCKET_VERSION);
        if version.is_some_and(|version| version != "13") {
            return Err(Refusal::UpgradeRequired);
        }
        let accept = if is_extended_connect(head) {
            None
        } else {
            let key = headers
                .get(SEC_WEBSOCKET_KEY)
                .filter(|key| is_key(key.as_bytes()))
                .filter(|_| version.is_some() && has_token(headers, &CONNECTION, "upgrade"))
                .filter(|_| !has_body(headers))
                .ok_or(Refusal::BadRequest)?;
            let accept = accept_key(key.as_bytes());
            Some(HeaderValue::try_from(accept).map_err(|_| Refusal::BadRequest)?)
        };
        let deflate = match options.websocket_compression {
            Some(_) => engineio_websocket::negotiate(headers),
            None => None,
        };
        let subprotocol = choose_subprotocol(headers, options);
        let host = if head.extensions.remove::<HostUpgrade>().is_some() {
            Host::Own
        } else if let Some(on_upgrade) = head.extensions.remove::<OnUpgrade>() {
            Host::Hyper(on_upgrade)
        } else if head.version == Version::HTTP_10 {
            // Not the host's mistake, and any stranger can send it.
            tracing::debug!(
                target: "engineio::upgrade",
                "a WebSocket handshake came over HTTP/1.0, which knows no upgrades; a proxy must speak HTTP/1.1 to the server"
            );
            return Err(Refusal::BadRequest);
        } else {
            log_repeated!(
                warn,
                target: "engineio::upgrade",
                "a WebSocket handshake came over a connection without upgrades; serve it with `serve_connection_with_upgrades`"
            );
            return Err(Refusal::BadRequest);
        };
        Ok(Self {
            accept,
            deflate,
            subprotocol,
            host,
        })
    }

    /// Accepts the handshake for a session of this process.
    pub(crate) fn accept(mut self, mut driver: LinkDriver) -> EngineResponse {
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        if let Some(chosen) = self.subprotocol.take() {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, chosen);
        }
        if let Some(agreed) = self.deflate.take() {
            driver.compress_messages();
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, agreed);
        }
        self.switch(response, Driver::new(driver))
    }

    /// Accepts the handshake for a session of another process, which has negotiated the extensions.
    pub(crate) fn relay(self, response: EngineResponse, tunnel: Box<dyn Tunnel>) -> EngineResponse {
        self.switch(response, Driver::relay(tunnel))
    }

    /// Completes the response that accepts the handshake, after which the driver gets the bytes.
    fn switch(self, mut response: EngineResponse, driver: Driver) -> EngineResponse {
        let is_stream = self.accept.is_none();
        match self.accept {
            Some(accept) => {
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                let headers = response.headers_mut();
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
            }
            // HTTP/2 answers 200, and the stream is the WebSocket.
            None => *response.status_mut() = StatusCode::OK,
        }
        match self.host {
            Host::Own => driver.put(&mut response),
            Host::Hyper(on_upgrade) => {
                tokio::spawn(async move {
                    // The driver tells the session when it is dropped.
                    if let Some(upgraded) = handed_over(on_upgrade).await {
                        let io = match is_stream {
                            true => HyperIo::stream(upgraded),
                            false => HyperIo::from(upgraded),
                        };
                        driver.run_upgraded(io).await;
                    }
                });
            }
        }
        response
    }
}

/// Returns whether this is 16 bytes in base64: 22 characters and two of padding.
fn is_key(key: &[u8]) -> bool {
    key.len() == 24
        && key.ends_with(b"==")
        && key[..22]
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'+' || *byte == b'/')
}

/// Chooses one of the subprotocols that the client offers (RFC 6455 § 4.2.2): clients that offer some may fail a
/// handshake without one.
fn choose_subprotocol(headers: &HeaderMap, options: &Options) -> Option<HeaderValue> {
    let mut offered: SmallVec<[&str; 4]> = SmallVec::new();
    for value in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        let names = value.to_str().ok()?.split(',').map(str::trim);
        let names = names.filter(|name| is_token(name));
        offered.extend(names.take(MAX_SUBPROTOCOLS - offered.len()));
    }
    let chosen = match &options.subprotocol {
        Some(choose) if !offered.is_empty() => {
            choose(&offered).filter(|name| offered.contains(name))
        }
        _ => offered.first().copied(),
    };
    chosen.and_then(|name| HeaderValue::from_str(name).ok())
}

/// Returns whether this is a token (RFC 9110 § 5.6.2).
fn is_token(name: &str) -> bool {
    let is_in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_in_token)
}
