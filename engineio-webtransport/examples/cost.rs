//! What a session costs the server: beside a bare connection of quinn with the same settings, and beside a WebSocket over
//! TLS.
//!
//! ```text
//! cargo run --release -p engineio-webtransport --example cost                   all figures
//! cargo run --release -p engineio-webtransport --example cost -- idle           or only `echo`, `idle` or `hostile`
//! ```
//!
//! Each server is a process of one thread. Linux only, because the figures are from `/proc`.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use engineio_tower::{EngineIoService, Message, Server, Socket, Transport};
use engineio_webtransport::{Identity, WebTransport};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use web_transport_quinn::proto::ConnectRequest;
use web_transport_quinn::quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use web_transport_quinn::quinn::{
    ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig, TransportConfig,
};

type Failure = Box<dyn Error + Send + Sync>;

/// The times that the servers take turns; the median counts.
const ROUNDS: usize = 9;

/// The idle sessions of a server, and those among them that come before its memory is looked at.
const IDLE: usize = 1_000;
const WARM: usize = 50;

/// The sessions that send and send while a handler waits.
const HOSTILE: usize = 100;

/// An hour, so that no ping disturbs.
const LONG: Duration = Duration::from_secs(3_600);

fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build()?;
    match &arguments[..] {
        [] => runtime.block_on(measure(&["echo", "idle", "hostile"])),
        [figure] => runtime.block_on(measure(&[figure])),
        [kind, certificate, key] => runtime.block_on(serve(kind, certificate, key)),
        _ => Err("usage: cost [echo | idle | hostile]".into()),
    }
}

// ---- the servers ------------------------------------------------------------------

async fn serve(kind: &str, certificate: &str, key: &str) -> Result<(), Failure> {
    let builder = Server::builder()
        .transports([
            Transport::Polling,
            Transport::WebSocket,
            Transport::WebTransport,
        ])
        .ping_interval(LONG);
    let server = match kind {
        "stuck" => builder.on_message(|_: Socket, _: Message| std::future::pending::<()>()),
        "session" => builder.on_message(|socket: Socket, message: Message| {
            let _ = socket.try_send(message);
        }),
        _ => builder.on_message(|socket: Socket, message: Message| async move {
            let _ = socket.send(message).await;
        }),
    };
    let server = server.build();
    match kind {
        "session" | "async handler" | "stuck" => {
            let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes())?;
            let udp = WebTransport::bind("127.0.0.1:0", identity).await?;
            println!("{}", udp.local_addr()?);
            udp.serve(&server).await;
        }
        "websocket" => {
            let acceptor = TlsAcceptor::from(Arc::new(tls(certificate, key)?));
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            println!("{}", listener.local_addr()?);
            let service = EngineIoService::new(server);
            engineio_tower::serve(listener, service)
                .tls(move |stream| acceptor.accept(stream))
                .await?;
        }
        _ => echo(certificate, key).await?,
    }
    Ok(())
}

fn tls(certificate: &str, key: &str) -> Result<rustls::ServerConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth();
    Ok(config.with_single_cert(vec![certificate], key)?)
}

/// Echoes the bytes of streams, with the settings of `WebTransport`.
async fn echo(certificate: &str, key: &str) -> Result<(), Failure> {
    let mut tls = tls(certificate, key)?;
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(3u32.into())
        .max_concurrent_uni_streams(4u32.into())
        .stream_receive_window((256 * 1024u32).into())
        .receive_window((272 * 1024u32).into())
        .send_window(256 * 1024)
        .datagram_receive_buffer_size(Some(2 * 1024))
        .datagram_send_buffer_size(2 * 1024)
        .max_idle_timeout(Some((2 * LONG).try_into()?));
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::server(config, ([127, 0, 0, 1], 0).into())?;
    println!("{}", endpoint.local_addr()?);
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let connection = incoming.await?;
            let (mut send, mut recv) = connection.accept_bi().await?;
            // Without a buffer, which would count as memory of the connection.
            while let Some(chunk) = recv.read_chunk(64 * 1024, true).await? {
                send.write_chunk(chunk.bytes).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    Ok(())
}

/// The process of a server.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(kind: &str, pem: &Pem) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([kind, &pem.certificate, &pem.key])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse()?;
        Ok(Self { child, address })
    }

    /// Returns the time that its thread has run, in nanoseconds.
    fn cpu(&self) -> Result<f64, Failure> {
        let stat = fs::read_to_string(format!("/proc/{}/schedstat", self.child.id()))?;
        Ok(stat.split(' ').next().unwrap_or_default().parse()?)
    }

    /// Returns its memory, in KiB.
    fn memory(&self) -> Result<f64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(kib.ok_or("no VmRSS")?.parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- the client -------------------------------------------------------------------

struct Pem {
    certificate: String,
    key: String,
}

fn client_tls(pem: &Pem) -> Result<rustls::ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.certificate.as_bytes())?)?;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A stream that echoes, and what it lives on.
struct Client {
    send: SendStream,
    recv: RecvStream,
    connection: Connection,
    _http: Option<(SendStream, SendStream, RecvStream)>,
}

