//! TLS: trust, the client's own certificate, proxies that are spoken to by TLS.
#![cfg(feature = "rustls")]

mod support;

use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use engineio_client::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use engineio_client::rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use engineio_client::rustls::sign::{CertifiedKey, Signer, SigningKey};
use engineio_client::rustls::{
    self, ClientConfig, RootCertStore, ServerConfig, SignatureAlgorithm, SignatureScheme, version,
};
use engineio_client::{Client, ErrorKind, Message, Transport};
use futures_util::SinkExt;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use support::{Io, OPEN, OPEN_POLLING, Reply, Request, Server, echo, in_time, ok, websocket};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message as WsMessage;

const TRANSPORTS: [Transport; 2] = [Transport::Polling, Transport::WebSocket];

fn either(request: &Request) -> Reply {
    match request.method.as_str() {
        _ if request.is_websocket() => websocket(|mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            echo(socket).await;
        }),
        _ if request.is_handshake() => ok(OPEN),
        "POST" => ok("ok"),
        _ => Reply::Never,
    }
}

/// A private authority, a server of its making, and a client of its making.
struct Authority {
    root: String,
    root_der: CertificateDer<'static>,
    server: (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
    identity: String,
    acceptor: TlsAcceptor,
}

fn authority(asks_for_client: bool) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap(), key)
    };
    let (server, server_key) = issue("localhost");
    let (client, client_key) = issue("client");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = server_config();
    let config = if asks_for_client {
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        config.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        config.with_no_client_auth()
    };
    let key = PrivateKeyDer::try_from(server_key.serialize_der()).unwrap();
    let chain = vec![server.der().clone()];
    let config = config
        .with_single_cert(chain.clone(), key.clone_key())
        .unwrap();
    Authority {
        root: issuer.pem(),
        root_der: issuer.der().clone(),
        server: (chain, key),
        identity: client.pem() + &client_key.serialize_pem(),
        acceptor: TlsAcceptor::from(Arc::new(config)),
    }
}

async fn tls_server(acceptor: TlsAcceptor) -> Server {
    type Accepted = Pin<Box<dyn Future<Output = Option<Box<dyn Io>>> + Send>>;
    Server::start_on(
        |_, request| either(request),
        move |tcp| -> Accepted {
            let acceptor = acceptor.clone();
            Box::pin(async move {
                let tls = acceptor.accept(tcp).await.ok()?;
                Some(Box::new(tls) as Box<dyn Io>)
            })
        },
    )
    .await
}

#[tokio::test]
async fn a_private_root_is_trusted_when_it_is_given() {
    let authority = authority(false);
    let server = tls_server(authority.acceptor.clone()).await;
    let builder = |transport| {
        let url = format!("https://localhost:{}", server.port);
        Client::builder(&url).transports([transport])
    };
    for transport in [Transport::Polling, Transport::WebSocket] {
        let trusting = builder(transport).root_certificate(authority.root.as_bytes());
        let client = in_time(trusting.connect()).await.unwrap();
        client.send("a").await.unwrap();
        in_time(client.close()).await;

        let error = in_time(builder(transport).connect()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
        assert!(error.to_string().contains("`root_certificate`"), "{error}");

        let careless = builder(transport).danger_accept_invalid_certificates(true);
        in_time(careless.connect()).await.unwrap();

        let wrong_name = Client::builder(&format!("https://127.0.0.1:{}", server.port))
            .transports([transport])
            .root_certificate(authority.root.as_bytes());
        let error = in_time(wrong_name.connect()).await.unwrap_err();
        assert!(error.to_string().contains("for another host"), "{error}");

        let any_name = Client::builder(&format!("https://127.0.0.1:{}", server.port))
            .transports([transport])
            .danger_accept_invalid_hostnames(true);
        let error = in_time(any_name.connect()).await.unwrap_err();
        assert!(error.to_string().contains("`root_certificate`"), "{error}");
        let any_name = Client::builder(&format!("https://127.0.0.1:{}", server.port))
            .transports([transport])
            .root_certificate(authority.root.as_bytes())
            .danger_accept_invalid_hostnames(true);
        in_time(any_name.connect()).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_shows_who_it_is() {
    let authority = authority(true);
    let server = tls_server(authority.acceptor.clone()).await;
    let builder = || {
        Client::builder(&format!("wss://localhost:{}", server.port))
            .transports([Transport::WebSocket])
            .built_in_roots(false)
            .root_certificate(authority.root.as_bytes())
    };
    assert!(in_time(builder().connect()).await.is_err());
    let builder = builder().client_identity(authority.identity.as_bytes());
    let mut client = in_time(builder.connect()).await.unwrap();
    client.send("a").await.unwrap();
    assert_eq!(in_time(client.next()).await, Some(Message::from("a")));
}

fn server_config() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider);
    config.with_safe_default_protocol_versions().unwrap()
}

/// A server whose certificate cannot be read, with a key that no provider knows.
#[derive(Debug)]
struct Nonsense(SignatureScheme);

impl ResolvesServerCert for Nonsense {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificate = CertificateDer::from(b"no certificate".to_vec());
        Some(Arc::new(CertifiedKey::new(
            vec![certificate],
            Arc::new(Self(self.0)),
        )))
    }
}

