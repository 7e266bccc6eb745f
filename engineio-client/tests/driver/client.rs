//! The behaviour of a client with a server that keeps to the protocol.

use std::time::Duration;

use crate::support::{
    OPEN, OPEN_POLLING, Reply, Request, Server, accept_probe, echo, in_time, ok, websocket,
};
use engineio_client::{
    Client, DisconnectReason, ErrorKind, Message, Reconnect, SendError, Transport,
};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message as WsMessage;

/// Answers the first poll when the WebSocket is probed, and echoes what comes by WebSocket.
fn upgrading(request: &Request) -> Reply {
    if request.is_websocket() {
        websocket(|mut socket| async move {
            accept_probe(&mut socket).await;
            echo(socket).await;
        })
    } else if request.is_handshake() {
        ok(OPEN)
    } else {
        ok("6")
    }
}

fn polling(request: &Request) -> Reply {
    match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN_POLLING),
        "POST" => ok("ok"),
        _ => Reply::Never,
    }
}

#[tokio::test]
async fn messages_go_both_ways_by_websocket() {
    let server = Server::start(|_, _| {
        websocket(|mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            echo(socket).await;
        })
    })
    .await;
    let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
    let mut client = in_time(builder.connect()).await.unwrap();
    assert_eq!(
        (client.transport(), client.upgraded()),
        (Transport::WebSocket, false)
    );
    assert_eq!(client.sid().as_deref(), Some("abc"));
    let messages = [
        Message::from("hé€😀"),
        Message::from(""),
        Message::from(vec![0x1e, 0, 0xff, b'b', 0x1e]),
        Message::from(vec![]),
        Message::from("a\u{1e}b"),
        Message::from("x".repeat(1_000_000)),
    ];
    for message in messages {
        client.send(message.clone()).await.unwrap();
        assert_eq!(in_time(client.next()).await, Some(message));
    }
    in_time(client.close()).await;
    assert_eq!(
        (client.transport(), client.upgraded()),
        (Transport::WebSocket, false)
    );
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Client));
    assert!(client.disconnect_error().is_none());
    assert_eq!(in_time(client.next()).await, None);
    server.is_left().await;
}

#[tokio::test]
async fn a_session_upgrades() {
    let server = Server::start(|_, request| upgrading(request)).await;
    let mut client = in_time(Client::connect(&server.url())).await.unwrap();
    client.send("hello").await.unwrap();
    assert_eq!(in_time(client.settled()).await, Transport::WebSocket);
    assert!(client.upgraded());
    client.send("again").await.unwrap();
    let last = async {
        loop {
            let message = client.next().await.unwrap();
            if message.as_text() == Some("again") {
                break;
            }
        }
    };
    in_time(last).await;
}

#[tokio::test]
async fn headers_cookies_and_parameters_are_on_every_request() {
    let server = Server::start(|number, request| {
        if request.is_websocket() {
            Reply::With(403, "set-cookie: late=3\r\n", b"no".to_vec())
        } else if request.is_handshake() {
            let cookies = "set-cookie: route=a1; Path=/\r\nset-cookie: io=abc; HttpOnly\r\n";
            Reply::With(200, cookies, OPEN.into())
        } else if request.method == "GET" && number > 6 {
            Reply::Never
        } else {
            ok("6")
        }
    })
    .await;
    let client = in_time(
        Client::builder(&format!(
            "http://user:pw@127.0.0.1:{}/rt?room=1",
            server.port
        ))
        .header("X-Mine", "yes")
        .header("user-agent", "mine/1")
        .cookie("own", "1")
        .query("token", "a b")
        .timestamp_param("stamp")
        .connect(),
    )
    .await
    .unwrap();
    in_time(client.settled()).await;
    client.send("a").await.unwrap();
    in_time(client.close()).await;
    let seen = server.seen();
    assert!(seen.iter().any(Request::is_websocket) && seen.iter().any(Request::is_poll));
    assert!(seen.iter().any(|request| request.method == "POST"));
    let mut targets = Vec::new();
    for (n, request) in seen.iter().enumerate() {
        assert_eq!(request.header("x-mine"), Some("yes"));
        assert_eq!(request.header("user-agent"), Some("mine/1"));
        assert_eq!(request.header("authorization"), Some("Basic dXNlcjpwdw=="));
        let host = format!("127.0.0.1:{}", server.port);
        assert_eq!(request.header("host"), Some(&*host));
        assert!(
            request
                .target
                .starts_with("/rt/?room=1&token=a+b&EIO=4&transport=")
        );
        let cookies = request.header("cookie").unwrap();
        let expected = if n == 0 {
            "own=1"
        } else {
            "own=1; route=a1; io=abc"
        };
        assert!(cookies.starts_with(expected), "{n}: {cookies}");
        assert_eq!(request.target.contains("&stamp="), !request.is_websocket());
        targets.push(&request.target);
    }
    targets.sort_unstable();
    targets.dedup();
    assert_eq!(targets.len(), seen.len(), "each request is unique");
}

