//! The program `client`, by its contract: one line, and an exit status.

use std::io::{Error, ErrorKind};
use std::process::Output;

use engineio_client::{Message, Transport};
use futures_util::{StreamExt, stream};
use tokio::net::TcpListener;

use crate::peers::{MODES, Peer, in_time, peers, program};

/// The number of programs that run at the same time.
const AT_ONCE: usize = 4;

/// Around the borders of the lengths of WebSocket frames, and one of almost a megabyte.
const SIZES: [usize; 7] = [0, 1, 125, 126, 65535, 65536, 900_000];

async fn run(url: &str, transports: &str, more: &[&str]) -> Output {
    let mut client = program("client");
    client
        .args(["--url", url, "--transports", transports])
        .args(more);
    in_time(client.output()).await.unwrap()
}

fn names(transports: &[Transport]) -> String {
    let names: Vec<&str> = transports
        .iter()
        .map(|transport| transport.name())
        .collect();
    names.join(",")
}

/// Runs an exchange that must succeed, and gives a complaint if it does not.
async fn echo(peer: &Peer, mode: &[Transport], count: usize, more: &[&str]) -> Option<String> {
    let count_text = count.to_string();
    let more = [&["--count", &count_text], more].concat();
    let output = run(&peer.url, &names(mode), &more).await;
    let wanted = format!("ok: {count} echoed over {}\n", mode[mode.len() - 1].name());
    let is_right = output.status.code() == Some(0)
        && output.stdout == wanted.as_bytes()
        && output.stderr.is_empty();
    (!is_right).then(|| {
        format!(
            "{} over {} with {more:?}: {output:?}",
            peer.name,
            names(mode)
        )
    })
}

#[tokio::test]
async fn messages_of_all_sizes_come_back() {
    let mut runs = Vec::new();
    for peer in peers() {
        for mode in MODES {
            for size in SIZES {
                for flags in [
                    &[][..],
                    &["--binary"],
                    &["--blocking"],
                    &["--blocking", "--binary"],
                ] {
                    let empty = Message::from(Vec::new());
                    if size == 0 && flags.contains(&"--binary") && !peer.takes(&empty, mode) {
                        continue;
                    }
                    let peer = peer.clone();
                    runs.push(async move {
                        let size_text = size.to_string();
                        let more = [&["--size", &size_text], flags].concat();
                        let count = if size > 1000 { 5 } else { 100 };
                        echo(&peer, mode, count, &more).await
                    });
                }
            }
        }
    }
    let complaints = stream::iter(runs).buffer_unordered(AT_ONCE);
    let complaints: Vec<String> = complaints
        .filter_map(async |complaint| complaint)
        .collect()
        .await;
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[tokio::test]
async fn thousands_of_messages_come_back_in_order() {
    for peer in peers() {
        for mode in MODES {
            // The program gives up after 29 s, in which a foreign server beside other work may not answer as many polls.
            let count = match peer.is_foreign() && mode == MODES[0] {
                true => 2_000,
                false => 10_000,
            };
            for flags in [&["--size", "32"][..], &["--size", "32", "--blocking"]] {
                assert_eq!(echo(&peer, mode, count, flags).await, None);
            }
        }
    }
}

/// The program fails with exactly this line, whichever face of the client it uses.
async fn fails(url: &str, transports: &str, line: &str) {
    let runs = [&["--count", "1"][..], &["--count", "1", "--blocking"]]
        .map(|more| run(url, transports, more));
    for output in futures_util::future::join_all(runs).await {
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, format!("{line}\n"), "{url} over {transports}");
        assert_eq!(output.stdout, b"");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[tokio::test]
async fn nothing_that_listens_is_said_so() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // A port that was free a moment ago; the system does not hand it out again at once.
    drop(listener);
    // The words are those of the system, which has translated them for nobody.
    let refused = match std::net::TcpStream::connect(&url["http://".len()..]) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => error,
        other => panic!("{other:?}"),
    };
    let refused = Error::to_string(&refused);
    let advice = "found no connection; check that the server runs and that the host, the port, the proxy and the \
                  certificates are right";
    let polling = format!("GET {url}/engine.io/ {advice}: {refused}");
    let websocket = format!("the WebSocket handshake of GET {url}/engine.io/ {advice}: {refused}");
    fails(&url, "polling", &polling).await;
    fails(&url, "polling,websocket", &polling).await;
    fails(&url, "websocket", &websocket).await;
}

#[tokio::test]
async fn a_refusal_is_told_with_its_status_and_body() {
    let credentials = "check the credentials and the origin that the client sends";
    for peer in peers() {
        let (over_polling, over_websocket) = match peer.family() {
            "npm" => (
                format!("403 Forbidden and code 4, \"rejected\"; {credentials}"),
                "400 Bad Request and \"rejected\"; see the server's log for the reason".to_owned(),
            ),
            // This server says it in JSON, and closes a WebSocket without a body.
            "python" if peer.accepts_first() => continue,
            "python" if peer.is_asgi() => (
                format!(r#"401 Unauthorized and "\"rejected\""; {credentials}"#),
                format!("403 Forbidden; {credentials}"),
            ),
            _ => {
                let both = format!(r#"401 Unauthorized and "\"rejected\""; {credentials}"#);
                (both.clone(), both)
            }
        };
        let url = format!("{}/?reject=1", peer.url);
        let attempt = format!("GET {}/engine.io/", peer.url);
        let polling = format!("{attempt} was answered with {over_polling}");
        let websocket =
            format!("the WebSocket handshake of {attempt} was answered with {over_websocket}");
        fails(&url, "polling", &polling).await;
        fails(&url, "polling,websocket", &polling).await;
        fails(&url, "websocket", &websocket).await;
    }
}

#[tokio::test]
async fn a_wrong_path_is_told_with_what_to_check() {
    for peer in peers() {
        let body = match peer.family() {
            "npm" => "not found",
            "python" => "Not Found",
            _ => "host: not found",
        };
        let url = format!("{}/nope/", peer.url);
        let line = format!(
            "GET {url} was answered with 404 Not Found and \"{body}\"; check the host and the path of the server"
        );
        fails(&url, "polling", &line).await;
        fails(&url, "polling,websocket", &line).await;
        // The foreign servers have words of their own for a WebSocket that nobody wants.
        if !["npm", "python"].contains(&peer.family()) {
            let line = format!("the WebSocket handshake of {line}");
            fails(&url, "websocket", &line).await;
        }
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    // The system accepts the connections, and nobody reads from them.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let line = format!(
        "no session was opened at {url}/engine.io/: the server did not complete the handshake in time; check that the \
         server runs and can be reached, or raise `request_timeout`"
    );
    tokio::join!(
        fails(&url, "polling", &line),
        fails(&url, "websocket", &line)
    );
}
