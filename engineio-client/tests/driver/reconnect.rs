//! The policy for connecting again, on a clock that the test holds, with a server in memory.

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::memory::{Memory, refusal};
use bytes::Bytes;
use engineio_client::{
    Client, ClientBuilder, DisconnectReason, ErrorKind, FailedAttempt, Reconnect, Renewal,
    Transport,
};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use tokio::time::Instant;

const OPEN: &str = r#"0{"sid":"abc","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;

fn builder(server: &Memory, policy: Reconnect) -> ClientBuilder {
    Client::builder("http://in.memory")
        .transports([Transport::Polling])
        .connector(server.clone())
        .reconnect(policy)
}

/// A policy whose delays are exact.
fn policy() -> Reconnect {
    Reconnect::new().jitter(0.0)
}

fn ok(body: &'static str) -> Option<Response<Full<Bytes>>> {
    Some(Response::new(Full::from(body)))
}

fn is_handshake(request: &Request<Full<Bytes>>) -> bool {
    !request.uri().query().unwrap().contains("sid=")
}

/// A server that answers handshakes as `answer` says, by their number, and ends each session with its first poll.
fn short_sessions(
    answer: impl Fn(usize) -> Option<Response<Full<Bytes>>> + Send + Sync + 'static,
) -> (Memory, Arc<AtomicUsize>) {
    let handshakes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handshakes);
    let server = Memory::with_responses(move |_, request| match is_handshake(request) {
        true => answer(count.fetch_add(1, Ordering::Relaxed)),
        false => ok("1"),
    });
    (server, handshakes)
}

/// A server that refuses the first handshakes, and then keeps its sessions.
fn opens_after(failures: usize, refuse: fn() -> Response<Full<Bytes>>) -> Memory {
    Memory::with_responses(move |number, request| match is_handshake(request) {
        true if number < failures => Some(refuse()),
        true => ok(OPEN),
        false => None,
    })
}

type Told = Arc<Mutex<Vec<(u32, Option<u64>)>>>;

/// A hook that notes the number of each failed attempt, and the delay after it in seconds.
fn note() -> (Told, impl Fn(&FailedAttempt) + Send + Sync + 'static) {
    let told = Told::default();
    let notes = Arc::clone(&told);
    let hook = move |failed: &FailedAttempt| {
        assert!(failed.error.is_some(), "{failed:?}");
        let delay = failed.next_delay.map(|delay| delay.as_secs());
        notes.lock().unwrap().push((failed.attempt, delay));
    };
    (told, hook)
}

