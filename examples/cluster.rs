//! A chat over two nodes of a cluster, both in this process, so that one command shows it.
//!
//! ```text
//! cargo run -p engineio-examples --example cluster
//! ```
//!
//! Open the two addresses that it prints, one in each window, and talk: each message reaches the clients of both nodes.
//! The third address belongs to a load balancer without sticky sessions: it gives each connection to the next node, and
//! the chat works there too, because a node forwards the requests for sessions of the other.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::get;
use engineio_axum::{DisconnectReason, EngineIoLayer, Message, Server, Socket};
use engineio_cluster::{Cluster, Peers};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

/// Names and texts are cut to this many characters.
const LONGEST: usize = 500;

/// The name of a client, attached to its socket.
#[derive(Debug, Default)]
struct Name(Mutex<String>);

fn name(socket: &Socket) -> String {
    let name = socket.get::<Name>().unwrap_or_default();
    let name = name.0.lock().unwrap_or_else(PoisonError::into_inner);
    name.clone()
}

/// Tells everybody, on both nodes.
async fn tell(cluster: &OnceLock<Cluster>, what: Value) {
    if let Some(cluster) = cluster.get()
        && let Err(error) = cluster.broadcast(what.to_string()).await
    {
        eprintln!("{error}");
    }
}

/// Starts a node, and serves the page and the chat on a listener of its own. Prints its address.
async fn node(
    id: &str,
    listen: &str,
    internal: TcpListener,
    peers: Peers,
) -> Result<String, Box<dyn std::error::Error>> {
    // The handlers need the cluster, which starts when there is a server.
    let cluster = Arc::new(OnceLock::new());
    let (heard, left) = (Arc::clone(&cluster), Arc::clone(&cluster));
    let server = Server::builder()
        .on_connect(|socket: Socket, _| {
            socket.set(Name::default());
        })
        .on_message(move |socket: Socket, message: Message| {
            let cluster = Arc::clone(&heard);
            async move {
                let Ok(request) = message.parse_json::<Value>() else {
                    return;
                };
                let text = |field: &str| -> Option<String> {
                    Some(request[field].as_str()?.chars().take(LONGEST).collect())
                };
                if let Some(entered) = text("name") {
                    if let Some(name) = socket.get::<Name>() {
                        let mut name = name.0.lock().unwrap_or_else(PoisonError::into_inner);
                        name.clone_from(&entered);
                    }
                    tell(&cluster, json!({ "entered": entered })).await;
                } else if let Some(said) = text("say") {
                    tell(&cluster, json!({ "from": name(&socket), "say": said })).await;
                }
            }
        })
        .on_disconnect(move |socket: Socket, _: DisconnectReason| {
            let cluster = Arc::clone(&left);
            async move { tell(&cluster, json!({ "left": name(&socket) })).await }
        })
        .build();
    // The two listen on the loopback address, so they need no secret.
    let node = Cluster::builder().name(id).listener(internal).peers(peers);
    let _ = cluster.set(node.start(&server).await?);

    let client = (
        [(CONTENT_TYPE, "text/javascript")],
        include_str!("demo/engineio.js"),
    );
    let app = Router::new()
        .route("/", get(async || Html(include_str!("pages/chat.html"))))
        .route("/engineio.js", get(async move || client))
        .layer(EngineIoLayer::new(server));
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?.to_string();
    println!("node {id}: http://{address}");
    tokio::spawn(engineio_axum::serve(listener, app).into_future());
    Ok(address)
}

/// Gives each connection to the next node.
async fn balance(listener: TcpListener, nodes: [String; 2]) -> std::io::Result<()> {
    for node in nodes.iter().cycle() {
        let (mut client, _) = listener.accept().await?;
        let mut server = TcpStream::connect(node).await?;
        tokio::spawn(async move {
            // Either end may break off at any time.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:5000");
    let internal = [
        TcpListener::bind("127.0.0.1:0").await?,
        TcpListener::bind("127.0.0.1:0").await?,
    ];
    let peers = Peers::fixed([
        ("a", internal[0].local_addr()?.to_string()),
        ("b", internal[1].local_addr()?.to_string()),
    ])?;
    let [for_a, for_b] = internal;
    let nodes = [
        node("a", "127.0.0.1:0", for_a, peers.clone()).await?,
        node("b", "127.0.0.1:0", for_b, peers).await?,
    ];
    let listener = TcpListener::bind(address).await?;
    println!(
        "both, in turn: listening on http://{}",
        listener.local_addr()?
    );
    balance(listener, nodes).await?;
    Ok(())
}
