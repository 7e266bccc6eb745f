//! Instructions per message, counted by valgrind: the same on a busy machine as on a quiet one.
//!
//! Each kind of work is done a number of times and twice as often, each under callgrind; the difference is that work
//! alone. It leaves out the kernel, where most of a small message's time goes, and caches: it compares versions of this
//! code. In the first half of the table the server runs in memory, over a duplex pipe or by calls of the service. In the
//! second half, `tcp-…`, a server and its clients share a thread and talk over real sockets; what the clients cost is
//! counted too, and is the same for every server. `--server` chooses another server of ours or `hyper`; those that ping
//! a new client at once cannot be counted.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use engineio_tower::{Driver, EngineIoService, HostUpgrade, Message, Server, Socket};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower_service::Service;

use crate::clients;
use crate::load::fixed::{self, Headers};
use crate::options::Options;
use crate::serve::{self, Settings};

/// The server that cannot be counted.
const BASELINE: &str = "engineioxide";

/// How often work is done that is short.
const TIMES: usize = 200;

/// The clients of the work that has many.
const CLIENTS: usize = 200;

/// The interval of the heartbeats that are counted.
const PING_INTERVAL: Duration = Duration::from_millis(100);

/// A kind of work.
#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    kind: Kind,
    /// The number of times.
    times: usize,
    /// The messages of each time.
    messages: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Echoes over a pipe: bytes of a message, messages in flight, async handler.
    Echo(usize, usize, bool),
    /// Polling round trips by calls of the service: async handler.
    RoundTrip(bool),
    /// Polling handshakes by calls of the service.
    Handshake,
    /// Polling round trips over sockets.
    TcpRoundTrip(Headers),
    /// Polling handshakes over a socket.
    TcpHandshake(Headers),
    /// WebSockets that are opened and closed.
    TcpConnection,
    /// Deliveries of broadcasts: broadcasts in flight.
    TcpBroadcast(usize),
    /// Heartbeats.
    TcpHeartbeat,
    /// Work of clients over pipes.
    Client(clients::Counted),
}

impl Work {
    const fn new(name: &'static str, kind: Kind) -> Self {
        let messages = match kind {
            Kind::Echo(_, batch, _) => batch,
            Kind::TcpBroadcast(depth) => CLIENTS * depth,
            Kind::TcpHeartbeat => CLIENTS,
            Kind::Client(work) => work.batch,
            _ => 1,
        };
        let times = match kind {
            Kind::TcpBroadcast(_) | Kind::TcpHeartbeat => 30,
            _ => TIMES,
        };
        Self {
            name,
            kind,
            times,
            messages,
        }
    }
}

const WORK: &[Work] = &[
    Work::new("ws-echo-32-p1", Kind::Echo(32, 1, false)),
    Work::new("ws-echo-32-p16", Kind::Echo(32, 16, false)),
    Work::new("ws-echo-32-p16-async", Kind::Echo(32, 16, true)),
    Work::new("ws-echo-4k-p1", Kind::Echo(4096, 1, false)),
    Work::new("ws-echo-64k-p1", Kind::Echo(65_000, 1, false)),
    Work::new("poll-echo", Kind::RoundTrip(false)),
    Work::new("poll-echo-async", Kind::RoundTrip(true)),
    Work::new("connect", Kind::Handshake),
    Work::new("tcp-poll-echo", Kind::TcpRoundTrip(Headers::None)),
    Work::new("tcp-poll-echo-origin", Kind::TcpRoundTrip(Headers::Origin)),
    Work::new(
        "tcp-poll-echo-browser",
        Kind::TcpRoundTrip(Headers::Browser),
    ),
    Work::new("tcp-connect", Kind::TcpHandshake(Headers::None)),
    Work::new("tcp-connect-browser", Kind::TcpHandshake(Headers::Browser)),
    Work::new("tcp-connect-ws", Kind::TcpConnection),
    Work::new("tcp-fanout", Kind::TcpBroadcast(1)),
    Work::new("tcp-fanout-p8", Kind::TcpBroadcast(8)),
    Work::new("tcp-ping", Kind::TcpHeartbeat),
];

fn all() -> impl Iterator<Item = Work> {
    let of_clients = clients::WORK
        .iter()
        .map(|work| Work::new(work.name, Kind::Client(*work)));
    WORK.iter().copied().chain(of_clients)
}

/// Counts all kinds of work and prints a table.
pub(crate) fn count(mut options: Options) -> Result<()> {
    let only = options.list("modes");
    let server = options.text("server").unwrap_or_else(|| "ours".to_owned());
    options.finish()?;
    if server == BASELINE {
        bail!(
            "{BASELINE} pings a new client at once, which does not fit into the work that is counted"
        );
    }
    println!("| work | instructions each |\n|---|---|");
    for work in all() {
        let skipped = |only: &Vec<String>| !only.iter().any(|known| known == work.name);
        if only.as_ref().is_some_and(skipped) {
            continue;
        }
        let once = total(work.name, &server, work.times)?;
        let twice = total(work.name, &server, 2 * work.times)?;
        let each = twice.saturating_sub(once) as f64 / (work.times * work.messages) as f64;
        println!("| {} | {each:.0} |", work.name);
    }
    Ok(())
}