impl Client {
    async fn connect(
        endpoint: &Endpoint,
        kind: &str,
        address: SocketAddr,
    ) -> Result<Self, Failure> {
        let connection = endpoint.connect(address, "localhost")?.await?;
        if kind == "quinn" {
            let (send, recv) = connection.open_bi().await?;
            let mut client = Self {
                send,
                recv,
                connection,
                _http: None,
            };
            client.rounds(b"hello", 1, 1).await?;
            return Ok(client);
        }
        let mut control = connection.open_uni().await?;
        control
            .write_all(b"\x00\x04\x09\x08\x01\x33\x01\xab\x60\x37\x42\x01")
            .await?;
        let mut head = Vec::new();
        let url: url::Url = format!("https://{address}/engine.io/").parse()?;
        ConnectRequest::new(url).encode(&mut head)?;
        let (mut request, mut response) = connection.open_bi().await?;
        request.write_all(&head).await?;
        response.read_chunk(1_000, true).await?;
        let (mut send, mut recv) = connection.open_bi().await?;
        send.write_all(b"\x40\x41\x00\x010").await?;
        let mut len = [0];
        recv.read_exact(&mut len).await?;
        // The open packet is longer than 125 bytes only with a longer ping interval.
        let len = match len[0] {
            126 => {
                let mut len = [0; 2];
                recv.read_exact(&mut len).await?;
                u16::from_be_bytes(len).into()
            }
            len => usize::from(len),
        };
        recv.read_exact(&mut vec![0; len]).await?;
        Ok(Self {
            send,
            recv,
            connection,
            _http: Some((control, request, response)),
        })
    }

    /// Sends a message `at_once` times, and reads as many echoes, again and again.
    async fn rounds(
        &mut self,
        message: &[u8],
        at_once: usize,
        rounds: usize,
    ) -> Result<(), Failure> {
        let messages = message.repeat(at_once);
        let mut echoes = vec![0; messages.len()];
        for _ in 0..rounds {
            let write = async { self.send.write_all(&messages).await.map_err(Failure::from) };
            let read = async {
                self.recv
                    .read_exact(&mut echoes)
                    .await
                    .map_err(Failure::from)
            };
            tokio::try_join!(write, read)?;
        }
        Ok(())
    }
}

async fn websocket(
    connector: &TlsConnector,
    address: SocketAddr,
) -> Result<impl Sized + use<>, Failure> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost")?;
    let mut stream = connector.connect(name, stream).await?;
    let request = format!(
        "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut read = Vec::new();
    // To the end of the open packet.
    while read.last() != Some(&b'}') {
        read.push(stream.read_u8().await?);
    }
    Ok(stream)
}

// ---- the figures ------------------------------------------------------------------

