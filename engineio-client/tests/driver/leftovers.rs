//! What belongs to a session ends with it: connections, tasks and messages, even if the server reads nothing any more.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::support::{Io, OPEN_POLLING};
use engineio_client::{Client, ClientBuilder, DisconnectReason, Reconnect};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, ReadBuf,
};
use tokio::sync::watch;

/// Longer than a connection may live on after its session.
const SOON: Duration = Duration::from_secs(2);

/// A connection that is counted as long as the client has it.
struct Counted {
    io: DuplexStream,
    open: Arc<watch::Sender<usize>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.send_modify(|count| *count -= 1);
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A server that answers handshakes and then reads nothing any more.
#[derive(Clone, Default)]
struct Deaf {
    /// A session is opened on each even connection; the odd ones are for its POST.
    connections: Arc<AtomicUsize>,
    /// The POSTs that were begun.
    posts: Arc<watch::Sender<usize>>,
    /// The connections that the client has.
    open: Arc<watch::Sender<usize>>,
}

type Accept = fn(DuplexStream) -> Pin<Box<dyn Future<Output = Box<dyn Io>> + Send>>;

fn plain(io: DuplexStream) -> Pin<Box<dyn Future<Output = Box<dyn Io>> + Send>> {
    Box::pin(async move { Box::new(io) as Box<dyn Io> })
}

impl Deaf {
    fn builder(&self, url: &str, accept: Accept) -> ClientBuilder {
        let this = self.clone();
        Client::builder(url).connector(tower::service_fn(move |_| {
            let io = this.connect(accept);
            async move { Ok::<_, io::Error>(io) }
        }))
    }

    fn connect(&self, accept: Accept) -> Counted {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let posts = Arc::clone(&self.posts);
        tokio::spawn(async move {
            let mut io = BufReader::with_capacity(1, accept(far).await);
            if number.is_multiple_of(2) {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(io.read_u8().await.unwrap());
                }
                let length = OPEN_POLLING.len();
                let answer =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{OPEN_POLLING}");
                io.write_all(answer.as_bytes()).await.unwrap();
                io.flush().await.unwrap();
            } else {
                io.read_u8().await.unwrap();
                posts.send_modify(|count| *count += 1);
            }
            // It keeps the connection.
            std::future::pending::<()>().await;
        });
        self.open.send_modify(|count| *count += 1);
        Counted {
            io: near,
            open: Arc::clone(&self.open),
        }
    }

    async fn has_posts(&self, expected: usize) {
        let mut posts = self.posts.subscribe();
        let posted = posts.wait_for(|count| *count >= expected);
        let posted = tokio::time::timeout(Duration::from_secs(3600), posted);
        posted.await.expect("no POST was begun").unwrap();
    }

    /// Waits until the client has so many connections.
    async fn keeps(&self, expected: usize, what: &str) {
        let mut open = self.open.subscribe();
        let kept = tokio::time::timeout(SOON, open.wait_for(|count| *count == expected)).await;
        assert!(kept.is_ok(), "{} connections {what}", *self.open.borrow());
    }
}

async fn is_nothing_left(url: &str, accept: Accept, configure: fn(ClientBuilder) -> ClientBuilder) {
    let metrics = tokio::runtime::Handle::current().metrics();
    for end in ["close", "drop", "abort", "timeout"] {
        let server = Deaf::default();
        let before = metrics.num_alive_tasks();
        let builder = configure(server.builder(url, accept));
        let client = builder.connect().await.unwrap();
        // More than the connection takes.
        client.send("x".repeat(1 << 20)).await.unwrap();
        server.has_posts(1).await;
        server.keeps(2, "in a session").await;
        match end {
            "close" => client.close().await,
            "drop" => drop(client),
            "abort" => client.abort(),
            _ => {
                client.wait().await;
                let reason = client.disconnect_reason();
                assert_eq!(reason, Some(DisconnectReason::TransportError));
            }
        }
        server.keeps(0, &format!("after {end}")).await;
        // The server's own tasks go on.
        let expected = before + server.connections.load(Ordering::Relaxed);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(metrics.num_alive_tasks(), expected, "tasks after {end}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_post_that_the_server_does_not_read() {
    is_nothing_left("http://in.memory", plain, |builder| builder).await;
}

#[cfg(feature = "rustls")]
#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_post_over_tls_that_the_server_does_not_read() {
    use std::sync::OnceLock;

    use engineio_client::rustls::pki_types::PrivateKeyDer;
    use engineio_client::rustls::{ServerConfig, crypto::ring};
    use tokio_rustls::TlsAcceptor;

    static ACCEPTOR: OnceLock<TlsAcceptor> = OnceLock::new();

    fn acceptor() -> TlsAcceptor {
        let made = rcgen::generate_simple_self_signed(vec!["in.memory".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key);
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }

    fn secure(io: DuplexStream) -> Pin<Box<dyn Future<Output = Box<dyn Io>> + Send>> {
        let accepting = ACCEPTOR.get_or_init(acceptor).accept(io);
        Box::pin(async move { Box::new(accepting.await.unwrap()) as Box<dyn Io> })
    }

    is_nothing_left("https://in.memory", secure, |builder| {
        builder.danger_accept_invalid_certificates(true)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_next_session_of_a_client_does_not_keep_the_connections_of_the_last() {
    let server = Deaf::default();
    let policy = Reconnect::new()
        .initial_delay(2 * SOON)
        .jitter(0.0)
        .reset_after(Duration::ZERO);
    let builder = server.builder("http://in.memory", plain).reconnect(policy);
    let client = builder.connect().await.unwrap();
    for session in 1..4 {
        client.send("x".repeat(1 << 20)).await.unwrap();
        server.has_posts(session).await;
        client.handle().flush().await.unwrap_err();
        // Until the next session has its connection, there is none.
        server.keeps(0, &format!("after {session} sessions")).await;
    }
}
