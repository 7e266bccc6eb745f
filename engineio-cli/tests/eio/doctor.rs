//! The faults that `doctor` finds, each made by a proxy in memory of the kind that causes it.

use std::io::Write;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use engineio_tower::{Origins, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{echo, eio, listen, serve, stdout};

/// The line of a check.
fn line<'a>(output: &'a Output, check: &str) -> &'a str {
    let mut lines = stdout(output).lines();
    let found = lines.find(|line| line.get(6..).is_some_and(|rest| rest.starts_with(check)));
    found.unwrap_or_else(|| panic!("no {check}: {}", stdout(output)))
}

fn assert_fault(output: &Output, check: &str, text: &str) {
    let line = line(output, check);
    assert!(
        line.starts_with("FAULT") && line.contains(text),
        "{}",
        stdout(output)
    );
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

/// The head of a request.
async fn head(client: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    head
}

/// A proxy that hands each connection, with the head of its request, to `serve`.
async fn proxy<F, Fut>(serve: F) -> String
where
    F: Fn(TcpStream, Vec<u8>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listen().await;
    let serve = Arc::new(serve);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let serve = serve.clone();
            tokio::spawn(async move {
                let head = head(&mut client).await;
                serve(client, head).await;
            });
        }
    });
    format!("http://{address}")
}

