//! A limit: tokio-tungstenite alone, one task a connection, an open packet, echo and broadcast.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use anyhow::Result;
use futures_util::{SinkExt, StreamExt, future::poll_fn};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Settings;

type Members = Arc<Mutex<Vec<UnboundedSender<Message>>>>;

pub(super) async fn run(listener: TcpListener, _: Settings) -> Result<()> {
    let members = Members::default();
    super::accept(listener, move |stream| {
        let members = Arc::clone(&members);
        async move {
            // Clients may go away at any time.
            let _ = serve(stream, members).await;
        }
    })
    .await
}

enum Next {
    /// From the client.
    Received(Message),
    /// For the client.
    Send(Message),
    /// Nothing is there for now.
    Nothing,
}

async fn serve(stream: TcpStream, members: Members) -> Result<(), Error> {
    let config = WebSocketConfig::default().read_buffer_size(4096);
    let mut socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
    let open = r#"0{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    socket.send(Message::text(open)).await?;
    let (sender, mut broadcasts) = unbounded_channel();
    members
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(sender);
    let mut flushed = true;
    loop {
        // Takes everything that has arrived before flushing, so that a batch is one write.
        let next = poll_fn(|cx| match poll_next(&mut socket, &mut broadcasts, cx) {
            Poll::Pending if !flushed => Poll::Ready(Ok(Next::Nothing)),
            next => next,
        });
        match next.await? {
            Next::Nothing => {
                socket.flush().await?;
                flushed = true;
            }
            Next::Received(Message::Text(text)) if text.starts_with("4bcast:") => {
                let mut members = members.lock().unwrap_or_else(PoisonError::into_inner);
                // Clients that have left are removed here.
                members.retain(|member| member.send(Message::Text(text.clone())).is_ok());
            }
            Next::Received(message @ (Message::Text(_) | Message::Binary(_)))
            | Next::Send(message) => {
                socket.feed(message).await?;
                flushed = false;
            }
            // The answer to a close is sent by the next read.
            Next::Received(_) => {}
        }
    }
}

fn poll_next(
    socket: &mut WebSocketStream<TcpStream>,
    broadcasts: &mut UnboundedReceiver<Message>,
    cx: &mut Context<'_>,
) -> Poll<Result<Next, Error>> {
    if let Poll::Ready(received) = socket.poll_next_unpin(cx) {
        let received = received.unwrap_or(Err(Error::ConnectionClosed));
        return Poll::Ready(received.map(Next::Received));
    }
    match broadcasts.poll_recv(cx) {
        Poll::Ready(Some(message)) => Poll::Ready(Ok(Next::Send(message))),
        _ => Poll::Pending,
    }
}
