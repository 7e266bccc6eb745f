//! The client of the story: it numbers what it sends, keeps to the protocol now and then, and counts what it gets.

use engineio_core::codec::{v3, v4};
use engineio_core::{DecodeError, Frame, Message, Packet, Payload, Revision};
use engineio_fuzz::Script;

pub struct Peer {
    revision: Revision,
    sent: u32,
    received: u32,
}

impl Peer {
    pub const fn new(revision: Revision) -> Self {
        Self {
            revision,
            sent: 0,
            received: 0,
        }
    }

    /// The packets of a payload, up to the first that cannot be read.
    pub fn packets(&self, payload: Payload) -> Vec<Packet> {
        match self.revision {
            Revision::V3 => v3::decode_payload(payload).map_while(Result::ok).collect(),
            _ => v4::decode_payload(payload.body)
                .map_while(Result::ok)
                .collect(),
        }
    }

    /// The packet of a frame.
    pub fn decode(&self, frame: Frame) -> Option<Packet> {
        match self.revision {
            Revision::V3 => v3::decode_frame(frame).ok(),
            _ => v4::decode_frame(frame).ok(),
        }
    }

    /// The number of the last message.
    pub const fn sent(&self) -> u32 {
        self.sent
    }

    /// One packet in text form.
    fn packet(&mut self, script: &mut Script<'_>) -> String {
        match script.below(12) {
            0..=3 => {
                self.sent += 1;
                format!("4#{}", self.sent)
            }
            4 => "4".to_owned(),
            5 => "2".to_owned(),
            6 => "3".to_owned(),
            7 => "2probe".to_owned(),
            8 => "5".to_owned(),
            9 => "6".to_owned(),
            10 => "1".to_owned(),
            _ => String::from_utf8_lossy(script.bytes()).replace('#', "_"),
        }
    }

    pub fn frame(&mut self, script: &mut Script<'_>) -> Frame {
        match script.below(8) {
            0 => Frame::Binary(script.bytes().to_vec().into()),
            _ => Frame::text(self.packet(script)),
        }
    }

    /// The body of a POST: packets in good form, many tiny ones, or anything.
    pub fn payload(&mut self, script: &mut Script<'_>) -> Payload {
        let kind = script.below(8);
        let packets: Vec<String> = match kind {
            0 => return Payload::binary(script.bytes().to_vec()),
            1 => return Payload::text(script.bytes().to_vec()),
            2 => vec!["4".to_owned(); 100 * script.below(16)],
            _ => (0..script.below(16)).map(|_| self.packet(script)).collect(),
        };
        match self.revision {
            Revision::V3 if kind == 3 => Payload::binary(
                packets
                    .iter()
                    .flat_map(|packet| {
                        let digits = packet.len().to_string();
                        let length = digits.bytes().map(|digit| digit - b'0');
                        let head: Vec<u8> = std::iter::once(0).chain(length).collect();
                        [&head, &[0xff][..], packet.as_bytes()].concat()
                    })
                    .collect::<Vec<u8>>(),
            ),
            Revision::V3 => Payload::text(
                packets
                    .iter()
                    .map(|packet| format!("{}:{packet}", packet.encode_utf16().count()))
                    .collect::<String>(),
            ),
            _ => Payload::text(packets.join("\u{1e}")),
        }
    }

    /// The answer of a poll: packets that can be read, of which the messages are in order.
    pub fn read_payload(&mut self, payload: Payload, max_payload: usize) {
        let len = payload.body.len();
        assert!(len > 0, "a poll is answered with something");
        let packets: Result<Vec<Packet>, DecodeError> = match self.revision {
            Revision::V3 => v3::decode_payload(payload).collect(),
            _ => v4::decode_payload(payload.body).collect(),
        };
        let packets = packets.expect("what the session writes can be read");
        let is_message = |packet: &&Packet| matches!(packet, Packet::Message(_));
        assert!(len <= max_payload || packets.iter().filter(is_message).count() <= 1);
        for packet in packets {
            self.read(packet);
        }
    }

    pub fn read_frame(&mut self, frame: Frame) {
        let packet = self.decode(frame);
        self.read(packet.expect("what the session writes can be read"));
    }

    fn read(&mut self, packet: Packet) {
        if let Packet::Message(message) = packet {
            in_order(&message, &mut self.received);
        }
    }
}

/// Numbered messages come in the order in which they were sent, and none comes twice.
pub fn in_order(message: &Message, last: &mut u32) -> Option<u32> {
    let number = message.as_text()?.strip_prefix('#')?;
    let digits = number.split('.').next()?;
    let number = digits.parse().expect("only numbers begin so");
    assert!(number > *last, "{number} after {last}");
    *last = number;
    Some(number)
}
