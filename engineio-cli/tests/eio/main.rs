//! The program as its users see it: output, exit codes, and the faults that `doctor` finds.

mod bench;
mod doctor;
mod losses;
mod output;
mod sessions;
mod talk;
#[cfg(unix)]
mod terminal;
mod tls;

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::time::Duration;

use engineio_tower::{EngineIoService, Message, Server, ServerBuilder, Socket};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(60);

/// Runs `eio` with this input.
async fn eio(input: &[u8], arguments: &[&str]) -> Output {
    let mut child = command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that ends early does not read it.
    let _ = stdin.write_all(input).await;
    // The end of the input is the end of the session.
    drop(stdin);
    output(child).await
}

/// The program with its output in pipes, and without an input.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eio"));
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn output(child: Child) -> Output {
    let output = timeout(LIMIT, child.wait_with_output()).await;
    output.unwrap().unwrap()
}

/// Sends a signal to the program.
async fn kill(child: &Child, signal: &str) {
    let id = child.id().unwrap().to_string();
    let kill = Command::new("kill").args(["-s", signal, &id]).status();
    assert!(kill.await.unwrap().success());
}

/// Makes a named pipe.
#[cfg(unix)]
async fn mkfifo(path: &std::path::Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.await.unwrap().success());
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// A server that sends each message back.
fn echo() -> ServerBuilder {
    Server::builder().on_message(|socket: Socket, message: Message| async move {
        let _ = socket.send(message).await;
    })
}

/// Serves it on a free port, and returns its URL.
async fn serve(server: ServerBuilder) -> String {
    let (listener, address) = listen().await;
    let service = EngineIoService::new(server.build());
    tokio::spawn(async move { engineio_tower::serve(listener, service).await });
    format!("http://{address}")
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}