#[tokio::test]
async fn a_timestamp_has_a_parameter_of_its_own() {
    for name in ["", "sid", "EIO", "transport", "room"] {
        let builder = Client::builder("http://127.0.0.1:1/?room=1").timestamp_param(name);
        let error = in_time(builder.connect()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error}");
        assert!(error.to_string().contains("`timestamp_param`"), "{error}");
    }
}

#[tokio::test]
async fn headers_that_are_given_twice() {
    let server = Server::start(|_, request| match request.is_handshake() {
        true => Reply::With(200, "set-cookie: route=a1\r\n", OPEN_POLLING.into()),
        false => polling(request),
    })
    .await;
    let url = format!("http://user:pw@127.0.0.1:{}", server.port);
    let builder = Client::builder(&url)
        .header("authorization", "Token mine")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .cookie("c", "3");
    let client = in_time(builder.connect()).await.unwrap();
    in_time(client.close()).await;
    for request in server.seen() {
        let values = |name: &str| {
            let headers = request.headers.iter().filter(|(known, _)| known == name);
            headers.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        assert_eq!(values("authorization"), ["Token mine"]);
        let jar = if request.is_handshake() {
            ""
        } else {
            "; route=a1"
        };
        assert_eq!(values("cookie"), [format!("a=1; b=2; c=3{jar}")]);
    }
}

#[tokio::test]
async fn a_refusal_is_unpacked_where_it_can_be() {
    let body = br#"{"code":4,"message":"no"}"#;
    let level = flate2::Compression::fast();
    let mut packed = Vec::new();
    let mut encoder = flate2::read::GzEncoder::new(&body[..], level);
    std::io::Read::read_to_end(&mut encoder, &mut packed).unwrap();
    for (sent, code, read) in [
        (packed, Some(4), &body[..]),
        (b"plain".into(), None, b"plain"),
        // As engineioxide writes it.
        (br#"{"code":"1"}"#.into(), Some(1), br#"{"code":"1"}"#),
    ] {
        let reply = move || Reply::With(403, "content-encoding: gzip\r\n", sent.clone());
        let server = Server::start(move |_, _| reply()).await;
        let error = in_time(Client::connect(&server.url())).await.unwrap_err();
        assert_eq!((error.status(), error.code()), (Some(403), code));
        assert_eq!(error.body(), read);
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_status_and_body() {
    let body = r#"{"code":4,"message":"token expired"}"#;
    for transport in [Transport::Polling, Transport::WebSocket] {
        let server = Server::start(move |_, _| Reply::Body(403, body.into())).await;
        let builder = Client::builder(&server.url()).transports([transport]);
        let error = in_time(builder.connect()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert_eq!((error.status(), error.code()), (Some(403), Some(4)));
        assert_eq!(error.body(), body.as_bytes());
        let text = error.to_string();
        assert!(
            text.contains("403 Forbidden and code 4, \"token expired\"; check the cred"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn all_transports_are_tried_if_that_is_asked_for() {
    let server = Server::start(|_, request| match request.is_websocket() {
        true => Reply::Body(502, Vec::new()),
        false => polling(request),
    })
    .await;
    let builder =
        || Client::builder(&server.url()).transports([Transport::WebSocket, Transport::Polling]);
    let error = in_time(builder().connect()).await.unwrap_err();
    assert_eq!(error.status(), Some(502));
    let client = in_time(builder().try_all_transports(true).connect())
        .await
        .unwrap();
    assert_eq!(client.transport(), Transport::Polling);
    // The transport that did not do is nothing that ended a session.
    assert_eq!(client.disconnect_reason(), None);
    assert!(client.disconnect_error().is_none());
}

#[tokio::test]
async fn a_close_brings_out_what_is_queued() {
    let server = Server::start(|_, request| polling(request)).await;
    let client = in_time(Client::connect(&server.url())).await.unwrap();
    for n in 0..40 {
        client.try_send(n.to_string()).unwrap();
    }
    in_time(client.close()).await;
    let posts = server.posts();
    let packets: Vec<&str> = posts.iter().flat_map(|body| body.split('\u{1e}')).collect();
    let mut expected: Vec<String> = (0..40).map(|n| format!("4{n}")).collect();
    expected.push("1".to_owned());
    assert_eq!(packets, expected);
    assert_eq!(
        client.try_send("late"),
        Err(SendError::Closed(Message::from("late")))
    );
    server.is_left().await;
}

#[tokio::test]
async fn a_dropped_client_leaves_nothing_behind() {
    for transports in [vec![Transport::Polling], vec![Transport::WebSocket]] {
        let server = Server::start(|_, request| match request.is_websocket() {
            true => websocket(|mut socket| async move {
                socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
                echo(socket).await;
            }),
            false => polling(request),
        })
        .await;
        let client = Client::builder(&server.url())
            .transports(transports)
            .connect();
        let client = in_time(client).await.unwrap();
        let handle = client.handle();
        drop(client);
        in_time(handle.wait()).await;
        assert!(handle.send("a").await.is_err());
        server.is_left().await;
    }
}

#[tokio::test]
async fn a_connect_that_is_dropped_leaves_nothing_behind() {
    let server = Server::start(|_, _| Reply::Never).await;
    let url = server.url();
    let connecting = tokio::spawn(async move { Client::connect(&url).await });
    let mut connections = server.connections.subscribe();
    in_time(connections.wait_for(|count| *count == 1))
        .await
        .unwrap();
    connecting.abort();
    server.is_left().await;
}

#[tokio::test]
async fn a_restarted_server_is_a_refusal() {
    let server = Server::start(|_, request| match request.is_handshake() {
        true => ok(OPEN_POLLING),
        false => Reply::Body(
            400,
            br#"{"code":1,"message":"Session ID unknown"}"#.to_vec(),
        ),
    })
    .await;
    let mut client = in_time(Client::connect(&server.url())).await.unwrap();
    assert_eq!(in_time(client.next()).await, None);
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Refused));
    let error = client.disconnect_error().unwrap();
    assert_eq!((error.code(), error.status()), (Some(1), Some(400)));
    assert!(error.to_string().contains("connect again"), "{error}");
    // The id of the session is nobody's business.
    assert!(!error.to_string().contains("abc"), "{error}");
}

#[tokio::test]
async fn a_server_that_closes_is_no_error() {
    let server = Server::start(|_, request| match request.is_handshake() {
        true => ok(OPEN_POLLING),
        false => ok("4bye\u{1e}1"),
    })
    .await;
    let mut client = in_time(Client::connect(&server.url())).await.unwrap();
    assert_eq!(in_time(client.next()).await, Some(Message::from("bye")));
    assert_eq!(in_time(client.next()).await, None);
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Server));
    assert!(client.disconnect_error().is_none());
    in_time(client.wait()).await;
}

#[tokio::test]
async fn a_client_is_a_stream_and_a_sink() {
    let server = Server::start(|_, _| {
        websocket(|mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            echo(socket).await;
        })
    })
    .await;
    let client = Client::builder(&server.url())
        .transports([Transport::WebSocket])
        .outbox_limit(1000)
        .connect();
    let (mut sink, stream) = in_time(client).await.unwrap().split();
    let sending = tokio::spawn(async move {
        for n in 0..500 {
            sink.feed(Message::from(format!("{n} {}", "x".repeat(300))))
                .await
                .unwrap();
        }
        sink.flush().await.unwrap();
        sink
    });
    let received: Vec<Message> = in_time(stream.take(500).collect()).await;
    for (n, message) in received.iter().enumerate() {
        assert!(message.as_text().unwrap().starts_with(&format!("{n} ")));
    }
    let mut sink = in_time(sending).await.unwrap();
    in_time(SinkExt::close(&mut sink)).await.unwrap();
    server.is_left().await;
}

#[tokio::test]
async fn send_waits_for_room_and_try_send_hands_back() {
    let server = Server::start(|_, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN_POLLING),
        "POST" if request.body.starts_with("4first") => Reply::Never,
        _ => Reply::Never,
    })
    .await;
    let builder = Client::builder(&server.url()).outbox_limit(200);
    let client = in_time(builder.connect()).await.unwrap();
    client.send("first").await.unwrap();
    // The body of the first POST leaves the outbox when the driver runs; these fill it behind that.
    let mut sent = 0;
    let full = loop {
        match client.try_send("more") {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 10);
        tokio::task::yield_now().await;
    };
    assert_eq!(full, SendError::Full(Message::from("more")));
    let handle = client.handle();
    let waiting = tokio::spawn(async move { handle.send("waiting").await });
    client.abort();
    let closed = in_time(waiting).await.unwrap();
    assert_eq!(closed, Err(SendError::Closed(Message::from("waiting"))));
}

#[tokio::test]
async fn a_client_comes_back_if_that_is_asked_for() {
    let server = Server::start(|number, request| match request.is_handshake() {
        // The second attempt fails; the poll before it was sent twice.
        true if number == 3 => Reply::Body(503, Vec::new()),
        true => ok(&format!("{OPEN_POLLING}\u{1e}4hello {number}")),
        false if number < 5 => Reply::Raw(Vec::new()),
        false => Reply::Never,
    })
    .await;
    let policy = Reconnect::new().initial_delay(Duration::from_millis(1));
    let builder = Client::builder(&server.url()).reconnect(policy);
    let mut client = in_time(builder.connect()).await.unwrap();
    assert_eq!(in_time(client.next()).await, Some(Message::from("hello 0")));
    assert_eq!(in_time(client.next()).await, Some(Message::from("hello 4")));
    in_time(client.send("still here")).await.unwrap();
    drop(client);
    server.is_left().await;
}

#[tokio::test]
async fn a_client_that_gives_up_says_why() {
    let server = Server::start(|number, request| match request.is_handshake() {
        true if number == 0 => ok(OPEN_POLLING),
        true => Reply::Body(503, Vec::new()),
        false => Reply::Raw(Vec::new()),
    })
    .await;
    let policy = Reconnect::new()
        .initial_delay(Duration::from_millis(1))
        .max_attempts(3);
    let builder = Client::builder(&server.url()).reconnect(policy);
    let mut client = in_time(builder.connect()).await.unwrap();
    assert_eq!(in_time(client.next()).await, None);
    assert_eq!(client.disconnect_error().unwrap().status(), Some(503));
    assert_eq!(
        server
            .seen()
            .iter()
            .filter(|request| request.is_handshake())
            .count(),
        4
    );
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_before_anything_is_sent() {
    let wrong = |builder: engineio_client::ClientBuilder| async move {
        let error = builder.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        error.to_string()
    };
    let url = "http://127.0.0.1:1";
    wrong(Client::builder("not a url")).await;
    wrong(Client::builder(url).header("no spaces", "a")).await;
    let text = wrong(Client::builder(url).header("x", "secret\n")).await;
    assert!(!text.contains("secret"), "{text}");
    wrong(Client::builder(url).bearer_auth("secret\0")).await;
    wrong(Client::builder(url).cookie("a", "b; c=d")).await;
    wrong(Client::builder(url).transports([])).await;
    wrong(Client::builder(url).proxy("nowhere")).await;
    wrong(Client::builder(url).path("/a?b=c")).await;
    #[cfg(feature = "rustls")]
    {
        wrong(Client::builder("https://127.0.0.1:1").root_certificate(b"no pem")).await;
        wrong(Client::builder("https://127.0.0.1:1").client_identity(b"no pem")).await;
    }
}

#[tokio::test]
async fn tasks_end_with_the_client() {
    let server = Server::start(|_, request| polling(request)).await;
    let client = in_time(Client::connect(&server.url())).await.unwrap();
    assert_eq!(in_time(client.spawn(async { 7 })).await.unwrap(), Some(7));
    let endless = client.spawn(std::future::pending::<()>());
    client.abort();
    assert_eq!(in_time(endless).await.unwrap(), None);
}

#[tokio::test]
async fn a_client_goes_anywhere_and_keeps_its_secrets() {
    fn goes_anywhere<T: Send + Sync + 'static>(_: &T) {}

    let secret = OPEN_POLLING.replace("abc", "0123456789secret");
    let server = Server::start(move |_, request| match request.is_handshake() {
        true => ok(&secret),
        false => Reply::Never,
    })
    .await;
    let client = in_time(Client::connect(&server.url())).await.unwrap();
    goes_anywhere(&client);
    goes_anywhere(&client.handle());
    assert_eq!(client.sid().as_deref(), Some("0123456789secret"));
    client.send("private").await.unwrap();
    let shown = format!("{client:?} {:?}", client.handle());
    assert!(
        !shown.contains("secret") && !shown.contains("private"),
        "{shown}"
    );
}

#[tokio::test]
async fn nobody_at_home() {
    let error = in_time(Client::connect("http://127.0.0.1:1"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn the_longest_duration_is_no_limit() {
    let server = Server::start(|_, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN_POLLING),
        _ if request.is_websocket() => websocket(|mut socket| async move {
            let open = WsMessage::text(OPEN_POLLING);
            socket.send(open).await.unwrap();
            echo(socket).await;
        }),
        "POST" => ok("ok"),
        _ => Reply::Never,
    })
    .await;
    for transport in [Transport::Polling, Transport::WebSocket] {
        let policy = Reconnect::new()
            .initial_delay(Duration::MAX)
            .max_delay(Duration::MAX)
            .reset_after(Duration::MAX)
            .max_retry_after(Duration::MAX);
        let builder = Client::builder(&server.url())
            .transports([transport])
            .connect_timeout(Duration::MAX)
            .request_timeout(Duration::MAX)
            .upgrade_timeout(Duration::MAX)
            .close_timeout(Duration::MAX)
            .reconnect(policy);
        let mut client = in_time(builder.connect()).await.unwrap();
        client.send("a").await.unwrap();
        in_time(client.flush()).await.unwrap();
        in_time(client.close()).await;
        assert!(client.disconnect_error().is_none(), "{client:?}");
        in_time(client.flush()).await.unwrap();
    }
}
