//! The counters and their output.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use engineio_client::DisconnectReason;

use crate::book::Faults;
use crate::gauge::Gauge;
use crate::watcher::Watcher;

/// The number of problems printed in full.
const TOLD: usize = 10;

/// Counts that all tasks add to.
#[derive(Debug)]
pub(crate) struct Report {
    began: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    messages: u64,
    bytes: u64,
    faults: Faults,
    open: u64,
    sessions: BTreeMap<String, u64>,
    reasons: BTreeMap<&'static str, u64>,
    sabotage: BTreeMap<&'static str, u64>,
    troubles: usize,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            counts: Mutex::default(),
        }
    }
}

impl Report {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn session_begins(&self, way: &str) {
        let mut counts = self.lock();
        counts.open += 1;
        *counts.sessions.entry(way.to_owned()).or_default() += 1;
    }

    pub(crate) fn session_ends(&self, faults: Faults, reason: Option<DisconnectReason>) {
        let mut counts = self.lock();
        counts.open -= 1;
        counts.faults.lost += faults.lost;
        counts.faults.doubled += faults.doubled;
        counts.faults.reordered += faults.reordered;
        counts.faults.changed += faults.changed;
        let reason = reason.map_or("none", DisconnectReason::as_str);
        *counts.reasons.entry(reason).or_default() += 1;
    }

    /// An echo came.
    pub(crate) fn message(&self, len: usize) {
        let mut counts = self.lock();
        counts.messages += 1;
        counts.bytes += len as u64;
    }

    pub(crate) fn sabotage(&self, name: &'static str) {
        *self.lock().sabotage.entry(name).or_default() += 1;
    }

    /// Records a problem other than a fault of a message.
    pub(crate) fn trouble(&self, what: String) {
        let mut counts = self.lock();
        counts.troubles += 1;
        if counts.troubles <= TOLD {
            println!(
                "   TROUBLE after {} s: {what}",
                self.began.elapsed().as_secs()
            );
        }
    }

    #[cfg(test)]
    pub(crate) fn troubles(&self) -> usize {
        self.lock().troubles
    }

    /// One line, while it runs.
    pub(crate) fn line(&self, gauge: &Gauge, gone: u64) -> String {
        let counts = self.lock();
        let mut line = format!(
            "{:>4} s  {} messages, {}; {} open, {} sessions, {} saboteurs, {gone} gone",
            self.began.elapsed().as_secs(),
            counts.messages,
            told(counts.faults),
            counts.open,
            counts.sessions.values().sum::<u64>(),
            counts.sabotage.values().sum::<u64>(),
        );
        if let Some(now) = gauge.now() {
            let _ = write!(
                line,
                "; {}, {} descriptors",
                mib(now.memory_kib),
                now.descriptors
            );
        }
        line
    }

    /// Everything, at the end.
    pub(crate) fn summary(&self, gauge: &Gauge, watcher: &Watcher) -> String {
        let counts = self.lock();
        let mut text = format!(
            "   messages: {} of {} MiB, {}\n",
            counts.messages,
            counts.bytes >> 20,
            told(counts.faults)
        );
        let list = |text: &mut String, what: &str, items: Vec<(String, u64)>| {
            let sum: u64 = items.iter().map(|(_, count)| count).sum();
            let items: Vec<_> = items
                .iter()
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            let _ = writeln!(text, "   {what}: {sum} ({})", items.join(", "));
        };
        let owned = |map: &BTreeMap<&str, u64>| -> Vec<(String, u64)> {
            map.iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect()
        };
        list(
            &mut text,
            "sessions",
            counts.sessions.clone().into_iter().collect(),
        );
        list(
            &mut text,
            "their ends, as the clients see them",
            owned(&counts.reasons),
        );
        list(
            &mut text,
            "ends of all, as the server sees them",
            watcher.reasons().into_iter().collect(),
        );
        list(&mut text, "sabotage", owned(&counts.sabotage));
        if let (Some((first, memory, descriptors)), Some(now)) = (gauge.range(), gauge.now()) {
            let _ = writeln!(
                text,
                "   memory: {} before, {} at most, {} at the end",
                mib(first.memory_kib),
                mib(memory),
                mib(now.memory_kib)
            );
            let _ = writeln!(
                text,
                "   descriptors: {} before, {descriptors} at most, {} at the end",
                first.descriptors, now.descriptors
            );
        }
        if let Some((first, last)) = gauge.parts() {
            let _ = writeln!(
                text,
                "   after the warm-up, medians of the first and the last third: {} and {}, {} and {} descriptors",
                mib(first.memory_kib),
                mib(last.memory_kib),
                first.descriptors,
                last.descriptors
            );
        }
        let _ = write!(text, "   troubles: {}", counts.troubles);
        text
    }

    /// Whether it was as it must be.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        let counts = self.lock();
        if counts.messages == 0 {
            return Err("not one message came back".to_owned());
        }
        if counts.faults != Faults::default() || counts.troubles > 0 {
            let faults = told(counts.faults);
            return Err(format!("failed: {faults}, {} troubles", counts.troubles));
        }
        Ok(())
    }
}

fn told(faults: Faults) -> String {
    let Faults {
        lost,
        doubled,
        reordered,
        changed,
    } = faults;
    format!("{lost} lost, {doubled} doubled, {reordered} reordered, {changed} changed")
}

fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1_024.0)
}
