//! One connection to another node, from the first packet to the last.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, Connection, SendRequest};
use http::{Request, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::identity::{Credentials, HELLO, INCARNATION, NODE, SECRET, TARGET};
use super::keep_alive::keep_alive;
use super::lane::Lane;
use super::limits::{MAX_FRAME, MAX_HEADERS, SEND_BUFFER, STREAM_WINDOW, STREAMS};
use super::paced::{Arrivals, Paced};
use super::state::{Failure, State};
use crate::members::Members;
use crate::{Member, MemberState, NodeId};

/// The time limit for a connection, from the first packet to the answer of the node.
const CONNECT: Duration = Duration::from_secs(1);

/// Connects to a node and serves the connection until it ends. `known_down` means that the last attempt failed and was
/// logged.
pub(super) async fn run(
    own_id: NodeId,
    member: Arc<Member>,
    members: Members,
    credentials: Arc<Credentials>,
    state: watch::Sender<State>,
    known_down: bool,
) {
    let deadline = Instant::now() + CONNECT;
    let failure = match timeout_at(deadline, open(&member, &credentials)).await {
        Err(_) => Failure::TimedOut,
        Ok(Err(failure)) => failure,
        Ok(Ok(Io::Plain(io))) => talk(own_id, &member, &credentials, io, deadline, &state).await,
        #[cfg(feature = "tls")]
        Ok(Ok(Io::Tls(io))) => talk(own_id, &member, &credentials, io, deadline, &state).await,
    };
    let known = members.get(&member.id);
    let is_leaving = known.is_none_or(|known| known.state == MemberState::Draining);
    match failure {
        _ if is_leaving => {
            tracing::debug!(target: "engineio::cluster", node = %member.id, address = %member.address, %failure, "a node that leaves cannot be reached any more");
        }
        Failure::Rejected(_) if !known_down => {
            tracing::error!(target: "engineio::cluster", node = %member.id, address = %member.address, %failure, "a node rejects this one");
        }
        _ if known_down => {
            tracing::debug!(target: "engineio::cluster", node = %member.id, address = %member.address, %failure, "a node still cannot be reached");
        }
        _ => {
            tracing::warn!(target: "engineio::cluster", node = %member.id, address = %member.address, %failure, "a node cannot be reached");
        }
    }
    state.send_replace(State::Down(failure));
}

/// A connection before HTTP/2.
enum Io {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn open(member: &Member, credentials: &Credentials) -> Result<Io, Failure> {
    let stream = TcpStream::connect(&*member.address)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            _ => Failure::Broken,
        })?;
    // A connection that is broken already shows that at the first read.
    let _ = stream.set_nodelay(true);
    #[cfg(feature = "tls")]
    if let Some(tls) = &credentials.tls {
        let name = crate::tls::server_name(&member.address);
        let name = name.ok_or(Failure::Rejected(
            "its address has no host for a certificate",
        ))?;
        let io = tls.connector.connect(name, stream).await.map_err(|error| {
            tracing::debug!(target: "engineio::cluster", node = %member.id, %error, "a TLS handshake failed");
            Failure::Rejected("the TLS handshake failed")
        })?;
        return Ok(Io::Tls(Box::new(io)));
    }
    #[cfg(not(feature = "tls"))]
    let _ = credentials;
    Ok(Io::Plain(stream))
}

/// Speaks HTTP/2 with a node until the connection ends.
async fn talk<IO: AsyncRead + AsyncWrite + Unpin>(
    own_id: NodeId,
    member: &Member,
    credentials: &Credentials,
    io: IO,
    deadline: Instant,
    state: &watch::Sender<State>,
) -> Failure {
    match timeout_at(deadline, greet(own_id, member, credentials, io)).await {
        Err(_) => Failure::TimedOut,
        Ok(Err(failure)) => failure,
        Ok(Ok(Greeting {
            requests,
            connection,
            arrivals,
            ..
        })) => {
            tracing::debug!(target: "engineio::cluster", node = %member.id, address = %member.address, "connected to a node");
            state.send_replace(State::Up(Lane::new(requests)));
            serve(connection, arrivals).await
        }
    }
}

/// Returns whether a node with this id answers at an address that is not this process.
pub(crate) async fn is_another(
    id: NodeId,
    incarnation: u64,
    address: Arc<str>,
    credentials: &Credentials,
) -> bool {
    let member = Member {
        id,
        incarnation,
        address,
        state: MemberState::Up,
        sessions: 0,
    };
    let ask = async {
        let answered = match open(&member, credentials).await? {
            Io::Plain(io) => greet(id, &member, credentials, io).await?.incarnation,
            #[cfg(feature = "tls")]
            Io::Tls(io) => greet(id, &member, credentials, io).await?.incarnation,
        };
        Ok::<_, Failure>(answered)
    };
    let answered = timeout(CONNECT, ask).await;
    matches!(answered, Ok(Ok(Some(answered))) if answered != incarnation)
}

