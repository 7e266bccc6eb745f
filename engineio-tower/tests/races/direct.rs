//! Frames that are written from where they are sent, while the task of the WebSocket sleeps or wakes up.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use engineio_tower::{Driver, EngineIoService, Server, Socket};
use shuttle::sync::Mutex;
use shuttle::{future, thread};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, ReadHalf, WriteHalf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tower::ServiceExt;

use crate::explore::{Watched, explore, in_time, numbers, poll_to_the_end, texts};
use crate::support::{self, Client, open, receive_text, send, socket};
use crate::upgrading::receive_to_the_end;

/// The bytes that a connection takes before its peer reads, so few that most writes are partial.
const ROOM: usize = 5;

/// A connection in memory whose writing half is shared with the server.
struct Shared {
    read: ReadHalf<DuplexStream>,
    write: Arc<Mutex<WriteHalf<DuplexStream>>>,
}

impl Shared {
    fn poll_write<T>(
        &self,
        write: impl FnOnce(Pin<&mut WriteHalf<DuplexStream>>) -> Poll<T>,
    ) -> Poll<T> {
        write(Pin::new(&mut *self.write.lock().unwrap()))
    }
}

impl AsyncRead for Shared {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl AsyncWrite for Shared {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Self::poll_write(&self, |half| half.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_write(&self, |half| half.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_write(&self, |half| half.poll_shutdown(cx))
    }
}

/// Opens a WebSocket whose connection is shared with the server.
async fn websocket(server: &Server, query: &str) -> Option<(Client, future::JoinHandle<()>)> {
    let service = EngineIoService::new(server.clone());
    let request = support::websocket_request(query);
    let mut response = service.oneshot(request).await.unwrap();
    let driver = Driver::take(&mut response)?;
    let (ours, theirs) = tokio::io::duplex(ROOM);
    let (read, write) = tokio::io::split(theirs);
    let write = Arc::new(Mutex::new(write));
    let shared = Arc::clone(&write);
    let try_write = move |bytes: &[u8]| {
        let mut half = shared.lock().unwrap();
        let cx = &mut Context::from_waker(Waker::noop());
        match Pin::new(&mut *half).poll_write(cx, bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    };
    let driver = future::spawn(driver.run_shared(Shared { read, write }, try_write));
    let client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    Some((client, driver))
}

/// Opens a session by WebSocket.
async fn opened(server: &Server) -> (Client, future::JoinHandle<()>) {
    let (mut client, driver) = websocket(server, support::WEBSOCKET).await.unwrap();
    assert!(receive_text(&mut client).await.starts_with('0'));
    (client, driver)
}

#[test]
fn broadcasts_and_messages_arrive_once_and_in_order() {
    explore(|| async {
        let watched = Watched::new(Server::builder());
        let (mut client, driver) = opened(&watched.server).await;
        let socket = watched.server.sockets().pop().unwrap();
        let broadcasting = thread::spawn({
            let server = watched.server.clone();
            move || {
                for text in numbers(3) {
                    assert_eq!(server.broadcast(format!("all {text}")), 1);
                }
            }
        });
        let sending = thread::spawn({
            let socket = socket.clone();
            move || {
                for text in numbers(3) {
                    socket.try_send(format!("one {text}")).unwrap();
                }
            }
        });
        // Its task wakes up meanwhile.
        send(&mut client, "4hello").await;
        let closing = future::spawn(async move {
            broadcasting.join().unwrap();
            sending.join().unwrap();
            socket.close();
        });
        let messages = texts(&receive_to_the_end(client).await);
        for kind in ["all ", "one "] {
            let of_kind = messages.iter().filter_map(|text| text.strip_prefix(kind));
            assert_eq!(of_kind.collect::<Vec<_>>(), numbers(3), "{kind}");
        }
        assert_eq!(messages.len(), 6);
        closing.await.unwrap();
        driver.await.unwrap();
        watched.clean_after(1).await;
    });
}

#[test]
fn a_broadcast_meets_a_close() {
    for close in [Socket::close, Socket::abort] {
        explore(move || async move {
            let watched = Watched::new(Server::builder());
            let (client, driver) = opened(&watched.server).await;
            let socket = watched.server.sockets().pop().unwrap();
            let closer = thread::spawn(move || close(&socket));
            let broadcaster = thread::spawn({
                let server = watched.server.clone();
                move || {
                    for text in numbers(3) {
                        server.broadcast(text);
                    }
                }
            });
            // Whole frames in order, whatever was in the middle of being written.
            let messages = texts(&receive_to_the_end(client).await);
            assert_eq!(messages, numbers(messages.len()));
            closer.join().unwrap();
            broadcaster.join().unwrap();
            driver.await.unwrap();
            watched.clean_after(1).await;
        });
    }
}

#[test]
fn a_broadcast_meets_a_client_that_vanishes() {
    explore(|| async {
        let watched = Watched::new(Server::builder());
        let (client, driver) = opened(&watched.server).await;
        let broadcaster = thread::spawn({
            let server = watched.server.clone();
            move || {
                for text in numbers(3) {
                    server.broadcast(text);
                }
            }
        });
        drop(client);
        broadcaster.join().unwrap();
        driver.await.unwrap();
        watched.clean_after(1).await;
    });
}

#[test]
fn a_broadcast_meets_an_upgrade() {
    explore(|| async {
        let watched = Watched::new(Server::builder());
        let server = &watched.server;
        let (sid, _) = open(server).await;
        let socket = socket(server, &sid);
        let polling = {
            let (server, sid) = (server.clone(), sid.clone());
            future::spawn(async move { poll_to_the_end(&server, &sid).await })
        };
        let query = support::upgrade_query(&sid);
        let (mut client, driver) = websocket(server, &query).await.unwrap();
        send(&mut client, "2probe").await;
        let broadcaster = thread::spawn({
            let server = server.clone();
            move || {
                for text in numbers(3) {
                    assert_eq!(server.broadcast(text), 1);
                }
                socket.close();
            }
        });
        use futures_util::SinkExt;
        let upgraded = tokio_tungstenite::tungstenite::Message::text("5");
        // The server may have closed it already.
        let _ = client.send(upgraded).await;
        let packets = receive_to_the_end(client).await;
        let mut messages = in_time(polling).await;
        messages.extend(texts(&packets));
        broadcaster.join().unwrap();
        driver.await.unwrap();
        assert_eq!(messages, numbers(3));
        watched.clean_after(1).await;
    });
}