impl SigningKey for Nonsense {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let offered = offered.contains(&self.0);
        offered.then(|| Box::new(Self(self.0)) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for Nonsense {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(b"no signature".to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        self.0
    }
}

#[tokio::test]
async fn any_certificate_at_all_is_accepted_if_that_is_asked_for() {
    for scheme in [
        SignatureScheme::ECDSA_NISTP521_SHA512,
        SignatureScheme::ED448,
    ] {
        for version in [&version::TLS12, &version::TLS13] {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(Nonsense(scheme)));
            // With TLS 1.2, ring's cipher suites know ECDSA and RSA only.
            if *version == version::TLS12 && scheme == SignatureScheme::ED448 {
                continue;
            }
            let server = tls_server(TlsAcceptor::from(Arc::new(config))).await;
            for transport in TRANSPORTS {
                let builder = || {
                    Client::builder(&format!("https://localhost:{}", server.port))
                        .transports([transport])
                };
                let careless = builder().danger_accept_invalid_certificates(true);
                in_time(careless.connect()).await.unwrap();
                in_time(builder().connect()).await.unwrap_err();
            }
        }
    }
}

/// The certificate of a server that is its own authority, as `openssl req -x509` makes it, and the server's half of TLS.
fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> (String, TlsAcceptor) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = server_config().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.der().clone()], key);
    (
        certificate.pem(),
        TlsAcceptor::from(Arc::new(config.unwrap())),
    )
}

#[tokio::test]
async fn a_self_signed_certificate_of_an_authority_is_trusted_for_its_own_server() {
    let (root, acceptor) = self_signed(|_| {});
    let server = tls_server(acceptor).await;
    let (other, _) = self_signed(|_| {});
    for transport in TRANSPORTS {
        let builder = |host: &str, root: &str| {
            Client::builder(&format!("https://{host}:{}", server.port))
                .transports([transport])
                .root_certificate(root.as_bytes())
        };
        in_time(builder("localhost", &root).connect())
            .await
            .unwrap();
        let error = in_time(builder("127.0.0.1", &root).connect())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("for another host"), "{error}");
        in_time(builder("localhost", &other).connect())
            .await
            .unwrap_err();
    }
}

