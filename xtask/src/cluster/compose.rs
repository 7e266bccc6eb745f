//! The compose files of `deploy/cluster`, without containers: their commands run with one loopback address for each service
//! in place of its name.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::broker;
use crate::interop::peers;
use crate::process::{self, Reach, SUITE_LIMIT};
use crate::programs::Build;
use crate::proxy::{self, Programs};
use crate::running::{Running, stop_all};
use crate::step::step;
use crate::workspace::Workspace;

/// The place of the files.
const DIRECTORY: &str = "deploy/cluster";

/// What stands for the secret in the files.
const SECRET: &str = "${CLUSTER_SECRET:?choose a secret}";

pub(super) fn run(workspace: &Workspace) -> Result<()> {
    for (scheme, program) in broker::SCHEMES {
        let file = format!("{DIRECTORY}/compose.{scheme}.yaml");
        step(&format!("the commands of {file}"), || {
            let text = fs::read_to_string(workspace.root.join(&file))
                .with_context(|| format!("cannot read {file}"))?;
            try_out(workspace, &services(&text)?, scheme, program)
        })?;
    }
    Ok(())
}

/// A service of a compose file.
#[derive(Debug, Default, PartialEq)]
struct Service {
    image: Option<String>,
    dockerfile: Option<String>,
    command: Vec<String>,
    volumes: Vec<String>,
    ports: Vec<String>,
    depends_on: Vec<String>,
}

/// Reads the services of a file. Lists are in one line, as JSON; keys that are unknown here are an error.
fn services(text: &str) -> Result<BTreeMap<String, Service>> {
    let mut services = BTreeMap::<String, Service>::new();
    let mut name = String::new();
    for line in text.lines() {
        let entry = line.trim_start();
        if entry.is_empty() || entry.starts_with('#') {
            continue;
        }
        let indent = line.len() - entry.len();
        let (key, value) = entry.split_once(':').context("a line without a key")?;
        let value = value.trim();
        let list = || {
            serde_json::from_str::<Vec<String>>(value)
                .with_context(|| format!("`{line}` is no list in one line"))
        };
        if indent == 2 && value.is_empty() {
            key.clone_into(&mut name);
            services.entry(name.clone()).or_default();
            continue;
        }
        let service = services.entry(name.clone()).or_default();
        match (indent, key) {
            (0, "services") => drop(services.remove("")),
            (4, "image") => service.image = Some(value.to_owned()),
            (4, "command") => service.command = list()?,
            (4, "volumes") => service.volumes = list()?,
            (4, "ports") => service.ports = list()?,
            (4, "depends_on") => service.depends_on = list()?,
            (4, "restart") if value == "on-failure" => {}
            (4, "build") if value.is_empty() => {}
            (6, "context") if value == "../.." => {}
            (6, "dockerfile") => service.dockerfile = Some(value.to_owned()),
            _ => bail!("this test does not support `{line}`"),
        }
    }
    Ok(services)
}

/// Replaces the names of the services by their addresses.
fn resolve(text: &str, addresses: &BTreeMap<&str, Ipv4Addr>) -> String {
    let mut resolved = text.to_owned();
    for (name, address) in addresses {
        resolved = resolved.replace(&format!("{name}:"), &format!("{address}:"));
    }
    resolved
}

