//! A WebSocket client that keeps a number of echoes in flight and checks the answers.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::frames::{Batch, Control, Parser, frame};
use super::http::{self, Http};
use super::meter;

/// As much as a socket may hold, so that one read takes it all.
const SCRATCH: usize = 512 * 1024;

thread_local! {
    static SCRATCH_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// An open connection over which Engine.IO frames travel.
pub(super) struct WebSocket {
    stream: TcpStream,
    parser: Parser,
    /// Frames that are no messages and are still to be sent.
    control: Vec<u8>,
    closed: bool,
    /// The time of the last heartbeat.
    pinged: Option<Instant>,
}

/// The way a client sends its messages.
pub(super) trait Pace {
    /// Echoes came; `now` is the time of the read.
    fn echoed(&mut self, first: u64, count: u64, now: Instant);
    /// The total number of messages that may be sent by now.
    fn allowed(&mut self, cx: &mut Context<'_>) -> u64;
    /// All but the first `first` of `first + count` messages are about to be sent, or were begun.
    fn sending(&mut self, first: u64, count: u64);
    /// Returns whether this client is done after so many echoes.
    fn is_done(&self, sent: u64, echoes: u64) -> bool;
}

impl WebSocket {
    /// Opens a session by WebSocket, up to its open packet.
    pub(super) async fn open(addr: SocketAddr, number: u64) -> Result<Self> {
        let mut http = Http::connect(addr, number).await?;
        http.send(&http::upgrade(None)).await?;
        let (stream, rest) = http.upgraded().await?;
        let mut socket = Self::over(stream);
        let open = socket.next_text(&rest).await?;
        http::sid_of(&open)?;
        Ok(socket)
    }

    pub(super) fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            parser: Parser::default(),
            control: Vec::new(),
            closed: false,
            pinged: None,
        }
    }

    /// Opens a session by polling and moves it here, as the protocol describes.
    pub(super) async fn upgrade(addr: SocketAddr, number: u64) -> Result<Self> {
        let mut polling = Http::connect(addr, number).await?;
        polling.send(&http::handshake(false)).await?;
        let sid = http::sid_of(polling.response().await?.ok()?)?;
        let get = http::get(&sid);
        polling.send(&get).await?;

        let mut http = Http::connect(addr, number).await?;
        http.send(&http::upgrade(Some(&sid))).await?;
        let (stream, rest) = http.upgraded().await?;
        let mut socket = Self::over(stream);
        socket.send_text(b"2probe").await?;
        if socket.next_text(&rest).await? != b"3probe" {
            bail!("the probe was not answered");
        }
        // The parked poll ends with a noop; a server may have answered it with a ping before.
        for _ in 0..4 {
            let body = polling.response().await?.ok()?.to_vec();
            if body
                .split(|byte| *byte == 0x1e)
                .any(|packet| packet == b"6")
            {
                socket.send_text(b"5").await?;
                return Ok(socket);
            }
            if body == b"2" {
                polling.send(&http::post(&sid, b"3")).await?;
                polling.response().await?.ok()?;
            }
            polling.send(&get).await?;
        }
        bail!("the poll did not end with a noop")
    }

    pub(super) async fn send_text(&mut self, text: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(&frame(1, text)).await?)
    }

    /// Reads until there is a text frame. Nothing that is measured happens here.
    pub(super) async fn next_text(&mut self, early: &[u8]) -> Result<Vec<u8>> {
        let mut found = Vec::new();
        let mut read = early.to_vec();
        loop {
            let mut take = |control| {
                match control {
                    Control::Text(text) => found.push(text),
                    Control::Close => bail!("closed by the server"),
                }
                Ok(())
            };
            self.parser.feed(&read, None, &mut take)?;
            if !found.is_empty() {
                // It can only be accompanied by the ping that some servers send immediately.
                for text in found.drain(1..) {
                    answer(&text, &mut self.control, &mut self.pinged)?;
                }
                return found.pop().context("no text");
            }
            read.clear();
            if self.stream.read_buf(&mut read).await? == 0 {
                bail!("closed by the server");
            }
        }
    }

    /// Returns the connection, which nobody has read ahead from.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Says goodbye, and waits until the server has closed the connection.
    pub(super) async fn close(mut self) -> Result<()> {
        self.stream
            .write_all(&frame(8, &1000_u16.to_be_bytes()))
            .await?;
        let mut scratch = [0; 1024];
        // A handful of frames at most; what comes after the close frame is the end.
        for _ in 0..64 {
            if self.stream.read(&mut scratch).await? == 0 {
                return Ok(());
            }
        }
        bail!("the server does not close")
    }

    /// Sends and checks until the pace says that it is done.
    pub(super) async fn run(&mut self, batch: &Batch, pace: &mut impl Pace) -> Result<()> {
        let mut sent = 0;
        let mut partly = 0;
        poll_fn(|cx| {
            loop {
                ready!(self.poll_write(cx, batch, pace, &mut sent, &mut partly))?;
                if pace.is_done(sent, self.parser.echoes) {
                    return Poll::Ready(Ok(()));
                }
                if self.closed {
                    return Poll::Ready(Err(anyhow::anyhow!("closed by the server")));
                }
                ready!(self.poll_read(cx, batch, pace))?;
            }
        })
        .await
    }

    /// Sends what may be sent; ready when that is all, or when reading may help.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &Batch,
        pace: &mut impl Pace,
        sent: &mut u64,
        partly: &mut usize,
    ) -> Poll<Result<()>> {
        while !self.control.is_empty() && *partly == 0 {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.control))?;
            self.control.drain(..written);
        }
        loop {
            let count = pace.allowed(cx).saturating_sub(*sent) as usize;
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            pace.sending(*sent, count as u64);
            let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(32);
            batch.slices(*sent, count, *partly, &mut slices);
            let written = match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices) {
                Poll::Ready(written) => written?,
                // The server may be waiting for us to read.
                Poll::Pending => return Poll::Ready(Ok(())),
            };
            let total = *partly + written;
            *sent += (total / batch.frame_len()) as u64;
            *partly = total % batch.frame_len();
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        batch: &Batch,
        pace: &mut impl Pace,
    ) -> Poll<Result<()>> {
        SCRATCH_BUFFER.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            let bytes = buf.filled();
            if bytes.is_empty() {
                self.closed = true;
                return Poll::Ready(Ok(()));
            }
            let before = self.parser.echoes;
            let (control, pinged) = (&mut self.control, &mut self.pinged);
            self.parser.feed(bytes, Some(batch), |frame| match frame {
                Control::Text(text) => answer(&text, control, pinged),
                Control::Close => bail!("closed by the server"),
            })?;
            let count = self.parser.echoes - before;
            if count > 0 {
                pace.echoed(before, count, Instant::now());
            }
            Poll::Ready(Ok(()))
        })
    }
}

