//! The memory of WebSockets over HTTP/2 whose clients read nothing. In a process of its own, which is measured.

use std::fs;
use std::time::Duration;

use engineio_e2e::app;
use engineio_e2e::host::{Axum, Host, Hyper, WarpLayer};
use engineio_e2e::http2::Http2;
use tokio::time;

const WEBSOCKETS: usize = 60;
const MESSAGE: usize = 1_000_000;

fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1))
        .unwrap()
        .parse()
        .unwrap()
}

async fn unread<H: Host>() {
    let (server, _events) = app::echo(|builder| builder.outbox_limit(2 * MESSAGE));
    let host = H::start(server.clone()).await;
    let mut client = Http2::connect(host.address).await;
    client.get("/").await;
    let before = resident_kib();
    let mut unread = Vec::new();
    for _ in 0..WEBSOCKETS {
        let socket = client.websocket("/engine.io/?EIO=4&transport=websocket");
        unread.push(socket.await.unwrap());
        let socket = server.sockets().pop().unwrap();
        socket.send(vec![1; MESSAGE]).await.unwrap();
        socket.flush().await;
        socket.abort();
        // The client gets 2 s more for data that is being written.
        time::pause();
        time::advance(Duration::from_secs(3)).await;
        time::resume();
    }
    let grown = resident_kib().saturating_sub(before);
    // A quarter of what was sent.
    assert!(grown < WEBSOCKETS * MESSAGE / 4 / 1_024, "{grown} KiB");
}

#[tokio::test]
async fn a_stream_that_is_not_read_keeps_little_after_its_session() {
    unread::<Hyper>().await;
    unread::<Axum>().await;
    unread::<WarpLayer>().await;
}