fn try_out(
    workspace: &Workspace,
    services: &BTreeMap<String, Service>,
    scheme: &str,
    broker_program: &str,
) -> Result<()> {
    let javascript = peers::javascript(workspace)?;
    let programs = Programs::find(workspace)?;
    // Another run on this machine has other addresses.
    let run = 20 + u8::try_from(std::process::id() % 200)?;
    let addresses: BTreeMap<&str, Ipv4Addr> = (1..)
        .zip(services.keys())
        .map(|(number, name)| (name.as_str(), Ipv4Addr::new(127, run, 0, number)))
        .collect();
    let of = |name: &str| {
        let service = services
            .get(name)
            .with_context(|| format!("no service `{name}`"))?;
        let address = addresses.get(name).copied().context("it has no address")?;
        Ok::<_, anyhow::Error>((service, address))
    };

    let (service, ip) = of("broker")?;
    let image = service.image.as_deref().unwrap_or_default();
    if !image.starts_with(&format!("{scheme}:")) || service.command[0] != broker_program {
        bail!("the broker is {image} with {:?}", service.command);
    }
    let port = if scheme == "nats" { 4222 } else { 6379 };
    let address = SocketAddr::from((ip, port));
    let broker = broker::start(
        workspace,
        broker_program,
        &format!("compose-{scheme}"),
        address,
    )?;

    let mut nodes = Vec::new();
    for name in ["node-a", "node-b"] {
        let (service, ip) = of(name)?;
        if service.dockerfile.as_deref() != Some(&format!("{DIRECTORY}/Dockerfile")) {
            bail!("{name} is built from {:?}", service.dockerfile);
        }
        nodes.push(node(
            workspace,
            service,
            ip,
            &format!("compose-{scheme}-{name}"),
            &addresses,
        )?);
    }

    let (service, ip) = of("balancer")?;
    let volume = service
        .volumes
        .first()
        .context("nginx has no configuration")?;
    if volume != "./nginx.conf:/etc/nginx/conf.d/default.conf:ro"
        || service.ports != ["127.0.0.1:8080:8080"]
        || service.depends_on != ["node-a", "node-b"]
    {
        bail!("nginx is {service:?}");
    }
    let config = fs::read_to_string(workspace.root.join(DIRECTORY).join("nginx.conf"))?;
    let config = resolve(&config, &addresses);
    let address = SocketAddr::new(IpAddr::V4(ip), 8080);
    let config = config.replace("listen 8080;", &format!("listen {address};"));
    let balancer = proxy::nginx(
        workspace,
        &programs,
        &format!("compose-{scheme}"),
        &config,
        address,
    )?;

    let chromium = peers::debian(workspace, "chromium")?;
    let mut clients = Command::new("node");
    clients.args(["compose.mjs", balancer.url()]);
    let mut page = Command::new("node");
    page.args(["demo.mjs", "--url", balancer.url(), "--chromium"])
        .arg(chromium);
    let result = [clients, page].into_iter().try_for_each(|mut node| {
        node.current_dir(javascript.join("cluster"));
        process::run(&mut node, Reach::Group, SUITE_LIMIT)
    });
    if result.is_err() {
        balancer.show_log();
    }
    drop(balancer);
    let result = stop_all(result, nodes);
    drop(broker);
    result
}

/// Starts a node with its command, at its own address instead of that of its container.
fn node(
    workspace: &Workspace,
    service: &Service,
    ip: Ipv4Addr,
    name: &str,
    addresses: &BTreeMap<&str, Ipv4Addr>,
) -> Result<Running> {
    let (program, arguments) = service.command.split_first().context("no command")?;
    let mut command = Build::Debug.program(workspace, program);
    for argument in arguments {
        let argument = argument.replace(SECRET, "a secret of the test");
        let argument = argument.replace("0.0.0.0:", &format!("{ip}:"));
        command.arg(resolve(&argument, addresses));
    }
    Running::server(workspace, name, command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compose_file_is_read_line_by_line() {
        let text = "# Why.\nservices:\n  a:\n    image: x:1\n    command: [\"x\", \"b:1\"]\n\n  b:\n    build:\n      \
                    context: ../..\n      dockerfile: d\n    depends_on: [\"a\"]\n";
        let services = services(text).unwrap();
        let a = Service {
            image: Some("x:1".into()),
            command: vec!["x".into(), "b:1".into()],
            ..Service::default()
        };
        let b = Service {
            dockerfile: Some("d".into()),
            depends_on: vec!["a".into()],
            ..Service::default()
        };
        assert_eq!(services, BTreeMap::from([("a".into(), a), ("b".into(), b)]));
        assert!(super::services("services:\n  a:\n    privileged: true\n").is_err());
    }

    #[test]
    fn names_of_services_become_addresses() {
        let addresses = BTreeMap::from([("node-a", Ipv4Addr::new(127, 0, 0, 7))]);
        assert_eq!(resolve("x://node-a:1", &addresses), "x://127.0.0.7:1");
    }
}
