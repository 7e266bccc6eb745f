//! A server with a UDP socket on loopback, and clients that speak WebTransport by another crate.

#[path = "../../../engineio-core/tests/support/panics.rs"]
pub(crate) mod panics;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use engineio_core::Frame;
use engineio_core::codec::stream;
use engineio_tower::{
    DisconnectReason, Message, Origins, Server, ServerBuilder, Socket, Transport,
};
use engineio_webtransport::{CurrentIdentity, Identity, WebTransport};
use http::{Request, Response};
use http_body_util::Full;
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use web_transport_quinn::proto::ConnectRequest;
use web_transport_quinn::{
    Client, ClientBuilder, ClientError, RecvStream, SendStream, Session, SessionError,
};

pub(crate) const ALL: [Transport; 3] = [
    Transport::Polling,
    Transport::WebSocket,
    Transport::WebTransport,
];

/// No single thing takes this long.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The places for newcomers of one address, four of which they may have before they have proved it.
pub(crate) const PLACES: usize = 16;

/// Waits for something that must happen.
pub(crate) async fn within<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(LIMIT, what).await.expect("in time")
}

pub(crate) struct Harness {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) identity: CurrentIdentity,
    pub(crate) serving: JoinHandle<()>,
    ends: mpsc::UnboundedReceiver<(DisconnectReason, Transport)>,
}

/// Returns the builder of an echo server.
pub(crate) fn echo() -> ServerBuilder {
    Server::builder().on_message(|socket: Socket, message: Message| async move {
        let _ = socket.send(message).await;
    })
}

pub(crate) async fn start(builder: ServerBuilder) -> Harness {
    start_on(builder, 0).await.unwrap()
}

/// Starts a server with this UDP port, if it is free.
pub(crate) async fn start_on(builder: ServerBuilder, port: u16) -> std::io::Result<Harness> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let udp = WebTransport::bind(("127.0.0.1", port), identity).await?;
    let (tell, ends) = mpsc::unbounded_channel();
    let server = builder
        .transports(ALL)
        .on_disconnect(move |socket: Socket, reason: DisconnectReason| {
            let _ = tell.send((reason, socket.transport()));
        })
        .build();
    Ok(Harness {
        address: udp.local_addr()?,
        identity: udp.identity(),
        serving: tokio::spawn(udp.serve(&server)),
        server,
        ends,
    })
}

impl Harness {
    /// Puts a path between the server and one client on which each datagram takes this long.
    pub(crate) async fn behind(self, delay: Duration) -> Self {
        self.behind_path(delay, Loss::default()).await
    }

    /// Puts a path between the server and one client on which each datagram takes this long, if it arrives.
    pub(crate) async fn behind_path(mut self, delay: Duration, loss: Loss) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        back.connect(self.address).await.unwrap();
        self.address = front.local_addr().unwrap();
        tokio::spawn(async move {
            let (_, client) = front.peek_from(&mut [0]).await.unwrap();
            front.connect(client).await.unwrap();
            tokio::join!(
                carry(&front, &back, delay, &loss),
                carry(&back, &front, delay, &loss)
            )
        });
        self
    }

    pub(crate) fn url(&self, path: &str) -> url::Url {
        format!("https://{}{path}", self.address).parse().unwrap()
    }

    /// Requests a session.
    pub(crate) async fn request(
        &self,
        request: impl Into<ConnectRequest>,
    ) -> Result<Session, ClientError> {
        within(client(&self.identity.get()).connect(request)).await
    }

    /// Opens the stream of a session, and sends nothing.
    pub(crate) async fn stream(&self) -> Peer {
        let session = self.request(self.url("/engine.io/")).await.unwrap();
        Peer::new(session).await
    }

    /// Opens an Engine.IO session. Returns its id too.
    pub(crate) async fn open(&self) -> (Peer, String) {
        let mut peer = self.stream().await;
        peer.send(b"\x010").await;
        let open = peer.text().await;
        let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
        (peer, open["sid"].as_str().unwrap().to_owned())
    }

    /// Waits for the end of a client, as `on_disconnect` has it.
    pub(crate) async fn end(&mut self) -> (DisconnectReason, Transport) {
        within(self.ends.recv()).await.unwrap()
    }

    /// Sends an HTTP request to the server.
    pub(crate) async fn http(&self, query: &str, body: Option<&'static str>) -> Response<Bytes> {
        let uri = format!("/engine.io/?EIO=4&transport=polling{query}");
        let request = match body {
            Some(_) => Request::post(uri),
            None => Request::get(uri),
        };
        let body = Full::new(Bytes::from_static(body.unwrap_or_default().as_bytes()));
        within(self.server.respond(request.body(body).unwrap())).await
    }

    /// Opens a session by polling. Returns the open packet.
    pub(crate) async fn poll_open(&self) -> serde_json::Value {
        let response = self.http("", None).await;
        serde_json::from_slice(&response.body()[1..]).unwrap()
    }
}

