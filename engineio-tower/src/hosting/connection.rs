//! One connection of [`serve`](super::serve): HTTP over a stream, with its time limits.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
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

use super::activity::Activity;
use super::heads::heads;
use super::serve_options::Options;
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
        let activity = Arc::new(Activity::default());
        let requests = Arc::clone(&activity);
        let mut serving = self.serving.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            let in_progress = requests.begin_request();
            let extensions = request.extensions_mut();
            extensions.insert(PeerAddr(peer));
            scheme.map(|scheme| extensions.insert(scheme));
            let service = TowerToHyperService::new(self.service.clone());
            let response = hyper::service::Service::call(&service, request);
            async move { Ok::<_, S::Error>(response.await?.map(|body| in_progress.until_sent(body))) }
        });
        let connection = async {
            match unless_over(handshake, self.serving).await {
                Ok(io) => {
                    let limit = self.options.header_read_timeout.min(LONGEST);
                    let (io, timer) = heads(io, limit, &activity);
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
        // Ends a connection that asks nothing. hyper's own timeout begins only when it knows the version of HTTP, and allows
        // an idle connection more. At a
        // shutdown, hyper waits for a first head that has begun, too.
        let first_head = async {
            let limit = self.options.header_read_timeout;
            if timeout(limit, serving.changed()).await.is_ok() && !activity.was_asked() {
                sleep(limit.min(LAST_HEAD)).await;
            }
        };
        if ends_before(connection.as_mut(), first_head).await {
            return;
        }
        if !activity.was_asked() {
            tracing::debug!(target: "engineio::serve", %peer, "a client connected but sent no request");
            return;
        }
        // The watcher of the connection wakes this task at a shutdown.
        let is_over = poll_fn(|_| match serving.has_changed() {
            Ok(_) => Poll::Pending,
            Err(_) => Poll::Ready(()),
        });
        // hyper closes an idle connection of HTTP/2 once the peer has acknowledged that, and one of HTTP/1 once the body of
        // the last request has come, although it is only discarded.
        if !ends_before(connection.as_mut(), is_over).await
            && !ends_before(connection, activity.ceased()).await
        {
            tracing::debug!(target: "engineio::serve", %peer, "a client did not close its idle connection");
        }
    }
}

/// Runs the connection until `limit` has come. Returns whether it has ended before.
async fn ends_before(
    mut connection: Pin<&mut impl Future<Output = ()>>,
    limit: impl Future<Output = ()>,
) -> bool {
    let mut limit = pin!(limit);
    poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Pending => limit.as_mut().poll(cx).map(|()| false),
        Poll::Ready(()) => Poll::Ready(true),
    })
    .await
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
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper_util::server::graceful::GracefulShutdown;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::Notify;
    use tokio::time::Instant;

    use super::super::activity::QUIET;
    use super::*;
    use crate::{EngineIoService, Server};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    /// The preface and the settings of an HTTP/2 client, and a request without a body.
    const REQUEST_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
        \0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";

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
        connect_to(EngineIoService::new(Server::builder().build()))
    }

    /// A client of a connection to this service.
    fn connect_to<S, B>(service: S) -> (DuplexStream, Running)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        connect_with(Options::default(), service)
    }

    /// The same with other limits.
    fn connect_with<S, B>(options: Options, service: S) -> (DuplexStream, Running)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let (client, server) = duplex(4096);
        let graceful = GracefulShutdown::new();
        let (serving, is_serving) = watch::channel(());
        let connection = Connection {
            http: Arc::new(http(options)),
            service,
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
    async fn the_first_head_has_its_time_however_short_idle_connections_are_kept() {
        let options = Options {
            keep_alive_timeout: Duration::from_millis(1),
            ..Options::default()
        };
        // Fewer bytes and more than those that tell the version of HTTP.
        for begun in [0, 1, 10, 25] {
            let service = EngineIoService::new(Server::builder().build());
            let (mut client, _graceful) = connect_with(options, service);
            client.write_all(&REQUEST[..begun]).await.unwrap();
            assert_eq!(end(&mut client).await, 15, "{begun}");
        }
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

    /// Lets time pass, with everything that is due in between.
    async fn pass(time: Duration) {
        tokio::time::sleep_until(Instant::now() + time).await;
    }

    /// Reads frames of HTTP/2 up to the end of the first response. Returns the bytes of its body.
    async fn response_2(client: &mut DuplexStream) -> usize {
        let mut body = 0;
        loop {
            let mut head = [0; 9];
            client.read_exact(&mut head).await.unwrap();
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            client.read_exact(&mut vec![0; len]).await.unwrap();
            let (is_data, is_headers) = (head[3] == 0, head[3] == 1);
            body += if is_data { len } else { 0 };
            if (is_data || is_headers) && head[4] & 1 == 1 {
                return body;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_waits_two_seconds_for_a_connection_without_requests() {
        // A client of HTTP/2 that acknowledges nothing.
        let (mut client, running) = connect();
        client.write_all(REQUEST_2).await.unwrap();
        response_2(&mut client).await;
        let ((), ended) = tokio::join!(running.shut_down(), end(&mut client));
        assert_eq!(ended, 2);
        // A refused request whose body goes on.
        let (mut client, running) = connect();
        let post = b"POST /engine.io/ HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n";
        client.write_all(post).await.unwrap();
        let len = client.read(&mut [0; 1024]).await.unwrap();
        assert!(len > 0);
        let (mut reader, mut writer) = tokio::io::split(client);
        let drip = async {
            while writer.write_all(b"4").await.is_ok() {
                pass(QUIET / 4).await;
            }
        };
        let ended = async {
            let begun = Instant::now();
            let _ = reader.read_to_end(&mut Vec::new()).await;
            begun.elapsed().as_secs()
        };
        let ((), (), ended) = tokio::join!(running.shut_down(), drip, ended);
        assert_eq!(ended, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_waits_for_requests_and_for_responses_that_are_being_read() {
        const LEN: usize = 60_000;
        static BEGUN: Notify = Notify::const_new();
        let service = tower::service_fn(|_| async {
            BEGUN.notify_one();
            pass(QUIET * 10).await;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; LEN]))))
        });
        let (mut client, running) = connect_to(service);
        client.write_all(REQUEST_2).await.unwrap();
        BEGUN.notified().await;
        let read = async {
            let (slow, mut received) = duplex(1);
            let slowly = async {
                let mut slow = slow;
                let mut part = [0; 1024];
                while let Ok(len @ 1..) = client.read(&mut part).await {
                    slow.write_all(&part[..len]).await.unwrap();
                    pass(QUIET / 4).await;
                }
            };
            tokio::join!(slowly, response_2(&mut received)).1
        };
        let ((), body) = tokio::join!(running.shut_down(), read);
        assert_eq!(body, LEN);
        // The same over HTTP/1.
        let (mut client, running) = connect_to(service);
        client.write_all(REQUEST).await.unwrap();
        BEGUN.notified().await;
        let read = async {
            let (mut total, mut part) = (Vec::new(), [0; 1024]);
            while let Ok(len @ 1..) = client.read(&mut part).await {
                total.extend_from_slice(&part[..len]);
                pass(QUIET / 4).await;
            }
            total
        };
        let ((), total) = tokio::join!(running.shut_down(), read);
        assert!(total.ends_with(&[b'x'; LEN]));
    }
}
