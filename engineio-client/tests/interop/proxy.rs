//! A proxy that knows nothing but plain requests.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// It stands before one server at a time, and takes requests in both forms: to a proxy, and to a server.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) url: String,
    server: Arc<Mutex<String>>,
    refused: Arc<Mutex<Vec<&'static str>>>,
}

impl Proxy {
    pub(crate) async fn start(server: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            server: Arc::default(),
            refused: Arc::default(),
        };
        proxy.turn_to(server);
        let (server, refused) = (Arc::clone(&proxy.server), Arc::clone(&proxy.refused));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (server, refused) = (Arc::clone(&server), Arc::clone(&refused));
                tokio::spawn(async move {
                    // The client may go at any time, the server too.
                    let _ = serve(tcp, &server, &refused).await;
                });
            }
        });
        proxy
    }

    /// From now on requests go to this server; those under way stay where they are.
    pub(crate) fn turn_to(&self, server: &str) {
        *self.server.lock().unwrap() = server.trim_start_matches("http://").to_owned();
    }

    /// Returns the refusals since the last call.
    pub(crate) fn refused(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.refused.lock().unwrap())
    }
}

/// Serves one request: each connection has only one, so that what follows its head can be passed on unread.
async fn serve(
    tcp: TcpStream,
    server: &Mutex<String>,
    refused: &Mutex<Vec<&'static str>>,
) -> std::io::Result<()> {
    let mut client = BufReader::new(tcp);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if client.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if line == "\r\n" {
            break;
        }
        head.push(line);
    }
    let is = |line: &str, name: &str| line.to_ascii_lowercase().starts_with(name);
    let refusal = if head[0].starts_with("CONNECT ") {
        Some("CONNECT")
    } else if head.iter().any(|line| is(line, "upgrade:")) {
        Some("upgrade")
    } else {
        None
    };
    if let Some(refusal) = refusal {
        refused.lock().unwrap().push(refusal);
        let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return client.write_all(answer).await;
    }
    // Only now: a client may open connections before it has anything to ask.
    let address = server.lock().unwrap().clone();
    // What only the proxy needs is not passed on: the absolute form, and the connection that stays.
    head[0] = head[0].replacen(&format!(" http://{address}/"), " /", 1);
    head.retain(|line| !is(line, "connection:"));
    let head = head.concat() + "connection: close\r\n\r\n";
    let mut server = TcpStream::connect(address).await?;
    server.write_all(head.as_bytes()).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
