//! Clients through nginx and HAProxy, configured well and badly.
//!
//! The good configurations are those of `deploy` and `docs/DEPLOYMENT.md`, which users copy. The bad ones are in
//! `e2e/interop/proxies`. Each proxy has two servers behind it.

use std::fmt::{self, Display};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::peers;
use crate::fences;
use crate::process::{self, BUILD_LIMIT, Reach, SUITE_LIMIT};
use crate::programs::{Build, LISTEN as ANY_PORT};
use crate::running::{Running, free_address, stop_all};
use crate::step::step;
use crate::workspace::{Workspace, cargo};

/// The proxies by the names that the tests use, with the source of each configuration.
const PROXIES: &[(&str, Source)] = &[
    ("nginx", Source::File("deploy/nginx.conf")),
    ("haproxy", Source::File("deploy/haproxy.cfg")),
    // The same, in front of servers whose session ids do not name a server.
    ("nginx-by-address", Source::File("deploy/nginx.conf")),
    ("haproxy-by-cookie", Source::File("deploy/haproxy.cfg")),
    // The configurations that the guide shows.
    ("guide-nginx", Source::Guide("nginx", 0)),
    ("guide-haproxy-by-cookie", Source::Guide("haproxy", 0)),
    ("guide-haproxy-by-sid", Source::Guide("haproxy", 1)),
    (
        "buffering",
        Source::File("e2e/interop/proxies/buffering.nginx.conf"),
    ),
    (
        "no-upgrade",
        Source::File("e2e/interop/proxies/no-upgrade.nginx.conf"),
    ),
    (
        "impatient",
        Source::File("e2e/interop/proxies/impatient.nginx.conf"),
    ),
    (
        "round-robin",
        Source::File("e2e/interop/proxies/round-robin.nginx.conf"),
    ),
    ("cut", Source::File("e2e/interop/proxies/cut.haproxy.cfg")),
];

/// The guide with configurations to copy.
const GUIDE: &str = "docs/DEPLOYMENT.md";

/// The lines of the configurations that set the proxy's own address.
const LISTEN: [&str; 4] = ["listen 8080;", "listen 80;", "bind :8080\n", "bind :80\n"];

pub(super) fn run(workspace: &Workspace) -> Result<()> {
    let programs = step("fetch nginx and HAProxy, and engine.io-client", || {
        Ok(Programs {
            nginx: peers::debian(workspace, "nginx")?,
            haproxy: peers::debian(workspace, "haproxy")?,
            node: peers::javascript(workspace)?,
        })
    })?;
    // Built first, so that the time limit applies to the tests alone.
    step("build the tests through proxies", || {
        process::run(
            tests(workspace).arg("--no-run"),
            Reach::Program,
            BUILD_LIMIT,
        )
    })?;
    step(
        "the client and engine.io-client through nginx and HAProxy",
        || {
            let server = |name: &str, options: &[&str]| {
                let name = format!("proxied-{name}");
                let mut command = Build::Debug.program(workspace, "echo");
                command.args(options).args(ANY_PORT);
                Running::server(workspace, &name, command)
            };
            let named = [
                server("a", &["--name", "a"])?,
                server("b", &["--name", "b"])?,
            ];
            let plain = [server("c", &[])?, server("d", &[])?];
            let with_cookie = ["--cookie", "io"];
            let cookie = [server("e", &with_cookie)?, server("f", &with_cookie)?];
            let mut running = Vec::new();
            let mut lines = Vec::new();
            for (name, source) in PROXIES {
                let behind = match *name {
                    "guide-haproxy-by-sid" => &cookie,
                    name if name.starts_with("guide-") || name.contains("-by-") => &plain,
                    _ => &named,
                };
                let proxy = start(workspace, &programs, name, source, behind)?;
                lines.push(format!("{name}\t{}", proxy.url()));
                running.push(proxy);
            }
            lines.extend(
                named
                    .iter()
                    .enumerate()
                    .map(|(at, server)| format!("server-{}\t{}", ["a", "b"][at], server.url())),
            );
            let lines = lines.join("\n");
            let mut node = Command::new("node");
            node.args(["--test", "--test-concurrency=1", "--test-timeout=120000"])
                .arg("--test-reporter=spec")
                .args(peers::test_files(&programs.node.join("proxies"))?)
                .env("PROXIES", &lines)
                .current_dir(&programs.node);
            let result = process::run(
                tests(workspace).env("PROXIES", &lines),
                Reach::Group,
                SUITE_LIMIT,
            )
            .and_then(|()| process::run(&mut node, Reach::Group, SUITE_LIMIT));
            for proxy in running {
                if result.is_err() {
                    proxy.show_log();
                }
                proxy.stop_if(|_| true)?;
            }
            stop_all(result, named.into_iter().chain(plain).chain(cookie))
        },
    )
}

struct Programs {
    nginx: PathBuf,
    haproxy: PathBuf,
    /// Where the JavaScript client is installed.
    node: PathBuf,
}

