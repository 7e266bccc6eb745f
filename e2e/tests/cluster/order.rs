//! The order of what one node sends to the clients of another.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use engineio_e2e::within;
use engineio_tower::Sid;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{Request, StatusCode};
use tokio::task::yield_now;

use crate::delivery::link;
use crate::support::{Node, WEBSOCKET, nodes, sid};

/// Begins an operation as another node does, and leaves its body for later.
fn begin(requests: &mut SendRequest<Bytes>, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
    let request = Request::post(format!("http://cluster/v1/{path}"))
        .header("content-type", "text/plain; charset=utf-8")
        .body(())
        .unwrap();
    requests.send_request(request, false).unwrap()
}

/// Waits until the owner has begun what was sent before.
async fn begun(requests: &mut SendRequest<Bytes>) {
    let request = Request::get("http://cluster/v1/node").body(()).unwrap();
    let (answer, _) = requests.send_request(request, true).unwrap();
    assert_eq!(within("the state", answer).await.unwrap().status(), 200);
}

async fn status(answer: ResponseFuture) -> StatusCode {
    within("the answer", answer).await.unwrap().status()
}

/// Each is sent to a session, and to all clients of the node.
async fn paths(owner: &mut Node) -> [(String, String); 2] {
    let target = owner.poller().await;
    let session = format!("session/{}", target.rsplit_once('=').unwrap().1);
    [(session, target.clone()), ("broadcast".to_owned(), target)]
}

#[tokio::test]
async fn a_message_waits_for_one_that_was_begun_before() {
    let [mut owner, _other] = nodes().await;
    let (mut requests, _connection) = link(&owner).await;
    for (path, target) in paths(&mut owner).await {
        let (first, mut first_body) = begin(&mut requests, &path);
        let (second, mut second_body) = begin(&mut requests, &path);
        second_body.send_data("4second".into(), true).unwrap();
        begun(&mut requests).await;
        first_body.send_data("4first".into(), true).unwrap();
        assert_eq!(status(first).await, 200);
        assert_eq!(status(second).await, 200);
        let polled = owner.connect().await.get(&target).await;
        assert_eq!(polled.text(), "4first\u{1e}4second", "{path}");
    }
}

#[tokio::test]
async fn a_message_does_not_wait_for_one_that_was_given_up() {
    let [mut owner, _other] = nodes().await;
    let (mut requests, _connection) = link(&owner).await;
    for (path, target) in paths(&mut owner).await {
        let (_, mut first_body) = begin(&mut requests, &path);
        let (second, mut second_body) = begin(&mut requests, &path);
        second_body.send_data("4second".into(), true).unwrap();
        begun(&mut requests).await;
        first_body.send_reset(Reason::CANCEL);
        assert_eq!(status(second).await, 200);
        let polled = owner.connect().await.get(&target).await;
        assert_eq!(polled.text(), "4second", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_is_dropped_is_not_overtaken_by_the_next_one() {
    const MESSAGES: usize = 3_000;
    let [owner, sender] = nodes().await;
    let mut client = owner.connect().await;
    client.upgrade(WEBSOCKET).await;
    let sid: Sid = sid(&client.hear().await).parse().unwrap();
    let sending = tokio::spawn(async move {
        let mut queued = Vec::new();
        for number in 0..MESSAGES {
            // Each is given up after another number of polls.
            let mut polls = number % 8;
            let mut send = pin!(sender.cluster.send(&sid, number.to_string()));
            let sent = loop {
                match poll_fn(|cx| Poll::Ready(send.as_mut().poll(cx))).await {
                    Poll::Ready(sent) => break Some(sent),
                    Poll::Pending if polls == 0 => break None,
                    Poll::Pending => polls -= 1,
                }
                yield_now().await;
            };
            if let Some(sent) = sent {
                sent.unwrap();
                queued.push(number);
            }
        }
        sender.cluster.send(&sid, "end").await.unwrap();
        queued
    });
    let mut arrived: Vec<usize> = Vec::new();
    loop {
        let message = client.hear().await;
        match message.strip_prefix('4') {
            Some("end") => break,
            Some(number) => arrived.push(number.parse().unwrap()),
            None => {}
        }
    }
    let queued = sending.await.unwrap();
    assert!(arrived.is_sorted_by(|a, b| a < b), "{arrived:?}");
    assert!(arrived.len() > queued.len(), "no send was dropped late");
    assert!(
        queued
            .iter()
            .all(|number| arrived.binary_search(number).is_ok())
    );
}
