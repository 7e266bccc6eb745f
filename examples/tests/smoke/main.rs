//! Every example of one file is started and does what its first lines promise.

mod socketio;
mod support;

use std::process::Command;

use engineio_client::{Client, DisconnectReason, ErrorKind, Transport};
use serde_json::{Value, json};

use support::{Program, echo, example, soon, text};

#[tokio::test]
async fn chat_tells_those_who_are_in_the_room() {
    let chat = Program::example("chat").await;
    assert!(chat.get("/").await.body.contains("Chat with rooms"));
    let mut clients = Vec::new();
    for (name, room) in [("Ada", "red"), ("Ben", "red"), ("Cleo", "blue")] {
        let client = chat.connect(Transport::WebSocket).await;
        let enter = json!({ "enter": room, "name": name });
        client.send(enter.to_string()).await.unwrap();
        clients.push(client);
        let said = json!({ "entered": name });
        assert_eq!(heard(clients.last_mut().unwrap()).await, said);
    }
    let [ada, ben, cleo] = &mut clients[..] else {
        unreachable!()
    };
    assert_eq!(heard(ada).await, json!({ "entered": "Ben" }));
    ben.send(r#"{"say":"hello"}"#).await.unwrap();
    for client in [&mut *ada, &mut *ben] {
        assert_eq!(
            heard(client).await,
            json!({ "from": "Ben", "say": "hello" })
        );
    }
    // A client that moves to another room hears that room, and no longer the old one.
    let enter = json!({ "enter": "blue", "name": "Ben" });
    ben.send(enter.to_string()).await.unwrap();
    assert_eq!(heard(ada).await, json!({ "left": "Ben" }));
    ada.send(r#"{"say":"alone"}"#).await.unwrap();
    assert_eq!(heard(ada).await, json!({ "from": "Ada", "say": "alone" }));
    cleo.send(r#"{"say":"welcome"}"#).await.unwrap();
    for client in [&mut *ben, &mut *cleo] {
        assert_eq!(heard(client).await, json!({ "entered": "Ben" }));
        let welcome = json!({ "from": "Cleo", "say": "welcome" });
        assert_eq!(heard(client).await, welcome);
    }
    ben.close().await;
    assert_eq!(heard(cleo).await, json!({ "left": "Ben" }));
}

async fn heard(client: &mut Client) -> Value {
    serde_json::from_str(&text(client).await).unwrap()
}

#[tokio::test]
async fn cluster_carries_a_chat_from_node_to_node() {
    let cluster = Program::example("cluster").await;
    assert!(cluster.get("/").await.body.contains("Chat with rooms"));
    let mut clients = Vec::new();
    // Each connection of a client that polls goes to the next node.
    for (name, transport) in [("Ada", Transport::Polling), ("Ben", Transport::WebSocket)] {
        let client = cluster.connect(transport).await;
        let enter = json!({ "enter": "lobby", "name": name });
        client.send(enter.to_string()).await.unwrap();
        clients.push(client);
    }
    for (speaker, from) in [(0, "Ada"), (1, "Ben")] {
        for number in 0..10 {
            let say = json!({ "say": number.to_string() });
            clients[speaker].send(say.to_string()).await.unwrap();
            let said = json!({ "from": from, "say": number.to_string() });
            for client in &mut clients {
                // News of who came may be in between, and nothing else.
                let mut next = heard(client).await;
                while next != said {
                    assert!(next["entered"].is_string(), "{next}");
                    next = heard(client).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn echo_as_a_node_broadcasts_to_all_nodes_and_kicks_a_client_of_another() {
    let free = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let (first, second) = (free(), free());
    let peers = format!("a={first},b={second}");
    let node = async |host: &str, name: &str, listen: &str| {
        let options = ["--host", host, "--node", name, "--node-listen", listen];
        let options = [&options[..], &["--cluster-secret", "s", "--peers", &peers]].concat();
        Program::echo(&options).await
    };
    let nodes = [
        node("actix", "a", &first).await,
        node("warp", "b", &second).await,
    ];
    let mut clients = Vec::new();
    for node in &nodes {
        clients.push(node.connect(Transport::WebSocket).await);
    }
    clients[0].send("bcast:to all").await.unwrap();
    for client in &mut clients {
        assert_eq!(text(client).await, "bcast:to all");
    }
    clients[1].send("whoami").await.unwrap();
    let sid = text(&mut clients[1]).await;
    assert!(sid.ends_with(".b"), "{sid}");
    clients[0].send(format!("kick:{sid}")).await.unwrap();
    assert_eq!(text(&mut clients[0]).await, format!("kicked {sid} true"));
    assert!(soon("the end", clients[1].next()).await.is_none());
}

#[tokio::test]
async fn auth_lets_in_who_has_a_cookie_that_is_signed() {
    let auth = Program::example("auth").await;
    for transport in [Transport::Polling, Transport::WebSocket] {
        let refused = Client::builder(&auth.url).transports([transport]).connect();
        let error = soon("the refusal", refused).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert_eq!(error.status(), Some(401));
    }
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let login = auth.fetch("POST", "/login", form, "name=Ada+L").await;
    assert_eq!(login.status, 303);
    let cookie = login.cookies();
    assert!(cookie.starts_with("user="), "{cookie}");

    let client = Client::builder(&auth.url)
        .header("cookie", &cookie)
        .connect();
    let mut client = soon("a session", client).await.unwrap();
    assert_eq!(text(&mut client).await, "hello, Ada L");
    client.send("hi").await.unwrap();
    assert_eq!(text(&mut client).await, "Ada L said: hi");

    let forged = cookie.replace("Ada", "Eve");
    assert_ne!(forged, cookie);
    let refused = Client::builder(&auth.url)
        .header("cookie", &forged)
        .connect();
    assert_eq!(
        soon("the refusal", refused).await.unwrap_err().kind(),
        ErrorKind::Refused
    );
}

#[tokio::test]
async fn static_site_serves_its_files_and_its_clock() {
    let site = Program::example("static_site").await;
    let page = site.get("/").await;
    assert!(page.head.contains("text/html") && page.body.contains("/static/clock.js"));
    assert!(
        site.get("/static/clock.js")
            .await
            .head
            .contains("javascript")
    );
    assert!(
        site.get("/feed")
            .await
            .head
            .contains("application/atom+xml")
    );
    assert_eq!(site.get("/static/../index.html").await.status, 404);
    assert_eq!(site.get("/nothing").await.status, 404);
    let mut client = site.connect(Transport::WebSocket).await;
    let seconds: u64 = text(&mut client).await.parse().unwrap();
    assert!(seconds > 1_700_000_000);
}

#[tokio::test]
async fn axum_app_shares_its_sessions() {
    let app = Program::example("axum_app").await;
    let first = app.get("/").await;
    assert!(first.body.contains("for visit 1,"), "{}", first.body);
    let cookie = first.cookies();
    let again = app
        .fetch("GET", "/", &format!("cookie: {cookie}\r\n"), "")
        .await;
    assert!(again.body.contains("for visit 2,"), "{}", again.body);
    for transport in [Transport::Polling, Transport::WebSocket] {
        let client = Client::builder(&app.url).header("cookie", &cookie);
        let client = client.transports([transport]).connect();
        let mut client = soon("a session", client).await.unwrap();
        assert_eq!(text(&mut client).await, "visits: 2");
        echo(&mut client, "echo").await;
        app.get("/").await;
        assert_eq!(text(&mut client).await, "somebody came for visit 1");
    }
    assert_eq!(app.ask_for_websocket("/ws").await, "HTTP/1.1 101");
}

#[tokio::test]
async fn actix_app_keeps_its_routes_and_its_websocket() {
    let app = Program::example("actix_app").await;
    keeps_its_routes(&app, "1 connected, 1 messages\n").await;
}

#[tokio::test]
async fn warp_app_keeps_its_routes_and_its_websocket() {
    let app = Program::example("warp_app").await;
    keeps_its_routes(&app, "1 connected\n").await;
}

async fn keeps_its_routes(app: &Program, index: &str) {
    let mut client = app.connect(Transport::Polling).await;
    echo(&mut client, "echo").await;
    assert_eq!(app.get("/").await.body, index);
    assert_eq!(
        app.fetch("POST", "/tell", "", "news").await.body,
        "told 1\n"
    );
    assert_eq!(text(&mut client).await, "news");
    assert_eq!(app.ask_for_websocket("/ws").await, "HTTP/1.1 101");
}

#[tokio::test]
async fn shutdown_says_farewell_to_everybody() {
    let mut server = Program::example("shutdown").await;
    let mut clients = Vec::new();
    for transport in [Transport::Polling, Transport::WebSocket] {
        clients.push(server.connect(transport).await);
        server.line("came").await;
    }
    server.terminate();
    for client in &mut clients {
        assert_eq!(
            text(client).await,
            "the server leaves; come back in a minute"
        );
        assert_eq!(soon("the end", client.next()).await, None);
        assert!(
            is_orderly(client.disconnect_reason()),
            "{:?}",
            client.disconnect_reason()
        );
    }
    let (lines, status) = server.end().await;
    assert!(status.success(), "{status}");
    assert!(lines.contains(&"told 2 clients".to_owned()), "{lines:?}");
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.ends_with("left: shutdown"))
            .count(),
        2
    );
}

/// Told by a close packet, or by a WebSocket that was closed as it should be.
fn is_orderly(reason: Option<DisconnectReason>) -> bool {
    matches!(
        reason,
        Some(DisconnectReason::Server | DisconnectReason::TransportClose)
    )
}

#[tokio::test]
async fn echo_leaves_in_good_order_on_every_host() {
    for host in ["axum", "actix", "warp", "warp-filter", "hyper"] {
        let mut server = Program::echo(&["--host", host]).await;
        let mut clients = Vec::new();
        for transport in [Transport::Polling, Transport::WebSocket] {
            let mut client = server.connect(transport).await;
            echo(&mut client, "before").await;
            clients.push(client);
        }
        server.terminate();
        for client in &mut clients {
            assert_eq!(soon("the end", client.next()).await, None, "{host}");
            let (reason, error) = (client.disconnect_reason(), client.disconnect_error());
            assert!(
                is_orderly(reason) && error.is_none(),
                "{host}: {reason:?}, {error:?}"
            );
        }
        let (_, status) = soon(host, server.end()).await;
        assert!(status.success(), "{host}: {status}");
    }
}

#[tokio::test]
async fn backpressure_sends_whole_files_and_lets_the_slow_go() {
    let mut server = Program::example("backpressure").await;
    for transport in [Transport::Polling, Transport::WebSocket] {
        let mut client = server.connect(transport).await;
        client.send("file").await.unwrap();
        for _ in 0..1024 {
            let piece = soon("a piece", client.next()).await.unwrap();
            assert_eq!((piece.len(), piece.is_binary()), (64 * 1024, true));
        }
        assert_eq!(text(&mut client).await, "end of file");
        client.close().await;
    }
    let mut client = server.connect(Transport::WebSocket).await;
    client.send("position").await.unwrap();
    assert_eq!(text(&mut client).await, "position 0");
    client.close().await;
    server.line("positions: ").await;

    // A client that opens a session, asks, and never fetches anything.
    let opened = server.get("/engine.io/?EIO=4&transport=polling").await;
    let (_, sid) = opened.body.split_once(r#""sid":""#).unwrap();
    let sid = sid.split('"').next().unwrap();
    let path = format!("/engine.io/?EIO=4&transport=polling&sid={sid}");
    assert_eq!(server.fetch("POST", &path, "", "4must").await.body, "ok");
    server.line("is too slow").await;
    server.line("left: server disconnect").await;
}

#[tokio::test]
async fn metrics_are_exported() {
    let server = Program::example("metrics").await;
    assert!(server.get("/").await.body.contains("Engine.IO: metrics"));
    let mut client = server.connect(Transport::WebSocket).await;
    echo(&mut client, "counted").await;
    let exported = server.get("/metrics").await;
    for sample in [
        r#"engineio_sessions{transport="websocket"} 1"#,
        r#"engineio_messages_total{direction="in"} 1"#,
        r#"engineio_message_bytes_total{direction="out"} 7"#,
    ] {
        assert!(
            exported.body.contains(sample),
            "{sample}\n{}",
            exported.body
        );
    }
}

#[tokio::test]
async fn custom_driver_echoes() {
    let mut server = Program::example("custom_driver").await;
    let mut client = server.connect(Transport::Polling).await;
    for number in 0..50 {
        echo(&mut client, format!("message {number}")).await;
    }
    echo(&mut client, vec![0, 1, 2, 255]).await;
    echo(&mut client, "x".repeat(500_000)).await;
    client.close().await;
    server.line("left: client disconnect").await;
    assert_eq!(
        server
            .get("/engine.io/?EIO=4&transport=websocket")
            .await
            .status,
        400
    );
    assert_eq!(server.get("/other").await.status, 404);
}

#[tokio::test]
async fn the_clients_talk_to_the_echo_server() {
    let server = Program::echo(&[]).await;
    let run = async |name| {
        let (lines, status) = Program::run(Command::new(example(name)).arg(&server.url))
            .end()
            .await;
        assert!(status.success(), "{name}: {status}, {lines:?}");
        lines
    };
    assert_eq!(
        run("client_async").await,
        [
            "stream: one",
            "stream: two",
            "stream: three",
            "stream: on websocket",
            r#"handlers: ["json", "is", "explicit"]"#,
            "handlers: left: client disconnect",
        ]
    );
    let lines = run("client_blocking").await;
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert_eq!(
        (&*lines[0], &*lines[4], &*lines[5]),
        ("message 1", "message 5", "on websocket")
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_server_and_a_client_talk_over_a_unix_socket() {
    let name = format!("engineio-smoke-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let (lines, status) = Program::run(Command::new(example("unix_socket")).arg(&path))
        .end()
        .await;
    assert!(status.success(), "{status}, {lines:?}");
    assert_eq!(lines, ["hello", "on websocket"]);
    assert!(!path.exists());
}