/// All instructions of a process that does the work so often.
fn total(name: &str, server: &str, times: usize) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["work", name, "--server", server])
        .args(["--times", &times.to_string()])
        .stdout(Stdio::null())
        .output()
        .context("valgrind is missing (Debian: valgrind)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{name}: {said}");
    }
    said.lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, number)| number.trim().parse().ok())
        .context("callgrind says no number")
}

/// Does one kind of work, under the eyes of callgrind.
pub(crate) fn work(options: &mut Options) -> Result<()> {
    let name = options.word().context("which work?")?;
    let times: usize = options.required("times")?;
    let server = options.text("server").unwrap_or_else(|| "ours".to_owned());
    let work = all()
        .find(|work| work.name == name)
        .with_context(|| format!("unknown work {name}"))?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            match work.kind {
                Kind::Echo(size, batch, is_async) => {
                    echo_frames(&echo(is_async), size, batch, times).await
                }
                Kind::RoundTrip(is_async) => round_trips(&echo(is_async), 32, times).await,
                Kind::Handshake => handshakes(&echo(false), times).await,
                Kind::Client(work) => clients::count(work, times).await,
                kind => over_tcp(kind, &server, times).await,
            }
        })
}

/// Does work over real sockets, with the server on the same thread.
async fn over_tcp(kind: Kind, server: &str, times: usize) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addr = listener.local_addr()?;
    let any_origin = matches!(kind, Kind::TcpRoundTrip(Headers::Origin));
    let ping_interval = match kind {
        Kind::TcpHeartbeat => PING_INTERVAL,
        // No ping while others are counted.
        _ => Duration::from_secs(3600),
    };
    let settings = Settings::new(ping_interval).any_origin(any_origin);
    let load = async {
        match kind {
            Kind::TcpRoundTrip(headers) => fixed::round_trips(addr, headers, 32, times).await,
            Kind::TcpHandshake(headers) => fixed::handshakes(addr, headers, times).await,
            Kind::TcpConnection => fixed::connections(addr, times).await,
            Kind::TcpBroadcast(depth) => fixed::broadcasts(addr, CLIENTS, 32, depth, times).await,
            Kind::TcpHeartbeat => fixed::heartbeats(addr, CLIENTS, times).await,
            Kind::Echo(..) | Kind::RoundTrip(_) | Kind::Handshake | Kind::Client(_) => {
                bail!("not over sockets")
            }
        }
    };
    tokio::select! {
        served = serve::serve(server, listener, settings) => served,
        done = load => done,
    }
}

fn echo(is_async: bool) -> Server {
    if is_async {
        return Server::builder()
            .on_message(|socket: Socket, message: Message| async move {
                let _ = socket.send(message).await;
            })
            .build();
    }
    Server::builder()
        .on_message(|socket: Socket, message: Message| {
            let _ = socket.try_send(message);
        })
        .build()
}

fn request(method: Method, rest: &str, body: Bytes) -> Result<Request<Full<Bytes>>> {
    Ok(Request::builder()
        .method(method)
        .uri(format!("/engine.io/?EIO=4&transport={rest}"))
        .body(Full::new(body))?)
}

async fn call(server: &Server, request: Request<Full<Bytes>>) -> Result<Response<Bytes>> {
    let response = EngineIoService::new(server.clone()).call(request).await?;
    let (head, body) = response.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

async fn echo_frames(server: &Server, size: usize, batch: usize, times: usize) -> Result<()> {
    let mut open = request(Method::GET, "websocket", Bytes::new())?;
    open.extensions_mut().insert(HostUpgrade);
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        open.headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    let mut response = EngineIoService::new(server.clone()).call(open).await?;
    let driver = Driver::take(&mut response).context("no driver")?;
    let (mut client, host) = tokio::io::duplex(4 << 20);
    tokio::spawn(driver.run(host));
    let mut answer = vec![0; 4096];
    if client.read(&mut answer).await? == 0 {
        bail!("no open packet");
    }

    let text = format!("4{:size$}", "");
    let frame = crate::load::text_frame(text.as_bytes());
    // An echo has no mask.
    answer.resize((frame.len() - 4) * batch, 0);
    let batch = frame.repeat(batch);
    for _ in 0..times {
        client.write_all(&batch).await?;
        client.read_exact(&mut answer).await?;
    }
    Ok(())
}

async fn round_trips(server: &Server, size: usize, times: usize) -> Result<()> {
    let open = call(server, request(Method::GET, "polling", Bytes::new())?).await?;
    let open = std::str::from_utf8(open.body())?;
    let (_, rest) = open.split_once("\"sid\":\"").context("no sid")?;
    let session = format!("polling&sid={}", rest.split('"').next().context("no sid")?);
    let body = Bytes::from(format!("4{:size$}", ""));
    for _ in 0..times {
        let get = request(Method::GET, &session, Bytes::new())?;
        let post = request(Method::POST, &session, body.clone())?;
        let (polled, posted) = tokio::join!(call(server, get), call(server, post));
        if posted?.body() != "ok" || polled?.body() != &body {
            bail!("no echo");
        }
    }
    Ok(())
}

async fn handshakes(server: &Server, times: usize) -> Result<()> {
    for _ in 0..times {
        call(server, request(Method::GET, "polling", Bytes::new())?).await?;
    }
    Ok(())
}
