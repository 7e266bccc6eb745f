//! Proxies.

mod support;

use std::error::Error;
use std::io;

use engineio_client::{Client, ErrorKind, Transport};
use futures_util::SinkExt;
use support::{OPEN, OPEN_POLLING, Reply, Request, Server, echo, in_time, ok, websocket};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message as WsMessage;

fn polling(request: &Request) -> Reply {
    match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN),
        "POST" => ok("ok"),
        _ => Reply::Never,
    }
}

fn either(request: &Request) -> Reply {
    if request.is_websocket() {
        websocket(|mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            echo(socket).await;
        })
    } else {
        polling(request)
    }
}

#[test]
fn a_builder_that_is_printed_keeps_its_secrets() {
    let builder = Client::builder("http://user:hidden@h/?token=hidden")
        .header("x-api-key", "hidden")
        .bearer_auth("hidden")
        .cookie("a", "hidden")
        .query("token", "hidden")
        .proxy("http://user:hidden@p");
    #[cfg(feature = "rustls")]
    let builder = builder.client_identity(b"hidden");
    let printed = format!("{builder:?}");
    for secret in ["hidden", &format!("{:?}", b"hidden")] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_websocket_leaves_the_session_on_polling() {
    // It is the proxy and the server at once: plain requests come in absolute form, WebSockets as CONNECT.
    let proxy = Server::start(|_, request| match request.method.as_str() {
        "CONNECT" => Reply::Body(403, Vec::new()),
        _ => polling(request),
    })
    .await;
    let builder = Client::builder("http://engine.example:8080")
        .proxy(&format!("http://user:pw@127.0.0.1:{}", proxy.port));
    let client = in_time(builder.connect()).await.unwrap();
    assert_eq!(in_time(client.settled()).await, Transport::Polling);
    client.send("a").await.unwrap();
    in_time(client.close()).await;
    assert_eq!(proxy.posts(), ["4a\u{1e}1"]);
    for request in proxy.seen() {
        assert_eq!(
            request.header("proxy-authorization"),
            Some("Basic dXNlcjpwdw==")
        );
        match request.method.as_str() {
            "CONNECT" => assert_eq!(request.target, "engine.example:8080"),
            _ => assert!(
                request
                    .target
                    .starts_with("http://engine.example:8080/engine.io/?")
            ),
        }
    }
    assert!(
        proxy
            .seen()
            .iter()
            .any(|request| request.method == "CONNECT")
    );
}

#[tokio::test]
async fn a_proxy_that_asks_for_credentials() {
    let challenge = "proxy-authenticate: Basic realm=\"p\"\r\n";
    let proxy = Server::start(move |_, _| Reply::With(407, challenge, b"no".to_vec())).await;
    let builder = || {
        let url = format!("http://127.0.0.1:{}", proxy.port);
        Client::builder("http://engine.example").proxy(&url)
    };
    // In absolute form, and as a tunnel.
    for transport in [Transport::Polling, Transport::WebSocket] {
        let builder = builder().transports([transport]);
        let error = in_time(builder.connect()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert_eq!(error.status(), Some(407));
        assert_eq!(error.body(), b"no");
        let challenges: Vec<&str> = error.challenges().collect();
        assert_eq!(challenges, ["Basic realm=\"p\""]);
        assert!(
            error.to_string().contains("put them into the proxy's URL"),
            "{error}"
        );
    }
}

/// A proxy that answers `CONNECT` with this, and connects to this port.
async fn tunnel(answer: &'static str, to: u16) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut io = BufReader::new(io);
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    io.read_line(&mut line).await.unwrap();
                }
                io.write_all(answer.as_bytes()).await.unwrap();
                let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let _ = copy_bidirectional(&mut io, &mut server).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn every_success_of_connect_opens_a_tunnel() {
    let server = Server::start(|_, request| either(request)).await;
    for answer in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 200 Connection established\r\n\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        // Neither header has a meaning there (RFC 9110 § 9.3.6).
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 201 Created\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.0 204 No Content\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 299 Whatever\r\n\r\n",
    ] {
        let port = tunnel(answer, server.port).await;
        let builder = Client::builder("http://engine.example")
            .proxy(&format!("http://127.0.0.1:{port}"))
            .transports([Transport::WebSocket]);
        let client = in_time(builder.connect()).await;
        in_time(
            client
                .unwrap_or_else(|error| panic!("{answer}: {error}"))
                .close(),
        )
        .await;
    }
    for early in ["200 OK", "204 No Content"] {
        let answer = format!("HTTP/1.1 {early}\r\n\r\nearly");
        let port = tunnel(answer.leak(), server.port).await;
        let builder = Client::builder("http://engine.example")
            .proxy(&format!("http://127.0.0.1:{port}"))
            .transports([Transport::WebSocket]);
        let error = in_time(builder.connect()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{early}: {error}");
    }
}

#[tokio::test]
async fn a_proxy_is_told_the_port_of_the_scheme() {
    let proxy = Server::start(|_, _| Reply::Body(403, Vec::new())).await;
    for (url, authority) in [
        ("http://engine.example", "engine.example:80"),
        ("https://engine.example", "engine.example:443"),
        ("http://[::1]", "[::1]:80"),
        ("https://[::1]:8443", "[::1]:8443"),
    ] {
        let builder = Client::builder(url)
            .proxy(&format!("http://127.0.0.1:{}", proxy.port))
            .transports([Transport::WebSocket]);
        in_time(builder.connect()).await.unwrap_err();
        assert_eq!(proxy.seen().last().unwrap().target, authority);
    }
}

/// A SOCKS 5 proxy that chooses this method and connects to this port, whatever name the client asks for.
async fn socks(to: u16, method: u8) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut greeting = [0; 2];
                io.read_exact(&mut greeting).await.unwrap();
                let mut methods = vec![0; greeting[1].into()];
                io.read_exact(&mut methods).await.unwrap();
                if !methods.contains(&method) {
                    io.write_all(&[5, 0xff]).await.unwrap();
                    return;
                }
                io.write_all(&[5, method]).await.unwrap();
                if method == 2 {
                    let mut login = [0; 9];
                    io.read_exact(&mut login).await.unwrap();
                    assert_eq!(&login, b"\x01\x04user\x02pw");
                    io.write_all(&[1, 0]).await.unwrap();
                }
                let mut request = [0; 5];
                io.read_exact(&mut request).await.unwrap();
                assert_eq!(
                    request[..4],
                    [5, 1, 0, 3],
                    "a name, to be looked up by the proxy"
                );
                let mut name = vec![0; usize::from(request[4]) + 2];
                io.read_exact(&mut name).await.unwrap();
                assert_eq!(
                    &name, b"engine.example\x00\x50",
                    "with the port of the scheme"
                );
                io.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
                let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let _ = copy_bidirectional(&mut io, &mut server).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn both_transports_go_through_a_socks_proxy() {
    let server = Server::start(|_, request| either(request)).await;
    // A proxy that needs no password does not get it; the request would be read as one.
    for (user, method) in [("user:pw@", 2), ("user:pw@", 0), ("", 0)] {
        let port = socks(server.port, method).await;
        for transport in [Transport::Polling, Transport::WebSocket] {
            let builder = Client::builder("http://engine.example")
                .proxy(&format!("socks5h://{user}127.0.0.1:{port}"))
                .transports([transport]);
            let client = in_time(builder.connect()).await.unwrap();
            client.send("a").await.unwrap();
            in_time(client.close()).await;
        }
    }
    assert_eq!(server.posts(), ["4a\u{1e}1"; 3]);
    // The credentials are the proxy's.
    for request in server.seen() {
        assert_eq!(request.header("proxy-authorization"), None);
    }
}

#[tokio::test]
async fn socks_of_version_4_is_told_name_and_port_too() {
    let server = Server::start(|_, request| either(request)).await;
    let to = server.port;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let proxy = tokio::spawn(async move {
        let (mut io, _) = listener.accept().await.unwrap();
        let mut request = [0; 24];
        io.read_exact(&mut request).await.unwrap();
        assert_eq!(
            &request,
            b"\x04\x01\x00\x50\x00\x00\x00\xff\x00engine.example\x00"
        );
        io.write_all(&[0, 90, 0, 0, 0, 0, 0, 0]).await.unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
        let _ = copy_bidirectional(&mut io, &mut server).await;
    });
    let builder = Client::builder("http://engine.example")
        .proxy(&format!("socks4://127.0.0.1:{port}"))
        .transports([Transport::WebSocket]);
    let client = in_time(builder.connect()).await.unwrap();
    in_time(client.close()).await;
    in_time(proxy).await.unwrap();

    let builder = Client::builder("http://engine.example").proxy("socks4://user:secret@127.0.0.1");
    let error = in_time(builder.connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named_with_the_reason() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let place = listener.local_addr().unwrap();
    drop(listener);
    for scheme in ["http", "socks4", "socks5", "socks5h"] {
        for transport in [Transport::Polling, Transport::WebSocket] {
            let builder = Client::builder("http://127.0.0.1:1")
                .proxy(&format!("{scheme}://{place}"))
                .transports([transport]);
            let error = in_time(builder.connect()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
            let cause = error.source().unwrap();
            let expected = format!("the proxy {place} cannot be reached");
            assert_eq!(cause.to_string(), expected);
            let cause = cause.source().unwrap().downcast_ref::<io::Error>();
            let kind = cause.map(io::Error::kind);
            assert_eq!(kind, Some(io::ErrorKind::ConnectionRefused), "{scheme}");
        }
    }
}

#[tokio::test]
async fn a_proxy_may_be_told_an_address_that_was_looked_up_here() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let proxy = tokio::spawn(async move {
        let (mut io, _) = listener.accept().await.unwrap();
        let mut greeting = [0; 3];
        io.read_exact(&mut greeting).await.unwrap();
        io.write_all(&[5, 0]).await.unwrap();
        let mut request = [0; 4];
        io.read_exact(&mut request).await.unwrap();
        let mut address = vec![0; if request[3] == 1 { 4 } else { 16 }];
        io.read_exact(&mut address).await.unwrap();
        let port = io.read_u16().await.unwrap();
        (request[3], *address.last().unwrap(), port)
    });
    let builder = Client::builder("http://localhost").proxy(&format!("socks5://127.0.0.1:{port}"));
    let error = in_time(builder.connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    let (kind, last, port) = in_time(proxy).await.unwrap();
    assert!(kind == 1 || kind == 4, "an address and no name");
    assert_eq!((last, port), (1, 80));
}

#[tokio::test]
async fn the_environment_names_the_proxy_and_its_exceptions() {
    const CHILD: &str = "ENGINEIO_TEST_TARGET";
    if let Ok(url) = std::env::var(CHILD) {
        let builder = Client::builder(&url).transports([Transport::Polling]);
        let client = in_time(builder.proxy_from_environment().connect()).await;
        in_time(client.unwrap().close()).await;
        return;
    }
    // A proxy and a server at once.
    let server = Server::start(|_, request| polling(request)).await;
    for (url, exceptions) in [
        ("http://engine.example:8080", "other.example"),
        (&*server.url(), "127.0.0.0/8"),
    ] {
        let test = "the_environment_names_the_proxy_and_its_exceptions";
        let child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact"])
            .env(CHILD, url)
            .env(
                "http_proxy",
                format!("http://user:pw@127.0.0.1:{}", server.port),
            )
            .env("no_proxy", exceptions)
            .status();
        assert!(in_time(child).await.unwrap().success());
        for request in server.requests.lock().unwrap().drain(..) {
            let is_forwarded = request.target.starts_with("http://engine.example:8080/");
            assert_eq!(is_forwarded, url.contains("engine.example"), "{request:?}");
            assert_eq!(
                request.header("proxy-authorization").is_some(),
                is_forwarded
            );
        }
    }
}
