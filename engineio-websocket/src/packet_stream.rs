//! The packets of one WebTransport stream, in both directions.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use engineio_core::codec::stream::{self, Header, HeaderError};
use engineio_core::{DisconnectReason, Frame};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::input::{Input, READ_BUFFER};
use crate::output::{Output, WRITE_BUFFER};
use crate::parser::{frame, own};
use crate::role::Role;
use crate::{End, Received, Violation};

/// One side, either one, of the stream of a WebTransport session: packets behind headers ([`stream`]) over the bytes of `IO`.
///
/// It has the interface of a [`WebSocket`](crate::WebSocket) without compression, and the same buffers, which belong to
/// the thread. The end of the stream takes the place of the close frame: [`close`](Self::close) queues it, and
/// [`poll_flush`](Self::poll_flush) sends it behind the queued packets.
///
/// # Examples
///
/// ```
/// use std::future::poll_fn;
///
/// use engineio_core::Frame;
/// use engineio_websocket::{PacketStream, Received};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let (mut client, far) = tokio::io::duplex(1_024);
/// let mut server = PacketStream::new(far, 1_000_000);
///
/// client.write_all(b"\x064hello").await?;
/// let received = poll_fn(|cx| server.poll_read(cx)).await;
/// assert!(matches!(received, Some(Received::Frame(frame)) if frame == Frame::text("4hello")));
///
/// server.write(Frame::Binary(vec![1, 2, 3].into()));
/// server.close();
/// poll_fn(|cx| server.poll_flush(cx)).await?;
/// let mut bytes = Vec::new();
/// client.read_to_end(&mut bytes).await?;
/// assert_eq!(bytes, [0x83, 1, 2, 3]);
/// # Ok(())
/// # }
/// ```
pub struct PacketStream<IO> {
    io: IO,
    max_payload: usize,
    input: Input,
    /// The header of the packet that is being read.
    header: Option<Header>,
    output: Output,
    /// Something was written that the stream may still hold.
    unflushed: bool,
    /// The end of the stream is queued; nothing may follow it.
    closing: bool,
    /// The end of the stream was sent.
    finished: bool,
    /// Nothing more is to be read.
    ended: Option<DisconnectReason>,
    /// The cause of that, until it is asked for.
    end: Option<Box<End>>,
}

impl<IO: fmt::Debug> fmt::Debug for PacketStream<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketStream")
            .field("io", &self.io)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> PacketStream<IO> {
    /// Takes over a stream from its first byte on. Packets may have up to `max_payload` bytes, types included.
    pub const fn new(io: IO, max_payload: usize) -> Self {
        Self {
            io,
            max_payload,
            input: Input::new(),
            header: None,
            // Neither side masks what it sends.
            output: Output::new(Role::Server),
            unflushed: false,
            closing: false,
            finished: false,
            ended: None,
            end: None,
        }
    }

    /// Returns the stream.
    pub const fn get_ref(&self) -> &IO {
        &self.io
    }

    /// Changes the limit for the packets whose header has not been read yet.
    pub const fn set_max_payload(&mut self, max_payload: usize) {
        self.max_payload = max_payload;
    }

    /// Reads the next packet; `None` if much was read without completing one.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        let mut read = 0;
        loop {
            if let Some(received) = self.parse_plain() {
                return Poll::Ready(Some(received));
            }
            if read >= READ_BUFFER / 2 && !self.input.is_large() {
                return Poll::Ready(None);
            }
            let announced = self.header.map(|header| header.len);
            match ready!(self.input.poll_fill(&mut self.io, announced, cx)) {
                Ok(0) => self.end(End::Eof),
                Ok(len) => read += len,
                Err(error) => self.end(end_of_read(error)),
            }
        }
    }

    /// Returns the next packet of those that were already read. It calls no code of the stream, so it can be used under
    /// a lock.
    pub fn parse_plain(&mut self) -> Option<Received> {
        if let Some(reason) = self.ended {
            return Some(Received::Closed(reason));
        }
        match self.parse() {
            Ok(frame) => frame.map(Received::Frame),
            Err(violation) => {
                self.end(End::Violation(violation));
                self.ended.map(Received::Closed)
            }
        }
    }

    fn parse(&mut self) -> Result<Option<Frame>, Violation> {
        let header = match self.header {
            Some(header) => header,
            None => {
                let unparsed = self.input.unparsed();
                let Some((header, len)) =
                    Header::decode(unparsed, self.max_payload).map_err(|error| match error {
                        HeaderError::TooLarge => Violation::TooLarge,
                        _ => Violation::Empty,
                    })?
                else {
                    return Ok(None);
                };
                self.input.advance(len);
                *self.header.insert(header)
            }
        };
        if self.input.payload_len() < header.len {
            return Ok(None);
        }
        self.header = None;
        let payload = match self.input.take_large() {
            Some(large) => Cow::Owned(large),
            None => Cow::Borrowed(&*self.input.take(header.len)),
        };
        frame(!header.binary, own(payload)).map(Some)
    }

    /// Returns the cause for which the stream ended, once.
    pub fn take_end(&mut self) -> Option<End> {
        self.end.take().map(|end| *end)
    }

    fn end(&mut self, end: End) {
        self.ended = Some(end.reason());
        self.end = Some(Box::new(end));
    }

    /// Encodes a packet behind the queued ones. The caller must check for room first.
    pub fn write(&mut self, frame: Frame) {
        if self.closing {
            return;
        }
        let (header, packet) = stream::encode(frame);
        let payload = match packet {
            Frame::Text(text) => text.into_bytes(),
            Frame::Binary(bytes) => bytes,
        };
        self.output.queue_encoded(header.as_slice(), payload);
    }

    /// Returns whether less than 64 KiB wait to be written.
    pub const fn has_room(&self) -> bool {
        self.unwritten() < WRITE_BUFFER
    }

    /// Returns the number of bytes that wait to be written.
    pub const fn unwritten(&self) -> usize {
        self.output.len()
    }

    /// Waits until there is room in the buffer; writes if there is none.
    ///
    /// # Errors
    ///
    /// Fails if the stream is broken.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_room() {
            return Poll::Ready(Ok(()));
        }
        self.poll_drain(cx)
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output
            .poll_drain(&mut self.io, &mut self.unflushed, cx)
    }

    /// Writes everything that is queued, and then the end of the stream if it was [closed](Self::close).
    ///
    /// # Errors
    ///
    /// Fails if the stream is broken.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        if self.closing && !self.finished {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.finished = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Queues the end of the stream. Nothing can be written after it.
    pub const fn close(&mut self) {
        self.closing = true;
    }
}

