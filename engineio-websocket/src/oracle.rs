//! Compares the parser with tungstenite's, on thousands of streams of frames, most of them damaged.

use std::io::{self, Cursor, Read, Write};

use bytes::Bytes;
use engineio_core::Frame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

use crate::input::Input;
use crate::parser::{Compressed, Parsed, Parser};
use crate::{Role as Side, Violation};

const LIMIT: usize = 300;

/// The messages of a stream, and its end.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    messages: Vec<(bool, Vec<u8>)>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The bytes were used up, perhaps within a frame.
    Bytes,
    Close,
    TooLarge,
    NotUtf8,
    Protocol,
}

fn ours(role: Side, bytes: &[u8], step: usize) -> Reading {
    let mut parser = Parser::new(role, LIMIT, false);
    let mut input = Input::new();
    let mut messages = Vec::new();
    for part in bytes.chunks(step) {
        input.push(part);
        loop {
            let end = match parser.next(&mut input, Compressed::Decompress) {
                Ok(Some(Parsed::Message(Frame::Text(text)))) => {
                    messages.push((true, text.as_bytes().to_vec()));
                    continue;
                }
                Ok(Some(Parsed::Message(Frame::Binary(bytes)))) => {
                    messages.push((false, bytes.to_vec()));
                    continue;
                }
                Ok(Some(Parsed::Ping(_) | Parsed::Pong)) => continue,
                Ok(None) => break,
                Ok(Some(Parsed::Close(_))) => End::Close,
                Err(Violation::TooLarge) => End::TooLarge,
                Err(Violation::NotUtf8 | Violation::NotDeflated) => End::NotUtf8,
                Err(Violation::Empty | Violation::Protocol(_)) => End::Protocol,
            };
            return Reading { messages, end };
        }
    }
    let end = End::Bytes;
    Reading { messages, end }
}

/// Reads the stream, and forgets what is written.
struct OneWay(Cursor<Bytes>);

impl Read for OneWay {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for OneWay {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn theirs(role: Role, bytes: &[u8]) -> Reading {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT));
    let stream = OneWay(Cursor::new(Bytes::copy_from_slice(bytes)));
    let mut socket = WebSocket::from_raw_socket(stream, role, Some(config));
    let mut messages = Vec::new();
    let end = loop {
        match socket.read() {
            Ok(Message::Text(text)) => messages.push((true, text.as_bytes().to_vec())),
            Ok(Message::Binary(bytes)) => messages.push((false, bytes.to_vec())),
            Ok(Message::Close(_)) => break End::Close,
            Ok(_) => {}
            Err(Error::Capacity(_)) => break End::TooLarge,
            Err(Error::Utf8(_)) => break End::NotUtf8,
            Err(Error::Protocol(
                tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => break End::Bytes,
            Err(Error::Protocol(_)) => break End::Protocol,
            Err(_) => break End::Bytes,
        }
    };
    Reading { messages, end }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// A stream of a few frames that a client, or else a server, could send, and then perhaps a bit of it changed.
    fn stream(&mut self, masked: bool) -> Vec<u8> {
        let bit = if masked { 0x80 } else { 0 };
        const FIRST: [u8; 12] = [
            0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x80, 0x89, 0x8a, 0x81, 0x82, 0x88,
        ];
        let mut stream = Vec::new();
        for _ in 0..=self.below(6) {
            let first = FIRST[self.below(FIRST.len())];
            let len = [0, 1, 2, 3, 7, 8, 9, 40, 125, 126, 200, 299, 300, 301][self.below(14)];
            let payload: Vec<u8> = match first {
                0x88 => [1000_u16.to_be_bytes().to_vec(), b"bye".to_vec()].concat(),
                _ => "aé€😀".bytes().cycle().take(len).collect(),
            };
            stream.push(first);
            match payload.len() {
                len @ 0..126 => stream.push(bit | len as u8),
                len => {
                    stream.push(bit | 126);
                    stream.extend((len as u16).to_be_bytes());
                }
            }
            let mut mask = [0; 4];
            if masked {
                mask = std::array::from_fn(|_| self.below(256) as u8);
                stream.extend(mask);
            }
            stream.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
        }
        if self.below(3) == 0 {
            let at = self.below(stream.len());
            stream[at] ^= 1 << self.below(8);
        }
        stream
    }
}

#[test]
fn the_parser_of_a_server_reads_what_tungstenite_reads() {
    compare(Side::Server, Role::Server);
}

#[test]
fn the_parser_of_a_client_reads_what_tungstenite_reads() {
    compare(Side::Client, Role::Client);
}

fn compare(side: Side, role: Role) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut ends = [0_usize; 5];
    for round in 0..50_000 {
        let stream = random.stream(side == Side::Server);
        let step = [1, 3, 64, 4096][random.below(4)];
        let (ours, theirs) = (ours(side, &stream, step), theirs(role, &stream));
        assert_eq!(
            ours.messages, theirs.messages,
            "round {round}: {stream:02x?}"
        );
        ends[ours.end as usize] += 1;
        let same = match (ours.end, theirs.end) {
            (ours, theirs) if ours == theirs => true,
            // We refuse by the head of a frame, tungstenite when the frame is complete, which it may never be.
            (End::TooLarge | End::Protocol, End::Bytes) => true,
            // tungstenite looks at the text of fragments, we at the whole message.
            (End::Bytes | End::Close | End::Protocol | End::TooLarge, End::NotUtf8) => true,
            // tungstenite answers an impossible close code, which we take for a fault.
            (End::Protocol | End::NotUtf8, End::Close) => true,
            // Of two faults in one head each looks for another one first.
            (End::TooLarge | End::Protocol, End::TooLarge | End::Protocol) => true,
            _ => false,
        };
        assert!(same, "round {round}: {ours:?} {theirs:?} {stream:02x?}");
    }
    assert!(ends.iter().all(|&count| count > 100), "{ends:?}");
}
