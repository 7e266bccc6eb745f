//! The echo server that tests, benchmarks and authors of clients talk to.
//!
//! ```text
//! cargo run --release -p engineio-examples --bin echo -- --host axum --listen 127.0.0.1:3000
//! ```
//!
//! Every message comes back unchanged. Five texts are commands: `bcast:…` goes to all clients instead, the sender once
//! among them; `close-me` disconnects the sender; `whoami` is answered with the session id; `watch` is answered with
//! `watching N`, the number of clients, and from then on the sender gets `gone SID REASON` for each client that leaves.
//! A connect with `reject=1` in its query is refused with 401.

mod hosts;
mod options;
mod watch;

use engineio_axum::{ConnectRequest, DisconnectReason, Message, Rejection, Server, Sid, Socket};
use options::Options;
use watch::Watchers;

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
    let watchers = Watchers::default();
    let told = watchers.clone();
    let mut builder = options.apply(Server::builder());
    if let Some(name) = options.name.clone() {
        builder = builder.generate_sid(move |_| {
            let sid = named(&name);
            async move { sid }
        });
    }
    builder
        .on_connect(|_: Socket, request: ConnectRequest| {
            if request.query("reject").as_deref() == Some("1") {
                return Err(Rejection::unauthorized().json("rejected"));
            }
            Ok(())
        })
        .on_message(move |socket: Socket, message: Message| {
            let watchers = watchers.clone();
            async move {
                match message.as_bytes() {
                    _ if message.is_binary() => {}
                    b"close-me" => return socket.close(),
                    b"whoami" => {
                        let _ = socket.send(socket.sid().as_str()).await;
                        return;
                    }
                    b"watch" => return watchers.add(socket).await,
                    text if text.starts_with(b"bcast:") => {
                        socket.server().broadcast(message);
                        return;
                    }
                    _ => {}
                }
                // Waits while the client is slow; fails only when it is gone.
                let _ = socket.send(message).await;
            }
        })
        .on_disconnect(move |socket: Socket, reason: DisconnectReason| told.tell(&socket, reason))
        .build()
}

/// An id that begins with the name of this server, by which a load balancer finds it again. Behind the dot, which is in
/// no random id, it is as hard to guess as any.
fn named(name: &str) -> Sid {
    let mut random = [0; 15];
    // A system without randomness can open no sessions.
    getrandom::fill(&mut random).expect("the system's random source");
    let id = format!("{name}.{}", Sid::from_random(random).as_str());
    id.parse().expect("options take only names that fit")
}