#[tokio::test]
async fn a_self_signed_certificate_that_is_out_of_date_is_refused_with_the_reason() {
    for (years, expected) in [
        ((2001, 2002), "has expired"),
        ((2100, 2101), "not valid yet"),
    ] {
        let (root, acceptor) = self_signed(|params| {
            params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
            params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        });
        let server = tls_server(acceptor).await;
        let builder = Client::builder(&format!("https://localhost:{}", server.port))
            .root_certificate(root.as_bytes());
        let error = in_time(builder.connect()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

fn client_config(authority: &Authority) -> ClientConfig {
    use rustls::pki_types::pem::PemObject;

    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.root.as_bytes()).unwrap();
    roots.add(root).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[tokio::test]
async fn a_configuration_of_the_application_decides_everything() {
    let authority = authority(false);
    let versions = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&versions);
    let mut config = client_config(&authority);
    // What the client cannot speak is not offered.
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let acceptor = authority.acceptor.clone();
    type Accepted = Pin<Box<dyn Future<Output = Option<Box<dyn Io>>> + Send>>;
    let server = Server::start_on(
        |_, request| either(request),
        move |tcp| -> Accepted {
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            Box::pin(async move {
                let tls = acceptor.accept(tcp).await.ok()?;
                let version = tls.get_ref().1.protocol_version().unwrap();
                let alpn = tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
                seen.lock().unwrap().push((version, alpn));
                Some(Box::new(tls) as Box<dyn Io>)
            })
        },
    )
    .await;
    let builder = || Client::builder(&format!("https://localhost:{}", server.port));
    for transport in TRANSPORTS {
        let builder = builder()
            .transports([transport])
            .tls_config(Arc::clone(&config));
        in_time(builder.connect()).await.unwrap();
    }
    let versions = versions.lock().unwrap().clone();
    assert!(versions.len() >= 2);
    for (version, alpn) in &versions {
        assert_eq!((*version, alpn), (rustls::ProtocolVersion::TLSv1_2, &None));
    }
    let both = builder().tls_config(config).built_in_roots(false);
    let error = in_time(both.connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`built_in_roots`"), "{error}");
}

#[tokio::test]
async fn nothing_to_trust_is_an_error_before_anything_is_sent() {
    let builder = Client::builder("https://localhost:1").built_in_roots(false);
    let error = in_time(builder.connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`root_certificate`"), "{error}");
}

/// A proxy behind TLS that asks for a client certificate, and takes connections without one. Tunnels lead to this port.
async fn https_proxy(authority: &Authority, to: u16) -> (u16, Arc<Mutex<Vec<(String, bool)>>>) {
    let requests = Arc::<Mutex<Vec<(String, bool)>>>::default();
    let told = Arc::clone(&requests);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = authority.acceptor.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, told) = (acceptor.clone(), Arc::clone(&told));
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else {
                    return;
                };
                let is_known = tls.get_ref().1.peer_certificates().is_some();
                let mut tls = BufReader::new(tls);
                let mut line = String::new();
                tls.read_line(&mut line).await.unwrap();
                told.lock().unwrap().push((line.clone(), is_known));
                let mut header = String::new();
                while header != "\r\n" {
                    header.clear();
                    tls.read_line(&mut header).await.unwrap();
                }
                if line.starts_with("CONNECT ") {
                    tls.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    tls.flush().await.unwrap();
                    let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                    let _ = copy_bidirectional(&mut tls, &mut server).await;
                } else {
                    tls.write_all(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n")
                        .await
                        .unwrap();
                    tls.flush().await.unwrap();
                }
            });
        }
    });
    (port, requests)
}

#[tokio::test]
async fn a_proxy_may_be_spoken_to_by_tls_and_never_sees_the_clients_certificate() {
    let strict = authority(true);
    let server = tls_server(strict.acceptor.clone()).await;
    // The proxy asks for certificates too, and would note one.
    let lax = asking(&strict);
    let (port, requests) = https_proxy(&lax, server.port).await;
    let builder = |url: &str| {
        Client::builder(url)
            .proxy(&format!("https://user:pw@localhost:{port}"))
            .root_certificate(strict.root.as_bytes())
            .client_identity(strict.identity.as_bytes())
    };
    for transport in TRANSPORTS {
        let builder = builder("https://localhost:444").transports([transport]);
        let client = in_time(builder.connect()).await.unwrap();
        in_time(client.close()).await;
    }
    let error = in_time(builder("http://engine.example").connect())
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(403), "{error}");
    let requests = requests.lock().unwrap();
    assert!(
        requests.iter().all(|(_, is_known)| !is_known),
        "{requests:?}"
    );
    let (last, rest) = requests.split_last().unwrap();
    assert!(
        last.0.starts_with("GET http://engine.example/engine.io/?"),
        "{last:?}"
    );
    assert!(rest.len() >= 2);
    for (line, _) in rest {
        assert_eq!(line, "CONNECT localhost:444 HTTP/1.1\r\n");
    }
}

