//! The answer to one request of another node.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use engineio_tower::{Delivery, Driver, HostUpgrade};
use h2::RecvStream;
use h2::ext::Protocol;
use h2::server::SendResponse;
use http::{Method, Request, Response, StatusCode};
use tokio::time::timeout;
use tracing::Instrument;

use super::websocket::StreamIo;
use super::{Node, RequestBody};
use crate::forward::{arrive, remove_hop_by_hop};
use crate::link::stream::poll_send;
use crate::operations::{self, Turn};

/// Answers a request, unless the other node resets its stream before. `turn` is its place if it is an operation that sends
/// something.
pub(super) async fn answer(
    node: Arc<Node>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    turn: Option<Box<Turn>>,
) {
    let (mut head, stream) = request.into_parts();
    let protocol = head.extensions.remove::<Protocol>();
    let is_websocket = protocol.is_some_and(|protocol| protocol.as_str() == "websocket");
    let mut stream = Some(stream);
    let mut body = RequestBody::empty();
    if head.method == Method::CONNECT && is_websocket {
        let protocol = hyper::ext::Protocol::from_static("websocket");
        head.extensions.insert(protocol);
        head.extensions.insert(HostUpgrade);
    } else if head.method == Method::POST
        && let Some(stream) = stream.take()
    {
        body = RequestBody::new(stream, &head.headers);
    }
    let (uri, is_poll) = (head.uri.clone(), head.method == Method::GET);
    let request = Request::from_parts(head, body);
    let answer = {
        let releases = async {
            if let Some(stream) = stream.as_mut().filter(|_| is_poll) {
                while let Some(Ok(data)) = stream.data().await {
                    let _ = stream.flow_control().release_capacity(data.len());
                    node.server.release_poll(uri.query().unwrap_or_default());
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            answer = serve(&node, request, turn) => answer,
            // The client of the other node has gone away.
            _ = poll_fn(|cx| respond.poll_reset(cx)) => return,
            // The other node is going away, and its client is to poll at another one.
            () = releases => return,
        }
    };
    if let Err(error) = send(&node, answer, stream, respond).await {
        tracing::debug!(target: "engineio::cluster", %error, "an answer to another node was not taken");
    }
}

async fn serve(
    node: &Node,
    mut request: Request<RequestBody>,
    turn: Option<Box<Turn>>,
) -> Response<Bytes> {
    let is_forwarded = arrive(&mut request);
    if is_forwarded && node.server.claims(request.uri().path()) {
        return node.server.respond(request).await;
    }
    let (status, body) = if is_forwarded {
        // The nodes have been given different paths.
        (StatusCode::NOT_FOUND, Bytes::from_static(b"Not Found"))
    } else {
        let span = tracing::debug_span!(target: "engineio::cluster", "operation", method = %request.method());
        operations::answer(node, request, turn)
            .instrument(span)
            .await
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}

/// Sends an answer, and runs the WebSocket if it accepts one on this stream.
async fn send(
    node: &Node,
    mut answer: Response<Bytes>,
    stream: Option<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let driver = Driver::take(&mut answer);
    let delivery = Delivery::take(&mut answer);
    let (mut head, mut body) = answer.into_parts();
    remove_hop_by_hop(&mut head.headers);
    let head = Response::from_parts(head, ());
    let from_node = match (driver, stream) {
        (Some(driver), Some(from_node)) => {
            let to_node = respond.send_response(head, false)?;
            // A task of its own, which is as small as a WebSocket can be.
            tokio::spawn(driver.run(StreamIo::new(to_node, from_node)));
            return Ok(());
        }
        (_, from_node) => from_node,
    };
    let mut to_node = respond.send_response(head, body.is_empty())?;
    let sent = poll_fn(|cx| poll_send(&mut to_node, &mut body, true, cx)).await;
    if sent && let Some(from_node) = from_node {
        // A client of HTTP/2 that never reads must not hold the stream for longer than it could hold a session.
        let ended = timeout(node.server.heartbeat(), is_ended(from_node)).await;
        if matches!(ended, Ok(true)) {
            delivery.confirm();
        }
    }
    Ok(())
}

/// Waits until the other node ends its half of the stream of a poll: its host has taken all packets and will write
/// them. Returns `false` if it resets the stream instead, or is gone.
async fn is_ended(mut from_node: RecvStream) -> bool {
    while let Some(data) = from_node.data().await {
        let Ok(data) = data else {
            return false;
        };
        let _ = from_node.flow_control().release_capacity(data.len());
    }
    true
}
