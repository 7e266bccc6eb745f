//! The negotiation of permessage-deflate in a handshake (RFC 7692 § 5 and § 7.1).
//!
//! Both roles agree only to compression without state between messages, on both sides (`no_context_takeover`), so that
//! an idle connection holds no state of a compressor. A server may require this of both sides without being asked (§
//! 7.1.1).

use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::{HeaderMap, HeaderValue};

use crate::handshake_error::HandshakeError;

/// The number of offers that are considered. Clients make one or two, the second with fewer demands.
const OFFERS: usize = 16;

const AGREED: HeaderValue = HeaderValue::from_static(
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
);
const AGREED_WITH_WINDOW: HeaderValue = HeaderValue::from_static(
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15",
);

/// Returns the answer to the first offer that can be accepted, or `None` if there is none. That is not an error:
/// messages are then not compressed.
pub fn negotiate(headers: &HeaderMap) -> Option<HeaderValue> {
    headers
        .get_all(SEC_WEBSOCKET_EXTENSIONS)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| Parts::of(line, b','))
        .take(OFFERS)
        .find_map(answer)
}

/// Returns the answer to one offer that can be accepted. An offer with a parameter that is unknown, repeated, or has an
/// invalid value is declined (RFC 7692 § 7.1).
fn answer(offer: &str) -> Option<HeaderValue> {
    let mut parts = Parts::of(offer, b';');
    if !is(parts.next()?, "permessage-deflate") {
        return None;
    }
    let mut seen = [false; 4];
    let mut names_window = false;
    for part in parts {
        let (name, value) = parameter(part)?;
        let at = match value {
            None if is(name, "server_no_context_takeover") => 0,
            None if is(name, "client_no_context_takeover") => 1,
            // The window of what we write is the library's, 32 KiB, which is 15 bits; it has no other. The answer to
            // the demand repeats it (§ 7.1.2.1).
            Some("15") if is(name, "server_max_window_bits") => {
                names_window = true;
                2
            }
            // A limit that the server may impose on the client. It is not needed: any window can be read.
            None if is(name, "client_max_window_bits") => 3,
            Some(bits) if is(name, "client_max_window_bits") && is_window(bits) => 3,
            _ => return None,
        };
        if std::mem::replace(&mut seen[at], true) {
            return None;
        }
    }
    Some(if names_window {
        AGREED_WITH_WINDOW
    } else {
        AGREED
    })
}

/// The offer of a client: no message refers to another, in both directions.
pub(crate) const OFFER: HeaderValue = AGREED;

/// Checks what the answer to a handshake agrees on. Returns whether messages may be compressed.
///
/// An answer that breaks the offer fails the connection (RFC 7692 § 7.1): one that lets the server refer to earlier
/// messages, restricts the client's window without having been asked to, or has an unknown or repeated parameter. A
/// smaller window of the server is fine, since the decompressor reads any.
pub(crate) fn check_answer(answer: &HeaderMap, offered: bool) -> Result<bool, HandshakeError> {
    let lines = answer.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
    let mut agreed = false;
    for line in lines {
        let line = line.to_str().map_err(|_| HandshakeError::Extension)?;
        for extension in Parts::of(line, b',').filter(|extension| !extension.is_empty()) {
            let name = Parts::of(extension, b';').next().unwrap_or_default();
            if !offered || !is(name, "permessage-deflate") {
                return Err(HandshakeError::Extension);
            }
            if agreed || !keeps_offer(extension) {
                return Err(HandshakeError::Deflate);
            }
            agreed = true;
        }
    }
    Ok(agreed)
}

fn keeps_offer(extension: &str) -> bool {
    let mut seen = [false; 3];
    for part in Parts::of(extension, b';').skip(1) {
        let at = match parameter(part) {
            Some((name, None)) if is(name, "server_no_context_takeover") => 0,
            Some((name, None)) if is(name, "client_no_context_takeover") => 1,
            Some((name, Some(bits))) if is(name, "server_max_window_bits") && is_window(bits) => 2,
            _ => return false,
        };
        if std::mem::replace(&mut seen[at], true) {
            return false;
        }
    }
    seen[0]
}

/// Splits a parameter into its name and its value, if it can be read.
fn parameter(part: &str) -> Option<(&str, Option<&str>)> {
    Some(match part.split_once('=') {
        Some((name, value)) => (name.trim_ascii(), Some(unquoted(value.trim_ascii())?)),
        None => (part, None),
    })
}

fn is(name: &str, known: &str) -> bool {
    name.eq_ignore_ascii_case(known)
}

