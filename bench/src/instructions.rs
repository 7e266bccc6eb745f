//! Instructions per message, counted by valgrind: the same on a busy machine as on a quiet one.
//!
//! The server runs in memory, without sockets: over a duplex pipe, or by calls of the service. Each kind of work is
//! done a number of times and twice as often, each under callgrind; the difference is that work alone. It leaves out
//! the kernel, where most of a small message's time goes, and caches: it compares versions of this code, not servers.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use engineio_tower::{Driver, EngineIoService, HostUpgrade, Message, Server, Socket};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_service::Service;

use crate::options::Options;

const TIMES: usize = 200;

/// Kinds of work: name, bytes of a message, messages of a batch, async handler.
const WORK: &[(&str, usize, usize, bool)] = &[
    ("ws-echo-32-p1", 32, 1, false),
    ("ws-echo-32-p16", 32, 16, false),
    ("ws-echo-32-p16-async", 32, 16, true),
    ("ws-echo-4k-p1", 4096, 1, false),
    ("ws-echo-64k-p1", 65_000, 1, false),
    ("poll-echo", 32, 1, false),
    ("poll-echo-async", 32, 1, true),
    ("connect", 0, 1, false),
];

/// Counts all kinds of work and prints a table.
pub(crate) fn count(mut options: Options) -> Result<()> {
    let only = options.list("modes");
    options.finish()?;
    println!("| work | instructions each |\n|---|---|");
    for (name, _, batch, _) in WORK {
        if only
            .as_ref()
            .is_some_and(|only| !only.iter().any(|known| known == name))
        {
            continue;
        }
        let once = total(name, TIMES)?;
        let twice = total(name, 2 * TIMES)?;
        let each = twice.saturating_sub(once) as f64 / (TIMES * batch) as f64;
        println!("| {name} | {each:.0} |");
    }
    Ok(())
}

/// All instructions of a process that does the work so often.
fn total(name: &str, times: usize) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["work", name, "--times", &times.to_string()])
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
    let (_, size, batch, is_async) = WORK
        .iter()
        .find(|(known, ..)| *known == name)
        .with_context(|| format!("unknown work {name}"))?;
    let server = server(*is_async);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            match name.split_once('-').map_or("connect", |(kind, _)| kind) {
                "ws" => echo_frames(&server, *size, *batch, times).await,
                "poll" => round_trips(&server, *size, times).await,
                _ => handshakes(&server, times).await,
            }
        })
}

fn server(is_async: bool) -> Server {
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
