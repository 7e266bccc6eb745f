//! The example `socketio`, for the official clients of Socket.IO.

use std::process::Command;

use anyhow::Result;

use crate::programs::Build;
use crate::running::Running;
use crate::workspace::Workspace;

/// Starts the example. Returns it with the name of the variable that tells its URL to the suite.
pub(super) fn start(workspace: &Workspace, host: &str) -> Result<(String, Running)> {
    let program = Build::Debug.programs(workspace).join("examples/socketio");
    let mut command = Command::new(program);
    command.arg("127.0.0.1:0");
    let server = Running::server(workspace, &format!("js-{host}-socketio"), command)?;
    Ok(("SOCKETIO_URL".to_owned(), server))
}
