//! Clients through proxies that are configured well, and through some that are not.
//!
//! The good configurations are those of `deploy`, which are meant to be copied; the bad ones are in
//! `tests/interop/proxies`. Each proxy has two servers behind it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::interop::{BUILD_LIMIT, SUITE_LIMIT, finish, logs, test_files};
use crate::peers;
use crate::process::{self, Reach};
use crate::server::Server;
use crate::steps::step;
use crate::workspace::{Workspace, cargo};

/// The names that the tests know, and the files.
const PROXIES: &[(&str, &str)] = &[
    ("nginx", "deploy/nginx.conf"),
    ("haproxy", "deploy/haproxy.cfg"),
    // The same, in front of servers whose session ids name nobody.
    ("nginx-by-address", "deploy/nginx.conf"),
    ("haproxy-by-cookie", "deploy/haproxy.cfg"),
    ("buffering", "tests/interop/proxies/buffering.nginx.conf"),
    ("no-upgrade", "tests/interop/proxies/no-upgrade.nginx.conf"),
    ("impatient", "tests/interop/proxies/impatient.nginx.conf"),
    (
        "round-robin",
        "tests/interop/proxies/round-robin.nginx.conf",
    ),
    ("cut", "tests/interop/proxies/cut.haproxy.cfg"),
];

/// What stands in the files for the addresses of the servers and for the proxy's own.
const SERVERS: [&str; 2] = ["127.0.0.1:3001", "127.0.0.1:3002"];
const LISTEN: [&str; 2] = ["listen 8080;", "bind :8080"];

const START_LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let programs = step("fetch nginx and HAProxy, and engine.io-client", || {
        Ok(Programs {
            nginx: peers::debian("nginx")?,
            haproxy: peers::debian("haproxy")?,
            node: peers::javascript(workspace)?,
        })
    })?;
    // Built first, so that the limit is for the tests alone.
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
            let program = workspace.target.join("release/echo");
            let start = |name: &str, options: &[&str]| {
                Server::start(
                    &format!("proxied-{name}"),
                    &program,
                    options,
                    &logs(workspace),
                )
            };
            let named = [start("a", &["--name", "a"])?, start("b", &["--name", "b"])?];
            let plain = [start("c", &[])?, start("d", &[])?];
            let mut running = Vec::new();
            let mut lines = Vec::new();
            for (name, file) in PROXIES {
                let behind = if name.contains("-by-") {
                    &plain
                } else {
                    &named
                };
                let proxy = Proxy::start(workspace, &programs, name, file, behind)?;
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
                .args(test_files(&programs.node.join("proxies"))?)
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
                proxy.stop()?;
            }
            finish(result, named.into_iter().chain(plain))
        },
    )
}

struct Programs {
    nginx: PathBuf,
    haproxy: PathBuf,
    /// Where the JavaScript client is installed.
    node: PathBuf,
}

/// Of the whole workspace, so that the features are those with which `cargo test --workspace` has built it.
fn tests(workspace: &Workspace) -> Command {
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--locked", "--test", "proxies"])
        .current_dir(&workspace.root);
    command
}

/// A running proxy; killed when dropped, unless it was stopped.
struct Proxy {
    name: String,
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Proxy {
    fn start(
        workspace: &Workspace,
        programs: &Programs,
        name: &str,
        file: &str,
        servers: &[Server; 2],
    ) -> Result<Self> {
        let directory = workspace.target.join("peers/proxies-running").join(name);
        fs::create_dir_all(&directory)?;
        let address = free_address()?;
        let text = fs::read_to_string(workspace.root.join(file))
            .with_context(|| format!("cannot read {file}"))?;
        let text = readdress(&text, address, servers).with_context(|| file.to_owned())?;
        let is_nginx = file.ends_with("nginx.conf");
        let config = directory.join("proxy.conf");
        fs::write(&config, text)?;
        let mut command = if is_nginx {
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
        let log = logs(workspace).join(format!("proxy-{name}.log"));
        let output = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run proxy `{name}`"))?;
        let name = name.to_owned();
        let mut proxy = Self {
            name,
            child,
            address,
            log,
        };
        proxy.wait_until_ready()?;
        Ok(proxy)
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let end = Instant::now() + START_LIMIT;
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() >= end {
                self.show_log();
                bail!("proxy `{}` did not become ready ({ended:?})", self.name);
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn stop(mut self) -> Result<()> {
        process::terminate(&self.child)?;
        if process::wait(&mut self.child, START_LIMIT)?.is_none() {
            bail!(
                "proxy `{}` still ran {} s after SIGTERM",
                self.name,
                START_LIMIT.as_secs()
            );
        }
        Ok(())
    }

    fn show_log(&self) {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        for line in text.lines().rev().take(20) {
            eprintln!("   {}: {line}", self.name);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Once it was waited for, its number may be another program's.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // Asked, because a killed nginx leaves its workers behind.
        let _ = process::terminate(&self.child);
        if !matches!(process::wait(&mut self.child, START_LIMIT), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// An address that nobody listens at. The proxies cannot choose a port themselves.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

/// A configuration with the addresses of this run.
fn readdress(text: &str, proxy: SocketAddr, servers: &[Server; 2]) -> Result<String> {
    let listens = LISTEN
        .map(|line| text.matches(line).count())
        .iter()
        .sum::<usize>();
    if listens != 1 {
        bail!(
            "it listens at {listens} places, and should at one: `{}` or `{}`",
            LISTEN[0],
            LISTEN[1]
        );
    }
    let mut text = text
        .replace(LISTEN[0], &format!("listen {proxy};"))
        .replace(LISTEN[1], &format!("bind {proxy}"));
    for (written, server) in SERVERS.iter().zip(servers) {
        if !text.contains(written) {
            bail!("it does not name the server {written}");
        }
        text = text.replace(written, server.url().trim_start_matches("http://"));
    }
    Ok(text)
}

/// What stands around a file in Debian's `/etc/nginx/conf.d`, with all that is written kept in one directory.
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
