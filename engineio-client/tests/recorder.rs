//! A recorder of metrics is code of the application, which may ask for the client and send by it.
#![cfg(feature = "metrics")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use engineio_client::{Client, DisconnectReason, ErrorKind, Handle, Message, Transport};
use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use support::{OPEN_POLLING, Reply, Server, in_time, ok};

#[derive(Clone, Default)]
struct Asks(Arc<Mutex<Option<Handle>>>, Arc<AtomicBool>);

impl CounterFn for Asks {
    fn increment(&self, _: u64) {
        assert!(!self.1.load(Ordering::Relaxed), "on purpose");
        let handle = self.0.lock().unwrap().clone();
        if let Some(handle) = handle {
            assert!(handle.is_open());
        }
    }

    fn absolute(&self, _: u64) {}
}

impl metrics::Recorder for Asks {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(self.clone()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// One test, since a process has one recorder.
#[tokio::test]
async fn a_recorder_may_ask_for_the_client_and_panic() {
    let asks = Asks::default();
    metrics::set_global_recorder(asks.clone()).ok().unwrap();
    may_ask(&asks).await;
    may_panic(&asks).await;
}

async fn may_ask(asks: &Asks) {
    let server = Server::start(|_, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(&format!("{OPEN_POLLING}\u{1e}4a\u{1e}4b")),
        "POST" => ok("ok"),
        _ => Reply::Never,
    })
    .await;
    let mut client = in_time(Client::connect(&server.url())).await.unwrap();
    *asks.0.lock().unwrap() = Some(client.handle());
    client.send("a").await.unwrap();
    client.try_send("b").unwrap();
    futures_util::SinkExt::send(&mut client, "c".into())
        .await
        .unwrap();
    for text in ["a", "b"] {
        assert_eq!(in_time(client.next()).await, Some(Message::from(text)));
    }
    *asks.0.lock().unwrap() = None;
}

/// It panics each time that it is called, also when the client is closed because of that.
async fn may_panic(asks: &Asks) {
    let server = Server::start(|_, request| match request.is_handshake() {
        true => ok(OPEN_POLLING),
        false => ok("4a"),
    })
    .await;
    for with_handler in [false, true] {
        let (asks, calls) = (asks.clone(), Arc::new(AtomicBool::new(false)));
        let called = Arc::clone(&calls);
        let mut builder = Client::builder(&server.url()).transports([Transport::Polling]);
        if with_handler {
            let panics = Arc::clone(&asks.1);
            builder = builder
                .on_connect(move |_| {
                    panics.store(true, Ordering::Relaxed);
                    async {}
                })
                .on_message(|_, _| async {})
                .on_disconnect(move |_, end| {
                    called.store(true, Ordering::Relaxed);
                    assert_eq!(end.reason, DisconnectReason::HandlerPanic);
                    async {}
                });
        } else {
            asks.1.store(true, Ordering::Relaxed);
        }
        let error = match in_time(builder.connect()).await {
            Err(error) => error,
            Ok(client) => {
                in_time(client.wait()).await;
                assert_eq!(calls.load(Ordering::Relaxed), with_handler);
                client.disconnect_error().unwrap()
            }
        };
        asks.1.store(false, Ordering::Relaxed);
        assert_eq!(error.kind(), ErrorKind::Panicked, "{error}");
    }
}
