//! Counts the heap allocations of a message, over the bytes of a WebSocket and through the service for polling.
//!
//! The numbers are limits, not goals that may be met on average: a change that adds one allocation to a message fails.

use std::convert::Infallible;

use allocation_counter::measure;
use bytes::Bytes;
use engineio_tower::{Driver, EngineIoService, HostUpgrade, Message, Server, Socket};
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::Runtime;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tower_service::Service;

/// Messages of one read, which the driver handles as one batch.
const BATCH: usize = 16;
const BATCHES: usize = 64;

fn plain() -> Server {
    Server::builder()
        .on_message(|socket: Socket, message: Message| {
            assert!(socket.try_send(message).is_ok(), "there is room");
        })
        .build()
}

fn asynchronous() -> Server {
    Server::builder()
        .on_message(|socket: Socket, message: Message| async move {
            assert!(socket.send(message).await.is_ok(), "the client is there");
        })
        .build()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

async fn call(server: &Server, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let mut service = EngineIoService::new(server.clone());
    let response: Result<_, Infallible> = service.call(request).await;
    let (head, body) = response.expect("infallible").into_parts();
    let body = body.collect().await.expect("infallible").to_bytes();
    Response::from_parts(head, body)
}

fn request(method: Method, rest: &str, body: &'static [u8]) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("/engine.io/?EIO=4&transport={rest}"))
        .body(Full::new(Bytes::from_static(body)))
        .expect("a request")
}

/// A client's masked text frame.
fn frame(text: &[u8]) -> Vec<u8> {
    let mask = [1_u8, 2, 3, 4];
    let mut frame = vec![0x81, 0x80 | text.len() as u8];
    frame.extend(mask);
    frame.extend(text.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    frame
}

async fn websocket(server: &Server) -> DuplexStream {
    let mut open = request(Method::GET, "websocket", b"");
    open.extensions_mut().insert(HostUpgrade);
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        open.headers_mut()
            .insert(name, http::HeaderValue::from_static(value));
    }
    let mut service = EngineIoService::new(server.clone());
    let mut response = service.call(open).await.expect("infallible");
    let driver = Driver::take(&mut response).expect("a driver");
    let (client, host) = tokio::io::duplex(64 * 1024);
    tokio::spawn(driver.run(host));
    client
}

/// Sends batches and waits for their echoes.
async fn echo(client: &mut DuplexStream, batch: &[u8], times: usize) {
    // Server frames have no mask.
    let mut answer = [0; BATCH * (2 + 31)];
    for _ in 0..times {
        client.write_all(batch).await.expect("written");
        client.read_exact(&mut answer).await.expect("echoed");
    }
}

/// Counts the allocations of `BATCHES` batches in total. The other side's task runs on this thread too.
fn allocations_of(runtime: &Runtime, mut client: DuplexStream) -> u64 {
    let batch = frame(b"4a message of some thirty bytes").repeat(BATCH);
    // One-time growth is over after this.
    runtime.block_on(echo(&mut client, &batch, 8));
    let counted = measure(|| runtime.block_on(echo(&mut client, &batch, BATCHES)));
    counted.count_total
}

fn echo_allocations(server: Server) -> u64 {
    let runtime = runtime();
    let client = runtime.block_on(async {
        let mut client = websocket(&server).await;
        let mut open = [0; 512];
        let len = client.read(&mut open).await.expect("the open packet");
        assert!(open[..len].windows(5).any(|five| five == b"\"sid\""));
        client
    });
    allocations_of(&runtime, client)
}

/// The same echo by tungstenite alone, with buffers of the same size.
fn tungstenite_allocations() -> u64 {
    let runtime = runtime();
    let (client, host) = tokio::io::duplex(64 * 1024);
    runtime.spawn(async move {
        let config = WebSocketConfig::default().read_buffer_size(4096);
        let mut socket = WebSocketStream::from_raw_socket(host, Role::Server, Some(config)).await;
        while let Some(Ok(message)) = socket.next().await {
            socket.send(message).await.expect("the client is there");
        }
    });
    allocations_of(&runtime, client)
}

/// The messages of all batches. Each has memory of its own: a slice of the read buffer would keep all of it alive, of
/// which the queues count no more than the message.
const MESSAGES: u64 = (BATCHES * BATCH) as u64;

#[test]
fn a_plain_handler_costs_a_websocket_message_one_allocation() {
    let (ours, theirs) = (echo_allocations(plain()), tungstenite_allocations());
    println!("{BATCHES} batches of {BATCH}: {ours} allocations, tungstenite alone {theirs}");
    assert!(
        ours <= theirs + MESSAGES,
        "{ours} allocations, tungstenite {theirs}"
    );
}

#[test]
fn an_async_handler_costs_one_more_allocation_a_batch() {
    let (ours, theirs) = (echo_allocations(asynchronous()), tungstenite_allocations());
    println!("{BATCHES} batches of {BATCH}: {ours} allocations, tungstenite alone {theirs}");
    assert!(
        ours <= theirs + MESSAGES + BATCHES as u64,
        "{ours} allocations, tungstenite {theirs}"
    );
}

/// The allocations of a POST, and of the GET that waits for its echo, without a host.
fn round_trip_allocations(server: Server) -> (u64, u64) {
    let runtime = runtime();
    let open = runtime.block_on(call(&server, request(Method::GET, "polling", b"")));
    let open = String::from_utf8(open.into_body().to_vec()).expect("text");
    let (_, rest) = open.split_once("\"sid\":\"").expect("a sid");
    let session = format!("polling&sid={}", rest.split('"').next().expect("a sid"));
    let get = || request(Method::GET, &session, b"");
    let post = || request(Method::POST, &session, b"4a message of some thirty bytes");
    let round_trip = |post: Request<_>, get: Request<_>| {
        runtime.block_on(async {
            let (polled, posted) = tokio::join!(call(&server, get), call(&server, post));
            assert_eq!(posted.into_body(), "ok");
            assert_eq!(polled.into_body(), "4a message of some thirty bytes");
        });
    };
    for _ in 0..8 {
        round_trip(post(), get());
    }
    let rounds = 32;
    let mut requests: Vec<_> = (0..rounds).map(|_| (post(), get())).collect();
    let counted = measure(|| {
        for (post, get) in requests.drain(..) {
            round_trip(post, get);
        }
    });
    (counted.count_total, rounds)
}

#[test]
fn a_polling_round_trip_costs_a_known_number() {
    // Two header maps of the responses, each of two blocks, and the body of the POST, which in the host's read buffer
    // would keep all of that alive; and two by the collector of this test, which stands for the host.
    for (server, most) in [(plain(), 7), (asynchronous(), 8)] {
        let (allocations, rounds) = round_trip_allocations(server);
        println!("{rounds} round trips: {allocations} allocations");
        assert!(allocations <= most * rounds, "{allocations} allocations");
    }
}
