//! The packets of a forwarded poll, which have left their session's queue before the client has them.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use engineio_e2e::host::{Host, Hyper};
use engineio_e2e::http2::Http2;
use engineio_e2e::within;
use engineio_tower::DisconnectReason::TransportError;
use engineio_tower::{Delivery, EngineIoService, Sid};
use h2::SendStream;
use h2::client::SendRequest;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tower_service::Service;

use crate::strangers::{forwarded, hello};
use crate::support::{Node, SECRET, nodes, nodes_with};

fn sid_of(target: &str) -> Sid {
    target.rsplit_once('=').unwrap().1.parse().unwrap()
}

/// A session with a message, and the target of its polls.
async fn one_message(owner: &mut Node) -> String {
    let target = owner.poller().await;
    let socket = owner.server.socket(&sid_of(&target)).unwrap();
    socket.try_send("one").unwrap();
    target
}

/// It has not ended: another message arrives.
async fn lives(owner: &Node, entry: &Node, target: &str) {
    let socket = owner.server.socket(&sid_of(target)).unwrap();
    socket.try_send("two").unwrap();
    assert_eq!(entry.connect().await.get(target).await.text(), "4two");
}

fn poll(target: &str) -> Request<Full<Bytes>> {
    Request::get(target).body(Full::default()).unwrap()
}

#[tokio::test]
async fn the_session_ends_whose_packets_the_host_of_the_entry_drops_with_their_response() {
    let [mut owner, entry] = nodes().await;
    let target = one_message(&mut owner).await;
    let mut service = EngineIoService::new(entry.server.clone());
    let response = service.call(poll(&target)).await.unwrap();
    assert_eq!(response.status(), 200);
    drop(response);
    assert_eq!(owner.events.disconnected().await, TransportError);
    let polled = entry.connect().await.get(&target).await;
    assert_eq!(polled.status, 400, "{polled:?}");
}

#[tokio::test]
async fn the_session_lives_whose_packets_the_host_of_the_entry_has_begun_to_write() {
    let [mut owner, entry] = nodes().await;
    let target = one_message(&mut owner).await;
    let mut service = EngineIoService::new(entry.server.clone());
    let response = service.call(poll(&target)).await.unwrap();
    let mut body = response.into_body();
    let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(data, "4one");
    drop(body);
    lives(&owner, &entry, &target).await;
}

#[tokio::test]
async fn a_host_of_the_entry_without_the_body_of_the_service_tells_that_it_has_written() {
    let [mut owner, entry] = nodes().await;
    let target = one_message(&mut owner).await;
    let mut response: Response<Bytes> = entry.server.respond(poll(&target)).await;
    let delivery = Delivery::take(&mut response);
    assert_eq!(response.body(), "4one");
    delivery.confirm();
    lives(&owner, &entry, &target).await;

    // One that takes no delivery is trusted to write.
    let target = one_message(&mut owner).await;
    drop(entry.server.respond(poll(&target)).await);
    lives(&owner, &entry, &target).await;

    let target = one_message(&mut owner).await;
    let mut response = entry.server.respond(poll(&target)).await;
    drop(Delivery::take(&mut response));
    assert_eq!(owner.events.disconnected().await, TransportError);
}

/// The stream to the owner behind a poll that it has answered, as another node has it.
async fn answered(requests: &mut SendRequest<Bytes>, target: &str) -> SendStream<Bytes> {
    let request = forwarded(target).body(()).unwrap();
    let (response, stream) = requests.send_request(request, false).unwrap();
    let mut body = within("the answer", response).await.unwrap().into_body();
    let mut text = Vec::new();
    while let Some(chunk) = within("the packets", body.data()).await {
        text.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(text, b"4one");
    stream
}

/// Connects to the owner as another node does.
pub(crate) async fn link(owner: &Node) -> (SendRequest<Bytes>, AbortHandle) {
    let stream = TcpStream::connect(owner.cluster.local_addr())
        .await
        .unwrap();
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection).abort_handle();
    let (greeted, _) = requests
        .send_request(hello(SECRET, "a").body(()).unwrap(), true)
        .unwrap();
    assert_eq!(within("the greeting", greeted).await.unwrap().status(), 200);
    (requests, connection)
}

#[tokio::test]
async fn an_answer_that_is_never_read_holds_its_stream_no_longer_than_a_session() {
    let beat = Duration::from_millis(100);
    let [mut owner, _entry] =
        nodes_with::<Hyper, 2>(|builder| builder.ping_interval(beat).ping_timeout(beat)).await;
    let (mut requests, _connection) = link(&owner).await;
    let target = one_message(&mut owner).await;
    let mut stream = answered(&mut requests, &target).await;
    let reset = poll_fn(|cx| stream.poll_reset(cx));
    within("the end of the stream", reset).await.unwrap();
}

#[tokio::test]
async fn the_session_ends_unless_the_entry_says_that_its_packets_are_on_their_way() {
    let [mut owner, entry] = nodes().await;
    let (mut requests, connection) = link(&owner).await;

    let target = one_message(&mut owner).await;
    let mut stream = answered(&mut requests, &target).await;
    stream.send_data(Bytes::new(), true).unwrap();
    lives(&owner, &entry, &target).await;

    let target = one_message(&mut owner).await;
    let mut stream = answered(&mut requests, &target).await;
    stream.send_reset(h2::Reason::CANCEL);
    assert_eq!(owner.events.disconnected().await, TransportError);

    // The entry dies between the answer and its client.
    let target = one_message(&mut owner).await;
    let _stream = answered(&mut requests, &target).await;
    connection.abort();
    assert_eq!(owner.events.disconnected().await, TransportError);
    assert!(owner.server.socket(&sid_of(&target)).is_none());
}

/// The message comes while the entry tells the owner of the reset, and is either refused or lost with its session.
pub(crate) async fn a_poll_that_is_reset_while_its_answer_is_under_way_ends_its_session<H: Host>() {
    let [mut owner, entry] = nodes_with::<H, 2>(|builder| builder).await;
    let mut client = Http2::connect(entry.host.address).await;
    for _ in 0..20 {
        let target = owner.poller().await;
        let socket = owner.server.socket(&sid_of(&target)).unwrap();
        // A pong, behind which the nodes are connected.
        assert_eq!(entry.connect().await.post(&target, "3").await.status, 200);
        client.get_and_reset(&target, 1).await;
        // Behind the reset, which is under way to the owner now.
        assert_eq!(client.get("/").await.0, StatusCode::OK);
        let _ = socket.try_send("to nobody");
        assert_eq!(owner.events.disconnected().await, TransportError);
    }
}
