//! A server that does what a test tells it to, on a port of its own.

// Each test file uses its own part of this.
#![allow(dead_code)]

pub(crate) mod memory;

#[path = "../../../engineio-core/tests/support/panics.rs"]
pub(crate) mod panics;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as WsMessage;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Both transports offered; a heartbeat that no test waits for.
pub(crate) const OPEN: &str = r#"0{"sid":"abc","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
pub(crate) const OPEN_POLLING: &str =
    r#"0{"sid":"abc","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;

/// A time limit that nothing here comes near.
pub(crate) const LONG: Duration = Duration::from_secs(10);

/// Fails the test that hangs, instead of hanging with it.
#[track_caller]
pub(crate) fn in_time<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let at = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(LONG, future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened within {LONG:?} at {at}"),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With the query; absolute where a proxy is asked.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_websocket(&self) -> bool {
        self.header("upgrade") == Some("websocket")
    }

    pub(crate) fn is_handshake(&self) -> bool {
        self.method == "GET" && !self.is_websocket() && !self.target.contains("sid=")
    }

    pub(crate) fn is_poll(&self) -> bool {
        self.method == "GET" && !self.is_websocket() && self.target.contains("sid=")
    }
}

pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

pub(crate) type Socket = WebSocketStream<Box<dyn Io>>;
pub(crate) type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The server's reaction to a request.
pub(crate) enum Reply {
    /// Answers with this status and body.
    Body(u16, Vec<u8>),
    /// As `Body`, with these header lines.
    With(u16, &'static str, Vec<u8>),
    /// Writes these bytes and closes the connection.
    Raw(Vec<u8>),
    /// Writes the first and then the second again and again, until nobody takes it; nothing more if that is empty.
    Endless(Vec<u8>, Vec<u8>),
    /// Answers with this body once the gate is set.
    Later(tokio::sync::watch::Receiver<bool>, &'static str),
    /// Answers with this status and body once the gate is set.
    LaterWith(tokio::sync::watch::Receiver<bool>, u16, &'static str),
    /// Does not answer, until the client goes away.
    Never,
    /// Accepts the WebSocket.
    WebSocket(Box<dyn FnOnce(Socket) -> Boxed + Send>),
}

pub(crate) fn ok(body: &str) -> Reply {
    Reply::Body(200, body.as_bytes().to_vec())
}

pub(crate) fn websocket<F, Fut>(run: F) -> Reply
where
    F: FnOnce(Socket) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Reply::WebSocket(Box::new(move |socket| Box::pin(run(socket))))
}

/// Sends every message back until the client closes.
pub(crate) async fn echo(mut socket: Socket) {
    while let Some(Ok(message)) = socket.next().await {
        let is_message = match &message {
            WsMessage::Text(text) => text.starts_with('4'),
            message => message.is_binary(),
        };
        if is_message && socket.send(message).await.is_err() {
            break;
        }
    }
}

/// Goes through a probe, up to and with the `5`.
pub(crate) async fn accept_probe(socket: &mut Socket) {
    assert_eq!(text(socket).await, "2probe");
    socket.send(WsMessage::text("3probe")).await.unwrap();
    assert_eq!(text(socket).await, "5");
}

pub(crate) async fn text(socket: &mut Socket) -> String {
    match socket.next().await {
        Some(Ok(WsMessage::Text(text))) => text.to_string(),
        other => panic!("no text frame: {other:?}"),
    }
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
    /// Returns the number of open connections.
    pub(crate) connections: Arc<tokio::sync::watch::Sender<usize>>,
}

impl Server {
    /// A server that replies as `reply` says; it is given the number of the request, from 0.
    pub(crate) async fn start<F>(reply: F) -> Self
    where
        F: Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    {
        Self::start_on(reply, |tcp| {
            Box::pin(async move { Some(Box::new(tcp) as Box<dyn Io>) })
        })
        .await
    }

    /// The same over what `accept` makes of a connection.
    pub(crate) async fn start_on<F, A>(reply: F, accept: A) -> Self
    where
        F: Fn(usize, &Request) -> Reply + Send + Sync + 'static,
        A: Fn(tokio::net::TcpStream) -> Pin<Box<dyn Future<Output = Option<Box<dyn Io>>> + Send>>
            + Send
            + Sync
            + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            requests: Arc::default(),
            connections: Arc::new(tokio::sync::watch::Sender::new(0)),
        };
        let (reply, accept) = (Arc::new(reply), Arc::new(accept));
        let this = server.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (this, reply, accept) = (this.clone(), Arc::clone(&reply), Arc::clone(&accept));
                tokio::spawn(async move {
                    this.connections.send_modify(|count| *count += 1);
                    if let Some(io) = accept(tcp).await {
                        serve(io, &this, &*reply).await;
                    }
                    this.connections.send_modify(|count| *count -= 1);
                });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn posts(&self) -> Vec<String> {
        let seen = self.seen().into_iter();
        seen.filter(|request| request.method == "POST")
            .map(|request| request.body)
            .collect()
    }

    /// Waits until the client has left.
    pub(crate) async fn is_left(&self) {
        let mut connections = self.connections.subscribe();
        in_time(connections.wait_for(|count| *count == 0))
            .await
            .unwrap();
    }
}

async fn serve(
    io: Box<dyn Io>,
    server: &Server,
    reply: &(dyn Fn(usize, &Request) -> Reply + Send + Sync),
) {
    let mut io = BufReader::new(io);
    while let Some(request) = read(&mut io).await {
        let number = {
            let mut requests = server.requests.lock().unwrap();
            requests.push(request.clone());
            requests.len() - 1
        };
        let keep = match reply(number, &request) {
            Reply::Body(status, body) => answer(&mut io, status, "", &body).await,
            Reply::With(status, headers, body) => answer(&mut io, status, headers, &body).await,
            Reply::Raw(bytes) => {
                let _ = io.write_all(&bytes).await;
                let _ = io.shutdown().await;
                None
            }
            Reply::Endless(first, again) => {
                let written = io.write_all(&first).await.is_ok() && io.flush().await.is_ok();
                if again.is_empty() {
                    let _ = io.read_u8().await;
                } else if written {
                    while io.write_all(&again).await.is_ok() && io.flush().await.is_ok() {}
                }
                None
            }
            Reply::Later(gate, body) => later(&mut io, gate, 200, body).await,
            Reply::LaterWith(gate, status, body) => later(&mut io, gate, status, body).await,
            Reply::Never => {
                let _ = io.read_u8().await;
                None
            }
            Reply::WebSocket(run) => {
                let key = request.header("sec-websocket-key").unwrap_or_default();
                let accept = derive_accept_key(key.as_bytes());
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                     sec-websocket-accept: {accept}\r\n\r\n"
                );
                if io.write_all(head.as_bytes()).await.is_err() {
                    return;
                }
                let early = io.buffer().to_vec();
                let io = io.into_inner();
                run(WebSocketStream::from_partially_read(io, early, Role::Server, None).await)
                    .await;
                return;
            }
        };
        if keep.is_none() {
            return;
        }
    }
}

