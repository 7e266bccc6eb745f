//! Messages that were not sent: noticed by a flush, and handed back.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use crate::support::{OPEN_POLLING, Reply, Server, echo, in_time, ok, text, websocket};
use engineio_client::{
    Client, DisconnectReason, ErrorKind, FlushError, Handle, Message, Reconnect, Transport,
};
use futures_util::SinkExt;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message as WsMessage;

fn messages<const N: usize>(texts: [&str; N]) -> Vec<Message> {
    texts.map(Message::from).to_vec()
}

/// A server of one polling session that answers POSTs once the gate is open.
async fn gated() -> (Server, watch::Sender<bool>) {
    let (open, gate) = watch::channel(false);
    let server = Server::start(move |_, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN_POLLING),
        "POST" => Reply::Later(gate.clone(), "ok"),
        _ => Reply::Never,
    });
    (server.await, open)
}

async fn polling(server: &Server) -> Client {
    let builder = Client::builder(&server.url()).transports([Transport::Polling]);
    in_time(builder.connect()).await.unwrap()
}

#[tokio::test]
async fn a_flush_waits_for_the_answer_to_the_post() {
    let (server, open) = gated().await;
    let client = polling(&server).await;
    let handle = client.handle();
    in_time(handle.flush()).await.unwrap();
    client.send("first").await.unwrap();
    let flushing = {
        let handle = handle.clone();
        tokio::spawn(async move { handle.flush().await })
    };
    while server.posts().is_empty() {
        tokio::task::yield_now().await;
    }
    client.send("second").await.unwrap();
    assert_eq!(client.queued_bytes(), handle.queued_bytes());
    assert_eq!(client.max_payload(), Some(1_000_000));
    assert!(client.queued_bytes() >= "second".len());
    assert!(!flushing.is_finished());
    open.send_replace(true);
    in_time(flushing).await.unwrap().unwrap();
    in_time(handle.flush()).await.unwrap();
    assert_eq!(client.queued_bytes(), 0);
    assert_eq!(server.posts(), ["4first", "4second"]);
    assert_eq!(client.take_unsent(), []);
}

#[tokio::test]
async fn a_message_that_the_sink_holds_is_handed_back_too_when_a_flush_fails() {
    let (server, _gate) = gated().await;
    let builder = Client::builder(&server.url())
        .transports([Transport::Polling])
        .outbox_limit(1);
    let mut client = in_time(builder.connect()).await.unwrap();
    client.send("posted").await.unwrap();
    while server.posts().is_empty() {
        tokio::task::yield_now().await;
    }
    for text in ["queued", "held"] {
        let fed = SinkExt::feed(&mut client, text.into());
        in_time(fed).await.unwrap();
    }
    client.abort();
    let flushed = in_time(client.flush()).await;
    assert!(matches!(flushed, Err(FlushError::Lost)), "{flushed:?}");
    assert_eq!(client.take_unsent(), messages(["queued", "held"]));
    in_time(client.wait()).await;
    assert_eq!(client.take_unsent(), []);
}

#[tokio::test]
async fn a_flush_fails_if_the_session_ends_before_the_answer_and_the_queue_is_handed_back() {
    let server = Server::start(|_, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN_POLLING),
        _ => Reply::Never,
    })
    .await;
    let mut client = polling(&server).await;
    client.send("in flight").await.unwrap();
    while server.posts().is_empty() {
        tokio::task::yield_now().await;
    }
    for text in ["a", "b"] {
        client.send(text).await.unwrap();
    }
    let handle = client.handle();
    let flushing = tokio::spawn(async move { handle.flush().await });
    tokio::task::yield_now().await;
    client.abort();
    assert!(matches!(
        in_time(flushing).await.unwrap(),
        Err(FlushError::Lost)
    ));
    assert_eq!(client.take_unsent(), messages(["a", "b"]));
    assert_eq!(client.take_unsent(), []);
    // The client has not told of it yet, and does so once.
    assert!(matches!(
        in_time(client.flush()).await,
        Err(FlushError::Lost)
    ));
    in_time(client.flush()).await.unwrap();
}

#[track_caller]
fn is_lost(outcome: Result<(), FlushError>) {
    assert!(matches!(outcome, Err(FlushError::Lost)), "{outcome:?}");
}

