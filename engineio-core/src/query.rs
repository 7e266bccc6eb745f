//! The query string of a request, and what the request asks for.

use std::borrow::Cow;

use crate::{Config, Refusal, Revision, Sid, Transport};

/// The query parameters that the protocol knows; every other one is the application's.
///
/// Percent-encoding is undone, and of a repeated parameter the last one counts, as in the reference.
///
/// ```
/// use engineio_core::{Query, Revision, Transport};
///
/// let query = Query::parse("EIO=4&transport=polling&t=abc");
/// assert_eq!(query.revision, Some(Revision::V4));
/// assert_eq!(query.transport, Some(Transport::Polling));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// `EIO`: `None` if it is missing or neither 3 nor 4.
    pub revision: Option<Revision>,
    /// `transport`: `None` if it is missing or unknown.
    pub transport: Option<Transport>,
    /// `sid`; an empty one counts as none.
    pub sid: SidParameter,
    /// `b64`: binary data must travel as text. Any value but an empty one.
    pub base64: bool,
    /// `j`: the index of the JSONP callback. Characters other than digits are skipped, as in the reference.
    pub jsonp: Option<u32>,
}

/// The `sid` query parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SidParameter {
    /// Not there, or empty: the request opens a session.
    Absent,
    /// There, but nothing that could be an id: an unknown session.
    Malformed,
    /// The id of a session.
    Given(Sid),
}

/// Iterates over the names and values, decoded if anything in them is encoded. Clients encode nothing in the parameters
/// of the protocol.
fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    // Looks at every byte, without a way out, so that compilers make vectors of it.
    let is_encoded = |text: &str| {
        let bytes = text.bytes();
        bytes.fold(false, |found, byte| found | matches!(byte, b'%' | b'+'))
    };
    let encoded = is_encoded(query);
    let mut rest = Some(query);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr::memchr(b'&', text.as_bytes());
        let (pair, more) = cut(text, end);
        rest = more;
        if encoded && is_encoded(pair) {
            let decoded = form_urlencoded::parse(pair.as_bytes()).next();
            return Some(decoded.unwrap_or_default());
        }
        // Names are shorter than what `memchr` is made for.
        let (name, value) = cut(pair, pair.bytes().position(|byte| byte == b'='));
        Some((name.into(), value.unwrap_or_default().into()))
    })
}

/// Splits at this place, where an ASCII character is, and drops the character.
fn cut(text: &str, at: Option<usize>) -> (&str, Option<&str>) {
    match at {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

impl Query {
    /// Reads a raw query string, without its `?`.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let mut parsed = Self {
            revision: None,
            transport: None,
            sid: SidParameter::Absent,
            base64: false,
            jsonp: None,
        };
        for (name, value) in pairs(query) {
            match &*name {
                "EIO" => {
                    parsed.revision = match &*value {
                        "3" => Some(Revision::V3),
                        "4" => Some(Revision::V4),
                        _ => None,
                    }
                }
                "transport" => {
                    // WebTransport has requests of its own; over HTTP this name is unknown.
                    parsed.transport = Transport::from_name(&value)
                        .filter(|transport| *transport != Transport::WebTransport);
                }
                "sid" => {
                    parsed.sid = match value.parse() {
                        _ if value.is_empty() => SidParameter::Absent,
                        Ok(sid) => SidParameter::Given(sid),
                        Err(_) => SidParameter::Malformed,
                    }
                }
                "b64" => parsed.base64 = !value.is_empty(),
                "j" => parsed.jsonp = jsonp_index(&value),
                _ => {}
            }
        }
        parsed
    }

    /// Returns whether the answer would be a script (JSONP): only polling has that form.
    #[must_use]
    pub fn is_script(&self) -> bool {
        self.jsonp.is_some() && self.transport == Some(Transport::Polling)
    }

    /// Returns what the request asks for, or why it is refused; the order of the checks is the reference's.
    ///
    /// `upgrade` tells whether the request asks to become a WebSocket. Whether the session of a given id exists, and
    /// fits, is the caller's next question.
    ///
    /// # Errors
    ///
    /// Returns the [`Refusal`] of the first rule that the request breaks.
    pub fn action(
        &self,
        method: Method,
        upgrade: bool,
        config: &Config,
    ) -> Result<Action, Refusal> {
        let transport = self
            .transport
            .filter(|&transport| config.transports.contains(transport))
            .ok_or(Refusal::UnknownTransport)?;
        if self.is_script() && !config.allow_jsonp {
            return Err(Refusal::JsonpNotAllowed);
        }
        let fits = upgrade == (transport == Transport::WebSocket);
        match self.sid {
            SidParameter::Malformed => Err(Refusal::UnknownSid),
            SidParameter::Given(sid) => match method {
                Method::Get if !fits => Err(Refusal::BadRequest),
                Method::Get if upgrade => Ok(Action::Upgrade(sid)),
                Method::Get => Ok(Action::Poll(sid)),
                Method::Post if transport == Transport::Polling => Ok(Action::Post(sid)),
                Method::Post => Err(Refusal::BadRequest),
                Method::Other => Err(Refusal::MethodNotAllowed),
            },
            SidParameter::Absent => {
                if method != Method::Get {
                    return Err(Refusal::BadHandshakeMethod);
                }
                if !fits {
                    return Err(Refusal::BadRequest);
                }
                match self.revision {
                    Some(Revision::V4) => Ok(Action::Open(transport, Revision::V4)),
                    Some(Revision::V3) if config.allow_eio3 => {
                        Ok(Action::Open(transport, Revision::V3))
                    }
                    _ => Err(Refusal::UnsupportedVersion),
                }
            }
        }
    }
}

/// The methods that the protocol tells apart. HEAD is another method: it must not eat the packets of a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET, or the CONNECT of a WebSocket over HTTP/2.
    Get,
    /// POST.
    Post,
    /// Any other.
    Other,
}

/// The purpose of a request.
///
/// ```
/// use engineio_core::{Action, Config, Method, Query, Refusal, Revision, Transport};
///
/// let config = Config::default();
/// let opening = Query::parse("EIO=4&transport=polling");
/// let action = opening.action(Method::Get, false, &config);
/// assert_eq!(action, Ok(Action::Open(Transport::Polling, Revision::V4)));
/// assert_eq!(opening.action(Method::Post, false, &config), Err(Refusal::BadHandshakeMethod));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Open a session over this transport in this revision.
    Open(Transport, Revision),
    /// Fetch packets.
    Poll(Sid),
    /// Bring packets.
    Post(Sid),
    /// Move the session to the WebSocket that the request becomes.
    Upgrade(Sid),
}

fn jsonp_index(value: &str) -> Option<u32> {
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn pairs_are_those_of_the_form_encoding() {
        for query in [
            "",
            "&",
            "a",
            "=",
            "a=",
            "=b",
            "a=b=c",
            "a=b&&c=d&",
            "a+b=c%20d&e=f",
            "%41=%",
            "é=ü",
            "a=%ff",
            "?a=b",
        ] {
            let ours = super::pairs(query);
            let expected = form_urlencoded::parse(query.as_bytes());
            // An empty pair has no name that anybody knows.
            assert!(
                ours.filter(|(name, _)| !name.is_empty())
                    .eq(expected.filter(|(name, _)| !name.is_empty())),
                "{query}"
            );
        }
    }
}
