//! What forwarding costs: the processor time of both nodes, divided by that of one node that serves its own clients, in one
//! run; the latency that it adds; and the memory of an idle WebSocket that enters at another node.
//!
//! ```text
//! cargo run --release -p engineio-e2e --example forwarding
//! ```
//!
//! With an argument, such as `64`, only the rows of the table whose names contain it are measured. The nodes are processes
//! with one thread each.

use std::fs;
use std::future::IntoFuture;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use engineio_cluster::{Cluster, Peers};
use engineio_e2e::frame;
use engineio_e2e::puppet::Puppet;
use engineio_e2e::site::{POLLING, sid, upgrade_target};
use engineio_tower::{EngineIoService, Message, Server, Socket, serve};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How often each pair is measured, one after the other, so that what else the machine does meets both.
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(700);
const CLIENTS: usize = 50;
const IDLE: usize = 1_000;

/// The first argument of a node.
const NODE: &str = "node";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    match &arguments[1..] {
        [node, name, peers @ ..] if node == NODE => runtime.block_on(run_node(name, peers)),
        [only] => runtime.block_on(measure(only)),
        _ => runtime.block_on(measure("")),
    }
}

/// Runs a node until its process is killed. `plain` runs a server without a node.
async fn run_node(name: &str, peers: &[String]) {
    let server = Server::builder()
        .on_message(|socket: Socket, message: Message| async move {
            let _ = socket.send(message).await;
        })
        .build();
    if let [a, b] = peers {
        let peers = Peers::fixed([("a", a.as_str()), ("b", b.as_str())]).unwrap();
        let own = if name == "a" { a } else { b };
        let node = Cluster::builder().name(name).listen(own).peers(peers);
        node.start(&server).await.unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    serve(listener, EngineIoService::new(server))
        .into_future()
        .await
        .unwrap();
}

/// A process that serves clients.
struct Node {
    child: Child,
    address: SocketAddr,
}

impl Node {
    fn start(name: &str, peers: &[String]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([NODE, name])
            .args(peers)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap();
        Self { child, address }
    }

    fn pair() -> [Self; 2] {
        let bound = ["127.0.0.1:0"; 2].map(|any| std::net::TcpListener::bind(any).unwrap());
        let peers = bound
            .each_ref()
            .map(|listener| listener.local_addr().unwrap().to_string());
        drop(bound);
        ["a", "b"].map(|name| Self::start(name, &peers))
    }

    /// The time for which it ran, by the scheduler's clock.
    fn ran(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanos = tasks.map(|task| {
            let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            text.split(' ').next().unwrap().parse::<u64>().unwrap()
        });
        Duration::from_nanos(nanos.sum())
    }

    fn resident_kib(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Rss:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The traffic of a client.
#[derive(Clone, Copy)]
enum Traffic {
    Polling,
    /// Bytes of a message, and messages in flight.
    WebSocket(usize, usize),
}

/// Opens a session at its owner. Returns the target of its requests.
async fn open(owner: SocketAddr) -> String {
    let mut puppet = Puppet::connect(owner).await;
    let open = puppet.get(POLLING).await;
    format!("{POLLING}&sid={}", sid(open.text()))
}

async fn websocket(owner: SocketAddr, entry: SocketAddr) -> Puppet {
    let target = upgrade_target(&open(owner).await);
    let mut socket = Puppet::connect(entry).await;
    socket.upgrade(&target).await;
    socket.say("2probe").await;
    assert_eq!(socket.hear().await, "3probe");
    socket.say("5").await;
    socket.say("4begun").await;
    assert_eq!(socket.hear().await, "4begun");
    socket
}

/// Talks until the time is over. Returns the number of round trips.
async fn talk(traffic: Traffic, owner: SocketAddr, entry: SocketAddr, until: Instant) -> u64 {
    let mut count = 0;
    match traffic {
        Traffic::Polling => {
            let target = open(owner).await;
            let (mut poll, mut post) = (Puppet::connect(entry).await, Puppet::connect(entry).await);
            while Instant::now() < until {
                poll.send_get(&target).await;
                let posted = post.post(&target, "4thirty-two bytes of one message").await;
                assert_eq!(posted.status, 200);
                assert_eq!(poll.response().await.status, 200);
                count += 1;
            }
        }
        Traffic::WebSocket(size, depth) => {
            let mut socket = websocket(owner, entry).await;
            let batch = frame::text(&format!("4{}", "x".repeat(size))).repeat(depth);
            while Instant::now() < until {
                socket.write(&batch).await;
                for _ in 0..depth {
                    assert!(socket.frame().await.is_some());
                }
                count += depth as u64;
            }
        }
    }
    count
}

/// The processor time of all nodes for each round trip, in microseconds.
async fn cost(traffic: Traffic, nodes: &[&Node], owner: &Node, entry: &Node) -> f64 {
    let ran = || nodes.iter().map(|node| node.ran()).sum::<Duration>();
    let mut clients = JoinSet::new();
    let (begun, until) = (ran(), Instant::now() + ROUND);
    for _ in 0..CLIENTS {
        clients.spawn(talk(traffic, owner.address, entry.address, until));
    }
    let count: u64 = clients.join_all().await.into_iter().sum();
    (ran() - begun).as_secs_f64() * 1e6 / count as f64
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Measures the rows whose names contain `only`.
async fn measure(only: &str) {
    let [a, b] = Node::pair();
    let plain = Node::start("plain", &[]);
    let both = [&a, &b];
    println!("| what | local | forwarded | ratio |\n|---|---|---|---|");
    let rows = [
        ("polling round trip", Traffic::Polling),
        (
            "WebSocket echo, 32 B, 1 in flight",
            Traffic::WebSocket(32, 1),
        ),
        (
            "WebSocket echo, 32 B, 16 in flight",
            Traffic::WebSocket(32, 16),
        ),
        ("WebSocket echo, 64 KiB", Traffic::WebSocket(65_000, 1)),
    ];
    for (name, traffic) in rows.into_iter().filter(|(name, _)| name.contains(only)) {
        let (mut local, mut forwarded) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            local.push(cost(traffic, &both, &a, &a).await);
            forwarded.push(cost(traffic, &both, &a, &b).await);
        }
        let (local, forwarded) = (median(local), median(forwarded));
        println!(
            "| {name} | {local:.1} µs | {forwarded:.1} µs | {:.2} |",
            forwarded / local
        );
    }
    if !only.is_empty() {
        return;
    }
    for (name, traffic) in rows.into_iter().take(2) {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            without.push(cost(traffic, &[&plain], &plain, &plain).await);
            with.push(cost(traffic, &[&a], &a, &a).await);
        }
        let (without, with) = (median(without), median(with));
        println!(
            "{name}, local: {without:.1} µs without a cluster, {with:.1} µs with: {:.3}",
            with / without
        );
    }
    let local = latency(&a, &a).await;
    let forwarded = latency(&a, &b).await;
    println!(
        "latency of a WebSocket echo, median: {local:.0} µs local, {forwarded:.0} µs forwarded, {:.0} µs added",
        forwarded - local
    );
    drop((a, b, plain));
    let local = idle(false).await;
    let forwarded = idle(true).await;
    println!(
        "an idle WebSocket: {local:.1} KiB local, {forwarded:.1} KiB forwarded in both nodes, {:.1} KiB more",
        forwarded - local
    );
}

/// The median round trip of one client on idle nodes, in microseconds.
async fn latency(owner: &Node, entry: &Node) -> f64 {
    let mut socket = websocket(owner.address, entry.address).await;
    let mut times = Vec::new();
    for _ in 0..5_000 {
        let begun = Instant::now();
        socket.say("4hello").await;
        assert_eq!(socket.hear().await, "4hello");
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    median(times)
}

/// The memory of an idle WebSocket, in all nodes, in KiB.
async fn idle(is_forwarded: bool) -> f64 {
    let [a, b] = Node::pair();
    let entry = if is_forwarded { &b } else { &a };
    let resident = || a.resident_kib() + b.resident_kib();
    // The first ones pay for what is there once.
    let mut sockets = Vec::new();
    let mut before = 0;
    for number in 0..2 * IDLE {
        if number == IDLE {
            before = resident();
        }
        sockets.push(websocket(a.address, entry.address).await);
    }
    (resident() - before) as f64 / IDLE as f64
}
