//! A host in a process of its own, whose memory and descriptors a test can count.
//!
//! ```text
//! attacked HOST PING_INTERVAL_MS PING_TIMEOUT_MS [concurrent]
//! ```
//!
//! With `concurrent`, message handlers run concurrently. It prints its address, and answers each line of its input with the number of its clients. It ends with its input.

use std::time::Duration;

use engineio_e2e::app;
use engineio_e2e::host::{Host, Running};
use engineio_tower::{Server, ServerBuilder};
use tokio::io::{AsyncBufReadExt, BufReader};

/// The limit of the outbox and of the inbox of a client.
const LIMIT: usize = 100_000;

macro_rules! start {
    ($name:ident $host:ident [$wanted:ident $server:ident]) => {
        if $wanted == stringify!($name) {
            return engineio_e2e::host::$host::start($server).await;
        }
    };
}

async fn start(wanted: &str, server: Server) -> Running {
    engineio_e2e::on_every_host! { start! [wanted server] }
    panic!("unknown host {wanted}")
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().unwrap_or_default();
    let host = argument();
    let mut millis = || Duration::from_millis(argument().parse().unwrap_or(1000));
    let (interval, timeout) = (millis(), millis());
    let is_concurrent = argument() == "concurrent";
    let (server, events) = app::echo(|builder: ServerBuilder| {
        let builder = match is_concurrent {
            true => builder.concurrent_messages(),
            false => builder,
        };
        builder
            .ping_interval(interval)
            .ping_timeout(timeout)
            .allow_eio3(true)
            .outbox_limit(LIMIT)
            .inbox_limit(LIMIT)
            .websocket_compression_threshold(1_024)
    });
    // Nobody reads what happens, so it must not pile up.
    drop(events);
    let running = start(&host, server.clone()).await;
    println!("{}", running.address);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(_)) = lines.next_line().await {
        println!("{}", server.len());
    }
    // The threads of a host may go on without it.
    std::process::exit(0);
}
