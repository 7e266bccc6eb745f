//! The log lines about connections that do not belong to this cluster.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// The shortest time between two lines, because untrusted clients can connect as often as they like.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts rejected connections, and decides which of them are logged.
#[derive(Debug, Default)]
pub(crate) struct Rejections(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    logged: Option<Instant>,
    unlogged: u64,
}

impl Rejections {
    /// Counts a rejection. Returns the number of those since the last line, this one included, if there is to be a line.
    pub(super) fn count(&self, now: Instant) -> Option<u64> {
        let mut counted = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        counted.unlogged += 1;
        if counted.logged.is_some_and(|logged| now < logged + INTERVAL) {
            return None;
        }
        counted.logged = Some(now);
        Some(std::mem::take(&mut counted.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_rejections_is_one_line_a_second() {
        let rejections = Rejections::default();
        let now = Instant::now();
        assert_eq!(rejections.count(now), Some(1));
        for _ in 0..1_000 {
            assert_eq!(rejections.count(now + INTERVAL / 2), None);
        }
        assert_eq!(rejections.count(now + INTERVAL), Some(1_001));
        assert_eq!(rejections.count(now + INTERVAL * 3), Some(1));
    }
}
