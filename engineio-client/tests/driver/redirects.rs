//! Redirects of the handshake, and requests that are sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{
    OPEN, OPEN_POLLING, Reply, Request, Server, accept_probe, echo, in_time, ok, websocket,
};
use engineio_client::{
    Client, CookieJar, DisconnectReason, ErrorKind, Message, Reconnect, Redirects, Transport,
};
use futures_util::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message as WsMessage;

const TRANSPORTS: [Transport; 2] = [Transport::Polling, Transport::WebSocket];

/// A server that upgrades sessions, and opens them by either transport.
fn upgrading(request: &Request) -> Reply {
    match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN),
        _ if request.is_websocket() && request.target.contains("sid=") => {
            websocket(|mut socket| async move {
                accept_probe(&mut socket).await;
                echo(socket).await;
            })
        }
        _ if request.is_websocket() => websocket(|mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            echo(socket).await;
        }),
        "POST" => ok("ok"),
        _ => ok("6"),
    }
}

fn to(status: u16, location: &str) -> Reply {
    let headers = format!("location: {location}\r\n");
    Reply::With(status, headers.leak(), Vec::new())
}

async fn works(mut client: Client) {
    in_time(client.settled()).await;
    client.send("a").await.unwrap();
    assert_eq!(in_time(client.next()).await, Some(Message::from("a")));
    in_time(client.close()).await;
}

