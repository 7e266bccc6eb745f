//! Servers that are broken, odd or malicious: whatever they do, the client ends in time, in words, and in bounds.

use std::io::Write;
use std::time::Duration;

use crate::support::{OPEN, OPEN_POLLING, Reply, Server, accept_probe, in_time, ok, websocket};
use engineio_client::{Client, DisconnectReason, Error, ErrorKind, Redirects, Transport};
use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message as WsMessage;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The error with which a client meets a server that answers the handshake like this.
async fn refused_by<F>(reply: F) -> Error
where
    F: Fn() -> Reply + Send + Sync + 'static,
{
    let server = Server::start(move |_, _| reply()).await;
    let connecting = Client::builder(&server.url())
        .max_response(1 << 20)
        .connect();
    in_time(connecting)
        .await
        .expect_err("such a server was believed")
}

/// A client on polling whose second GET is answered like this.
async fn polled<F>(reply: F) -> (Client, Server)
where
    F: Fn() -> Reply + Send + Sync + 'static,
{
    let server = Server::start(move |_, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN_POLLING),
        "GET" => reply(),
        _ => ok("ok"),
    })
    .await;
    let connecting = Client::builder(&server.url())
        .max_response(1 << 20)
        .connect();
    (in_time(connecting).await.unwrap(), server)
}

/// A client on a WebSocket that the server runs like this after the open packet.
async fn on_websocket<F, Fut>(run: F) -> (Client, Server)
where
    F: Fn(crate::support::Socket) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let server = Server::start(move |_, _| {
        let run = run.clone();
        websocket(move |mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            run(socket).await;
        })
    })
    .await;
    let connecting = Client::builder(&server.url())
        .transports([Transport::WebSocket])
        .max_response(1 << 20)
        .connect();
    (in_time(connecting).await.unwrap(), server)
}

#[tokio::test]
async fn bytes_that_are_no_http() {
    for bytes in [
        &b"\x00\xff\x1e\x04garbage"[..],
        b"",
        b"HTTP/1.1 ",
        b"SSH-2.0-OpenSSH\r\n",
    ] {
        let error = refused_by(|| Reply::Raw(bytes.to_vec())).await;
        assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
    }
}

#[tokio::test]
async fn random_bodies() {
    let mut seed = 7_u64;
    for _ in 0..200 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let len = (seed >> 33) as usize % 300;
        let mut state = seed;
        let body: Vec<u8> = (0..len)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let error = refused_by(move || Reply::Body(200, body.clone())).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
}

#[tokio::test]
async fn an_open_packet_of_wrong_types() {
    for json in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"sid":7,"pingInterval":1,"pingTimeout":1}"#,
        r#"{"sid":"a","upgrades":{},"pingInterval":1,"pingTimeout":1}"#,
        r#"{"sid":"a","pingInterval":"soon","pingTimeout":1}"#,
        r#"{"sid":"a","pingInterval":-5,"pingTimeout":1}"#,
        &format!(
            r#"{{"sid":"{}","pingInterval":1,"pingTimeout":1}}"#,
            "x".repeat(5000)
        ),
        &"[".repeat(100_000),
    ] {
        let body = format!("0{json}");
        let error = refused_by(move || ok(&body)).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert!(error.to_string().len() < 600, "{error}");
    }
}

#[tokio::test]
async fn a_web_page_instead_of_an_open_packet() {
    let error = refused_by(|| ok("<!DOCTYPE html>\n<h1>Welcome</h1>")).await;
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let text = error.to_string();
    assert!(text.contains(r#"<!DOCTYPE html>\n<h1>Welcome"#), "{text}");
    assert!(text.contains("check that the URL and the path"), "{text}");
}

#[tokio::test]
async fn a_gigabyte_that_is_announced() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n0{";
    let error = refused_by(|| Reply::Endless(head.to_vec(), Vec::new())).await;
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
}

#[tokio::test]
async fn a_body_without_end() {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend([b'6'; 0x10000]);
    chunk.extend(b"\r\n");
    let error = refused_by(move || Reply::Endless(head.to_vec(), chunk.clone())).await;
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
}

#[tokio::test]
async fn headers_without_end() {
    let head = b"HTTP/1.1 200 OK\r\n";
    let error =
        refused_by(|| Reply::Endless(head.to_vec(), b"x-more: and more\r\n".to_vec())).await;
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_called_so() {
    let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101));
    let error = refused_by(move || Reply::Raw(head.clone().into_bytes())).await;
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert!(error.to_string().contains("100 header fields"), "{error}");
}

#[tokio::test]
async fn interim_answers_without_end() {
    let interim = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(2_000);
    let server = Server::start(move |_, _| Reply::Endless(interim.clone(), interim.clone())).await;
    for transport in [Transport::Polling, Transport::WebSocket] {
        let builder = Client::builder(&server.url()).transports([transport]);
        let error = in_time(builder.connect()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
        let mut cause = std::error::Error::source(&error).unwrap();
        while let Some(next) = cause.source() {
            cause = next;
        }
        let expected = "more than 2097152 bytes came before an answer";
        assert_eq!(cause.to_string(), expected, "{transport}");
    }
}

#[tokio::test]
async fn a_refusal_without_end() {
    let head = b"HTTP/1.1 500 Oops\r\n\r\n".to_vec();
    let error = refused_by(move || Reply::Endless(head.clone(), vec![b'x'; 10_000])).await;
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Refused, Some(500))
    );
    assert_eq!(error.body().len(), 64 * 1024);
    assert!(error.to_string().len() < 400, "{error}");
}

