//! The internal listener, which serves the other nodes.

mod body;
mod connection;
mod node;
mod rejections;
mod service;
mod websocket;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use h2::server;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
#[cfg(feature = "tls")]
use tokio::time::timeout;

pub(crate) use body::RequestBody;
pub(crate) use node::Node;
pub(crate) use rejections::Rejections;

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

fn http() -> server::Builder {
    let mut http = server::Builder::new();
    http.max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAMS * STREAM_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEADERS)
        .max_send_buffer_size(SEND_BUFFER)
        // Clients that give up are no attack of the other node.
        .max_pending_accept_reset_streams(STREAMS as usize)
        .max_local_error_reset_streams(None)
        // WebSockets (RFC 8441).
        .enable_connect_protocol();
    http
}

async fn serve_connection(
    stream: TcpStream,
    http: Arc<server::Builder>,
    node: Arc<Node>,
    stop: watch::Receiver<()>,
) {
    // A connection that is broken already shows that at the first read.
    let _ = stream.set_nodelay(true);
    #[cfg(feature = "tls")]
    if let Some(tls) = node.credentials.tls.clone() {
        match timeout(connection::GREETING, tls.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => connection::serve(stream, &http, &node, stop).await,
            Ok(Err(error)) => {
                tracing::warn!(target: "engineio::cluster", %error, "a connection to the internal listener was rejected");
            }
            Err(_) => {}
        }
        return;
    }
    connection::serve(stream, &http, &node, stop).await;
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