/// The place of a configuration.
enum Source {
    File(&'static str),
    /// The block with this language and index in the guide.
    Guide(&'static str, usize),
}

impl Source {
    fn is_nginx(&self) -> bool {
        match self {
            Self::File(file) => file.ends_with("nginx.conf"),
            Self::Guide(language, _) => *language == "nginx",
        }
    }

    fn read(&self, workspace: &Workspace) -> Result<String> {
        let file = match self {
            Self::File(file) => file,
            Self::Guide(..) => GUIDE,
        };
        let text = fs::read_to_string(workspace.root.join(file))
            .with_context(|| format!("cannot read {file}"))?;
        match self {
            Self::File(_) => Ok(text),
            Self::Guide(language, number) => of_guide(&text, language, *number),
        }
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.write_str(file),
            Self::Guide(language, number) => write!(f, "{GUIDE}, {language} block {}", number + 1),
        }
    }
}

/// Returns a configuration of the guide. A block that is only a backend replaces that of the first block.
fn of_guide(text: &str, language: &str, number: usize) -> Result<String> {
    let blocks = fences::of_language(text, language);
    let block = blocks.get(number).context("the guide has no such block")?;
    if !block.starts_with("backend ") {
        return Ok((*block).to_owned());
    }
    let (before, _) = blocks[0]
        .split_once("\nbackend ")
        .context("the first block has no backend")?;
    Ok(format!("{before}\n{block}"))
}

/// The cargo command for the tests. It names the whole workspace, so that its features are those of `cargo test --workspace`.
fn tests(workspace: &Workspace) -> Command {
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--locked", "--test", "proxies"])
        .current_dir(&workspace.root);
    command
}

/// Starts a proxy with the configuration of `source`.
fn start(
    workspace: &Workspace,
    programs: &Programs,
    name: &str,
    source: &Source,
    servers: &[Running; 2],
) -> Result<Running> {
    let directory = workspace.target.join("peers/proxies-running").join(name);
    fs::create_dir_all(&directory)?;
    let address = free_address()?;
    let text = source.read(workspace)?;
    let text = readdress(&text, address, servers.each_ref().map(Running::url));
    let config = directory.join("proxy.conf");
    fs::write(&config, text.with_context(|| source.to_string())?)?;
    let command = if source.is_nginx() {
        let main = directory.join("nginx.conf");
        fs::write(&main, nginx_main(&directory, &config))?;
        let mut command = Command::new(&programs.nginx);
        command
            .args(["-e", "stderr", "-c"])
            .arg(main)
            .arg("-p")
            .arg(&directory);
        command
    } else {
        let mut command = Command::new(&programs.haproxy);
        command.args(["-db", "-f"]).arg(config);
        command
    };
    Running::server_at(workspace, &format!("proxy-{name}"), command, address)
}

/// Replaces the addresses in a configuration: the proxy's own, and those of one or two servers in the order of their ports.
fn readdress(text: &str, proxy: SocketAddr, servers: [&str; 2]) -> Result<String> {
    let mut written = addresses(text);
    written.sort_unstable();
    written.dedup();
    if written.is_empty() || written.len() > servers.len() {
        bail!("it names {} servers instead of one or two", written.len());
    }
    let mut changed = text.to_owned();
    for (written, server) in written.iter().zip(servers) {
        changed = changed.replace(written, server.trim_start_matches("http://"));
    }
    let listens: usize = LISTEN.map(|line| text.matches(line).count()).iter().sum();
    if listens != 1 {
        bail!("it listens at {listens} addresses instead of one of {LISTEN:?}");
    }
    for line in LISTEN {
        let (word, end) = (line.split(' ').next(), &line[line.len() - 1..]);
        changed = changed.replace(line, &format!("{} {proxy}{end}", word.unwrap_or_default()));
    }
    Ok(changed)
}

/// Returns the loopback addresses in a configuration.
fn addresses(text: &str) -> Vec<&str> {
    let starts = text.match_indices("127.0.0.1:");
    let addresses = starts.map(|(at, host)| {
        let port = &text[at + host.len()..];
        let digits = port.find(|letter: char| !letter.is_ascii_digit());
        &text[at..at + host.len() + digits.unwrap_or(port.len())]
    });
    addresses.collect()
}

/// Returns what Debian's nginx has around a file in `/etc/nginx/conf.d`, with everything it writes in one directory.
fn nginx_main(directory: &Path, config: &Path) -> String {
    let directory = directory.display();
    format!(
        "daemon off;\n\
         worker_processes 2;\n\
         pid {directory}/pid;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
         access_log off;\n\
         client_body_temp_path {directory}/body;\n\
         proxy_temp_path {directory}/proxy;\n\
         fastcgi_temp_path {directory}/fastcgi;\n\
         scgi_temp_path {directory}/scgi;\n\
         uwsgi_temp_path {directory}/uwsgi;\n\
         include {};\n\
         }}\n",
        config.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_gets_the_addresses_of_the_run() {
        let text = "server 127.0.0.1:5002;\nserver 127.0.0.1:5001;\nlisten 80;\n";
        let proxy = SocketAddr::from(([127, 0, 0, 1], 7));
        let changed = readdress(text, proxy, ["http://h:1", "http://h:2"]).unwrap();
        assert_eq!(changed, "server h:2;\nserver h:1;\nlisten 127.0.0.1:7;\n");
        let twice = "server 127.0.0.1:5001;\nlisten 80;\nlisten 8080;\n";
        assert!(readdress(twice, proxy, ["http://h:1", "http://h:2"]).is_err());
        assert!(readdress("bind :80\n", proxy, ["http://h:1", "http://h:2"]).is_err());
    }

    #[test]
    fn a_backend_of_the_guide_takes_the_place_of_the_first() {
        let text = "```haproxy\nfrontend web\n\nbackend one\n    x\n```\n\n```haproxy\nbackend two\n    y\n```\n";
        let second = of_guide(text, "haproxy", 1).unwrap();
        assert_eq!(second, "frontend web\n\nbackend two\n    y\n");
    }
}
