//! Measures Engine.IO servers side by side.
//!
//! ```text
//! cargo run --release -p engineio-bench -- quick       a table in a few minutes: ours, the Rust peer and the limits
//! cargo run --release -p engineio-bench -- full        every server, every mode
//! cargo run --release -p engineio-bench -- run --modes ws-echo-32-p1,connect --servers ours,engineioxide --rounds 5
//! cargo run --release -p engineio-bench -- scale       100,000 idle WebSockets, their heartbeats, broadcasts to all
//! cargo run --release -p engineio-bench -- list        the modes and the servers
//! cargo run --release -p engineio-bench -- instructions            instructions of our code for each message, by valgrind
//! ```
//!
//! The driver runs this same program again as the server (`serve NAME`) and as the load generator (`load MODE`), or as the
//! clients that are measured (`client NAME MODE`), each pinned to its own processor. `docs/BENCHMARKS.md` describes the method.

mod clients;
mod driver;
mod instructions;
mod load;
mod options;
mod serve;

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::options::Options;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut options = Options::parse(std::env::args().skip(1))?;
    let command = options
        .word()
        .context("quick, full, run, scale, list or instructions?")?;
    match command.as_str() {
        "serve" => serve::run(&mut options),
        "load" => {
            let load = load::Load::parse(&mut options)?;
            options.finish()?;
            println!("{}", load::run(&load)?);
            Ok(())
        }
        "client" => {
            let measured = clients::run(&mut options)?;
            options.finish()?;
            println!("{measured}");
            Ok(())
        }
        "instructions" => instructions::count(options),
        "work" => instructions::work(&mut options),
        command => driver::run(command, options),
    }
}
