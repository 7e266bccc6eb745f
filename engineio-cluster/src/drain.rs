//! Lets a node leave the cluster without a burst of reconnections.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use engineio_tower::{Sid, Socket};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::Cluster;
use crate::operations::Caller;
use crate::pace::{Drain, Progress};

/// A client that must be disconnected from this node.
enum Leaving {
    /// Its session is here.
    Own(Socket),
    /// Its WebSocket reaches this node, and another node owns its session.
    Entering(Sid),
}

impl Cluster {
    /// Leaves the cluster for good, as a rolling deployment needs: announces this, refuses new clients, disconnects the
    /// clients of this node one after another, and shuts the server down.
    ///
    /// A client that reconnects must reach another node, so take this one out of the load balancer's rotation while
    /// [`status`](Self::status) says that it drains. WebSockets that reach this node but belong to sessions of other
    /// nodes are closed gracefully by those nodes, and no more are accepted once new clients are refused. Other requests
    /// are served and forwarded until the end; polls that wait for sessions of other nodes are answered then, so that they do
    /// not hold up the host.
    ///
    /// A client that is disconnected gets the messages that are in its queue by then. Those of a broadcast that this node
    /// has received, but has not handed to its clients yet, are not among them.
    ///
    /// Call it before the host's own shutdown, or as its signal, as [`Server::shutdown`](engineio_tower::Server::shutdown).
    /// A second call completes with the first, whose pace is kept.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, the node goes on draining as far as it has come; call it again to complete it.
    pub async fn drain(&self, pace: Drain) {
        let node = Arc::clone(self.node());
        let mut progress = self.drain_progress().lock().await;
        let since = match *progress {
            Progress::Up => {
                node.draining.store(true, Ordering::Relaxed);
                self.announce_drain().await;
                tracing::info!(target: "engineio::cluster", node = %node.id, ?pace, "the node is draining");
                Instant::now()
            }
            Progress::Draining(since) => since,
            Progress::Left => return,
        };
        *progress = Progress::Draining(since);
        sleep(pace.announce.saturating_sub(since.elapsed())).await;
        node.server.refuse_clients();
        let own = node.server.sockets().into_iter().map(Leaving::Own);
        let entering = node.relays.close().into_iter().map(Leaving::Entering);
        let leaving: Vec<_> = own.chain(entering).collect();
        let (begin, count) = (Instant::now(), leaving.len() as u32);
        for (number, client) in (0..).zip(leaving) {
            sleep_until(begin + pace.spread / count * number).await;
            match client {
                Leaving::Own(socket) => socket.close(),
                Leaving::Entering(sid) => self.close_elsewhere(sid),
            }
        }
        // Else the host might stop before the owners have closed what enters here.
        let all_closed = timeout(pace.grace, node.relays.all_gone());
        let _ = tokio::join!(node.server.shutdown(pace.grace), all_closed);
        self.listener_ended().await;
        self.leave().await;
        *progress = Progress::Left;
    }

    /// Asks the owner of a session to disconnect it, without waiting.
    fn close_elsewhere(&self, sid: Sid) {
        let Some(owner) = self.owner_elsewhere(&sid) else {
            return;
        };
        let links = Arc::clone(self.links());
        tokio::spawn(async move {
            let caller = Caller {
                links: &links,
                node: &owner,
            };
            if let Err(error) = caller.disconnect(&sid).await {
                tracing::debug!(target: "engineio::cluster", sid = sid.short(), %error, "a WebSocket whose session another node owns was not closed");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use engineio_tower::Server;

    use super::*;
    use crate::Peers;

    const ANNOUNCE: Duration = Duration::from_secs(5);

    async fn node() -> Cluster {
        let nodes: [(&str, &str); 0] = [];
        Cluster::builder()
            .name("a")
            .listen("127.0.0.1:0")
            .peers(Peers::fixed(nodes).unwrap())
            .start(&Server::builder().build())
            .await
            .unwrap()
    }

    async fn drained(cluster: &Cluster) -> Duration {
        let begun = Instant::now();
        cluster.drain(Drain::new().announce(ANNOUNCE)).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_call_completes_with_the_first() {
        let (cluster, second) = (node().await, Duration::from_secs(1));
        let mut first = std::pin::pin!(drained(&cluster));
        assert!(timeout(second, &mut first).await.is_err());
        let both = tokio::join!(first, drained(&cluster));
        assert_eq!(both, (ANNOUNCE, ANNOUNCE - second));
        assert_eq!(drained(&cluster).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_after_a_dropped_one_completes_it() {
        let (cluster, part) = (node().await, Duration::from_secs(2));
        assert!(timeout(part, drained(&cluster)).await.is_err());
        assert_eq!(drained(&cluster).await, ANNOUNCE - part);
        assert!(cluster.node().server.is_shutting_down());
    }
}
