//! The counters shared by the clients of one run.
//!
//! The generator has one thread, so thread-local cells are enough and cost nothing beside a system call.

use std::cell::{Cell, RefCell};
use std::time::Duration;

/// Latencies in buckets that are 1/32 of their value wide: 3 % is far below the noise of any machine.
struct Histogram {
    buckets: [u64; Self::OCTAVES * Self::STEPS],
}

impl Histogram {
    /// Up to 2^40 ns, which is 18 minutes.
    const OCTAVES: usize = 40;
    const STEPS: usize = 32;

    const fn new() -> Self {
        Self {
            buckets: [0; Self::OCTAVES * Self::STEPS],
        }
    }

    fn add(&mut self, value: u64) {
        let value = value.max(Self::STEPS as u64);
        let octave = value.ilog2() as usize;
        let step = (value >> (octave - 5)) as usize & (Self::STEPS - 1);
        let at = (octave.min(Self::OCTAVES - 1)) * Self::STEPS + step;
        self.buckets[at] += 1;
    }

    /// The lower bound of the bucket in which the share `part` of all values is reached.
    fn quantile(&self, part: f64) -> u64 {
        let total: u64 = self.buckets.iter().sum();
        let wanted = (total as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                let (octave, step) = (at / Self::STEPS, at % Self::STEPS);
                return ((Self::STEPS + step) as u64) << octave.saturating_sub(5);
            }
        }
        0
    }
}

thread_local! {
    static MESSAGES: Cell<u64> = const { Cell::new(0) };
    static PINGS: Cell<u64> = const { Cell::new(0) };
    static LONGEST_PAUSE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static MEASURING: Cell<bool> = const { Cell::new(false) };
    static STOPPED: Cell<bool> = const { Cell::new(false) };
    static LATENCY: RefCell<Histogram> = const { RefCell::new(Histogram::new()) };
}

/// Counts what is done: messages, round trips, handshakes or deliveries, whatever the mode measures.
pub(crate) fn count(done: u64) {
    MESSAGES.set(MESSAGES.get() + done);
}

/// Counts a heartbeat that was answered, so long after the one before.
pub(super) fn ping(after: Option<Duration>) {
    PINGS.set(PINGS.get() + 1);
    LONGEST_PAUSE.set(LONGEST_PAUSE.get().max(after.unwrap_or_default()));
}

/// Takes the longest time between two heartbeats of one client, of those that were counted since the last call.
pub(super) fn take_longest_pause() -> Duration {
    LONGEST_PAUSE.take()
}

/// Notes how long something took, if it ended within the measured window.
pub(super) fn took(latency: Duration) {
    if MEASURING.get() {
        LATENCY.with_borrow_mut(|histogram| histogram.add(latency.as_nanos() as u64));
    }
}

pub(crate) fn messages() -> u64 {
    MESSAGES.get()
}

pub(super) fn pings() -> u64 {
    PINGS.get()
}

pub(super) fn measure(on: bool) {
    MEASURING.set(on);
}

/// Whether clients shall finish what is in flight and leave.
pub(crate) fn stopped() -> bool {
    STOPPED.get()
}

pub(super) fn stop() {
    STOPPED.set(true);
}

/// A quantile of the latencies in microseconds.
pub(super) fn quantile_us(part: f64) -> f64 {
    LATENCY.with_borrow(|histogram| histogram.quantile(part)) as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut histogram = Histogram::new();
        for value in 1..=10_000 {
            histogram.add(value * 1_000);
        }
        for (part, expected) in [(0.5, 5_000_000.0), (0.99, 9_900_000.0)] {
            let found = histogram.quantile(part) as f64;
            assert!((found / expected - 1.0).abs() < 0.04, "{part}: {found}");
        }
    }
}
