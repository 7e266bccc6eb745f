//! Requests that are refused before there is a session, as a strict client of HTTP/3 sees them.

use std::sync::Arc;
use std::time::Duration;

use engineio_tower::Origins;
use http::StatusCode;
use tokio::sync::{Notify, mpsc};
use web_transport_quinn::proto::{ConnectError, ConnectRequest, ConnectResponse};
use web_transport_quinn::quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream};

use crate::raw::{self, connect};
use crate::support::{
    Harness, PLACES, echo, one_origin, panics::panic_again_on_drop, start, within,
};

/// `H3_NO_ERROR` (RFC 9114 § 8.1).
const NO_ERROR: u32 = 0x100;

/// A client that regards the end of a control stream as an error of the connection (RFC 9114 § 6.2.1).
struct Strict {
    connection: Connection,
    /// The control stream of this side, and that of the server.
    control: (SendStream, RecvStream),
    request: (SendStream, RecvStream),
}

impl Strict {
    async fn request(harness: &Harness, path: &str, origin: Option<&str>) -> Self {
        let connection = connect(harness).await.unwrap();
        let control = raw::settings(&connection).await;
        let mut request = ConnectRequest::new(harness.url(path));
        if let Some(origin) = origin {
            let origin = origin.parse().unwrap();
            request = request.with_header(http::header::ORIGIN, origin);
        }
        let mut head = Vec::new();
        request.encode(&mut head).unwrap();
        let mut request = within(connection.open_bi()).await.unwrap();
        within(request.0.write_all(&head)).await.unwrap();
        let settings = within(connection.accept_uni()).await.unwrap();
        Self {
            connection,
            control: (control, settings),
            request,
        }
    }

    /// Waits for the status, and fails if the server ends a control stream or the stream of the request before.
    async fn status(&mut self) -> StatusCode {
        let mut answer = Vec::new();
        loop {
            let (mine, theirs) = &mut self.control;
            let (request, response) = &mut self.request;
            let read = async {
                let chunk = response.read_chunk(1_000, true).await.unwrap();
                answer.extend_from_slice(&chunk.expect("a status before the end").bytes);
            };
            tokio::select! {
                biased;
                code = mine.stopped() => panic!("the control stream was stopped: {code:?}"),
                code = request.stopped() => panic!("the request was stopped: {code:?}"),
                () = stays_open(theirs) => {}
                () = within(read) => {}
            }
            match ConnectResponse::decode(&mut answer.as_slice()) {
                Err(ConnectError::UnexpectedEnd) => {}
                Err(ConnectError::WrongStatus(Some(status))) => return status,
                other => panic!("no refusal: {other:?}"),
            }
        }
    }

    /// Waits until the server closes the connection, and fails if a control stream ends before. Returns the code.
    async fn closed(&mut self) -> u32 {
        let (mine, theirs) = &mut self.control;
        let stopped = async {
            if let Ok(code) = mine.stopped().await {
                panic!("the control stream was stopped: {code:?}");
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            closed = within(self.connection.closed()) => match closed {
                ConnectionError::ApplicationClosed(close) => {
                    u32::try_from(close.error_code.into_inner()).unwrap()
                }
                other => panic!("no close by the server: {other:?}"),
            },
            () = stopped => unreachable!(),
            () = stays_open(theirs) => unreachable!(),
        }
    }
}

/// Reads what a control stream carries. Fails if the stream ends.
async fn stays_open(control: &mut RecvStream) {
    loop {
        match control.read_chunk(1_000, true).await {
            Ok(Some(_)) => {}
            Err(ReadError::ConnectionLost(_)) => std::future::pending().await,
            end => panic!("the control stream of the server ended: {end:?}"),
        }
    }
}

#[tokio::test]
async fn a_strict_client_reads_the_status_of_every_refusal() {
    let stranger = Some("https://example.org");
    let harness = start(echo().origins(one_origin())).await;
    for (path, origin, expected) in [
        ("/elsewhere", None, 404),
        ("/engine.io/?EIO=3", None, 400),
        ("/engine.io/", stranger, 403),
    ] {
        let mut client = Strict::request(&harness, path, origin).await;
        assert_eq!(client.status().await, expected, "{path}");
        // The client takes its time. The server closes the connection in good order.
        assert_eq!(client.closed().await, NO_ERROR, "{path}");
    }
    harness.server.refuse_clients();
    let mut client = Strict::request(&harness, "/engine.io/", None).await;
    assert_eq!(client.status().await, 503);

    let panics = |_: &str, _: &http::request::Parts| -> bool { panic_again_on_drop() };
    let harness = start(echo().origins(Origins::predicate(panics))).await;
    let mut client = Strict::request(&harness, "/engine.io/", stranger).await;
    assert_eq!(client.status().await, 500);
}

#[tokio::test]
async fn a_refused_client_keeps_its_place_until_its_connection_is_closed() {
    let harness = start(echo().upgrade_timeout(Duration::from_secs(3_600))).await;
    let mut waiting = Vec::new();
    for _ in 1..PLACES {
        waiting.push(connect(&harness).await.unwrap());
    }
    let mut refused = Strict::request(&harness, "/elsewhere", None).await;
    assert_eq!(refused.status().await, 404);
    let another = connect(&harness).await;
    assert!(another.is_err() || refused.connection.close_reason().is_some());
    assert_eq!(refused.closed().await, NO_ERROR);
    // The place is free soon after.
    let mut attempts = 0;
    while connect(&harness).await.is_err() {
        attempts += 1;
        assert!(attempts < 1_000, "the place is not given back");
    }
}

#[tokio::test]
async fn a_client_whose_request_a_shutdown_interrupts_reads_its_status() {
    let (tell, mut asked) = mpsc::unbounded_channel();
    let decide = Arc::new(Notify::new());
    let decision = Arc::clone(&decide);
    let origins = Origins::predicate_async(move |_, _| {
        let decision = Arc::clone(&decision);
        let _ = tell.send(());
        async move {
            decision.notified().await;
            false
        }
    });
    let harness = start(echo().origins(origins)).await;
    let origin = Some("https://example.org");
    let mut client = Strict::request(&harness, "/engine.io/", origin).await;
    within(asked.recv()).await.unwrap();
    within(harness.server.shutdown(Duration::ZERO)).await;
    // The listener has its turn.
    tokio::task::yield_now().await;
    decide.notify_one();
    assert_eq!(client.status().await, 403);
    client.connection.close(0u32.into(), b"");
    within(harness.serving).await.unwrap();
}