#[tokio::test]
async fn a_flush_fails_for_what_was_lost_before_it_was_called() {
    for transport in [Transport::Polling, Transport::WebSocket] {
        let server = Server::start(|_, request| match request.method.as_str() {
            _ if request.is_websocket() => websocket(|mut socket| async move {
                socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
                std::future::pending::<()>().await;
            }),
            _ if request.is_handshake() => ok(OPEN_POLLING),
            _ => Reply::Never,
        })
        .await;
        let builder = Client::builder(&server.url()).transports([transport]);
        let mut client = in_time(builder.outbox_limit(64 << 20).connect())
            .await
            .unwrap();
        let (sender, idle) = (client.handle(), client.handle());
        // More than the buffers of the two systems hold.
        sender.send(vec![0; 12 << 20]).await.unwrap();
        sender.try_send("behind it").unwrap();
        let clone = sender.clone();
        client.abort();
        in_time(client.wait()).await;
        // Each tells of it once.
        for handle in [&sender, &clone] {
            is_lost(in_time(handle.flush()).await);
            in_time(handle.flush()).await.unwrap();
        }
        in_time(idle.flush()).await.unwrap();
        is_lost(in_time(client.flush()).await);
        in_time(client.flush()).await.unwrap();
    }
}

#[tokio::test]
async fn a_flush_in_the_next_session_fails_for_what_the_last_one_lost() {
    let (refuse, refused) = watch::channel(false);
    let server = Server::start(move |number, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN_POLLING),
        "POST" if number < 4 => {
            refuse.send_replace(true);
            Reply::Body(503, Vec::new())
        }
        "POST" => ok("ok"),
        _ => Reply::Never,
    })
    .await;
    let policy = Reconnect::new().initial_delay(Duration::from_millis(1));
    let builder = Client::builder(&server.url()).transports([Transport::Polling]);
    let mut client = in_time(builder.reconnect(policy).connect()).await.unwrap();
    let (first, second) = (client.handle(), client.handle());
    first.send("lost").await.unwrap();
    let mut refused = refused;
    in_time(refused.wait_for(|refused| *refused)).await.unwrap();
    in_time(async {
        while server
            .seen()
            .iter()
            .filter(|request| request.is_handshake())
            .count()
            < 2
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    in_time(second.send("sent")).await.unwrap();
    in_time(second.flush()).await.unwrap();
    is_lost(in_time(first.flush()).await);
    is_lost(in_time(client.flush()).await);
    // What is queued later is another matter.
    for handle in [&first, &second] {
        handle.send("sent").await.unwrap();
        in_time(handle.flush()).await.unwrap();
    }
    in_time(client.flush()).await.unwrap();
}

#[tokio::test]
async fn the_answer_to_a_post_tells_whether_a_server_that_closes_has_its_messages() {
    for status in [Some(200), Some(400), None] {
        let (close, closing) = watch::channel(false);
        let (answer, answering) = watch::channel(false);
        let server = Server::start(move |_, request| match request.method.as_str() {
            _ if request.is_handshake() => ok(OPEN_POLLING),
            "POST" => match status {
                Some(status) => Reply::LaterWith(answering.clone(), status, "ok"),
                None => Reply::Never,
            },
            _ => Reply::Later(closing.clone(), "1"),
        })
        .await;
        let builder = Client::builder(&server.url()).transports([Transport::Polling]);
        let builder = match status {
            Some(_) => builder,
            None => builder.close_timeout(Duration::from_millis(50)),
        };
        let mut client = in_time(builder.connect()).await.unwrap();
        client.send("bye").await.unwrap();
        while server.posts().is_empty() {
            tokio::task::yield_now().await;
        }
        close.send_replace(true);
        while client.is_open() {
            tokio::task::yield_now().await;
        }
        if status.is_some() {
            assert_eq!(client.disconnect_reason(), None);
        }
        answer.send_replace(true);
        let flushed = in_time(client.flush()).await;
        assert_eq!(flushed.is_ok(), status == Some(200), "{status:?}");
        in_time(client.wait()).await;
        assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Server));
        // The refusal of a POST is no cause of an end that had come before.
        assert!(client.disconnect_error().is_none());
    }
}

