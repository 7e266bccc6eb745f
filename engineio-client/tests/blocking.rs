//! The blocking client. Its server runs in a runtime of its own.
#![cfg(feature = "blocking")]

mod support;

use std::sync::mpsc;
use std::time::Duration;

use engineio_client::blocking::{Client, RecvError};
use engineio_client::{DisconnectReason, ErrorKind, FlushError, Message, SendError, Transport};
use futures_util::SinkExt;
use support::memory::Memory;
use support::{LONG, OPEN_POLLING, Reply, Server, echo, ok, websocket};
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Message as WsMessage;

fn server() -> (Runtime, Server) {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(|number, request| {
        if request.is_websocket() {
            websocket(|mut socket| async move {
                socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
                echo(socket).await;
            })
        } else if request.is_handshake() {
            ok(OPEN_POLLING)
        } else if request.method == "POST" {
            ok("ok")
        } else if number < 3 {
            ok("4a\u{1e}4b\u{1e}1")
        } else {
            Reply::Never
        }
    }));
    (runtime, server)
}

#[test]
fn a_flush_fails_for_what_was_lost_before_it_was_called() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(|_, request| match request.is_handshake() {
        true => ok(OPEN_POLLING),
        false => Reply::Never,
    }));
    let client = Client::connect(&server.url()).unwrap();
    let sender = client.handle();
    sender.send("lost").unwrap();
    client.abort();
    client.wait().unwrap();
    // Each tells of it once.
    assert!(matches!(sender.flush(), Err(FlushError::Lost)));
    sender.flush().unwrap();
    assert!(matches!(client.flush(), Err(FlushError::Lost)));
    client.flush().unwrap();
    client.handle().flush().unwrap();
}

#[test]
fn messages_go_both_ways() {
    let (_runtime, server) = server();
    let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
    let mut client = builder.connect().unwrap();
    for n in 0..1000 {
        client.send(n.to_string()).unwrap();
    }
    for n in 0..1000 {
        let message = client.recv_timeout(LONG).unwrap();
        assert_eq!(message, Message::from(n.to_string()));
    }
    let nothing = client.recv_timeout(Duration::from_millis(1));
    assert!(matches!(nothing, Err(RecvError::Timeout)));
    let handle = client.handle();
    assert_eq!(handle.settled().unwrap(), Transport::WebSocket);
    assert!(handle.is_open() && handle.disconnect_reason().is_none());
    client.close().unwrap();
    assert!(!handle.is_open() && handle.disconnect_error().is_none());
    assert_eq!(handle.disconnect_reason(), client.disconnect_reason());
    assert!(matches!(client.recv(), Err(RecvError::Closed)));
    assert!(matches!(client.send("late"), Err(SendError::Closed(_))));
}

#[test]
fn a_client_is_an_iterator() {
    let (_runtime, server) = server();
    let mut client = Client::connect(&server.url()).unwrap();
    let texts: Vec<_> = client
        .by_ref()
        .map(|message| message.as_text().map(str::to_owned))
        .collect();
    assert_eq!(texts, [Some("a".to_owned()), Some("b".to_owned())]);
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Server));
    client.wait().unwrap();
}

#[test]
fn handlers_are_called_in_one_thread_and_may_block() {
    let (_runtime, server) = server();
    let (told, hears) = mpsc::channel();
    let (messages, ends) = (told.clone(), told.clone());
    let tell = |told: &mpsc::Sender<_>, what: String| {
        told.send((what, std::thread::current().id())).unwrap();
    };
    let client = Client::builder(&server.url())
        .on_connect(move |_| tell(&told, "connect".to_owned()))
        .on_message(move |client, message| {
            // A call that may block; the session may be over already.
            let _ = client.send(message.clone());
            tell(&messages, message.as_text().unwrap().to_owned());
        })
        .on_disconnect(move |_, end| tell(&ends, end.reason.to_string()))
        .connect()
        .unwrap();
    client.wait().unwrap();
    let heard: Vec<_> = hears.try_iter().collect();
    let what: Vec<&str> = heard.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(what, ["connect", "a", "b", "server disconnect"]);
    assert!(heard.iter().all(|(_, thread)| *thread == heard[0].1));
}

