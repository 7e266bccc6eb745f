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
use tokio::time::{Instant, sleep};
#[cfg(feature = "tls")]
use {
    crate::Tls,
    tokio::io::{AsyncRead, AsyncWrite},
    tokio::time::timeout,
    tokio_rustls::server::TlsStream,
};

pub(crate) use body::RequestBody;
pub(crate) use node::Node;
pub(crate) use rejections::Rejections;

use engineio_core::driver::Repeats;

use crate::link::{MAX_FRAME, MAX_HEADERS, SEND_BUFFER, STREAM_WINDOW, STREAMS};

/// The pause after the system has refused to accept: it is mostly out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the other nodes until the sender of `stop` is dropped, and then writes the answers that are due.
pub(crate) async fn serve(listener: TcpListener, node: Arc<Node>, mut stop: watch::Receiver<()>) {
    let http = Arc::new(http());
    // The connections end with the listener.
    let mut connections = JoinSet::new();
    let refusals = Repeats::default();
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
                if let Some(count) = refusals.count(Instant::now(), 1) {
                    tracing::error!(target: "engineio::cluster", %error, count, "the system accepts no connections of other nodes for now");
                }
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
    if let Some(tls) = &node.credentials.tls {
        if let Some(stream) = encrypt(stream, tls, &node.rejections).await {
            connection::serve(stream, &http, &node, stop).await;
        }
        return;
    }
    connection::serve(stream, &http, &node, stop).await;
}

/// Performs the TLS handshake, if the other end has a certificate of the cluster.
#[cfg(feature = "tls")]
async fn encrypt<IO: AsyncRead + AsyncWrite + Unpin>(
    stream: IO,
    tls: &Tls,
    rejections: &Rejections,
) -> Option<TlsStream<IO>> {
    match timeout(connection::GREETING, tls.acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            rejections.log(None, &error);
            None
        }
        Err(_) => None,
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

#[cfg(all(test, feature = "tls"))]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use tokio::io::AsyncWriteExt;
    use tokio::time::advance;

    use super::*;
    use crate::lines::Lines;

    fn certificates() -> Tls {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let key = key.serialize_pem();
        Tls::from_pem(
            certificate.as_bytes(),
            certificate.as_bytes(),
            key.as_bytes(),
        )
        .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_connections_without_tls_is_one_line_a_second() {
        let (lines, _guard) = Lines::collect();
        let (tls, rejections) = (certificates(), Rejections::default());
        let stranger = async || {
            let (mut theirs, ours) = tokio::io::duplex(1024);
            theirs.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            assert!(encrypt(ours, &tls, &rejections).await.is_none());
        };
        for _ in 0..500 {
            stranger().await;
        }
        assert_eq!(lines.take().len(), 1);
        advance(Duration::from_secs(1)).await;
        stranger().await;
        let [line] = &lines.take()[..] else {
            panic!("not one line");
        };
        assert!(line.contains("rejections=500 "), "{line}");
        assert!(line.contains("InvalidContentType"), "{line}");
    }
}
