//! Connections that break, as the reads and the writes of a socket tell it.

use std::io::{self, ErrorKind as Io};
use std::sync::{Arc, Mutex};

use engineio_client::{DisconnectReason, ErrorKind};
use futures_util::SinkExt;
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