#[test]
fn a_handler_that_has_panicked_gets_no_more_messages() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(|_, request| match request.is_handshake() {
        true => ok(&format!("{OPEN_POLLING}\u{1e}4a\u{1e}4b\u{1e}4c")),
        false => Reply::Never,
    }));
    let (tells, hears) = mpsc::channel();
    let ends = tells.clone();
    let client = Client::builder(&server.url())
        .on_message(move |_, message| {
            tells.send(message.as_text().unwrap().to_owned()).unwrap();
            panic!("on purpose")
        })
        .on_disconnect(move |_, end| ends.send(end.reason.to_string()).unwrap())
        .connect()
        .unwrap();
    assert!(client.wait_timeout(LONG).unwrap());
    let heard: Vec<_> = hears.try_iter().collect();
    assert_eq!(heard, ["a", &DisconnectReason::HandlerPanic.to_string()]);
}

#[test]
fn the_iterator_leaves_messages_to_their_handler() {
    let (_runtime, server) = server();
    let (told, hears) = mpsc::channel();
    let (open, gate) = mpsc::channel::<()>();
    let mut client = Client::builder(&server.url())
        .on_message(move |_, message| {
            told.send(message).unwrap();
            let _ = gate.recv();
        })
        .connect()
        .unwrap();
    assert_eq!(hears.recv_timeout(LONG), Ok(Message::from("a")));
    assert_eq!(client.next(), None);
    drop(open);
    assert_eq!(hears.recv_timeout(LONG), Ok(Message::from("b")));
    client.wait().unwrap();
}

#[test]
fn a_message_waits_for_the_next_session() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(|number, request| {
        match request.method.as_str() {
            _ if request.is_handshake() => ok(OPEN_POLLING),
            "POST" => ok("ok"),
            // The poll, which is sent again once.
            _ if number < 3 => Reply::Raw(Vec::new()),
            _ => Reply::Never,
        }
    }));
    let client = Client::builder(&server.url())
        .reconnect(engineio_client::Reconnect::new().initial_delay(Duration::from_millis(200)))
        .connect()
        .unwrap();
    while client.disconnect_reason().is_none() {
        std::thread::yield_now();
    }
    client.send("patient").unwrap();
    client.close().unwrap();
    assert_eq!(server.posts().join("\u{1e}"), "4patient\u{1e}1");
}

#[test]
fn the_connector_of_the_application_runs_in_the_background_runtime() {
    let memory = Memory::new(|number, _| {
        Some(if number == 0 {
            OPEN_POLLING
        } else {
            "4a\u{1e}1"
        })
    });
    let builder = Client::builder("http://in.memory").connector(memory);
    let mut client = builder.connect().unwrap();
    assert_eq!(client.recv_timeout(LONG).unwrap(), Message::from("a"));
    client.wait().unwrap();
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Server));
}

#[test]
fn inside_a_runtime_there_are_errors_and_no_panics() {
    let (runtime, server) = server();
    let mut client = Client::builder(&server.url())
        .transports([Transport::WebSocket])
        .connect()
        .unwrap();
    runtime.block_on(async {
        let error = Client::connect(&server.url()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InsideRuntime);
        assert!(
            error
                .to_string()
                .contains("use `engineio_client::Client` there"),
            "{error}"
        );
        client.send("room enough").unwrap();
        assert!(matches!(client.recv(), Err(RecvError::Failed(_))));
        assert_eq!(client.next(), None);
        assert_eq!(client.wait().unwrap_err().kind(), ErrorKind::InsideRuntime);
        assert_eq!(
            client.settled().unwrap_err().kind(),
            ErrorKind::InsideRuntime
        );
        assert_eq!(client.close().unwrap_err().kind(), ErrorKind::InsideRuntime);
    });
    client.wait().unwrap();
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Client));
}

