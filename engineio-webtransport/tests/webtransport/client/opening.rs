//! The opening of a session: whom the client trusts, what it sends, and what it says when it is refused.

use std::error::Error as _;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engineio_client::blocking;
use engineio_client::{Client, CookieJar, ErrorKind, Message, Reconnect, Redirects, Revision};
use engineio_tower::Transport::{Polling, WebSocket, WebTransport};
use engineio_tower::{ConnectRequest, Rejection, Socket};
use http::{HeaderMap, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{client, client_at, connected, site, site_without_udp};
use crate::support::{echo, one_origin, within};

#[tokio::test]
async fn a_certificate_is_trusted_by_its_hash_or_like_those_of_other_transports() {
    let harness = site(echo).await;
    let builder = || client_at(harness.address, [WebTransport]);
    let identity = harness.identity.get();
    let pem = rcgen_pem(identity.certificate());
    for builder in [
        builder().server_certificate_hashes([[0; 32], identity.sha256()]),
        builder().root_certificate(pem.as_bytes()),
        builder().danger_accept_invalid_certificates(true),
    ] {
        let client = connected(builder).await;
        within(client.close()).await;
    }
    // The hash counts even if everything is accepted.
    let by_hash = builder().server_certificate_hashes([[7; 32]]);
    let refused = [
        (builder(), "`server_certificate_hashes`"),
        (by_hash, "none of the hashes"),
    ];
    for (builder, expected) in refused {
        let error = within(builder.connect()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.source().is_some());
    }
    assert!(harness.server.is_empty());
}

/// Returns a certificate as PEM.
fn rcgen_pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let harness = site(echo).await;
    let pem = rcgen_pem(harness.identity.get().certificate());
    let address = harness.address;
    let builder = Client::builder(&format!("http://other.example:{}", address.port()))
        .resolve("other.example", address)
        .root_certificate(pem.as_bytes())
        .transports([WebTransport]);
    let error = within(builder.connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.to_string().contains("for another host"), "{error}");
    let builder = Client::builder(&format!("http://localhost:{}", address.port()))
        .resolve("localhost", address)
        .local_address("127.0.0.1".parse().unwrap())
        .root_certificate(pem.as_bytes())
        .transports([WebTransport]);
    within(connected(builder).await.close()).await;
}

#[tokio::test]
async fn the_server_gets_headers_cookies_and_query() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let harness = site(move || {
        let told = Arc::clone(&told);
        echo().on_connect(move |_: Socket, request: ConnectRequest| {
            let header = |name| request.headers()[name].to_str().unwrap().to_owned();
            let headers = ["authorization", "cookie", "x-list", "user-agent"].map(header);
            let query = ["room", "EIO"].map(|name| request.query(name));
            told.lock()
                .unwrap()
                .push((headers, query, request.transport()));
            Ok::<_, Rejection>(())
        })
    })
    .await;
    let jar = CookieJar::new();
    jar.store("http://127.0.0.1/", "stored=1; Path=/");
    let mut list = HeaderMap::new();
    list.append("x-list", HeaderValue::from_static("1"));
    list.append("x-list", HeaderValue::from_static("2"));
    let builder = client(&harness, [WebTransport])
        .bearer_auth("token")
        .cookie_jar(jar)
        .cookie("own", "2")
        .headers(list)
        .query("room", "blue & green");
    within(connected(builder).await.close()).await;
    let (headers, query, transport) = seen.lock().unwrap().remove(0);
    assert_eq!(headers[..1], ["Bearer token"]);
    assert_eq!(headers[2], "1, 2");
    let cookies = &headers[1];
    assert!(
        cookies == "own=2; stored=1" || cookies == "stored=1; own=2",
        "{cookies}"
    );
    assert!(headers[3].starts_with("engineio-client/"));
    assert_eq!(query, [Some("blue & green".to_owned()), None]);
    assert_eq!(transport, WebTransport);
}

#[tokio::test]
async fn a_refusal_has_its_status() {
    let harness = site(|| {
        echo()
            .origins(one_origin())
            .on_connect(|_: Socket, _: ConnectRequest| {
                Err::<(), _>(Rejection::unauthorized().json("not you"))
            })
    })
    .await;
    let builder = || client(&harness, [WebTransport]);
    let path = builder().path("/elsewhere/").connect();
    let error = within(path).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Refused, Some(404))
    );
    let origin = builder().header("origin", "https://evil.example");
    let error = within(origin.connect()).await.unwrap_err();
    assert_eq!(error.status(), Some(403));
    let error = within(builder().connect()).await.unwrap_err();
    assert_eq!(error.status(), Some(401), "{error}");
    assert!(error.to_string().contains("not you"), "{error}");
    assert!(String::from_utf8_lossy(error.body()).contains("not you"));
}

