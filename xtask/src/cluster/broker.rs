//! The brokers as programs in the background.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;

use super::BROKERS;
use crate::interop::peers;
use crate::running::Running;
use crate::workspace::Workspace;

/// The brokers by the scheme of their URLs, with the program of each.
pub(super) const SCHEMES: [(&str, &str); 2] = [("nats", BROKERS[0]), ("redis", BROKERS[1])];

/// Starts a broker at an address.
pub(crate) fn start(
    workspace: &Workspace,
    program: &str,
    name: &str,
    address: SocketAddr,
) -> Result<Running> {
    let directory = workspace.target.join("peers/brokers").join(name);
    fs::create_dir_all(&directory)?;
    let mut command = Command::new(peers::debian(workspace, program)?);
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    if program == BROKERS[0] {
        command.args(["-a", &ip, "-p", &port]);
    } else {
        command.args(["--bind", &ip, "--port", &port, "--save", ""]);
    }
    command.current_dir(directory);
    Running::server_at(workspace, name, command, address)
}
