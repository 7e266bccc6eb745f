//! The answer to one request of another node.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use engineio_tower::{Driver, EngineIoService, HostUpgrade};
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::{Either, Full};
use tower_service::Service;
use tracing::Instrument;

use super::websocket::StreamIo;
use super::{Node, RequestBody};
use crate::forward::{arrive, remove_hop_by_hop};
use crate::link::stream::poll_send;
use crate::operations;

/// Answers a request, unless the other node resets its stream before.
pub(super) async fn answer(
    node: Arc<Node>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (mut head, stream) = request.into_parts();
    let protocol = head.extensions.remove::<Protocol>();
    let is_websocket = protocol.is_some_and(|protocol| protocol.as_str() == "websocket");
    let (body, stream) = if head.method == Method::CONNECT && is_websocket {
        let protocol = hyper::ext::Protocol::from_static("websocket");
        head.extensions.insert(protocol);
        head.extensions.insert(HostUpgrade);
        (RequestBody::empty(), Some(stream))
    } else {
        (RequestBody::new(stream, &head.headers), None)
    };
    let request = Request::from_parts(head, body);
    let answer = tokio::select! {
        biased;
        answer = serve(&node, request) => answer,
        // The client of the other node has gone away.
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return,
    };
    if let Err(error) = send(answer, stream, respond).await {
        tracing::debug!(target: "engineio::cluster", %error, "an answer to another node was not taken");
    }
}

type Answer = Response<Either<engineio_tower::ResponseBody<Full<Bytes>>, Full<Bytes>>>;

async fn serve(node: &Node, mut request: Request<RequestBody>) -> Answer {
    if arrive(&mut request) {
        let Ok(answer) = EngineIoService::new(node.server.clone())
            .call(request)
            .await;
        return answer.map(Either::Left);
    }
    let span =
        tracing::debug_span!(target: "engineio::cluster", "operation", method = %request.method());
    let (status, body) = operations::answer(node, request).instrument(span).await;
    let mut answer = Response::new(Either::Right(Full::new(body)));
    *answer.status_mut() = status;
    answer
}

/// Sends an answer, and runs the WebSocket if it accepts one on this stream.
async fn send(
    mut answer: Answer,
    stream: Option<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let driver = Driver::take(&mut answer);
    let (mut head, body) = answer.into_parts();
    remove_hop_by_hop(&mut head.headers);
    let head = Response::from_parts(head, ());
    if let (Some(driver), Some(from_node)) = (driver, stream) {
        let to_node = respond.send_response(head, false)?;
        // A task of its own, which is as small as a WebSocket can be.
        tokio::spawn(driver.run(StreamIo::new(to_node, from_node)));
        return Ok(());
    }
    let mut body = pin!(body);
    let mut last = body.is_end_stream();
    let mut stream = respond.send_response(head, last)?;
    while !last {
        let frame = poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
        let mut chunk = match frame {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) => {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            None => break,
        };
        last = body.is_end_stream() && !chunk.is_empty();
        if !poll_fn(|cx| poll_send(&mut stream, &mut chunk, last, cx)).await {
            return Ok(());
        }
    }
    match last {
        true => Ok(()),
        false => stream.send_data(Bytes::new(), true),
    }
}
