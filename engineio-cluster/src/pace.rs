//! The pace at which a node leaves the cluster, and how far it has come.

use std::time::Duration;

use tokio::time::Instant;

/// The pace at which a node leaves; see [`Cluster::drain`](crate::Cluster::drain).
///
/// ```
/// use std::time::Duration;
/// use engineio_cluster::Drain;
///
/// // A probe that asks every 5 s, and clients that reconnect over half a minute.
/// let pace = Drain::new()
///     .announce(Duration::from_secs(6))
///     .spread(Duration::from_secs(30));
/// # let _ = pace;
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Drain {
    pub(crate) announce: Duration,
    pub(crate) spread: Duration,
    pub(crate) grace: Duration,
}

impl Drain {
    /// Returns the default pace.
    pub const fn new() -> Self {
        Self {
            announce: Duration::from_secs(5),
            spread: Duration::from_secs(10),
            grace: Duration::from_secs(10),
        }
    }

    /// Sets the time for which the node goes on as before while its readiness probe fails, so that load balancers stop
    /// sending clients. Default 5 s.
    pub const fn announce(mut self, announce: Duration) -> Self {
        self.announce = announce;
        self
    }

    /// Sets the time over which the clients are disconnected, evenly spaced. Default 10 s.
    pub const fn spread(mut self, spread: Duration) -> Self {
        self.spread = spread;
        self
    }

    /// Sets the grace of the [shutdown](engineio_tower::Server::shutdown) at the end. Default 10 s.
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

/// How far a node has come with leaving. The call that drains holds the lock.
#[derive(Debug, Default)]
pub(crate) enum Progress {
    #[default]
    Up,
    /// It fails its readiness probe since then.
    Draining(Instant),
    Left,
}