/// The same server, which takes clients without a certificate as well.
fn asking(authority: &Authority) -> Authority {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.root_der.clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .unwrap();
    let config = server_config()
        .with_client_cert_verifier(verifier)
        .with_single_cert(authority.server.0.clone(), authority.server.1.clone_key())
        .unwrap();
    Authority {
        root: authority.root.clone(),
        root_der: authority.root_der.clone(),
        identity: authority.identity.clone(),
        server: (authority.server.0.clone(), authority.server.1.clone_key()),
        acceptor: TlsAcceptor::from(Arc::new(config)),
    }
}

#[tokio::test]
async fn a_redirect_from_http_to_https_keeps_the_headers() {
    let authority = authority(false);
    let secure = tls_server(authority.acceptor.clone()).await;
    let plain = Server::start(|_, _| {
        Reply::With(308, "location: https://localhost/moved/\r\n", Vec::new())
    })
    .await;
    let ports = (plain.port, secure.port);
    let connector = tower::service_fn(move |uri: http::Uri| {
        // Both have the default port.
        assert_eq!(uri.port(), None);
        let port = match uri.scheme_str() {
            Some("https") => ports.1,
            _ => ports.0,
        };
        TcpStream::connect(("127.0.0.1", port))
    });
    for transport in TRANSPORTS {
        let builder = Client::builder("http://user:pw@localhost/?room=1")
            .header("x-key", "kept")
            .cookie("own", "kept")
            .connector(connector)
            .root_certificate(authority.root.as_bytes())
            .transports([transport]);
        let client = in_time(builder.connect()).await.unwrap();
        client.send("a").await.unwrap();
        in_time(client.close()).await;
        let mut seen = secure.requests.lock().unwrap();
        assert!(!seen.is_empty());
        for request in seen.drain(..) {
            assert!(request.target.starts_with("/moved/?room=1&"), "{request:?}");
            assert_eq!(request.header("x-key"), Some("kept"));
            assert_eq!(request.header("cookie"), Some("own=kept"));
            assert_eq!(request.header("authorization"), Some("Basic dXNlcjpwdw=="));
        }
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_or_port_is_not_shown_the_clients_certificate() {
    let asking = asking(&authority(true));
    let shown = Arc::<Mutex<Vec<(u16, bool)>>>::default();
    let start = |reply: fn(&Request, u16) -> Reply, to: u16| {
        let (acceptor, shown) = (asking.acceptor.clone(), Arc::clone(&shown));
        type Accepted = Pin<Box<dyn Future<Output = Option<Box<dyn Io>>> + Send>>;
        Server::start_on(
            move |_, request| reply(request, to),
            move |tcp| -> Accepted {
                let (acceptor, shown) = (acceptor.clone(), Arc::clone(&shown));
                Box::pin(async move {
                    let port = tcp.local_addr().unwrap().port();
                    let tls = acceptor.accept(tcp).await.ok()?;
                    let is_known = tls.get_ref().1.peer_certificates().is_some();
                    shown.lock().unwrap().push((port, is_known));
                    Some(Box::new(tls) as Box<dyn Io>)
                })
            },
        )
    };
    let stranger = start(|request, _| either(request), 0).await;
    for host in ["localhost", "other.example"] {
        let redirect = |request: &Request, to: u16| {
            let host = request.header("x-to").unwrap();
            let location = format!("location: https://{host}:{to}/\r\n");
            Reply::With(302, location.leak(), Vec::new())
        };
        let home = start(redirect, stranger.port).await;
        for transport in TRANSPORTS {
            let builder = Client::builder(&format!("https://localhost:{}", home.port))
                .header("x-to", host)
                .resolve("other.example", ([127, 0, 0, 1], 0).into())
                .danger_accept_invalid_hostnames(true)
                .root_certificate(asking.root.as_bytes())
                .client_identity(asking.identity.as_bytes())
                .redirects(engineio_client::Redirects::Any)
                .transports([transport]);
            in_time(in_time(builder.connect()).await.unwrap().close()).await;
            let shown: Vec<_> = shown.lock().unwrap().drain(..).collect();
            assert!(shown.len() >= 2, "{shown:?}");
            for (port, is_known) in shown {
                assert_eq!(is_known, port == home.port, "{host}");
            }
        }
    }
}

/// Runs `openssl` in a directory; `None` where there is no such program.
fn openssl(dir: &Path, arguments: &str) -> Option<()> {
    let mut command = std::process::Command::new("openssl");
    match command.current_dir(dir).args(arguments.split(' ')).output() {
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "openssl {arguments}: {error}");
            Some(())
        }
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
            None
        }
    }
}

