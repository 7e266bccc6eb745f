//! What the server costs the host's own routes: their throughput with it, divided by that without it, in one run.
//!
//! ```text
//! cargo run --release -p engineio-tests --example throughput
//! ```

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use engineio_tests::host::{
    ActixConfigure, ActixPlain, ActixWrap, Axum, AxumPlain, AxumRoutes, AxumWrap, Host, PAGE,
    WarpLayer, WarpPlain,
};
use engineio_tower::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How often the two are measured, one after the other, so that what else the machine does meets both.
const ROUNDS: usize = 40;
const ROUND: Duration = Duration::from_millis(250);
const CONNECTIONS: usize = 8;
/// Requests that a connection has under way: the work is the host's then, not the network's.
const PIPELINED: usize = 16;

#[tokio::main(worker_threads = 2)]
async fn main() {
    compare::<AxumPlain, Axum>("axum, layer").await;
    compare::<AxumPlain, AxumRoutes>("axum, routes").await;
    compare::<AxumPlain, AxumWrap>("axum, wrap").await;
    compare::<ActixPlain, ActixConfigure>("actix-web, configure").await;
    compare::<ActixPlain, ActixWrap>("actix-web, wrap").await;
    compare::<WarpPlain, WarpLayer>("warp, layer").await;
}

async fn compare<Plain: Host, With: Host>(name: &str) {
    let plain = Plain::start(Server::builder().build()).await;
    let with = With::start(Server::builder().build()).await;
    let mut ratios = Vec::with_capacity(ROUNDS);
    let mut best = 0.0_f64;
    for round in 0..ROUNDS {
        // Neither is always the first.
        let (without, with) = if round % 2 == 0 {
            let without = requests(plain.address).await;
            (without, requests(with.address).await)
        } else {
            let with = requests(with.address).await;
            (requests(plain.address).await, with)
        };
        best = best.max(with);
        ratios.push(with / without);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ROUNDS / 2];
    let (low, high) = (ratios[ROUNDS / 4], ratios[ROUNDS * 3 / 4]);
    println!("{name:22} {median:.3} (quartiles {low:.3} to {high:.3}), up to {best:.0} requests/s");
    plain.stop().await;
    with.stop().await;
}

/// Requests for the page in a second.
async fn requests(address: SocketAddr) -> f64 {
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        clients.spawn(client(address, started + ROUND));
    }
    let answers: usize = clients.join_all().await.into_iter().sum();
    answers as f64 / started.elapsed().as_secs_f64()
}

async fn client(address: SocketAddr, end: Instant) -> usize {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let batch = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(PIPELINED);
    let mut buffer = Vec::with_capacity(64 * 1024);
    let mut answers = 0;
    while Instant::now() < end {
        stream.write_all(batch.as_bytes()).await.unwrap();
        buffer.clear();
        while buffer
            .windows(PAGE.len())
            .filter(|bytes| *bytes == PAGE.as_bytes())
            .count()
            < PIPELINED
        {
            assert!(stream.read_buf(&mut buffer).await.unwrap() > 0);
        }
        answers += PIPELINED;
    }
    answers
}
