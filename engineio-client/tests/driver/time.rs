//! Waits and their ends, on a clock that the test holds, with a server in memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::memory::Memory;
use bytes::Bytes;
use engineio_client::{
    Client, DisconnectReason, ErrorKind, Message, SendError, SinkError, Transport,
};
use futures_util::FutureExt;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;

const OPEN: &str = r#"0{"sid":"abc","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;

fn builder(service: Memory) -> engineio_client::ClientBuilder {
    Client::builder("http://in.memory").connector(service)
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_never_answered() {
    let start = Instant::now();
    let error = builder(Memory::new(|_, _| None))
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert_eq!(start.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_noticed_whether_or_not_anybody_reads() {
    let start = Instant::now();
    let client = builder(Memory::new(|number, _| (number == 0).then_some(OPEN)));
    let client = client.connect().await.unwrap();
    client.wait().await;
    assert_eq!(start.elapsed().as_secs(), 45);
    assert_eq!(
        client.disconnect_reason(),
        Some(DisconnectReason::PingTimeout)
    );
    let error = client.disconnect_error().unwrap();
    assert_eq!(error.kind(), ErrorKind::PingTimeout);
    assert!(
        error.to_string().contains("no heartbeat for 45s"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_post_that_is_never_answered() {
    let service = Memory::new(|number, _| (number == 0).then_some(OPEN));
    let client = builder(service).connect().await.unwrap();
    let start = Instant::now();
    client.send("a").await.unwrap();
    client.wait().await;
    assert_eq!(start.elapsed().as_secs(), 20);
    assert_eq!(
        client.disconnect_reason(),
        Some(DisconnectReason::TransportError)
    );
    assert_eq!(
        client.disconnect_error().unwrap().kind(),
        ErrorKind::Timeout
    );
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_never_answered() {
    let service = Memory::new(|number, _| (number == 0).then_some(OPEN));
    let client = builder(service).connect().await.unwrap();
    let start = Instant::now();
    client.close().await;
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Client));
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_without_anybody_reading() {
    let service = Memory::new(|number, request| match number {
        0 => Some(OPEN),
        // The second poll brings a ping, the POST is its pong, and nothing comes after that.
        1 => Some("2"),
        _ if request.method() == Method::POST => Some("ok"),
        _ => None,
    });
    let seen = Arc::clone(&service.seen);
    let client = builder(service).connect().await.unwrap();
    client.wait().await;
    let seen = seen.lock().unwrap();
    assert_eq!(
        seen.iter()
            .filter(|(method, _)| *method == Method::POST)
            .count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_sessions_polls_do_not_overlap_and_do_not_spin() {
    let service = Memory::new(|number, _| match number {
        0 => Some(OPEN),
        1..50 => Some("6"),
        _ => None,
    });
    let seen = Arc::clone(&service.seen);
    let client = builder(service)
        .transports([Transport::Polling])
        .connect()
        .await
        .unwrap();
    client.wait().await;
    assert_eq!(seen.lock().unwrap().len(), 51);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_every_poll_at_once_without_a_message_is_not_flooded() {
    for answer in ["6", "", "6\u{1e}6", "2", "3", "5", "0{}"] {
        let service = Memory::new(move |number, request| match number {
            0 => Some(OPEN),
            // The clock stands still for a client that does not.
            1_000.. => None,
            _ if request.method() == Method::POST => Some("ok"),
            _ => Some(answer),
        });
        let seen = Arc::clone(&service.seen);
        let mut client = builder(service).connect().await.unwrap();
        let second = Duration::from_secs(1);
        assert!(tokio::time::timeout(second, client.next()).await.is_err());
        client.abort();
        let seen = seen.lock().unwrap();
        let polls = seen.iter().filter(|(method, _)| method == Method::GET);
        let polls = polls.count();
        assert!((40..=60).contains(&polls), "{polls} polls for {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_ends_the_client() {
    let server = Memory::new(|number, _| (number == 0).then_some(OPEN));
    let connected = Arc::new(AtomicUsize::new(0));
    let connector = tower::service_fn(move |_| {
        // The handshake and the poll share a connection; the POST needs another.
        let first = connected.fetch_add(1, Ordering::Relaxed) == 0;
        let io = first.then(|| server.connect()).expect("on purpose");
        async move { Ok::<_, std::io::Error>(io) }
    });
    let builder = Client::builder("http://in.memory").connector(connector);
    let mut client = builder.connect().await.unwrap();
    client.send("a").await.unwrap();
    let limit = Duration::from_secs(3600);
    let ended = tokio::time::timeout(limit, async {
        assert_eq!(client.next().await, None);
        client.wait().await;
    });
    ended.await.unwrap();
    assert!(client.disconnect_error().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_always_answers_at_once_does_not_hold_its_thread() {
    let service = Memory::new(|number, _| Some(if number == 0 { OPEN } else { "6" }));
    let client = builder(service).connect().await.unwrap();
    client.close().await;
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Client));
}

#[tokio::test(start_paused = true)]
async fn intervals_of_zero_do_not_spin() {
    let open = r#"0{"sid":"abc","upgrades":[],"pingInterval":0,"pingTimeout":0}"#;
    let service = Memory::new(move |number, _| (number == 0).then_some(open));
    let seen = Arc::clone(&service.seen);
    let client = builder(service).connect().await.unwrap();
    client.wait().await;
    assert_eq!(
        client.disconnect_reason(),
        Some(DisconnectReason::PingTimeout)
    );
    assert!(seen.lock().unwrap().len() <= 2);
}

#[tokio::test(start_paused = true)]
async fn delays_of_the_way_back_are_kept() {
    let service = Memory::new(|number, _| match number {
        0 => Some(OPEN),
        _ => Some("no packets"),
    });
    let seen = Arc::clone(&service.seen);
    let policy = engineio_client::Reconnect::new()
        .initial_delay(Duration::from_secs(2))
        .jitter(0.0)
        .max_attempts(3);
    let client = builder(service).reconnect(policy).connect().await.unwrap();
    let start = Instant::now();
    client.wait().await;
    assert_eq!(start.elapsed().as_secs(), 2 + 4 + 8);
    assert_eq!(seen.lock().unwrap().len(), 1 + 1 + 3);
}

fn policy() -> engineio_client::Reconnect {
    engineio_client::Reconnect::new()
        .initial_delay(Duration::from_secs(1))
        .jitter(0.0)
}

/// The body of a request, which is there as a whole.
fn body(request: &Request<Full<Bytes>>) -> Bytes {
    let body = request.body().clone().collect().now_or_never();
    body.unwrap().unwrap().to_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_message_is_not_given_to_a_session_that_does_not_come_about() {
    let posted = Arc::new(Mutex::new(Vec::new()));
    let posts = Arc::clone(&posted);
    let service = Memory::new(move |number, request| match number {
        0 | 3 => Some(OPEN),
        1 => Some("no packets"),
        // The first attempt to come back.
        2 => None,
        _ if request.method() == Method::POST => {
            posts.lock().unwrap().push(body(request));
            Some("ok")
        }
        _ => None,
    });
    let seen = Arc::clone(&service.seen);
    let mut client = builder(service)
        .reconnect(policy())
        .connect()
        .await
        .unwrap();
    while seen.lock().unwrap().len() < 3 {
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    let handle = client.handle();
    let sending = tokio::spawn(async move { handle.send("patient").await });
    futures_util::SinkExt::send(&mut client, "sunk".into())
        .await
        .unwrap();
    sending.await.unwrap().unwrap();
    client.close().await;
    let posted = posted.lock().unwrap().concat();
    let posted = String::from_utf8(posted).unwrap();
    assert!(
        posted.contains("4patient") && posted.contains("4sunk"),
        "{posted}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_sink_closes_although_the_message_that_it_holds_may_not_be_sent() {
    let service = Memory::new(move |number, request| match number {
        0 | 2 => Some(OPEN),
        1 => Some("no packets"),
        _ if request.method() == Method::POST => Some("ok"),
        _ => None,
    });
    let seen = Arc::clone(&service.seen);
    let mut client = builder(service)
        .reconnect(policy())
        .connect()
        .await
        .unwrap();
    while client.is_open() {
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    // Kept for the next session, of which nobody knows yet how it begins.
    let text = "a\x1e1";
    let held = futures_util::SinkExt::feed(&mut client, text.into()).await;
    held.unwrap();
    while !client.is_open() {
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    let closed = futures_util::SinkExt::close(&mut client).await;
    let separator = SendError::Separator(text.into());
    assert_eq!(closed, Err(SinkError::NotQueued(separator)));
    client.wait().await;
    let reason = client.disconnect_reason();
    assert_eq!(reason, Some(DisconnectReason::Client));
    let last = seen
        .lock()
        .unwrap()
        .last()
        .map(|(method, _)| method.clone());
    assert_eq!(last, Some(Method::POST), "no close packet");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_does_not_grow_from_session_to_session() {
    let open: &str = format!("{OPEN}\u{1e}4{}", "x".repeat(600)).leak();
    let service = Memory::new(move |_, request| {
        let is_handshake = !request.uri().query().unwrap().contains("sid=");
        Some(if is_handshake { open } else { "no packets" })
    });
    let seen = Arc::clone(&service.seen);
    let mut client = builder(service)
        .reconnect(policy())
        .inbox_limit(1000)
        .connect()
        .await
        .unwrap();
    let _ = tokio::time::timeout(Duration::from_secs(100), client.wait()).await;
    let requests = seen.lock().unwrap().len();
    assert!(requests <= 6, "{requests} requests");
    // Who reads on sees the client come back.
    for _ in 0..10 {
        assert_eq!(client.next().await.unwrap().len(), 600);
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_sends_does_not_wait_for_a_session_that_waits_for_it() {
    let many = format!("\u{1e}4{}", "x".repeat(600)).repeat(8);
    let open: &str = format!("{OPEN}{many}").leak();
    let service = Memory::new(move |_, request| {
        // No POST is answered, so the session ends while most of it is unread.
        let is_handshake = !request.uri().query().unwrap().contains("sid=");
        is_handshake.then_some(open)
    });
    let seen = Arc::clone(&service.seen);
    let client = builder(service)
        .reconnect(policy())
        .inbox_limit(1000)
        .outbox_limit(1)
        .on_message(|client, message| async move {
            let _ = client.send(message).await;
        })
        .connect()
        .await
        .unwrap();
    let _ = tokio::time::timeout(Duration::from_secs(100), client.wait()).await;
    let requests = seen.lock().unwrap().len();
    assert!(requests > 6, "{requests} requests");
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn attempts_that_fail_do_not_hide_why_the_session_ended() {
    let service = Memory::new(|number, _| match number {
        0 => Some(OPEN),
        1 => Some("1"),
        _ => Some("no packets"),
    });
    let client = builder(service).reconnect(policy().max_attempts(2));
    let client = client.connect().await.unwrap();
    client.wait().await;
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Server));
    // Why it gave up.
    let error = client.disconnect_error().unwrap();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_waits_for_room_closes_in_time() {
    // No POST is answered.
    let service = Memory::new(|number, _| (number == 0).then_some(OPEN));
    let builder = builder(service).outbox_limit(1);
    let builder = builder.close_timeout(Duration::from_secs(3));
    let mut client = builder.connect().await.unwrap();
    for text in ["under way", "queued", "kept"] {
        futures_util::SinkExt::feed(&mut client, text.into())
            .await
            .unwrap();
    }
    let start = Instant::now();
    let closed = futures_util::SinkExt::close(&mut client).await;
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(closed, Err(SinkError::Lost));
    let unsent = client.take_unsent();
    assert_eq!(unsent, ["queued", "kept"].map(Message::from));
}

#[tokio::test(start_paused = true)]
async fn no_policy_makes_a_client_panic() {
    for policy in [
        policy().jitter(f64::NAN),
        policy()
            .initial_delay(Duration::MAX)
            .max_delay(Duration::MAX)
            .jitter(1.0),
    ] {
        let service = Memory::new(|number, _| match number {
            0 => Some(OPEN),
            _ => Some("no packets"),
        });
        let client = builder(service).reconnect(policy).connect().await.unwrap();
        let _ = tokio::time::timeout(Duration::from_secs(5), client.wait()).await;
        client.close().await;
        let error = client.disconnect_error().unwrap();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_waits_for_room_hears_of_an_abort() {
    // No POST is answered.
    let service = Memory::new(|number, _| (number == 0).then_some(OPEN));
    let builder = builder(service).outbox_limit(1);
    let mut client = builder.connect().await.unwrap();
    // The first one is on its way, the second one fills the outbox.
    client.send("a").await.unwrap();
    client.send("b").await.unwrap();
    let start = Instant::now();
    let handle = client.handle();
    let sending =
        tokio::spawn(async move { futures_util::SinkExt::send(&mut client, "c".into()).await });
    tokio::task::yield_now().await;
    handle.abort();
    assert_eq!(sending.await.unwrap(), Err(SinkError::Lost));
    assert!(start.elapsed() < Duration::from_secs(1));
    let unsent = handle.take_unsent();
    assert_eq!(unsent, ["b", "c"].map(Message::from));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_kept_for_too_long_gets_no_request() {
    let service = Memory::new(|number, request| match *request.method() {
        Method::POST => Some("ok"),
        _ => (number == 0).then_some(OPEN),
    });
    let mut client = builder(service.clone()).connect().await.unwrap();
    client.send("a").await.unwrap();
    client.flush().await.unwrap();
    let connections = || service.connections.load(Ordering::Relaxed);
    let before = connections();
    client.send("b").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(connections(), before);
    // As after a pause of the thread: the message is there, and the time is over.
    client.handle().try_send("c").unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    client.flush().await.unwrap();
    assert_eq!(connections(), before + 1);
}
