//! The tasks of this workspace, run as `cargo xtask TASK`.
//!
//! A task is a plain program instead of a script, so that it works the same for everybody who can
//! build the workspace, and so that CI has nothing to do but to call it.

mod browser;
mod client;
mod fences;
mod fuzz;
mod interop;
mod listener;
mod peers;
mod process;
mod proxies;
mod races;
mod server;
mod soak;
mod steps;
mod tidy;
mod trial;
mod workspace;

use std::process::ExitCode;

use interop::{HOSTS, Suite};
use workspace::Workspace;

const USAGE: &str = "\
usage: cargo xtask test
           everything that CI checks: format, lints, tests, documentation, races, fuzzing, interop, soak
       cargo xtask interop [--only js|python|browser|client|proxies] [--host axum|actix|warp|hyper]
           the server against the official JavaScript client, python-engineio and a browser;
           the client against the official server, python-engineio and ours; both through nginx and HAProxy
       cargo xtask trial
           the programs of the READMEs and guides as new users build them, from an empty directory
       cargo xtask fuzz [--seconds N] [--target NAME]
           every fuzz target for 20 s, or one of them, or for longer
       cargo xtask races [--rounds N] [--seed N]
           the server under a scheduler that tries out who goes first
       cargo xtask soak [--minutes N | --seconds N] [--host axum|actix|warp|hyper]
           every host under mixed load for 15 s each, or one of them, or for longer; every message is counted
       cargo xtask tidy
           the rules of the house that no compiler checks";

#[derive(Debug, PartialEq)]
enum Task {
    Test,
    Interop {
        only: Option<Suite>,
        host: &'static str,
    },
    Fuzz {
        target: Option<&'static str>,
        seconds: u32,
    },
    Races {
        rounds: u32,
        seed: u32,
    },
    Soak {
        host: Option<&'static str>,
        seconds: u64,
    },
    Trial,
    Tidy,
    Help,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let task = match parse(&arguments) {
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
    match task {
        Task::Help => {
            println!("{USAGE}");
            Ok(())
        }
        Task::Test => steps::test(&Workspace::load()?),
        Task::Interop { only, host } => interop::run(&Workspace::load()?, *only, &[host]),
        Task::Fuzz { target, seconds } => fuzz::run(&Workspace::load()?, *target, *seconds),
        Task::Races { rounds, seed } => races::run(&Workspace::load()?, *rounds, *seed),
        Task::Soak { host, seconds } => {
            let hosts = host.as_ref().map_or(HOSTS, std::slice::from_ref);
            soak::run(&Workspace::load()?, hosts, *seconds)
        }
        Task::Trial => trial::run(&Workspace::load()?),
        Task::Tidy => tidy::run(&Workspace::load()?),
    }
}

fn parse(arguments: &[String]) -> Result<Task, String> {
    let mut words = arguments.iter().map(String::as_str);
    let task = match words.next() {
        Some("test") => Task::Test,
        Some("interop") => return parse_interop(words),
        Some("fuzz") => return parse_fuzz(words),
        Some("races") => return parse_races(words),
        Some("soak") => return parse_soak(words),
        Some("trial") => Task::Trial,
        Some("tidy") => Task::Tidy,
        Some("help" | "--help" | "-h") => Task::Help,
        Some(other) => return Err(format!("there is no task `{other}`")),
        None => return Err("which task?".to_owned()),
    };
    match words.next() {
        None => Ok(task),
        Some(extra) => Err(format!("unknown argument `{extra}`")),
    }
}

fn parse_interop<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Task, String> {
    let mut only = None;
    let mut host = HOSTS[0];
    while let Some(option) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| format!("`{option}` needs a value"))
        };
        match option {
            "--only" => only = Some(Suite::parse(value()?)?),
            "--host" => host = parse_host(value()?)?,
            _ => return Err(format!("unknown argument `{option}`")),
        }
    }
    Ok(Task::Interop { only, host })
}

