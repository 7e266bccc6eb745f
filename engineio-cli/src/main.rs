//! `eio`, a command line for Engine.IO servers.

mod arguments;
mod bench;
mod doctor;
mod failure;
mod talk;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::arguments::{Arguments, Task};
use crate::failure::Failure;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .init();
    }
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(text) = failure.message() {
                anstream::eprintln!("eio: {text}");
            }
            failure.exit_code()
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.task {
        Some(Task::Bench(bench)) => runtime()?.block_on(bench::run(bench)),
        Some(Task::Doctor(doctor)) => runtime()?.block_on(doctor::run(doctor)),
        Some(Task::Completions { shell }) => {
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "eio", &mut std::io::stdout());
            Ok(())
        }
        None => {
            let runtime = runtime()?;
            let result = runtime.block_on(talk::run(arguments.talk));
            // A thread may still wait for a line of input, which nothing can interrupt.
            runtime.shutdown_background();
            result
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::session(format!("cannot start the runtime: {error}")))
}
