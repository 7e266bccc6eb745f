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
use crate::signals::Signals;

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
        Some(Task::Bench(bench)) => in_runtime(bench::run(bench)),
        Some(Task::Doctor(doctor)) => in_runtime(doctor::run(doctor)),
        Some(Task::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut without_url(), "eio", &mut script);
            output::print(String::from_utf8_lossy(&script).trim_end())
        }
        None => in_runtime(talk::run(arguments.talk)),
    }
}

/// Runs a task, and tells why it failed.
fn in_runtime(task: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::session(format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(async {
        match task.await {
            Ok(()) => Ok(()),
            Err(failure) => Err(told(failure).await),
        }
    });
    // A thread may still resolve a name, which nothing can interrupt.
    runtime.shutdown_background();
    result
}

/// Tells why a task failed. Nobody may read it, so a signal ends the wait.
async fn told(failure: Failure) -> Failure {
    let Some(text) = failure.message() else {
        return failure;
    };
    let telling = output::tell_aside(format!("eio: {text}"));
    match Signals::new() {
        Ok(mut signals) => match signals.unless(telling).await {
            Ok(()) => failure.without_message(),
            Err(signal) => Failure::signal(signal),
        },
        Err(_) => {
            telling.await;
            failure.without_message()
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