#[tokio::test]
async fn a_status_that_names_no_other_place_is_an_error_like_any_other() {
    for status in [300, 304, 305, 306, 399] {
        let server = Server::start(move |number, request| match number {
            0 => to(status, "/moved/"),
            _ => upgrading(request),
        });
        let server = server.await;
        for transport in TRANSPORTS {
            server.requests.lock().unwrap().clear();
            let builder = Client::builder(&server.url())
                .redirects(Redirects::Any)
                .transports([transport]);
            let error = in_time(builder.connect()).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.status()),
                (ErrorKind::Refused, Some(status)),
                "{error}"
            );
            assert!(error.to_string().contains(&status.to_string()), "{error}");
            assert_eq!(server.seen().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_handshake_is_redirected_and_its_session_stays_there() {
    for (status, location) in [
        (301, "/moved/"),
        (302, "../moved/?EIO=4&transport=x&t=1"),
        (303, "/moved/"),
        (307, "//HOST/moved/"),
        (308, "http://HOST/moved/#x"),
    ] {
        let server =
            Server::start(
                move |_, request| match request.target.starts_with("/moved/?") {
                    true => upgrading(request),
                    false => to(
                        status,
                        &location.replace("HOST", request.header("host").unwrap()),
                    ),
                },
            )
            .await;
        for transports in [vec![Transport::WebSocket], TRANSPORTS.to_vec()] {
            let builder = Client::builder(&server.url())
                .header("x-key", "kept")
                .transports(transports);
            works(in_time(builder.connect()).await.unwrap()).await;
            let seen: Vec<Request> = server.requests.lock().unwrap().drain(..).collect();
            let (first, rest) = seen.split_first().unwrap();
            assert!(first.target.starts_with("/engine.io/?"));
            assert!(
                rest.iter()
                    .all(|request| request.target.starts_with("/moved/?"))
            );
            for request in &seen {
                assert_eq!(request.header("x-key"), Some("kept"));
                assert_eq!(request.target.matches("transport=").count(), 1);
            }
        }
    }
}

#[tokio::test]
async fn a_redirect_elsewhere_is_followed_on_request_and_takes_no_secret_along() {
    let stranger = Server::start(|_, request| upgrading(request)).await;
    let location = format!("http://stranger.example:{}/engine.io/", stranger.port);
    let server = Server::start(move |_, _| {
        let headers = format!("location: {location}\r\nset-cookie: jar=SECRET\r\n");
        Reply::With(302, headers.leak(), Vec::new())
    })
    .await;
    let jar = CookieJar::new();
    jar.store("http://home.example/", "shared=SECRET");
    let builder = |transport| {
        let local = [127, 0, 0, 1];
        Client::builder(&format!(
            "http://user:SECRET@home.example:{}/?token=SECRET",
            server.port
        ))
        .resolve("home.example", (local, 0).into())
        .resolve("stranger.example", (local, 0).into())
        .header("x-api-key", "SECRET")
        .cookie("own", "SECRET")
        .cookie_jar(jar.clone())
        .transports([transport])
    };
    for transport in TRANSPORTS {
        let error = in_time(builder(transport).connect()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Redirect);
        assert!(stranger.seen().is_empty());
        let builder = builder(transport).redirects(Redirects::Any);
        let client = in_time(builder.connect()).await.unwrap();
        in_time(client.close()).await;
        let at_home = format!("{:?}", server.seen());
        assert!(at_home.contains("own=SECRET") && at_home.contains("shared=SECRET"));
        let elsewhere = format!("{:?}", stranger.requests.lock().unwrap().drain(..));
        assert!(elsewhere.contains("engineio-client/"), "{elsewhere}");
        assert!(
            !elsewhere.contains("SECRET") && !elsewhere.contains("uthorization"),
            "{elsewhere}"
        );
    }
}

#[tokio::test]
async fn a_server_to_which_a_stranger_leads_back_is_sent_nothing_of_the_application_any_more() {
    for transport in TRANSPORTS {
        let home = Arc::new(AtomicU16::new(0));
        let back = Arc::clone(&home);
        let stranger = Server::start(move |_, _| {
            let port = back.load(Ordering::Relaxed);
            to(302, &format!("http://home.example:{port}/back/?chosen=1"))
        })
        .await;
        let location = format!("http://stranger.example:{}/", stranger.port);
        let server = Server::start(move |number, request| match number {
            0 => to(302, &location),
            _ => upgrading(request),
        })
        .await;
        home.store(server.port, Ordering::Relaxed);
        let local = [127, 0, 0, 1];
        let builder = Client::builder(&format!("http://home.example:{}/", server.port))
            .resolve("home.example", (local, 0).into())
            .resolve("stranger.example", (local, 0).into())
            .header("x-api-key", "SECRET")
            .cookie("own", "SECRET")
            .transports([transport])
            .redirects(Redirects::Any);
        let client = in_time(builder.connect()).await.unwrap();
        in_time(client.close()).await;
        let seen = server.seen();
        assert!(format!("{:?}", seen[0]).contains("own=SECRET"));
        let later = format!("{:?}", &seen[1..]);
        assert!(later.contains("/back/?chosen=1"), "{later}");
        assert!(!later.contains("SECRET"), "{later}");
    }
}

#[tokio::test]
async fn another_port_of_the_host_is_sent_no_secret_of_the_application() {
    let neighbour = Server::start(|_, request| upgrading(request)).await;
    let location = format!("{}/engine.io/", neighbour.url());
    let server = Server::start(move |_, _| {
        let headers = format!("location: {location}\r\nset-cookie: host=SHARED; Path=/\r\n");
        Reply::With(302, headers.leak(), Vec::new())
    })
    .await;
    let url = server.url().replace("://", "://user:SECRET@");
    for transport in TRANSPORTS {
        for has_jar in [true, false] {
            let builder = || {
                Client::builder(&url)
                    .query("token", "SECRET")
                    .header("x-api-key", "SECRET")
                    .cookie("own", "SECRET")
                    .cookies(has_jar)
                    .transports([transport])
            };
            let error = in_time(builder().connect()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Redirect);
            let builder = builder().redirects(Redirects::Any);
            in_time(in_time(builder.connect()).await.unwrap().close()).await;
            let seen = format!("{:?}", neighbour.requests.lock().unwrap().drain(..));
            assert!(
                !seen.contains("SECRET") && !seen.contains("uthorization"),
                "{seen}"
            );
            // A server's cookies are for all ports of its host (RFC 6265 § 8.5).
            assert_eq!(seen.contains("host=SHARED"), has_jar, "{seen}");
        }
    }
}

#[tokio::test]
async fn redirects_that_lead_nowhere_are_errors() {
    let looping = Server::start(|number, _| to(302, &format!("/{number}"))).await;
    let error = in_time(Client::connect(&looping.url())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Redirect);
    assert_eq!(error.location(), Some("/5"));
    assert_eq!(looping.seen().len(), 6);
    let text = error.to_string();
    assert!(
        text.contains("302 Found to \"/5\"; 5 redirects were followed before"),
        "{text}"
    );
    // It was followed, and more of them would not help.
    assert!(!text.contains("allow it"), "{text}");

    let never = Client::builder(&looping.url()).redirects(Redirects::Never);
    let error = in_time(never.connect()).await.unwrap_err();
    assert_eq!(error.location(), Some("/6"));
    for location in [
        "ftp://h/",
        "javascript:alert(1)",
        "http:x",
        "data:,x",
        "/a b",
        "http://a b/",
        "",
    ] {
        let server = Server::start(move |_, _| match location {
            "" => Reply::Body(302, Vec::new()),
            location => to(302, location),
        })
        .await;
        let error = in_time(Client::connect(&server.url())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Redirect);
        assert_eq!(server.seen().len(), 1);
        let advice = match location {
            "" => "the server should say where",
            _ => "no URL that a request can be made to",
        };
        assert!(error.to_string().contains(advice), "{error}");
    }
}

#[tokio::test]
async fn a_redirect_within_a_session_ends_it() {
    let server = Server::start(|_, request| match request.is_handshake() {
        true => ok(OPEN_POLLING),
        false => to(302, "/elsewhere/"),
    })
    .await;
    let client = in_time(Client::connect(&server.url())).await.unwrap();
    in_time(client.wait()).await;
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Refused));
    let error = client.disconnect_error().unwrap().to_string();
    assert!(
        error.contains("redirect the handshake") && !error.contains("allow it"),
        "{error}"
    );
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn the_next_session_begins_at_the_url_of_the_builder_again() {
    let server = Server::start(|_, request| match request.target.starts_with("/moved/?") {
        _ if request.is_poll() => ok("1"),
        true => ok(OPEN_POLLING),
        false => to(302, "/moved/"),
    })
    .await;
    let policy = Reconnect::new()
        .initial_delay(Duration::from_millis(1))
        .jitter(0.0);
    let builder = Client::builder(&server.url()).reconnect(policy);
    let client = in_time(builder.connect()).await.unwrap();
    let first = |request: &Request| request.target.starts_with("/engine.io/?");
    in_time(async {
        while server
            .seen()
            .iter()
            .filter(|request| first(request))
            .count()
            < 3
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    client.abort();
}

#[tokio::test]
async fn a_poll_whose_kept_connection_was_closed_is_sent_again() {
    let server = Server::start(|number, request| match number {
        _ if request.is_handshake() => ok(OPEN_POLLING),
        1 => Reply::Raw(Vec::new()),
        _ => ok("4a\u{1e}1"),
    })
    .await;
    let mut client = in_time(Client::connect(&server.url())).await.unwrap();
    assert_eq!(in_time(client.next()).await, Some(Message::from("a")));
    in_time(client.wait()).await;
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Server));
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_poll_that_was_answered_in_part_is_not_sent_again() {
    let server = Server::start(|_, request| match request.is_handshake() {
        true => ok(OPEN_POLLING),
        false => Reply::Raw(b"HTTP/1.1 200 OK\r\n".to_vec()),
    })
    .await;
    let client = in_time(Client::connect(&server.url())).await.unwrap();
    in_time(client.wait()).await;
    assert_eq!(
        client.disconnect_reason(),
        Some(DisconnectReason::TransportError)
    );
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_handshake_on_a_new_connection_is_not_sent_again() {
    let server = Server::start(|_, _| Reply::Raw(Vec::new())).await;
    let error = in_time(Client::connect(&server.url())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_post_that_was_begun_is_not_sent_again() {
    let server = Server::start(|_, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN_POLLING),
        "POST" if request.body == "4a" => ok("ok"),
        "POST" => Reply::Raw(Vec::new()),
        _ => Reply::Never,
    })
    .await;
    let client = in_time(Client::connect(&server.url())).await.unwrap();
    client.send("a").await.unwrap();
    in_time(async {
        while server.posts().is_empty() || client.queued_bytes() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    client.send("b").await.unwrap();
    in_time(client.wait()).await;
    assert_eq!(server.posts(), ["4a", "4b"]);
}

/// The number of connections of a client whose poll breaks after this time, without an answer.
async fn connections_when_a_poll_breaks_after(delay: Duration) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let calls = Arc::clone(&count);
    let connector = tower::service_fn(move |_| {
        let is_first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        let (near, mut far) = tokio::io::duplex(4_096);
        tokio::spawn(async move {
            let mut head = Vec::new();
            for answer in [OPEN_POLLING, ""].iter().take(if is_first { 2 } else { 0 }) {
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(far.read_u8().await.unwrap());
                }
                head.clear();
                if !answer.is_empty() {
                    let length = answer.len();
                    let text =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}");
                    far.write_all(text.as_bytes()).await.unwrap();
                }
            }
            let _ = tokio::time::timeout(delay, std::future::pending::<()>()).await;
        });
        async move { Ok::<_, std::io::Error>(near) }
    });
    let builder = Client::builder("http://in.memory").connector(connector);
    let client = builder.connect().await.unwrap();
    client.wait().await;
    assert_eq!(
        client.disconnect_reason(),
        Some(DisconnectReason::TransportError)
    );
    count.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_breaks_later_may_have_been_answered_and_is_not_sent_again() {
    let after = |millis| connections_when_a_poll_breaks_after(Duration::from_millis(millis));
    assert_eq!(after(500).await, 2);
    assert_eq!(after(1_500).await, 1);
}

#[tokio::test]
async fn a_client_without_cookies_leaves_those_of_another_in_a_shared_jar() {
    let server = Server::start(|_, _| Reply::Body(403, Vec::new())).await;
    let jar = CookieJar::new();
    let builder = || Client::builder(&server.url()).cookie_jar(jar.clone());
    for builder in [builder().cookie("own", "1"), builder()] {
        in_time(builder.connect()).await.unwrap_err();
        assert_eq!(jar.header(&server.url()).unwrap(), "own=1");
    }
    let cookies = server.seen().into_iter();
    let cookies: Vec<_> = cookies
        .map(|request| request.header("cookie").map(str::to_owned))
        .collect();
    assert_eq!(
        cookies,
        [Some("own=1".to_owned()), Some("own=1".to_owned())]
    );
}

#[tokio::test]
async fn two_clients_share_a_jar_that_the_application_reads() {
    let server = Server::start(|number, request| match request.is_handshake() {
        true if number == 0 => Reply::With(
            200,
            "set-cookie: instance=7; Path=/\r\nset-cookie: own=NEW\r\n",
            OPEN_POLLING.into(),
        ),
        true => ok(OPEN_POLLING),
        false => ok("1"),
    })
    .await;
    let jar = CookieJar::new();
    let builder = || Client::builder(&server.url()).cookie_jar(jar.clone());
    let client = in_time(builder().cookie("own", "1").connect())
        .await
        .unwrap();
    in_time(client.wait()).await;
    let sent = jar.header(&format!("{}/engine.io/", server.url())).unwrap();
    assert_eq!(sent, "instance=7; own=NEW");
    let client = in_time(builder().connect()).await.unwrap();
    in_time(client.wait()).await;
    let handshakes = server.seen().into_iter().filter(Request::is_handshake);
    let cookies: Vec<_> = handshakes
        .map(|request| request.header("cookie").map(str::to_owned))
        .collect();
    assert_eq!(
        cookies,
        [
            Some("own=1".to_owned()),
            Some("instance=7; own=NEW".to_owned())
        ]
    );
}
