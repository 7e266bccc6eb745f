//! The cases of the reference's tests of its server (engine.io 6.6.8, test/webtransport.mjs), each header in a write of its
//! own, as its client sends them. `docs/CONFORMANCE.md` has the list.

use engineio_tower::{
    ConnectRequest, DisconnectReason, Message, Rejection, Server, Socket, Transport,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::{Harness, Peer, echo, start, within};

/// The size of a large message, in bytes.
const LARGE: usize = 1_000_000;

/// A server that passes on what its clients say.
async fn listener() -> (Harness, mpsc::UnboundedReceiver<Message>) {
    let (tell, said) = mpsc::unbounded_channel();
    let builder = Server::builder().on_message(move |_: Socket, message: Message| {
        let _ = tell.send(message);
    });
    (start(builder).await, said)
}

/// Opens a session. Returns the socket of the server too.
async fn open(harness: &Harness) -> (Peer, Socket) {
    let (peer, sid) = harness.open().await;
    let socket = harness.server.socket(&sid.parse().unwrap()).unwrap();
    (peer, socket)
}

fn large() -> Vec<u8> {
    (0..LARGE).map(|n| (n * n / 7) as u8).collect()
}

#[tokio::test]
async fn connects_directly() {
    let harness = start(echo()).await;
    let mut peer = harness.stream().await;
    peer.send(b"\x01").await;
    peer.send(b"0").await;
    let open: Value = serde_json::from_str(&peer.text().await[1..]).unwrap();
    assert_eq!(open["upgrades"], json!([]));
    let socket = harness.server.sockets().remove(0);
    assert_eq!(socket.transport(), Transport::WebTransport);
}

#[tokio::test]
async fn upgrades() {
    let harness = start(echo()).await;
    let open = harness.poll_open().await;
    assert_eq!(open["upgrades"], json!(["websocket", "webtransport"]));
    let sid = open["sid"].as_str().unwrap();
    let mut peer = harness.stream().await;
    for packet in [&format!(r#"0{{"sid":"{sid}"}}"#), "2probe", "5"] {
        peer.send(&[packet.len() as u8]).await;
        peer.send(packet.as_bytes()).await;
    }
    assert_eq!(peer.read().await.unwrap(), (6, b"3probe".to_vec()));
    // The echo comes by the new transport, so the upgrade is complete.
    peer.send(b"\x064hello").await;
    assert_eq!(peer.text().await, "4hello");
    let socket = harness.server.socket(&sid.parse().unwrap()).unwrap();
    assert_eq!(socket.transport(), Transport::WebTransport);
}

#[tokio::test(start_paused = true)]
async fn closes_a_connection_that_opens_no_stream() {
    let harness = start(echo()).await;
    let session = harness.request(harness.url("/engine.io/")).await.unwrap();
    within(session.closed()).await;
}

#[tokio::test(start_paused = true)]
async fn closes_a_connection_whose_handshake_is_invalid() {
    let harness = start(echo()).await;
    let mut peer = harness.stream().await;
    peer.send(&[1, 2, 3]).await;
    peer.closed().await;
}

#[tokio::test]
async fn closes_a_connection_that_upgrades_an_unknown_session() {
    let harness = start(echo()).await;
    harness.poll_open().await;
    for sid in ["11111111111111111111", "__proto__"] {
        let mut peer = harness.stream().await;
        let packet = format!(r#"0{{"sid":"{sid}"}}"#);
        peer.send(&[packet.len() as u8]).await;
        peer.send(packet.as_bytes()).await;
        peer.closed().await;
    }
    assert_eq!(harness.server.len(), 1);
}

/// The reference closes every session if there is a middleware; ours is asked as for every other transport.
#[tokio::test]
async fn what_lets_clients_in_is_not_bypassed() {
    let admit = |_: Socket, request: ConnectRequest| match request.query("token").as_deref() {
        Some("good") => Ok(()),
        _ => Err(Rejection::unauthorized()),
    };
    let harness = start(echo().on_connect(admit)).await;
    for (query, admitted) in [("", false), ("?token=good", true)] {
        let url = harness.url(&format!("/engine.io/{query}"));
        let mut peer = Peer::new(harness.request(url).await.unwrap()).await;
        peer.send(b"\x010").await;
        match admitted {
            true => assert!(peer.text().await.starts_with("0{")),
            false => assert_eq!(peer.closed().await.0, 401),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_by_pongs() {
    let harness = start(echo()).await;
    let (mut peer, _) = open(&harness).await;
    for _ in 0..5 {
        assert_eq!(peer.read().await.unwrap(), (1, b"2".to_vec()));
        peer.send(b"\x01").await;
        peer.send(b"3").await;
    }
}

#[tokio::test(start_paused = true)]
async fn closes_on_a_ping_timeout() {
    let mut harness = start(echo()).await;
    let (peer, _) = open(&harness).await;
    peer.closed().await;
    assert_eq!(harness.end().await.0, DisconnectReason::PingTimeout);
}

#[tokio::test]
async fn is_closed_by_the_server() {
    let harness = start(echo()).await;
    let (peer, socket) = open(&harness).await;
    socket.close();
    assert_eq!(peer.closed().await.0, 0);
}

#[tokio::test]
async fn is_closed_by_the_client() {
    let mut harness = start(echo()).await;
    let (peer, _) = open(&harness).await;
    peer.session.close(0, b"");
    assert_eq!(harness.end().await.0, DisconnectReason::TransportClose);
}

#[tokio::test]
async fn text_and_binary_data_come_from_the_client() {
    let (harness, mut said) = listener().await;
    let (mut peer, _) = open(&harness).await;
    peer.send(&[6]).await;
    peer.send(b"4hello").await;
    let hello = within(said.recv()).await.unwrap();
    assert_eq!(hello, Message::text("hello"));
    peer.send(&[131]).await;
    peer.send(&[1, 2, 3]).await;
    let bytes = within(said.recv()).await.unwrap();
    assert_eq!(bytes, Message::from([1, 2, 3]));
    peer.send(&[255, 0, 0, 0, 0, 0, 15, 66, 64]).await;
    peer.send(&large()).await;
    let bytes = within(said.recv()).await.unwrap();
    assert!(bytes == Message::from(large()));
}

#[tokio::test]
async fn text_and_binary_data_go_to_the_client() {
    let harness = start(echo()).await;
    let (mut peer, socket) = open(&harness).await;
    socket.try_send("hello").unwrap();
    assert_eq!(peer.read().await.unwrap(), (6, b"4hello".to_vec()));
    socket.try_send([1, 2, 3]).unwrap();
    assert_eq!(peer.read().await.unwrap(), (131, vec![1, 2, 3]));
    socket.try_send(large()).unwrap();
    assert!(peer.read().await.unwrap() == (255, large()));
}

/// The reference calls back when a message is written; ours returns from `send`.
#[tokio::test]
async fn sends_return() {
    let harness = start(echo()).await;
    let (mut peer, socket) = open(&harness).await;
    for _ in 0..4 {
        within(socket.send("hello")).await.unwrap();
    }
    for _ in 0..4 {
        assert_eq!(peer.text().await, "4hello");
    }
}