fn parse_host(name: &str) -> Result<&'static str, String> {
    let known = HOSTS.iter().copied().find(|host| *host == name);
    known.ok_or_else(|| format!("no host `{name}`; there is {}", HOSTS.join(", ")))
}

fn parse_soak<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Task, String> {
    let mut host = None;
    let mut seconds = soak::SECONDS;
    while let Some(option) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| format!("`{option}` needs a value"))
        };
        let unit = match option {
            "--host" => {
                host = Some(parse_host(value()?)?);
                continue;
            }
            "--minutes" => 60,
            "--seconds" => 1,
            _ => return Err(format!("unknown argument `{option}`")),
        };
        let number = value()?;
        let parsed = number.parse::<u32>().ok().filter(|number| *number > 0);
        let parsed =
            parsed.ok_or_else(|| format!("`{number}` is no number of {}", &option[2..]))?;
        seconds = u64::from(parsed) * unit;
    }
    Ok(Task::Soak { host, seconds })
}

fn parse_fuzz<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Task, String> {
    let mut target = None;
    let mut seconds = fuzz::SECONDS;
    while let Some(option) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| format!("`{option}` needs a value"))
        };
        match option {
            "--target" => {
                let name = value()?;
                let known = fuzz::TARGETS.iter().find(|target| **target == name);
                let names = || fuzz::TARGETS.join(", ");
                target = Some(
                    *known.ok_or_else(|| format!("no target `{name}`; there is {}", names()))?,
                );
            }
            "--seconds" => {
                let number = value()?;
                let parsed = number.parse().ok().filter(|seconds| *seconds > 0);
                seconds = parsed.ok_or_else(|| format!("`{number}` is no number of seconds"))?;
            }
            _ => return Err(format!("unknown argument `{option}`")),
        }
    }
    Ok(Task::Fuzz { target, seconds })
}

fn parse_races<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Task, String> {
    let mut rounds = races::ROUNDS;
    let mut seed = 0;
    while let Some(option) = words.next() {
        let mut number = || {
            let value = words.next();
            let value = value.ok_or_else(|| format!("`{option}` needs a value"))?;
            let parsed = value.parse::<u32>();
            parsed.map_err(|_| format!("`{value}` is no number"))
        };
        match option {
            "--rounds" => rounds = number()?.max(1),
            "--seed" => seed = number()?,
            _ => return Err(format!("unknown argument `{option}`")),
        }
    }
    Ok(Task::Races { rounds, seed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Task, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn tasks_are_recognised() {
        assert_eq!(parse_line("test"), Ok(Task::Test));
        assert_eq!(parse_line("tidy"), Ok(Task::Tidy));
        assert_eq!(parse_line("trial"), Ok(Task::Trial));
        assert_eq!(
            parse_line("interop --only client"),
            Ok(Task::Interop {
                only: Some(Suite::Client),
                host: "axum"
            })
        );
        assert_eq!(
            parse_line("interop --host axum --only python"),
            Ok(Task::Interop {
                only: Some(Suite::Python),
                host: "axum"
            })
        );
        assert_eq!(
            parse_line("races --seed 7"),
            Ok(Task::Races {
                rounds: races::ROUNDS,
                seed: 7
            })
        );
        assert_eq!(
            parse_line("soak --minutes 10 --host warp"),
            Ok(Task::Soak {
                host: Some("warp"),
                seconds: 600
            })
        );
        assert_eq!(
            parse_line("fuzz --target query --seconds 3600"),
            Ok(Task::Fuzz {
                target: Some("query"),
                seconds: 3_600
            })
        );
    }

    #[test]
    fn a_misspelt_argument_is_an_error_instead_of_a_shorter_run() {
        for line in [
            "",
            "tset",
            "test --fast",
            "interop --only",
            "interop --only perl",
            "interop --host nginx",
            "fuzz --target frames",
            "fuzz --seconds 0",
            "races --rounds many",
            "soak --minutes",
            "soak --minutes half",
            "soak --host nginx",
        ] {
            assert!(parse_line(line).is_err(), "{line:?}");
        }
    }
}
