//! One connection of a client: its handshakes, its session and its end.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use engineio_tower::PeerAddr;
use engineio_tower::webtransport::{Closed, Listener, Newcomer};
use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Uri, Version};
use quinn::{Connecting, VarInt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use web_transport_proto::ConnectRequest;

use crate::session::{Client, LONGEST_FAREWELL, Request, Session};
use crate::stream::Stream;
use crate::watch::Watch;

/// The time for a refusal to reach the client, beside that of [`TRIPS`] round trips. It is at most
/// [`LONGEST_FAREWELL`].
const REFUSAL: Duration = Duration::from_secs(1);

/// The round trips that a refusal may take: one that was lost is sent again after about three.
const TRIPS: u32 = 6;

/// `H3_NO_ERROR` and `H3_REQUEST_REJECTED` (RFC 9114 § 8.1).
pub(crate) const NO_ERROR: VarInt = VarInt::from_u32(0x100);
const REQUEST_REJECTED: VarInt = VarInt::from_u32(0x10b);

/// Held while a connection has no session, so that the listener can wait for the answer to its request.
pub(crate) type Beginning = mpsc::Sender<()>;

/// Serves a connection to its end.
pub(crate) async fn serve(
    listener: Arc<Listener>,
    connecting: Connecting,
    peer: SocketAddr,
    newcomer: Newcomer,
    beginning: Beginning,
) {
    // The beginning and the end have memory of their own, which is free while the session lives.
    let begun = Box::pin(begin(&listener, connecting, peer)).await;
    drop(beginning);
    let Some(Begun {
        head,
        mut stream,
        mut watch,
        deadline,
    }) = begun
    else {
        return;
    };
    let closed = {
        let serving = {
            // Frees the memory of the head's box.
            let head = head;
            listener.serve(*head, peer, &mut *stream, deadline, newcomer)
        };
        watch.during(pin!(serving)).await
    };
    Box::pin(end(stream, watch, closed)).await;
}

/// A session whose stream is open.
struct Begun {
    head: Box<Parts>,
    stream: Box<Stream>,
    watch: Watch,
    /// The time by which the first packet must have come.
    deadline: Instant,
}

/// Does the handshakes, and waits for the stream that the client opens.
async fn begin(listener: &Listener, connecting: Connecting, peer: SocketAddr) -> Option<Begun> {
    let deadline = Instant::now() + listener.first_packet_timeout();
    let (mut session, mut client, head) = match timeout_at(deadline, connecting).await {
        Ok(Ok(connection)) => accept(listener, connection, peer, deadline).await?,
        Ok(Err(error)) => {
            tracing::debug!(target: "engineio::webtransport", %error, "the handshake failed");
            return None;
        }
        Err(_) => return None,
    };
    let deadline = Instant::now() + listener.first_packet_timeout();
    let Ok(Ok(opened)) = timeout_at(deadline, client.stream()).await else {
        tracing::debug!(target: "engineio::webtransport", "no stream was opened in time");
        session.close(0, "").await;
        // Not before, since it would tell the client to stop before it hears of the close; also below.
        drop(client);
        return None;
    };
    let (stream, watch) = Stream::new(session, client, opened);
    Some(Begun {
        head: Box::new(head),
        stream: Box::new(stream),
        watch,
        deadline,
    })
}

/// Closes a session in good order.
async fn end(mut stream: Box<Stream>, mut watch: Watch, closed: Closed) {
    if let Some(patience) = closed.patience {
        let settled = pin!(stream.settle(patience, closed.stall));
        watch.during(settled).await;
    }
    stream.session.close(closed.code, &closed.reason).await;
    drop((stream, watch));
}

/// Answers the request for a session. Returns `None` if there is none, or if it is refused.
async fn accept(
    listener: &Listener,
    connection: quinn::Connection,
    peer: SocketAddr,
    deadline: Instant,
) -> Option<(Session, Client, Parts)> {
    let request = match timeout_at(deadline, Request::accept(connection.clone())).await {
        Ok(Ok(request)) => request,
        Ok(Err(error)) => {
            tracing::debug!(target: "engineio::webtransport", %error, "no session was requested");
            connection.close(REQUEST_REJECTED, b"");
            return None;
        }
        Err(_) => {
            connection.close(REQUEST_REJECTED, b"");
            return None;
        }
    };
    let checked = match head(&request.head, peer) {
        Some(head) => listener.check(&head).await.map(|()| head),
        None => Err(StatusCode::BAD_REQUEST),
    };
    let (status, head) = match checked {
        Ok(head) => (StatusCode::OK, Some(head)),
        Err(status) => (status, None),
    };
    // Within a limit too, because a client may leave no room for the answer.
    let Ok(Ok((session, mut client))) = timeout_at(deadline, request.respond(status)).await else {
        connection.close(REQUEST_REJECTED, b"");
        return None;
    };
    let Some(head) = head else {
        // The control streams stay open meanwhile. The client has to treat their end as an error of the connection (RFC
        // 9114 § 6.2.1), and would not read the status.
        let time = (REFUSAL + TRIPS * connection.rtt()).min(LONGEST_FAREWELL);
        let _ = timeout(time, client.gone()).await;
        connection.close(NO_ERROR, b"");
        drop((session, client));
        return None;
    };
    Some((session, client, head))
}

/// Returns the head of the request as the application sees it. `None` if it has no proper target.
fn head(request: &ConnectRequest, peer: SocketAddr) -> Option<Parts> {
    let uri: Uri = request.url.as_str().parse().ok()?;
    let authority = HeaderValue::from_str(uri.authority()?.as_str()).ok()?;
    let is_local = uri.host().is_some_and(is_loopback);
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = Method::CONNECT;
    head.version = Version::HTTP_3;
    head.uri = match is_local {
        // A browser gives pages of this machine the rights of `https`, so they need no certificate. Without a scheme in the
        // request, those of either scheme are of the same origin.
        true => uri.path_and_query().cloned().map(PathAndQuery::into)?,
        false => uri,
    };
    head.headers = request.headers.clone();
    head.headers.insert(HOST, authority);
    head.extensions.insert(PeerAddr(peer));
    Some(head)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the size of the futures of a function, in bytes.
    fn size<A, B, C, D, E, F: Future>(_: fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_session_holds_none_of_the_memory_of_its_handshakes_and_its_end() {
        let size = size(serve);
        assert!(size < 1_024, "{size}");
    }
}
