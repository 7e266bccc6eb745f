//! The query string of a request, and the purpose of the request.

use crate::{Config, Refusal, Revision, Sid, Transport};

/// The query parameters that the protocol knows; every other one is the application's.
///
/// Percent-encoding is decoded, and the last value of a repeated parameter counts, as in the reference.
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
    /// `j`: the index of the JSONP callback. Characters other than digits are skipped, as in the reference. Without digits,
    /// or with a number of more than 32 bits, which no client counts up to, there is no JSONP.
    pub jsonp: Option<u32>,
}

/// The `sid` query parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SidParameter {
    /// Missing or empty: the request opens a session.
    Absent,
    /// Present, but not a possible id: an unknown session.
    Malformed,
    /// The id of a session.
    Given(Sid),
}

impl Query {
    const EMPTY: Self = Self {
        revision: None,
        transport: None,
        sid: SidParameter::Absent,
        base64: false,
        jsonp: None,
    };

    /// Reads a raw query string, without its `?`.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let mut parsed = Self::EMPTY;
        // Nearly all requests begin alike.
        let rest = match query.strip_prefix("EIO=4&transport=polling&") {
            Some(rest) => {
                parsed.revision = Some(Revision::V4);
                parsed.transport = Some(Transport::Polling);
                rest
            }
            None => query,
        };
        // Clients encode nothing in the parameters of the protocol.
        let plain = split(rest).all(|(name, value)| parsed.set(name, value));
        if plain {
            parsed
        } else {
            Self::parse_encoded(query)
        }
    }

    /// Reads a query string in which something may be encoded.
    fn parse_encoded(query: &str) -> Self {
        let mut parsed = Self::EMPTY;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            parsed.set(name.as_bytes(), value.as_bytes());
        }
        parsed
    }

    /// Sets the parameter of this name, if it is one of ours. Returns `false` if it may be encoded, and have another name
    /// or value when it is decoded.
    fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        match name {
            b"EIO" => {
                self.revision = match value {
                    b"3" => Some(Revision::V3),
                    b"4" => Some(Revision::V4),
                    _ => None,
                };
                self.revision.is_some() || is_plain(value)
            }
            b"transport" => {
                // WebTransport has requests of its own; over HTTP this name is unknown.
                self.transport = Transport::from_bytes(value)
                    .filter(|transport| *transport != Transport::WebTransport);
                self.transport.is_some() || is_plain(value)
            }
            b"sid" => {
                self.sid = match Sid::from_bytes(value) {
                    _ if value.is_empty() => SidParameter::Absent,
                    Ok(sid) => SidParameter::Given(sid),
                    Err(_) => SidParameter::Malformed,
                };
                self.sid != SidParameter::Malformed || is_plain(value)
            }
            b"b64" => {
                self.base64 = !value.is_empty();
                true
            }
            b"j" => {
                self.jsonp = jsonp_index(value);
                is_plain(value)
            }
            name => is_plain(name),
        }
    }

    /// Returns whether the answer would be a script (JSONP): only polling has that form.
    #[must_use]
    pub fn is_script(&self) -> bool {
        self.jsonp.is_some() && self.transport == Some(Transport::Polling)
    }

    /// Returns the purpose of the request, or the reason why it is refused; the order of the checks is the reference's.
    ///
    /// `upgrade` says whether the request asks for a WebSocket. The caller then checks whether the session exists and
    /// fits.
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

/// The methods that the protocol distinguishes. HEAD counts as another method, because it must not consume the packets
/// of a poll.
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
    /// Deliver packets.
    Post(Sid),
    /// Upgrade the session to the WebSocket that the request opens.
    Upgrade(Sid),
}

/// Iterates over the names and values of a query in which nothing is encoded.
fn split(query: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = Some(query.as_bytes());
    std::iter::from_fn(move || {
        let text = rest?;
        let (pair, more) = cut(text, memchr::memchr(b'&', text));
        rest = more;
        // Names are shorter than what `memchr` is made for.
        let (name, value) = cut(pair, pair.iter().position(|byte| *byte == b'='));
        Some((name, value.unwrap_or_default()))
    })
}

/// Splits at this place and drops the byte there.
fn cut(text: &[u8], at: Option<usize>) -> (&[u8], Option<&[u8]>) {
    match at {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// Returns whether this text is the same when it is decoded.
fn is_plain(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, b'%' | b'+'))
}

fn jsonp_index(value: &[u8]) -> Option<u32> {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit());
    let digits: String = digits.map(|&digit| char::from(digit)).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn what_is_encoded_is_read_as_if_it_were_not() {
        for query in [
            "",
            "&",
            "sid",
            "=",
            "sid=",
            "=sid",
            "EIO=4=4",
            "EIO=4&&transport=polling&",
            "EIO=4&transport=polling&",
            "EIO=4&transport=polling&sid=abc&b64=1&j=7&t=x",
            "EIO=4&transport=polling&EIO=3&transport=websocket",
            "EIO=4&transport=polling&s%69d=abc",
            "EIO=4&EIO=5&sid=a&sid=",
            "E%49O=%34&transport=poll%69ng",
            "sid=%61bc",
            "sid=a+b",
            "sid=a%20b",
            "s%69d=abc&sid=",
            "j=%31",
            "j=a1b2&b64=%",
            "%41=%&EIO=3",
            "é=ü&EIO=3",
            "sid=%ff",
            "sid=ü",
            "?EIO=4",
        ] {
            assert_eq!(Query::parse(query), Query::parse_encoded(query), "{query}");
        }
    }
}