#[tokio::test]
async fn thousands_of_packets_in_one_payload() {
    let many = |count: usize, packet: &str| vec![packet; count].join("\u{1e}");
    let payload = many(100_000, "6");
    let (mut client, _server) = polled(move || ok(&payload)).await;
    drop(client.next());
    assert!(client.is_open());
    // It would go on polling, beside the others.
    drop(client);

    let payload = many(100_001, "6");
    let (mut client, _server) = polled(move || ok(&payload)).await;
    assert_eq!(in_time(client.next()).await, None);
    assert_eq!(
        client.disconnect_reason(),
        Some(DisconnectReason::PayloadTooLarge)
    );
    assert_eq!(
        client.disconnect_error().unwrap().kind(),
        ErrorKind::TooLarge
    );

    let payload: Vec<String> = (0..20_000).map(|n| format!("4{n}")).collect();
    let payload = payload.join("\u{1e}") + "\u{1e}1";
    let (mut client, _server) = polled(move || ok(&payload)).await;
    for n in 0..20_000 {
        let message = in_time(client.next()).await.unwrap();
        assert_eq!(message.as_text(), Some(&*n.to_string()));
    }
    assert_eq!(in_time(client.next()).await, None);
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Server));
}

#[tokio::test]
async fn a_stream_that_nobody_reads_does_not_grow() {
    let payload = format!("4{}", "x".repeat(600_000));
    let (client, server) = polled(move || ok(&payload)).await;
    // After the second response the inbox is full; a third is not asked for.
    let mut posts = 0;
    while server.posts().len() < 50 {
        client.send(posts.to_string()).await.unwrap();
        posts += 1;
        tokio::task::yield_now().await;
    }
    let polls = server
        .seen()
        .iter()
        .filter(|request| request.is_poll())
        .count();
    assert!(polls <= 2, "{polls} polls");
}

#[tokio::test]
async fn a_redirect_is_not_followed_if_that_is_not_wanted() {
    let server =
        Server::start(|_, _| Reply::With(302, "location: /engine.io/\r\n", Vec::new())).await;
    let builder = Client::builder(&server.url()).redirects(Redirects::Never);
    let error = in_time(builder.connect()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Redirect, Some(302))
    );
    assert!(
        error.to_string().ends_with(
            r#"to "/engine.io/"; connect to that URL instead, or allow it by `redirects`"#
        )
    );
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn compressed_answers_are_read() {
    for encoding in ["gzip", "deflate", "deflate without its wrapper"] {
        let server = Server::start(move |_, request| {
            if !request.is_handshake() {
                return Reply::Never;
            }
            assert_eq!(request.header("accept-encoding"), Some("gzip, deflate"));
            let level = flate2::Compression::fast();
            let plain = format!("{OPEN_POLLING}\u{1e}4welcome");
            if encoding == "gzip" {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(plain.as_bytes()).unwrap();
                let body = encoder.finish().unwrap();
                Reply::With(200, "content-encoding: gzip\r\n", body)
            } else if encoding != "deflate" {
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
                encoder.write_all(plain.as_bytes()).unwrap();
                let body = encoder.finish().unwrap();
                Reply::With(200, "content-encoding: deflate\r\n", body)
            } else {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(plain.as_bytes()).unwrap();
                let body = encoder.finish().unwrap();
                Reply::With(200, "content-encoding: deflate\r\n", body)
            }
        })
        .await;
        let mut client = in_time(Client::connect(&server.url())).await.unwrap();
        let message = in_time(client.next()).await.unwrap();
        assert_eq!(message.as_text(), Some("welcome"));
    }
}

#[tokio::test]
async fn a_compressed_answer_of_many_empty_parts() {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let many = encoder.finish().unwrap().repeat(10_000);
    let error =
        refused_by(move || Reply::With(200, "content-encoding: gzip\r\n", many.clone())).await;
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert!(
        error.to_string().contains("invalid compressed data"),
        "{error}"
    );
}

