//! The way to the server: the connector of the application, given addresses, the address of this machine.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::memory::Memory;
use crate::support::{
    OPEN, OPEN_POLLING, Reply, Request, Server, accept_probe, echo, in_time, ok, websocket,
};
use engineio_client::{Client, DisconnectReason, ErrorKind, Message, Transport};
use futures_util::SinkExt;
use http::Uri;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message as WsMessage;

fn upgrading(request: &Request) -> Reply {
    match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN),
        _ if request.is_websocket() => websocket(|mut socket| async move {
            accept_probe(&mut socket).await;
            echo(socket).await;
        }),
        "POST" => ok("ok"),
        _ => ok("6"),
    }
}

#[tokio::test]
async fn both_transports_use_the_connector_which_is_told_no_secrets() {
    let server = Server::start(|_, request| upgrading(request)).await;
    let port = server.port;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&asked);
    // Holds a `Cell`, so it is not `Sync`.
    let calls = std::cell::Cell::new(0);
    let connector = tower::service_fn(move |uri: Uri| {
        calls.set(calls.get() + 1);
        told.lock().unwrap().push(uri.to_string());
        TcpStream::connect(("127.0.0.1", port))
    });
    let builder = Client::builder("http://user:secret@engine.example:81/path/?token=secret");
    let mut client = in_time(builder.connector(connector).connect())
        .await
        .unwrap();
    assert_eq!(in_time(client.settled()).await, Transport::WebSocket);
    client.send("a").await.unwrap();
    assert_eq!(in_time(client.next()).await, Some(Message::from("a")));
    in_time(client.close()).await;
    let asked = asked.lock().unwrap();
    assert!(asked.len() >= 2, "{asked:?}");
    for uri in &*asked {
        assert_eq!(uri, "http://engine.example:81/");
    }
    for request in server.seen() {
        assert_eq!(request.header("host"), Some("engine.example:81"));
    }
}

