//! Measurements.

use std::time::Duration;

use engineio_tower::{ConnectRequest, DisconnectReason, Message, Server, Socket};
use serde_json::Value;
use tokio::time::timeout;

use super::{LIMIT, command, echo, eio, kill, output, serve, stderr, stdout};

#[tokio::test]
async fn every_message_that_comes_back_is_counted() {
    let url = serve(echo()).await;
    let options = [
        "bench",
        "--json",
        "--clients",
        "3",
        "--in-flight",
        "2",
        "--seconds",
        "0.2",
        &url,
    ];
    let output = eio(b"", &options).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let result: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert!(result["received"].as_u64().unwrap() >= 6, "{result}");
    assert_eq!(result["sent"], result["received"]);
    assert_eq!((&result["lost"], &result["wrong"]), (&0.into(), &0.into()));
    assert_eq!(result["transports"]["websocket"], 3);
}

#[tokio::test]
async fn large_messages_come_back() {
    let url = serve(echo()).await;
    let options = ["bench", "--clients", "1", "--seconds", "0.1", "--size"];
    let output = eio(b"", &[&options[..], &["100000", &url]].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // More than the server accepts.
    let output = eio(b"", &[&options[..], &["2000000", &url]].concat()).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(
        stdout(&output).contains("error      1 clients: "),
        "{output:?}"
    );
}

#[tokio::test]
async fn messages_that_do_not_come_back_are_a_finding() {
    let silent = Server::builder().on_message(|_: Socket, _: Message| async {});
    let url = serve(silent).await;
    let output = eio(b"", &["bench", "--clients", "1", "--seconds", "0.1", &url]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(
        stdout(&output).contains("1 did not come back"),
        "{output:?}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error() {
    let output = eio(b"", &["bench", "--clients", "2", "http://127.0.0.1:1"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("127.0.0.1:1"), "{output:?}");
}

#[tokio::test]
async fn messages_that_are_not_echoes_are_a_finding() {
    let twice = Server::builder().on_message(|socket: Socket, message: Message| async move {
        let _ = socket.send(message.clone()).await;
        let _ = socket.send(message).await;
    });
    let greeting = echo().on_connect(|socket: Socket, _: ConnectRequest| async move {
        let _ = socket.send("welcome").await;
    });
    let changing = Server::builder().on_message(|socket: Socket, message: Message| async move {
        let _ = socket.send(message.as_bytes().to_vec()).await;
    });
    for server in [twice, greeting, changing] {
        let url = serve(server).await;
        let output = eio(b"", &["bench", "--clients", "1", "--seconds", "0.1", &url]).await;
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(stdout(&output).contains("were not to come"), "{output:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_a_measurement_with_its_result_and_closes_the_sessions() {
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let (echoes, mut echoed) = tokio::sync::mpsc::unbounded_channel();
    let server = echo()
        .on_message(move |socket: Socket, message: Message| {
            let _ = echoes.send(());
            async move { drop(socket.send(message).await) }
        })
        .on_disconnect(move |_: Socket, reason: DisconnectReason| {
            let sender = sender.clone();
            async move { sender.send(reason).unwrap() }
        });
    let url = serve(server).await;
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let options = ["bench", "--json", "--clients", "2", "--seconds", "600"];
        let child = command(&[&options[..], &[&url]].concat()).spawn().unwrap();
        echoed.recv().await.unwrap();
        kill(&child, signal).await;
        let output = output(child).await;
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let result: Value = serde_json::from_str(stdout(&output)).unwrap();
        assert!(result["received"].as_u64().unwrap() >= 1, "{result}");
        assert!(result["seconds"].as_f64().unwrap() < 60.0, "{result}");
        for _ in 0..2 {
            assert_eq!(ends.recv().await, Some(DisconnectReason::Client));
        }
        while echoed.try_recv().is_ok() {}
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_second_signal_ends_the_wait_for_messages_and_counts_them_as_lost() {
    let (messages, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::builder().on_message(move |socket: Socket, message: Message| {
        let _ = messages.send(());
        let is_first = message.as_bytes().starts_with(&[b'0'; 16]);
        async move {
            if is_first {
                let _ = socket.send(message).await;
            }
        }
    });
    let url = serve(server).await;
    let options = ["bench", "--json", "--clients", "2", "--seconds", "600"];
    let mut child = command(&[&options[..], &[&url]].concat()).spawn().unwrap();
    for _ in 0..4 {
        timeout(LIMIT, arrived.recv()).await.unwrap();
    }
    // Two that come together count as one.
    let ending = async {
        let step = Duration::from_millis(100);
        while timeout(step, child.wait()).await.is_err() {
            kill(&child, "INT").await;
        }
    };
    timeout(LIMIT, ending).await.unwrap();
    let output = output(child).await;
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let result: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(
        (&result["sent"], &result["received"]),
        (&4.into(), &2.into()),
        "{result}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_while_clients_connect_closes_those_that_are_connected() {
    let (connected, mut connects) = tokio::sync::mpsc::unbounded_channel();
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let server = echo()
        .on_connect(move |_: Socket, _: ConnectRequest| {
            let _ = connected.send(());
            async {}
        })
        .on_disconnect(move |_: Socket, reason: DisconnectReason| {
            let sender = sender.clone();
            async move { sender.send(reason).unwrap() }
        });
    let url = serve(server).await;
    let options = ["bench", "--clients", "10000", "--connecting", "1"];
    let child = command(&[&options[..], &[&url]].concat()).spawn().unwrap();
    connects.recv().await.unwrap();
    kill(&child, "INT").await;
    let output = output(child).await;
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(ends.recv().await, Some(DisconnectReason::Client));
    assert_eq!(stdout(&output), "");
}
