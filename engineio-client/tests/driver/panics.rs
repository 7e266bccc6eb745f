//! A panic of the application's code closes the client in good order, wherever the client had called it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::support::memory::Memory;
use crate::support::{
    OPEN_POLLING, Reply, Server, in_time, ok, panics::panic_again_on_drop, websocket,
};
use engineio_client::{
    Client, ClientBuilder, Disconnect, DisconnectReason, Error, ErrorKind, Message, Reconnect,
    Renewal, Transport,
};
use futures_util::SinkExt;
use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as WsMessage;

/// Where the application's code panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Clone,
    Ready,
    Call,
    Connect,
    Read,
    Write,
    Drop,
}

/// Connects to a port, and panics at that place from the time at which it is told to.
struct Panics {
    at: At,
    port: u16,
    now: Arc<AtomicUsize>,
}

impl Panics {
    fn reach(&self, place: At) {
        if place == self.at && self.now.load(Ordering::Relaxed) > 0 {
            panic_again_on_drop();
        }
    }

    fn copy(&self) -> Self {
        Self {
            at: self.at,
            port: self.port,
            now: Arc::clone(&self.now),
        }
    }
}

impl Clone for Panics {
    fn clone(&self) -> Self {
        self.reach(At::Clone);
        self.copy()
    }
}

impl tower_service::Service<Uri> for Panics {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.reach(At::Ready);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        self.reach(At::Call);
        let this = self.copy();
        Box::pin(async move {
            this.reach(At::Connect);
            let tcp = TcpStream::connect(("127.0.0.1", this.port)).await?;
            Ok(Stream { tcp, panics: this })
        })
    }
}

struct Stream {
    tcp: TcpStream,
    panics: Panics,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.panics.reach(At::Drop);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.panics.reach(At::Read);
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.panics.reach(At::Write);
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// A server of sessions that it does not end.
async fn server() -> Server {
    Server::start(|_, request| match request.method.as_str() {
        _ if request.is_websocket() => websocket(|mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            crate::support::echo(socket).await;
        }),
        _ if request.is_handshake() => ok(OPEN_POLLING),
        _ => Reply::Never,
    })
    .await
}

type Ends = Arc<Mutex<Vec<Disconnect>>>;

fn noting(builder: ClientBuilder, ends: &Ends) -> ClientBuilder {
    let ends = Arc::clone(ends);
    builder.on_disconnect(move |_, end| {
        ends.lock().unwrap().push(end);
        async {}
    })
}

#[track_caller]
fn says_so(error: Option<&Error>) {
    let error = error.expect("no error tells of the panic");
    assert_eq!(error.kind(), ErrorKind::Panicked, "{error}");
    assert!(error.to_string().contains("panicked"), "{error}");
}

#[tokio::test]
async fn a_connector_or_a_stream_that_panics_in_a_session_closes_the_client() {
    for transport in [Transport::Polling, Transport::WebSocket] {
        for at in [
            At::Clone,
            At::Ready,
            At::Call,
            At::Connect,
            At::Read,
            At::Write,
        ] {
            // A WebSocket needs no other connection.
            if transport == Transport::WebSocket && !matches!(at, At::Read | At::Write) {
                continue;
            }
            let server = server().await;
            let now = Arc::new(AtomicUsize::new(0));
            let connector = Panics {
                at,
                port: server.port,
                now: Arc::clone(&now),
            };
            let ends = Ends::default();
            let builder = Client::builder("http://in.test")
                .transports([transport])
                .reconnect(Reconnect::new())
                .connector(connector);
            let client = in_time(noting(builder, &ends).connect()).await.unwrap();
            now.store(1, Ordering::Relaxed);
            // By polling each of the messages but the first one waits for its POST.
            for text in ["a", "b", "c"] {
                let _ = client.send(text).await;
                tokio::task::yield_now().await;
            }
            in_time(client.wait()).await;
            let ends = ends.lock().unwrap();
            let [end] = &ends[..] else {
                panic!("{at:?} {transport}: {ends:?}");
            };
            assert_eq!(
                end.reason,
                DisconnectReason::HandlerPanic,
                "{at:?} {transport}"
            );
            says_so(end.error.as_ref());
            let reason = client.disconnect_reason();
            assert_eq!(reason, Some(DisconnectReason::HandlerPanic));
            says_so(client.disconnect_error().as_ref());
            let handshakes = server.seen().into_iter();
            let handshakes = handshakes.filter(|request| !request.target.contains("sid="));
            assert_eq!(handshakes.count(), 1, "{at:?} {transport}");
        }
    }
}

