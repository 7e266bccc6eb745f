//! Clients outside of their runtime, without what they need of one, and after its end.

mod support;

use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use engineio_client::{Client, DisconnectReason, ErrorKind, Message, SinkError, Transport};
use futures_util::SinkExt;
use support::memory::Memory;
use support::{OPEN_POLLING, Reply, Server, in_time, ok};
use tokio::runtime::{Builder, Runtime};

fn memory() -> Memory {
    Memory::new(|_, request| {
        let is_handshake = !request.uri().query().unwrap_or_default().contains("sid=");
        is_handshake.then_some(OPEN_POLLING)
    })
}

#[test]
fn a_runtime_without_time_is_named_as_what_is_wrong() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let connecting = Client::builder("http://h").connector(memory()).connect();
    let error = runtime.block_on(connecting).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`enable_time`"), "{error}");
}

#[test]
fn a_runtime_without_io_is_named_as_what_is_wrong_and_will_do_for_a_connector() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    for transport in [Transport::Polling, Transport::WebSocket] {
        for proxy in ["", "http://127.0.0.1:1", "socks5://127.0.0.1:1"] {
            let mut builder = Client::builder("http://127.0.0.1:1").transports([transport]);
            if !proxy.is_empty() {
                builder = builder.proxy(proxy);
            }
            let error = runtime.block_on(builder.connect()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(error.to_string().contains("`enable_io`"), "{error}");
        }
    }
    let builder = Client::builder("http://h").transports([Transport::Polling]);
    let connecting = builder.connector(memory()).connect();
    runtime.block_on(async { in_time(connecting).await.unwrap() });
}

/// Waits without a runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// A runtime with another thread, which drives a client while the test waits elsewhere.
fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn a_sink_may_be_closed_outside_of_the_runtime() {
    let runtime = runtime();
    let client = runtime.block_on(async {
        let server = Server::start(|_, request| match request.is_handshake() {
            true => ok(OPEN_POLLING),
            false => Reply::Never,
        })
        .await;
        let builder = Client::builder(&server.url()).transports([Transport::Polling]);
        let builder = builder.outbox_limit(1);
        let builder = builder.close_timeout(Duration::from_millis(50));
        let mut client = in_time(builder.connect()).await.unwrap();
        client.send("posted").await.unwrap();
        while server.posts().is_empty() {
            tokio::task::yield_now().await;
        }
        for text in ["queued", "held"] {
            client.feed(text.into()).await.unwrap();
        }
        client
    });
    let (closed, closing) = mpsc::channel();
    thread::spawn(move || {
        let mut client = client;
        let outcome = block_on(SinkExt::close(&mut client));
        block_on(client.wait());
        closed.send((outcome, client)).unwrap();
    });
    let (outcome, client) = closing.recv_timeout(support::LONG).unwrap();
    assert_eq!(outcome, Err(SinkError::Lost));
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Client));
    let unsent = client.take_unsent();
    assert_eq!(unsent, ["queued", "held"].map(Message::from));
}

#[test]
fn what_was_not_sent_is_handed_back_if_the_runtime_ends_before_the_handler_can_have_it() {
    for has_message_handler in [false, true] {
        let runtime = runtime();
        let client = runtime.block_on(async {
            let server = memory();
            let mut builder = Client::builder("http://h").transports([Transport::Polling]);
            if has_message_handler {
                builder = builder.on_message(|_, _| async {});
            }
            let builder = builder.on_disconnect(|_, end| async move {
                panic!("called with {end:?}");
            });
            let connecting = builder.connector(server.clone()).connect();
            let client = in_time(connecting).await.unwrap();
            client.send("posted").await.unwrap();
            while !server
                .seen
                .lock()
                .unwrap()
                .iter()
                .any(|(method, _)| method == "POST")
            {
                tokio::task::yield_now().await;
            }
            client.send("queued").await.unwrap();
            client
        });
        runtime.shutdown_timeout(support::LONG);
        assert_eq!(client.take_unsent(), [Message::from("queued")]);
        assert_eq!(client.take_unsent(), []);
    }
}
