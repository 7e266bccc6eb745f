//! HTTPS without a proxy: TLS by rustls, with a certificate that is created at start-up, and WebSockets over HTTP/2.
//!
//! ```text
//! cargo run --release -p engineio-examples --bin tls
//! ```
//!
//! Then open <https://127.0.0.1:5443/> and accept the certificate, which is self-signed. The page shows the version of
//! HTTP that its WebSocket uses: browsers choose HTTP/2 if the server offers it.

use std::sync::Arc;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use engineio_axum::{ConnectRequest, EngineIoLayer, Message, Server, Socket};
use rcgen::CertifiedKey;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

const PAGE: &str = r#"<!doctype html>
<title>Engine.IO over TLS</title>
<pre id="log">connecting…</pre>
<script>
  const log = document.getElementById("log");
  const socket = new WebSocket(`wss://${location.host}/engine.io/?EIO=4&transport=websocket`);
  socket.onmessage = ({ data }) => {
    if (data === "2") socket.send("3");
    if (data.startsWith("4")) log.textContent = data.slice(1);
  };
  socket.onclose = () => (log.textContent = "closed");
</script>
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder()
        .on_connect(|socket: Socket, request: ConnectRequest| async move {
            let version = request.head().version;
            let method = request.method();
            socket
                .send(format!("came by {method} of {version:?}"))
                .await?;
            Ok(())
        })
        .on_message(|socket: Socket, message: Message| async move {
            let _ = socket.send(message).await;
        })
        .build();
    let app = Router::new()
        .route("/", get(async || Html(PAGE)))
        .layer(EngineIoLayer::new(server.clone()));

    let mut arguments = std::env::args().skip(1);
    let address = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => "127.0.0.1:5443".to_owned(),
        (Some("--listen"), Some(address)) => address,
        _ => return Err("usage: tls [--listen ADDR:PORT]".into()),
    };
    let acceptor = TlsAcceptor::from(Arc::new(tls()?));
    let listener = TcpListener::bind(&address).await?;
    println!("listening on https://{}", listener.local_addr()?);
    engineio_axum::serve(listener, app)
        .tls(move |stream| acceptor.accept(stream))
        .with_graceful_shutdown(async move {
            let _ = stopped().await;
            server.shutdown(std::time::Duration::from_secs(2)).await;
        })
        .await?;
    Ok(())
}

/// Waits for SIGINT or SIGTERM.
async fn stopped() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}

/// A certificate that nobody has signed, and HTTP/2 first.
fn tls() -> Result<ServerConfig, Box<dyn std::error::Error>> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