/// Answers a heartbeat; anything else that a server says on its own is an error.
fn answer(text: &[u8], control: &mut Vec<u8>, pinged: &mut Option<Instant>) -> Result<()> {
    if text != b"2" {
        bail!("unexpected packet {}", String::from_utf8_lossy(text));
    }
    control.extend(frame(1, b"3"));
    let now = Instant::now();
    let last = pinged.replace(now);
    meter::ping(last.map(|last| now - last));
    Ok(())
}

/// Keeps a number of messages in flight.
pub(super) struct Pipeline {
    depth: u64,
    echoes: u64,
    sent: u64,
    since: Vec<Instant>,
}

impl Pipeline {
    pub(super) fn new(depth: usize) -> Self {
        Self {
            depth: depth as u64,
            echoes: 0,
            sent: 0,
            since: vec![Instant::now(); depth],
        }
    }
}

impl Pace for Pipeline {
    fn echoed(&mut self, first: u64, count: u64, now: Instant) {
        self.echoes += count;
        meter::count(count);
        for number in first..first + count {
            meter::took(now - self.since[(number % self.depth) as usize]);
        }
    }

    fn allowed(&mut self, _: &mut Context<'_>) -> u64 {
        if meter::stopped() {
            // A message that is partly sent is finished all the same.
            return self.sent;
        }
        self.echoes + self.depth
    }

    fn sending(&mut self, first: u64, count: u64) {
        let now = Instant::now();
        for number in self.sent..first + count {
            self.since[(number % self.depth) as usize] = now;
        }
        self.sent = first + count;
    }

    fn is_done(&self, sent: u64, echoes: u64) -> bool {
        meter::stopped() && sent == echoes
    }
}
