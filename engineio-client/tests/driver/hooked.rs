//! A WebSocket in memory, of whose connection a test decides what the client's calls return.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use engineio_client::{Client, ClientBuilder, Transport};
use futures_util::SinkExt;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio_tungstenite::tungstenite::Message as WsMessage;
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::support::OPEN_POLLING;

/// Decides about a read, or leaves it to the connection.
pub(crate) type Read = Box<dyn FnMut(&mut ReadBuf<'_>) -> Option<io::Result<()>> + Send>;
/// Decides about a write of these bytes, or leaves it to the connection.
pub(crate) type Write = Box<dyn FnMut(&[u8]) -> Option<io::Result<usize>> + Send>;

/// Opens a session by WebSocket. Returns the client, and the server's end.
pub(crate) async fn connect(
    read: Read,
    write: Write,
    options: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> (Client, WebSocketStream<DuplexStream>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let server = tokio::spawn(async move {
        let mut socket = accept_async(far).await.unwrap();
        socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
        socket
    });
    let io = Arc::new(Mutex::new(Some(Hooked { near, read, write })));
    let connector = tower::service_fn(move |_| {
        let io = io.lock().unwrap().take();
        ready(Ok::<_, Infallible>(io.unwrap()))
    });
    let builder = Client::builder("http://in.memory")
        .connector(connector)
        .transports([Transport::WebSocket]);
    let client = options(builder).connect().await.unwrap();
    (client, server.await.unwrap())
}

struct Hooked {
    near: DuplexStream,
    read: Read,
    write: Write,
}

impl AsyncRead for Hooked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match (self.read)(buffer) {
            Some(outcome) => Poll::Ready(outcome),
            None => Pin::new(&mut self.near).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Hooked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match (self.write)(bytes) {
            Some(outcome) => Poll::Ready(outcome),
            None => Pin::new(&mut self.near).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_shutdown(cx)
    }
}
