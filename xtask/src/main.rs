//! The tasks of this workspace, run as `cargo xtask TASK`.
//!
//! Tasks are a program instead of scripts, so that they work the same wherever the workspace builds, and CI only has to
//! call them.

mod arguments;
mod cluster;
mod compiler;
mod fences;
mod fuzz;
mod gate;
mod interop;
mod lanes;
mod process;
mod programs;
mod proxy;
mod races;
mod running;
mod soak;
mod step;
mod tidy;
mod trial;
mod workspace;

use std::process::ExitCode;

use arguments::{Task, USAGE};
use workspace::Workspace;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let task = match arguments::parse(&words) {
        Ok(task) => task,
        Err(mistake) => {
            eprintln!("error: {mistake}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> anyhow::Result<()> {
    if *task == Task::Help {
        println!("{USAGE}");
        return Ok(());
    }
    let workspace = Workspace::load()?;
    match task {
        Task::Help => Ok(()),
        Task::Check => gate::check(&workspace),
        Task::Test => gate::test(&workspace),
        Task::Lints => gate::lints(&workspace),
        Task::Fetch => interop::fetch(&workspace),
        Task::Interop(scope) => interop::run(&workspace, scope),
        Task::Trial { part } => trial::run(&workspace, *part),
        Task::Fuzz { target, seconds } => fuzz::run(&workspace, *target, *seconds),
        Task::Races { rounds, seed } => races::run(&workspace, *rounds, *seed),
        Task::Soak { hosts, seconds } => soak::run(&workspace, hosts, *seconds),
        Task::Cluster { extent } => cluster::run(&workspace, *extent),
        Task::Tidy => tidy::run(&workspace),
    }
}
