//! Answers that come before the body of their request was read: the rest of it is read and discarded, so that the host
//! has no reason to reset the connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use engineio_tower::{EngineIoService, Server};
use http::request::Builder;
use http::{Request, StatusCode};
use http_body::{Body, Frame};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tower::ServiceExt;

/// A body whose chunks arrive while it is read.
struct Upload(UnboundedReceiver<Bytes>);

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.0.poll_recv(cx);
        chunk.map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn upload() -> (UnboundedSender<Bytes>, Upload) {
    let (sender, chunks) = unbounded_channel();
    (sender, Upload(chunks))
}

async fn answer(server: &Server, head: Builder, body: Upload) -> StatusCode {
    let service = EngineIoService::new(server.clone()).discard_unread::<Upload>();
    let response = service.oneshot(head.body(body).unwrap()).await.unwrap();
    response.status()
}

fn post(query: &str) -> Builder {
    Request::post(format!("/engine.io/?EIO=4&transport=polling{query}"))
}

/// Sends chunks while somebody reads them, a second apart, and returns how many there were and for how long.
async fn sent(sender: UnboundedSender<Bytes>, chunk: Bytes, most: usize) -> (usize, Duration) {
    let begun = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    for count in 0..most {
        pace.tick().await;
        if sender.send(chunk.clone()).is_err() {
            return (count, begun.elapsed());
        }
    }
    (most, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_body_is_read_after_each_refusal() {
    let server = Server::builder().max_payload(1000).build();
    let (sid, _) = crate::support::open(&server).await;
    let foreign = post("").header("host", "a.example");
    for (head, refusal) in [
        (post("&sid=unknown"), StatusCode::BAD_REQUEST),
        (
            foreign.header("origin", "https://b.example"),
            StatusCode::FORBIDDEN,
        ),
        (post(&format!("&sid={sid}")), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let (sender, body) = upload();
        sender.send(Bytes::from(vec![b'4'; 2000])).unwrap();
        assert_eq!(answer(&server, head, body).await, refusal);
        let chunk = Bytes::from_static(&[b'4'; 1000]);
        assert_eq!(sent(sender, chunk, 20).await.0, 20, "{refusal}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rest_without_end_is_let_go_after_30_seconds_or_64_mebibytes() {
    let server = Server::builder().build();
    let (sender, body) = upload();
    answer(&server, post("&sid=unknown"), body).await;
    let (_, lasted) = sent(sender, Bytes::from_static(b"4"), 100).await;
    assert!(
        lasted.abs_diff(Duration::from_secs(30)) <= Duration::from_secs(1),
        "{lasted:?}"
    );

    let (sender, body) = upload();
    answer(&server, post("&sid=unknown"), body).await;
    let (count, _) = sent(sender, Bytes::from(vec![b'4'; 8 << 20]), 100).await;
    assert_eq!(count, 8);
}

#[tokio::test(start_paused = true)]
async fn a_rest_that_does_not_come_is_let_go_after_5_seconds() {
    let server = Server::builder().build();
    let (sender, body) = upload();
    answer(&server, post("&sid=unknown"), body).await;
    sender.send(Bytes::from_static(b"4")).unwrap();
    let begun = Instant::now();
    sender.closed().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
}

/// The client sends the body when it is asked to, and not after a refusal.
#[tokio::test(start_paused = true)]
async fn a_body_that_the_client_holds_back_is_dropped_with_the_answer() {
    let server = Server::builder().build();
    let (sender, body) = upload();
    let head = post("&sid=unknown").header("expect", "100-continue");
    answer(&server, head, body).await;
    assert!(sender.is_closed());
}
