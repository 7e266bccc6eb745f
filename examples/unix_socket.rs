//! A server and a client that talk over a Unix socket, as services behind one reverse proxy or in one container do.
//!
//! ```text
//! cargo run -p engineio-examples --example unix_socket
//! ```
//!
//! The socket file is in the directory for temporary files, or at the path given as an argument. The client connects to
//! it with both transports: it prints the answer to a message, and the transport that the session has moved to.

use std::path::PathBuf;

#[cfg(unix)]
async fn talk(path: PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    use axum::Router;
    use engineio_axum::{EngineIoLayer, Message, Server, Socket};
    use engineio_client::Client;
    use tokio::net::{UnixListener, UnixStream};
    use tower::service_fn;

    let server = Server::builder()
        .on_message(|socket: Socket, message: Message| async move {
            let _ = socket.send(message).await;
        })
        .build();
    // A Unix socket has no peer address, so there is none to limit clients by.
    let app = Router::new().layer(EngineIoLayer::new(server));
    let listener = UnixListener::bind(&path)?;
    tokio::spawn(async move { axum::serve(listener, app).await });

    // The host is what the server reads in `Host`; the connector decides where the bytes go.
    let mut client = Client::builder("http://localhost")
        .connector(service_fn(move |_| UnixStream::connect(path.clone())))
        .connect()
        .await?;
    client.send("hello").await?;
    let echo = client.next().await.ok_or("the server left")?;
    println!("{}", echo.as_text().unwrap_or("(binary)"));
    println!("on {}", client.settled().await);
    client.close().await;
    Ok(())
}

#[cfg(not(unix))]
async fn talk(_: PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    Err("this system has no Unix sockets".into())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let argument = std::env::args_os().nth(1).map(PathBuf::from);
    let path = argument.unwrap_or_else(|| {
        let name = format!("engineio-{}.sock", std::process::id());
        std::env::temp_dir().join(name)
    });
    let outcome = talk(path.clone()).await;
    let _ = std::fs::remove_file(path);
    outcome
}
