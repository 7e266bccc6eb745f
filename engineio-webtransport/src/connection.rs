//! One connection of a client: its handshakes, its session and its end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use engineio_tower::PeerAddr;
use engineio_tower::webtransport::{Closed, Listener, Newcomer};
use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, StatusCode, Uri, Version};
use quinn::{Connecting, VarInt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;
use web_transport_quinn::{Request as SessionRequest, Session};

use crate::stream::Stream;

/// The time for a refusal to reach the client, beside that of [`TRIPS`] round trips. It is at most [`FAREWELL`].
const REFUSAL: Duration = Duration::from_secs(1);

/// The round trips that a refusal may take: one that was lost is sent again after about three.
const TRIPS: u32 = 6;

/// The time for a client to hear that its session is closed. The session's own limit grows with the round trips that the
/// client lets the server measure.
const FAREWELL: Duration = Duration::from_secs(5);

/// The longest reason with which a session is closed, in bytes (draft-ietf-webtrans-http3 § 6).
const MAX_REASON: usize = 1_024;

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
    let Some((head, mut stream, deadline)) = begun else {
        return;
    };
    let serving = {
        // Frees the memory of the head's box.
        let head = head;
        listener.serve(*head, peer, &mut *stream, deadline, newcomer)
    };
    let closed = serving.await;
    Box::pin(end(stream, closed)).await;
}

/// Does the handshakes. Returns the stream that the client has opened, and the time by which the first packet must have
/// come.
async fn begin(
    listener: &Listener,
    connecting: Connecting,
    peer: SocketAddr,
) -> Option<(Box<Parts>, Box<Stream>, Instant)> {
    let deadline = Instant::now() + listener.first_packet_timeout();
    let (session, head) = match timeout_at(deadline, connecting).await {
        Ok(Ok(connection)) => accept(listener, connection, peer, deadline).await?,
        Ok(Err(error)) => {
            tracing::debug!(target: "engineio::webtransport", %error, "the handshake failed");
            return None;
        }
        Err(_) => return None,
    };
    let deadline = Instant::now() + listener.first_packet_timeout();
    let Ok(Ok((send, recv))) = timeout_at(deadline, session.accept_bi()).await else {
        tracing::debug!(target: "engineio::webtransport", "no stream was opened in time");
        close(&session, 0, "").await;
        return None;
    };
    let stream = Stream::new(session, send, recv);
    Some((Box::new(head), Box::new(stream), deadline))
}

/// Closes a session in good order.
async fn end(mut stream: Box<Stream>, closed: Closed) {
    if let Some(patience) = closed.patience {
        stream.settle(patience, closed.stall).await;
    }
    close(stream.session(), closed.code, &closed.reason).await;
    // Not before, since the end of the stream's reader would tell the client to stop before it hears of the close.
    drop(stream);
}

/// Answers the request for a session. Returns `None` if there is none, or if it is refused.
async fn accept(
    listener: &Listener,
    connection: quinn::Connection,
    peer: SocketAddr,
    deadline: Instant,
) -> Option<(Session, Parts)> {
    // web-transport-quinn logs the request with its headers, which may be cookies and tokens.
    let request = SessionRequest::accept(connection.clone()).with_subscriber(NoSubscriber::new());
    let request = match timeout_at(deadline, request).await {
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
    let checked = match head(&request, peer) {
        Some(head) => listener.check(&head).await.map(|()| head),
        None => Err(StatusCode::BAD_REQUEST),
    };
    // Within a limit too, because a client may leave no room for the answer.
    match checked {
        Ok(head) => {
            if let Ok(Ok(session)) = timeout_at(deadline, request.ok()).await {
                return Some((session, head));
            }
        }
        Err(status) => {
            // Not `reject`, which ends the control streams. The client has to treat that as an error of the connection
            // (RFC 9114 § 6.2.1), and would not read the status.
            if let Ok(Ok(refused)) = timeout_at(deadline, request.respond(status)).await {
                let time = (REFUSAL + TRIPS * connection.rtt()).min(FAREWELL);
                let _ = timeout(time, connection.closed()).await;
                connection.close(NO_ERROR, b"");
                drop(refused);
                return None;
            }
        }
    }
    connection.close(REQUEST_REJECTED, b"");
    None
}

/// Closes a session, and waits until the client has heard of it or had the time to.
async fn close(session: &Session, code: u32, reason: &str) {
    let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
    session.close(code, reason.as_bytes());
    if timeout(FAREWELL, session.closed()).await.is_err() {
        quinn::Connection::close(session, NO_ERROR, b"");
    }
}

/// Returns the head of the request as the application sees it. `None` if it has no proper target.
fn head(request: &SessionRequest, peer: SocketAddr) -> Option<Parts> {
    let uri: Uri = request.url.as_str().parse().ok()?;
    let authority = HeaderValue::from_str(uri.authority()?.as_str()).ok()?;
    let is_local = uri.host().is_some_and(is_loopback);
    let (mut head, ()) = Request::new(()).into_parts();
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