#[tokio::test(start_paused = true)]
async fn the_first_connection_is_tried_again_if_that_is_asked_for() {
    let server = opens_after(3, || refusal(503));
    let (told, hook) = note();
    let policy = policy().first_connection(true).on_failed_attempt(hook);
    let start = Instant::now();
    let client = builder(&server, policy).connect().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 1 + 2 + 4);
    assert!(client.is_open() && client.disconnect_reason().is_none());
    let expected = [(0, Some(1)), (1, Some(2)), (2, Some(4))];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_first_connection_fails_at_once_by_default() {
    let server = opens_after(1, || refusal(503));
    let (told, hook) = note();
    let policy = policy().on_failed_attempt(hook);
    let error = builder(&server, policy).connect().await.unwrap_err();
    assert_eq!(error.status(), Some(503));
    assert_eq!(server.seen.lock().unwrap().len(), 1);
    assert!(told.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_first_connection_that_is_given_up_fails_with_the_last_error() {
    let server = opens_after(usize::MAX, || refusal(502));
    let (told, hook) = note();
    let policy = policy().max_attempts(2).first_connection(true);
    let builder = builder(&server, policy.on_failed_attempt(hook));
    let error = builder.connect().await.unwrap_err();
    assert_eq!(error.status(), Some(502));
    let expected = [(0, Some(1)), (1, Some(2)), (2, None)];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_first_connection_that_is_dropped_is_not_tried_again() {
    let server = opens_after(usize::MAX, || refusal(503));
    let policy = policy().unlimited_attempts().first_connection(true);
    let connecting = builder(&server, policy).connect();
    let dropped = tokio::time::timeout(Duration::from_secs(100), connecting).await;
    assert!(dropped.is_err());
    let seen = server.seen.lock().unwrap().len();
    let later = Duration::from_secs(600);
    assert!(tokio::time::timeout(later, pending::<()>()).await.is_err());
    assert_eq!(server.seen.lock().unwrap().len(), seen);
}

#[tokio::test(start_paused = true)]
async fn attempts_without_a_limit_go_on_until_the_server_is_back() {
    let server = opens_after(1000, || refusal(503));
    let (told, hook) = note();
    let policy = policy().unlimited_attempts().first_connection(true);
    let builder = builder(&server, policy.on_failed_attempt(hook));
    let client = builder.connect().await.unwrap();
    assert!(client.is_open());
    assert_eq!(told.lock().unwrap().last(), Some(&(999, Some(30))));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_drops_is_left_alone_more_and_more() {
    let (server, handshakes) = short_sessions(|_| ok(OPEN));
    let start = Instant::now();
    let client = builder(&server, policy().max_attempts(4))
        .connect()
        .await
        .unwrap();
    client.wait().await;
    assert_eq!(handshakes.load(Ordering::Relaxed), 1 + 4);
    assert_eq!(start.elapsed().as_secs(), 1 + 2 + 4 + 8);
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Server));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_lasts_resets_the_delay_and_the_number_of_attempts() {
    let start = Instant::now();
    let handshakes = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&handshakes);
    let server = Memory::new(move |_, request| {
        is_handshake(request).then(|| {
            notes.lock().unwrap().push(start.elapsed().as_secs());
            OPEN
        })
    });
    let policy = policy().max_attempts(1);
    let client = builder(&server, policy).connect().await.unwrap();
    // Each session ends by the ping timeout, after 45 s.
    let over = tokio::time::timeout(Duration::from_secs(200), client.wait()).await;
    assert!(over.is_err(), "it comes back each time");
    client.close().await;
    assert_eq!(*handshakes.lock().unwrap(), [0, 46, 92, 138, 184]);
}

#[tokio::test(start_paused = true)]
async fn the_application_decides_by_the_reason_and_by_the_error() {
    let (server, handshakes) = short_sessions(|_| ok(OPEN));
    let policy = Reconnect::new().retry_if(|reason, error| {
        assert!(error.is_none());
        reason != DisconnectReason::Server
    });
    let client = builder(&server, policy).connect().await.unwrap();
    client.wait().await;
    assert_eq!(handshakes.load(Ordering::Relaxed), 1);

    let server = opens_after(usize::MAX, || refusal(404));
    let policy = Reconnect::new().first_connection(true);
    let policy = policy.retry_if(|_, error| error.and_then(|error| error.status()) != Some(404));
    let error = builder(&server, policy).connect().await.unwrap_err();
    assert_eq!(error.status(), Some(404));
    assert_eq!(server.seen.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_are_tried_again_only_if_they_are_renewed() {
    for status in [401, 403, 407] {
        let refuse: fn() -> _ = match status {
            401 => || refusal(401),
            403 => || refusal(403),
            _ => || refusal(407),
        };
        let server = opens_after(2, refuse);
        let policy = policy().first_connection(true);
        let error = builder(&server, policy.clone())
            .connect()
            .await
            .unwrap_err();
        assert_eq!(error.status(), Some(status));
        assert_eq!(server.seen.lock().unwrap().len(), 1);

        let server = opens_after(2, refuse);
        let policy = policy.renew(|| async { Ok::<_, io::Error>(Renewal::new()) });
        builder(&server, policy).connect().await.unwrap();
    }
}

fn busy() -> Response<Full<Bytes>> {
    let mut response = refusal(503);
    let headers = response.headers_mut();
    headers.insert("retry-after", "100".parse().unwrap());
    response
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_a_delay_gets_it_up_to_a_limit() {
    for (most, expected) in [(None, 101), (Some(40), 41), (Some(0), 1)] {
        let server = opens_after(1, busy);
        let mut policy = policy().first_connection(true);
        if let Some(most) = most {
            policy = policy.max_retry_after(Duration::from_secs(most));
        }
        let start = Instant::now();
        builder(&server, policy).connect().await.unwrap();
        assert_eq!(start.elapsed().as_secs(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn headers_and_query_are_renewed_before_each_attempt() {
    type Seen = (Option<String>, String);
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let notes = Arc::clone(&seen);
    let server = Memory::with_responses(move |_, request| {
        if !is_handshake(request) {
            return ok("1");
        }
        let header = request.headers().get("x-token");
        let header = header.map(|value| value.to_str().unwrap().to_owned());
        let query = request.uri().query().unwrap();
        let end = query.find("&EIO").unwrap();
        notes
            .lock()
            .unwrap()
            .push((header, query[..end].to_owned()));
        ok(OPEN)
    });
    let asked = AtomicUsize::new(0);
    let policy = policy().max_attempts(3).renew(move || {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        async move {
            let renewal = Renewal::new();
            Ok::<_, io::Error>(match number {
                0 => renewal.query("to ken", "a&b").query("sid", "stolen"),
                1 => renewal.header("x-token", "fresh"),
                _ => renewal,
            })
        }
    });
    let builder = builder(&server, policy)
        .query("to ken", "old")
        .query("room", "1");
    let client = builder.header("x-token", "old").connect().await.unwrap();
    client.wait().await;
    let seen = seen.lock().unwrap();
    let seen: Vec<_> = seen
        .iter()
        .map(|(header, query)| (header.as_deref().unwrap(), query.as_str()))
        .collect();
    let renewed = "room=1&to+ken=a%26b";
    assert_eq!(
        seen,
        [
            ("old", "to+ken=old&room=1"),
            ("old", renewed),
            ("fresh", renewed),
            ("fresh", renewed)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_a_failed_attempt_that_says_why() {
    let (server, handshakes) = short_sessions(|_| ok(OPEN));
    let asked = AtomicUsize::new(0);
    let errors = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&errors);
    let policy = policy()
        .max_attempts(4)
        .renew(move || {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            async move {
                match number {
                    0 => Err(io::Error::other("the issuer of tokens is away")),
                    1 => pending().await,
                    2 => Ok(Renewal::new().headers(HeaderMap::new())),
                    _ => Ok(Renewal::new().header("no header", "")),
                }
            }
        })
        .on_failed_attempt(move |failed| notes.lock().unwrap().push(failed.clone()));
    let builder = builder(&server, policy).request_timeout(Duration::from_secs(5));
    let client = builder.connect().await.unwrap();
    let start = Instant::now();
    client.wait().await;
    assert_eq!(start.elapsed().as_secs(), 1 + (2 + 5) + 4 + 8);
    assert_eq!(handshakes.load(Ordering::Relaxed), 2);
    let errors = errors.lock().unwrap();
    let kinds: Vec<_> = errors
        .iter()
        .map(|failed| failed.error.as_ref().unwrap().kind())
        .collect();
    let expected = [ErrorKind::Renewal, ErrorKind::Renewal, ErrorKind::Invalid];
    assert_eq!(kinds, expected);
    let source = std::error::Error::source(errors[0].error.as_ref().unwrap()).unwrap();
    assert_eq!(source.to_string(), "the issuer of tokens is away");
    let last = errors.last().unwrap();
    assert_eq!(
        last.next_delay, None,
        "what cannot be sent is not tried again"
    );
    let error = client.disconnect_error().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_credentials_can_be_closed() {
    let (server, handshakes) = short_sessions(|_| ok(OPEN));
    let policy = policy().renew(pending::<Result<Renewal, io::Error>>);
    let client = builder(&server, policy).connect().await.unwrap();
    let start = Instant::now();
    let waiting = tokio::time::timeout(Duration::from_secs(3), client.wait()).await;
    assert!(waiting.is_err(), "it still asks");
    client.close().await;
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(handshakes.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn delays_are_kept_and_no_policy_makes_a_client_panic() {
    for policy in [
        Reconnect::new()
            .max_delay(Duration::MAX)
            .initial_delay(Duration::MAX),
        Reconnect::new().jitter(f64::NAN).reset_after(Duration::MAX),
        Reconnect::new()
            .max_retry_after(Duration::MAX)
            .initial_delay(Duration::MAX),
    ] {
        let server = opens_after(usize::MAX, busy);
        let policy = policy.first_connection(true);
        let connecting = builder(&server, policy).connect();
        let waiting = tokio::time::timeout(Duration::from_secs(50), connecting).await;
        assert!(waiting.is_err(), "the delay is not over");
        assert_eq!(server.seen.lock().unwrap().len(), 1);
    }
}
