//! The open packet, as a client reads it.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{Transport, Transports};

/// The contents of the open packet.
///
/// A client must work with any server, so this is read more leniently than [`Handshake`](crate::Handshake), as the
/// clients of the reference and of python-engineio do: an id may be any text, a number may have a fraction or be in a
/// string, the last of several equal keys counts, and a field that is missing or `null` has a default if the protocol
/// works without it.
///
/// ```
/// use engineio_core::client::Opened;
///
/// let opened = Opened::from_json(br#"{"sid":"a:b","pingInterval":25000,"pingTimeout":20000}"#).unwrap();
/// assert_eq!(opened.sid(), "a:b");
/// assert_eq!(opened.max_payload(), None);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    sid: Box<str>,
    upgrades: Transports,
    ping_interval: Duration,
    patience: Duration,
    max_payload: Option<usize>,
}

/// The reason for which an open packet cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOpened {
    /// It is not the JSON of an object, or a field is of a wrong type. The source quotes no value of the packet.
    #[error("the open packet is not the JSON of a handshake")]
    Json(#[source] serde_json::Error),
    /// The id is missing, empty, or longer than [`Opened::MAX_SID_LEN`].
    #[error("the session id has {0} bytes; 1 to {max} were expected", max = Opened::MAX_SID_LEN)]
    Sid(usize),
    /// An interval is missing, negative, or not a number.
    #[error("the heartbeat interval is not a duration")]
    Interval,
}

/// The fields of an open packet, of which the last of several equal keys counts.
#[derive(Default)]
struct Wire {
    sid: Option<String>,
    upgrades: Transports,
    ping_interval: Number,
    ping_timeout: Number,
    max_payload: Number,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    Sid,
    Upgrades,
    PingInterval,
    PingTimeout,
    MaxPayload,
    #[serde(other)]
    Unknown,
}

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WireVisitor)
    }
}

struct WireVisitor;

impl<'de> Visitor<'de> for WireVisitor {
    type Value = Wire;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object of an open packet")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Wire, A::Error> {
        let mut wire = Wire::default();
        while let Some(field) = map.next_key()? {
            match field {
                Field::Sid => wire.sid = Some(map.next_value()?),
                Field::Upgrades => {
                    let names: Option<Upgrades> = map.next_value()?;
                    wire.upgrades = names.unwrap_or_default().0;
                }
                Field::PingInterval => wire.ping_interval = map.next_value()?,
                Field::PingTimeout => wire.ping_timeout = map.next_value()?,
                Field::MaxPayload => wire.max_payload = map.next_value()?,
                Field::Unknown => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(wire)
    }
}

/// The names of transports, of which unknown ones do not matter.
#[derive(Default)]
struct Upgrades(Transports);

impl<'de> Deserialize<'de> for Upgrades {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let known = names.iter().filter_map(|name| Transport::from_name(name));
        Ok(Self(known.collect()))
    }
}

/// A number, or the text of one; NaN for anything else, which the fields that need a number refuse.
struct Number(f64);

impl Default for Number {
    fn default() -> Self {
        Self(f64::NAN)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl<'de> Visitor<'de> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
        Ok(Number(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_str<E>(self, value: &str) -> Result<Number, E> {
        Ok(Number(value.trim().parse().unwrap_or(f64::NAN)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Number, E> {
        Ok(Number::default())
    }

    fn visit_unit<E>(self) -> Result<Number, E> {
        Ok(Number::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Number, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Number::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Number, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Number::default())
    }
}

impl Opened {
    /// The longest session id that is accepted, in bytes. Every request carries it.
    pub const MAX_SID_LEN: usize = 2048;

    /// The longest silence that a server can ask for. A longer one would not be a heartbeat any more, and a sum of
    /// larger numbers could overflow a clock.
    pub const MAX_PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

    /// Reads the JSON of an open packet.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not JSON, `sid`, `pingInterval` or `pingTimeout` is missing or of the wrong type, the
    /// id is empty or too long, or an interval is negative.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidOpened> {
        let wire: Wire = serde_json::from_slice(json).map_err(without_values)?;
        let sid = wire.sid.unwrap_or_default();
        if sid.is_empty() || sid.len() > Self::MAX_SID_LEN {
            return Err(InvalidOpened::Sid(sid.len()));
        }
        let ping_interval = millis(wire.ping_interval)?;
        let patience = ping_interval + millis(wire.ping_timeout)?;
        Ok(Self {
            upgrades: wire.upgrades,
            sid: sid.into(),
            ping_interval,
            patience: patience.min(Self::MAX_PATIENCE),
            // Conversion saturates; a limit of zero or less is what servers without one say.
            max_payload: (wire.max_payload.0 >= 1.0).then_some(wire.max_payload.0 as usize),
        })
    }

    /// Returns the id of the session. It has to be percent-encoded in a URL.
    #[must_use]
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// Returns the first six characters of the id: enough to tell sessions apart in a log, and too few to take one over.
    #[must_use]
    pub fn short_sid(&self) -> &str {
        let end = self.sid.char_indices().nth(6).map(|(at, _)| at);
        end.and_then(|end| self.sid.get(..end)).unwrap_or(&self.sid)
    }

    /// Returns whether the server offers an upgrade to this transport.
    #[must_use]
    pub const fn offers(&self, transport: Transport) -> bool {
        self.upgrades.contains(transport)
    }

    /// Returns the time between two heartbeats, at most [`Opened::MAX_PATIENCE`]. In revision 3 the client sends them.
    #[must_use]
    pub const fn ping_interval(&self) -> Duration {
        self.ping_interval
    }

    /// Returns the longest silence of a live server: its ping interval and its ping timeout together, at most
    /// [`Opened::MAX_PATIENCE`].
    #[must_use]
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// Returns the largest POST body that the server accepts, in bytes; `None` if it did not announce one.
    #[must_use]
    pub const fn max_payload(&self) -> Option<usize> {
        self.max_payload
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With the whole id anybody could act as the client.
        f.debug_struct("Opened")
            .field("sid", &format_args!("{}…", self.short_sid()))
            .field("upgrades", &self.upgrades)
            .field("patience", &self.patience)
            .field("max_payload", &self.max_payload)
            .finish()
    }
}

/// Replaces an error that quotes a value, which may be the id.
fn without_values(error: serde_json::Error) -> InvalidOpened {
    InvalidOpened::Json(if error.is_data() {
        let (line, column) = (error.line(), error.column());
        serde_json::Error::custom(format_args!(
            "a value is of a wrong type before line {line} column {column}"
        ))
    } else {
        error
    })
}

fn millis(Number(value): Number) -> Result<Duration, InvalidOpened> {
    if value.is_nan() {
        // The smaller of it and a limit would be the limit.
        return Err(InvalidOpened::Interval);
    }
    let limit = Opened::MAX_PATIENCE.as_millis() as f64;
    Duration::try_from_secs_f64(value.min(limit) / 1000.0).map_err(|_| InvalidOpened::Interval)
}