#[tokio::test]
async fn compressed_answers_that_are_bombs_or_broken() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![b'6'; 1 << 20];
    (0..64).for_each(|_| encoder.write_all(&zeros).unwrap());
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 100_000);
    let half = bomb[..bomb.len() / 2].to_vec();
    let error =
        refused_by(move || Reply::With(200, "content-encoding: gzip\r\n", bomb.clone())).await;
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    drop(half);
    for (encoding, body) in [
        ("content-encoding: gzip\r\n", "nonsense"),
        ("content-encoding: deflate\r\n", "nonsense"),
        ("content-encoding: br\r\n", OPEN),
        ("content-encoding: \r\n", OPEN),
    ] {
        let error = refused_by(move || Reply::With(200, encoding, body.into())).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
}

#[tokio::test]
async fn chunks_are_not_payloads() {
    let server = Server::start(|_, request| {
        if !request.is_handshake() {
            return Reply::Never;
        }
        // Each byte in a chunk of its own, through text of more than one byte a letter.
        let plain = format!("{OPEN_POLLING}\u{1e}4hé€😀");
        let chunks = plain
            .bytes()
            .flat_map(|byte| [b'1', b'\r', b'\n', byte, b'\r', b'\n']);
        let body = chunks.chain(*b"0\r\n\r\n").collect();
        Reply::With(200, "transfer-encoding: chunked\r\n", body)
    })
    .await;
    let mut client = in_time(Client::connect(&server.url())).await.unwrap();
    let message = in_time(client.next()).await.unwrap();
    assert_eq!(message.as_text(), Some("hé€😀"));
}

#[tokio::test]
async fn intervals_of_nothing_and_of_eternity() {
    let open = r#"0{"sid":"a","upgrades":[],"pingInterval":0,"pingTimeout":0}"#;
    let server = Server::start(move |_, request| match request.is_handshake() {
        true => ok(open),
        false => Reply::Never,
    })
    .await;
    let mut client = in_time(Client::connect(&server.url())).await.unwrap();
    assert_eq!(in_time(client.next()).await, None);
    assert_eq!(
        client.disconnect_reason(),
        Some(DisconnectReason::PingTimeout)
    );
    let error = client.disconnect_error().unwrap().to_string();
    assert!(error.contains("no time for heartbeats"), "{error}");

    let open =
        r#"0{"sid":"a","upgrades":[],"pingInterval":1e300,"pingTimeout":18446744073709551615}"#;
    let server = Server::start(move |_, request| match request.is_handshake() {
        true => ok(open),
        false => Reply::Never,
    })
    .await;
    let builder = Client::builder(&server.url()).close_timeout(Duration::from_millis(50));
    let client = in_time(builder.connect()).await.unwrap();
    in_time(client.close()).await;
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Client));
}

#[tokio::test]
async fn packets_out_of_place_are_harmless() {
    let (mut client, server) = polled(|| ok("0{}\u{1e}3\u{1e}5\u{1e}6\u{1e}2x\u{1e}4a")).await;
    let message = in_time(client.next()).await.unwrap();
    assert_eq!(message.as_text(), Some("a"));
    in_time(client.close()).await;
    assert!(
        server.posts().iter().any(|body| body.starts_with("3x")),
        "{:?}",
        server.posts()
    );
}

#[tokio::test]
async fn a_websocket_answer_that_is_none() {
    let replies: [fn() -> Reply; 4] = [
        || Reply::Body(200, OPEN.into()),
        || {
            Reply::With(
                101,
                "upgrade: websocket\r\nconnection: upgrade\r\n",
                Vec::new(),
            )
        },
        || {
            let accept =
                "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: bm8=\r\n";
            Reply::With(101, accept, Vec::new())
        },
        || Reply::Raw(b"garbage".to_vec()),
    ];
    for (n, reply) in replies.into_iter().enumerate() {
        let server = Server::start(move |_, _| reply()).await;
        let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
        let error = in_time(builder.connect()).await.unwrap_err();
        let expected = [
            ErrorKind::Refused,
            ErrorKind::Protocol,
            ErrorKind::Protocol,
            ErrorKind::Transport,
        ];
        assert_eq!(error.kind(), expected[n], "{error}");
    }
}

