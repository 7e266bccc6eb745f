//! Sessions that have a WebSocket, or could have one.

use engineio_core::Frame;
use engineio_tower::{DisconnectReason, EngineIoService, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Harness, Peer, echo, start, within};

/// A WebSocket that is written byte by byte, with short text frames only.
struct WebSocket(TcpStream);

impl WebSocket {
    /// Opens a WebSocket at a host of its own.
    async fn open(harness: &Harness, query: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = EngineIoService::new(harness.server.clone());
        tokio::spawn(async move { engineio_tower::serve(listener, service).await });
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET /engine.io/?EIO=4&transport=websocket{query} HTTP/1.1\r\nHost: {address}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(stream.read_u8()).await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        Self(stream)
    }

    async fn send(&mut self, text: &str) {
        // A mask of zeroes changes nothing.
        let head = [0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
        let frame = [&head, text.as_bytes()].concat();
        self.0.write_all(&frame).await.unwrap();
    }

    /// Reads a text frame; `None` for a close frame.
    async fn text(&mut self) -> Option<String> {
        let kind = within(self.0.read_u8()).await.unwrap();
        if kind == 0x88 {
            return None;
        }
        assert_eq!(kind, 0x81);
        let mut text = vec![0; within(self.0.read_u8()).await.unwrap().into()];
        within(self.0.read_exact(&mut text)).await.unwrap();
        Some(String::from_utf8(text).unwrap())
    }
}

/// Opens a stream that names a session.
async fn candidate(harness: &Harness, sid: &str) -> Peer {
    let mut peer = harness.stream().await;
    peer.send_frame(Frame::text(format!(r#"0{{"sid":"{sid}"}}"#)))
        .await;
    peer
}

#[tokio::test]
async fn a_session_on_a_websocket_is_not_taken_over() {
    let harness = start(echo()).await;
    let mut socket = WebSocket::open(&harness, "").await;
    let open = socket.text().await.unwrap();
    let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    let stranger = candidate(&harness, open["sid"].as_str().unwrap()).await;
    assert_eq!(stranger.closed().await.0, 1002);
    socket.send("4still").await;
    assert_eq!(socket.text().await.unwrap(), "4still");
}

#[tokio::test]
async fn both_transports_are_probed_at_once_and_the_first_to_complete_wins() {
    for winner in [Transport::WebSocket, Transport::WebTransport] {
        let mut harness = start(echo()).await;
        let open = harness.poll_open().await;
        let sid = open["sid"].as_str().unwrap();
        let mut socket = WebSocket::open(&harness, &format!("&sid={sid}")).await;
        let mut peer = candidate(&harness, sid).await;
        socket.send("2probe").await;
        assert_eq!(socket.text().await.unwrap(), "3probe");
        peer.send(b"\x062probe").await;
        assert_eq!(peer.text().await, "3probe");
        let on = harness.server.socket(&sid.parse().unwrap()).unwrap();
        match winner {
            Transport::WebSocket => {
                socket.send("5").await;
                socket.send("4hello").await;
                assert_eq!(socket.text().await.unwrap(), "4hello");
                assert_eq!(peer.closed().await.0, 0);
            }
            _ => {
                peer.send(b"\x015\x064hello").await;
                assert_eq!(peer.text().await, "4hello");
                assert_eq!(socket.text().await, None);
            }
        }
        assert_eq!(on.transport(), winner);
        on.close();
        assert_eq!(harness.end().await, (DisconnectReason::Server, winner));
    }
}
