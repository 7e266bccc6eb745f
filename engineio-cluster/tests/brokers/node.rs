//! Nodes as processes, a load balancer without stickiness in front of them, and clients that count every message.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engineio_client::{Client, Message, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::broker::{Broker, LIMIT, freeze, signal};

/// The secret of the clusters.
const SECRET: &str = "correct horse battery staple";

/// The time over which a node that leaves disconnects its clients.
pub(crate) const SPREAD: Duration = Duration::from_secs(2);
const SPREAD_MS: &str = "2000";

/// The time between two messages of a client.
const PACE: Duration = Duration::from_millis(20);

/// A server that is a node: the program `echo`.
pub(crate) struct Node {
    child: Child,
    pub(crate) address: SocketAddr,
}

fn echo(name: &str, broker: &Broker) -> Command {
    let mut command = Command::new(program());
    command.args(options(name, "127.0.0.1", broker));
    if let Some(authority) = broker.authority() {
        // Takes the place of the certificates of the system.
        command.env("SSL_CERT_FILE", authority);
    }
    command
}

/// The program of the nodes.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("ENGINEIO_ECHO").map_or_else(built, PathBuf::from)
}

/// The options of a node that listens at an address.
pub(crate) fn options(name: &str, ip: &str, broker: &Broker) -> Vec<String> {
    let listen = format!("{ip}:0");
    let bus = broker.url();
    [
        ["--host", "hyper"],
        ["--listen", &listen],
        ["--node", name],
        ["--node-listen", &listen],
        ["--cluster-secret", SECRET],
        ["--bus", &bus],
        ["--drain-spread-ms", SPREAD_MS],
    ]
    .into_iter()
    .flatten()
    .map(str::to_owned)
    .collect()
}

/// Returns where cargo puts the program: beside the directory of the tests.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("echo")
}

impl Node {
    pub(crate) fn start(name: &str, broker: &Broker) -> Self {
        let child = echo(name, broker)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("`echo` is not built: run the test by `cargo xtask cluster`");
        Self::started(child)
    }

    /// Waits until the program of a node says where it listens.
    pub(crate) fn started(mut child: Child) -> Self {
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut addresses = lines.map_while(Result::ok).filter_map(|line| {
            let address = line.strip_prefix("listening on http://")?;
            address.trim().parse().ok()
        });
        let address = addresses.next().expect("the node starts");
        // Keeps its pipe open.
        std::thread::spawn(move || addresses.count());
        Self { child, address }
    }

    /// Starts a node that is expected to refuse. Returns its exit status and what it said.
    pub(crate) fn refused(name: &str, broker: &Broker) -> (ExitStatus, String) {
        let mut child = echo(name, broker)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        (child.wait().unwrap(), said)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets the process stand still.
    pub(crate) fn freeze(&self) {
        freeze(&self.child);
    }

    pub(crate) fn thaw(&self) {
        signal(&self.child, "CONT");
    }

    /// Asks the node to leave, as a deployment does, and waits until it has.
    pub(crate) fn leave(mut self) {
        signal(&self.child, "TERM");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Requests something and returns the status and the body.
    pub(crate) async fn get(&self, target: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gives each connection to the next node, whatever session its requests are for.
pub(crate) struct Balancer {
    address: SocketAddr,
    nodes: Arc<Mutex<Vec<SocketAddr>>>,
    task: JoinHandle<()>,
}

impl Balancer {
    pub(crate) async fn start<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let nodes: Vec<_> = nodes.into_iter().map(|node| node.address).collect();
        let nodes = Arc::new(Mutex::new(nodes));
        let task = tokio::spawn(balance(listener, Arc::clone(&nodes)));
        Self {
            address,
            nodes,
            task,
        }
    }

    pub(crate) fn set(&self, nodes: impl IntoIterator<Item = SocketAddr>) {
        *self.nodes.lock().unwrap() = nodes.into_iter().collect();
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn balance(listener: TcpListener, nodes: Arc<Mutex<Vec<SocketAddr>>>) {
    let next = AtomicUsize::new(0);
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let nodes = nodes.lock().unwrap().clone();
        let first = next.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            for at in 0..nodes.len() {
                let node = nodes[(first + at) % nodes.len()];
                if let Ok(mut node) = TcpStream::connect(node).await {
                    let _ = copy_bidirectional(&mut client, &mut node).await;
                    break;
                }
            }
        });
    }
}

/// A client that sends numbers, and checks that each comes back once and in order while its session lives.
pub(crate) struct Talker {
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    messages: AtomicU64,
    ended: AtomicU64,
    longest_gap_ms: AtomicU64,
}

/// The observations of a [`Talker`].
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) messages: u64,
    /// Sessions that ended before the talker was stopped.
    pub(crate) ended: u64,
    /// The longest time between a message and its echo, within a session.
    pub(crate) longest_gap: Duration,
}

