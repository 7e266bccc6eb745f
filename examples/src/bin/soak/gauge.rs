//! The memory and the descriptors of the server's process.
//!
//! **The rule.** The load is the same all the time, so what the server holds must be too, once caches, pools and the
//! allocator have grown to it. That is given the first minute, or the first half of a shorter run. The rest is cut into
//! three parts, and the median of the last is held against the median of the first; a median, because a single moment
//! depends on how many large messages are under way. The slack is for that too: a fifth and 16 MiB of memory, a quarter and
//! 16 descriptors. A run of ten minutes makes some ten thousand sessions, so a leak of 2 KiB a session would be seen.
//!
//! When everybody has left, the descriptors must be those of the beginning, but for four.

use std::fs;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::report::Report;
use crate::{LOOK_EVERY, PATIENCE};

/// The time at the beginning of a run that does not count.
const WARM_UP: Duration = Duration::from_secs(60);

const MEMORY_SLACK_KIB: u64 = 16 << 10;
const DESCRIPTOR_SLACK: u64 = 16;

/// The number of descriptors that may be open at the end in addition to those at the beginning.
const LEFT_OPEN: u64 = 4;

/// The fewest samples of a part that say anything.
const FEWEST: usize = 4;

#[derive(Debug)]
pub(crate) struct Gauge {
    pid: Option<u32>,
    began: Instant,
    samples: Vec<Sample>,
    /// After everybody has left.
    last: Option<Sample>,
}

/// One sample of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    at: Duration,
    pub(crate) memory_kib: u64,
    pub(crate) descriptors: u64,
}

impl Gauge {
    /// Takes the first sample.
    pub(crate) fn new(pid: Option<u32>) -> Result<Self, String> {
        let mut gauge = Self {
            pid,
            began: Instant::now(),
            samples: Vec::new(),
            last: None,
        };
        gauge.look()?;
        Ok(gauge)
    }

    /// Takes a sample.
    pub(crate) fn look(&mut self) -> Result<(), String> {
        self.samples.extend(self.sample()?);
        Ok(())
    }

    fn sample(&self) -> Result<Option<Sample>, String> {
        let Some(pid) = self.pid else {
            return Ok(None);
        };
        let gone = |error| format!("cannot look at process {pid}; has it ended? ({error})");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(gone)?;
        Ok(Some(Sample {
            at: self.began.elapsed(),
            memory_kib: resident(&status).ok_or_else(|| format!("process {pid} has ended"))?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))
                .map_err(gone)?
                .count() as u64,
        }))
    }

    /// The newest sample.
    pub(crate) fn now(&self) -> Option<Sample> {
        self.last.or_else(|| self.samples.last().copied())
    }

    /// The first sample, and the largest memory and descriptors of all.
    pub(crate) fn range(&self) -> Option<(Sample, u64, u64)> {
        let first = *self.samples.first()?;
        let memory = self.samples.iter().map(|sample| sample.memory_kib).max()?;
        let descriptors = self.samples.iter().map(|sample| sample.descriptors).max()?;
        Some((first, memory, descriptors))
    }

    /// Waits until the descriptors are those of the beginning.
    pub(crate) async fn wait_until_calm(&mut self, report: &Report) -> Result<(), String> {
        let Some(first) = self.samples.first().copied() else {
            return Ok(());
        };
        let end = Instant::now() + PATIENCE;
        loop {
            self.last = self.sample()?;
            let now = self.last.map_or(0, |sample| sample.descriptors);
            if now <= first.descriptors + LEFT_OPEN {
                return Ok(());
            }
            if Instant::now() >= end {
                let before = first.descriptors;
                report.trouble(format!(
                    "{now} descriptors are open at the end, {before} before"
                ));
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Applies the rule.
    pub(crate) fn judge(&self, report: &Report) {
        let Some((first, last)) = self.parts() else {
            return;
        };
        if last.memory_kib > first.memory_kib * 6 / 5 + MEMORY_SLACK_KIB {
            report.trouble(format!(
                "the memory grew from {} to {} KiB",
                first.memory_kib, last.memory_kib
            ));
        }
        if last.descriptors > first.descriptors * 5 / 4 + DESCRIPTOR_SLACK {
            report.trouble(format!(
                "the descriptors grew from {} to {}",
                first.descriptors, last.descriptors
            ));
        }
    }

    /// The medians of the first and the last third after the warm-up; `None` if there is too little to say.
    pub(crate) fn parts(&self) -> Option<(Sample, Sample)> {
        let whole = self.samples.last()?.at;
        let warm = WARM_UP.min(whole / 2);
        let begin = self.samples.partition_point(|sample| sample.at < warm);
        let judged = &self.samples[begin..];
        let third = judged.len() / 3;
        if third < FEWEST {
            return None;
        }
        let parts = (&judged[..third], &judged[judged.len() - third..]);
        Some((median(parts.0), median(parts.1)))
    }
}

fn median(samples: &[Sample]) -> Sample {
    let middle = |value: fn(&Sample) -> u64| {
        let mut values: Vec<u64> = samples.iter().map(value).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Sample {
        at: samples.last().map_or(Duration::ZERO, |sample| sample.at),
        memory_kib: middle(|sample| sample.memory_kib),
        descriptors: middle(|sample| sample.descriptors),
    }
}

/// The resident memory in KiB, from the text of `/proc/PID/status`; a process that has ended has none.
fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies the rule to samples of memory and descriptors, one a second.
    fn troubles(
        seconds: u64,
        memory_kib: impl Fn(u64) -> u64,
        descriptors: impl Fn(u64) -> u64,
    ) -> usize {
        let sample = |second| Sample {
            at: Duration::from_secs(second),
            memory_kib: memory_kib(second),
            descriptors: descriptors(second),
        };
        let gauge = Gauge {
            pid: None,
            began: Instant::now(),
            samples: (0..seconds).map(sample).collect(),
            last: None,
        };
        let report = Report::default();
        gauge.judge(&report);
        report.troubles()
    }

    #[test]
    fn growth_is_found_and_a_warm_up_is_none() {
        let mib = |mib| mib << 10;
        assert_eq!(troubles(600, |_| mib(100), |_| 100), 0);
        assert_eq!(troubles(600, |second| mib(second.min(60)), |_| 100), 0);
        assert_eq!(troubles(600, |second| mib(30 + second / 8), |_| 100), 1);
        assert_eq!(troubles(600, |_| mib(100), |second| 50 + second / 4), 1);
        // A short peak is not growth.
        assert_eq!(
            troubles(
                600,
                |second| mib(if second == 590 { 900 } else { 30 }),
                |_| 9
            ),
            0
        );
    }

    #[test]
    fn the_memory_of_a_process_is_read() {
        assert_eq!(resident("Name:\techo\nVmRSS:\t   12345 kB\n"), Some(12_345));
        assert_eq!(resident("Name:\techo\nState:\tZ (zombie)\n"), None);
    }
}
