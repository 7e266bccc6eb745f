//! Tries the systemd unit and the container file of the guide, with the program of the guide.
//!
//! No container is involved: the commands run outside of one, in an empty directory, with the environment of the container
//! file, and as its user if this task runs as root.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::checks;
use super::project::Project;
use crate::cluster::{BROKERS, broker};
use crate::fences::of_language;
use crate::interop::peers;
use crate::process::{self, BUILD_LIMIT, Reach, first_line};
use crate::running::{Running, free_address};
use crate::workspace::Workspace;

/// The path of the program in the unit and in the container.
const INSTALLED: &str = "/usr/local/bin/my-server";

/// Checks the unit with `systemd-analyze verify`, which knows the keys of units and their values and starts nothing.
pub(super) fn unit(workspace: &Workspace, server: &Project) -> Result<()> {
    let analyze = peers::debian_in(workspace, "systemd-analyze", "systemd")?;
    let blocks = of_language(&server.text, "ini");
    let unit = blocks.first().context("the guide has no unit")?;
    if !unit.contains(INSTALLED) {
        bail!("the unit does not start {INSTALLED}");
    }
    let program = server.target.join("debug/my-server");
    let file = workspace.target.join("trial/my-server.service");
    fs::write(&file, unit.replace(INSTALLED, &program.to_string_lossy()))?;
    let said = verify(&analyze, &file)?;
    if !said.is_empty() {
        bail!("systemd-analyze reports:\n{said}");
    }
    // Unknown keys are only warnings, so make sure that they are reported.
    let wrong = workspace.target.join("trial/my-wrong-server.service");
    fs::write(
        &wrong,
        fs::read_to_string(&file)?.replace("Restart=", "Restrat="),
    )?;
    if !verify(&analyze, &wrong)?.contains("Restrat") {
        bail!("systemd-analyze does not report the unknown key `Restrat`");
    }
    Ok(())
}

/// Returns the messages about this unit, without those about other units of the machine.
fn verify(analyze: &Path, unit: &Path) -> Result<String> {
    let output = Command::new(analyze)
        .args(["verify", "--man=no"])
        .arg(unit)
        .output()
        .context("cannot run systemd-analyze")?;
    let name = unit.file_name().unwrap_or_default().to_string_lossy();
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().filter(|line| line.contains(&*name));
    let said: Vec<_> = said.collect();
    if !output.status.success() && said.is_empty() {
        bail!("it failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(said.join("\n"))
}

/// The instructions of a container file. Those unknown here are an error.
#[derive(Debug, Default, PartialEq)]
struct Container<'a> {
    images: Vec<&'a str>,
    build: Option<&'a str>,
    /// The path of the built program, and the directory it is copied to.
    copy: Option<(&'a str, &'a str)>,
    user: Option<(u32, u32)>,
    environment: Vec<(&'a str, &'a str)>,
    port: Option<u16>,
    program: Option<&'a str>,
}

impl<'a> Container<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let mut container = Self::default();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "" | "#" => {}
                "FROM" => container.images.push(rest),
                "WORKDIR" if rest == "/src" => {}
                "COPY" if rest == ". ." => {}
                "COPY" => {
                    let files = rest.strip_prefix("--from=build ");
                    container.copy = files.and_then(|files| files.split_once(' '));
                }
                "RUN" => container.build = Some(rest),
                "USER" => {
                    let (user, group) = rest.split_once(':').context("USER without a group")?;
                    container.user = Some((user.parse()?, group.parse()?));
                }
                "ENV" => {
                    let pair = rest.split_once('=').context("ENV without a value")?;
                    container.environment.push(pair);
                }
                "EXPOSE" => container.port = Some(rest.parse()?),
                "CMD" => {
                    let inner = rest.strip_prefix("[\"");
                    container.program = inner.and_then(|inner| inner.strip_suffix("\"]"));
                }
                _ => bail!("the trial does not support `{line}`"),
            }
        }
        Ok(container)
    }
}