/// Connects the rest of a connection to the server.
async fn forward(mut client: TcpStream, head: &[u8], url: &str) {
    let mut server = TcpStream::connect(url.trim_start_matches("http://"))
        .await
        .unwrap();
    server.write_all(head).await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

async fn answer(mut client: TcpStream, answer: &str) {
    let _ = client.write_all(answer.as_bytes()).await;
    let _ = client.shutdown().await;
}

#[tokio::test]
async fn a_server_without_faults_is_good_in_every_respect() {
    let server = echo()
        .ping_interval(Duration::from_millis(300))
        .origins(Origins::list(["https://app.example.com"]));
    let url = serve(server).await;
    let output = eio(
        b"",
        &["doctor", "--origin", "https://app.example.com", &url],
    )
    .await;
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    for check in [
        "handshake",
        "cache",
        "stickiness",
        "payload",
        "buffering",
        "CORS",
        "WebSocket",
        "upgrade",
    ] {
        assert!(
            line(&output, check).starts_with("good"),
            "{}",
            stdout(&output)
        );
    }
    for heartbeat in ["heartbeat     by polling", "heartbeat     by WebSocket"] {
        assert!(
            line(&output, heartbeat).starts_with("good"),
            "{}",
            stdout(&output)
        );
    }
}

#[tokio::test]
async fn only_what_the_options_allow_is_checked() {
    let url = serve(echo()).await;
    for (options, checks) in [
        (&["--no-upgrade"][..], ["handshake", "WebSocket"]),
        (&["--transports", "polling"], ["handshake", "buffering"]),
    ] {
        let output = eio(b"", &[&["doctor", "--quick"], options, &[&*url]].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
        for check in checks {
            assert!(line(&output, check).starts_with("good"));
        }
        assert!(!stdout(&output).contains("upgrade"), "{}", stdout(&output));
    }
    let url = serve(echo().transports([Transport::WebSocket])).await;
    let output = eio(b"", &["doctor", "--transports", "websocket", &url]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(line(&output, "WebSocket").starts_with("good"));
}

#[tokio::test]
async fn a_server_of_revision_3_is_checked_too() {
    let url = serve(echo().allow_eio3(true)).await;
    let output = eio(b"", &["doctor", "--quick", "--eio", "3", &url]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(
        line(&output, "stickiness").starts_with("good"),
        "{}",
        stdout(&output)
    );
}

#[tokio::test]
async fn a_server_of_another_revision_is_one_fault() {
    // As engine.io 3 answers, which does not look at the revision.
    let old = r#"96:0{"sid":"0123456789","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":5000}2:40"#;
    let old = scripted(old, "1:6").await;
    let new = serve(echo()).await;
    for (url, asked, revision) in [(old, "4", "3"), (new, "3", "4")] {
        let output = eio(b"", &["doctor", "--quick", "--eio", asked, &url]).await;
        let shown = stdout(&output);
        assert_eq!(output.status.code(), Some(3), "{shown}");
        assert_eq!(shown.matches("FAULT").count(), 1, "{shown}");
        assert!(shown.contains(&format!("--eio {revision}")), "{shown}");
    }
}

#[tokio::test]
async fn processes_behind_a_balancer_that_is_not_sticky_are_found() {
    let servers = [serve(echo()).await, serve(echo()).await];
    let turn = AtomicUsize::new(0);
    let url = proxy(move |client, head| {
        let server = servers[turn.fetch_add(1, Ordering::Relaxed) % 2].clone();
        async move { forward(client, &head, &server).await }
    });
    let output = eio(b"", &["doctor", "--quick", &url.await]).await;
    assert_fault(&output, "stickiness", "4 of 8 requests");
    // Its consequences are not faults of other kinds.
    for (check, verdict) in [("buffering", "note"), ("WebSocket", "good")] {
        assert!(
            line(&output, check).starts_with(verdict),
            "{}",
            stdout(&output)
        );
    }
}

#[tokio::test]
async fn a_proxy_that_passes_no_upgrade_on_is_found() {
    let server = serve(echo()).await;
    let url = proxy(move |client, head| {
        let server = server.clone();
        let head = String::from_utf8(head).unwrap();
        // What nginx does without `proxy_set_header Upgrade`.
        let hop_by_hop = |line: &&str| !line.to_ascii_lowercase().starts_with("upgrade:");
        let head = head
            .split("\r\n")
            .filter(hop_by_hop)
            .collect::<Vec<_>>()
            .join("\r\n");
        async move { forward(client, head.as_bytes(), &server).await }
    });
    let output = eio(b"", &["doctor", "--quick", &url.await]).await;
    assert_fault(&output, "WebSocket", "400");
    assert!(
        stdout(&output).contains("proxy_http_version 1.1"),
        "{}",
        stdout(&output)
    );
}

#[tokio::test]
async fn a_proxy_that_holds_answers_back_is_found() {
    let server = serve(echo()).await;
    let url = proxy(move |mut client, head| {
        let server = server.clone();
        async move {
            let is_poll = head.starts_with(b"GET") && head.windows(5).any(|part| part == b"&sid=");
            if !is_poll {
                return forward(client, &head, &server).await;
            }
            let mut upstream = TcpStream::connect(server.trim_start_matches("http://"))
                .await
                .unwrap();
            upstream.write_all(&head).await.unwrap();
            let mut held = vec![0; 1024];
            let length = upstream.read(&mut held).await.unwrap();
            // Until the client gives up, but not as long as it would wait.
            let _ = timeout(Duration::from_secs(3), client.read_u8()).await;
            client.write_all(&held[..length]).await.unwrap();
        }
    });
    let output = eio(
        b"",
        &["doctor", "--quick", "--transports", "polling", &url.await],
    )
    .await;
    assert_fault(&output, "buffering", "after its cause");
}

#[tokio::test]
async fn a_proxy_that_gives_up_a_waiting_poll_is_found() {
    let server = serve(echo().ping_interval(Duration::from_secs(2))).await;
    let url = proxy(move |client, head| {
        let server = server.clone();
        async move {
            let _ = timeout(Duration::from_secs(1), forward(client, &head, &server)).await;
        }
    });
    let output = eio(b"", &["doctor", &url.await]).await;
    assert_fault(&output, "heartbeat     a poll that waited", "broke");
    assert_fault(&output, "heartbeat     the WebSocket", "was closed after");
}

/// A server of polling alone, with this open packet, that answers each poll with `polled`.
async fn scripted(open: &'static str, polled: &'static str) -> String {
    proxy(move |client, head| async move {
        let has_sid = head.windows(5).any(|part| part == b"&sid=");
        let body = match (head.starts_with(b"POST"), has_sid) {
            (true, _) => "ok",
            (false, true) => polled,
            (false, false) => open,
        };
        let length = body.len();
        let text = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        answer(client, &text).await;
    })
    .await
}

#[tokio::test]
async fn a_server_with_which_no_session_lasts_is_found() {
    let options = ["doctor", "--transports", "polling"];
    let open = r#"0{"sid":"a","upgrades":[],"pingInterval":0,"pingTimeout":0}"#;
    let url = scripted(open, "2").await;
    let output = eio(b"", &[&options[..], &[&url]].concat()).await;
    assert_fault(&output, "handshake", "are zero");
    let open = r#"0{"sid":"a","upgrades":[],"pingInterval":300,"pingTimeout":200,"maxPayload":0}"#;
    let url = scripted(open, "1").await;
    let output = eio(b"", &[&options[..], &[&url]].concat()).await;
    assert_fault(
        &output,
        "buffering",
        "closes a session as soon as it is polled",
    );
    assert_fault(&output, "heartbeat     the server", "closed the session");
    // A limit of zero is none.
    for text in ["at most 0 bytes", "a POST of 0 bytes"] {
        assert!(!stdout(&output).contains(text), "{}", stdout(&output));
    }
}

#[tokio::test]
async fn a_redirect_is_shown_without_secrets() {
    let url = proxy(|client, _| {
        answer(
            client,
            "HTTP/1.1 302 Found\r\nlocation: https://u:secret@h/x?token=secret\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        )
    });
    let output = eio(b"", &["doctor", "--quick", &url.await]).await;
    assert_fault(&output, "handshake", "302 Found to https://h/x");
    assert!(!stdout(&output).contains("secret"), "{}", stdout(&output));
}

#[tokio::test]
async fn a_page_in_place_of_the_server_is_found() {
    let url = proxy(|client, _| {
        answer(
            client,
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>",
        )
    });
    let output = eio(b"", &["doctor", "--quick", &url.await]).await;
    assert_fault(&output, "handshake", "200 OK: <html>");
}

#[tokio::test]
async fn a_cache_is_found() {
    let body = "0{\"sid\":\"a\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000}";
    let cached = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let url = proxy(move |client, _| {
        let cached = cached.clone();
        async move { answer(client, &cached).await }
    });
    let output = eio(b"", &["doctor", "--quick", &url.await]).await;
    assert_fault(&output, "cache", "the same session");
}

#[tokio::test]
async fn a_limit_of_the_body_is_found() {
    let server = serve(echo()).await;
    let url = proxy(move |client, head| {
        let server = server.clone();
        async move {
            let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let length = text
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split('\r').next());
            match length.and_then(|length| length.parse::<u64>().ok()) {
                Some(1_000..) => {
                    let refusal = "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    let mut client = client;
                    client.write_all(refusal.as_bytes()).await.unwrap();
                    // Read on, so that the refusal is not lost.
                    let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
                }
                _ => forward(client, &head, &server).await,
            }
        }
    });
    let output = eio(b"", &["doctor", "--quick", &url.await]).await;
    assert_fault(&output, "payload", "413");
}

#[tokio::test]
async fn an_origin_that_is_not_allowed_is_found() {
    let url = serve(echo()).await;
    let output = eio(
        b"",
        &[
            "doctor",
            "--quick",
            "--origin",
            "https://other.example",
            &url,
        ],
    )
    .await;
    assert_fault(&output, "CORS", "403");
}

#[tokio::test]
async fn nothing_that_answers_is_one_fault() {
    let output = eio(b"", &["doctor", "http://127.0.0.1:1"]).await;
    assert_fault(&output, "handshake", "");
    assert!(
        stdout(&output).ends_with("1 fault found\n"),
        "{}",
        stdout(&output)
    );
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let url = proxy(|mut client, _| async move {
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        let _ = client.write_all(head.as_bytes()).await;
        while client.write_all(&[b'x'; 64 * 1024]).await.is_ok() {}
    });
    let output = eio(b"", &["doctor", "--quick", &url.await]).await;
    assert_fault(&output, "handshake", "200 OK, and the body is larger than");
    assert!(
        stdout(&output).contains("Something else answers at this path"),
        "{}",
        stdout(&output)
    );
}

#[tokio::test]
async fn interim_responses_without_an_end_take_no_longer_than_the_limit() {
    let url = proxy(|client, _| async move {
        // A thread, so that there is always something to read.
        let mut client = client.into_std().unwrap();
        client.set_nonblocking(false).unwrap();
        std::thread::spawn(move || while client.write_all(b"HTTP/1.1 102 x\r\n\r\n").is_ok() {});
    });
    let options = ["doctor", "--timeout", "1", &url.await];
    let began = Instant::now();
    let output = eio(b"", &options).await;
    // A busy machine takes longer, but without the limit it takes a minute.
    assert!(began.elapsed() < Duration::from_secs(10), "{output:?}");
    assert_fault(&output, "handshake", "no answer came within 1.");
}

#[tokio::test]
async fn what_does_not_speak_http_is_named() {
    let ssh = proxy(|client, _| answer(client, "SSH-2.0-OpenSSH_10.0\r\n")).await;
    let output = eio(b"", &["doctor", &ssh]).await;
    assert_fault(&output, "handshake", "");
    assert!(
        stdout(&output).contains("does not speak HTTP"),
        "{}",
        stdout(&output)
    );
    let plain = serve(echo()).await.replace("http://", "https://");
    let output = eio(b"", &["doctor", &plain]).await;
    assert_fault(&output, "handshake", "");
    assert!(
        stdout(&output).contains("A server without TLS"),
        "{}",
        stdout(&output)
    );
}

#[tokio::test]
async fn a_text_of_the_server_is_shown_without_what_controls_terminals() {
    let url = proxy(|client, _| {
        answer(
            client,
            "HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\na\u{1b}b\u{202e}cd",
        )
    });
    let output = eio(b"", &["doctor", "--quick", &url.await]).await;
    assert_fault(&output, "handshake", "a b\\u{202e}cd");
}

#[tokio::test]
async fn a_page_is_one_fault_and_a_secret_in_the_url_is_not_shown() {
    let url = proxy(|client, _| {
        answer(
            client,
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        )
    });
    let url = url.await.replace("http://", "http://user:secret@");
    let output = eio(b"", &["doctor", "--quick", &format!("{url}?token=secret")]).await;
    assert_fault(&output, "handshake", "404");
    assert!(line(&output, "WebSocket").starts_with("note"));
    assert!(stdout(&output).ends_with("1 fault found\n"));
    assert!(!stdout(&output).contains("secret"), "{}", stdout(&output));
}

#[tokio::test]
async fn a_post_that_is_never_answered_is_waited_for_once() {
    let server = serve(echo()).await;
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&posts);
    let url = proxy(move |mut client, head| {
        let (server, posts) = (server.clone(), Arc::clone(&counted));
        async move {
            if !head.starts_with(b"POST") {
                return forward(client, &head, &server).await;
            }
            posts.fetch_add(1, Ordering::Relaxed);
            // Until the client gives up.
            let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
        }
    });
    let options = [
        "doctor",
        "--quick",
        "--timeout",
        "0.3",
        "--transports",
        "polling",
    ];
    let output = eio(b"", &[&options[..], &[&url.await]].concat()).await;
    assert_fault(&output, "stickiness", "1 of 1 POSTs failed");
}

#[tokio::test]
async fn a_probe_that_is_not_answered_is_not_a_balancer_that_is_not_sticky() {
    let server = serve(echo()).await;
    let url = proxy(move |client, head| {
        let server = server.clone();
        async move {
            let text = String::from_utf8_lossy(&head);
            if !(text.contains("transport=websocket") && text.contains("sid=")) {
                return forward(client, &head, &server).await;
            }
            // Takes the WebSocket of the upgrade, and says nothing on it.
            let mut upstream = TcpStream::connect(server.trim_start_matches("http://"))
                .await
                .unwrap();
            upstream.write_all(&head).await.unwrap();
            let (mut client_in, mut client_out) = client.into_split();
            let (mut server_in, _server_out) = upstream.into_split();
            let answer = async {
                let _ = tokio::io::copy(&mut server_in, &mut client_out).await;
            };
            let silence = async {
                let _ = tokio::io::copy(&mut client_in, &mut tokio::io::sink()).await;
            };
            tokio::select! { () = answer => {}, () = silence => {} }
        }
    });
    let options = ["doctor", "--quick", "--timeout", "1"];
    let output = eio(b"", &[&options[..], &[&url.await]].concat()).await;
    assert_fault(&output, "upgrade", "was not complete");
    assert!(line(&output, "stickiness").starts_with("good"));
    for (part, is_there) in [("`3probe`", true), ("not sticky", false)] {
        assert_eq!(
            stdout(&output).contains(part),
            is_there,
            "{}",
            stdout(&output)
        );
    }
}
