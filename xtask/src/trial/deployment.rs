//! The unit of systemd and the container file of the guide, with the guide's own program.
//!
//! There is no container here: its commands are run outside of one, in an empty directory, with its environment and as
//! its user where we may change to that.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::checks;
use super::project::Project;
use crate::fences::of_language;
use crate::interop::logs;
use crate::listener::Listener;
use crate::peers;
use crate::process::{self, Reach, first_line};
use crate::workspace::Workspace;

const BUILD_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Where the unit and the container have the program.
const INSTALLED: &str = "/usr/local/bin/my-server";

/// `systemd-analyze verify`, which knows the keys of units and their values. Nothing is started by it.
pub(super) fn unit(workspace: &Workspace, server: &Project) -> Result<()> {
    let analyze = peers::debian_in("systemd-analyze", "systemd")?;
    let blocks = of_language(&server.text, "ini");
    let unit = blocks.first().context("the guide has no unit")?;
    if !unit.contains(INSTALLED) {
        bail!("the unit does not start {INSTALLED}");
    }
    let program = server.target.join("release/my-server");
    let file = workspace.target.join("trial/my-server.service");
    fs::write(&file, unit.replace(INSTALLED, &program.to_string_lossy()))?;
    let said = verify(&analyze, &file)?;
    if !said.is_empty() {
        bail!("systemd says of the unit:\n{said}");
    }
    // Unknown keys are but a remark, so this looks at what it looks for.
    let wrong = workspace.target.join("trial/my-wrong-server.service");
    fs::write(
        &wrong,
        fs::read_to_string(&file)?.replace("Restart=", "Restrat="),
    )?;
    if !verify(&analyze, &wrong)?.contains("Restrat") {
        bail!("systemd does not say that it knows no key `Restrat`");
    }
    Ok(())
}

/// What is said of this unit; others of the machine's are not our business.
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

/// What a container file says, as far as it is known here: a word more is an error.
#[derive(Debug, Default, PartialEq)]
struct Container<'a> {
    images: Vec<&'a str>,
    build: Option<&'a str>,
    /// Where the program is built, and the directory into which it is copied.
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
                _ => bail!("the trial does not know what to do with `{line}`"),
            }
        }
        Ok(container)
    }
}

/// Builds and runs what the container file says, and stops it as `docker stop` does, while a client is connected.
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
        bail!("it is not built in the image {image}…");
    }
    let port = container.port.context("no EXPOSE")?;
    if !server.text.contains(&format!("bind(\"0.0.0.0:{port}\")")) {
        bail!("the guide's program does not listen at port {port}");
    }
    server.lock(workspace)?;
    let mut build = Command::new("sh");
    build.args(["-c", container.build.context("no RUN")?]);
    server.prepare(&mut build);
    process::run(&mut build, Reach::Group, BUILD_LIMIT)?;

    let (from, to) = container.copy.context("no COPY from the build")?;
    let built = from
        .strip_prefix("/src/target/")
        .context("not built in /src")?;
    let root = Root::new()?;
    let directory = root.install(&server.target.join(built), to)?;
    let program = container.program.context("no CMD in the form of a list")?;
    let mut command = Command::new(directory.join(program));
    command
        .current_dir(&root.0)
        .env_clear()
        .envs(container.environment.iter().copied());
    let (user, group) = container.user.context("no USER")?;
    if first_line("id", &["-u"]).as_deref() == Some("0") {
        command.uid(user).gid(group);
    } else {
        println!("not root, and so not as user {user}");
    }
    let running = Listener::start("trial-container", command, server.address, &logs(workspace))?;
    if !checks::page(&running, "/health")?.starts_with("HTTP/1.1 200") {
        bail!("/health is not answered with 200");
    }
    checks::echo(workspace, &running)?;
    let mut client = checks::Running::start(workspace, client, "my-client")?;
    client.wait_for("Text(\"hello\")")?;
    let status = running.stop()?;
    if !status.success() {
        bail!("after SIGTERM it ended with {status}");
    }
    client.wait_for("over: Some(Server)")?;
    client.end()
}

/// The version of Rust that the workspace needs.
fn minimum(workspace: &Workspace) -> Result<String> {
    let mut versions = workspace.members()?.into_iter();
    let version = versions.find_map(|member| member.rust_version);
    version.context("the workspace states no rust-version")
}

/// An empty directory that every user may look into, unlike a checkout; removed when dropped.
struct Root(PathBuf);

impl Root {
    fn new() -> Result<Self> {
        let root = env::temp_dir().join(format!("engineio-trial-{}", std::process::id()));
        fs::create_dir(&root).with_context(|| format!("cannot make {}", root.display()))?;
        let root = Self(root);
        fs::set_permissions(&root.0, fs::Permissions::from_mode(0o755))?;
        Ok(root)
    }

    /// Copies a program into a directory, and gives the directory.
    fn install(&self, program: &Path, directory: &str) -> Result<PathBuf> {
        let directory = self.0.join(directory.trim_start_matches('/'));
        fs::create_dir_all(&directory)?;
        let name = program.file_name().context("a program without a name")?;
        let installed = directory.join(name);
        fs::copy(program, &installed)
            .with_context(|| format!("there is no {}", program.display()))?;
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
