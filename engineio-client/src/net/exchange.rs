//! One request on a connection of its own, which its answer may turn into something else: a WebSocket or a tunnel.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::connect::Conn;
use crate::error::BoxError;

/// Sends a request and hands the answer to `answered`. The connection is driven until that is done.
pub(super) async fn exchange<F, Fut, T>(
    conn: Conn,
    request: Request<Empty<Bytes>>,
    answered: F,
) -> Result<T, hyper::Error>
where
    F: FnOnce(Response<Incoming>) -> Fut,
    Fut: Future<Output = T>,
{
    let answer = Arc::clone(&conn.answer);
    let (mut sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .handshake(TokioIo::new(conn))
        .await?;
    let mut connection = pin!(connection.with_upgrades());
    let mut exchange = pin!(async {
        let response = sender.send_request(request).await?;
        answer.has_come();
        Ok(answered(response).await)
    });
    // The connection ends with the upgrade.
    tokio::select! {
        biased;
        outcome = &mut exchange => return outcome,
        _ = &mut connection => {}
    }
    exchange.await
}

/// Takes the connection back after an answer that ends HTTP on it: the stream, and the bytes that were read behind the
/// answer.
pub(super) async fn upgraded(response: Response<Incoming>) -> Result<(Conn, Bytes), BoxError> {
    let upgraded = hyper::upgrade::on(response).await?;
    let parts = upgraded.downcast::<TokioIo<Conn>>();
    // It is the type that was put in above.
    let parts = parts.map_err(|_| "the connection was lost")?;
    Ok((parts.io.into_inner(), parts.read_buf))
}
