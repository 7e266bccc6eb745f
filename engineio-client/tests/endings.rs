//! Ends that the protocol does not know: of runtimes, of tasks, and of a server's patience.

mod support;

use engineio_client::{Client, DisconnectReason, Message, SendError, Transport};
use futures_util::SinkExt;
use support::{OPEN_POLLING, Reply, Server, in_time, ok, websocket};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message as WsMessage;

/// A server that opens a session and writes these bytes for as long as they are taken, reading nothing.
async fn flooding(open: &'static str, bytes: Vec<u8>) -> Server {
    Server::start(move |_, _| {
        let bytes = bytes.clone();
        websocket(move |mut socket| async move {
            socket.send(WsMessage::text(open)).await.unwrap();
            while socket.get_mut().write_all(&bytes).await.is_ok() {}
        })
    })
    .await
}

/// A frame of text, as a server writes it.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 127];
    frame.extend((text.len() as u64).to_be_bytes());
    frame.extend(text.as_bytes());
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_stop_sending_cannot_hold_a_client_that_closes() {
    for text in ["6", &"6".repeat(100_000)] {
        let bytes = frame(text).repeat(1_000_000 / text.len().max(10));
        let server = flooding(OPEN_POLLING, bytes).await;
        let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
        let client = in_time(builder.connect()).await.unwrap();
        in_time(client.close()).await;
        assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Client));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_stop_sending_owes_its_heartbeat() {
    let open = r#"0{"sid":"abc","upgrades":[],"pingInterval":300,"pingTimeout":200}"#;
    for text in ["6", &"6".repeat(100_000)] {
        let bytes = frame(text).repeat(1_000_000 / text.len().max(10));
        let server = flooding(open, bytes).await;
        let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
        let client = in_time(builder.connect()).await.unwrap();
        in_time(client.wait()).await;
        assert_eq!(
            client.disconnect_reason(),
            Some(DisconnectReason::PingTimeout)
        );
    }
}

#[test]
fn a_client_whose_runtime_is_gone_is_over() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (first, servers) = (runtime(), runtime());
    let server = servers.block_on(Server::start(|_, request| match request.is_handshake() {
        true => ok(&format!("{OPEN_POLLING}\u{1e}4a")),
        false => Reply::Never,
    }));
    let mut client = first.block_on(Client::connect(&server.url())).unwrap();
    let handle = client.handle();
    drop(first);
    servers.block_on(async {
        assert_eq!(in_time(client.next()).await, Some(Message::from("a")));
        assert_eq!(in_time(client.next()).await, None);
        let unsent = in_time(handle.send("late")).await;
        assert_eq!(unsent, Err(SendError::Closed(Message::from("late"))));
        in_time(client.close()).await;
        in_time(handle.close()).await;
        in_time(handle.wait()).await;
        let reason = client.disconnect_reason();
        assert_eq!(reason, Some(DisconnectReason::TransportError));
        let error = client.disconnect_error().unwrap();
        assert!(error.to_string().contains("runtime"), "{error}");
    });
}
