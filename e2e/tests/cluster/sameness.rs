//! The same request gets the same answer from the owner of its session and from another node, however odd the request is.

use bytes::Bytes;
use engineio_e2e::host::Host;
use engineio_e2e::puppet::Response;

use crate::support::{Node, POLLING, nodes_with, sid, upgrade_target};

/// Requests, in which `TARGET` stands for the target of a poll of the session and `HOST` for the address of the node.
fn requests() -> Vec<String> {
    let large = |kib: usize| "x".repeat(kib * 1024);
    let many: String = (0..80).map(|n| format!("x-{n}: y\r\n")).collect();
    let get = "GET TARGET HTTP/1.1\r\nhost: HOST\r\n";
    let post = "POST TARGET HTTP/1.1\r\nhost: HOST\r\n";
    let ws = "connection: Upgrade\r\nupgrade: websocket\r\n";
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut requests = vec![
        format!("{get}\r\n"),
        format!("{get}cookie: a={}\r\n\r\n", large(7)),
        format!("{get}cookie: a={}\r\n\r\n", large(60)),
        format!("{get}cookie: a={}\r\n\r\n", large(90)),
        format!("{get}{many}\r\n"),
        format!("{get}cookie: a=1\r\ncookie: b=2\r\n\r\n"),
        format!("{get}x: \u{e9}\r\n\r\n"),
        format!("{get}x:\r\n\r\n"),
        format!("{get}te: trailers, deflate\r\nproxy-connection: close\r\nkeep-alive: 5\r\n\r\n"),
        format!("{get}connection: cookie, host, accept-encoding\r\ncookie: a=b\r\n\r\n"),
        format!("{get}connection: close\r\n\r\n"),
        format!(
            "{get}upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\nconnection: upgrade, http2-settings\r\n\r\n"
        ),
        format!("{get}accept-encoding: gzip, br\r\n\r\n"),
        format!("{get}origin: http://HOST\r\n\r\n"),
        format!("{get}origin: https://elsewhere.example\r\n\r\n"),
        format!("{get}content-length: 0\r\n\r\n"),
        format!("{get}content-length: 3\r\n\r\nabc"),
        format!("{get}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        format!("{get}expect: 100-continue\r\n\r\n"),
        "GET TARGET HTTP/1.0\r\n\r\n".to_owned(),
        "GET TARGET HTTP/1.0\r\nconnection: keep-alive\r\n\r\n".to_owned(),
        "GET TARGET HTTP/1.1\r\nhost:\r\n\r\n".to_owned(),
        "GET TARGET HTTP/1.1\r\nhost: two words\r\n\r\n".to_owned(),
        "GET TARGET HTTP/1.1\r\nhost: user:word@HOST\r\n\r\n".to_owned(),
        "GET TARGET HTTP/1.1\r\nhost: [::1]:80\r\n\r\n".to_owned(),
        "GET TARGET HTTP/1.1\r\nhost: a/b?c\r\n\r\n".to_owned(),
        "GET http://HOSTTARGET HTTP/1.1\r\nhost: HOST\r\n\r\n".to_owned(),
        "GET http://elsewhere.exampleTARGET HTTP/1.1\r\nhost: HOST\r\n\r\n".to_owned(),
        "GET TARGET&x=%00%ff&y=\"<>{}|^` HTTP/1.1\r\nhost: HOST\r\n\r\n".replace('`', ""),
        "GET TARGET&x=\u{e9} HTTP/1.1\r\nhost: HOST\r\n\r\n".to_owned(),
        format!("GET TARGET&x={} HTTP/1.1\r\nhost: HOST\r\n\r\n", large(20)),
        "GET TARGET&sid=other HTTP/1.1\r\nhost: HOST\r\n\r\n".to_owned(),
        "GET TARGET&transport=websocket HTTP/1.1\r\nhost: HOST\r\n\r\n".to_owned(),
        "GET TARGET&EIO=3 HTTP/1.1\r\nhost: HOST\r\n\r\n".to_owned(),
        "GET TARGET&j=0 HTTP/1.1\r\nhost: HOST\r\n\r\n".to_owned(),
    ];
    for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY"] {
        requests.push(format!(
            "{method} TARGET HTTP/1.1\r\nhost: HOST\r\ncontent-length: 0\r\n\r\n"
        ));
    }
    for (headers, body) in [
        ("content-length: 2\r\n", "4x"),
        ("content-length: 0\r\n", ""),
        (
            "transfer-encoding: chunked\r\n",
            "2\r\n4x\r\n0\r\nx-trailer: y\r\n\r\n",
        ),
        ("transfer-encoding: chunked\r\n", "0\r\n\r\n"),
        (
            "content-length: 2\r\ncontent-type: application/octet-stream\r\n",
            "4x",
        ),
        (
            "content-length: 2\r\ncontent-type: text/plain; charset=latin1\r\n",
            "4\u{e9}",
        ),
        ("content-length: 2\r\ncontent-encoding: gzip\r\n", "4x"),
        ("content-length: 1\r\n", "7"),
        ("content-length: 3\r\n", "4x\u{1e}"),
        ("connection: content-length\r\ncontent-length: 2\r\n", "4x"),
        ("content-length: 300001\r\n", ""),
        ("origin: http://HOST\r\ncontent-length: 2\r\n", "4x"),
        (
            "origin: https://elsewhere.example\r\ncontent-length: 2\r\n",
            "4x",
        ),
    ] {
        requests.push(format!("{post}{headers}\r\n{body}"));
    }
    for headers in [
        format!("{ws}{key}sec-websocket-version: 13\r\n"),
        format!("{ws}{key}sec-websocket-version: 13\r\nsec-websocket-protocol: one, two\r\n"),
        format!(
            "{ws}{key}sec-websocket-version: 13\r\nsec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n"
        ),
        format!("{ws}{key}sec-websocket-version: 13\r\norigin: https://elsewhere.example\r\n"),
        format!("{ws}{key}sec-websocket-version: 12\r\n"),
        format!("{ws}{key}"),
        format!("{ws}sec-websocket-version: 13\r\nsec-websocket-key: short\r\n"),
        format!(
            "{ws}{key}sec-websocket-version: 13\r\ncookie: a={}\r\n",
            large(60)
        ),
    ] {
        requests.push(format!(
            "GET UPGRADE HTTP/1.1\r\nhost: HOST\r\n{headers}\r\n"
        ));
    }
    requests
}

