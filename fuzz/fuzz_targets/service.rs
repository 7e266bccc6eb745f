//! Bytes into the whole service, over connections of hyper's that are pipes in memory. Whatever they are, nothing
//! panics, every connection and handler ends, and every client that was let in is heard to leave.
//!
//! The input is a list of pieces with `~~` between them. A piece is a new connection's bytes; one that begins with `+`
//! goes on with the last connection, and one that begins with `@` lets as many seconds pass as it has bytes.
#![no_main]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engineio_core::{Message, Sid};
use engineio_tower::{EngineIoService, Server, Socket};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, WriteHalf};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// More than any chain of timeouts and graces takes.
const PATIENCE: Duration = Duration::from_secs(3_600);

fuzz_target!(|data: &[u8]| {
    let Some((&options, story)) = data.split_first() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        timeout(PATIENCE, run(options, story))
            .await
            .expect("an end");
    });
});

async fn run(options: u8, story: &[u8]) {
    let clients = Arc::new(AtomicUsize::new(0));
    let server = server(options, &clients);
    let mut connections = JoinSet::new();
    let mut ends: Vec<Client> = Vec::new();
    for piece in pieces(story) {
        match (piece.split_first(), ends.last_mut()) {
            (Some((b'@', time)), _) => sleep(Duration::from_secs(time.len() as u64)).await,
            (Some((b'+', more)), Some(end)) => end.write(more).await,
            _ => {
                let mut end = Client::connect(&server, &mut connections);
                end.write(piece).await;
                ends.push(end);
            }
        }
    }
    // Every other client is gone at once; the rest is there when the server leaves.
    let mut stays = false;
    ends.retain(|end| {
        stays = !stays;
        if !stays {
            end.reader.abort();
        }
        stays
    });
    sleep(Duration::from_millis(100)).await;
    server.shutdown(Duration::from_secs(5)).await;
    assert!(server.is_empty(), "sessions are left");
    for end in &mut ends {
        let _ = end.writer.shutdown().await;
    }
    while let Some(connection) = connections.join_next().await {
        let panicked = connection.is_err_and(|error| error.is_panic());
        assert!(!panicked, "a connection panicked");
    }
    // Handlers that were under way at the end of the grace go on until theirs.
    while clients.load(Ordering::Relaxed) > 0 {
        sleep(Duration::from_secs(1)).await;
    }
}

/// An echo with a handler that waits now and then.
fn server(options: u8, clients: &Arc<AtomicUsize>) -> Server {
    let set = |bit: u8| options & (1 << bit) != 0;
    let (joined, left) = (Arc::clone(clients), Arc::clone(clients));
    let sids = AtomicUsize::new(0);
    let mut builder = Server::builder()
        .allow_eio3(set(0))
        .allow_jsonp(true)
        .compression_threshold(if set(1) { 1 } else { 1_024 })
        .max_payload(if set(2) { 64 } else { 1_000_000 })
        .inbox_limit(if set(3) { 0 } else { 1 << 20 })
        .outbox_limit(if set(4) { 0 } else { 1 << 20 })
        .generate_sid(move |_| {
            let number = sids.fetch_add(1, Ordering::Relaxed);
            async move { format!("s{number}").parse::<Sid>().expect("an id") }
        })
        .on_connect(move |_: Socket, _| {
            joined.fetch_add(1, Ordering::Relaxed);
        })
        .on_message(|socket: Socket, message: Message| async move {
            match message.as_text() {
                Some("wait") => sleep(Duration::from_secs(1)).await,
                Some("close") => socket.close(),
                Some("abort") => socket.abort(),
                _ => {
                    let _ = socket.send(message).await;
                }
            }
        })
        .on_disconnect(move |_: Socket, _| {
            left.fetch_sub(1, Ordering::Relaxed);
        });
    if set(5) {
        builder = builder.concurrent_messages();
    }
    if set(6) {
        builder = builder.websocket_compression_threshold(1);
    }
    builder.build()
}

/// The other end of a connection.
struct Client {
    writer: WriteHalf<DuplexStream>,
    /// Reads whatever comes, until there is no more.
    reader: AbortHandle,
}

impl Client {
    fn connect(server: &Server, connections: &mut JoinSet<()>) -> Self {
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let service = TowerToHyperService::new(EngineIoService::new(server.clone()));
        let connection = http1::Builder::new()
            .serve_connection(TokioIo::new(theirs), service)
            .with_upgrades();
        connections.spawn(async move {
            // A fault of the peer ends only its own connection.
            let _ = connection.await;
        });
        let (mut reader, writer) = tokio::io::split(ours);
        let reader = connections.spawn(async move {
            let mut buffer = vec![0; 4_096];
            while matches!(reader.read(&mut buffer).await, Ok(1..)) {}
        });
        Self { writer, reader }
    }

    /// Writes for as long as the server reads, and lets it do what follows.
    async fn write(&mut self, bytes: &[u8]) {
        let _ = timeout(Duration::from_millis(1), self.writer.write_all(bytes)).await;
        sleep(Duration::from_millis(1)).await;
    }
}

fn pieces(mut story: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut over = false;
    std::iter::from_fn(move || {
        if over {
            return None;
        }
        let at = story.windows(2).position(|pair| pair == b"~~");
        let piece = &story[..at.unwrap_or(story.len())];
        story = at.map_or(&[], |at| &story[at + 2..]);
        over = at.is_none();
        Some(piece)
    })
}
