//! What is counted, on a recorder that remembers.
#![cfg(feature = "metrics")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use engineio_tower::{ConnectRequest, Message, Rejection, Server, Socket};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use support::{get, open, poll, post, receive, receive_text, send, websocket};

mod support;

fn values(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let snapshot = snapshotter.snapshot().into_vec();
    let values = snapshot.into_iter().map(|(key, _, _, value)| {
        let (_, key) = key.into_parts();
        let labels: Vec<_> = key.labels().map(|label| label.value().to_owned()).collect();
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(values) => values.len() as f64,
        };
        (format!("{} {}", key.name(), labels.join(",")), value)
    });
    values.collect()
}

/// A snapshot takes the counters out, so the test looks once.
#[test]
fn sessions_messages_and_refusals_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let server = Server::builder()
                .on_connect(
                    |_: Socket, request: ConnectRequest| match request.query("no") {
                        Some(_) => Err(Rejection::default()),
                        None => Ok(()),
                    },
                )
                .on_message(|socket: Socket, message: Message| {
                    let _ = socket.try_send(message);
                })
                .build();
            let (sid, _) = open(&server).await;
            post(&server, &sid, "4abc\x1e4d").await;
            poll(&server, &sid).await;
            let (leaver, _) = open(&server).await;
            post(&server, &leaver, "1").await;
            let (_, _) = open(&server).await;
            let query = format!("EIO=4&transport=websocket&sid={sid}");
            let mut client = websocket(&server, &query).await;
            send(&mut client, "2probe").await;
            receive(&mut client).await;
            send(&mut client, "5").await;
            send(&mut client, "4x").await;
            assert_eq!(receive_text(&mut client).await, "4x");
            get(&server, "EIO=4&transport=polling&no=1").await;
            get(&server, "EIO=4").await;
            let queued = server
                .sockets()
                .into_iter()
                .find(|socket| socket.transport() == engineio_tower::Transport::Polling);
            queued.unwrap().try_send("waits").unwrap();
        });
    });
    let values = values(&snapshotter);
    for (name, expected) in [
        ("engineio_handshakes_total polling", 3.0),
        ("engineio_sessions polling", 1.0),
        ("engineio_sessions websocket", 1.0),
        ("engineio_upgrades_total ", 1.0),
        ("engineio_disconnects_total client disconnect", 1.0),
        ("engineio_session_seconds ", 1.0),
        ("engineio_messages_total in", 3.0),
        ("engineio_messages_total out", 4.0),
        ("engineio_message_bytes_total in", 5.0),
        ("engineio_message_bytes_total out", 10.0),
        ("engineio_refusals_total Transport unknown", 1.0),
        ("engineio_turned_away_total ", 1.0),
        ("engineio_queue_bytes ", 69.0),
    ] {
        assert_eq!(values.get(name), Some(&expected), "{name} in {values:#?}");
    }
}

#[test]
fn nothing_is_left_of_what_was_queued_for_clients_that_are_gone() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let server = Server::builder().initial_message("hello").build();
            let (sid, _) = open(&server).await;
            let socket = server.sockets().remove(0);
            socket.try_send_many(["one", "three"]).unwrap();
            poll(&server, &sid).await;
            socket.try_send_many(["four"]).unwrap();
            socket.abort();
        });
    });
    let values = values(&snapshotter);
    for (name, expected) in [
        ("engineio_messages_total out", 4.0),
        ("engineio_message_bytes_total out", 17.0),
        ("engineio_queue_bytes ", 0.0),
    ] {
        assert_eq!(values.get(name), Some(&expected), "{name} in {values:#?}");
    }
}

/// An application's recorder that looks at a client whenever it records something.
#[derive(Clone, Default)]
struct Curious(Arc<Client>);

#[derive(Default)]
struct Client {
    socket: OnceLock<Socket>,
    looks: AtomicUsize,
}

impl Client {
    fn look(&self) {
        if let Some(socket) = self.socket.get() {
            // Takes the lock of the session.
            let _ = socket.queued_bytes();
            self.looks.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Recorder for Curious {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::clone(&self.0))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::clone(&self.0))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::clone(&self.0))
    }
}

impl CounterFn for Client {
    fn increment(&self, _: u64) {
        self.look();
    }

    fn absolute(&self, _: u64) {
        self.look();
    }
}

impl GaugeFn for Client {
    fn increment(&self, _: f64) {
        self.look();
    }

    fn decrement(&self, _: f64) {
        self.look();
    }

    fn set(&self, _: f64) {
        self.look();
    }
}

impl HistogramFn for Client {
    fn record(&self, _: f64) {
        self.look();
    }
}

#[test]
fn a_recorder_may_ask_for_the_client_that_it_records() {
    let recorder = Curious::default();
    let client = Arc::clone(&recorder.0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let known = Arc::clone(&client);
            let server = Server::builder()
                .on_connect(move |socket: Socket, _| {
                    let _ = known.socket.set(socket);
                })
                .on_message(|socket: Socket, message: Message| {
                    let _ = socket.try_send(message);
                })
                .build();
            let (sid, _) = open(&server).await;
            post(&server, &sid, "4abc").await;
            poll(&server, &sid).await;
            let query = format!("EIO=4&transport=websocket&sid={sid}");
            let mut websocket = websocket(&server, &query).await;
            send(&mut websocket, "2probe").await;
            receive(&mut websocket).await;
            send(&mut websocket, "5").await;
            send(&mut websocket, "4x").await;
            assert_eq!(receive_text(&mut websocket).await, "4x");
            client.socket.get().unwrap().abort();
        });
    });
    // The session, two messages in both directions with their bytes, the queue, the upgrade, and the end.
    assert!(client.looks.load(Ordering::Relaxed) >= 15);
}
