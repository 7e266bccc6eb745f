//! Hooks that panic, and what a handler may wait for.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{call, get, get_request, open, panics::panic_again_on_drop, poll, text};
use engineio_tower::{
    Config, ConnectRequest, DisconnectReason, Message, Origins, Rejection, Server, ServerBuilder,
    Sid, SidCookie, Socket, Transports,
};
use futures_util::FutureExt;
use http::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::Instant;

const HANDSHAKE: &str = "EIO=4&transport=polling";

/// Whether the hook is to panic: in the first request only.
fn is_asked_for(head: &http::request::Parts) -> bool {
    head.uri
        .query()
        .is_some_and(|query| query.ends_with("panic"))
}

fn panic_if(asked: bool) {
    if asked {
        panic_again_on_drop();
    }
}

#[tokio::test]
async fn a_panic_in_a_hook_is_answered_with_500_and_hurts_nobody_else() {
    fn hook(head: &http::request::Parts, _: &mut HeaderMap) {
        panic_if(is_asked_for(head));
    }
    fn id(head: &http::request::Parts) -> Sid {
        panic_if(is_asked_for(head));
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
                !is_asked_for(head) || panic_again_on_drop()
            })),
        ),
        (
            "predicate_async",
            Server::builder().origins(Origins::predicate_async(|_, head| {
                let panics = is_asked_for(head);
                async move { !panics || panic_again_on_drop() }
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
                    panic_if(panics);
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
        .on_start(|_| -> std::future::Ready<()> { panic_again_on_drop() })
        .build();
    open(&server).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_shutdown_hook_does_not_end_the_shutdown() {
    for later in [false, true] {
        let server = Server::builder()
            .on_shutdown(move |_| {
                panic_if(!later);
                async { panic_again_on_drop() }
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

/// A guard that panics when it is dropped.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        panic_again_on_drop();
    }
}

async fn abandoned<T>() -> T {
    let _guard = Guard;
    std::future::pending().await
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_when_its_time_is_over_or_its_client_has_left_hurts_nobody() {
    let builder = || Server::builder().origins(Origins::any());
    let asking = Origins::predicate_async(|_, _| abandoned());
    for server in [
        builder().origins(asking),
        builder().generate_sid(|_| abandoned()),
    ] {
        let server = server.build();
        let mut request = get_request(HANDSHAKE);
        let origin = "https://app.example.com".parse().unwrap();
        request.headers_mut().insert("origin", origin);
        let mut leaving = Box::pin(call(&server, request));
        assert!(leaving.as_mut().now_or_never().is_none());
        drop(leaving);
        assert!(server.is_empty());
    }
    let server = builder().on_shutdown(|_| abandoned()).build();
    open(&server).await;
    server.shutdown(Duration::from_secs(5)).await;
    assert!(server.is_empty());
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
    let mut first = crate::support::websocket(&server, "EIO=4&transport=websocket").await;
    let opened = crate::support::receive_text(&mut first).await;
    for n in 0..10 {
        crate::support::send(&mut first, &format!("4{n}")).await;
    }
    let second = crate::support::upgrade_query(&opened[9..29]);
    let mut second = crate::support::websocket(&server, &second).await;
    crate::support::send(&mut second, "4not mine").await;
    assert_eq!(crate::support::receive(&mut second).await, None);
    permits.add_permits(10);
    for n in 0..10 {
        assert_eq!(
            crate::support::receive_text(&mut first).await,
            format!("4{n}")
        );
    }
}

#[test]
fn an_initial_message_that_not_every_client_can_get_is_refused_at_the_start() {
    let builds = |builder: ServerBuilder| {
        let build = std::panic::AssertUnwindSafe(|| builder.build());
        engineio_core::driver::catch_panic(build).is_ok()
    };
    let message = |message: &str| Server::builder().initial_message(message.to_owned());
    assert!(builds(message("welcome")));
    assert!(!builds(message("a\u{1e}b")));
    assert!(builds(message("a\u{1e}b").allow_separator(true)));
    let websocket = [engineio_tower::Transport::WebSocket];
    assert!(builds(message("a\u{1e}b").transports(websocket)));
    let large = "x".repeat(1_000);
    assert!(builds(message(&large).outbox_limit(1_064)));
    assert!(!builds(message(&large).outbox_limit(1_063)));
    assert!(!builds(message(&large).max_payload(1_063)));
}

#[test]
fn a_path_that_no_request_can_have_is_refused_at_the_start() {
    let builds = |path: &str| {
        let build = std::panic::AssertUnwindSafe(|| Server::builder().path(path).build());
        engineio_core::driver::catch_panic(build).is_ok()
    };
    for path in [
        "",
        "/",
        "/a/b",
        "a/b/",
        "/a%20b",
        "/~a.b-c_d",
        "/a@b",
        "/a..b",
    ] {
        assert!(builds(path), "{path}");
    }
    for path in [
        "/a b",
        "/a?q",
        "/engine.io/?q",
        "#",
        "/a#b",
        "/ä",
        "/a\\b",
        "/a\0",
        "/a\"b",
        "/a//b",
        "/.",
        "/a/../b",
    ] {
        assert!(!builds(path), "{path}");
    }
    // The routers of the hosts would take these for patterns.
    for path in ["/{id}", "/{rest}*", "/*x", "/*", "/:id", "/a/:id", "/a:b"] {
        assert!(!builds(path), "{path}");
    }
}

#[tokio::test]
async fn the_headers_hook_is_called_for_a_session_that_exists_only() {
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let server = Server::builder()
        .headers(move |_, headers| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            headers.insert("x-app", "1".parse().unwrap());
        })
        .build();
    let (sid, _) = open(&server).await;
    crate::support::socket(&server, &sid).try_send("a").unwrap();
    for (request, expected) in [
        (crate::support::post_request(&sid, "4x"), 2),
        (get_request(&format!("{HANDSHAKE}&sid={sid}")), 3),
        (get_request(&format!("{HANDSHAKE}&sid=nobody")), 3),
        (crate::support::post_request("nobody", "4x"), 3),
        (
            crate::support::websocket_request(&crate::support::upgrade_query("nobody")),
            3,
        ),
        (get_request("EIO=4&transport=carrier-pigeon"), 3),
    ] {
        let response = call(&server, request).await;
        let calls = calls.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(calls, expected);
        let added = response.headers().contains_key("x-app");
        assert_eq!(added, response.status() == StatusCode::OK);
    }
}

/// An app behind a limit that is used up, as tower's `ConcurrencyLimit` is.
#[derive(Clone)]
struct Saturated(Arc<Semaphore>);

impl tower::Service<http::Request<crate::support::Body>> for Saturated {
    type Response = http::Response<crate::support::Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        let permit = std::pin::pin!(self.0.acquire()).poll(cx);
        permit.map(|permit| {
            permit.unwrap().forget();
            Ok(())
        })
    }

    fn call(&mut self, _: http::Request<crate::support::Body>) -> Self::Future {
        std::future::ready(Ok(http::Response::new("app".into())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_app_that_takes_no_more_requests_keeps_no_client_from_its_polls() {
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    let permits = Arc::new(Semaphore::new(0));
    let server = Server::builder().build();
    let app = Saturated(Arc::clone(&permits));
    let service = engineio_tower::EngineIoService::with_inner(server.clone(), app);
    let ask = |request: http::Request<crate::support::Body>| {
        let service = service.clone();
        async move {
            let response = service.oneshot(request).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        }
    };
    let foreign = || {
        http::Request::get("/")
            .body(crate::support::Body::default())
            .unwrap()
    };
    let within = |future| tokio::time::timeout(Duration::from_secs(1), future);
    assert!(
        within(ask(get_request(HANDSHAKE)))
            .await
            .unwrap()
            .starts_with(b"0")
    );
    let socket = server.sockets().remove(0);
    assert!(within(ask(foreign())).await.is_err());
    let sid = socket.sid();
    socket.try_send("a").unwrap();
    let polled = within(ask(get_request(&format!("{HANDSHAKE}&sid={sid}")))).await;
    assert_eq!(polled.unwrap(), "4a");
    // A request for the app waits until it is ready, and an Engine.IO request takes no permit of it.
    permits.add_permits(1);
    ask(crate::support::post_request(sid.as_ref(), "4x")).await;
    assert_eq!(within(ask(foreign())).await.unwrap(), "app");
    assert!(within(ask(foreign())).await.is_err());
}
