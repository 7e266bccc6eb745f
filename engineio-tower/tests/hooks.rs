//! Hooks that panic, and what a handler may wait for.

use std::sync::Arc;
use std::time::Duration;

use engineio_tower::{
    Config, ConnectRequest, DisconnectReason, Message, Origins, Rejection, Server, ServerBuilder,
    Sid, SidCookie, Socket, Transports,
};
use http::{HeaderMap, StatusCode};
use support::{call, get, get_request, open, poll, text};
use tokio::sync::Semaphore;
use tokio::time::Instant;

mod support;

const HANDSHAKE: &str = "EIO=4&transport=polling";

/// Whether the hook is to panic: in the first request only.
fn is_asked_for(head: &http::request::Parts) -> bool {
    head.uri
        .query()
        .is_some_and(|query| query.ends_with("panic"))
}

#[tokio::test]
async fn a_panic_in_a_hook_is_answered_with_500_and_hurts_nobody_else() {
    fn hook(head: &http::request::Parts, _: &mut HeaderMap) {
        assert!(!is_asked_for(head), "asked for");
    }
    fn id(head: &http::request::Parts) -> Sid {
        assert!(!is_asked_for(head), "asked for");
        let mut random = [0; 15];
        getrandom::fill(&mut random).unwrap();
        Sid::from_random(random)
    }
    let builders: [(&str, ServerBuilder); 7] = [
        ("headers", Server::builder().headers(hook)),
        ("initial_headers", Server::builder().initial_headers(hook)),
        (
            "cookie",
            Server::builder().cookie(SidCookie::from_fn(|_, head| {
                hook(head, &mut HeaderMap::new());
                None
            })),
        ),
        (
            "predicate",
            Server::builder().origins(Origins::predicate(|_, head| {
                !is_asked_for(head) || panic!("asked for")
            })),
        ),
        (
            "predicate_async",
            Server::builder().origins(Origins::predicate_async(|_, head| {
                let panics = is_asked_for(head);
                async move { !panics || panic!("asked for") }
            })),
        ),
        (
            "generate_sid",
            Server::builder().generate_sid(|head| {
                let id = id(head);
                async move { id }
            }),
        ),
        (
            "generate_sid, later",
            Server::builder().generate_sid(|head| {
                let panics = is_asked_for(head);
                async move {
                    tokio::task::yield_now().await;
                    assert!(!panics, "asked for");
                    let mut random = [0; 15];
                    getrandom::fill(&mut random).unwrap();
                    Sid::from_random(random)
                }
            }),
        ),
    ];
    for (name, builder) in builders {
        let server = builder.max_sockets(1).build();
        for _ in 0..3 {
            let mut request = get_request(&format!("{HANDSHAKE}&then=panic"));
            let origin = "https://a.example".parse().unwrap();
            request.headers_mut().insert("origin", origin);
            if !name.starts_with("predicate") {
                request.headers_mut().remove("origin");
            }
            let failed = call(&server, request).await;
            assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR, "{name}");
            assert_eq!(text(&failed), r#""Internal server error""#, "{name}");
        }
        assert!(server.is_empty(), "{name}");
        // The only place is free.
        open(&server).await;
        server.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn a_panic_at_the_start_keeps_nobody_out() {
    let server = Server::builder()
        .on_start(|_| -> std::future::Ready<()> { panic!("asked for") })
        .build();
    open(&server).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_shutdown_hook_does_not_end_the_shutdown() {
    for later in [false, true] {
        let server = Server::builder()
            .on_shutdown(move |_| {
                assert!(later, "asked for");
                async { panic!("asked for") }
            })
            .build();
        let (sid, _) = open(&server).await;
        let waiting = tokio::spawn({
            let server = server.clone();
            async move { text(&poll(&server, &sid).await) }
        });
        tokio::task::yield_now().await;
        server.shutdown(Duration::from_secs(5)).await;
        assert_eq!(waiting.await.unwrap(), "1");
        assert!(server.is_empty());
    }
}

/// "Kick the older login" by a client that polls and has gone away without a word.
#[tokio::test(start_paused = true)]
async fn a_connect_handler_that_disconnects_an_older_session_lets_the_new_client_in_at_once() {
    let server = Server::builder()
        .on_connect(|socket: Socket, request: ConnectRequest| async move {
            if let Some(old) = request.query("old") {
                socket.server().disconnect(&old.parse().unwrap()).await;
            }
            Ok::<(), Rejection>(())
        })
        .build();
    let (old, _) = open(&server).await;
    let start = Instant::now();
    let new = get(&server, &format!("{HANDSHAKE}&old={old}")).await;
    assert_eq!(new.status(), StatusCode::OK);
    assert_eq!(start.elapsed(), Duration::ZERO);
    // The old one hears of its end when it polls, and is waited for if there is something for it.
    assert_eq!(text(&poll(&server, &old).await), "1");
}

#[test]
#[should_panic(expected = "a server needs at least one transport")]
fn a_configuration_without_a_transport_is_refused_at_the_start() {
    let transports: Transports = [].into_iter().collect();
    let config = Config {
        transports,
        ..Config::default()
    };
    let _ = Server::builder().config(config).build();
}

#[tokio::test]
async fn the_debug_form_of_a_request_tells_no_secrets() {
    let server = Server::builder()
        .on_connect(|_: Socket, request: ConnectRequest| {
            Err::<(), _>(Rejection::default().json(format!("{request:?}")))
        })
        .build();
    let mut request = get_request(&format!("{HANDSHAKE}&token=secret"));
    let cookie = "session=secret".parse().unwrap();
    request.headers_mut().insert("cookie", cookie);
    let answer = call(&server, request).await;
    assert!(text(&answer).contains("/engine.io/"));
    assert!(!text(&answer).contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn each_connect_handler_that_says_yes_is_followed_by_one_disconnect() {
    let (told, mut left) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::builder()
        .generate_sid(|_| async { "taken".parse().unwrap() })
        .on_connect(|socket: Socket, request: ConnectRequest| async move {
            socket.set(String::from("data"));
            match request.query("how").as_deref() {
                Some("close") => socket.close(),
                Some("abort") => socket.abort(),
                Some("slow") => tokio::task::yield_now().await,
                Some("no") => return Err(Rejection::default()),
                _ => {}
            }
            Ok(())
        })
        .on_disconnect(move |socket: Socket, reason| {
            assert_eq!(*socket.get::<String>().unwrap(), "data");
            told.send(reason).unwrap();
        })
        .build();
    for how in ["close", "abort"] {
        let refused = get(&server, &format!("{HANDSHAKE}&how={how}")).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(left.recv().await, Some(DisconnectReason::Server), "{how}");
    }
    get(&server, &format!("{HANDSHAKE}&how=no")).await;
    // Both drew the same id while it was free; one keeps it.
    let slow = format!("{HANDSHAKE}&how=slow");
    let (one, other) = tokio::join!(get(&server, &slow), get(&server, &slow));
    let mut statuses = [one.status().as_u16(), other.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    assert_eq!(left.recv().await, Some(DisconnectReason::Server));
    assert_eq!(server.len(), 1);
    server.shutdown(Duration::ZERO).await;
    assert_eq!(left.recv().await, Some(DisconnectReason::Shutdown));
    assert!(left.try_recv().is_err());
}

/// While the first WebSocket waits for room in the inbox, the task of a second one must not be taken for its own.
#[tokio::test(start_paused = true)]
async fn a_second_websocket_does_not_keep_the_first_from_being_read_on() {
    let permits = Arc::new(Semaphore::new(0));
    let server = {
        let permits = Arc::clone(&permits);
        Server::builder()
            .inbox_limit(0)
            .on_message(move |socket: Socket, message: Message| {
                let permits = Arc::clone(&permits);
                async move {
                    permits.acquire().await.unwrap().forget();
                    let _ = socket.send(message).await;
                }
            })
    };
    let server = server.build();
    let mut first = support::websocket(&server, "EIO=4&transport=websocket").await;
    let opened = support::receive_text(&mut first).await;
    for n in 0..10 {
        support::send(&mut first, &format!("4{n}")).await;
    }
    let second = support::upgrade_query(&opened[9..29]);
    let mut second = support::websocket(&server, &second).await;
    support::send(&mut second, "4not mine").await;
    assert_eq!(support::receive(&mut second).await, None);
    permits.add_permits(10);
    for n in 0..10 {
        assert_eq!(support::receive_text(&mut first).await, format!("4{n}"));
    }
}
