//! The fields of the messages on the bus.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use engineio_tower::{Message, Sid, Text};

use crate::NodeId;

/// Bytes that are not a message of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Identifies a message: the process that published it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    /// A random number drawn when the process started.
    pub(crate) sender: u64,
    pub(crate) number: u64,
}

/// Writes the fields of a message.
#[derive(Debug)]
pub(crate) struct Writer(pub(super) BytesMut);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.put_u8(value);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.put_u64(value);
    }

    /// Writes a text of up to 255 bytes behind its length. A longer one is cut, which no caller lets happen.
    pub(crate) fn short_text(&mut self, text: &str) {
        let bytes = &text.as_bytes()[..text.len().min(255)];
        self.0.put_u8(bytes.len() as u8);
        self.0.put_slice(bytes);
    }

    pub(crate) fn node(&mut self, id: &NodeId) {
        self.short_text(id.as_str());
    }

    pub(super) fn stamp(&mut self, stamp: Stamp) {
        self.u64(stamp.sender);
        self.u64(stamp.number);
    }

    /// Writes a message up to the end. The `4` of a text is its format, and the reader's packet digit.
    pub(super) fn message(&mut self, message: &Message) {
        match message {
            Message::Text(text) => self.0.put_slice(text.as_wire()),
            Message::Binary(bytes) => {
                self.u8(b'b');
                self.0.put_slice(bytes);
            }
        }
    }
}

/// Reads the fields of a message.
#[derive(Debug)]
pub(crate) struct Reader(pub(super) Bytes);

impl Reader {
    pub(crate) fn remaining(&self) -> usize {
        self.0.remaining()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.0.try_get_u64().map_err(|_| Malformed)
    }

    pub(crate) fn short_text(&mut self) -> Result<String, Malformed> {
        let len = usize::from(self.u8()?);
        if len > self.0.len() {
            return Err(Malformed);
        }
        String::from_utf8(self.0.split_to(len).into()).map_err(|_| Malformed)
    }

    pub(crate) fn node(&mut self) -> Result<NodeId, Malformed> {
        self.short_text()?.parse().map_err(|_| Malformed)
    }

    pub(super) fn sid(&mut self) -> Result<Sid, Malformed> {
        self.short_text()?.parse().map_err(|_| Malformed)
    }

    pub(super) fn stamp(&mut self) -> Result<Stamp, Malformed> {
        Ok(Stamp {
            sender: self.u64()?,
            number: self.u64()?,
        })
    }

    /// Reads a message up to the end.
    pub(super) fn message(&mut self) -> Result<Message, Malformed> {
        // The broker's client may have received many messages into one buffer, which a small message would keep alive
        // in the queues of slow clients.
        let rest = if self.0.len() <= SMALL {
            Bytes::copy_from_slice(&self.0)
        } else {
            self.0.clone()
        };
        self.0.clear();
        match rest.first() {
            Some(&Text::PREFIX) => {
                let text = Text::from_packet(Unchecked(rest)).ok_or(Malformed)?;
                Ok(Message::Text(text))
            }
            Some(b'b') => Ok(Message::Binary(rest.slice(1..))),
            _ => Err(Malformed),
        }
    }
}

/// Messages up to this size, in bytes, are copied out of the buffer of the broker's client.
pub(super) const SMALL: usize = 16 * 1024;

/// Bytes that may be UTF-8. If they are not, their text is empty, which is not a valid packet.
struct Unchecked(Bytes);

impl AsRef<str> for Unchecked {
    fn as_ref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<Unchecked> for Bytes {
    fn from(unchecked: Unchecked) -> Self {
        unchecked.0
    }
}
