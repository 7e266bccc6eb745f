//! The frames of a connection, whatever carries them.

use std::io;
use std::task::{Context, Poll};

use engineio_core::{DisconnectReason, Frame};
use engineio_websocket::{End, PacketStream, Received, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite};

/// The frames of one connection, as the driver reads and writes them. The methods are those of [`WebSocket`], whose
/// documentation describes them.
pub(crate) trait Link {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received>>;

    /// Parses what was read already. Called under the lock of the session.
    fn parse_plain(&mut self) -> Option<Received>;

    /// Returns the compressed length of the message that was read last, once.
    fn take_compressed_len(&mut self) -> usize {
        0
    }

    fn take_end(&mut self) -> Option<End>;

    fn has_room(&self) -> bool;

    fn unwritten(&self) -> usize;

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    fn write(&mut self, frame: Frame);

    /// Queues the rest of frames that were written in part, for a link whose connection is shared.
    fn resume(&mut self, _rest: &[u8]) {}

    /// Writes a frame that may be compressed, if the link can do that.
    fn write_compressed(&mut self, frame: Frame) {
        self.write(frame);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Queues the sign that nothing follows, as the transport has it.
    fn close(&mut self, reason: DisconnectReason);
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Link for WebSocket<IO> {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        self.poll_read(cx)
    }

    fn parse_plain(&mut self) -> Option<Received> {
        self.parse_plain()
    }

    fn take_compressed_len(&mut self) -> usize {
        self.take_compressed_len()
    }

    fn take_end(&mut self) -> Option<End> {
        self.take_end()
    }

    fn has_room(&self) -> bool {
        self.has_room()
    }

    fn unwritten(&self) -> usize {
        self.unwritten()
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_room(cx)
    }

    fn write(&mut self, frame: Frame) {
        self.write(frame);
    }

    fn resume(&mut self, rest: &[u8]) {
        self.resume(rest);
    }

    fn write_compressed(&mut self, frame: Frame) {
        self.write_compressed(frame);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }

    fn close(&mut self, reason: DisconnectReason) {
        self.close(reason.websocket_code());
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Link for PacketStream<IO> {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        self.poll_read(cx)
    }

    fn parse_plain(&mut self) -> Option<Received> {
        self.parse_plain()
    }

    fn take_end(&mut self) -> Option<End> {
        self.take_end()
    }

    fn has_room(&self) -> bool {
        self.has_room()
    }

    fn unwritten(&self) -> usize {
        self.unwritten()
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_room(cx)
    }

    fn write(&mut self, frame: Frame) {
        self.write(frame);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }

    fn close(&mut self, _: DisconnectReason) {
        self.close();
    }
}