#[tokio::test]
async fn what_cannot_be_used_is_said_before_anything_is_sent() {
    let builder = || Client::builder("http://127.0.0.1:9").transports([WebTransport]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let here = || Client::builder(&url).transports([WebTransport]);
    let connector = |_: http::Uri| async { TcpStream::connect("127.0.0.1:9").await };
    for (builder, expected) in [
        (builder().revision(Revision::V3), "revision 4"),
        (here().proxy("http://user:secret@127.0.0.1:9"), "proxy"),
        (here().proxy("socks5://127.0.0.1:9"), "proxy"),
        (
            here().connector(tower::service_fn(connector)),
            "`connector`",
        ),
        (here().header("x-name", "ü"), "`x-name`"),
    ] {
        let error = within(builder.connect()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains("secret"));
    }
    socket.recv_from(&mut [0]).unwrap_err();
}

#[tokio::test]
async fn an_upgrade_goes_to_the_server_that_the_handshake_was_redirected_to() {
    let harness = site(echo).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let from = listener.local_addr().unwrap();
    let to = harness.address;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4_000]).await.unwrap() > 0);
        let head = format!(
            "HTTP/1.1 307 Moved\r\nLocation: http://{to}/engine.io/\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let builder = client_at(from, [Polling, WebTransport])
        .server_certificate_hashes([harness.identity.get().sha256()])
        .redirects(Redirects::Any);
    let mut client = connected(builder).await;
    assert_eq!(within(client.settled()).await, WebTransport);
    client.send("a").await.unwrap();
    assert_eq!(within(client.next()).await, Some(Message::from("a")));
}

#[tokio::test]
async fn an_upgrade_does_not_go_past_a_connector() {
    let (harness, udp) = site_without_udp(echo()).await;
    udp.set_nonblocking(true).unwrap();
    let address = harness.address;
    let connector = move |_: http::Uri| async move { TcpStream::connect(address).await };
    let builder = client(&harness, [Polling, WebTransport, WebSocket]);
    let client_with = connected(builder.connector(tower::service_fn(connector))).await;
    assert_eq!(within(client_with.settled()).await, WebSocket);
    within(client_with.close()).await;
    udp.recv_from(&mut [0]).unwrap_err();
}

#[tokio::test]
async fn an_upgrade_does_not_go_past_a_proxy() {
    let (harness, udp) = site_without_udp(echo()).await;
    udp.set_nonblocking(true).unwrap();
    // The server takes the requests for a proxy, too, which name its host.
    let proxy = format!("http://{}", harness.address);
    let builder = client(&harness, [Polling, WebTransport]).proxy(&proxy);
    let mut client = connected(builder).await;
    assert_eq!(within(client.settled()).await, Polling);
    client.send("by the proxy").await.unwrap();
    assert_eq!(within(client.next()).await, Some("by the proxy".into()));
    within(client.close()).await;
    udp.recv_from(&mut [0]).unwrap_err();
}

#[tokio::test]
async fn a_client_comes_back_by_webtransport_if_it_remembers() {
    let say_how = |socket: Socket, request: ConnectRequest| {
        let sent = socket.try_send(request.transport().name());
        sent.map_err(Rejection::from)
    };
    let harness = site(|| echo().on_connect(say_how)).await;
    let policy = Reconnect::new()
        .initial_delay(Duration::from_millis(1))
        .remember_upgrade(true);
    let mut client = connected(client(&harness, [Polling, WebTransport]).reconnect(policy)).await;
    assert_eq!(within(client.next()).await, Some("polling".into()));
    assert_eq!(within(client.settled()).await, WebTransport);
    harness.server.sockets().remove(0).close();
    assert_eq!(within(client.next()).await, Some("webtransport".into()));
    assert!(!client.upgraded());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_client_uses_it_too() {
    let harness = site(echo).await;
    let url = format!("http://{}", harness.address);
    let hash = harness.identity.get().sha256();
    let talk = move || {
        let mut client = blocking::Client::builder(&url)
            .transports([Polling, WebTransport])
            .server_certificate_hashes([hash])
            .connect()
            .unwrap();
        assert_eq!(client.settled().unwrap(), WebTransport);
        client.send("hello").unwrap();
        assert_eq!(client.next(), Some(Message::from("hello")));
        client.close().unwrap();
    };
    within(tokio::task::spawn_blocking(talk)).await.unwrap();
}