#[tokio::test]
async fn a_close_frame_of_the_server_is_answered_before_the_connection_ends() {
    let (heard, answer) = tokio::sync::oneshot::channel();
    let heard = std::sync::Mutex::new(Some(heard));
    let server = Server::start(move |_, _| {
        let heard = heard.lock().unwrap().take();
        websocket(move |mut socket| async move {
            socket.send(WsMessage::text(OPEN)).await.unwrap();
            let close = CloseFrame {
                code: CloseCode::Policy,
                reason: "no".into(),
            };
            socket.send(WsMessage::Close(Some(close))).await.unwrap();
            heard.unwrap().send(socket.next().await).unwrap();
        })
    })
    .await;
    let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
    let mut client = in_time(builder.connect()).await.unwrap();
    assert!(in_time(client.next()).await.is_none());
    let error = client.disconnect_error().unwrap().to_string();
    assert!(error.contains("code 1008, \"no\""), "{error}");
    let answer = in_time(answer).await.unwrap();
    assert!(
        matches!(&answer, Some(Ok(WsMessage::Close(Some(close)))) if close.code == CloseCode::Policy),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_client_offers_only_the_extension_that_it_implements() {
    let server = Server::start(|_, _| {
        let headers = "upgrade: websocket\r\nconnection: upgrade\r\n\
                       sec-websocket-extensions: permessage-deflate\r\n";
        Reply::With(101, headers, Vec::new())
    })
    .await;
    let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
    let error = in_time(builder.connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    let seen = server.seen();
    assert_eq!(seen[0].header("sec-websocket-extensions"), None);
    assert_eq!(
        seen[0].header("host"),
        Some(&*format!("127.0.0.1:{}", server.port))
    );

    let builder = Client::builder(&server.url())
        .transports([Transport::WebSocket])
        .websocket_compression_threshold(1_024);
    in_time(builder.connect()).await.unwrap_err();
    assert_eq!(
        server.seen()[1].header("sec-websocket-extensions"),
        Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
    );
}

#[tokio::test]
async fn frames_that_break_the_rules() {
    // Announces a gigabyte; sets a reserved bit; is masked, which a server must not do.
    let cases: [(&[u8], DisconnectReason); 3] = [
        (
            &[0x82, 127, 0, 0, 0, 0, 0x40, 0, 0, 0],
            DisconnectReason::PayloadTooLarge,
        ),
        (&[0xf2, 1, 0], DisconnectReason::TransportError),
        (
            &[0x81, 0x81, 0, 0, 0, 0, 0x34],
            DisconnectReason::TransportError,
        ),
    ];
    for (bytes, reason) in cases {
        let (mut client, _server) = on_websocket(move |mut socket| async move {
            socket.get_mut().write_all(bytes).await.unwrap();
            crate::support::echo(socket).await;
        })
        .await;
        assert_eq!(in_time(client.next()).await, None);
        assert_eq!(client.disconnect_reason(), Some(reason), "{bytes:x?}");
        assert!(client.disconnect_error().is_some());
    }
}

#[tokio::test]
async fn frames_that_are_no_packets() {
    for frame in ["", "x", "9", "b!"] {
        let (mut client, _server) = on_websocket(move |mut socket| async move {
            socket.send(WsMessage::text(frame)).await.unwrap();
            crate::support::echo(socket).await;
        })
        .await;
        assert_eq!(in_time(client.next()).await, None);
        assert_eq!(
            client.disconnect_reason(),
            Some(DisconnectReason::ParseError)
        );
        assert_eq!(
            client.disconnect_error().unwrap().kind(),
            ErrorKind::Protocol
        );
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_close() {
    let (client, server) = on_websocket(|mut socket| async move {
        // Reads nothing, so that it never sees the close frame.
        let _ = futures_util::future::pending::<()>().await;
        drop(socket.close(None).await);
    })
    .await;
    let start = std::time::Instant::now();
    in_time(client.close()).await;
    // The time of a graceful close.
    assert!(start.elapsed() < Duration::from_secs(7));
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Client));
    drop(server);
}

#[tokio::test]
async fn a_websocket_that_never_opens_leaves_the_session_on_polling() {
    let server = Server::start(|number, request| {
        if request.is_websocket() {
            Reply::Never
        } else if request.is_handshake() {
            ok(OPEN)
        } else if request.method == "GET" && number < 4 {
            ok("4still here")
        } else {
            Reply::Never
        }
    })
    .await;
    let mut client = in_time(
        Client::builder(&server.url())
            .upgrade_timeout(Duration::from_millis(100))
            .connect(),
    )
    .await
    .unwrap();
    assert_eq!(in_time(client.settled()).await, Transport::Polling);
    let message = in_time(client.next()).await.unwrap();
    assert_eq!(message.as_text(), Some("still here"));
    assert!(client.is_open() && !client.upgraded());
}

#[tokio::test]
async fn an_upgrade_that_is_cut_after_it_was_complete() {
    let server = Server::start(|_, request| {
        if request.is_websocket() {
            websocket(|mut socket| async move { accept_probe(&mut socket).await })
        } else if request.is_handshake() {
            ok(OPEN)
        } else {
            ok("6")
        }
    })
    .await;
    let mut client = in_time(Client::connect(&server.url())).await.unwrap();
    assert_eq!(in_time(client.next()).await, None);
    assert!(client.upgraded());
    assert_eq!(
        client.disconnect_reason(),
        Some(DisconnectReason::TransportClose)
    );
}