#[tokio::test]
async fn a_connector_or_a_stream_that_panics_at_first_fails_connect() {
    let server = server().await;
    for transport in [Transport::Polling, Transport::WebSocket] {
        for at in [
            At::Clone,
            At::Ready,
            At::Call,
            At::Connect,
            At::Read,
            At::Write,
        ] {
            let ends = Ends::default();
            let policy = Reconnect::new().first_connection(true);
            let now = Arc::new(AtomicUsize::new(usize::from(at != At::Clone)));
            let connector = Panics {
                at,
                port: server.port,
                now: Arc::clone(&now),
            };
            let builder = Client::builder("http://in.test")
                .transports([transport])
                .reconnect(policy)
                .connector(connector);
            now.store(1, Ordering::Relaxed);
            let error = in_time(noting(builder, &ends).connect()).await.unwrap_err();
            says_so(Some(&error));
            assert!(ends.lock().unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn a_stream_that_panics_when_it_is_dropped_harms_nothing() {
    for transport in [Transport::Polling, Transport::WebSocket] {
        let server = server().await;
        let now = Arc::new(AtomicUsize::new(0));
        let connector = Panics {
            at: At::Drop,
            port: server.port,
            now: Arc::clone(&now),
        };
        let ends = Ends::default();
        let builder = Client::builder("http://in.test")
            .transports([transport])
            .connector(connector);
        let client = in_time(noting(builder, &ends).connect()).await.unwrap();
        now.store(1, Ordering::Relaxed);
        in_time(client.close()).await;
        let ends = ends.lock().unwrap();
        let [end] = &ends[..] else {
            panic!("{transport}: {ends:?}");
        };
        assert_eq!(end.reason, DisconnectReason::Client, "{transport}");
        assert!(end.error.is_none(), "{transport}: {:?}", end.error);
    }
}

/// A server that ends its session while a POST is under way.
fn memory() -> Memory {
    Memory::new(|number, request| match request.method().as_str() {
        "POST" => None,
        _ if number == 0 => Some(OPEN_POLLING),
        _ if number < 3 => Some("6"),
        _ => Some("1"),
    })
}

#[tokio::test(start_paused = true)]
async fn a_closure_of_the_policy_that_panics_closes_the_client() {
    let policy = || Reconnect::new().initial_delay(Duration::from_millis(1));
    fn renewal(panics: bool) -> Result<Renewal, io::Error> {
        if panics {
            panic_again_on_drop();
        }
        Ok(Renewal::new())
    }
    for (what, policy) in [
        ("retry_if", policy().retry_if(|_, _| panic_again_on_drop())),
        (
            "renew, called",
            policy().renew(|| -> std::future::Ready<Result<Renewal, io::Error>> {
                panic_again_on_drop()
            }),
        ),
        ("renew, awaited", policy().renew(|| async { renewal(true) })),
    ] {
        for has_handler in [true, false] {
            let ends = Ends::default();
            let builder = Client::builder("http://in.memory")
                .transports([Transport::Polling])
                .max_post_packets(1)
                .connector(memory())
                .reconnect(policy.clone());
            let builder = match has_handler {
                true => noting(builder, &ends),
                false => builder,
            };
            let mut client = builder.connect().await.unwrap();
            client.send("posted").await.unwrap();
            client.send("unsent").await.unwrap();
            assert_eq!(client.next().await, None);
            client.wait().await;
            let unsent = if has_handler {
                let ends = ends.lock().unwrap();
                let [end] = &ends[..] else {
                    panic!("{what}: {ends:?}");
                };
                // The session had ended for another reason.
                assert_eq!(end.reason, DisconnectReason::Server, "{what}");
                end.unsent.clone()
            } else {
                client.take_unsent()
            };
            assert_eq!(unsent, [Message::from("unsent")], "{what}");
            says_so(client.disconnect_error().as_ref());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_for_failed_attempts_that_panics_closes_the_client() {
    let served = Arc::new(AtomicUsize::new(0));
    let connector = tower::service_fn(move |_: Uri| {
        let io: io::Result<DuplexStream> = match served.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(memory().connect()),
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        };
        async move { io }
    });
    let ends = Ends::default();
    let policy = Reconnect::new().on_failed_attempt(|_| panic_again_on_drop());
    let builder = Client::builder("http://in.memory")
        .transports([Transport::Polling])
        .connector(connector)
        .reconnect(policy);
    let client = noting(builder, &ends).connect().await.unwrap();
    client.wait().await;
    let ends = ends.lock().unwrap();
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert_eq!(ends[0].reason, DisconnectReason::Server);
    says_so(client.disconnect_error().as_ref());
}

#[tokio::test]
async fn a_handler_that_panics_is_told_by_the_error_too() {
    let server = server().await;
    let ends = Ends::default();
    let builder = Client::builder(&server.url())
        .transports([Transport::WebSocket])
        .on_message(|_, _| async { panic_again_on_drop() });
    let client = in_time(noting(builder, &ends).connect()).await.unwrap();
    client.send("a").await.unwrap();
    in_time(client.wait()).await;
    let ends = ends.lock().unwrap();
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert_eq!(ends[0].reason, DisconnectReason::HandlerPanic);
    says_so(ends[0].error.as_ref());
    says_so(client.disconnect_error().as_ref());
}

/// A server that sends messages and this packet behind them, by either transport.
async fn sending(last: &str) -> Server {
    let messages: String = (0..20).map(|n| format!("4{n}\u{1e}")).collect();
    let payload = messages + last;
    Server::start(move |_, request| match request.method.as_str() {
        _ if request.is_websocket() => {
            let packets: Vec<String> = payload.split('\u{1e}').map(str::to_owned).collect();
            websocket(|mut socket| async move {
                socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
                for packet in packets {
                    socket.send(WsMessage::text(packet)).await.unwrap();
                }
                std::future::pending::<()>().await;
            })
        }
        _ if request.is_handshake() => ok(OPEN_POLLING),
        _ => ok(&payload),
    })
    .await
}

#[tokio::test]
async fn a_handler_that_panics_after_the_end_of_its_session_is_told_by_the_error() {
    for transport in [Transport::Polling, Transport::WebSocket] {
        for by_server in [true, false] {
            let server = sending(if by_server { "1" } else { "6" }).await;
            for may_return in [false, true] {
                let ends = Ends::default();
                let builder = Client::builder(&server.url())
                    .transports([transport])
                    .on_message(move |client, message| async move {
                        if message.as_text() != Some("5") {
                            return;
                        }
                        if !by_server {
                            client.abort();
                        }
                        while client.is_open() {
                            tokio::task::yield_now().await;
                        }
                        panic_again_on_drop();
                    });
                let builder = match may_return {
                    true => builder.reconnect(Reconnect::new()),
                    false => builder,
                };
                let client = in_time(noting(builder, &ends).connect()).await.unwrap();
                in_time(client.wait()).await;
                let reason = match by_server {
                    true => DisconnectReason::Server,
                    false => DisconnectReason::Client,
                };
                let ends = ends.lock().unwrap();
                assert_eq!(ends.len(), 1, "{ends:?}");
                assert_eq!(ends[0].reason, reason);
                says_so(ends[0].error.as_ref());
                assert_eq!(client.disconnect_reason(), Some(reason));
                says_so(client.disconnect_error().as_ref());
            }
        }
    }
}

#[tokio::test]
async fn a_handler_of_the_end_that_panics_is_told_by_the_error() {
    let server = sending("1").await;
    for transport in [Transport::Polling, Transport::WebSocket] {
        let builder = Client::builder(&server.url())
            .transports([transport])
            .reconnect(Reconnect::new())
            .on_disconnect(|_, _| async { panic_again_on_drop() });
        let client = in_time(builder.connect()).await.unwrap();
        in_time(client.wait()).await;
        assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Server));
        says_so(client.disconnect_error().as_ref());
    }
}

#[cfg(feature = "blocking")]
#[test]
fn a_handler_of_a_blocking_client_that_panics_after_the_end_is_told_too() {
    use engineio_client::blocking;

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(sending("1"));
    let client = blocking::Client::builder(&server.url())
        .transports([Transport::Polling])
        .on_message(|client, _| {
            while client.is_open() {
                std::thread::yield_now();
            }
            panic_again_on_drop();
        })
        .connect()
        .unwrap();
    assert!(client.wait_timeout(crate::support::LONG).unwrap());
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Server));
    says_so(client.disconnect_error().as_ref());
}

#[cfg(feature = "blocking")]
#[test]
fn a_blocking_client_is_closed_in_good_order_too() {
    use engineio_client::blocking;

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(|_, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN_POLLING),
        "POST" => Reply::Never,
        _ => ok("1"),
    }));
    let ends = Ends::default();
    let hears = Arc::clone(&ends);
    let client = blocking::Client::builder(&server.url())
        .transports([Transport::Polling])
        .reconnect(Reconnect::new().retry_if(|_, _| panic_again_on_drop()))
        .on_disconnect(move |_, end| hears.lock().unwrap().push(end))
        .connect()
        .unwrap();
    assert!(client.wait_timeout(crate::support::LONG).unwrap());
    assert_eq!(ends.lock().unwrap().len(), 1);
    says_so(client.disconnect_error().as_ref());
}