/// Builds and runs the program as the container file says, and stops it as `docker stop` does, with a client connected.
pub(super) fn container(workspace: &Workspace, server: &Project, client: &Project) -> Result<()> {
    let blocks = of_language(&server.text, "dockerfile");
    let text = blocks.first().context("the guide has no container file")?;
    let container = Container::parse(text)?;
    let image = format!("rust:{}-", minimum(workspace)?);
    if !container
        .images
        .first()
        .is_some_and(|from| from.starts_with(&image))
    {
        bail!("the build image is not {image}…");
    }
    let port = container.port.context("no EXPOSE")?;
    if !server.text.contains(&format!("bind(\"0.0.0.0:{port}\")")) {
        bail!("the guide's program does not listen on port {port}");
    }
    server.lock()?;
    let mut build = Command::new("sh");
    let typed = container.build.context("no RUN")?;
    // Not optimised, because it would be built from the first dependency.
    build.args(["-c", &typed.replace(" --release ", " ")]);
    server.prepare(&mut build);
    process::run(&mut build, Reach::Group, BUILD_LIMIT)?;

    let (from, to) = container.copy.context("no COPY from the build")?;
    let built = from
        .strip_prefix("/src/target/release/")
        .context("the program is not an optimised one, built in /src")?;
    let root = Root::new()?;
    let directory = root.install(&server.target.join("debug").join(built), to)?;
    let program = container.program.context("no CMD in exec form")?;
    let mut command = Command::new(directory.join(program));
    command
        .current_dir(&root.0)
        .env_clear()
        .envs(container.environment.iter().copied());
    let (user, group) = container.user.context("no USER")?;
    if first_line("id", &["-u"]).as_deref() == Some("0") {
        command.uid(user).gid(group);
    } else {
        println!("not run as user {user}, because this task does not run as root");
    }
    let running = Running::server_at(workspace, "trial-container", command, server.address)?;
    if !checks::page(&running, "/health")?.starts_with("HTTP/1.1 200") {
        bail!("/health is not answered with 200");
    }
    checks::echo(workspace, &running)?;
    let mut client = client.run(workspace, "my-client")?;
    client.wait_for("Text(\"hello\")")?;
    running.stop()?;
    client.wait_for("over: Some(Server)")?;
    client.wait_for_exit()
}

/// Runs the node of a cluster with a broker, and stops it as a rolling deployment does: the readiness probe fails while it still
/// serves.
pub(super) fn node(workspace: &Workspace, node: &Project) -> Result<()> {
    let at = free_address()?;
    let broker = broker::start(workspace, BROKERS[0], "trial-broker", at)?;
    let mut command = node.command("my-node");
    command.envs([
        ("NODE_NAME", "a"),
        ("NODE_LISTEN", "127.0.0.1:0"),
        ("CLUSTER_SECRET", "a secret of the test"),
        ("BROKER", &format!("nats://{at}")),
    ]);
    let running = node.serve_by(workspace, "my-node", command)?;
    let opened = checks::page(&running, "/engine.io/?EIO=4&transport=polling")?;
    if !opened.contains(".a\",\"upgrades\"") {
        bail!("the id of a session does not end with the name of the node:\n{opened}");
    }
    checks::echo(workspace, &running)?;
    if !checks::page(&running, "/ready")?.starts_with("HTTP/1.1 200") {
        bail!("/ready is not answered with 200");
    }
    running.terminate()?;
    // It drains for some seconds, unless it ends at once, which makes this fail.
    while !checks::page(&running, "/ready")?.starts_with("HTTP/1.1 503") {}
    running.wait_for_exit()?;
    drop(broker);
    Ok(())
}

/// Returns the minimum supported Rust version.
fn minimum(workspace: &Workspace) -> Result<String> {
    let mut versions = workspace.members()?.into_iter();
    let version = versions.find_map(|member| member.rust_version);
    version.context("the workspace states no rust-version")
}

/// An empty directory that every user can read, unlike a checkout. It is removed when dropped.
struct Root(PathBuf);

impl Root {
    fn new() -> Result<Self> {
        let root = env::temp_dir().join(format!("engineio-trial-{}", std::process::id()));
        fs::create_dir(&root).with_context(|| format!("cannot create {}", root.display()))?;
        let root = Self(root);
        fs::set_permissions(&root.0, fs::Permissions::from_mode(0o755))?;
        Ok(root)
    }

    /// Copies a program into a directory and returns the directory.
    fn install(&self, program: &Path, directory: &str) -> Result<PathBuf> {
        let directory = self.0.join(directory.trim_start_matches('/'));
        fs::create_dir_all(&directory)?;
        let name = program.file_name().context("a program without a name")?;
        let installed = directory.join(name);
        fs::copy(program, &installed)
            .with_context(|| format!("cannot copy {}", program.display()))?;
        fs::set_permissions(&installed, fs::Permissions::from_mode(0o755))?;
        for above in directory.ancestors().take_while(|above| *above != self.0) {
            fs::set_permissions(above, fs::Permissions::from_mode(0o755))?;
        }
        Ok(directory)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_file_is_read_line_by_line() {
        let text = "FROM rust:1 AS build\nWORKDIR /src\nCOPY . .\nRUN cargo build\n\nFROM debian\n\
                    COPY --from=build /src/target/release/a /usr/bin/\nUSER 1:2\nENV A=b=c\nEXPOSE 5\n# Why.\nCMD [\"a\"]\n";
        let container = Container::parse(text).unwrap();
        assert_eq!(
            container,
            Container {
                images: vec!["rust:1 AS build", "debian"],
                build: Some("cargo build"),
                copy: Some(("/src/target/release/a", "/usr/bin/")),
                user: Some((1, 2)),
                environment: vec![("A", "b=c")],
                port: Some(5),
                program: Some("a"),
            }
        );
        assert!(Container::parse("HEALTHCHECK NONE\n").is_err());
    }
}
