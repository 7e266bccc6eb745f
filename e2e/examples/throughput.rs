//! What the server costs the host's own routes: their throughput with it, divided by that without it, in one run.
//!
//! ```text
//! cargo run --release -p engineio-e2e --example throughput
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use engineio_axum::{EngineIoLayer, RouterExt};
use engineio_e2e::host::{
    ActixConfigure, ActixPlain, ActixWrap, Host, PAGE, axum_app, warp_routes,
};
use engineio_tower::{EngineIoService, Server};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::layer::util::Identity;
use tower_service::Service;

/// How often the two are measured, one after the other, so that what else the machine does meets both.
const ROUNDS: usize = 100;
const ROUND: Duration = Duration::from_millis(100);
const CONNECTIONS: usize = 8;
/// Requests that a connection has under way: the work is the host's then, not the network's.
const PIPELINED: usize = 16;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let server = Server::builder().build();
    let plain = start(axum_app()).await;
    let layer = start(axum_app().layer(EngineIoLayer::new(server.clone()))).await;
    compare("axum, layer", plain, layer).await;
    // Each layer on a router costs a box for the future and one for the body; this is what is left to us.
    let empty = start(axum_app().layer(Identity::new())).await;
    compare("axum, empty layer", plain, empty).await;
    compare("axum, layer ÷ empty", empty, layer).await;
    compare(
        "axum, routes",
        plain,
        start(axum_app().engine_io(server.clone())).await,
    )
    .await;
    let wrap = start(EngineIoService::with_inner(server.clone(), axum_app())).await;
    compare("axum, wrap", plain, wrap).await;

    let plain = start(warp::service(warp_routes())).await;
    let layer = start(engineio_warp::layer(server.clone(), warp_routes())).await;
    compare("warp, layer", plain, layer).await;

    let plain = ActixPlain::start(server.clone()).await;
    let configure = ActixConfigure::start(server.clone()).await;
    let wrap = ActixWrap::start(server).await;
    compare("actix-web, configure", plain.address, configure.address).await;
    compare("actix-web, wrap", plain.address, wrap.address).await;
}

/// Serves without Nagle's algorithm, which would be all that is measured.
async fn start<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    S::Future: 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(engineio_tower::serve(listener, service).into_future());
    address
}

async fn compare(name: &str, plain: SocketAddr, with: SocketAddr) {
    let mut ratios = Vec::with_capacity(ROUNDS);
    let mut best = 0.0_f64;
    for round in 0..ROUNDS {
        // Neither is always the first.
        let (without, with) = if round % 2 == 0 {
            let without = requests(plain).await;
            (without, requests(with).await)
        } else {
            let with = requests(with).await;
            (requests(plain).await, with)
        };
        best = best.max(with);
        ratios.push(with / without);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ROUNDS / 2];
    let (low, high) = (ratios[ROUNDS / 4], ratios[ROUNDS * 3 / 4]);
    println!("{name:22} {median:.3} (quartiles {low:.3} to {high:.3}), up to {best:.0} requests/s");
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
