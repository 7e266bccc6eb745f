//! Three hundred connections that are reset, or half closed, at once, in every state of a session. And those that come and
//! never say a word.

use std::time::Duration;

use engineio_e2e::puppet::Puppet;
use engineio_tower::ServerBuilder;

use crate::siege::{POLLING, Siege, WEBSOCKET, upgrade_target};

const CROWD: usize = 300;
const BEAT: Duration = Duration::from_millis(250);

pub(crate) fn rules(builder: ServerBuilder) -> ServerBuilder {
    builder.ping_interval(BEAT).ping_timeout(BEAT)
}

async fn reset(siege: &Siege, crowd: Vec<Puppet>) {
    crowd.into_iter().for_each(Puppet::reset);
    siege.all_gone().await;
}

async fn finish(siege: &Siege, mut crowd: Vec<Puppet>) {
    for client in &mut crowd {
        client.finish().await;
    }
    siege.all_gone().await;
}

async fn handshaken(siege: &Siege) -> Vec<Puppet> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(siege.poller().await.2);
    }
    crowd
}

async fn waiting(siege: &Siege) -> Vec<Puppet> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let (_, target, mut client) = siege.poller().await;
        client.send_get(&target).await;
        crowd.push(client);
    }
    crowd
}

async fn posting(siege: &Siege) -> Vec<Puppet> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let (_, target, mut client) = siege.poller().await;
        client.send_post(&target, "content-length: 100\r\n").await;
        client.write("4half").await;
        crowd.push(client);
    }
    crowd
}

async fn websockets(siege: &Siege) -> Vec<Puppet> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(siege.websocket().await.1);
    }
    crowd
}

/// The clients whose 101 may still be in flight.
async fn opening(siege: &Siege) -> Vec<Puppet> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut client = siege.connect().await;
        let handshake = client.handshake(WEBSOCKET);
        client.write(handshake).await;
        crowd.push(client);
    }
    crowd
}

async fn upgrading(siege: &Siege) -> Vec<Puppet> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let (_, target, _) = siege.poller().await;
        let mut socket = siege.connect().await;
        socket.upgrade(&upgrade_target(&target)).await;
        socket.say("2probe").await;
        assert_eq!(socket.hear().await, "3probe");
        crowd.push(socket);
    }
    crowd
}

macro_rules! ends {
    ($($reset:ident $finished:ident: $state:ident;)*) => {$(
        pub(crate) async fn $reset(siege: &mut Siege) {
            let crowd = $state(siege).await;
            reset(siege, crowd).await;
        }

        pub(crate) async fn $finished(siege: &mut Siege) {
            let crowd = $state(siege).await;
            finish(siege, crowd).await;
        }
    )*};
}

ends! {
    handshaken_reset handshaken_half_closed: handshaken;
    waiting_reset waiting_half_closed: waiting;
    posting_reset posting_half_closed: posting;
    websockets_reset websockets_half_closed: websockets;
    opening_reset opening_half_closed: opening;
    upgrading_reset upgrading_half_closed: upgrading;
}

/// A half-closed connection may still be answered, and ends with the answer or with its session.
pub(crate) async fn half_closed_requests(siege: &mut Siege) {
    let mut client = siege.connect().await;
    client.send_get(POLLING).await;
    client.finish().await;
    if let Some(answer) = client.answer().await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    client.ended().await;
    siege.all_gone().await;
}
