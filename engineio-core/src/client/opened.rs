//! The open packet, as a client reads it.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::{Transport, Transports};

/// What the server said in its open packet.
///
/// A client has to live with any server, so this is read more leniently than
/// [`Handshake`](crate::Handshake): an id may be any text, numbers may have a fraction, and what is missing has a
/// default where the protocol works without it.
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

/// Why an open packet cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOpened {
    /// It is not JSON, or a field is missing or of the wrong type.
    #[error("the open packet is not the JSON of a handshake")]
    Json(#[source] serde_json::Error),
    /// The id is empty, or longer than [`Opened::MAX_SID_LEN`].
    #[error("the session id has {0} bytes; 1 to 256 were expected")]
    Sid(usize),
    /// An interval is negative or not a number.
    #[error("the heartbeat interval is not a duration")]
    Interval,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    sid: String,
    #[serde(default)]
    upgrades: Vec<String>,
    ping_interval: f64,
    ping_timeout: f64,
    #[serde(default)]
    max_payload: f64,
}

impl Opened {
    /// The longest session id that is accepted, in bytes. It travels in every request.
    pub const MAX_SID_LEN: usize = 256;

    /// The longest silence that a server can ask for. It would be no heartbeat any more, and a sum of larger numbers
    /// would leave the range of a clock.
    pub const MAX_PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

    /// Reads the JSON of an open packet.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not JSON, `sid`, `pingInterval` or `pingTimeout` is missing or of the wrong type, the
    /// id is empty or too long, or an interval is negative.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidOpened> {
        let wire: Wire = serde_json::from_slice(json).map_err(InvalidOpened::Json)?;
        if wire.sid.is_empty() || wire.sid.len() > Self::MAX_SID_LEN {
            return Err(InvalidOpened::Sid(wire.sid.len()));
        }
        let ping_interval = millis(wire.ping_interval)?;
        let patience = ping_interval + millis(wire.ping_timeout)?;
        Ok(Self {
            upgrades: wire
                .upgrades
                .iter()
                .filter_map(|name| Transport::from_name(name))
                .collect(),
            sid: wire.sid.into(),
            ping_interval,
            patience: patience.min(Self::MAX_PATIENCE),
            // Conversion saturates; a limit of zero or less is what servers without one say.
            max_payload: (wire.max_payload >= 1.0).then_some(wire.max_payload as usize),
        })
    }

    /// The id of the session. It has to be percent-encoded in a URL.
    #[must_use]
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// The first six characters of the id, enough to tell sessions apart in a log without letting a reader of it take
    /// one over.
    #[must_use]
    pub fn short_sid(&self) -> &str {
        let end = self.sid.char_indices().nth(6).map(|(at, _)| at);
        end.and_then(|end| self.sid.get(..end)).unwrap_or(&self.sid)
    }

    /// Returns whether the server offers to move to this transport.
    #[must_use]
    pub const fn offers(&self, transport: Transport) -> bool {
        self.upgrades.contains(transport)
    }

    /// The time between two heartbeats, at most [`Opened::MAX_PATIENCE`]. In revision 3 it is the client that sends them.
    #[must_use]
    pub const fn ping_interval(&self) -> Duration {
        self.ping_interval
    }

    /// How long the server may be silent: its ping interval and its ping timeout together, at most
    /// [`Opened::MAX_PATIENCE`].
    #[must_use]
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// The largest POST body, in bytes, that the server takes; `None` if it did not say.
    #[must_use]
    pub const fn max_payload(&self) -> Option<usize> {
        self.max_payload
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who knows the whole id can act as the client.
        f.debug_struct("Opened")
            .field("sid", &format_args!("{}…", self.short_sid()))
            .field("upgrades", &self.upgrades)
            .field("patience", &self.patience)
            .field("max_payload", &self.max_payload)
            .finish()
    }
}

fn millis(value: f64) -> Result<Duration, InvalidOpened> {
    let limit = Opened::MAX_PATIENCE.as_millis() as f64;
    Duration::try_from_secs_f64(value.min(limit) / 1000.0).map_err(|_| InvalidOpened::Interval)
}
