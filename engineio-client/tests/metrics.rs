//! The metrics of a client.
#![cfg(feature = "metrics")]

mod support;

use engineio_client::{Client, Message};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use support::{OPEN, Server, accept_probe, echo, in_time, ok, websocket};

#[tokio::test]
async fn sessions_and_messages_are_counted() {
    let recorder = DebuggingRecorder::new();
    let counted = recorder.snapshotter();
    // The only test of this process.
    recorder.install().unwrap();
    let server = Server::start(|_, request| match request.is_websocket() {
        true => websocket(|mut socket| async move {
            accept_probe(&mut socket).await;
            echo(socket).await;
        }),
        false if request.is_handshake() => ok(OPEN),
        false => ok("6"),
    })
    .await;
    let mut client = in_time(Client::connect(&server.url())).await.unwrap();
    in_time(client.settled()).await;
    client.send("12345").await.unwrap();
    assert_eq!(in_time(client.next()).await, Some(Message::from("12345")));
    in_time(client.close()).await;
    let failed = Client::builder("http://127.0.0.1:1").connect();
    assert!(in_time(failed).await.is_err());
    // A session that ends with its runtime.
    let builder = Client::builder(&server.url()).upgrade(false);
    let dropped = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(builder.connect()).unwrap()
    });
    drop(in_time(dropped).await.unwrap());

    let mut lines: Vec<String> = Vec::new();
    for (key, _, _, value) in counted.snapshot().into_vec() {
        let labels = key
            .key()
            .labels()
            .map(|label| format!(" {}={}", label.key(), label.value()));
        let value = match value {
            DebugValue::Counter(count) => count.to_string(),
            DebugValue::Gauge(value) => value.to_string(),
            DebugValue::Histogram(values) => format!("{} values", values.len()),
        };
        let name = key.key().name().trim_start_matches("engineio_client_");
        lines.push(format!("{name}{} {value}", labels.collect::<String>()));
    }
    lines.sort();
    let expected = [
        "disconnects_total reason=client disconnect 1",
        "disconnects_total reason=transport error 1",
        "failures_total reason=transport error 1",
        "handshakes_total transport=polling 2",
        "message_bytes_total direction=in 5",
        "message_bytes_total direction=out 5",
        "messages_total direction=in 1",
        "messages_total direction=out 1",
        "session_seconds 2 values",
        "sessions transport=polling 0",
        "sessions transport=websocket 0",
        "upgrades_total 1",
    ];
    assert_eq!(lines, expected);
}