/// A connection over which the nodes have identified themselves.
struct Greeting<IO: AsyncRead + AsyncWrite + Unpin> {
    requests: SendRequest<Bytes>,
    connection: Connection<Paced<IO>, Bytes>,
    arrivals: Arrivals,
    incarnation: Option<u64>,
}

/// Performs the HTTP/2 handshake and the first request.
async fn greet<IO: AsyncRead + AsyncWrite + Unpin>(
    own_id: NodeId,
    member: &Member,
    credentials: &Credentials,
    io: IO,
) -> Result<Greeting<IO>, Failure> {
    let io = Paced::new(io);
    let arrivals = io.arrivals();
    let (requests, mut connection) = client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        // Those of all streams together, so that a client that does not read holds up no other.
        .initial_connection_window_size(STREAMS * STREAM_WINDOW)
        .initial_max_send_streams(STREAMS as usize)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEADERS)
        .max_send_buffer_size(SEND_BUFFER)
        // Clients that give up are no attack of the other node.
        .max_concurrent_reset_streams(STREAMS as usize)
        .max_local_error_reset_streams(None)
        .enable_push(false)
        .handshake(io)
        .await
        .map_err(|_| Failure::Broken)?;
    let mut request = Request::post(format!("http://cluster{HELLO}"));
    if let Some(secret) = &credentials.secret {
        request = request.header(SECRET, secret);
    }
    let request = request
        .header(NODE, own_id.as_str())
        .header(TARGET, member.id.as_str())
        .body(())
        .map_err(|_| Failure::Broken)?;
    let hello = async {
        let mut requests = requests.ready().await?;
        let (response, _) = requests.send_request(request, true)?;
        Ok::<_, h2::Error>((response.await?, requests))
    };
    let mut hello = pin!(hello);
    // A node that rejects this one closes the connection behind its answer, and both may have arrived.
    let answered = poll_fn(|cx| {
        let has_ended = Pin::new(&mut connection).poll(cx).is_ready();
        match hello.as_mut().poll(cx) {
            Poll::Ready(answered) => Poll::Ready(answered.ok()),
            Poll::Pending if has_ended => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    let (response, requests) = answered.await.ok_or(Failure::Broken)?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => return Err(Failure::Rejected("its secret differs")),
        StatusCode::MISDIRECTED_REQUEST => {
            return Err(Failure::Rejected("another node is at its address"));
        }
        StatusCode::NOT_FOUND => return Err(Failure::Rejected("it speaks another version")),
        _ => return Err(Failure::Rejected("it did not understand")),
    }
    let incarnation = response.headers().get(INCARNATION);
    Ok(Greeting {
        requests,
        connection,
        arrivals,
        incarnation: incarnation.and_then(|number| number.to_str().ok()?.parse().ok()),
    })
}

/// Serves a connection until it ends or the node does not answer any more.
async fn serve<IO: AsyncRead + AsyncWrite + Unpin>(
    mut connection: Connection<Paced<IO>, Bytes>,
    arrivals: Arrivals,
) -> Failure {
    let pings = connection.ping_pong();
    let mut alive = pin!(keep_alive(pings, arrivals));
    tokio::select! {
        _ = &mut connection => Failure::Broken,
        () = &mut alive => Failure::TimedOut,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::lines::Lines;

    /// Returns the number of warnings about a node in this state that refuses connections.
    async fn warnings(state: MemberState) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let member = Member {
            id: "b".parse().unwrap(),
            incarnation: 1,
            address: listener.local_addr().unwrap().to_string().into(),
            state: MemberState::Up,
            sessions: 0,
        };
        drop(listener);
        let credentials = Arc::new(Credentials {
            secret: None,
            #[cfg(feature = "tls")]
            tls: None,
        });
        let members = Members::new();
        members.insert(Member {
            state,
            ..member.clone()
        });
        let (sender, seen) = watch::channel(State::Connecting);
        let (lines, _guard) = Lines::collect();
        let own_id = "a".parse().unwrap();
        run(own_id, member.into(), members, credentials, sender, false).await;
        assert!(matches!(&*seen.borrow(), State::Down(Failure::Refused)));
        lines.take().len()
    }

    #[tokio::test]
    async fn the_end_of_a_node_that_has_announced_it_is_no_warning() {
        assert_eq!(warnings(MemberState::Up).await, 1);
        assert_eq!(warnings(MemberState::Draining).await, 0);
    }
}
