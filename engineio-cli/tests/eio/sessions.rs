//! The sessions that `doctor` opens, which it closes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engineio_tower::{ConnectRequest, DisconnectReason, Origins, Socket};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{command, echo, eio, kill, output, serve, stdout};

#[tokio::test]
async fn every_session_that_was_opened_is_closed() {
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let opened = Arc::new(AtomicUsize::new(0));
    let opens = Arc::clone(&opened);
    let server = echo()
        .ping_interval(Duration::from_millis(300))
        .origins(Origins::list(["https://app.example.com"]))
        .on_connect(move |_: Socket, _: ConnectRequest| {
            opens.fetch_add(1, Ordering::Relaxed);
            async {}
        })
        .on_disconnect(move |_: Socket, reason: DisconnectReason| {
            let sender = sender.clone();
            async move { sender.send(reason).unwrap() }
        });
    let url = serve(server).await;
    let options = ["doctor", "--origin", "https://app.example.com", &url];
    let output = eio(b"", &options).await;
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let mut reasons = Vec::new();
    while reasons.len() < opened.load(Ordering::Relaxed) {
        reasons.push(ends.recv().await.unwrap());
    }
    assert!(
        reasons
            .iter()
            .all(|reason| *reason == DisconnectReason::Client),
        "{reasons:?}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_the_checks_and_closes_the_sessions() {
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let server = echo().on_disconnect(move |_: Socket, reason: DisconnectReason| {
        let sender = sender.clone();
        async move { sender.send(reason).unwrap() }
    });
    let url = serve(server).await;
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = command(&["doctor", &url]).spawn().unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
        // The last check takes as long as the ping interval.
        while !told
            .next_line()
            .await
            .unwrap()
            .unwrap()
            .contains("waiting up to")
        {}
        kill(&child, signal).await;
        let output = output(child).await;
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        while ends.recv().await != Some(DisconnectReason::Client) {}
    }
}