impl Talker {
    /// Starts talking to a server or a balancer, by polling alone or with the upgrade to WebSocket.
    pub(crate) fn start(url: String, polling: bool) -> Self {
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn(talk(url, polling, Arc::clone(&counts)));
        Self { counts, task }
    }

    pub(crate) fn messages(&self) -> u64 {
        self.counts.messages.load(Ordering::Relaxed)
    }

    /// Waits until more messages have come back.
    pub(crate) async fn more(&self, count: u64) {
        let wanted = self.messages() + count;
        let mut ticks = interval(PACE);
        let reached = async {
            while self.messages() < wanted {
                ticks.tick().await;
            }
        };
        timeout(LIMIT, reached).await.expect("messages come back");
    }

    pub(crate) async fn stop(self) -> Report {
        self.counts.stop.store(true, Ordering::Relaxed);
        timeout(LIMIT, self.task)
            .await
            .expect("the talker stops")
            .expect("nothing is lost, doubled or reordered");
        Report {
            messages: self.counts.messages.load(Ordering::Relaxed),
            ended: self.counts.ended.load(Ordering::Relaxed),
            longest_gap: Duration::from_millis(self.counts.longest_gap_ms.load(Ordering::Relaxed)),
        }
    }
}

async fn talk(url: String, polling: bool, counts: Arc<Counts>) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped = || counts.stop.load(Ordering::Relaxed);
    while !stopped() {
        pace.tick().await;
        let mut builder = Client::builder(&url);
        if polling {
            builder = builder.transports([Transport::Polling]);
        }
        let Ok(mut client) = builder.connect().await else {
            continue;
        };
        let mut number = 0_u64;
        while !stopped() {
            pace.tick().await;
            let sent = Instant::now();
            if client.send(number.to_string()).await.is_err() {
                break;
            }
            let Some(echo) = next_number(&mut client).await else {
                break;
            };
            assert_eq!(echo, number, "lost, doubled or reordered");
            number += 1;
            counts.messages.fetch_add(1, Ordering::Relaxed);
            let gap = u64::try_from(sent.elapsed().as_millis()).unwrap();
            counts.longest_gap_ms.fetch_max(gap, Ordering::Relaxed);
        }
        if stopped() {
            client.abort();
        } else {
            counts.ended.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Returns the next message that is a number; broadcasts are not.
async fn next_number(client: &mut Client) -> Option<u64> {
    loop {
        if let Some(number) = client
            .next()
            .await?
            .as_text()
            .and_then(|text| text.parse().ok())
        {
            return Some(number);
        }
    }
}

/// Clients that collect what they are sent.
pub(crate) struct Audience(Vec<Client>);

impl Audience {
    pub(crate) async fn connect(urls: impl IntoIterator<Item = String>) -> Self {
        let mut clients = Vec::new();
        for url in urls {
            clients.push(Client::connect(&url).await.unwrap());
        }
        Self(clients)
    }

    /// Returns what each client has got up to this text.
    pub(crate) async fn collect_until(&mut self, end: &str) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        for client in &mut self.0 {
            let mut got = Vec::new();
            loop {
                let message = timeout(LIMIT, client.next()).await.expect("a message");
                let message = message.expect("the session lives");
                let text = message.as_text().unwrap_or_default();
                if text == end {
                    break;
                }
                got.push(text.to_owned());
            }
            all.push(got);
        }
        all
    }

    /// Returns the session id of each client.
    pub(crate) fn sids(&self) -> Vec<String> {
        let sids = self.0.iter().map(|client| client.sid().unwrap());
        sids.collect()
    }

    pub(crate) async fn send(&self, client: usize, message: impl Into<Message>) {
        self.0[client].send(message).await.unwrap();
    }
}

/// Lets the nodes go on for a time: what is tested is that nothing happens in it.
pub(crate) async fn go_on(time: Duration) {
    sleep_until(Instant::now() + time).await;
}
