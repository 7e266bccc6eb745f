//! The end of a session, as the application gets it.

use engineio_core::{DisconnectReason, Message, Transport};

use crate::Error;

/// The end of a session: the reason, the transport, the error if something went wrong, and the messages that were not sent.
///
/// Given to the handler of [`ClientBuilder::on_disconnect`](crate::ClientBuilder::on_disconnect).
///
/// # Examples
///
/// Sends again what the last session did not send:
///
/// ```no_run
/// use engineio_client::{Client, Reconnect};
///
/// # async fn example() -> Result<(), engineio_client::Error> {
/// let client = Client::builder("http://localhost:5000")
///     .reconnect(Reconnect::new())
///     .on_disconnect(|client, end| async move {
///         println!("{}: {} messages were not sent", end.reason, end.unsent.len());
///         for message in end.unsent {
///             let _ = client.send(message).await;
///         }
///     })
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Disconnect {
    /// The reason for the end.
    pub reason: DisconnectReason,
    /// The transport that the session had last. Only polling confirms what was sent.
    pub transport: Transport,
    /// The error that ended the session, or `None` if one side ended the session on purpose.
    pub error: Option<Error>,
    /// The messages that were queued and never handed to the transport, in their order: the server has not seen them.
    /// Those of a POST that was not answered, or of the last frames of a WebSocket or WebTransport session, are not among them, because the client
    /// cannot know whether the server has them.
    pub unsent: Vec<Message>,
}
