//! One request on a connection of its own, which its answer may turn into something else: a WebSocket or a tunnel.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::connect::Conn;

/// Sends a request and hands the answer to `answered`. The connection is driven until that is done.
///
/// Returns what `answered` returns, and the connection with the bytes that were read behind the head of the answer. It can be
/// used for something else if the answer ends HTTP on it, and has no body. The HTTP library takes a 204 to `CONNECT` for an
/// answer like any other, and would not give the connection back by its own interface for upgrades.
pub(super) async fn exchange<F, Fut, T>(
    conn: Conn,
    request: Request<Empty<Bytes>>,
    answered: F,
) -> Result<(T, Conn, Bytes), hyper::Error>
where
    F: FnOnce(Response<Incoming>) -> Fut,
    Fut: Future<Output = T>,
{
    let answer = Arc::clone(&conn.exchange);
    let (mut sender, mut connection) = http1::Builder::new()
        .title_case_headers(true)
        .handshake(TokioIo::new(conn))
        .await?;
    let mut exchange = pin!(async {
        let response = sender.send_request(request).await?;
        answer.has_come();
        Ok(answered(response).await)
    });
    let progress = poll_fn(|cx| connection.poll_without_shutdown(cx));
    let outcome: Result<T, hyper::Error> = tokio::select! {
        biased;
        outcome = &mut exchange => outcome,
        _ = progress => exchange.await,
    };
    let parts = connection.into_parts();
    Ok((outcome?, parts.io.into_inner(), parts.read_buf))
}
