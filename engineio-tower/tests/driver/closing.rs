//! The close of a WebSocket whose client reads slowly, and sends meanwhile.

use std::time::Duration;

use crate::support::{WEBSOCKET, websocket_request};
use engineio_tower::{Driver, EngineIoService, Server, ServerBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};
use tower::ServiceExt;

/// Opens a WebSocket. Returns the client's end and the task of the server's.
async fn open(builder: ServerBuilder) -> (Server, DuplexStream, JoinHandle<()>) {
    let server = builder.build();
    let service = EngineIoService::new(server.clone());
    let mut response = service.oneshot(websocket_request(WEBSOCKET)).await.unwrap();
    let driver = Driver::take(&mut response).unwrap();
    let (client, io) = tokio::io::duplex(64 * 1024);
    (server, client, tokio::spawn(driver.run(io)))
}

/// The seconds until the client reads that nothing follows, and until the connection is dropped.
async fn times(client: DuplexStream, connection: JoinHandle<()>, sends: bool) -> (u64, u64) {
    let start = Instant::now();
    let (mut read, mut write) = tokio::io::split(client);
    let sending = tokio::spawn(async move {
        let mut pace = interval(Duration::from_millis(500));
        // A text of nothing, masked with zeroes.
        while sends && write.write_all(b"\x81\x81\0\0\0\x006").await.is_ok() {
            pace.tick().await;
        }
        write
    });
    let ended = tokio::spawn(async move {
        read.read_to_end(&mut Vec::new()).await.unwrap();
        start.elapsed().as_secs()
    });
    connection.await.unwrap();
    let dropped = start.elapsed().as_secs();
    let _ = sending.await;
    (ended.await.unwrap(), dropped)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_answers_the_close_has_the_time_of_the_close() {
    for sends in [false, true] {
        let (server, client, connection) = open(Server::builder()).await;
        server.sockets()[0].try_send("a").unwrap();
        server.sockets()[0].close();
        let times = times(client, connection, sends).await;
        assert_eq!(times, (2, 30), "{sends}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_has_the_time_of_the_close_only_while_it_sends() {
    for (sends, expected) in [(false, 2), (true, 30)] {
        let second = Duration::from_secs(1);
        let builder = Server::builder().ping_interval(second).ping_timeout(second);
        let (server, client, connection) = open(builder).await;
        // The heartbeat takes 2 s.
        let times = times(client, connection, sends).await;
        assert_eq!(times.1, 2 + expected, "{sends}");
        drop(server);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_disconnected_at_once_has_no_more_time_for_sending() {
    let (server, client, connection) = open(Server::builder()).await;
    server.sockets()[0].abort();
    assert!(times(client, connection, true).await.1 <= 2);
}

/// A shutdown waits for those that are there, as they may not have all messages yet.
#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_clients_that_send_but_not_for_silent_ones() {
    for (sends, expected) in [(false, 2), (true, 20)] {
        let (server, client, connection) = open(Server::builder()).await;
        let times = tokio::spawn(times(client, connection, sends));
        let start = Instant::now();
        server.shutdown(Duration::from_secs(20)).await;
        assert_eq!(start.elapsed().as_secs(), expected, "{sends}");
        times.abort();
    }
}
