//! Packets, the typed units of the protocol, and messages, the application's part of them.

use std::fmt;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::Text;

/// The byte between two packets of a payload.
pub const SEPARATOR: u8 = 0x1e;

/// Application data: what one side sends and the other receives, whole and in order.
///
/// # Examples
///
/// ```
/// use engineio_core::Message;
///
/// let message = Message::from("hello");
/// assert_eq!(message.as_text(), Some("hello"));
/// assert!(Message::from(b"hello").is_binary());
///
/// let message = Message::json(&serde_json::json!({ "n": 1 })).unwrap();
/// assert_eq!(message.as_text(), Some(r#"{"n":1}"#));
/// let value: serde_json::Value = message.parse_json().unwrap();
/// assert_eq!(value["n"], 1);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// Text, sent as text on both transports.
    Text(Text),
    /// Bytes, sent as a binary frame over WebSocket and in base64 over polling; in revision 3 as they are over both,
    /// unless the client requested base64.
    Binary(Bytes),
}

impl Message {
    /// Creates a text message; copies the text once, to put the packet digit in front of it.
    pub fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    /// Creates a binary message, without a copy.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    /// Creates a text message that holds `value` as compact JSON, written straight into the packet.
    ///
    /// # Errors
    ///
    /// Fails only if `serde_json` does: for a map with keys that are not strings, or a `Serialize` implementation that
    /// returns an error.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        let mut wire = Vec::with_capacity(128);
        wire.push(Text::PREFIX);
        serde_json::to_writer(&mut wire, value)?;
        Ok(Self::Text(Text::from_checked(wire.into())))
    }

    /// Reads the message as JSON; text and binary are both accepted. A message is never parsed implicitly.
    ///
    /// # Errors
    ///
    /// Fails if the message is not JSON, or not JSON of the shape of `T`.
    pub fn parse_json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.as_bytes())
    }

    /// Returns the text, or `None` if the message is binary.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()),
            Self::Binary(_) => None,
        }
    }

    /// Returns the data of the message: the UTF-8 of a text, or the bytes of a binary message.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Returns whether the message is binary.
    #[must_use]
    pub const fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }

    /// Returns the length of the data in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Returns whether this is a text that holds the separator of revision 4's payloads.
    pub(crate) fn holds_separator(&self) -> bool {
        match self {
            Self::Text(text) => memchr::memchr(SEPARATOR, text.as_bytes()).is_some(),
            // Travels in base64 there.
            Self::Binary(_) => false,
        }
    }

    /// Returns whether the message carries no data; an empty message is delivered like any other.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.debug_tuple("Text").field(text).finish(),
            Self::Binary(bytes) => f.debug_tuple("Binary").field(bytes).finish(),
        }
    }
}

impl From<Text> for Message {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&String> for Message {
    fn from(text: &String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<[u8; N]> for Message {
    fn from(bytes: [u8; N]) -> Self {
        Self::Binary(Bytes::copy_from_slice(&bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Binary(Bytes::copy_from_slice(bytes))
    }
}

/// One typed unit of the protocol (engine.io-protocol § Packet types).
///
/// Other data in a packet has no meaning in the protocol and is dropped when the packet is read.
///
/// ```
/// use engineio_core::{Frame, Message, Packet, codec::v4};
///
/// let packet = v4::decode_frame(Frame::text("4hello")).unwrap();
/// assert_eq!(packet, Packet::Message(Message::from("hello")));
/// assert_eq!(packet.digit(), b'4');
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packet {
    /// `0`: the handshake, JSON as in [`Handshake`](crate::Handshake); sent by the server, once.
    Open(Bytes),
    /// `1`: the other side ends the session.
    Close,
    /// `2`: heartbeat, or a probe when it carries the text `probe`.
    Ping(Bytes),
    /// `3`: the answer to a ping, with the same data.
    Pong(Bytes),
    /// `4`: application data.
    Message(Message),
    /// `5`: the client upgrades to the transport over which this arrives.
    Upgrade,
    /// `6`: no content; ends a poll.
    Noop,
}

impl Packet {
    /// The data of a ping that asks whether a second transport works, and of the pong that confirms it.
    pub const PROBE: &'static [u8] = b"probe";

    /// Creates a heartbeat ping, without data.
    #[must_use]
    pub const fn ping() -> Self {
        Self::Ping(Bytes::new())
    }

    /// Creates the answer to a heartbeat ping, without data.
    #[must_use]
    pub const fn pong() -> Self {
        Self::Pong(Bytes::new())
    }

    /// Creates the answer to a probe, `3probe`.
    #[must_use]
    pub const fn probe_pong() -> Self {
        Self::Pong(Bytes::from_static(Self::PROBE))
    }

    /// Returns the digit of the packet's type: `0` to `6` in ASCII.
    #[must_use]
    pub const fn digit(&self) -> u8 {
        match self {
            Self::Open(_) => b'0',
            Self::Close => b'1',
            Self::Ping(_) => b'2',
            Self::Pong(_) => b'3',
            Self::Message(_) => b'4',
            Self::Upgrade => b'5',
            Self::Noop => b'6',
        }
    }
}

impl From<Message> for Packet {
    fn from(message: Message) -> Self {
        Self::Message(message)
    }
}