/// The datagrams that a path loses.
#[derive(Clone)]
pub(crate) struct Loss {
    one_of: Arc<AtomicU64>,
    /// Has a permit for each of them.
    lost: Arc<Semaphore>,
}

impl Default for Loss {
    fn default() -> Self {
        Self {
            one_of: Arc::default(),
            lost: Semaphore::new(0).into(),
        }
    }
}

impl Loss {
    /// Loses one of so many datagrams, at random; with 1 all, with 0 none.
    pub(crate) fn set(&self, one_of: u64) {
        self.one_of.store(one_of, Ordering::Relaxed);
    }

    /// Waits until so many more datagrams were lost.
    pub(crate) async fn lose(&self, datagrams: u32) {
        within(self.lost.acquire_many(datagrams))
            .await
            .unwrap()
            .forget();
    }

    /// Returns whether the next datagram is lost, by the state of a generator of pseudo-random numbers (xorshift).
    fn is_lost(&self, random: &mut u64) -> bool {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        let rest = random.checked_rem(self.one_of.load(Ordering::Relaxed));
        let is_lost = rest == Some(0);
        if is_lost {
            self.lost.add_permits(1);
        }
        is_lost
    }
}

/// Carries datagrams in one direction.
async fn carry(from: &UdpSocket, to: &UdpSocket, delay: Duration, loss: &Loss) {
    let mut random = 0x9e37_79b9_7f4a_7c15;
    let (enter, mut leave) = mpsc::unbounded_channel();
    let enters = async {
        let mut datagram = [0; 2_048];
        while let Ok(len) = from.recv(&mut datagram).await {
            if !loss.is_lost(&mut random) {
                let _ = enter.send((Instant::now() + delay, datagram[..len].to_vec()));
            }
        }
    };
    let leaves = async {
        while let Some((due, datagram)) = leave.recv().await {
            sleep_until(due).await;
            let _ = to.send(&datagram).await;
        }
    };
    tokio::join!(enters, leaves);
}

pub(crate) fn client(identity: &Identity) -> Client {
    let hash = identity.sha256().to_vec();
    ClientBuilder::new()
        .with_server_certificate_hashes(vec![hash])
        .unwrap()
}

/// The one stream of a client.
pub(crate) struct Peer {
    pub(crate) session: Session,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
}

impl Peer {
    pub(crate) async fn new(session: Session) -> Self {
        let (send, recv) = within(session.open_bi()).await.unwrap();
        Self {
            session,
            send,
            recv,
        }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within(self.send.write_all(bytes)).await.unwrap();
    }

    pub(crate) async fn send_frame(&mut self, frame: Frame) {
        let (header, frame) = stream::encode(frame);
        self.send(&[header.as_slice(), frame.as_bytes()].concat())
            .await;
    }

    /// Reads a packet with its first byte; `None` at the end of the stream.
    pub(crate) async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut first = [0];
        within(self.recv.read(&mut first)).await.unwrap()?;
        let mut len = vec![
            0;
            [0, 2, 8][[126, 127]
                .iter()
                .position(|n| *n == first[0] & 0x7f)
                .map_or(0, |n| n + 1)]
        ];
        within(self.recv.read_exact(&mut len)).await.unwrap();
        let len = match &len[..] {
            [] => usize::from(first[0] & 0x7f),
            len => len
                .iter()
                .fold(0, |sum, byte| sum * 256 + usize::from(*byte)),
        };
        let mut packet = vec![0; len];
        within(self.recv.read_exact(&mut packet)).await.unwrap();
        Some((first[0], packet))
    }

    /// Reads a text packet.
    pub(crate) async fn text(&mut self) -> String {
        let (first, packet) = self.read().await.expect("a packet");
        assert_eq!(first & 0x80, 0, "text");
        String::from_utf8(packet).unwrap()
    }

    /// Reads to the end of the stream.
    pub(crate) async fn rest(&mut self) -> Vec<String> {
        let mut rest = Vec::new();
        while let Some((_, packet)) = self.read().await {
            rest.push(String::from_utf8(packet).unwrap());
        }
        rest
    }

    /// Waits until the server has closed the session. Returns the code and the reason.
    pub(crate) async fn closed(&self) -> (u32, String) {
        match within(self.session.closed()).await {
            SessionError::WebTransportError(web_transport_quinn::WebTransportError::Closed(
                code,
                reason,
            )) => (code, reason),
            other => panic!("no close of the session: {other:?}"),
        }
    }
}

/// Allows the origin of one page.
pub(crate) fn one_origin() -> Origins {
    Origins::list(["https://app.example.com"])
}
