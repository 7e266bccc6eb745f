//! `cargo xtask cluster`: the buses of engineio-cluster over real brokers, with faults.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::interop::peers;
use crate::process::{self, BUILD_LIMIT, Reach, SUITE_LIMIT};
use crate::step::step;
use crate::workspace::{Workspace, cargo};

/// The brokers: program and package of Debian.
pub(crate) const BROKERS: [&str; 2] = ["nats-server", "redis-server"];

/// The arguments of cargo that run the tests. All features are those of the workspace, so that little is built anew.
pub(crate) const TESTS: &str = "test --workspace --locked --features engineio-cluster/nats,engineio-cluster/redis --test brokers";

/// Runs the tests with NATS and Redis.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let brokers = step("find or install NATS and Redis", || Brokers::find(workspace))?;
    // Built first, so that the time limit applies to the tests alone.
    step("build the tests with brokers", || {
        let mut build = tests(workspace);
        process::run(build.arg("--no-run"), Reach::Program, BUILD_LIMIT)
    })?;
    step("the buses over NATS and Redis, with faults", || {
        let mut tests = tests(workspace);
        tests
            .env("ENGINEIO_NATS_SERVER", &brokers.nats)
            .env("ENGINEIO_REDIS_SERVER", &brokers.redis);
        process::run(&mut tests, Reach::Group, SUITE_LIMIT)
    })
}

struct Brokers {
    nats: PathBuf,
    redis: PathBuf,
}

impl Brokers {
    fn find(workspace: &Workspace) -> Result<Self> {
        let [nats, redis] = BROKERS;
        Ok(Self {
            nats: peers::debian(workspace, nats)?,
            redis: peers::debian(workspace, redis)?,
        })
    }
}

fn tests(workspace: &Workspace) -> Command {
    let mut command = cargo();
    command
        .args(TESTS.split(' '))
        .current_dir(&workspace.root);
    command
}
