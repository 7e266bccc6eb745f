//! Notices that the other end of a connection has vanished: nothing else would notice a network that fails silently.

use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, sleep_until, timeout};

/// Sends a ping in each interval. Returns when one has not been answered within the limit.
pub(crate) async fn keep_alive(pings: Option<PingPong>, interval: Duration, limit: Duration) {
    let Some(mut pings) = pings else {
        return std::future::pending().await;
    };
    loop {
        let next = Instant::now() + interval;
        match timeout(limit, pings.ping(Ping::opaque())).await {
            Err(_) => return,
            // The connection has ended, which its own future tells.
            Ok(Err(_)) => return std::future::pending().await,
            Ok(Ok(_)) => sleep_until(next).await,
        }
    }
}
