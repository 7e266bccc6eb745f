//! `eio`, a command line for Engine.IO servers.

mod arguments;
mod bench;
mod doctor;
mod failure;
mod files;
mod output;
mod signals;
mod talk;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::arguments::{Arguments, Task};
use crate::failure::Failure;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => return show(&answer),
    };
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_ansi(
                anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never,
            )
            .with_writer(std::io::stderr)
            .init();
    }
    end(run(arguments))
}

/// Prints the help, the version or what is wrong with the arguments.
fn show(answer: &clap::Error) -> ExitCode {
    match answer.print() {
        Err(error) if !answer.use_stderr() => end(Err(Failure::output(&error))),
        _ => ExitCode::from(answer.exit_code() as u8),
    }
}

fn end(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else {
        return ExitCode::SUCCESS;
    };
    if let Some(text) = failure.message() {
        output::tell(format_args!("eio: {text}"));
    }
    failure.exit_code()
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.task {
        Some(Task::Bench(bench)) => runtime()?.block_on(bench::run(bench)),
        Some(Task::Doctor(doctor)) => runtime()?.block_on(doctor::run(doctor)),
        Some(Task::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut without_url(), "eio", &mut script);
            output::print(String::from_utf8_lossy(&script).trim_end())
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

/// Returns the command line without the URL that may take the place of a task. zsh completes only the first kind of
/// word that a place allows, and no shell can complete the URL.
fn without_url() -> clap::Command {
    let command = Arguments::command();
    let options = command.get_arguments().filter(|word| !word.is_positional());
    clap::Command::new("eio")
        .version(env!("CARGO_PKG_VERSION"))
        .args(options.cloned())
        .subcommands(command.get_subcommands().cloned())
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::session(format!("cannot start the runtime: {error}")))
}
