//! The command line: a task and its options.

use std::path::PathBuf;

use crate::cluster;
use crate::fuzz;
use crate::interop::{Repetition, Scope, Suite};
use crate::programs::HOSTS;
use crate::races;
use crate::soak;
use crate::trial;

pub(crate) const USAGE: &str = "\
usage: cargo xtask check
           format, lints, unit and scenario tests: the checks between commits
       cargo xtask test
           everything that CI checks: the above, documentation, trial, races, fuzzing, interop, soak
       cargo xtask interop [--only js|python|pages|browser|client|proxies] [--host axum|actix|warp|hyper|all]
                           [--every-version]
           the server against engine.io-client, python-engineio and Chromium; the pages of the examples in Chromium; the
           client against engine.io, python-engineio, engineioxide and our server, and optionally old versions; both
           through nginx and HAProxy
       cargo xtask interop --only protocol [--times N] [--busy] [--official DIR] [--host axum|actix|warp|hyper|all]
           the cases of the official protocol suites of both revisions, N times in a row, while another process
           keeps a processor busy; or the official suites themselves, from a copy of their directory
       cargo xtask trial [--part guides|frameworks|some-frameworks]
           the programs of the READMEs and guides as new users build them, from an empty directory; or those for other web
           frameworks in docs/HOSTS.md, or the first two of these
       cargo xtask fuzz [--seconds N] [--target NAME]
           every fuzz target for 20 s; or one target, or longer
       cargo xtask races [--rounds N] [--seed N]
           the server under a scheduler that explores interleavings
       cargo xtask soak [--minutes N] [--seconds N] [--host axum|actix|warp|hyper|all]
           every host under mixed load for 15 s, counting every message; or one host, or longer
       cargo xtask cluster [--part bounded|whole|conversations] [--minutes N] [--seconds N]
           clusters of processes over NATS and Redis, with faults, and a soak test of 15 s over each, or longer;
           the attacks that take long, on clusters; third-party clients through nginx and HAProxy without stickiness
       cargo xtask tidy
           the rules of this workspace that no compiler checks
       cargo xtask lints
           format and clippy alone
       cargo xtask fetch
           the third-party clients, servers and proxies that interop and trial need";

#[derive(Debug, PartialEq)]
pub(crate) enum Task {
    Check,
    Test,
    Lints,
    Fetch,
    Interop(Scope),
    Trial {
        part: trial::Part,
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
        hosts: &'static [&'static str],
        seconds: u64,
    },
    Cluster {
        extent: cluster::Extent,
    },
    Tidy,
    Help,
}

/// Parses a command line. An unknown word is an error, since a misspelt option would otherwise run less than was asked for.
pub(crate) fn parse(words: &[String]) -> Result<Task, String> {
    let (name, rest) = words.split_first().ok_or("no task given")?;
    let mut options = Options::new(rest)?;
    let task = match name.as_str() {
        "check" => Task::Check,
        "test" => Task::Test,
        "lints" => Task::Lints,
        "fetch" => Task::Fetch,
        "interop" => Task::Interop(interop(&mut options)?),
        "trial" => Task::Trial {
            part: match options.take("--part") {
                Some(name) => trial::Part::parse(name)?,
                None => trial::Part::Guides,
            },
        },
        "fuzz" => Task::Fuzz {
            target: options.one_of("--target", fuzz::TARGETS)?.map(|one| one[0]),
            seconds: options.positive("--seconds")?.unwrap_or(fuzz::SECONDS),
        },
        "races" => Task::Races {
            rounds: options.positive("--rounds")?.unwrap_or(races::ROUNDS),
            seed: options.number("--seed")?.unwrap_or(0),
        },
        "soak" => Task::Soak {
            hosts: options.hosts()?.unwrap_or(HOSTS),
            seconds: options.seconds()?.unwrap_or(soak::SECONDS),
        },
        "cluster" => Task::Cluster {
            extent: {
                let seconds = options.seconds()?;
                let part = options.one_of("--part", &["bounded", "whole", "conversations"])?;
                match (part, seconds) {
                    (Some(["bounded"]), Some(_)) => {
                        return Err("the bounded part has no soak".to_owned());
                    }
                    (Some(["bounded"]), None) => cluster::Extent::Bounded,
                    (Some(["conversations"]), _) => cluster::Extent::Conversations {
                        seconds: seconds.unwrap_or(cluster::SECONDS),
                    },
                    _ => cluster::Extent::Whole {
                        seconds: seconds.unwrap_or(cluster::SECONDS),
                    },
                }
            },
        },
        "tidy" => Task::Tidy,
        "help" | "--help" | "-h" => Task::Help,
        other => return Err(format!("unknown task `{other}`")),
    };
    match options.0.first() {
        None => Ok(task),
        Some((extra, _)) => Err(format!("unknown argument `{extra}`")),
    }
}