#[test]
fn a_client_can_be_used_where_a_runtime_lets_threads_block() {
    let (runtime, server) = server();
    let url = server.url();
    let echoed = runtime.block_on(async {
        let blocking = tokio::task::spawn_blocking(move || {
            let builder = Client::builder(&url).transports([Transport::WebSocket]);
            let mut client = builder.connect().unwrap();
            client.send("from a pool of threads").unwrap();
            client.flush().unwrap();
            let echoed = client.recv_timeout(LONG).unwrap();
            client.close().unwrap();
            echoed
        });
        blocking.await.unwrap()
    });
    assert_eq!(echoed, Message::from("from a pool of threads"));
    let url = server.url();
    let (opened, sent) = runtime.block_on(async {
        let task = tokio::spawn(async move {
            let connect = || {
                Client::builder(&url)
                    .transports([Transport::WebSocket])
                    .connect()
            };
            let error = connect().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InsideRuntime);
            tokio::task::block_in_place(|| {
                let client = connect().unwrap();
                (client.is_open(), client.send_timeout("x", LONG))
            })
        });
        task.await.unwrap()
    });
    assert!(opened && sent.is_ok());
}

/// A server that opens a session and takes nothing after that.
fn deaf_server() -> (Runtime, Server) {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(|_, request| match request.is_handshake() {
        true => ok(OPEN_POLLING),
        false => Reply::Never,
    }));
    (runtime, server)
}

#[test]
fn waits_with_a_time_limit_end_in_time_and_hand_the_message_back() {
    let (_runtime, server) = deaf_server();
    let builder = Client::builder(&server.url()).outbox_limit(1);
    let client = builder.connect().unwrap();
    let short = Duration::from_millis(20);
    client.send("in flight").unwrap();
    while server.posts().is_empty() {
        std::thread::yield_now();
    }
    client.send("x").unwrap();
    let refused = client.send_timeout("late", short);
    assert_eq!(refused, Err(SendError::Full(Message::from("late"))));
    assert!(!client.wait_timeout(short).unwrap());
    assert!(client.queued_bytes() > 0);
    let handle = client.handle();
    let flushing = std::thread::spawn(move || handle.flush());
    client.abort();
    assert!(client.wait_timeout(LONG).unwrap());
    assert_eq!(client.take_unsent(), [Message::from("x")]);
    // It may have begun after the end, when there was nothing left to wait for.
    let flushed = flushing.join().unwrap();
    assert!(matches!(flushed, Ok(()) | Err(FlushError::Lost)));
    let refused = client.send_timeout("late", short);
    assert_eq!(refused, Err(SendError::Closed(Message::from("late"))));
}

#[test]
fn a_disconnect_handler_gets_the_error_and_what_was_not_sent() {
    let (_runtime, server) = deaf_server();
    let (told, hears) = mpsc::channel();
    let client = Client::builder(&server.url())
        .request_timeout(Duration::from_millis(200))
        .on_upgrade(|_, _| panic!("the server offers none"))
        .on_disconnect(move |client, end| {
            assert!(!client.is_open());
            told.send(end).unwrap();
        })
        .connect()
        .unwrap();
    client.send("in flight").unwrap();
    while server.posts().is_empty() {
        std::thread::yield_now();
    }
    client.send("waiting").unwrap();
    let end = hears.recv_timeout(LONG).unwrap();
    assert_eq!(end.reason, DisconnectReason::TransportError);
    assert_eq!(end.error.unwrap().kind(), ErrorKind::Timeout);
    assert_eq!(end.unsent, [Message::from("waiting")]);
    client.wait().unwrap();
    assert_eq!(client.take_unsent(), []);
}
