//! Clients that act as somebody else.

use engineio_e2e::frame::Frame;
use engineio_e2e::puppet::Puppet;
use engineio_tower::ServerBuilder;

use crate::siege::{POLLING, Siege, WEBSOCKET, upgrade_target};

pub(crate) fn rules(builder: ServerBuilder) -> ServerBuilder {
    // So that the other revision is one that is spoken.
    builder.allow_eio3(true)
}

/// A poller with a message that waits for it, which nobody else may get.
async fn victim(siege: &Siege) -> (String, Puppet) {
    let (_, target, mut client) = siege.poller().await;
    assert_eq!(client.post(&target, "4mine").await.text(), "ok");
    (target, client)
}

/// It has lost nothing, and goes on.
async fn is_unharmed(siege: &Siege, (target, mut client): (String, Puppet)) {
    assert_eq!(client.get(&target).await.text(), "4mine");
    assert_eq!(client.post(&target, "4still here").await.text(), "ok");
    assert_eq!(client.get(&target).await.text(), "4still here");
    assert_eq!(siege.strangers(), 1);
}

async fn handshake(siege: &Siege, target: &str, headers: &str) -> u16 {
    let mut client = siege.connect().await;
    let handshake = String::from_utf8(client.handshake(target)).unwrap();
    let handshake = handshake.replacen("\r\n", &format!("\r\n{headers}"), 1);
    client.write(handshake).await;
    client.response().await.status
}

/// Ids that are near an id that exists, and ids that are none.
pub(crate) async fn guessed_sids(siege: &mut Siege) {
    let victim = victim(siege).await;
    let sid = victim.0.rsplit_once('=').unwrap().1.to_owned();
    let mut guesses: Vec<String> = [
        "",
        "0",
        "undefined",
        "__proto__",
        "constructor",
        "..",
        "%00",
    ]
    .map(str::to_owned)
    .into();
    guesses.push("A".repeat(10_000));
    guesses.push(format!("{sid}A"));
    guesses.push(sid[1..].to_owned());
    guesses.push(sid.to_ascii_lowercase());
    guesses.push(format!("{sid}%00"));
    guesses.push(format!("{sid}%20"));
    for at in 0..sid.len() {
        for other in ['A', '-'] {
            let mut guess = sid.clone();
            guess.replace_range(at..=at, &other.to_string());
            guesses.push(guess);
        }
    }
    guesses.retain(|guess| *guess != sid);
    for guess in guesses {
        let mut client = siege.connect().await;
        // An empty id is none, and asks for a new session.
        if !guess.is_empty() {
            let get = client.get(&format!("{POLLING}&sid={guess}")).await;
            assert_eq!(get.status, 400, "{guess}: {get:?}");
            assert!(get.text().starts_with("{\"code\":1,"), "{get:?}");
            assert_eq!(
                handshake(siege, &format!("{WEBSOCKET}&sid={guess}"), "").await,
                400
            );
        }
        let post = client
            .post(&format!("{POLLING}&sid={guess}"), "4evil")
            .await;
        assert_eq!(post.status, 400, "{guess}: {post:?}");
    }
    is_unharmed(siege, victim).await;
}

/// A WebSocket beside another one gets its 101, and nothing but a close frame.
async fn is_closed_at_once(siege: &Siege, target: &str) {
    let mut second = siege.connect().await;
    second.upgrade(&upgrade_target(target)).await;
    second.say("5").await;
    second.say("4evil").await;
    assert!(matches!(second.frame().await, Some(Frame::Close(_))));
}

/// An id is good for the transport of its session, and for one upgrade at a time.
pub(crate) async fn two_transports(siege: &mut Siege) {
    let victim = victim(siege).await;
    let target = victim.0.clone();
    let mut client = siege.connect().await;
    // No WebSocket, whatever it is called.
    assert_eq!(client.get(&upgrade_target(&target)).await.status, 400);
    let posted = client.post(&upgrade_target(&target), "4evil").await;
    assert_eq!(posted.status, 400);
    assert_eq!(handshake(siege, &target, "").await, 400);
    // A second WebSocket while the first is under way.
    let mut first = siege.connect().await;
    first.upgrade(&upgrade_target(&target)).await;
    is_closed_at_once(siege, &target).await;
    first.say("2probe").await;
    assert_eq!(first.hear().await, "3probe");
    drop(first);
    is_unharmed(siege, victim).await;

    // And of a session that has a WebSocket, by polling or by another one.
    let (sid, mut socket) = siege.websocket().await;
    let mut client = siege.connect().await;
    let target = format!("{POLLING}&sid={sid}");
    assert_eq!(client.get(&target).await.status, 400);
    assert_eq!(client.post(&target, "4evil").await.status, 400);
    is_closed_at_once(siege, &target).await;
    socket.say("4mine").await;
    assert_eq!(socket.hear().await, "4mine");
}

/// A page elsewhere that has learned the id may neither read nor write.
pub(crate) async fn foreign_origin(siege: &mut Siege) {
    let victim = victim(siege).await;
    let target = &victim.0;
    for origin in ["https://elsewhere.example", "null", "http://127.0.0.1:1"] {
        let headers = format!("origin: {origin}\r\n");
        let mut client = siege.connect().await;
        let get = client.request("GET", target, &headers).await;
        assert_eq!(get.status, 403, "{origin}: {get:?}");
        assert!(!get.text().contains("mine"), "{get:?}");
        let mut client = siege.connect().await;
        let length = format!("{headers}content-length: 5\r\n");
        client.send_post(target, &length).await;
        client.try_write("4evil").await;
        assert_eq!(client.response().await.status, 403);
        assert_eq!(
            handshake(siege, &upgrade_target(target), &headers).await,
            403
        );
    }
    is_unharmed(siege, victim).await;
}

/// A session is of one revision.
pub(crate) async fn other_revision(siege: &mut Siege) {
    let victim = victim(siege).await;
    for revision in ["EIO=3", "EIO=5", "EIO=", "x=4", "EIO=4&EIO=3"] {
        let target = victim.0.replace("EIO=4", revision);
        let mut client = siege.connect().await;
        assert_eq!(client.get(&target).await.status, 400, "{revision}");
        assert_eq!(client.post(&target, "4evil").await.status, 400);
        assert_eq!(handshake(siege, &upgrade_target(&target), "").await, 400);
    }
    is_unharmed(siege, victim).await;
}

/// Methods that are none of the protocol's neither eat messages nor end the session.
pub(crate) async fn other_methods(siege: &mut Siege) {
    let victim = victim(siege).await;
    for method in ["HEAD", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "EVIL"] {
        let mut client = siege.connect().await;
        let headers = "content-length: 0\r\nconnection: close\r\n";
        let host = client.host();
        let head = format!(
            "{method} {} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n",
            victim.0
        );
        client.write(head).await;
        let status = client.status().await;
        assert!((400..500).contains(&status), "{method}: {status}");
    }
    is_unharmed(siege, victim).await;
}