async fn later(
    io: &mut BufReader<Box<dyn Io>>,
    mut gate: tokio::sync::watch::Receiver<bool>,
    status: u16,
    body: &str,
) -> Option<()> {
    let _ = gate.wait_for(|is_open| *is_open).await;
    answer(io, status, "", body.as_bytes()).await
}

async fn answer(
    io: &mut BufReader<Box<dyn Io>>,
    status: u16,
    headers: &str,
    body: &[u8],
) -> Option<()> {
    let length = if headers.contains("transfer-encoding") {
        String::new()
    } else {
        format!("content-length: {}\r\n", body.len())
    };
    let head = format!("HTTP/1.1 {status} Whatever\r\n{length}{headers}\r\n");
    io.write_all(head.as_bytes()).await.ok()?;
    io.write_all(body).await.ok()?;
    io.flush().await.ok()
}

async fn read(io: &mut BufReader<Box<dyn Io>>) -> Option<Request> {
    let mut line = String::new();
    io.read_line(&mut line).await.ok().filter(|&n| n > 0)?;
    let mut words = line.split(' ');
    let mut request = Request {
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        headers: Vec::new(),
        body: String::new(),
    };
    loop {
        let mut line = String::new();
        io.read_line(&mut line).await.ok().filter(|&n| n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        request.headers.push((name, value));
    }
    let length = request
        .header("content-length")
        .and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    io.read_exact(&mut body).await.ok()?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Some(request)
}
