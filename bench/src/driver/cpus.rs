//! Server and generator each on a processor of their own.

use std::io;
use std::process::{Child, Command};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processor of the server, as a place in the list of those that we may use.
pub(super) const SERVER: usize = 0;

/// The processor of the generator.
pub(super) const GENERATOR: usize = 1;

/// Starts a program on one processor. It inherits the place from us, so that no thread of it ever ran elsewhere.
pub(super) fn spawn_on(place: usize, command: &mut Command) -> io::Result<Child> {
    let ours = sched_getaffinity(None)?;
    let mut one = CpuSet::new();
    let allowed = (0..CpuSet::MAX_CPU).filter(|cpu| ours.is_set(*cpu));
    // With a single processor both share it, and every run is marked as disturbed.
    let cpu = allowed.take(place + 1).last();
    one.set(cpu.unwrap_or_default());
    sched_setaffinity(None, &one)?;
    let child = command.spawn();
    sched_setaffinity(None, &ours)?;
    child
}

/// Allows as many open files as we may have, and returns how many these are; children inherit it.
pub(super) fn allow_many_files() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, all)?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// The machine in a line: processor, how many, kernel.
pub(super) fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let count = info
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {count} processors, Linux {}", kernel.trim())
}
