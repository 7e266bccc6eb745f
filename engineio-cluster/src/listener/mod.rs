//! The internal listener, which serves the other nodes.

mod rejections;
mod service;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub(crate) use rejections::Rejections;
use service::Greeted;
pub(crate) use service::Node;

/// The maximum number of requests and WebSockets of one connection between two nodes.
pub(crate) const STREAMS: u32 = 10_000;

/// The flow-control window of one of them, in bytes. The window of the connection is that of all together.
pub(crate) const STREAM_WINDOW: u32 = 128 * 1024;

/// The bytes that are buffered towards the connection for one stream.
pub(crate) const SEND_BUFFER: usize = 64 * 1024;

/// The largest frame, in bytes.
pub(crate) const MAX_FRAME: u32 = 64 * 1024;

/// The largest head of a request, in bytes: larger than those that hosts accept.
pub(crate) const MAX_HEADERS: u32 = 1024 * 1024;

/// The pause after the system has refused to accept: it is mostly out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The time limit for the first request of a connection, by which a node identifies itself.
const GREETING: Duration = Duration::from_secs(5);

/// The time limit for the answers that are still to be written on a connection that is rejected, or when the listener ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// The time between pings of a silent connection, and the time limit for their answers.
const PING: Duration = Duration::from_secs(5);

/// Serves the other nodes until the sender of `stop` is dropped, and then writes the answers that are due.
pub(crate) async fn serve(listener: TcpListener, node: Arc<Node>, mut stop: watch::Receiver<()>) {
    let http = Arc::new(http());
    // The connections end with the listener.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
            // A panic has been told by its hook, and is the end of its connection only.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(serve_connection(
                    stream,
                    Arc::clone(&http),
                    Arc::clone(&node),
                    stop.clone(),
                ));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(target: "engineio::cluster", %error, "the system accepts no connections of other nodes for now");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn http() -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAMS * STREAM_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEADERS)
        .max_send_buf_size(SEND_BUFFER)
        // Clients that give up are no attack of the other node.
        .max_pending_accept_reset_streams(STREAMS as usize)
        .max_local_error_reset_streams(None)
        // WebSockets (RFC 8441).
        .enable_connect_protocol()
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    http
}

async fn serve_connection(
    stream: TcpStream,
    http: Arc<http2::Builder<TokioExecutor>>,
    node: Arc<Node>,
    stop: watch::Receiver<()>,
) {
    // A connection that is broken already shows that at the first read.
    let _ = stream.set_nodelay(true);
    #[cfg(feature = "tls")]
    if let Some(tls) = node.credentials.tls.clone() {
        match timeout(GREETING, tls.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => serve_http(stream, http, node, stop).await,
            Ok(Err(error)) => {
                tracing::warn!(target: "engineio::cluster", %error, "a connection to the internal listener was rejected");
            }
            Err(_) => {}
        }
        return;
    }
    serve_http(stream, http, node, stop).await;
}

async fn serve_http<IO>(
    io: IO,
    http: Arc<http2::Builder<TokioExecutor>>,
    node: Arc<Node>,
    mut stop: watch::Receiver<()>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let greeted = Greeted::default();
    let service = greeted.service(node);
    let mut connection = pin!(http.serve_connection(TokioIo::new(io), service));
    tokio::select! {
        ended = connection.as_mut() => return log_end(ended),
        () = silence(&greeted) => {
            tracing::debug!(target: "engineio::cluster", "a connection to the internal listener did not identify itself in time");
            return;
        }
        () = greeted.rejected() => {}
        _ = stop.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    // Nothing but what is due is written any more.
    let _ = timeout(FAREWELL, connection).await;
}

/// Completes when the other end has not identified itself in time.
async fn silence(greeted: &Greeted) {
    sleep(GREETING).await;
    if greeted.is_known() {
        std::future::pending::<()>().await;
    }
}

fn log_end(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(target: "engineio::cluster", %error, "a connection of another node ended");
    }
}

/// Returns whether the error concerns only one client, which gave up before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
