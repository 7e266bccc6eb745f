//! A limit: tokio-tungstenite alone, without queues, heartbeats of its own or limits for slow readers.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::load::clients::{Client, Open, Transport};
use crate::load::http;

/// A WebSocket with the defaults of the library: each message is written when it is sent.
pub(crate) struct BareWebSocket<IO = TcpStream>(WebSocketStream<IO>);

impl<IO: AsyncRead + AsyncWrite + Unpin> BareWebSocket<IO> {
    /// Opens a session over a connection.
    pub(crate) async fn over(io: IO, host: &str) -> Result<Self> {
        Self::with(io, host, WebSocketConfig::default()).await
    }

    async fn with(io: IO, host: &str, config: WebSocketConfig) -> Result<Self> {
        let url = format!("ws://{host}{}websocket", http::PATH);
        let opening = tokio_tungstenite::client_async_with_config(url, io, Some(config));
        let (websocket, _) = opening.await?;
        let mut this = Self(websocket);
        let open = this.next_message().await?;
        if !open.starts_with("0{") {
            bail!("no open packet");
        }
        Ok(this)
    }

    async fn next_message(&mut self) -> Result<Utf8Bytes> {
        loop {
            match self.0.next().await.context("closed by the server")?? {
                Message::Text(text) if text.as_str() == "2" => {
                    self.0.send(Message::text("3")).await?;
                }
                Message::Text(text) => return Ok(text),
                other => bail!("unexpected: {other:?}"),
            }
        }
    }
}

impl Open for BareWebSocket {
    async fn open(addr: SocketAddr, number: u64, _: Transport) -> Result<Self> {
        let stream = http::connect(addr, number).await?;
        Self::over(stream, &addr.to_string()).await
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Client for BareWebSocket<IO> {
    type Message = Utf8Bytes;

    fn message(text: &str) -> Utf8Bytes {
        format!("4{text}").into()
    }

    fn is(message: &Utf8Bytes, text: &str) -> bool {
        message.as_bytes().split_first() == Some((&b'4', text.as_bytes()))
    }

    async fn send(&mut self, message: Utf8Bytes) -> Result<()> {
        Ok(self.0.send(Message::Text(message)).await?)
    }

    async fn next(&mut self) -> Result<Utf8Bytes> {
        self.next_message().await
    }

    async fn close(mut self) -> Result<()> {
        self.0.send(Message::text("1")).await?;
        self.0.close(None).await?;
        // Until the server has answered the close frame.
        while let Some(Ok(_)) = self.0.next().await {}
        Ok(())
    }
}

/// The same, written with more care: what is sent is written when nothing more can be read, and the read buffer, which is
/// filled with zeroes before each read, has 4 KiB and not 128.
pub(crate) struct Gathering<IO = TcpStream> {
    inner: BareWebSocket<IO>,
    is_flushed: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Gathering<IO> {
    pub(crate) async fn over(io: IO, host: &str) -> Result<Self> {
        let config = WebSocketConfig::default().read_buffer_size(4096);
        Ok(Self {
            inner: BareWebSocket::with(io, host, config).await?,
            is_flushed: true,
        })
    }
}

impl Open for Gathering {
    async fn open(addr: SocketAddr, number: u64, _: Transport) -> Result<Self> {
        let stream = http::connect(addr, number).await?;
        Self::over(stream, &addr.to_string()).await
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Client for Gathering<IO> {
    type Message = Utf8Bytes;

    fn message(text: &str) -> Utf8Bytes {
        BareWebSocket::<IO>::message(text)
    }

    fn is(message: &Utf8Bytes, text: &str) -> bool {
        BareWebSocket::<IO>::is(message, text)
    }

    async fn send(&mut self, message: Utf8Bytes) -> Result<()> {
        self.is_flushed = false;
        Ok(self.inner.0.feed(Message::Text(message)).await?)
    }

    async fn next(&mut self) -> Result<Utf8Bytes> {
        loop {
            let websocket = &mut self.inner.0;
            let next = poll_fn(|cx| match websocket.poll_next_unpin(cx) {
                Poll::Pending if !self.is_flushed => Poll::Ready(None),
                next => next.map(Some),
            });
            match next.await {
                None => {
                    self.inner.0.flush().await?;
                    self.is_flushed = true;
                }
                Some(message) => match message.context("closed by the server")?? {
                    Message::Text(text) if text.as_str() == "2" => self.send("3".into()).await?,
                    Message::Text(text) => return Ok(text),
                    other => bail!("unexpected: {other:?}"),
                },
            }
        }
    }

    async fn close(self) -> Result<()> {
        self.inner.close().await
    }
}