#[tokio::test]
async fn the_error_of_a_connector_is_the_source_of_the_clients() {
    for transport in [Transport::Polling, Transport::WebSocket] {
        let connector = tower::service_fn(|_| async { Err::<TcpStream, _>("no such socket") });
        let builder = Client::builder("http://h").transports([transport]);
        let error = in_time(builder.connector(connector).connect())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        let mut source: &dyn std::error::Error = &error;
        while let Some(next) = source.source() {
            source = next;
        }
        assert_eq!(source.to_string(), "no such socket");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_does_not_answer_is_given_up() {
    for transport in [Transport::Polling, Transport::WebSocket] {
        let connector =
            tower::service_fn(|_| std::future::pending::<Result<TcpStream, std::io::Error>>());
        let builder = Client::builder("http://h").transports([transport]);
        let start = Instant::now();
        let error = builder.connector(connector).connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(start.elapsed().as_secs(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_did_tls_itself_is_used_as_it_is() {
    let memory = Memory::new(|number, _| (number == 0).then_some(OPEN_POLLING));
    let builder = Client::builder("https://in.memory").connector_with_tls(memory);
    let client = builder.connect().await.unwrap();
    client.abort();
}

#[tokio::test]
async fn options_that_a_connector_makes_useless_are_refused() {
    let memory = || Memory::new(|_, _| None);
    let builder = || Client::builder("http://h");
    let address = IpAddr::from(Ipv4Addr::LOCALHOST);
    for (option, builder) in [
        (
            "resolve",
            builder()
                .connector(memory())
                .resolve("h", (address, 1).into()),
        ),
        (
            "local_address",
            builder().connector(memory()).local_address(address),
        ),
        (
            "proxy",
            builder().connector_with_tls(memory()).proxy("http://p"),
        ),
    ] {
        let error = builder.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error.to_string().contains(&format!("`{option}`")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_host_is_connected_to_at_the_given_address() {
    let server = Server::start(|_, request| upgrading(request)).await;
    let builder = Client::builder("http://Engine.Example:81")
        .resolve("engine.example", ([127, 0, 0, 1], server.port).into());
    let client = in_time(builder.connect()).await.unwrap();
    assert_eq!(in_time(client.settled()).await, Transport::WebSocket);
    for request in server.seen() {
        assert_eq!(request.header("host"), Some("engine.example:81"));
    }
}

#[tokio::test]
async fn connections_come_from_the_given_address() {
    let peers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&peers);
    let server = Server::start_on(
        |_, request| upgrading(request),
        move |tcp| {
            seen.lock().unwrap().push(tcp.peer_addr().unwrap().ip());
            Box::pin(async move { Some(Box::new(tcp) as Box<dyn crate::support::Io>) })
        },
    )
    .await;
    let local = IpAddr::from([127, 0, 0, 2]);
    let builder = Client::builder(&server.url()).local_address(local);
    let client = in_time(builder.connect()).await.unwrap();
    assert_eq!(in_time(client.settled()).await, Transport::WebSocket);
    let peers = peers.lock().unwrap().clone();
    assert!(
        peers.len() >= 2 && peers.iter().all(|peer| *peer == local),
        "{peers:?}"
    );

    let builder = Client::builder(&server.url()).local_address("::1".parse().unwrap());
    let error = in_time(builder.connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
}

#[tokio::test]
async fn a_refusal_tells_its_headers_and_when_to_come_back() {
    for (status, headers, retry, challenges) in [
        (503, "retry-after: 30\r\n", Some(30), vec![]),
        (
            429,
            "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            Some(0),
            vec![],
        ),
        (503, "retry-after: soon\r\n", None, vec![]),
        (503, "retry-after: -5\r\n", None, vec![]),
        // A time that is too long to be read is long all the same.
        (
            503,
            "retry-after: 99999999999999999999\r\n",
            Some(1 << 31),
            vec![],
        ),
        (
            503,
            "retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
            Some(1 << 31),
            vec![],
        ),
        (
            401,
            "www-authenticate: Basic realm=\"a\"\r\nwww-authenticate: Bearer\r\nx-more: 1\r\n",
            None,
            vec!["Basic realm=\"a\"", "Bearer"],
        ),
    ] {
        let server = Server::start(move |_, _| Reply::With(status, headers, Vec::new())).await;
        for transport in [Transport::Polling, Transport::WebSocket] {
            let builder = Client::builder(&server.url()).transports([transport]);
            let error = in_time(builder.connect()).await.unwrap_err();
            assert_eq!(error.status(), Some(status));
            assert_eq!(error.retry_after().map(|after| after.as_secs()), retry);
            assert_eq!(error.challenges().collect::<Vec<_>>(), challenges);
            assert_eq!(error.headers().contains_key("x-more"), status == 401);
        }
    }
}

#[tokio::test]
async fn an_empty_answer_to_a_poll_is_a_poll_without_packets() {
    let server = Server::start(|number, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN_POLLING),
        _ if number == 1 => ok(""),
        _ => ok("4a\u{1e}1"),
    })
    .await;
    let mut client = in_time(Client::connect(&server.url())).await.unwrap();
    assert_eq!(in_time(client.next()).await, Some(Message::from("a")));
    assert_eq!(in_time(client.next()).await, None);
}

/// Reads the head of a request; `None` at the end of the connection.
async fn head(io: &mut BufReader<DuplexStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        io.read_line(&mut head)
            .await
            .ok()
            .filter(|&read| read > 0)?;
    }
    Some(head)
}

/// What a server does after it has answered a POST by its head.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    ReadsSlowly,
    Nothing,
    Closes,
}

/// Returns a client of a server that answers each POST before it has read the body, and the requests that it has read whole.
async fn answered_early(
    then: Then,
    head_of_answer: &'static str,
) -> (Client, Arc<Mutex<Vec<String>>>) {
    let bodies = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&bodies);
    let connector = tower::service_fn(move |_: Uri| {
        let seen = Arc::clone(&seen);
        let (near, far) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let mut io = BufReader::new(far);
            while let Some(head) = head(&mut io).await {
                let line = head.lines().next().unwrap();
                let is_post = line.starts_with("POST");
                let body = match line {
                    _ if is_post => "ok",
                    line if line.contains("sid=") => std::future::pending().await,
                    _ => OPEN_POLLING,
                };
                let more = if is_post { head_of_answer } else { "" };
                let len = body.len();
                let answer =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n{more}\r\n{body}");
                io.write_all(answer.as_bytes()).await.unwrap();
                match then {
                    _ if !is_post => continue,
                    Then::Nothing => std::future::pending().await,
                    Then::Closes => return,
                    Then::ReadsSlowly => {}
                }
                let len = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .unwrap();
                let mut body = vec![0; len.parse().unwrap()];
                for part in body.chunks_mut(1_000) {
                    // The client has its turns meanwhile.
                    for _ in 0..10 {
                        tokio::task::yield_now().await;
                    }
                    io.read_exact(part).await.unwrap();
                }
                seen.lock().unwrap().push(String::from_utf8(body).unwrap());
            }
        });
        async move { Ok::<_, Infallible>(near) }
    });
    let builder = Client::builder("http://h").transports([Transport::Polling]);
    let client = builder.connector(connector).connect().await.unwrap();
    (client, bodies)
}

#[tokio::test(start_paused = true)]
async fn a_post_that_is_answered_early_is_written_to_its_end_before_the_next_one() {
    let (mut client, bodies) = answered_early(Then::ReadsSlowly, "").await;
    let large = "x".repeat(8_000);
    client.send(large.clone()).await.unwrap();
    client.flush().await.unwrap();
    client.send("b").await.unwrap();
    client.send("c").await.unwrap();
    let flushed = client.flush().await;
    assert!(flushed.is_ok(), "{:?}", client.disconnect_error());
    let bodies = bodies.lock().unwrap().concat().replace('\u{1e}', "");
    assert_eq!(bodies, format!("4{large}4b4c")[..bodies.len()]);
    // The last of it may still be in the pipe.
    assert!(bodies.len() > large.len());
}

#[tokio::test(start_paused = true)]
async fn a_post_that_is_answered_and_not_taken_has_failed() {
    for (then, more, limit) in [
        (Then::Nothing, "", 20),
        (Then::Closes, "", 0),
        // The rest is not sent any more.
        (Then::Nothing, "connection: close\r\n", 20),
    ] {
        let (mut client, _) = answered_early(then, more).await;
        let start = Instant::now();
        client.send("x".repeat(8_000)).await.unwrap();
        let flushed = client.flush().await;
        assert!(flushed.is_err(), "{then:?}");
        assert!(
            start.elapsed() <= Duration::from_secs(limit + 1),
            "{then:?}"
        );
        assert_eq!(in_time(client.next()).await, None);
        assert_eq!(
            client.disconnect_reason(),
            Some(DisconnectReason::TransportError)
        );
    }
}

#[tokio::test]
async fn websocket_only_over_a_connector() {
    let server = Server::start(|_, _| {
        websocket(|mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            echo(socket).await;
        })
    })
    .await;
    let port = server.port;
    let connector = tower::service_fn(move |_| TcpStream::connect(("127.0.0.1", port)));
    let builder = Client::builder("ws://h").transports([Transport::WebSocket]);
    let mut client = in_time(builder.connector(connector).connect())
        .await
        .unwrap();
    client.send("a").await.unwrap();
    assert_eq!(in_time(client.next()).await, Some(Message::from("a")));
}