/// Starts a server of `openssl` that answers every GET with a page, and returns its port.
async fn openssl_server(dir: &Path) -> (tokio::process::Child, u16) {
    let arguments =
        "s_server -accept 127.0.0.1:0 -cert cert.pem -key key.pem -www -cipher DEFAULT@SECLEVEL=0";
    let mut server = tokio::process::Command::new("openssl")
        .current_dir(dir)
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let port = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                let (_, port) = address.rsplit_once(':').unwrap();
                return port.trim().parse().unwrap();
            }
        }
        panic!("openssl accepts no connections");
    };
    let port = in_time(port).await;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (server, port)
}

#[tokio::test]
async fn certificates_of_openssl_that_rustls_cannot_read_are_accepted_on_request_only() {
    let dir = std::env::temp_dir().join(format!("engineio-openssl-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let request = "req -new -nodes -keyout key.pem -out csr.pem -subj /CN=localhost -newkey";
    let sign = "x509 -req -in csr.pem -signkey key.pem -out cert.pem -days 2";
    let version_1 = |key: &str| vec![format!("{request} {key}"), sign.to_owned()];
    let extension =
        "-addext subjectAltName=DNS:localhost -addext 1.2.3.4=critical,ASN1:UTF8String:x";
    for (what, commands) in [
        ("version 1", version_1("rsa:2048")),
        ("version 1 and a short key", version_1("rsa:1024")),
        (
            "an unknown critical extension",
            vec![format!(
                "req -x509 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost -newkey rsa:2048 {extension}"
            )],
        ),
    ] {
        if commands
            .iter()
            .any(|command| openssl(&dir, command).is_none())
        {
            eprintln!("not tried: there is no `openssl`");
            break;
        }
        let (_server, port) = openssl_server(&dir).await;
        for transport in TRANSPORTS {
            let builder =
                || Client::builder(&format!("https://localhost:{port}")).transports([transport]);
            let careless = builder().danger_accept_invalid_certificates(true);
            let error = in_time(careless.connect()).await.unwrap_err();
            // TLS worked, and what answers is no Engine.IO server.
            let kinds = [ErrorKind::Protocol, ErrorKind::Refused];
            assert!(kinds.contains(&error.kind()), "{what}: {error:?}");
            let error = in_time(builder().connect()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Connect, "{what}: {error:?}");
            assert!(
                error.to_string().contains("the certificate"),
                "{what}: {error}"
            );
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn options_for_tls_that_cannot_be_used_are_reported_for_an_http_url_too() {
    // A redirect may lead to `https`.
    let builder = || Client::builder("http://127.0.0.1:1");
    for builder in [
        builder().root_certificate(b"no certificate"),
        builder().client_identity(b"no certificate"),
    ] {
        let error = in_time(builder.connect()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

#[cfg(feature = "rustls-platform-verifier")]
#[tokio::test]
async fn the_trust_store_of_the_system_is_used_if_that_is_asked_for() {
    const CHILD: &str = "ENGINEIO_TEST_TARGET";
    if let Ok(url) = std::env::var(CHILD) {
        for transport in TRANSPORTS {
            let builder = || Client::builder(&url).transports([transport]);
            in_time(builder().platform_verifier(true).connect())
                .await
                .unwrap();
            in_time(builder().connect()).await.unwrap_err();
        }
        return;
    }
    let authority = authority(false);
    let server = tls_server(authority.acceptor.clone()).await;
    let dir = std::env::temp_dir().join(format!("engineio-trust-{}", std::process::id()));
    std::fs::write(&dir, &authority.root).unwrap();
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "the_trust_store_of_the_system_is_used_if_that_is_asked_for",
            "--exact",
        ])
        .env(CHILD, format!("https://localhost:{}", server.port))
        .env("SSL_CERT_FILE", &dir)
        .env_remove("SSL_CERT_DIR")
        .status();
    let status = in_time(child).await.unwrap();
    std::fs::remove_file(&dir).unwrap();
    assert!(status.success());
}
