//! The client, with async: as a stream of messages, and with handlers.
//!
//! ```text
//! cargo run --release -p engineio-examples --bin echo -- --listen 127.0.0.1:5000
//! cargo run -p engineio-examples --example client_async
//! ```
//!
//! It connects to the echo server, by polling first, sends three messages and prints what comes back; then it does the
//! same with handlers. At the end it prints the transport of the session after the upgrade.

use engineio_client::{Client, Handle, Message, Reconnect};
use tokio::sync::mpsc;

/// The client as a stream: the program asks for the next message.
async fn as_stream(url: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut client = Client::connect(url).await?;
    for text in ["one", "two", "three"] {
        client.send(text).await?;
        let echo = client.next().await.ok_or("the server left")?;
        println!("stream: {}", echo.as_text().unwrap_or("(binary)"));
    }
    // Waits until the move to WebSocket has happened, or failed.
    println!("stream: on {}", client.settled().await);
    client.close().await;
    Ok(())
}

/// The client with handlers: the messages come by themselves, one after the other.
async fn with_handlers(url: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (news, mut echoes) = mpsc::unbounded_channel();
    let client = Client::builder(url)
        .header("x-who", "an example")
        // Comes back by itself when the connection is lost; a session that was lost is never continued, though.
        .reconnect(Reconnect::default())
        .on_message(move |_: Handle, message: Message| {
            let news = news.clone();
            async move {
                let _ = news.send(message);
            }
        })
        .on_disconnect(|_, end| async move { println!("handlers: left: {}", end.reason) })
        .connect()
        .await?;
    client
        .send(Message::json(&["json", "is", "explicit"])?)
        .await?;
    let echo = echoes.recv().await.ok_or("the server left")?;
    println!("handlers: {:?}", echo.parse_json::<Vec<String>>()?);
    client.close().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1);
    let url = url.as_deref().unwrap_or("http://127.0.0.1:5000");
    as_stream(url).await?;
    with_handlers(url).await
}