async fn measure(figures: &[&str]) -> Result<(), Failure> {
    let names = ["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    let pem = Pem {
        certificate: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
    };
    let mut tls = client_tls(&pem)?;
    let connector = TlsConnector::from(Arc::new(tls.clone()));
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(None).send_window(256 * 1024);
    config.transport_config(Arc::new(transport));
    let mut endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    endpoint.set_default_client_config(config);

    let small = [&b"\x204"[..], &[b'x'; 31]].concat();
    let large = [&b"\xff\0\0\0\0\0\x01\0\0"[..], &[7; 65_536]].concat();
    if figures.contains(&"echo") {
        echoes(&endpoint, &pem, "32 B, 16 at once", &small, 16, 2_000).await?;
        echoes(&endpoint, &pem, "64 KiB, one at once", &large, 1, 300).await?;
    }
    if figures.contains(&"idle") {
        idle(&endpoint, &pem, &connector).await?;
    }
    if figures.contains(&"hostile") {
        hostile(&endpoint, &pem, &large).await?;
    }
    Ok(())
}

/// Prints the memory of a server for each idle session.
async fn idle(endpoint: &Endpoint, pem: &Pem, connector: &TlsConnector) -> Result<(), Failure> {
    println!("\n{IDLE} idle sessions, memory of the server for each:");
    for kind in ["quinn", "session"] {
        let process = Process::start(kind, pem)?;
        let mut clients = Vec::new();
        let mut before = 0.0;
        for n in 0..WARM + IDLE {
            if n == WARM {
                before = process.memory()?;
            }
            clients.push(Client::connect(endpoint, kind, process.address).await?);
        }
        report(kind, process.memory()? - before, IDLE);
    }
    let process = Process::start("websocket", pem)?;
    let mut clients = Vec::new();
    let mut before = 0.0;
    for n in 0..WARM + IDLE {
        if n == WARM {
            before = process.memory()?;
        }
        clients.push(websocket(connector, process.address).await?);
    }
    report("websocket over TLS", process.memory()? - before, IDLE);
    Ok(())
}

/// Prints the memory of a server for each session whose client sends and sends while a handler waits.
async fn hostile(endpoint: &Endpoint, pem: &Pem, large: &[u8]) -> Result<(), Failure> {
    println!(
        "\n{HOSTILE} sessions that send while a handler waits, memory of the server for each:"
    );
    let process = Process::start("stuck", pem)?;
    let mut clients = Vec::new();
    let before = process.memory()?;
    let mut sent = 0;
    for _ in 0..HOSTILE {
        let mut client = Client::connect(endpoint, "session", process.address).await?;
        let flood = async {
            loop {
                client.send.write_all(large).await?;
            }
        };
        // Blocked by then.
        let flood: Result<Result<(), Failure>, _> =
            tokio::time::timeout(Duration::from_millis(300), flood).await;
        if let Ok(ended) = flood {
            ended?;
        }
        sent += client.connection.stats().udp_tx.bytes;
        clients.push(client);
    }
    report("session", process.memory()? - before, HOSTILE);
    println!("  each has sent {} KiB", sent / 1_024 / HOSTILE as u64);
    Ok(())
}

fn report(kind: &str, memory: f64, count: usize) {
    println!("  {kind:<20} {:>8.1} KiB", memory / count as f64);
}

/// Prints the time that the servers take for an echo.
async fn echoes(
    endpoint: &Endpoint,
    pem: &Pem,
    name: &str,
    message: &[u8],
    at_once: usize,
    rounds: usize,
) -> Result<(), Failure> {
    let mut servers = Vec::new();
    for kind in ["quinn", "session", "async handler"] {
        let process = Process::start(kind, pem)?;
        let mut client = Client::connect(endpoint, kind, process.address).await?;
        client.rounds(message, at_once, rounds).await?;
        servers.push((kind, process, client, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (_, process, client, times) in &mut servers {
            let before = process.cpu()?;
            client.rounds(message, at_once, rounds).await?;
            times.push((process.cpu()? - before) / (rounds * at_once) as f64);
        }
    }
    println!(
        "echo of {name}, processor time of the server for each, and the median ratio to quinn:"
    );
    let quinn = servers[0].3.clone();
    for (kind, _, _, times) in &mut servers {
        let ratios = times.iter().zip(&quinn).map(|(time, quinn)| time / quinn);
        let ratio = median(&mut ratios.collect::<Vec<_>>());
        println!("  {kind:<20} {:>8.0} ns  {ratio:.2}", median(times));
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
