//! The servers that are written in Rust: ours, the peer, and the limits. One process serves one of them.

mod bare_hyper;
mod bare_websocket;
mod engineioxide;
mod ours;

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::options::Options;

/// The options of the servers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    ping_interval: Duration,
    ping_timeout: Duration,
    /// The limit of a socket's queue, large enough for all measured loads.
    queue: usize,
    /// Pages of every origin are let in. Ours only.
    any_origin: bool,
}

impl Settings {
    pub(crate) fn new(ping_interval: Duration) -> Self {
        Self {
            ping_interval,
            ping_timeout: Duration::from_secs(20),
            queue: 4096,
            any_origin: false,
        }
    }

    /// Lets pages of every origin in.
    pub(crate) fn any_origin(self, any_origin: bool) -> Self {
        Self { any_origin, ..self }
    }
}

/// Runs the server of this name until it is ended from outside.
///
/// It prints the address at which it listens as its first line.
pub(crate) fn run(options: &mut Options) -> Result<()> {
    let name = options.word().context("which server?")?;
    let ping_interval = Duration::from_millis(options.number("ping-ms", 25_000)?);
    let settings = Settings::new(ping_interval);
    let mut runtime = match options.number("threads", 1)? {
        1 => tokio::runtime::Builder::new_current_thread(),
        threads => {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(threads);
            runtime
        }
    };
    runtime.enable_all().build()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        announce(listener.local_addr()?)?;
        serve(&name, listener, settings).await
    })
}

/// Runs the server of this name on the runtime of the caller.
pub(crate) async fn serve(name: &str, listener: TcpListener, settings: Settings) -> Result<()> {
    match name {
        "ours" => ours::hyper(listener, ours::plain(settings)).await,
        "ours-async" => ours::hyper(listener, ours::asynchronous(settings)).await,
        "axum" => ours::axum(listener, ours::plain(settings)).await,
        "axum-async" => ours::axum(listener, ours::asynchronous(settings)).await,
        "actix" => ours::actix(listener, ours::plain(settings)).await,
        "warp" => ours::warp(listener, ours::plain(settings)).await,
        "engineioxide" => engineioxide::run(listener, settings).await,
        "tungstenite" => bare_websocket::run(listener, settings).await,
        "hyper" => bare_hyper::run(listener, settings).await,
        name => bail!("no such server: {name}"),
    }
}

fn announce(addr: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{addr}")?;
    out.flush()
}

/// Accepts connections, each in a task of its own.
async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) -> Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        // Out of file descriptors, for example: the clients will notice.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream));
    }
}

/// Serves HTTP/1.1 with upgrades by hyper alone: the leanest host, the same for ours and the peer.
async fn accept_http<S, F, B>(listener: TcpListener, respond: S) -> Result<()>
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    accept(listener, move |stream| {
        let connection = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service_fn(respond.clone()))
            .with_upgrades();
        async move {
            // Clients may go away at any time.
            let _ = connection.await;
        }
    })
    .await
}
