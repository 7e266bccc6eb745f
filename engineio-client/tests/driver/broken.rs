//! Connections that break, as the reads and the writes of a socket tell it.

use std::convert::Infallible;
use std::future::ready;
use std::io::{self, ErrorKind as Io};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use engineio_client::{Client, DisconnectReason, ErrorKind, Transport};
use futures_util::SinkExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::Message as WsMessage;

use super::hooked;

/// The next call that fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Read(Io),
    Write(Io),
    /// It has been told, and the connection is at its end.
    Told,
}

#[tokio::test(start_paused = true)]
async fn a_reset_has_one_reason_whether_a_read_or_a_write_tells_of_it() {
    let reset = (DisconnectReason::TransportError, "broke; connect again");
    let ended = (
        DisconnectReason::TransportClose,
        "ended without a close frame",
    );
    for (fault, (reason, text)) in [
        (Fault::Read(Io::ConnectionReset), reset),
        (Fault::Write(Io::ConnectionReset), reset),
        // What a write finds after the end, which came first.
        (Fault::Write(Io::BrokenPipe), ended),
    ] {
        let state = Arc::new(Mutex::new(Fault::None));
        let (reading, writing) = (Arc::clone(&state), Arc::clone(&state));
        let read: hooked::Read = Box::new(move |_| {
            let mut fault = reading.lock().unwrap();
            match *fault {
                Fault::Read(kind) => {
                    *fault = Fault::Told;
                    Some(Err(io::Error::from(kind)))
                }
                Fault::Told => Some(Ok(())),
                Fault::None | Fault::Write(_) => None,
            }
        });
        let write: hooked::Write = Box::new(move |_| {
            let mut fault = writing.lock().unwrap();
            match *fault {
                Fault::Write(kind) => {
                    *fault = Fault::Told;
                    Some(Err(io::Error::from(kind)))
                }
                Fault::Told => Some(Err(io::Error::from(Io::BrokenPipe))),
                Fault::None | Fault::Read(_) => None,
            }
        });
        let (client, mut server) = hooked::connect(read, write, |builder| builder).await;
        *state.lock().unwrap() = fault;
        match fault {
            // Wakes the client, which then reads.
            Fault::Read(_) => server.send(WsMessage::text("4a")).await.unwrap(),
            _ => client.send("a").await.unwrap(),
        }
        client.wait().await;
        assert_eq!(client.disconnect_reason(), Some(reason), "{fault:?}");
        let error = client.disconnect_error().unwrap();
        assert_eq!(error.kind(), ErrorKind::Transport, "{fault:?}: {error}");
        assert!(error.to_string().contains(text), "{fault:?}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_written_more_than_it_was_given_has_panicked() {
    let lies = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&lies);
    let write: hooked::Write =
        Box::new(move |bytes| asked.load(Ordering::Relaxed).then_some(Ok(bytes.len() + 5)));
    let (client, _server) = hooked::connect(Box::new(|_| None), write, |builder| builder).await;
    lies.store(true, Ordering::Relaxed);
    client.send("a").await.unwrap();
    client.wait().await;
    let reason = client.disconnect_reason();
    assert_eq!(reason, Some(DisconnectReason::HandlerPanic));
}

/// Has written more than it was given, or read into something else.
#[derive(Clone, Copy, Debug)]
enum Liar {
    Writes,
    /// Into memory of its own.
    Reads,
}

impl AsyncRead for Liar {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match *self {
            Self::Writes => Poll::Pending,
            Self::Reads => {
                let mut own = ReadBuf::new(vec![b'x'; 100].leak());
                own.set_filled(100);
                *buffer = own;
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Liar {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(match *self {
            Self::Writes => bytes.len() + 5,
            Self::Reads => bytes.len(),
        }))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The library that sends the requests panics at that, and once more if it is asked to go on.
#[tokio::test(start_paused = true)]
async fn a_stream_that_lies_about_a_request_fails_connect() {
    for transport in [Transport::Polling, Transport::WebSocket] {
        for liar in [Liar::Writes, Liar::Reads] {
            let connector = tower::service_fn(move |_| ready(Ok::<_, Infallible>(liar)));
            let builder = Client::builder("http://in.memory")
                .connector(connector)
                .transports([transport]);
            let error = builder.connect().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Panicked, "{liar:?}: {error}");
        }
    }
}
