//! A connection of HTTP/1.1, which may become a WebSocket.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Once;

use bytes::{Bytes, BytesMut};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};

use crate::frame::{self, Frame};
use crate::within;

/// One connection to a host; or to a load balancer, with the connection to one of its hosts at a time.
pub struct Puppet<IO = TcpStream> {
    stream: IO,
    address: SocketAddr,
    buffer: BytesMut,
    /// The requests whose response has not been read.
    under_way: usize,
    balancer: Option<Balancer<IO>>,
}

/// Chooses the host of the next request: gives a new connection, or none if the request is to use the last one again.
pub(crate) type Balancer<IO> =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Option<IO>> + Send>> + Send + Sync>;

impl<IO: fmt::Debug> fmt::Debug for Puppet<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Puppet")
            .field("stream", &self.stream)
            .field("under_way", &self.under_way)
            .finish_non_exhaustive()
    }
}

/// The buffer of a connection for what comes from the host.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Width {
    Usual,
    /// Small, so that the way from the host is soon full.
    Narrow,
}

impl Width {
    pub(crate) async fn connect(self, address: SocketAddr) -> TcpStream {
        allow_descriptors();
        let socket = TcpSocket::new_v4().unwrap();
        if matches!(self, Self::Narrow) {
            socket.set_recv_buffer_size(8 * 1024).unwrap();
        }
        let stream = socket.connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

/// A response, with its body as a whole.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// The value of a header, or an empty string.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header.map_or("", |(_, value)| value)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// The handshake of RFC 6455 with the example key of the RFC.
const UPGRADE: &str = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

impl Puppet {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(Width::Usual.connect(address).await, address)
    }

    /// The address of this end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// The two directions, to be used at the same time.
    pub fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        let (read, write) = self.stream.split();
        let buffer = &mut self.buffer;
        (Reader { read, buffer }, Writer { write })
    }

    /// Breaks the connection off with an RST.
    pub fn reset(self) {
        // Dropped with that, it is not closed but reset.
        self.stream.set_zero_linger().unwrap();
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Puppet<IO> {
    /// The address of the host.
    #[must_use]
    pub const fn host(&self) -> SocketAddr {
        self.address
    }

    /// Speaks over a stream of bytes.
    pub fn over(stream: IO, address: SocketAddr) -> Self {
        Self {
            stream,
            address,
            buffer: BytesMut::new(),
            under_way: 0,
            balancer: None,
        }
    }

    /// Lets each request go to the host that a balancer chooses.
    pub(crate) fn balanced(mut self, balancer: Balancer<IO>) -> Self {
        self.balancer = Some(balancer);
        self
    }

    /// Begins a request. As long as a response is due, it goes where the last one went.
    async fn begin(&mut self) {
        if self.under_way == 0
            && let Some(balancer) = &self.balancer
            && let Some(stream) = balancer().await
        {
            self.stream = stream;
            self.buffer.clear();
        }
        self.under_way += 1;
    }

    /// Writes bytes.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        // They may be a request.
        self.under_way = self.under_way.max(1);
        within("a write", self.stream.write_all(bytes.as_ref()))
            .await
            .unwrap();
    }

    /// Writes bytes to a host that may have had enough. `false` if it takes no more.
    pub async fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.under_way = self.under_way.max(1);
        let write = self.stream.write_all(bytes.as_ref());
        within("a write", write).await.is_ok()
    }

    /// Sends a GET, and waits for nothing.
    pub async fn send_get(&mut self, target: &str) {
        self.begin().await;
        let head = format!("GET {target} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
        self.write(head).await;
    }

    /// Sends the head of a POST, with these headers besides `host`.
    pub async fn send_post(&mut self, target: &str, headers: &str) {
        self.begin().await;
        let host = self.address;
        let head = format!("POST {target} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n");
        self.write(head).await;
    }

    /// Any request without a body, with these headers besides `host`, and its response.
    pub async fn request(&mut self, method: &str, target: &str, headers: &str) -> Response {
        self.begin().await;
        let host = self.address;
        let head = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n");
        self.write(head).await;
        self.response().await
    }

    /// A GET and its response.
    pub async fn get(&mut self, target: &str) -> Response {
        self.send_get(target).await;
        self.response().await
    }

    /// A POST and its response.
    pub async fn post(&mut self, target: &str, body: impl AsRef<[u8]>) -> Response {
        let body = body.as_ref();
        let length = format!("content-length: {}\r\n", body.len());
        self.send_post(target, &length).await;
        self.write(body).await;
        self.response().await
    }

    /// The bytes of a WebSocket handshake.
    #[must_use]
    pub fn handshake(&self, target: &str) -> Vec<u8> {
        format!(
            "GET {target} HTTP/1.1\r\nhost: {}\r\n{UPGRADE}\r\n",
            self.address
        )
        .into()
    }

    /// Becomes a WebSocket.
    pub async fn upgrade(&mut self, target: &str) {
        self.begin().await;
        let handshake = self.handshake(target);
        self.write(handshake).await;
        self.accepted().await;
    }

    /// Becomes a WebSocket and offers extensions to it, if any. What the host has agreed to, or an empty string.
    pub async fn upgrade_with(&mut self, target: &str, extensions: &str) -> String {
        self.begin().await;
        let mut handshake = self.handshake(target);
        if !extensions.is_empty() {
            handshake.truncate(handshake.len() - 2);
            let offer = format!("sec-websocket-extensions: {extensions}\r\n\r\n");
            handshake.extend(offer.into_bytes());
        }
        self.write(handshake).await;
        let response = self.accepted().await;
        response.header("sec-websocket-extensions").to_owned()
    }

    /// Expects the answer to a WebSocket handshake.
    pub async fn accepted(&mut self) -> Response {
        let response = self.response().await;
        assert_eq!(response.status, 101, "{response:?}");
        assert_eq!(
            response.header("sec-websocket-accept"),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert!(response.header("upgrade").eq_ignore_ascii_case("websocket"));
        assert!(
            response
                .header("connection")
                .eq_ignore_ascii_case("upgrade")
        );
        response
    }

    /// Reads more. Returns `false` at the end of the stream.
    async fn fill(&mut self) -> bool {
        let read = within("a read", self.stream.read_buf(&mut self.buffer)).await;
        // A reset is an end too, for whoever asks only whether there is one.
        matches!(read, Ok(len) if len > 0)
    }

    async fn need(&mut self, len: usize) {
        while self.buffer.len() < len {
            assert!(self.fill().await, "the connection ended within a response");
        }
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|bytes| bytes == b"\r\n") {
                let line = self.buffer.split_to(end + 2);
                return String::from_utf8(line[..end].to_vec()).unwrap();
            }
            let len = self.buffer.len();
            self.need(len + 1).await;
        }
    }

