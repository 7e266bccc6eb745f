//! Clients that send a byte now and then. The heartbeat is what ends them, so it beats fast here.

use std::time::Duration;

use engineio_e2e::frame;
use engineio_e2e::puppet::{Puppet, Response};
use engineio_tower::DisconnectReason::PingTimeout;
use engineio_tower::ServerBuilder;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::siege::{POLLING, Siege, upgrade_target};

const BEAT: Duration = Duration::from_millis(300);

pub(crate) fn rules(builder: ServerBuilder) -> ServerBuilder {
    builder.ping_interval(BEAT).ping_timeout(BEAT)
}

/// Sends a byte every few milliseconds until the host answers or has had enough, and more than `least` times.
async fn dribble(client: &mut Puppet, least: usize) -> Option<Response> {
    let mut pace = tokio::time::interval(BEAT / 10);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent = 0;
    let answer = loop {
        tokio::select! {
            answer = client.answer() => break answer,
            _ = pace.tick() => {}
        }
        if !client.try_write("x").await {
            break client.answer().await;
        }
        sent += 1;
        // For ever, nearly: as long as the test may take.
        assert!(sent < 500, "the host reads on and on");
    };
    assert!(sent > least, "only {sent} bytes were taken");
    answer
}

/// They end with their sessions. Until then the clients fetch every ping, and cannot answer any: that would be another
/// POST.
pub(crate) async fn fifty_bodies(siege: &mut Siege) {
    let mut clients = JoinSet::new();
    let mut sids = Vec::new();
    for _ in 0..50 {
        let (sid, target, mut poll) = siege.poller().await;
        sids.push(sid);
        let mut post = siege.connect().await;
        clients.spawn(async move {
            post.send_post(&target, "content-length: 1000\r\n").await;
            post.write("4").await;
            let fetch = async { while poll.get(&target).await.status == 200 {} };
            tokio::join!(dribble(&mut post, 5), fetch).0
        });
    }
    for sid in sids {
        assert_eq!(siege.ended(sid).await, PingTimeout);
    }
    while let Some(answer) = clients.join_next().await {
        let answer = answer.unwrap().expect("an answer");
        assert_eq!(answer.status, 400, "{answer:?}");
    }
}

/// A POST that is begun before an upgrade and never ends does not hold the session open: its WebSocket is not read before
/// the POST is there, and the heartbeat ends both.
pub(crate) async fn body_beside_a_websocket(siege: &mut Siege) {
    let (sid, target, mut poll) = siege.poller().await;
    let mut post = siege.connect().await;
    let headers = "content-length: 1000\r\nexpect: 100-continue\r\n";
    post.send_post(&target, headers).await;
    assert_eq!(post.response().await.status, 100);
    poll.send_get(&target).await;
    let mut socket = siege.connect().await;
    socket.upgrade(&upgrade_target(&target)).await;
    socket.say("2probe").await;
    assert_eq!(socket.hear().await, "3probe");
    assert_eq!(poll.response().await.status, 200);
    socket.say("5").await;
    let answer_pings = async {
        let mut pings = 0;
        while socket.frame().await.is_some_and(|_| pings < 100) {
            pings += 1;
            socket.try_write(frame::text("3")).await;
        }
    };
    let (answer, ()) = tokio::join!(dribble(&mut post, 5), answer_pings);
    assert_eq!(answer.expect("an answer").status, 400);
    assert_eq!(siege.ended(sid).await, PingTimeout);
}

/// A message that is announced and dribbled leaves no room for a pong.
pub(crate) async fn frame_of_bytes(siege: &mut Siege) {
    let (sid, mut socket) = siege.websocket().await;
    socket.write([0x81, 0xfe, 0x10, 0x00, 0, 0, 0, 0]).await;
    dribble(&mut socket, 5).await;
    assert_eq!(siege.ended(sid).await, PingTimeout);
}

/// A hundred clients that never finish the head of their requests are in nobody's way.
pub(crate) async fn heads(siege: &mut Siege) {
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = siege.connect().await;
        client
            .write(format!("GET {POLLING} HTTP/1.1\r\nhost: a\r\nx: "))
            .await;
        clients.push(client);
    }
    let mut pace = tokio::time::interval(BEAT / 10);
    for _ in 0..20 {
        pace.tick().await;
        for client in &mut clients {
            client.write("x").await;
        }
    }
    let (sid, mut socket) = siege.websocket().await;
    socket.say("4still served").await;
    assert_eq!(socket.hear().await, "4still served");
    assert_eq!(siege.strangers(), 1, "{sid} and nobody else");
}
