//! Limits on what runs for clients that are not there yet, or not there any more: origin predicates, connect handlers
//! whose request is gone, and disconnect handlers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Body, HANDSHAKE, by, call, get, get_request, open, pass, post_request, with};
use engineio_tower::{
    ConnectRequest, EngineIoService, Origins, PeerAddr, Server, ServerBuilder, Socket,
};
use futures_util::FutureExt;
use http::{Request, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::ServiceExt;

/// Handlers that wait for a permit, and how many do.
#[derive(Clone)]
struct Gate {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Gate {
    fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(0)),
            waiting: Arc::default(),
        }
    }

    async fn pass(self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.permits.acquire().await.unwrap().forget();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Lets all handlers pass, and the tasks that run them end.
    async fn open(&self) {
        self.permits.add_permits(Semaphore::MAX_PERMITS / 2);
        pass(1).await;
    }
}

fn waits_in_connect(builder: ServerBuilder) -> (Server, Gate) {
    let gate = Gate::new();
    let at = gate.clone();
    let server = builder.on_connect(move |_: Socket, _: ConnectRequest| at.clone().pass());
    (server.build(), gate)
}

fn waits_in_disconnect(builder: ServerBuilder) -> (Server, Gate) {
    let gate = Gate::new();
    let at = gate.clone();
    let server = builder.on_disconnect(move |_: Socket, _| at.clone().pass());
    (server.build(), gate)
}

fn from(peer: SocketAddr) -> Request<Body> {
    let mut request = get_request(HANDSHAKE);
    request.extensions_mut().insert(PeerAddr(peer));
    request
}

/// The status of a request that is answered at once. One that is not is dropped, as when its stream is reset.
fn status_or_reset(server: &Server, request: Request<Body>) -> Option<StatusCode> {
    let service = EngineIoService::new(server.clone());
    // Many of them in one turn of the test.
    let answer = tokio::task::unconstrained(service.oneshot(request)).now_or_never()?;
    Some(answer.unwrap().status())
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_resets_its_streams_has_two_hundred_connect_handlers_running_at_most() {
    let (server, gate) = waits_in_connect(Server::builder());
    let connection = SocketAddr::from(([10, 0, 0, 1], 1000));
    let neighbour = SocketAddr::from(([10, 0, 0, 1], 1001));
    for n in 0..1_000 {
        let expected = (n >= 200).then_some(StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(status_or_reset(&server, from(connection)), expected, "{n}");
    }
    pass(1).await;
    assert_eq!(gate.waiting(), 200);
    assert_eq!(status_or_reset(&server, from(neighbour)), None);
    gate.open().await;
    assert_eq!(
        call(&server, from(connection)).await.status(),
        StatusCode::OK
    );
}

#[tokio::test(start_paused = true)]
async fn connect_handlers_that_go_on_without_their_requests_are_limited_in_total() {
    let (server, gate) = waits_in_connect(Server::builder().max_pending_sockets(50));
    for n in 0..200 {
        let peer = SocketAddr::from(([10, 0, 0, n], 1000));
        let expected = (n >= 50).then_some(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status_or_reset(&server, from(peer)), expected, "{n}");
    }
    // A host that does not tell the address of its peers is limited in the same way.
    let refused = get(&server, HANDSHAKE).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    pass(1).await;
    assert_eq!(gate.waiting(), 50);
    gate.open().await;
    // The first one has its answer, and no longer counts.
    for _ in 0..60 {
        open(&server).await;
    }
}

fn asking(query: &str) -> Request<Body> {
    with("origin", "https://a.example", get_request(query))
}

#[tokio::test(start_paused = true)]
async fn requests_at_an_origin_predicate_that_never_answers_are_limited_in_number_and_time() {
    let server = Server::builder()
        .origins(Origins::predicate_async(|_, _| std::future::pending()))
        .connect_timeout(Duration::from_millis(200))
        .max_pending_sockets(1_000)
        .build();
    let (sid, _) = open(&server).await;
    let later = format!("{HANDSHAKE}&sid={sid}");
    let preflight = || {
        let request = by("OPTIONS", asking(HANDSHAKE));
        with("access-control-request-method", "POST", request)
    };
    let post = || with("origin", "https://a.example", post_request(&sid, "4x"));
    let requests: [&dyn Fn() -> Request<Body>; 4] =
        [&|| asking(HANDSHAKE), &|| asking(&later), &post, &preflight];
    for request in requests {
        let start = Instant::now();
        let answers = (0..1_010).map(|_| async {
            let status = call(&server, request()).await.status();
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            start.elapsed()
        });
        let waits = futures_util::future::join_all(answers).await;
        let at_once = waits.iter().filter(|wait| wait.is_zero()).count();
        assert_eq!(at_once, 10);
        assert!(waits.iter().all(|wait| *wait < Duration::from_millis(300)));
    }
    // The session whose requests were refused is still there for those that nobody has to be asked about.
    crate::support::socket(&server, &sid).try_send("x").unwrap();
    assert_eq!(
        crate::support::text(&crate::support::poll(&server, &sid).await),
        "4x"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_origin_was_asked_about_is_counted_once() {
    let server = Server::builder()
        .origins(Origins::predicate_async(|_, _| async {
            pass(10).await;
            true
        }))
        .max_pending_sockets(2)
        .build();
    let answers = (0..2).map(|_| async { call(&server, asking(HANDSHAKE)).await.status() });
    let answers = futures_util::future::join_all(answers).await;
    assert_eq!(answers, [StatusCode::OK; 2]);
}

#[tokio::test(start_paused = true)]
async fn the_time_limit_for_a_connect_is_one_for_the_origin_predicate_and_the_handler() {
    let wait = || pass(150);
    let server = Server::builder()
        .origins(Origins::predicate_async(move |_, _| async move {
            wait().await;
            true
        }))
        .on_connect(move |_: Socket, _: ConnectRequest| wait())
        .connect_timeout(Duration::from_millis(200))
        .build();
    let start = Instant::now();
    let refused = call(&server, asking(HANDSHAKE)).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(start.elapsed() < Duration::from_millis(250));
    // Without an origin there is nothing to ask.
    open(&server).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_keeps_its_place_until_its_disconnect_handler_has_returned() {
    let (server, gate) = waits_in_disconnect(Server::builder().max_sockets(10));
    for n in 0..500 {
        let response = get(&server, HANDSHAKE).await;
        if n < 10 {
            assert_eq!(response.status(), StatusCode::OK);
            server.sockets()[0].abort();
        } else {
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        pass(1).await;
    }
    assert!(server.is_empty());
    assert_eq!(gate.waiting(), 10);
    gate.open().await;
    open(&server).await;
}

#[tokio::test(start_paused = true)]
async fn disconnect_handlers_are_limited_without_a_limit_on_clients_and_never_left_out() {
    let (server, gate) = waits_in_disconnect(Server::builder().max_pending_sockets(10));
    // Those that are connected do not count.
    for _ in 0..20 {
        open(&server).await;
    }
    for socket in server.sockets() {
        socket.abort();
    }
    pass(1).await;
    assert_eq!(gate.waiting(), 20);
    let refused = get(&server, HANDSHAKE).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    gate.open().await;
    open(&server).await;
}