/// Sorts out how a read failed. The stream itself is reported as invalid data if the peer has misused its session, for
/// example by opening a second one.
fn end_of_read(error: io::Error) -> End {
    match error.kind() {
        io::ErrorKind::InvalidData => End::Violation(Violation::Protocol("a second stream")),
        _ => End::of_read(error),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    const LIMIT: usize = 1_000;

    fn stream(limit: usize) -> (DuplexStream, PacketStream<DuplexStream>) {
        let (near, far) = tokio::io::duplex(4_000_000);
        (near, PacketStream::new(far, limit))
    }

    /// Reads all packets of bytes that arrive in two parts, and the end.
    async fn read(bytes: &[u8], split: usize, limit: usize) -> (Vec<Frame>, DisconnectReason) {
        let (mut client, mut server) = stream(limit);
        let write = async move {
            client.write_all(&bytes[..split]).await.unwrap();
            // The other side reads the first part.
            tokio::task::yield_now().await;
            client.write_all(&bytes[split..]).await.unwrap();
        };
        let read = async {
            let mut frames = Vec::new();
            loop {
                match poll_fn(|cx| server.poll_read(cx)).await {
                    Some(Received::Frame(frame)) => frames.push(frame),
                    Some(Received::Closed(reason)) => return (frames, reason),
                    None => {}
                }
            }
        };
        tokio::join!(write, read).1
    }

    #[tokio::test]
    async fn packets_arrive_wherever_the_stream_is_split() {
        let bytes =
            b"\x064hello\x83\x01\x02\x03\x7e\x00\x052prob\x01b\xff\0\0\0\0\0\0\0\x02\x09\x0a";
        let expected = [
            Frame::text("4hello"),
            Frame::Binary(vec![1, 2, 3].into()),
            Frame::text("2prob"),
            Frame::text("b"),
            Frame::Binary(vec![9, 10].into()),
        ];
        for split in 0..=bytes.len() {
            let (frames, reason) = read(bytes, split, LIMIT).await;
            assert_eq!(frames, expected, "{split}");
            assert_eq!(reason, DisconnectReason::TransportClose, "{split}");
        }
    }

    #[tokio::test]
    async fn what_is_no_packet_ends_the_stream_behind_the_packets_before_it() {
        use DisconnectReason::{ParseError, PayloadTooLarge, TransportClose, TransportError};

        for (bytes, reason) in [
            (&b"\x014\x00\x014"[..], ParseError),
            (b"\x014\x80", ParseError),
            // The length alone is enough, and its last byte counts.
            (b"\x014\x7e\x03\xe9", PayloadTooLarge),
            (
                b"\x014\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                PayloadTooLarge,
            ),
            (b"\x014\x034\xff\xfe", TransportError),
            // The end in the middle of a packet.
            (b"\x014\x054hi", TransportClose),
            (b"\x014\x7e\x03", TransportClose),
        ] {
            for split in 0..=bytes.len() {
                let (frames, end) = read(bytes, split, LIMIT).await;
                assert_eq!(
                    (frames, end),
                    (vec![Frame::text("4")], reason),
                    "{bytes:?} {split}"
                );
            }
        }
    }

    #[tokio::test]
    async fn packets_of_every_size_arrive_and_leave_as_they_are() {
        for len in [1, 125, 126, 16_383, 16_384, 65_535, 65_536, 1_000_003] {
            let (mut client, mut server) = stream(2_000_000);
            let payload: Vec<u8> = (0..len).map(|n: usize| (n * n / 7) as u8).collect();
            let frame = Frame::Binary(payload.into());
            let (header, _) = stream::encode(frame.clone());
            let bytes = [header.as_slice(), frame.as_bytes(), b"\x014"].concat();
            client.write_all(&bytes).await.unwrap();
            for expected in [frame.clone(), Frame::text("4")] {
                let received = loop {
                    match poll_fn(|cx| server.poll_read(cx)).await {
                        Some(Received::Frame(frame)) => break frame,
                        None => {}
                        other => panic!("{other:?}"),
                    }
                };
                assert_eq!(received, expected, "{len}");
            }
            server.write(frame);
            server.write(Frame::text("4"));
            server.close();
            server.write(Frame::text("too late"));
            let mut echo = Vec::new();
            let (flushed, read) = tokio::join!(
                poll_fn(|cx| server.poll_flush(cx)),
                client.read_to_end(&mut echo)
            );
            flushed.unwrap();
            read.unwrap();
            assert!(echo == bytes, "{len}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_waits_holds_no_buffer() {
        let (mut client, mut server) = stream(2_000_000);
        client.write_all(b"\x064hello").await.unwrap();
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(server.poll_read(cx).is_ready());
        assert!(server.poll_read(cx).is_pending());
        server.write(Frame::text("4hello"));
        assert!(server.poll_flush(cx).is_ready());
        assert_eq!((server.input.capacity(), server.output.capacity()), (0, 0));
    }
}
