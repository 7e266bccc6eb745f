//! The encoding of one session: its revision, and the form of its binary data.

use super::{DecodeError, Frame, Payload, Revision, v3, v4};
use crate::Packet;

/// The revision is chosen at the handshake and never changes. Base64 belongs to a transport: the handshake asks for it for
/// the transport that it opens, the request for an upgrade for the link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coding {
    pub(crate) revision: Revision,
    /// Binary data must travel as text.
    pub(crate) base64: bool,
}

impl Coding {
    /// Returns whether a body of bytes can be a payload at all.
    pub(crate) const fn has_binary_payloads(self) -> bool {
        matches!(self.revision, Revision::V3)
    }

    /// Returns whether a character separates the packets of a payload. Revision 3 writes their lengths instead.
    pub(crate) const fn separates_packets(self) -> bool {
        matches!(self.revision, Revision::V4)
    }

    /// Decodes the packets of a payload. Only revision 3 distinguishes text and binary bodies.
    pub(crate) fn decode_payload(self, payload: Payload) -> Packets {
        match self.revision {
            Revision::V3 => Packets::V3(v3::decode_payload(payload)),
            Revision::V4 => Packets::V4(v4::decode_payload(payload.body)),
        }
    }

    pub(crate) fn encode_payload(self, packets: &[Packet]) -> Payload {
        match self.revision {
            Revision::V3 => v3::encode_payload(packets, self.base64),
            Revision::V4 => Payload::text(v4::encode_payload(packets)),
        }
    }

    pub(crate) fn decode_frame(self, frame: Frame) -> Result<Packet, DecodeError> {
        match self.revision {
            Revision::V3 => v3::decode_frame(frame),
            Revision::V4 => v4::decode_frame(frame),
        }
    }

    /// Returns whether a frame has a copy of a message's binary data, rather than the data itself.
    pub(crate) const fn copies_binary(self) -> bool {
        self.base64 || matches!(self.revision, Revision::V3)
    }

    pub(crate) fn encode_frame(self, packet: Packet) -> Frame {
        match self.revision {
            Revision::V3 => v3::encode_frame(packet, self.base64),
            Revision::V4 => v4::encode_frame(packet, self.base64),
        }
    }

    /// Returns the size of a payload without packets.
    pub(crate) const fn empty_payload(self) -> PayloadSize {
        PayloadSize {
            coding: self,
            text: 0,
            binary: 0,
            is_binary: false,
        }
    }
}

/// The packets of a payload of either revision.
#[derive(Debug)]
pub(crate) enum Packets {
    V3(v3::Packets),
    V4(v4::Packets),
}

impl Packets {
    /// Returns whether nothing is left, not even an error.
    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Self::V3(packets) => packets.is_finished(),
            Self::V4(packets) => packets.is_finished(),
        }
    }
}

impl Iterator for Packets {
    type Item = Result<Packet, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::V3(packets) => packets.next(),
            Self::V4(packets) => packets.next(),
        }
    }
}

/// The exact size of a payload, packet by packet.
///
/// One packet more can change the size of all others: the first binary one turns a payload of revision 3 into a
/// binary payload. So both sizes are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PayloadSize {
    coding: Coding,
    /// In revision 4 with a separator behind every packet, one too many.
    text: usize,
    binary: usize,
    is_binary: bool,
}

impl PayloadSize {
    /// Returns the size with this packet added.
    #[must_use]
    pub(crate) fn with(self, packet: &Packet) -> Self {
        match self.coding.revision {
            Revision::V3 => Self {
                text: self.text + v3::encoded_len(packet),
                binary: self.binary + v3::encoded_len_binary(packet),
                is_binary: self.is_binary || (!self.coding.base64 && v3::is_binary(packet)),
                ..self
            },
            Revision::V4 => Self {
                text: self.text + v4::encoded_len(packet) + 1,
                ..self
            },
        }
    }

    /// Returns the size in bytes.
    pub(crate) const fn bytes(self) -> usize {
        match self.coding.revision {
            Revision::V3 if self.is_binary => self.binary,
            Revision::V3 => self.text,
            Revision::V4 => self.text.saturating_sub(1),
        }
    }
}