fn interop(options: &mut Options<'_>) -> Result<Scope, String> {
    let only = options.take("--only").map(Suite::parse).transpose()?;
    let mut protocol = Repetition {
        times: 1,
        busy: false,
        official: None,
    };
    if only == Some(Suite::Protocol) {
        protocol.times = options.positive("--times")?.unwrap_or(protocol.times);
        protocol.busy = options.flag("--busy");
        protocol.official = options.take("--official").map(PathBuf::from);
    }
    Ok(Scope {
        only,
        hosts: options.hosts()?.unwrap_or(&HOSTS[..1]),
        every_version: options.flag("--every-version"),
        protocol,
    })
}

/// The options that are not used yet, with their values.
struct Options<'a>(Vec<(&'a str, Option<&'a str>)>);

impl<'a> Options<'a> {
    fn new(words: &'a [String]) -> Result<Self, String> {
        let mut options = Vec::new();
        let mut words = words.iter().map(String::as_str).peekable();
        while let Some(option) = words.next() {
            let value = words.next_if(|word| !word.starts_with("--"));
            options.push((option, value));
        }
        Ok(Self(options))
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self
            .0
            .iter()
            .position(|(option, value)| *option == name && value.is_some())?;
        self.0.remove(at).1
    }

    /// Returns whether an option without a value was given.
    fn flag(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|option| *option == (name, None));
        at.map(|at| self.0.remove(at)).is_some()
    }

    fn number(&mut self, name: &str) -> Result<Option<u32>, String> {
        let value = self.take(name);
        let parsed = value.map(|value| {
            value
                .parse()
                .map_err(|_| format!("`{name}` takes a number, not `{value}`"))
        });
        parsed.transpose()
    }

    fn positive(&mut self, name: &str) -> Result<Option<u32>, String> {
        match self.number(name)? {
            Some(0) => Err(format!("`{name}` takes a number above 0")),
            number => Ok(number),
        }
    }

    /// The time that `--minutes` or `--seconds` says, in seconds.
    fn seconds(&mut self) -> Result<Option<u64>, String> {
        let minutes = self.positive("--minutes")?.map(|n| u64::from(n) * 60);
        let seconds = self.positive("--seconds")?.map(u64::from);
        Ok(minutes.or(seconds))
    }

    /// The chosen element of a list, as a list of one.
    fn one_of(
        &mut self,
        name: &str,
        known: &'static [&'static str],
    ) -> Result<Option<&'static [&'static str]>, String> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let at = known.iter().position(|known| *known == value);
        let at = at.ok_or_else(|| format!("unknown `{value}`; expected {}", known.join(", ")))?;
        Ok(Some(&known[at..=at]))
    }

    fn hosts(&mut self) -> Result<Option<&'static [&'static str]>, String> {
        if self.0.contains(&("--host", Some("all"))) {
            self.take("--host");
            return Ok(Some(HOSTS));
        }
        self.one_of("--host", HOSTS)
    }
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
        assert_eq!(parse_line("check"), Ok(Task::Check));
        let whole = |seconds| cluster::Extent::Whole { seconds };
        for (line, extent) in [
            ("cluster", whole(cluster::SECONDS)),
            ("cluster --minutes 8", whole(480)),
            ("cluster --part bounded", cluster::Extent::Bounded),
            (
                "cluster --part conversations --minutes 10",
                cluster::Extent::Conversations { seconds: 600 },
            ),
        ] {
            assert_eq!(parse_line(line), Ok(Task::Cluster { extent }));
        }
        for (line, part) in [
            ("trial", trial::Part::Guides),
            ("trial --part frameworks", trial::Part::Frameworks),
        ] {
            assert_eq!(parse_line(line), Ok(Task::Trial { part }));
        }
        let once = || Repetition {
            times: 1,
            busy: false,
            official: None,
        };
        let interop = |only, hosts, every_version, protocol| {
            let scope = Scope {
                only,
                hosts,
                every_version,
                protocol,
            };
            Ok(Task::Interop(scope))
        };
        assert_eq!(
            parse_line("interop --host actix --only client"),
            interop(Some(Suite::Client), &["actix"], false, once())
        );
        assert_eq!(
            parse_line("interop --every-version --host all"),
            interop(None, HOSTS, true, once())
        );
        let often = Repetition {
            times: 10,
            busy: true,
            official: Some("suites".into()),
        };
        assert_eq!(
            parse_line("interop --only protocol --times 10 --busy --official suites"),
            interop(Some(Suite::Protocol), &["axum"], false, often)
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
                hosts: &["warp"],
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
            "test fast",
            "interop --only",
            "interop --only perl",
            "interop --host nginx",
            "interop --times 10",
            "trial --part hosts",
            "interop --only js --busy",
            "interop --only protocol --times 0",
            "fuzz --target frames",
            "fuzz --seconds 0",
            "races --rounds many",
            "soak --minutes",
            "soak --minutes half",
            "soak --host nginx",
            "soak --release",
            "cluster --part half",
            "cluster --part bounded --seconds 20",
        ] {
            assert!(parse_line(line).is_err(), "{line:?}");
        }
    }
}
