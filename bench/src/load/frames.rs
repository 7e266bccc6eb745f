//! Frames, made before the clock runs, and the parser that compares what comes back byte for byte.

use std::io::IoSlice;
use std::sync::Arc;

use anyhow::{Result, bail};

/// Not zero: some servers skip the unmasking of a mask of zeroes.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Messages up to this size are kept whole, so that a batch is one contiguous write.
const SMALL: usize = 1024;

/// The part of a large message that differs between clients and places in the pipeline.
const MARK: usize = 32;

/// A client's frame: masked.
pub(super) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..65536 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(a, b)| a ^ b));
    frame
}

/// The text of a message: its mark, then a pattern that is the same for all.
fn text(mark: &str, size: usize) -> Vec<u8> {
    let mut text = mark.as_bytes().to_vec();
    text.truncate(size);
    let pattern = (0..).map(|at: usize| b' ' + (at * 7 % 95) as u8);
    text.extend(pattern.skip(text.len()).take(size - text.len()));
    text
}

/// The messages that one client sends over and over: one for each place in its pipeline.
///
/// The masked and the plain tail of large messages are shared by all clients, so that the generator's own memory
/// traffic stays small.
#[derive(Clone)]
pub(super) struct Batch {
    depth: usize,
    /// The bytes of one whole frame on the wire, as sent.
    frame_len: usize,
    /// The packets from their digit on, without the shared tail.
    plain: Vec<Vec<u8>>,
    plain_tail: Arc<[u8]>,
    /// Small: all frames twice, so that any run of `depth` is contiguous. Large: the heads.
    wire: Vec<u8>,
    head_len: usize,
    wire_tail: Arc<[u8]>,
}

/// The part of large messages that all clients share.
#[derive(Clone)]
pub(super) struct Tail {
    plain: Arc<[u8]>,
    wire: Arc<[u8]>,
}

impl Tail {
    /// For messages of `size` bytes.
    pub(super) fn new(size: usize) -> Self {
        if size <= SMALL {
            return Self {
                plain: Arc::default(),
                wire: Arc::default(),
            };
        }
        let packet = [b"4".as_slice(), &text("", size)].concat();
        let frame = frame(1, &packet);
        let tail_len = packet.len() - 1 - MARK;
        Self {
            plain: packet[1 + MARK..].into(),
            wire: frame[frame.len() - tail_len..].into(),
        }
    }
}

impl Batch {
    /// `depth` messages of `size` bytes; `mark` gives the beginning of each.
    pub(super) fn new(
        size: usize,
        depth: usize,
        tail: &Tail,
        mark: impl Fn(usize) -> String,
    ) -> Self {
        let mut plain = Vec::new();
        let mut wire = Vec::new();
        let (mut frame_len, mut head_len) = (0, 0);
        for slot in 0..depth {
            let mut mark = mark(slot);
            mark.truncate(MARK);
            let mut packet = [b"4".as_slice(), &text(&mark, size)].concat();
            let mut frame = frame(1, &packet);
            frame_len = frame.len();
            packet.truncate(packet.len() - tail.plain.len());
            frame.truncate(frame.len() - tail.wire.len());
            head_len = frame.len();
            plain.push(packet);
            wire.extend(frame);
        }
        if tail.wire.is_empty() {
            wire.extend_from_within(..);
        }
        Self {
            depth,
            frame_len,
            plain,
            plain_tail: Arc::clone(&tail.plain),
            wire,
            head_len,
            wire_tail: Arc::clone(&tail.wire),
        }
    }

    pub(super) const fn frame_len(&self) -> usize {
        self.frame_len
    }

    /// The length of the packet that is echoed.
    pub(super) fn packet_len(&self) -> usize {
        self.plain[0].len() + self.plain_tail.len()
    }

    /// The bytes of `count` messages from number `first` on, less the `skip` bytes that are sent already.
    pub(super) fn slices<'a>(
        &'a self,
        first: u64,
        count: usize,
        skip: usize,
        into: &mut Vec<IoSlice<'a>>,
    ) {
        let slot = (first % self.depth as u64) as usize;
        if self.wire_tail.is_empty() {
            let start = slot * self.frame_len;
            into.push(IoSlice::new(
                &self.wire[start + skip..start + count.min(self.depth) * self.frame_len],
            ));
            return;
        }
        let mut skip = skip;
        for slot in (slot..slot + count.min(16)).map(|slot| slot % self.depth) {
            let head = &self.wire[slot * self.head_len..(slot + 1) * self.head_len];
            for part in [head, &self.wire_tail] {
                if skip < part.len() {
                    into.push(IoSlice::new(&part[skip..]));
                }
                skip = skip.saturating_sub(part.len());
            }
        }
    }

    /// Returns whether these bytes stand at `at` in message number `number`.
    fn is_echo(&self, number: u64, at: usize, bytes: &[u8]) -> bool {
        let head = &self.plain[(number % self.depth as u64) as usize];
        let in_head = bytes.len().min(head.len().saturating_sub(at));
        let (first, rest) = bytes.split_at(in_head);
        let tail_at = (at + in_head).saturating_sub(head.len());
        (in_head == 0 || first == &head[at..at + in_head])
            && (rest.is_empty() || *rest == self.plain_tail[tail_at..tail_at + rest.len()])
    }

    /// Returns whether a packet is message number `number`.
    pub(super) fn is_packet(&self, number: u64, packet: &[u8]) -> bool {
        packet.len() == self.packet_len() && self.is_echo(number, 0, packet)
    }

    /// The packet of the first message, for a POST body.
    pub(super) fn first_packet(&self) -> Vec<u8> {
        [&self.plain[0][..], &self.plain_tail].concat()
    }
}

