//! A page that shows what Engine.IO does: it connects by polling, upgrades to WebSocket and plots the latency.
//!
//! ```text
//! cargo run --release -p engineio-examples --bin demo
//! ```
//!
//! Then open <http://127.0.0.1:5000/>, on several devices if you like (`--listen 0.0.0.0:5000`),
//! on any host (`--host actix`).
//!
//! With `--webtransport` it serves WebTransport too, on the UDP port with the number of the TCP port, and the page
//! moves there. The certificate is created at start-up, and the page accepts it by its hash.
//!
//! As a node of a cluster (`--node a --node-listen 127.0.0.1:7000 --peers a=127.0.0.1:7000,b=127.0.0.1:7001`, or `--bus`)
//! it also shows which node answers and which one owns the session.

mod hosts;

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use engineio_axum::{Message, Server, Socket, Transport};
use engineio_cluster::Cluster;
use engineio_examples::node::{self, NodeOptions};
use engineio_webtransport::{Identity, WebTransport};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The server, and the cluster that it belongs to once it has started.
fn server(webtransport: bool, cluster: Arc<OnceLock<Cluster>>) -> Server {
    let answer = move |socket: Socket, message: Message| {
        let cluster = Arc::clone(&cluster);
        async move {
            // Pages are not trusted: anything but JSON with a known type is ignored.
            let Ok(request) = message.parse_json::<Value>() else {
                return;
            };
            match request["type"].as_str() {
                Some("ping") => {
                    let _ = socket.send(message).await;
                }
                Some("say") => {
                    let text = request["text"].as_str().unwrap_or_default();
                    let text: String = text.chars().take(500).collect();
                    let said = json!({ "type": "say", "text": text, "from": socket.sid().short() });
                    node::broadcast(&socket.server(), cluster.get(), said.to_string()).await;
                }
                _ => {}
            }
        }
    };
    let mut transports = vec![Transport::Polling, Transport::WebSocket];
    if webtransport {
        transports.push(Transport::WebTransport);
    }
    let builder = Server::builder().transports(transports);
    builder.on_message(answer).build()
}

/// Binds the TCP port, and for WebTransport the UDP port of the same number, where clients look for it, so that pages
/// have the same origin.
async fn bind(listen: &str, webtransport: bool) -> io::Result<(TcpListener, Option<WebTransport>)> {
    loop {
        let listener = TcpListener::bind(listen).await?;
        if !webtransport {
            return Ok((listener, None));
        }
        let identity = Identity::self_signed(["localhost", "127.0.0.1"]);
        let identity = identity.map_err(io::Error::other)?;
        match WebTransport::bind(listener.local_addr()?, identity).await {
            Ok(udp) => return Ok((listener, Some(udp))),
            // The system chooses a port that is free for TCP, and may not be for UDP.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && listen.ends_with(":0") => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the page, with the hash of the certificate that it should accept.
fn page(udp: Option<&WebTransport>) -> &'static str {
    let Some(udp) = udp else {
        return hosts::PAGE;
    };
    let hash = udp.identity().get().sha256();
    let hash = hash.map(|byte| format!("{byte:02x}")).concat();
    let certificate = format!("data-certificate=\"{hash}\"");
    // Every host needs it as long as the program runs.
    let page = hosts::PAGE.replace("data-certificate=\"\"", &certificate);
    page.leak()
}

/// The options, a line each.
const HELP: &str = "\
Usage: demo [OPTION]…

  --host NAME                  axum, actix, warp or hyper (default: axum)
  --listen ADDR:PORT           address of the page (default: 127.0.0.1:5000)
  --webtransport               serve WebTransport too, with a self-signed certificate
  --help                       print this
";

struct Options {
    host: String,
    listen: String,
    webtransport: bool,
    node: NodeOptions,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        host: "axum".into(),
        listen: "127.0.0.1:5000".into(),
        webtransport: false,
        node: NodeOptions::default(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value"))
        };
        match name.as_str() {
            "--host" => options.host = value()?,
            "--listen" => options.listen = value()?,
            "--webtransport" => options.webtransport = true,
            option if NodeOptions::knows(option) => options.node.set(option, value()?)?,
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(options)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    if std::env::args().any(|argument| matches!(argument.as_str(), "-h" | "--help")) {
        println!("{HELP}\n{}", node::HELP);
        return Ok(());
    }
    let options = options().unwrap_or_else(|mistake| {
        eprintln!("demo: {mistake}\n`demo --help` lists the options");
        std::process::exit(2);
    });
    let cluster = Arc::new(OnceLock::new());
    let server = server(options.webtransport, Arc::clone(&cluster));
    let node = options.node.start(&server).await?;
    if let Some(node) = &node {
        // Set only here.
        let _ = cluster.set(node.clone());
    }

    // Clients come and go at any moment; sending the count twice a second is simpler than sending every change.
    let crowd = server.clone();
    server.spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tick.tick().await;
            let count = cluster.get().map_or(crowd.len() as u64, Cluster::len);
            crowd.broadcast(json!({ "type": "clients", "count": count }).to_string());
        }
    });

    let (listener, udp) = bind(&options.listen, options.webtransport).await?;
    let page = page(udp.as_ref());
    if let Some(udp) = udp {
        tokio::spawn(udp.serve(&server));
    }
    println!("listening on http://{}", listener.local_addr()?);
    println!("open the page in a browser; press Ctrl-C to stop");
    hosts::run(&options.host, listener, page, server, node).await
}
