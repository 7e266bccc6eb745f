//! The open packet, with the session's parameters for a new client.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use crate::timer;
use crate::{Config, Sid, Transport};

/// The contents of the open packet (engine.io-protocol § Handshake).
///
/// ```
/// use engineio_core::{Config, Handshake, Sid, Transport};
///
/// let sid: Sid = "lv_VI97HAXpY6yYWAAAB".parse().unwrap();
/// let handshake = Handshake::new(sid, Transport::Polling, &Config::default());
/// assert_eq!(
///     handshake.to_json(),
///     r#"{"sid":"lv_VI97HAXpY6yYWAAAB","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#,
/// );
/// assert_eq!(Handshake::from_json(&handshake.to_json()).unwrap(), handshake);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The id of the session.
    pub sid: Sid,
    /// The transports to which the client may upgrade.
    pub upgrades: Vec<Transport>,
    /// The time between two heartbeats; sent in whole milliseconds.
    pub ping_interval: Duration,
    /// The time limit for the answer to a heartbeat; sent in whole milliseconds.
    pub ping_timeout: Duration,
    /// The largest body that the server accepts, in bytes; 0 if an old server does not announce it.
    pub max_payload: usize,
}

/// The JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow)]
    sid: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    upgrades: Vec<std::borrow::Cow<'a, str>>,
    ping_interval: u64,
    ping_timeout: u64,
    #[serde(default)]
    max_payload: usize,
}

impl Handshake {
    /// Returns the handshake that a server with this configuration sends to a client that opens its session over
    /// `transport`.
    #[must_use]
    pub fn new(sid: Sid, transport: Transport, config: &Config) -> Self {
        let mut upgrades = vec![Transport::WebSocket, Transport::WebTransport];
        upgrades.retain(|&to| transport == Transport::Polling && config.offers_upgrade(to));
        Self {
            sid,
            upgrades,
            ping_interval: timer::bounded(config.ping_interval),
            ping_timeout: timer::bounded(config.ping_timeout),
            max_payload: config.max_payload,
        }
    }

    /// Returns the JSON of the packet, without its digit, in the field order of the reference.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        let mut json = Vec::with_capacity(128);
        // Neither an id nor the name of a transport has anything to escape.
        json.extend_from_slice(br#"{"sid":""#);
        json.extend_from_slice(self.sid.as_str().as_bytes());
        json.extend_from_slice(br#"","upgrades":["#);
        for (n, to) in self.upgrades.iter().enumerate() {
            json.extend_from_slice(if n > 0 { br#",""# } else { br#"""# });
            json.extend_from_slice(to.name().as_bytes());
            json.push(b'"');
        }
        for (name, value) in [
            (
                br#"],"pingInterval":"#.as_slice(),
                millis(self.ping_interval),
            ),
            (br#","pingTimeout":"#, millis(self.ping_timeout)),
            (br#","maxPayload":"#, self.max_payload as u64),
        ] {
            json.extend_from_slice(name);
            // A number into memory: nothing can fail.
            let _ = serde_json::to_writer(&mut json, &value);
        }
        json.push(b'}');
        json.into()
    }

    /// Reads the JSON of an open packet; unknown fields and unknown upgrades are ignored.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not JSON, a field is missing or of the wrong type, or the id is not a [`Sid`].
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        let wire: Wire<'_> = serde_json::from_slice(json)?;
        Ok(Self {
            sid: wire.sid.parse().map_err(serde::de::Error::custom)?,
            upgrades: wire
                .upgrades
                .iter()
                .filter_map(|name| Transport::from_name(name))
                .collect(),
            ping_interval: Duration::from_millis(wire.ping_interval),
            ping_timeout: Duration::from_millis(wire.ping_timeout),
            max_payload: wire.max_payload,
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