/// Returns whether this is a whole number from 8 to 15, without a leading zero.
fn is_window(bits: &str) -> bool {
    matches!(bits, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")
}

/// Returns the value of a parameter, which must be a token with or without quotes (RFC 6455 § 9.1). No known value
/// needs a backslash.
fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        None => Some(value),
    }
}

/// Splits at separators that are not within quotes, and trims the parts.
struct Parts<'a> {
    rest: Option<&'a str>,
    separator: u8,
}

impl<'a> Parts<'a> {
    const fn of(text: &'a str, separator: u8) -> Self {
        Self {
            rest: Some(text),
            separator,
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.take()?;
        let mut quoted = false;
        let mut escaped = false;
        let end = rest.bytes().position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ => return !quoted && byte == self.separator,
            }
            false
        });
        // The separator is ASCII, so that it parts the text between characters.
        let part = match end {
            Some(end) => {
                self.rest = Some(&rest[end + 1..]);
                &rest[..end]
            }
            None => rest,
        };
        Some(part.trim_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiated(lines: &[&'static str]) -> Option<HeaderValue> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(line));
        }
        negotiate(&headers)
    }

    #[test]
    fn offers_that_can_be_kept_are_answered() {
        for lines in [
            &["permessage-deflate"][..],
            // Chromium and ws.
            &["permessage-deflate; client_max_window_bits"],
            &["Permessage-Deflate ;SERVER_NO_CONTEXT_TAKEOVER;\tclient_no_context_takeover"],
            &["permessage-deflate; client_max_window_bits=8"],
            &["permessage-deflate; client_max_window_bits=\"15\""],
            // Other extensions, and offers that cannot be kept, are passed over.
            &["x-webkit-deflate-frame, permessage-deflate"],
            &[
                "x-other; a=\"b, permessage-deflate; c\\\" , d\"",
                "permessage-deflate",
            ],
            &["permessage-deflate; server_max_window_bits=10, permessage-deflate"],
            &["permessage-deflate; unknown", "permessage-deflate"],
            &[",, permessage-deflate"],
        ] {
            assert_eq!(negotiated(lines), Some(AGREED), "{lines:?}");
        }
        for line in [
            "permessage-deflate; server_max_window_bits=15",
            "permessage-deflate; server_max_window_bits = \"15\"; client_max_window_bits",
        ] {
            assert_eq!(negotiated(&[line]), Some(AGREED_WITH_WINDOW), "{line}");
        }
    }

    #[test]
    fn offers_that_cannot_be_kept_are_declined() {
        for line in [
            "",
            "deflate",
            "permessage-deflate2",
            "x-other; permessage-deflate",
            // A window that is smaller than ours, or none.
            "permessage-deflate; server_max_window_bits=14",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=015",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=08",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=\"12",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=\"\"",
            "permessage-deflate; unknown",
            "permessage-deflate;",
            "permessage-deflate; =",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; x=\"",
            "\"permessage-deflate\"",
        ] {
            assert_eq!(negotiated(&[line]), None, "{line}");
        }
        assert_eq!(negotiated(&[]), None);
    }

    fn checked(lines: &[&'static str], offered: bool) -> Result<bool, HandshakeError> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(line));
        }
        check_answer(&headers, offered)
    }

    #[test]
    fn an_answer_that_keeps_the_offer_is_accepted() {
        assert_eq!(checked(&[], true), Ok(false));
        assert_eq!(checked(&[], false), Ok(false));
        assert_eq!(checked(&[""], false), Ok(false));
        for line in [
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "Permessage-Deflate;server_no_context_takeover",
            "permessage-deflate; server_max_window_bits=\"10\"; server_no_context_takeover",
        ] {
            assert_eq!(checked(&[line], true), Ok(true), "{line}");
        }
    }

    #[test]
    fn an_answer_that_breaks_the_offer_is_refused() {
        use HandshakeError::{Deflate, Extension};

        let good = "permessage-deflate; server_no_context_takeover";
        assert_eq!(checked(&[good], false), Err(Extension));
        assert_eq!(checked(&[good, "x-other"], true), Err(Extension));
        assert_eq!(checked(&[good, good], true), Err(Deflate));
        for line in [
            // The server would refer to earlier messages.
            "permessage-deflate",
            "permessage-deflate; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=10",
            "permessage-deflate; server_no_context_takeover; server_max_window_bits",
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=7",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; unknown",
            "permessage-deflate; server_no_context_takeover;",
        ] {
            assert_eq!(checked(&[line], true), Err(Deflate), "{line}");
        }
    }

    #[test]
    fn only_so_many_offers_are_looked_at() {
        let mut headers = HeaderMap::new();
        let offers = format!("{}permessage-deflate", "x,".repeat(OFFERS));
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, offers.parse().unwrap());
        assert_eq!(negotiate(&headers), None);
    }
}