#[tokio::test]
async fn a_flush_of_a_websocket_waits_until_the_frames_are_written() {
    let (read, reading) = watch::channel(false);
    let server = Server::start(move |_, _| {
        let mut reading = reading.clone();
        websocket(|mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            reading.wait_for(|go| *go).await.unwrap();
            echo(socket).await;
        })
    })
    .await;
    let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
    let mut client = in_time(builder.outbox_limit(64 << 20).connect())
        .await
        .unwrap();
    // More than the buffers of the two systems hold.
    client.send(vec![0; 12 << 20]).await.unwrap();
    let handle = client.handle();
    let flushing = tokio::spawn(async move { handle.flush().await });
    let early = tokio::time::timeout(Duration::from_millis(50), client.next()).await;
    assert!(early.is_err());
    assert!(!flushing.is_finished());
    read.send_replace(true);
    in_time(flushing).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_websocket_that_breaks_while_frames_are_written_fails_the_flush() {
    let server = Server::start(|_, _| {
        websocket(|mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            // Reads the first bytes and leaves.
            let _ =
                tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>()).await;
        })
    })
    .await;
    let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
    let client = in_time(builder.outbox_limit(64 << 20).connect())
        .await
        .unwrap();
    client.send(vec![0; 12 << 20]).await.unwrap();
    let lost = in_time(client.handle().flush()).await;
    assert!(matches!(lost, Err(FlushError::Lost)), "{lost:?}");
    // Its frame was on the way, and part of it may have arrived.
    in_time(client.wait()).await;
    assert_eq!(client.take_unsent(), []);
}

#[tokio::test]
async fn the_error_of_an_end_is_there_as_soon_as_a_flush_fails_for_it() {
    let (send, sending) = watch::channel(false);
    let server = Server::start(move |_, _| {
        let mut sending = sending.clone();
        websocket(|mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            sending.wait_for(|go| *go).await.unwrap();
            socket.send(WsMessage::text("no packet")).await.unwrap();
            // Does not answer the close frame, for which the client waits after the end.
            std::future::pending::<()>().await;
        })
    })
    .await;
    let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
    let builder = builder.outbox_limit(64 << 20);
    let mut client = in_time(builder.connect()).await.unwrap();
    client.send(vec![0; 12 << 20]).await.unwrap();
    send.send_replace(true);
    is_lost(in_time(client.flush()).await);
    assert_eq!(
        client.disconnect_reason(),
        Some(DisconnectReason::ParseError)
    );
    let error = client.disconnect_error().unwrap();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    // It stays what it is.
    client.abort();
    in_time(client.wait()).await;
    assert_eq!(
        client.disconnect_reason(),
        Some(DisconnectReason::ParseError)
    );
    assert!(client.disconnect_error().is_some());
}

#[tokio::test]
async fn frames_that_were_not_written_before_the_application_ends_the_session_fail_the_flush() {
    for end in ["abort", "close"] {
        let server = Server::start(|_, _| {
            websocket(|mut socket| async move {
                socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
                std::future::pending::<()>().await;
            })
        })
        .await;
        let builder = Client::builder(&server.url())
            .transports([Transport::WebSocket])
            .outbox_limit(64 << 20)
            .close_timeout(Duration::from_millis(50));
        let mut client = in_time(builder.connect()).await.unwrap();
        let handle = client.handle();
        client.send(vec![0; 12 << 20]).await.unwrap();
        client.send("queued").await.unwrap();
        while client.queued_bytes() > 1 << 20 {
            tokio::task::yield_now().await;
        }
        match end {
            "abort" => client.abort(),
            _ => in_time(client.close()).await,
        }
        let flushed = in_time(client.flush()).await;
        assert!(
            matches!(flushed, Err(FlushError::Lost)),
            "{end}: {flushed:?}"
        );
        // The connection may still wait for the server.
        assert_eq!(client.take_unsent(), messages(["queued"]), "{end}");
        let flushed = in_time(handle.flush()).await;
        assert!(flushed.is_ok(), "it has queued nothing: {flushed:?}");
        assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Client));
    }
}

#[tokio::test]
async fn a_websocket_that_closes_in_good_order_has_written_everything() {
    let server = Server::start(|_, _| {
        websocket(|mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            echo(socket).await;
        })
    })
    .await;
    for count in [0, 1, 40] {
        let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
        let mut client = in_time(builder.connect()).await.unwrap();
        for _ in 0..count {
            client.send(vec![0; 10_000]).await.unwrap();
        }
        in_time(client.close()).await;
        in_time(client.flush()).await.unwrap();
        assert_eq!(client.take_unsent(), []);
    }
}

