//! Options that limit time and memory.

use std::time::Duration;

use super::ClientBuilder;

impl<M> ClientBuilder<M> {
    /// Sets the time limit for one connection: name resolution, TCP, proxy and TLS, or QUIC. Default: 10 s.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.network.connect_timeout = timeout;
        self
    }

    /// Sets the time limit for the handshake and for each POST. Default: 20 s. The heartbeat limits a poll instead.
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets the time limit for the upgrade, after which the session stays on polling. Default: 10 s.
    pub const fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.session.upgrade_timeout = timeout;
        self
    }

    /// Sets the time that [`Client::close`](crate::Client::close) waits for queued messages to be sent and for the server's
    /// part of the end of a WebSocket, and that the end of a session which the server closes waits for the answer to a POST.
    /// Default: 5 s.
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.session.close_timeout = timeout;
        self
    }

    /// Sets the largest poll response and the largest message on a WebSocket or by WebTransport to accept, in bytes
    /// after decompression; of a text, the packet type in front of it counts too. Default: 32 MiB. Servers put all
    /// queued messages into one response.
    pub const fn max_response(mut self, bytes: usize) -> Self {
        self.max_response = bytes;
        self
    }

    /// Offers permessage-deflate (RFC 7692) to the server, and compresses WebSocket messages of at least this many bytes if
    /// the server agrees. Default: off.
    ///
    /// The server may then compress its messages; [`max_response`](Self::max_response) limits a message after
    /// decompression. A message that would not become smaller is sent uncompressed. Each message is compressed on its
    /// own (no context takeover), so an idle client needs no more memory than without compression.
    ///
    /// It trades processor time for bytes: about 10 µs for 4 KiB of JSON. Do not enable it if a message holds both a
    /// secret and text chosen by an attacker who can observe its size on the network (CRIME, BREACH).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), engineio_client::Error> {
    /// use engineio_client::Client;
    ///
    /// let client = Client::builder("https://example.com")
    ///     .websocket_compression_threshold(1_024)
    ///     .connect()
    ///     .await?;
    /// # client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub const fn websocket_compression_threshold(mut self, bytes: usize) -> Self {
        self.websocket_compression = Some(bytes);
        self
    }

    /// Sets the maximum number of packets in one POST. Default: 16, because python-engineio's server loses the packets after
    /// that; with a server that is known to take more, a higher value is faster.
    pub const fn max_post_packets(mut self, packets: usize) -> Self {
        self.session.max_post_packets = packets;
        self
    }

    /// Sets whether a text with U+001E is sent by polling; see
    /// [`Config::allow_separator`](engineio_core::client::Config::allow_separator). Default `false`:
    /// [`SendError::Separator`](crate::SendError::Separator).
    pub const fn allow_separator(mut self, allow: bool) -> Self {
        self.session.allow_separator = allow;
        self
    }

    /// Sets the number of bytes that may wait to be sent before [`Client::send`](crate::Client::send) waits (back
    /// pressure). Default: 1 MiB. A message that the sink has taken may exceed it if others always take the room first,
    /// or if the client is closed.
    pub const fn outbox_limit(mut self, bytes: usize) -> Self {
        self.session.outbox_limit = bytes;
        self
    }

    /// Sets the number of received bytes that may wait for the application before the client stops reading. Default: 1 MiB.
    ///
    /// While it does not read, a ping of the server waits behind the messages, so the server closes the session of a client
    /// that reads nothing for longer than its ping timeout. With polling, the client sends no poll meanwhile, with the same
    /// result.
    pub const fn inbox_limit(mut self, bytes: usize) -> Self {
        self.session.inbox_limit = bytes;
        self
    }
}
