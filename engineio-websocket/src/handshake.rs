//! The client's half of the opening handshake (RFC 6455 § 4.1), and the accept key that both sides compute.
//!
//! An HTTP library sends and reads the HTTP messages; this module adds and checks their headers.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue};
use sha1::{Digest, Sha1};

use crate::handshake_error::HandshakeError;
use crate::negotiation::{self, OFFER};

/// RFC 6455 § 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Computes the value of `Sec-WebSocket-Accept` that proves that a server has read a key (RFC 6455 § 4.2.2).
///
/// Apart from HTTP and this hash, an opening handshake needs nothing, so no WebSocket library is used for it.
///
/// # Examples
///
/// ```
/// let accept = engineio_websocket::accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
/// assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
#[must_use]
pub fn accept_key(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    STANDARD.encode(hash.finalize())
}

/// Returns whether one of the comma-separated values of a header is this token, in any case.
#[must_use]
pub fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}

/// An opening handshake of a client: the headers of its request, and the check of the answer.
#[derive(Debug)]
pub struct ClientHandshake {
    key: String,
    /// permessage-deflate is offered.
    deflate: bool,
    /// The subprotocols that the request asks for.
    protocols: Vec<String>,
}

impl ClientHandshake {
    /// Creates a handshake with a random key. With `deflate`, permessage-deflate is offered.
    ///
    /// # Errors
    ///
    /// Fails if the system gives no randomness.
    pub fn new(deflate: bool) -> io::Result<Self> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Self {
            key: STANDARD.encode(key),
            deflate,
            protocols: Vec::new(),
        })
    }

    /// Adds the headers of the handshake to those of a request, replacing any that are there. The subprotocols that the
    /// request already asks for are remembered for the check; its extensions are dropped, since only permessage-deflate
    /// is implemented.
    pub fn apply(&mut self, headers: &mut HeaderMap) {
        let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let protocols = values.filter_map(|value| value.to_str().ok());
        let protocols = protocols.flat_map(|value| value.split(','));
        self.protocols = protocols.map(|value| value.trim().to_owned()).collect();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.remove(SEC_WEBSOCKET_KEY);
        // Base64 is always a header value.
        if let Ok(key) = HeaderValue::from_str(&self.key) {
            headers.insert(SEC_WEBSOCKET_KEY, key);
        }
        headers.remove(SEC_WEBSOCKET_EXTENSIONS);
        if self.deflate {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, OFFER);
        }
    }

    /// Checks the headers of a 101. Returns whether messages may be compressed.
    ///
    /// # Errors
    ///
    /// Fails if the answer breaks a rule of RFC 6455 § 4.1 or of RFC 7692 § 7.1; the connection must be dropped then.
    pub fn check(&self, answer: &HeaderMap) -> Result<bool, HandshakeError> {
        if !has_token(answer, &UPGRADE, "websocket") {
            return Err(HandshakeError::Upgrade);
        }
        if !has_token(answer, &CONNECTION, "upgrade") {
            return Err(HandshakeError::Connection);
        }
        let mut accepts = answer.get_all(SEC_WEBSOCKET_ACCEPT).iter();
        let expected = accept_key(self.key.as_bytes());
        let is_expected =
            |accept: &HeaderValue| accept.as_bytes().trim_ascii() == expected.as_bytes();
        if !accepts.next().is_some_and(is_expected) || accepts.next().is_some() {
            return Err(HandshakeError::Accept);
        }
        let mut selected = answer.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        if let Some(protocol) = selected.next() {
            let is_requested =
                |protocol: &str| self.protocols.iter().any(|known| known == protocol);
            if !protocol.to_str().is_ok_and(is_requested) || selected.next().is_some() {
                return Err(HandshakeError::Protocol);
            }
        }
        negotiation::check_answer(answer, self.deflate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(change: impl FnOnce(&mut HeaderMap)) -> Result<bool, HandshakeError> {
        let mut handshake = ClientHandshake::new(true).unwrap();
        let mut request = HeaderMap::new();
        request.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("one, two"));
        handshake.apply(&mut request);
        let key = request[SEC_WEBSOCKET_KEY].as_bytes();
        assert_eq!(key.len(), 24);
        let mut answer = HeaderMap::new();
        answer.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
        answer.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        let accept = HeaderValue::try_from(accept_key(key)).unwrap();
        answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
        change(&mut answer);
        handshake.check(&answer)
    }

    #[test]
    fn an_answer_that_keeps_to_the_rfc_opens_the_websocket() {
        assert_eq!(answered(|_| {}), Ok(false));
        let protocol = HeaderValue::from_static("two");
        let chosen = answered(|answer| {
            answer.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        });
        assert_eq!(chosen, Ok(false));
        let agreed = answered(|answer| {
            answer.insert(SEC_WEBSOCKET_EXTENSIONS, OFFER);
        });
        assert_eq!(agreed, Ok(true));
    }

    #[test]
    fn each_violation_of_an_answer_is_named() {
        use HandshakeError::{Accept, Connection, Deflate, Extension, Protocol, Upgrade};

        for (name, value, error) in [
            (UPGRADE, "", Upgrade),
            (UPGRADE, "h2c", Upgrade),
            (CONNECTION, "close", Connection),
            (SEC_WEBSOCKET_ACCEPT, "", Accept),
            (SEC_WEBSOCKET_ACCEPT, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", Accept),
            (SEC_WEBSOCKET_PROTOCOL, "three", Protocol),
            (SEC_WEBSOCKET_PROTOCOL, "one, two", Protocol),
            (SEC_WEBSOCKET_EXTENSIONS, "x-other", Extension),
            (SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate", Deflate),
        ] {
            let refused = answered(|answer| {
                answer.insert(&name, HeaderValue::from_static(value));
            });
            assert_eq!(refused, Err(error), "{name}: {value}");
            let missing = answered(|answer| {
                answer.remove(&name);
            });
            assert_eq!(
                missing.is_err(),
                matches!(error, Upgrade | Connection | Accept)
            );
        }
    }

    #[test]
    fn no_two_handshakes_have_one_key() {
        let key = || ClientHandshake::new(false).unwrap().key;
        assert_ne!(key(), key());
    }
}