#[tokio::test]
async fn a_disconnect_handler_gets_the_error_and_the_unsent_messages_and_may_send_them_again() {
    let server = Server::start(|number, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN_POLLING),
        "POST" if number < 4 => Reply::Body(503, b"maintenance".to_vec()),
        "POST" => ok("ok"),
        _ => Reply::Never,
    })
    .await;
    let ends = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&ends);
    let client = Client::builder(&server.url())
        .transports([Transport::Polling])
        .reconnect(Reconnect::new().initial_delay(Duration::from_millis(1)))
        .on_disconnect(move |client, end| {
            let again = end.unsent.clone();
            notes.lock().unwrap().push(end);
            async move {
                for message in again {
                    client.send(message).await.unwrap();
                }
            }
        });
    let client = in_time(client.connect()).await.unwrap();
    // The first one is in the POST that is refused, the others wait behind it.
    client.send("a").await.unwrap();
    while server.posts().is_empty() {
        client.send("b").await.unwrap();
        tokio::task::yield_now().await;
    }
    while server.posts().len() < 2 {
        tokio::task::yield_now().await;
    }
    in_time(client.close()).await;
    let ends = ends.lock().unwrap();
    let [first, last] = &ends[..] else {
        panic!("{ends:?}");
    };
    assert_eq!(first.reason, DisconnectReason::Refused);
    assert_eq!(first.error.as_ref().unwrap().status(), Some(503));
    let posts = server.posts().join("\u{1e}");
    let sent = posts.matches("4b").count();
    assert!(sent >= first.unsent.len(), "{posts}");
    assert_eq!(last.reason, DisconnectReason::Client);
    assert!(last.error.is_none() && last.unsent.is_empty());
    assert_eq!(client.take_unsent(), []);
}

#[tokio::test]
async fn a_session_begins_on_the_websocket_that_the_one_before_was_upgraded_to() {
    let first = AtomicBool::new(true);
    let server = Server::start(move |number, request| {
        let is_new = !request.target.contains("sid=");
        match request.is_websocket() {
            // The third session may not use it.
            true if is_new && !first.swap(false, Ordering::Relaxed) => Reply::Body(503, Vec::new()),
            true => websocket(move |mut socket| async move {
                if is_new {
                    socket
                        .send(WsMessage::text(crate::support::OPEN))
                        .await
                        .unwrap();
                } else {
                    crate::support::accept_probe(&mut socket).await;
                }
                socket.send(WsMessage::text("4x")).await.unwrap();
                assert_eq!(text(&mut socket).await, "4y");
            }),
            false if request.is_handshake() => ok(crate::support::OPEN),
            false if number < 4 => ok("6"),
            false => Reply::Never,
        }
    })
    .await;
    let policy = Reconnect::new()
        .remember_upgrade(true)
        .initial_delay(Duration::from_millis(1));
    let builder = Client::builder(&server.url()).reconnect(policy);
    let mut client = in_time(builder.connect()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(in_time(client.next()).await, Some(Message::from("x")));
        client.send("y").await.unwrap();
    }
    let by_polling = |seen: &[crate::support::Request]| {
        seen.iter().filter(|request| request.is_handshake()).count()
    };
    while by_polling(&server.seen()) < 2 {
        tokio::task::yield_now().await;
    }
    let seen = server.seen();
    let handshakes: Vec<bool> = seen
        .iter()
        .filter(|request| !request.target.contains("sid="))
        .map(crate::support::Request::is_websocket)
        .collect();
    assert_eq!(handshakes, [false, true, true, false]);
}

/// The waker of a task that the application runs by itself, whose `Drop` asks the client.
struct Asking(Handle, Arc<AtomicUsize>);

impl Wake for Asking {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Asking {
    fn drop(&mut self) {
        let _ = (self.0.queued_bytes(), self.0.is_open());
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn the_wakers_of_tasks_are_dropped_without_a_lock() {
    let (done, ends) = mpsc::channel();
    // Given up after a while, if it waits for a lock.
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (server, _gate) = gated().await;
            let builder = Client::builder(&server.url())
                .transports([Transport::Polling])
                .outbox_limit(1_000);
            let client = in_time(builder.connect()).await.unwrap();
            client.try_send(vec![0; 800]).unwrap();
            let handle = client.handle();
            let mut tasks: [Pin<Box<dyn Future<Output = ()>>>; 3] = [
                Box::pin(async { drop(handle.send(vec![0; 800]).await) }),
                Box::pin(async { drop(handle.flush().await) }),
                Box::pin(handle.wait()),
            ];
            let dropped = Arc::new(AtomicUsize::new(0));
            for task in &mut tasks {
                for _ in 0..2 {
                    let asking = Asking(client.handle(), Arc::clone(&dropped));
                    let waker = Waker::from(Arc::new(asking));
                    let cx = &mut Context::from_waker(&waker);
                    assert!(task.as_mut().poll(cx).is_pending());
                }
            }
            drop(tasks);
            assert_eq!(dropped.load(Ordering::Relaxed), 6);
        });
        done.send(()).unwrap();
    });
    match ends.recv_timeout(Duration::from_secs(20)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("a waker waits for a lock"),
        _ => thread.join().unwrap(),
    }
}
