//! A recorder of metrics is code of the application, which may ask for the client and send by it.
#![cfg(feature = "metrics")]

mod support;

use std::sync::{Arc, Mutex};

use engineio_client::{Client, Handle, Message};
use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use support::{OPEN_POLLING, Reply, Server, in_time, ok};

#[derive(Clone, Default)]
struct Asks(Arc<Mutex<Option<Handle>>>);

impl CounterFn for Asks {
    fn increment(&self, _: u64) {
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

#[tokio::test]
async fn a_recorder_may_ask_for_the_client() {
    let asks = Asks::default();
    metrics::set_global_recorder(asks.clone()).ok().unwrap();
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
