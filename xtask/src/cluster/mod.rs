//! `cargo xtask cluster`: buses and clusters of processes over real brokers, with faults; foreign clients through load
//! balancers without stickiness; and the compose files of `deploy`.

pub(crate) mod broker;
mod compose;
mod conversations;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::interop::peers;
use crate::process::{self, BUILD_LIMIT, Reach, SUITE_LIMIT};
use crate::programs::Build;
use crate::step::{cargo_step, step};
use crate::workspace::{Workspace, cargo};

/// The brokers: program and package of Debian.
pub(crate) const BROKERS: [&str; 2] = ["nats-server", "redis-server"];

/// The arguments of cargo that run the tests. All features are those of the workspace, so that little is built anew.
pub(crate) const TESTS: &str = "test --workspace --locked --features engineio-cluster/nats,engineio-cluster/redis-tls --test brokers";

/// The arguments of cargo that run the attacks on clusters that take long, which `cargo test` leaves out. Three nodes in one
/// process keep the processors busy, and the heartbeats are short.
const ATTACKS: &str = "test --workspace --locked --test attacks -- --test-threads=2 on_clusters::";

/// The default time of the soak over each broker.
pub(crate) const SECONDS: u64 = 15;

/// The tests run at the same time. They mostly wait.
const THREADS: &str = "--test-threads=4";

/// The tests that take longest, which the checks of a change leave out: each waits for several time limits in a row.
const LONG: [&str; 4] = [
    "a_soak",
    "two_thousand_clients",
    "stands_still_for_eight",
    "cluster::nats::a_deaf_bus",
];

/// Which tests are run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Extent {
    /// What a change must pass: a minute.
    Bounded,
    /// Everything, with a soak of so many seconds over each broker.
    Whole { seconds: u64 },
    /// Only the conversations of foreign clients, of so many seconds.
    Conversations { seconds: u64 },
}

/// The default time of the conversations.
const CONVERSATION_SECONDS: u64 = 8;

/// Runs the tests with NATS and Redis.
pub(crate) fn run(workspace: &Workspace, extent: Extent) -> Result<()> {
    let seconds = match extent {
        Extent::Conversations { seconds } => seconds,
        Extent::Bounded => {
            faults(workspace, extent)?;
            CONVERSATION_SECONDS
        }
        Extent::Whole { .. } => {
            faults(workspace, extent)?;
            cargo_step(workspace, ATTACKS)?;
            CONVERSATION_SECONDS
        }
    };
    step("build the nodes", || Build::Debug.make(workspace))?;
    conversations::run(workspace, seconds)?;
    compose::run(workspace)
}

/// Runs the tests of buses and clusters.
fn faults(workspace: &Workspace, extent: Extent) -> Result<()> {
    let brokers = step("find or install NATS and Redis", || {
        Brokers::find(workspace)
    })?;
    // Built first, so that the time limit applies to the tests alone.
    step("build the tests with brokers", || {
        let mut build = tests(workspace);
        process::run(build.arg("--no-run"), Reach::Program, BUILD_LIMIT)
    })?;
    step("build the nodes", || Build::Debug.make(workspace))?;
    step(
        "buses and clusters over NATS and Redis, with faults",
        || {
            let mut tests = tests(workspace);
            tests.args(["--", THREADS]);
            let limit = match extent {
                Extent::Bounded => {
                    for name in LONG {
                        tests.args(["--skip", name]);
                    }
                    SUITE_LIMIT
                }
                Extent::Whole { seconds } | Extent::Conversations { seconds } => {
                    tests
                        .arg("--nocapture")
                        .env("ENGINEIO_SOAK_SECONDS", seconds.to_string());
                    SUITE_LIMIT + 2 * Duration::from_secs(seconds)
                }
            };
            tests
                .env(
                    "ENGINEIO_ECHO",
                    Build::Debug.programs(workspace).join("echo"),
                )
                .env("ENGINEIO_NATS_SERVER", &brokers.nats)
                .env("ENGINEIO_REDIS_SERVER", &brokers.redis);
            process::run(&mut tests, Reach::Group, limit)
        },
    )
}

struct Brokers {
    nats: PathBuf,
    redis: PathBuf,
}

impl Brokers {
    fn find(workspace: &Workspace) -> Result<Self> {
        let [nats, redis] = BROKERS;
        peers::debian_in(workspace, "ip", "iproute2")?;
        check_namespaces()?;
        Ok(Self {
            nats: peers::debian(workspace, nats)?,
            redis: peers::debian(workspace, redis)?,
        })
    }
}

/// Checks that the tests can make networks of their own, as `tests/brokers/network.rs` does.
fn check_namespaces() -> Result<()> {
    let mut unshare = Command::new("unshare");
    unshare.args(["--map-root-user", "--net", "--", "true"]);
    match unshare.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => bail!(
            "network namespaces are missing, which need root or user namespaces (Ubuntu: sysctl -w \
             kernel.apparmor_restrict_unprivileged_userns=0): {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ),
        Err(_) => bail!(
            "unshare is missing: install it (Debian: apt-get install util-linux) and try again"
        ),
    }
}

fn tests(workspace: &Workspace) -> Command {
    let mut command = cargo();
    command.args(TESTS.split(' ')).current_dir(&workspace.root);
    command
}
