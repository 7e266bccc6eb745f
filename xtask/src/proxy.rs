//! nginx and HAProxy with a configuration that users copy, or with a bad one, at the addresses of this run.

use std::fmt::{self, Display};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::fences;
use crate::interop::peers;
use crate::running::{Running, free_address};
use crate::workspace::Workspace;

/// The guide with configurations to copy.
const GUIDE: &str = "docs/DEPLOYMENT.md";

/// The lines of the configurations that set the proxy's own address.
const LISTEN: [&str; 4] = ["listen 8080;", "listen 80;", "bind :8080\n", "bind :80\n"];

/// The proxies of Debian.
pub(crate) struct Programs {
    nginx: PathBuf,
    haproxy: PathBuf,
}

impl Programs {
    pub(crate) fn find(workspace: &Workspace) -> Result<Self> {
        Ok(Self {
            nginx: peers::debian(workspace, "nginx")?,
            haproxy: peers::debian(workspace, "haproxy")?,
        })
    }
}

/// The place of a configuration.
pub(crate) enum Source {
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

/// Starts a proxy with the configuration of `source`.
///
/// `servers` are the URLs of the servers behind it, in the order of the ports in the configuration.
pub(crate) fn start(
    workspace: &Workspace,
    programs: &Programs,
    name: &str,
    source: &Source,
    servers: &[&str],
) -> Result<Running> {
    let address = free_address()?;
    let text = readdress(&source.read(workspace)?, address, servers);
    let text = text.with_context(|| source.to_string())?;
    if source.is_nginx() {
        return nginx(workspace, programs, name, &text, address);
    }
    let config = directory(workspace, name)?.join("proxy.conf");
    fs::write(&config, text)?;
    let mut command = Command::new(&programs.haproxy);
    command.args(["-db", "-f"]).arg(config);
    Running::server_at(workspace, &format!("proxy-{name}"), command, address)
}

/// Starts nginx with a file for `/etc/nginx/conf.d` that makes it listen at `address`.
pub(crate) fn nginx(
    workspace: &Workspace,
    programs: &Programs,
    name: &str,
    text: &str,
    address: SocketAddr,
) -> Result<Running> {
    let directory = directory(workspace, name)?;
    let config = directory.join("proxy.conf");
    fs::write(&config, text)?;
    let main = directory.join("nginx.conf");
    fs::write(&main, nginx_main(&directory, &config))?;
    let mut command = Command::new(&programs.nginx);
    command
        .args(["-e", "stderr", "-c"])
        .arg(main)
        .arg("-p")
        .arg(&directory);
    Running::server_at(workspace, &format!("proxy-{name}"), command, address)
}

/// Returns the directory of a proxy, which holds everything that it writes.
fn directory(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let directory = workspace.target.join("peers/proxies-running").join(name);
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Replaces the addresses in a configuration: the proxy's own, and those of some of the servers in the order of their ports.
fn readdress(text: &str, proxy: SocketAddr, servers: &[&str]) -> Result<String> {
    let mut written = addresses(text);
    written.sort_unstable();
    written.dedup();
    if written.is_empty() || written.len() > servers.len() {
        bail!(
            "it names {} servers instead of 1 to {}",
            written.len(),
            servers.len()
        );
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
        let changed = readdress(text, proxy, &["http://h:1", "http://h:2"]).unwrap();
        assert_eq!(changed, "server h:2;\nserver h:1;\nlisten 127.0.0.1:7;\n");
        let twice = "server 127.0.0.1:5001;\nlisten 80;\nlisten 8080;\n";
        assert!(readdress(twice, proxy, &["http://h:1", "http://h:2"]).is_err());
        assert!(readdress("bind :80\n", proxy, &["http://h:1", "http://h:2"]).is_err());
    }

    #[test]
    fn a_backend_of_the_guide_takes_the_place_of_the_first() {
        let text = "```haproxy\nfrontend web\n\nbackend one\n    x\n```\n\n```haproxy\nbackend two\n    y\n```\n";
        let second = of_guide(text, "haproxy", 1).unwrap();
        assert_eq!(second, "frontend web\n\nbackend two\n    y\n");
    }
}
