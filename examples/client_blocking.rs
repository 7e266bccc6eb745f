//! The client without async: every call waits, and another thread may send meanwhile.
//!
//! ```text
//! cargo run --release -p engineio-examples --bin echo -- --listen 127.0.0.1:5000
//! cargo run -p engineio-examples --example client_blocking
//! ```
//!
//! It sends five messages to the echo server from a separate thread and prints them as they come back.

use engineio_client::blocking::Client;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1);
    let url = url.as_deref().unwrap_or("http://127.0.0.1:5000");
    let mut client = Client::connect(url)?;
    let handle = client.handle();
    let sender = std::thread::spawn(move || {
        (1..=5).try_for_each(|number| handle.send(format!("message {number}")))
    });
    // A client is an iterator, which ends with the session.
    for message in client.by_ref().take(5) {
        println!("{}", message.as_text().unwrap_or("(binary)"));
    }
    sender.join().map_err(|_| "the sending thread panicked")??;
    println!("on {}", client.settled()?);
    client.close()?;
    Ok(())
}
