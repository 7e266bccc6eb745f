//! Log lines about what repeats, most of it as often as others like.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// Counts events of one kind, and decides which of them are logged: at most one in each interval.
#[derive(Debug)]
pub(crate) struct Repeats {
    interval: Duration,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    logged: Option<Instant>,
    unlogged: u64,
}

impl Default for Repeats {
    fn default() -> Self {
        Self::every(Duration::from_secs(1))
    }
}

impl Repeats {
    pub(crate) fn every(interval: Duration) -> Self {
        Self {
            interval,
            counted: Mutex::default(),
        }
    }

    /// Counts events. Returns the number of those since the last line, these included, if there is to be a line.
    pub(crate) fn count(&self, now: Instant, events: u64) -> Option<u64> {
        let mut counted = self
            .counted
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        counted.unlogged = counted.unlogged.saturating_add(events);
        let next = counted.logged.map(|logged| logged + self.interval);
        if next.is_some_and(|next| now < next) {
            return None;
        }
        counted.logged = Some(now);
        Some(std::mem::take(&mut counted.unlogged))
    }
}

/// The lines that tests find in the log.
#[cfg(test)]
pub(crate) mod lines {
    use std::fmt::Write;
    use std::sync::{Arc, Mutex};

    use tracing::subscriber::DefaultGuard;
    use tracing::{Level, Metadata, field, span};

    /// The warnings and errors that this thread has logged since.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

    impl Lines {
        pub(crate) fn collect() -> (Self, DefaultGuard) {
            let lines = Self::default();
            let guard = tracing::subscriber::set_default(lines.clone());
            (lines, guard)
        }

        pub(crate) fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    struct Line(String);

    impl field::Visit for Line {
        fn record_debug(&mut self, field: &field::Field, value: &dyn std::fmt::Debug) {
            write!(self.0, "{field}={value:?} ").unwrap();
        }
    }

    impl tracing::Subscriber for Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target().starts_with("engineio") && *metadata.level() <= Level::WARN
        }

        fn event(&self, event: &tracing::Event<'_>) {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
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
