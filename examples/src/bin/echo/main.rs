//! The echo server that tests, benchmarks and authors of clients talk to.
//!
//! ```text
//! cargo run --release -p engineio-examples --bin echo -- --host axum --listen 127.0.0.1:3000
//! ```
//!
//! Every message comes back unchanged. Some texts are commands: `bcast:…` goes to all clients instead, the sender once
//! among them; `close-me` disconnects the sender; `whoami` is answered with the session id; `watch` is answered with
//! `watching` and from then on with `left SID REASON` for every client that is gone. A connect with `reject=1` in its
//! query is refused with 401.

mod hosts;
mod options;

use std::sync::atomic::{AtomicBool, Ordering};

use engineio_axum::{ConnectRequest, DisconnectReason, Message, Refuse, Server, Socket};
use options::Options;

/// What `watch` attaches to its sender.
struct Watcher;

/// Whether anybody ever said `watch`: with thousands of clients it would be slow to look for watchers in vain.
static IS_WATCHED: AtomicBool = AtomicBool::new(false);

fn main() -> std::process::ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("echo: {error}\n{}", options::USAGE);
            return std::process::ExitCode::from(2);
        }
    };
    match hosts::run(&options) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn server(options: &Options) -> Server {
    options
        .apply(Server::builder())
        .on_connect(|_: Socket, request: ConnectRequest| {
            if request.query("reject").as_deref() == Some("1") {
                return Err(Refuse::unauthorized().json("rejected"));
            }
            Ok(())
        })
        .on_message(|socket: Socket, message: Message| async move {
            match message.as_bytes() {
                _ if message.is_binary() => {}
                b"close-me" => return socket.close(),
                b"whoami" => {
                    let _ = socket.send(socket.sid().as_str()).await;
                    return;
                }
                b"watch" => {
                    socket.set(Watcher);
                    IS_WATCHED.store(true, Ordering::Relaxed);
                    let _ = socket.send("watching").await;
                    return;
                }
                text if text.starts_with(b"bcast:") => {
                    socket.server().broadcast(message);
                    return;
                }
                _ => {}
            }
            // Waits while the client is slow; fails only when it is gone.
            let _ = socket.send(message).await;
        })
        .on_disconnect(|socket: Socket, reason: DisconnectReason| {
            if IS_WATCHED.load(Ordering::Relaxed) {
                tell_watchers(&socket, reason);
            }
        })
        .build()
}

fn tell_watchers(gone: &Socket, reason: DisconnectReason) {
    for socket in gone.server().sockets() {
        if socket.get::<Watcher>().is_some() {
            let _ = socket.try_send(format!("left {} {reason}", gone.sid()));
        }
    }
}
