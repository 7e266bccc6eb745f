//! Notices that the other end of a connection has vanished: nothing else would notice a network that fails silently.

use std::pin::pin;
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, sleep_until, timeout};

use super::paced::Arrivals;

/// The time between two pings.
///
/// Both ends send them, equally often: where the network fails in one direction only, the end that hears nothing any more
/// has to end the connection, because the pings of that end are a sign of life for the other.
const PING: Duration = Duration::from_secs(1);

/// The time without an answer to a ping, and without anything else, after which the node does not answer any more. That
/// of the announcements of a node.
const PONG: Duration = Duration::from_secs(4);

/// The parts of the time limit. This process may have stood still for any part, which counts once.
const PARTS: u32 = 8;

/// Sends pings. Returns when one has not been answered, and nothing else has arrived, for the time limit.
///
/// The answer to a ping stands behind all that the other end has sent before, which takes its time on a slow network or
/// a busy machine.
pub(crate) async fn keep_alive(pings: Option<PingPong>, arrivals: Arrivals) {
    let Some(mut pings) = pings else {
        return std::future::pending().await;
    };
    loop {
        let next = Instant::now() + PING;
        let mut pong = pin!(pings.ping(Ping::opaque()));
        let (mut silent, mut arrived) = (0, arrivals.count());
        let answered = loop {
            if let Ok(answered) = timeout(PONG / PARTS, &mut pong).await {
                break answered;
            }
            let before = std::mem::replace(&mut arrived, arrivals.count());
            silent = if arrived == before { silent + 1 } else { 0 };
            if silent == PARTS {
                return;
            }
        };
        if answered.is_err() {
            // The connection has ended, which its own future tells.
            return std::future::pending().await;
        }
        sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::link::Paced;

    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const SETTINGS_ACK: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];
    const WINDOW_UPDATE: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];

    #[tokio::test(start_paused = true)]
    async fn a_node_is_alive_while_anything_arrives_even_if_no_ping_is_answered() {
        let (near, far) = tokio::io::duplex(1024 * 1024);
        let (mut sent, mut peer) = tokio::io::split(far);
        // What it is sent is taken and not answered.
        tokio::spawn(async move { while sent.read_u8().await.is_ok() {} });
        peer.write_all(&[SETTINGS, SETTINGS_ACK].concat())
            .await
            .unwrap();
        let paced = Paced::new(near);
        let arrivals = paced.arrivals();
        let (_requests, mut connection) = h2::client::Builder::new()
            .handshake::<_, Bytes>(paced)
            .await
            .unwrap();
        let pings = connection.ping_pong();
        tokio::spawn(connection);
        let mut alive = pin!(keep_alive(pings, arrivals));
        for _ in 0..10 {
            let gone = timeout(Duration::from_millis(3400), &mut alive).await;
            assert!(gone.is_err(), "something has arrived");
            peer.write_all(WINDOW_UPDATE).await.unwrap();
        }
        let silent_since = Instant::now();
        alive.await;
        let silence = silent_since.elapsed();
        assert!(
            silence >= PONG && silence <= PONG + PONG / PARTS,
            "{silence:?}"
        );
    }
}
