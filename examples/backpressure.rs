//! Clients that read slowly: wait for them, skip outdated messages, or disconnect them.
//!
//! ```text
//! cargo run -p engineio-examples --example backpressure
//! ```
//!
//! A client that sends `file` gets 64 MiB in pieces of 64 KiB, each as soon as there is room for it; `position` starts
//! a stream of 1,000 positions a second, of which a slow client misses some; `must` starts a stream of numbers, and
//! disconnects the client as soon as it would miss one. The program prints, once a second, how many bytes are queued:
//! never more than 256 KiB for each client, whatever the clients do.

use std::time::Duration;

use engineio_tower::{DisconnectReason, EngineIoService, Message, SendError, Server, Socket};

const PIECE: usize = 64 * 1024;
const PIECES: usize = 1024;

/// The limit in bytes of one client's queue.
const LIMIT: usize = 256 * 1024;

/// Waits for room: the client sets the pace, and nothing is lost. The right way for nearly everything.
async fn file(socket: &Socket) -> Result<(), SendError> {
    let piece = Message::binary(vec![7; PIECE]);
    for _ in 0..PIECES {
        socket.send(piece.clone()).await?;
    }
    socket.send("end of file").await
}

/// Sends what leaves at once and drops what would have to wait: for values that the next one overtakes.
async fn positions(socket: Socket) {
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let (mut sent, mut dropped) = (0, 0);
    while socket.is_connected() {
        tick.tick().await;
        match socket.send_volatile(format!("position {}", sent + dropped)) {
            true => sent += 1,
            false => dropped += 1,
        }
    }
    println!("positions: {sent} sent, {dropped} dropped");
}

/// Never waits, and never leaves one out: the client keeps up, or it is disconnected.
async fn must(socket: Socket) {
    for number in 0_u64.. {
        if let Err(SendError::Full(_)) = socket.try_send(format!("number {number} {:>1000}", "")) {
            println!("{} is too slow", socket.sid().short());
            socket.abort();
        }
        if !socket.is_connected() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:5000");
    let server = Server::builder()
        .outbox_limit(LIMIT)
        .on_message(|socket: Socket, message: Message| async move {
            match message.as_text() {
                // In the handler: the next message of this client is handled when the file has left.
                Some("file") => {
                    let _ = file(&socket).await;
                }
                // In tasks that end with the server.
                Some("position") => drop(socket.server().spawn(positions(socket))),
                Some("must") => drop(socket.server().spawn(must(socket))),
                _ => {}
            }
        })
        .on_disconnect(|socket: Socket, reason: DisconnectReason| {
            println!("{} left: {reason}", socket.sid().short());
        })
        .on_start(|server| async move {
            let mut second = tokio::time::interval(Duration::from_secs(1));
            loop {
                second.tick().await;
                let queued: Vec<usize> =
                    server.sockets().iter().map(Socket::queued_bytes).collect();
                println!("bytes queued: {queued:?}");
            }
        })
        .build();
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    engineio_tower::serve(listener, EngineIoService::new(server)).await
}
