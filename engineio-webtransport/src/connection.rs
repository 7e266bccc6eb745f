//! One connection of a client: its handshakes, its session and its end.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use engineio_tower::PeerAddr;
use engineio_tower::webtransport::{Closed, Listener, Newcomer};
use futures_util::future::select;
use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Uri, Version};
use quinn::{Connecting, VarInt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use web_transport_proto::ConnectRequest;

use crate::session::{Client, LONGEST_FAREWELL, Request, Session, leave, next_stream};
use crate::stream::Stream;
use crate::watch::{Signal, Watch, follow};

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

/// A session whose stream is open.
struct Begun {
    listener: Arc<Listener>,
    client: Client,
    stream: Stream,
    signal: Signal,
    entry: Option<Box<Entry>>,
}

/// What the session begins with.
struct Entry {
    head: Parts,
    peer: SocketAddr,
    newcomer: Newcomer,
    /// The time by which the first packet must have come.
    deadline: Instant,
}

/// Does the handshakes, waits for the stream that the client opens, and lets another task serve the session. The memory
/// of this task is free while the session lives.
pub(crate) async fn begin(
    listener: Arc<Listener>,
    connecting: Connecting,
    peer: SocketAddr,
    newcomer: Newcomer,
    _beginning: Beginning,
) {
    let deadline = Instant::now() + listener.first_packet_timeout();
    let accepted = match timeout_at(deadline, connecting).await {
        Ok(Ok(connection)) => accept(&listener, connection, peer, deadline).await,
        Ok(Err(error)) => {
            tracing::debug!(target: "engineio::webtransport", %error, "the handshake failed");
            None
        }
        Err(_) => None,
    };
    let Some((mut session, client, head)) = accepted else {
        return;
    };
    let deadline = Instant::now() + listener.first_packet_timeout();
    let opened = timeout_at(deadline, next_stream(&client.connection, client.id));
    let Ok(Ok(opened)) = opened.await else {
        tracing::debug!(target: "engineio::webtransport", "no stream was opened in time");
        session.close(0, "").await;
        return;
    };
    let signal = Signal::new();
    let begun = Begun {
        listener,
        client,
        stream: Stream::new(session, opened, signal.clone()),
        signal,
        entry: Some(Box::new(Entry {
            head,
            peer,
            newcomer,
            deadline,
        })),
    };
    tokio::spawn(serve(Box::new(begun)));
}

/// Serves a session to its end.
async fn serve(mut begun: Box<Begun>) {
    // They stay where they are: what this future moves it would hold twice.
    let Begun {
        listener,
        client,
        stream,
        signal,
        entry,
    } = &mut *begun;
    let leaving = pin!(leave(&client.connection, &mut client.request));
    let stopped = pin!(stream.stopped());
    let (connection, critical) = (&client.connection, &mut client.critical);
    let following = follow(connection, client.id, critical, leaving, stopped, signal);
    let following = pin!(following);
    let mut watch = Watch::new(following, signal);
    let Some(entry) = entry.take() else {
        return;
    };
    let serving = {
        // Frees the memory of the box.
        let entry = entry;
        let Entry {
            head,
            peer,
            newcomer,
            deadline,
        } = *entry;
        listener.serve(head, peer, &mut *stream, deadline, newcomer)
    };
    let closed = watch.during(pin!(serving)).await;
    // In memory of its own too. The streams are dropped later, since their ends would tell the client to stop before it
    // hears of the close.
    Box::pin(end(stream, &mut watch, closed)).await;
}

/// Closes a session in good order.
async fn end(stream: &mut Stream, watch: &mut Watch<'_>, closed: Closed) {
    if let Some(patience) = closed.patience {
        let settled = pin!(stream.settle(patience, closed.stall));
        watch.during(settled).await;
    }
    stream.session.close(closed.code, &closed.reason).await;
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
        let leaving = pin!(leave(&connection, &mut client.request));
        let gone = pin!(connection.closed());
        let _ = timeout(time, select(leaving, gone)).await;
        connection.close(NO_ERROR, b"");
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
    fn size<A, F: Future>(_: fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_session_holds_none_of_the_memory_of_its_handshakes_and_its_end() {
        let size = size(serve);
        assert!(size < 900, "{size}");
    }
}
