//! A client for any Engine.IO server: HTTP long-polling and WebSocket, with the move from one to the other.
//!
//! ```no_run
//! use engineio_client::Client;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut client = Client::connect("http://localhost:5000").await?;
//!     client.send("hello").await?;
//!     while let Some(message) = client.next().await {
//!         println!("{message:?}");
//!     }
//!     println!("over: {:?}", client.disconnect_reason());
//!     Ok(())
//! }
//! ```

#[cfg(feature = "blocking")]
pub mod blocking;
mod builder;
mod client;
mod driver;
mod error;
mod handlers;
mod net;
mod reconnect;
mod shared;
mod target;

pub use builder::ClientBuilder;
pub use client::{Client, Handle};
pub use engineio_core::{DisconnectReason, Message, SendError, Text, Transport};
pub use error::{Error, ErrorKind};
pub use reconnect::Reconnect;
