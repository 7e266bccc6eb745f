//! The ends of sessions that the client did not close, and refusals.

use engineio_client::{Client, DisconnectReason, ErrorKind, Message, Transport};

use crate::peers::{LONG, MODES, in_time, peers};
use crate::proxy::Proxy;

/// Connects and waits until the move to WebSocket is over, so that the test knows by what the server is reached.
async fn connect(url: &str, mode: &[Transport]) -> Client {
    let builder = Client::builder(url)
        .transports(mode.iter().copied())
        .upgrade_timeout(LONG);
    let client = in_time(builder.connect()).await.unwrap();
    assert_eq!(in_time(client.settled()).await, mode[mode.len() - 1]);
    client
}

/// Waits for the end: the reason, and the kind of the error if there is one.
async fn end(client: &mut Client) -> (Option<DisconnectReason>, Option<ErrorKind>) {
    assert_eq!(in_time(client.next()).await, None);
    let kind = client.disconnect_error().map(|error| error.kind());
    (client.disconnect_reason(), kind)
}

#[tokio::test]
async fn a_refusal_has_a_status_a_code_and_a_body() {
    for peer in peers() {
        let url = format!("{}/?reject=1", peer.url);
        for mode in MODES {
            let builder = Client::builder(&url).transports(mode.iter().copied());
            let error = in_time(builder.connect()).await.unwrap_err();
            let is_websocket = mode[0] == Transport::WebSocket;
            if is_websocket && peer.accepts_first() {
                assert_eq!(error.kind(), ErrorKind::Transport, "{}: {error}", peer.name);
                continue;
            }
            assert_eq!(error.kind(), ErrorKind::Refused, "{}: {error}", peer.name);
            let (status, code, body) = match (peer.family(), is_websocket) {
                ("npm", false) => (403, Some(4), r#"{"code":4,"message":"rejected"}"#),
                ("npm", true) => (400, None, "rejected"),
                ("python", true) if peer.is_asgi() => (403, None, ""),
                _ => (401, None, r#""rejected""#),
            };
            assert_eq!(error.status(), Some(status), "{}: {error}", peer.name);
            assert_eq!(error.code(), code, "{}: {error}", peer.name);
            assert_eq!(error.body(), body.as_bytes(), "{}: {error}", peer.name);
        }
    }
}

#[tokio::test]
async fn a_close_by_the_server_comes_behind_its_messages() {
    for peer in peers() {
        for mode in MODES {
            if !peer.closes_in_order(mode) {
                continue;
            }
            let mut client = connect(&peer.url, mode).await;
            client.send("last words").await.unwrap();
            client.send("close-me").await.unwrap();
            let echo = in_time(client.next()).await;
            assert_eq!(echo, Some(Message::from("last words")), "{}", peer.name);
            let (reason, error) = end(&mut client).await;
            // Over WebSocket a server may send the close packet, or no more than a close frame.
            let is_frame = reason == Some(DisconnectReason::TransportClose)
                && mode.contains(&Transport::WebSocket);
            assert!(
                reason == Some(DisconnectReason::Server) || is_frame,
                "{} over {mode:?}: {reason:?}",
                peer.name
            );
            assert_eq!(error, None, "{} over {mode:?}", peer.name);
        }
    }
}

#[tokio::test]
async fn a_server_that_stands_still_is_a_ping_timeout() {
    for peer in peers() {
        // Long enough for three clients to connect beside other work.
        let heartbeat = ["--ping-interval-ms", "500", "--ping-timeout-ms", "1500"];
        let server = peer.start(&heartbeat).await;
        let mut clients = Vec::new();
        for mode in MODES {
            clients.push((mode, connect(&server.url, mode).await));
        }
        // It keeps its connections, so that nothing but the silence tells.
        server.signal("STOP").await;
        for (mode, client) in &mut clients {
            let wanted = (DisconnectReason::PingTimeout, ErrorKind::PingTimeout);
            let wanted = (Some(wanted.0), Some(wanted.1));
            assert_eq!(end(client).await, wanted, "{} over {mode:?}", peer.name);
        }
        // Awake again, it serves the next one.
        server.signal("CONT").await;
        let mut client = connect(&server.url, MODES[2]).await;
        client.send("back").await.unwrap();
        assert_eq!(in_time(client.next()).await, Some(Message::from("back")));
        server.kill().await;
    }
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again() {
    for peer in peers() {
        let server = peer.start(&[]).await;
        let mut clients = Vec::new();
        for mode in MODES {
            let mut client = connect(&server.url, mode).await;
            // With the echo the server has read everything; what it left unread would make the end a reset.
            client.send("read").await.unwrap();
            assert_eq!(in_time(client.next()).await, Some(Message::from("read")));
            clients.push((mode, client));
        }
        let address = server.address().to_owned();
        server.kill().await;
        for (mode, client) in &mut clients {
            let (reason, kind) = end(client).await;
            // The WebSocket breaks without a word from the server. So does the poll, which is sent once more on a new
            // connection: it finds none, or one that the dying process has not closed yet.
            let (expected, kinds) = if mode.contains(&Transport::WebSocket) {
                (
                    DisconnectReason::TransportClose,
                    &[ErrorKind::Transport][..],
                )
            } else {
                let kinds = &[ErrorKind::Connect, ErrorKind::Transport][..];
                (DisconnectReason::TransportError, kinds)
            };
            assert_eq!(reason, Some(expected), "{} over {mode:?}", peer.name);
            assert!(
                kind.is_some_and(|kind| kinds.contains(&kind)),
                "{} over {mode:?}: {kind:?}",
                peer.name
            );
        }
        let server = peer.start(&["--listen", &address]).await;
        let mut client = connect(&server.url, MODES[2]).await;
        client.send("again").await.unwrap();
        assert_eq!(in_time(client.next()).await, Some(Message::from("again")));
        server.kill().await;
    }
}

#[tokio::test]
async fn another_server_does_not_know_the_session() {
    for peer in peers() {
        // As a load balancer without sticky sessions, and as a restart between two requests.
        let balancer = Proxy::start(&peer.url).await;
        let mut client = connect(&balancer.url, MODES[0]).await;
        let other = peer.start(&[]).await;
        balancer.turn_to(&other.url);
        // The next poll may have found out before.
        let _ = client.send("where am I?").await;
        let wanted = (Some(DisconnectReason::Refused), Some(ErrorKind::Refused));
        assert_eq!(end(&mut client).await, wanted, "{}", peer.name);
        let error = client.disconnect_error().unwrap();
        assert_eq!(error.status(), Some(400), "{}: {error}", peer.name);
        // This server says it in words instead, the id among them.
        let code = (peer.family() != "python").then_some(1);
        assert_eq!(error.code(), code, "{}: {error}", peer.name);
        other.kill().await;
    }
}
