//! Log lines about what repeats, most of it as often as a peer likes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts events of one kind, and decides which of them are logged: at most one in each interval.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use engineio_core::driver::Repeats;
///
/// let (refusals, now) = (Repeats::default(), Instant::now());
/// assert_eq!(refusals.count(now, 1), Some(1));
/// assert_eq!(refusals.count(now, 1), None);
/// assert_eq!(refusals.count(now + Duration::from_secs(1), 1), Some(2));
/// ```
#[derive(Debug)]
pub struct Repeats {
    interval: Duration,
    counted: Mutex<Counted>,
}

#[derive(Debug)]
struct Counted {
    logged: Option<Instant>,
    unlogged: u64,
}

/// At most one line a second.
impl Default for Repeats {
    fn default() -> Self {
        Self::every(Duration::from_secs(1))
    }
}

impl Repeats {
    /// Allows at most one line in each interval.
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        let counted = Counted {
            logged: None,
            unlogged: 0,
        };
        Self {
            interval,
            counted: Mutex::new(counted),
        }
    }

    /// Counts events. Returns the number of those since the last line, these included, if there is to be a line.
    pub fn count(&self, now: impl Into<Instant>, events: u64) -> Option<u64> {
        let now = now.into();
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.unlogged = counted.unlogged.saturating_add(events);
        let since = counted.logged.map(|logged| now.duration_since(logged));
        if since.is_some_and(|since| since < self.interval) {
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
    fn a_flood_is_one_line_a_second() {
        let repeats = Repeats::default();
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(repeats.count(now, 1), Some(1));
        for _ in 0..1_000 {
            assert_eq!(repeats.count(now + second / 2, 2), None);
        }
        assert_eq!(repeats.count(now + second, 1), Some(2_001));
        assert_eq!(repeats.count(now + second * 3, 1), Some(1));
    }
}
