//! The soak test: a long run of well-behaved and hostile clients that counts every message.
//!
//! `soak --url http://127.0.0.1:3000 [--pid N] [--seconds N] [--clients N] [--saboteurs N] [--eio3] [--life-ms N]
//! [--lingers] [--seed N]`
//!
//! The server is `echo`, on any host. It prints its progress every ten seconds, and a report at the end. It fails if a
//! message was lost, duplicated, reordered or changed, if anything hung, if the server broke a rule of the protocol,
//! or, with `--pid`, if the memory or the descriptors of that process grew. `cargo xtask soak` starts both on every
//! host.

mod book;
mod client;
mod gauge;
mod message;
mod options;
mod raw;
mod report;
mod sabotage;
mod watcher;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use options::Options;
use report::Report;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The time limit for everything, generous even for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The interval between samples of the server's process.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The interval between lines of output.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The state shared by all tasks.
#[derive(Debug)]
struct Run {
    options: Options,
    report: Report,
    end: Instant,
}

impl Run {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }
}

// One thread, so that the server has the rest of the machine.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("soak: {error}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match soak(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn soak(options: Options) -> Result<(), String> {
    let watcher = watcher::Watcher::connect(&options).await?;
    let mut gauge = gauge::Gauge::new(options.pid)?;
    println!(
        "   {} clients and {} saboteurs for {} s, seed {}",
        options.clients,
        options.saboteurs,
        options.time.as_secs(),
        options.seed
    );
    let run = Arc::new(Run {
        end: Instant::now() + options.time,
        report: Report::default(),
        options,
    });
    let mut tasks = JoinSet::new();
    for number in 0..run.options.clients {
        tasks.spawn(client::behave(Arc::clone(&run), number));
    }
    for number in 0..run.options.saboteurs {
        tasks.spawn(sabotage::go_on(Arc::clone(&run), number));
    }
    let mut told = Instant::now();
    while !run.is_over() {
        sleep(LOOK_EVERY).await;
        gauge.look()?;
        if told.elapsed() >= TELL_EVERY || run.is_over() {
            told = Instant::now();
            let text = run.report.line(&gauge, watcher.gone());
            println!("   {text}");
        }
    }
    // Each ends what it is about, which has a limit of its own.
    while let Some(outcome) = tasks.join_next().await {
        outcome.map_err(|error| format!("a task of the load program failed: {error}"))?;
    }
    watcher.wait_until_alone(&run).await;
    gauge.wait_until_calm(&run.report).await?;
    gauge.judge(&run.report);
    println!("{}", run.report.summary(&gauge, &watcher));
    run.report.verdict()
}
