//! Measures how busy the machine is, so that its delays are not blamed on the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// The interval at which the watch checks its clock.
const LOOK: Duration = Duration::from_millis(10);

/// The number of threads and processes that take part in a round trip, each of which the machine may delay.
const TURNS: u32 = 4;

/// Watches how long the machine keeps a thread waiting that has nothing to do with the server or its runtime.
pub(crate) struct Machine {
    late_micros: Arc<AtomicU64>,
    /// The watch ends with this.
    _end: Sender<()>,
}

impl Machine {
    pub(crate) fn watch() -> Self {
        let (end, ended) = channel();
        let late_micros = Arc::<AtomicU64>::default();
        let late = Arc::clone(&late_micros);
        std::thread::spawn(move || watch(&ended, &late));
        Self {
            late_micros,
            _end: end,
        }
    }

    /// Returns the extra time that a round trip gets because the machine is busy.
    pub(crate) fn allowance(&self) -> Duration {
        TURNS * Duration::from_micros(self.late_micros.load(Ordering::Relaxed))
    }
}

fn watch(ended: &Receiver<()>, late: &AtomicU64) {
    loop {
        let begun = Instant::now();
        if ended.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let over = begun.elapsed().saturating_sub(LOOK);
        late.fetch_max(over.as_micros() as u64, Ordering::Relaxed);
    }
}
