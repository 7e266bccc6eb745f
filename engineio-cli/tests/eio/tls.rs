//! Certificates, which `doctor` checks by a client of its own.

use std::io::Write;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::{echo, eio, listen, serve, stderr, stdout};

/// Serves with a certificate of its own, marked as that of an authority, as `openssl req -x509` makes them. Returns the
/// URL and the certificate.
async fn serve_tls() -> (String, String) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let plain = serve(echo()).await;
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, plain) = (acceptor.clone(), plain.clone());
            tokio::spawn(async move {
                // A client that does not trust the certificate hangs up.
                let Ok(mut client) = acceptor.accept(client).await else {
                    return;
                };
                let address = plain.trim_start_matches("http://");
                let mut server = TcpStream::connect(address).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let url = format!("https://localhost:{}", address.port());
    (url, certificate.pem())
}

#[tokio::test]
async fn a_certificate_is_trusted_where_it_was_given_or_any_is() {
    let (url, pem) = serve_tls().await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    for options in [&["--ca-file", path][..], &["--insecure"]] {
        let output = eio(b"hello\n", &[options, &["-q", &url]].concat()).await;
        assert_eq!(
            (stdout(&output), output.status.code()),
            ("hello\n", Some(0))
        );
        let output = eio(b"", &[&["doctor", "--quick"], options, &[&*url]].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn certificates_that_come_through_a_pipe_are_read_once() {
    let (url, pem) = serve_tls().await;
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    super::mkfifo(&pipe).await;
    let path = pipe.to_str().unwrap();
    for task in [
        &[][..],
        &["doctor", "--quick"],
        &["bench", "--clients", "2", "--seconds", "0.1"],
    ] {
        // Opening it waits for the program.
        let (pipe, pem) = (pipe.clone(), pem.clone());
        let writing = tokio::task::spawn_blocking(move || std::fs::write(pipe, pem));
        let output = eio(b"", &[task, &["--ca-file", path, &url]].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{task:?}: {output:?}");
        writing.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_certificate_of_nobody_is_refused_with_advice() {
    let (url, _) = serve_tls().await;
    let output = eio(b"hello\n", &[&*url]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("certificate"), "{output:?}");
    let output = eio(b"", &["doctor", &url]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    for part in [
        "FAULT handshake",
        "invalid peer certificate",
        "name that with --ca-file",
    ] {
        assert!(stdout(&output).contains(part), "{}", stdout(&output));
    }
}

#[tokio::test]
async fn what_is_missing_on_one_side_is_said() {
    let (secure, _) = serve_tls().await;
    let plain = serve(echo()).await;
    for (url, parts) in [
        (
            secure.clone(),
            &[
                "certificate is that of an authority",
                "give it by `--ca-file`",
            ][..],
        ),
        (
            plain.replace("http://", "https://"),
            &["does not speak TLS", "use http or ws"],
        ),
        (
            secure.replace("https://", "http://"),
            &["something other than HTTP", "use https or wss"],
        ),
    ] {
        for transports in ["polling", "websocket"] {
            let output = eio(b"", &["--transports", transports, &url]).await;
            for part in parts {
                assert!(stderr(&output).contains(part), "{part}: {output:?}");
            }
            assert_eq!(output.status.code(), Some(1), "{output:?}");
        }
    }
}