    /// The next response.
    pub async fn response(&mut self) -> Response {
        let mut response = Response {
            status: self.status().await,
            headers: Vec::new(),
            body: Bytes::new(),
        };
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            let header = (name.to_ascii_lowercase(), value.trim().to_owned());
            response.headers.push(header);
        }
        if response.header("transfer-encoding") == "chunked" {
            let mut body = BytesMut::new();
            loop {
                let len = usize::from_str_radix(&self.line().await, 16).unwrap();
                self.need(len + 2).await;
                body.extend_from_slice(&self.buffer.split_to(len));
                let _ = self.buffer.split_to(2);
                if len == 0 {
                    break;
                }
            }
            response.body = body.freeze();
        } else if let Ok(len) = response.header("content-length").parse() {
            self.need(len).await;
            response.body = self.buffer.split_to(len).freeze();
        }
        match response.status {
            // Nothing but frames follows.
            101 => self.balancer = None,
            100..200 => {}
            _ => self.under_way = self.under_way.saturating_sub(1),
        }
        response
    }

    /// The status of the next response, of which nothing else is read.
    pub async fn status(&mut self) -> u16 {
        let status = self.line().await;
        status.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The next response, if the host has one for this client before it ends the connection.
    pub async fn answer(&mut self) -> Option<Response> {
        while !self.buffer.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.response().await)
    }

    /// Sends a text frame.
    pub async fn say(&mut self, text: &str) {
        self.write(frame::text(text)).await;
    }

    /// The next frame; `None` if the connection ended.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = frame::take(&mut self.buffer) {
                return Some(frame);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// The next frame, which must be a text.
    pub async fn hear(&mut self) -> String {
        match self.frame().await {
            Some(Frame::Text(text)) => text,
            other => panic!("expected a text, got {other:?}"),
        }
    }

    /// Expects that the server ends the connection.
    pub async fn ended(&mut self) {
        while self.fill().await {}
    }

    /// Sends a FIN: there is nothing more to come from this end.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }
}

/// The bytes from the host.
#[derive(Debug)]
pub struct Reader<'a> {
    read: ReadHalf<'a>,
    buffer: &'a mut BytesMut,
}

impl Reader<'_> {
    /// The next frame; `None` if the connection ended.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = frame::take(self.buffer) {
                return Some(frame);
            }
            let read = within("a read", self.read.read_buf(self.buffer)).await;
            if !matches!(read, Ok(len) if len > 0) {
                return None;
            }
        }
    }
}

/// The bytes to the host.
#[derive(Debug)]
pub struct Writer<'a> {
    write: WriteHalf<'a>,
}

impl Writer<'_> {
    /// Writes bytes, and waits as long as the host takes none.
    pub async fn write(&mut self, bytes: &[u8]) {
        within("a write", self.write.write_all(bytes))
            .await
            .unwrap();
    }
}

/// Lets this process have as many descriptors as the system grants: hundreds of clients and their server live in it, and
/// a usual shell allows 1,024.
fn allow_descriptors() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        const ENOUGH: u64 = 65_536;
        let limit = getrlimit(Resource::Nofile);
        let most = limit.maximum.map_or(ENOUGH, |most| most.min(ENOUGH));
        let raised = Rlimit {
            current: Some(limit.current.map_or(ENOUGH, |now| now.max(most))),
            ..limit
        };
        // Without it the tests say what they lack.
        let _ = setrlimit(Resource::Nofile, raised);
    });
}
