//! One connection of [`serve`](super::serve): HTTP over a stream, with its time limits.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower_service::Service;

use super::heads::heads;
use super::serve::Options;
use crate::session::request::PeerAddr;

/// hyper adds its timeouts to the time of day, for which some are too long.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The time for the first head of a connection once the server shuts down.
const LAST_HEAD: Duration = Duration::from_secs(1);

/// The maximum number of concurrent HTTP/2 requests of one connection, WebSockets included.
const STREAMS: u32 = 200;

/// The flow-control window of one of them, in bytes. The window of the connection is as large as those of all together:
/// otherwise a few WebSockets whose application has no room would block all others of their connection, which may be
/// that of a proxy.
const STREAM_WINDOW: u32 = 128 * 1024;

/// Returns the HTTP settings of all connections.
pub(super) fn http(options: Options) -> auto::Builder<TokioExecutor> {
    let keep_alive = options.keep_alive_timeout.min(LONGEST);
    let mut http = auto::Builder::new(TokioExecutor::new());
    // The timer of the connection turns this into two limits.
    http.http1().header_read_timeout(keep_alive);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAMS * STREAM_WINDOW)
        // WebSockets (RFC 8441).
        .enable_connect_protocol()
        // A peer that is gone without a word leaves a connection that nothing else would end.
        .keep_alive_interval(keep_alive);
    http
}

/// One connection that was accepted.
pub(super) struct Connection<S> {
    pub(super) http: Arc<auto::Builder<TokioExecutor>>,
    pub(super) service: S,
    pub(super) peer: SocketAddr,
    pub(super) options: Options,
    /// Changes when the server shuts down.
    pub(super) serving: watch::Receiver<()>,
    pub(super) watcher: Watcher,
}

impl<S> Connection<S> {
    pub(super) async fn serve<B, IO>(self, handshake: impl Future<Output = io::Result<IO>>)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (peer, scheme) = (self.peer, self.options.scheme);
        let asked = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&asked);
        let mut serving = self.serving.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            heard.store(true, Ordering::Relaxed);
            let extensions = request.extensions_mut();
            extensions.insert(PeerAddr(peer));
            scheme.map(|scheme| extensions.insert(scheme));
            hyper::service::Service::call(&TowerToHyperService::new(self.service.clone()), request)
        });
        let connection = async {
            match unless_over(handshake, self.serving).await {
                Ok(io) => {
                    let (io, timer) = heads(io, self.options.header_read_timeout.min(LONGEST));
                    let mut http = (*self.http).clone();
                    http.http1().timer(timer);
                    let connection = http.serve_connection_with_upgrades(TokioIo::new(io), service);
                    if let Err(error) = self.watcher.watch(connection).await {
                        tracing::debug!(target: "engineio::serve", %peer, error, "a connection failed");
                    }
                }
                Err(error) => {
                    tracing::debug!(target: "engineio::serve", %peer, %error, "a handshake failed");
                }
            }
        };
        let mut connection = pin!(connection);
        // hyper's own timeout begins only when it knows the version of HTTP, and allows an idle connection more. At a
        // shutdown, hyper waits for a first head that has begun, too.
        let expired = async {
            let limit = self.options.header_read_timeout;
            if timeout(limit, serving.changed()).await.is_ok() {
                sleep(limit.min(LAST_HEAD)).await;
            }
        };
        let mut expired = pin!(expired);
        let has_ended = poll_fn(|cx| match connection.as_mut().poll(cx) {
            Poll::Pending => expired.as_mut().poll(cx).map(|()| false),
            Poll::Ready(()) => Poll::Ready(true),
        });
        if has_ended.await {
            return;
        }
        if asked.load(Ordering::Relaxed) {
            connection.await;
        } else {
            tracing::debug!(target: "engineio::serve", %peer, "a client connected but sent no request");
        }
    }
}