/// A frame that is not an echo.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Control {
    Text(Vec<u8>),
    Close,
}

/// Splits what a server sends into frames.
#[derive(Default)]
pub(super) struct Parser {
    header: [u8; 10],
    have: usize,
    /// Within a payload: its length and how much of it was seen.
    payload: Option<(usize, usize)>,
    other: Vec<u8>,
    /// Returns the number of echoes since the start.
    pub(super) echoes: u64,
}

impl Parser {
    /// Takes bytes in. Frames that are no echo of `batch` go to `control`.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        batch: Option<&Batch>,
        mut control: impl FnMut(Control) -> Result<()>,
    ) -> Result<()> {
        while !bytes.is_empty() {
            let Some((len, at)) = self.payload else {
                self.feed_header(&mut bytes)?;
                if self.payload.is_some_and(|(len, _)| len == 0) {
                    self.finish(&mut control)?;
                }
                continue;
            };
            let (part, rest) = bytes.split_at(bytes.len().min(len - at));
            bytes = rest;
            let echo = self.header[0] == 0x81 && batch.is_some_and(|b| b.packet_len() == len);
            match batch {
                Some(batch) if echo => {
                    if !batch.is_echo(self.echoes, at, part) {
                        bail!("echo {} differs near byte {at}", self.echoes);
                    }
                }
                _ => self.other.extend_from_slice(part),
            }
            self.payload = Some((len, at + part.len()));
            if at + part.len() == len {
                if echo {
                    self.echoes += 1;
                    self.payload = None;
                    self.have = 0;
                } else {
                    self.finish(&mut control)?;
                }
            }
        }
        Ok(())
    }

    fn feed_header(&mut self, bytes: &mut &[u8]) -> Result<()> {
        loop {
            let need = match (self.have, self.header[1]) {
                (0 | 1, _) => 2,
                (_, 126) => 4,
                (_, 127) => 10,
                _ => 2,
            };
            if self.have == need {
                break;
            }
            let Some((&byte, rest)) = bytes.split_first() else {
                return Ok(());
            };
            self.header[self.have] = byte;
            self.have += 1;
            *bytes = rest;
        }
        let len = match self.header[1] {
            126 => u16::from_be_bytes([self.header[2], self.header[3]]).into(),
            127 => self.header[2..10]
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
            len @ 0..126 => len.into(),
            _ => bail!("a masked frame from the server"),
        };
        self.payload = Some((len, 0));
        Ok(())
    }

    fn finish(&mut self, control: &mut impl FnMut(Control) -> Result<()>) -> Result<()> {
        let payload = std::mem::take(&mut self.other);
        self.payload = None;
        self.have = 0;
        match self.header[0] {
            0x81 => control(Control::Text(payload)),
            0x88 => control(Control::Close),
            // Pings of the WebSocket layer: nobody measured sends them within a run.
            0x89 | 0x8a => Ok(()),
            first => bail!("an unexpected frame {first:#x} of {} bytes", payload.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Batch, Control, Parser, Tail};

    /// Turns the frames of a client into those of a server.
    fn echo(batch: &Batch, wire: &[u8]) -> Vec<u8> {
        let head = batch.frame_len() - batch.packet_len();
        let mut answer = Vec::new();
        for frame in wire.chunks(batch.frame_len()) {
            let mask = &frame[head - 4..head];
            let mut header = frame[..head - 4].to_vec();
            header[1] &= 0x7f;
            answer.extend(header);
            answer.extend(
                frame[head..]
                    .iter()
                    .zip(mask.iter().cycle())
                    .map(|(a, b)| a ^ b),
            );
        }
        answer
    }

    #[test]
    fn echoes_are_recognised_in_every_size_and_split() {
        for size in [0, 1, 20, 124, 125, 126, 1024, 1025, 4096, 65_536] {
            let batch = Batch::new(size, 3, &Tail::new(size), |slot| format!("mark {slot}"));
            let mut slices = Vec::new();
            batch.slices(0, 3, 0, &mut slices);
            let wire: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            assert_eq!(wire.len(), 3 * batch.frame_len());
            let mut answer = echo(&batch, &wire);
            for chunk in [1, 7, 5_000, answer.len()] {
                let mut parser = Parser::default();
                for part in answer.chunks(chunk) {
                    parser
                        .feed(part, Some(&batch), |_| panic!("no control frame"))
                        .unwrap();
                }
                assert_eq!(parser.echoes, 3, "{size} {chunk}");
            }
            let last = answer.len() - 1;
            answer[last] ^= 1;
            let mut parser = Parser::default();
            let outcome = parser.feed(&answer, Some(&batch), |_| Ok(()));
            assert!(outcome.is_err(), "a wrong last byte of {size}");
        }
    }

    #[test]
    fn a_partly_sent_batch_goes_on_where_it_was() {
        for size in [20, 4096] {
            let batch = Batch::new(size, 4, &Tail::new(size), |slot| format!("{slot}"));
            let all = |first, count, skip| {
                let mut slices = Vec::new();
                batch.slices(first, count, skip, &mut slices);
                slices.iter().flat_map(|s| s.to_vec()).collect::<Vec<u8>>()
            };
            let whole = all(2, 4, 0);
            assert_eq!(all(2, 4, 11), whole[11..]);
            assert_eq!(all(3, 3, 5), whole[batch.frame_len() + 5..]);
        }
    }

    #[test]
    fn other_frames_are_handed_out() {
        let mut parser = Parser::default();
        let mut seen = Vec::new();
        parser
            .feed(b"\x81\x012\x88\x02\x03\xe8", None, |control| {
                seen.push(control);
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, [Control::Text(b"2".to_vec()), Control::Close]);
    }
}
