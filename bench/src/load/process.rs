//! Figures of the kernel about a process: the scheduler's clock and resident memory.

use std::fs;

use anyhow::{Context, Result};

/// The time for which the threads of a process ran, and the time for which they were ready but did not run, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    pub(crate) ran: u64,
    pub(crate) waited: u64,
}

impl Clock {
    /// The clock of all threads of a process. A thread that ends takes its time with it, which no server here does
    /// while it is measured.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut sum = Self::default();
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).context("the server is gone")?;
        for task in tasks {
            let path = task?.path().join("schedstat");
            let Ok(text) = fs::read_to_string(path) else {
                continue;
            };
            let mut numbers = text.split_ascii_whitespace();
            let mut next = || numbers.next().and_then(|number| number.parse::<u64>().ok());
            sum.ran += next().context("schedstat has no run time")?;
            sum.waited += next().context("schedstat has no wait time")?;
        }
        Ok(sum)
    }

    pub(crate) const fn since(self, start: Self) -> Self {
        Self {
            ran: self.ran.saturating_sub(start.ran),
            waited: self.waited.saturating_sub(start.waited),
        }
    }
}

/// The resident memory of a process in bytes, counted exactly: the `VmRSS` of `status` lags behind by up to 64 pages a
/// thread.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .context("cannot read the server's memory")?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("Rss:"))
        .and_then(|rest| rest.split_ascii_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok())
        .context("smaps_rollup has no Rss")?;
    Ok(kib * 1024)
}

/// The memory of the kernel for all sockets and files of the machine, in bytes: its small objects, and the buffers of TCP.
pub(crate) fn kernel() -> Result<u64> {
    let number = |text: &str, before: &str| {
        let (_, rest) = text.split_once(before)?;
        rest.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    let meminfo = fs::read_to_string("/proc/meminfo").context("cannot read the kernel's memory")?;
    let objects = number(&meminfo, "Slab:").context("meminfo has no Slab")?;
    let sockstat = fs::read_to_string("/proc/net/sockstat").context("no statistics of sockets")?;
    let (_, tcp) = sockstat.split_once("TCP:").context("sockstat has no TCP")?;
    let pages = number(tcp, " mem ").context("sockstat has no memory of TCP")?;
    Ok(objects * 1024 + pages * rustix::param::page_size() as u64)
}