/// The parts of an answer that a client sees.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// Sends a request for a new session of the owner, which has a message, so that a poll is answered at once. `None` if the
/// host ends the connection without an answer.
async fn ask(owner: &Node, entry: &Node, request: &str) -> Option<Seen> {
    let open = owner.connect().await.get(POLLING).await;
    let target = format!("{POLLING}&sid={}", sid(open.text()));
    let session = sid(open.text()).parse().unwrap();
    let socket = owner.server.socket(&session).unwrap();
    socket.try_send("x".repeat(2_000)).unwrap();
    let mut puppet = entry.connect().await;
    let host = puppet.host().to_string();
    let request = request
        .replace("TARGET", &target)
        .replace("UPGRADE", &upgrade_target(&target))
        .replace("HOST", &host);
    puppet.try_write(&request).await;
    if request.starts_with("HEAD") {
        // Its length is that of a body that does not follow.
        return Some(Seen {
            status: puppet.status().await,
            headers: Vec::new(),
            body: Bytes::new(),
        });
    }
    loop {
        let Response {
            status,
            mut headers,
            body,
        } = puppet.answer().await?;
        if status == 100 {
            continue;
        }
        // actix-web closes a connection whose request it has not read when it answers, and a forwarded one has more time.
        headers
            .retain(|(name, value)| name != "date" && (name != "connection" || value != "close"));
        for (_, value) in &mut headers {
            *value = value.replace(&host, "HOST");
        }
        headers.sort();
        return Some(Seen {
            status,
            headers,
            body,
        });
    }
}

pub(crate) async fn a_request_gets_the_same_answer_at_any_node<H: Host>() {
    let [owner, entry] =
        nodes_with::<H, 2>(|builder| builder.websocket_compression_threshold(100)).await;
    let (mut differ, mut served) = (Vec::new(), 0);
    for request in requests() {
        let local = ask(&owner, &owner, &request).await;
        let forwarded = ask(&owner, &entry, &request).await;
        let status = local.as_ref().map(|answer| answer.status);
        served += usize::from(matches!(status, Some(101 | 200)));
        if local != forwarded {
            let request: String = request.chars().take(300).collect();
            differ.push(format!(
                "{request}\n  local: {local:?}\n  forwarded: {forwarded:?}\n"
            ));
        }
    }
    assert!(differ.is_empty(), "{}", differ.concat());
    assert!(served > 30, "only {served} are valid requests");
}