/// Performs the handshake, unless the server shuts down meanwhile: no client is connected by it yet, so there is
/// nothing to finish.
async fn unless_over<IO>(
    handshake: impl Future<Output = io::Result<IO>>,
    mut serving: watch::Receiver<()>,
) -> io::Result<IO> {
    let mut handshake = pin!(handshake);
    let mut over = pin!(serving.changed());
    poll_fn(|cx| match handshake.as_mut().poll(cx) {
        Poll::Pending => over
            .as_mut()
            .poll(cx)
            .map(|_| Err(io::Error::other("the server shuts down"))),
        done => done,
    })
    .await
}

#[cfg(test)]
mod tests {
    use hyper_util::server::graceful::GracefulShutdown;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;
    use crate::{EngineIoService, Server};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    /// Keeps a connection running until it is told to shut down.
    struct Running {
        graceful: GracefulShutdown,
        serving: watch::Sender<()>,
    }

    impl Running {
        async fn shut_down(self) {
            drop(self.serving);
            self.graceful.shutdown().await;
        }
    }

    /// A client of a connection with the default limits.
    fn connect() -> (DuplexStream, Running) {
        let (client, server) = duplex(4096);
        let options = Options::default();
        let graceful = GracefulShutdown::new();
        let (serving, is_serving) = watch::channel(());
        let connection = Connection {
            http: Arc::new(http(options)),
            service: EngineIoService::new(Server::builder().build()),
            peer: ([127, 0, 0, 1], 1).into(),
            options,
            serving: is_serving,
            watcher: graceful.watcher(),
        };
        tokio::spawn(connection.serve(std::future::ready(Ok(server))));
        (client, Running { graceful, serving })
    }

    async fn request(client: &mut DuplexStream) {
        client.write_all(REQUEST).await.unwrap();
        let mut answer = [0; 1024];
        let len = client.read(&mut answer).await.unwrap();
        assert!(answer[..len].starts_with(b"HTTP/1.1 404 "));
    }

    /// Returns the seconds until the server closes the connection.
    async fn end(client: &mut DuplexStream) -> u64 {
        let begun = Instant::now();
        let _ = client.read_to_end(&mut Vec::new()).await;
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_kept_for_75_seconds() {
        let (mut client, _graceful) = connect();
        for _ in 0..2 {
            request(&mut client).await;
            tokio::time::advance(Duration::from_secs(70)).await;
        }
        request(&mut client).await;
        assert_eq!(end(&mut client).await, 75);
    }

    #[tokio::test(start_paused = true)]
    async fn the_head_of_each_request_may_take_15_seconds() {
        let (mut client, _graceful) = connect();
        assert_eq!(end(&mut client).await, 15);
        let (mut client, _graceful) = connect();
        client.write_all(&REQUEST[..10]).await.unwrap();
        assert_eq!(end(&mut client).await, 15);
        // The time of a later one begins with its first byte.
        let (mut client, _graceful) = connect();
        request(&mut client).await;
        tokio::time::advance(Duration::from_secs(70)).await;
        client.write_all(&REQUEST[..10]).await.unwrap();
        tokio::time::sleep_until(Instant::now() + Duration::from_secs(14)).await;
        client.write_all(&REQUEST[10..20]).await.unwrap();
        assert_eq!(end(&mut client).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_waits_a_second_for_a_first_head_and_no_longer() {
        for (begun, seconds) in [(0, 0), (10, 1)] {
            let (mut client, running) = connect();
            client.write_all(&REQUEST[..begun]).await.unwrap();
            tokio::task::yield_now().await;
            let ((), ended) = tokio::join!(running.shut_down(), end(&mut client));
            assert_eq!(ended, seconds, "{begun}");
        }
        // One that arrives in time is answered.
        let (mut client, running) = connect();
        client.write_all(&REQUEST[..10]).await.unwrap();
        tokio::task::yield_now().await;
        let late = async {
            tokio::time::sleep_until(Instant::now() + LAST_HEAD / 2).await;
            client.write_all(&REQUEST[10..]).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let ((), answer) = tokio::join!(running.shut_down(), late);
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        // The head of a later request is not waited for.
        let (mut client, running) = connect();
        request(&mut client).await;
        client.write_all(&REQUEST[..10]).await.unwrap();
        tokio::task::yield_now().await;
        let ((), ended) = tokio::join!(running.shut_down(), end(&mut client));
        assert_eq!(ended, 0);
    }
}
