//! Runs the attacks: as the harness of the standard library, with the same arguments, but more at a time than there are
//! processors, because most of them mostly wait. `cargo test` has no setting for this that would be of one target only.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The attacks that run at a time for each processor.
const FOR_EACH_PROCESSOR: usize = 2;

/// One attack on one host.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(),
    /// It runs only if a filter of the command line has its name.
    pub(crate) must_be_named: bool,
}

/// The arguments that this harness knows, of those of the standard library.
#[derive(Default)]
struct Arguments {
    filters: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    list: bool,
    threads: Option<usize>,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut parsed = Self::default();
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") => {
                    (name.to_owned(), Some(value.to_owned()))
                }
                _ => (argument, None),
            };
            let mut value = || value.clone().or_else(|| arguments.next());
            match name.as_str() {
                "--skip" => parsed.skipped.extend(value()),
                "--test-threads" => parsed.threads = value().and_then(|count| count.parse().ok()),
                "--exact" => parsed.exact = true,
                "--list" => parsed.list = true,
                // They are about the output.
                "--format" | "--color" | "--logfile" => drop(value()),
                _ if name.starts_with('-') => {}
                _ => parsed.filters.push(name),
            }
        }
        parsed
    }

    fn has(&self, patterns: &[String], name: &str) -> bool {
        let is_meant = |pattern: &String| match self.exact {
            true => pattern == name,
            false => name.contains(pattern),
        };
        patterns.iter().any(is_meant)
    }

    fn selects(&self, case: &Case) -> bool {
        let is_named = self.has(&self.filters, case.name);
        let is_wanted = is_named || self.filters.is_empty() && !case.must_be_named;
        is_wanted && !self.has(&self.skipped, case.name)
    }

    fn threads(&self) -> usize {
        let given = std::env::var("RUST_TEST_THREADS").ok();
        let given = || given.and_then(|count| count.parse().ok());
        let processors = || thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.or_else(given);
        threads.unwrap_or_else(|| FOR_EACH_PROCESSOR * processors())
    }
}

/// Runs the cases that the command line selects.
pub(crate) fn run(mut cases: Vec<Case>) -> ExitCode {
    let arguments = Arguments::parse(std::env::args().skip(1));
    let all = cases.len();
    cases.retain(|case| arguments.selects(case));
    if arguments.list {
        for case in &cases {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    let (count, left_out) = (cases.len(), all - cases.len());
    println!("\nrunning {count} tests");
    let began = Instant::now();
    let queue = Mutex::new(VecDeque::from(cases));
    let next = || lock(&queue).pop_front();
    let failed = Mutex::new(Vec::new());
    let passed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..arguments.threads() {
            scope.spawn(|| {
                while let Some(case) = next() {
                    let (has_passed, took) = run_one(&case);
                    let outcome = if has_passed { "ok" } else { "FAILED" };
                    println!(
                        "test {} ... {outcome} <{:.2}s>",
                        case.name,
                        took.as_secs_f64()
                    );
                    match has_passed {
                        true => drop(passed.fetch_add(1, Ordering::Relaxed)),
                        false => lock(&failed).push(case.name),
                    }
                }
            });
        }
    });
    let (passed, failed) = (passed.into_inner(), lock(&failed));
    if !failed.is_empty() {
        println!("\nfailures:");
        for name in &*failed {
            println!("    {name}");
        }
    }
    println!(
        "\ntest result: {}. {passed} passed; {} failed; 0 ignored; 0 measured; {left_out} filtered out; finished in {:.2}s\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        failed.len(),
        began.elapsed().as_secs_f64()
    );
    match failed.is_empty() {
        true => ExitCode::SUCCESS,
        // As the harness of the standard library.
        false => ExitCode::from(101),
    }
}

/// Runs a case on a thread with its name, which a panic tells. Returns whether it has passed, and how long it took.
fn run_one(case: &Case) -> (bool, Duration) {
    let began = Instant::now();
    let thread = thread::Builder::new().name(case.name.to_owned());
    let ended = thread.spawn(case.run).map(thread::JoinHandle::join);
    (matches!(ended, Ok(Ok(()))), began.elapsed())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the future of an attack.
pub(crate) fn block_on(attack: impl Future<Output = ()>) {
    run_on_a_runtime(pin!(attack));
}

/// Takes any future, because tokio would be compiled once for each of the hundreds otherwise.
fn run_on_a_runtime(attack: Pin<&mut dyn Future<Output = ()>>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(attack);
}
