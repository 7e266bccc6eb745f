//! NATS as a bus: core NATS, without JetStream.

use std::fmt;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::task::JoinHandle;

use super::channel::{Bus, BusEvent, BusFuture, MAX_MESSAGE, PublishError};
use super::connect::{ConnectBusError, DEFAULT_CHANNEL};
use super::nats_url::{Credentials, Servers};
use super::reconnecting::{Broken, Connector, Feed, Publisher, Reconnecting};

/// The time between two pings. async-nats abandons a server that has not answered two of them.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// The maximum number of unread messages in async-nats. The queue of this crate behind it has the limit in bytes.
const SUBSCRIPTION_CAPACITY: usize = 1024;

/// The maximum number of commands that wait for the connection in async-nats.
const COMMAND_CAPACITY: usize = 128;

/// An address to which no connection is possible.
const NOWHERE: &str = "nats://127.0.0.1:0";

type SharedOptions = dyn Fn() -> ConnectOptions + Send + Sync;

/// A [`Bus`] over core NATS.
///
/// Uses no JetStream: nothing is stored. Empty messages do not arrive. A connection that breaks is replaced, and
/// messages that waited in it are not
/// sent, since each connection is a new client of async-nats. A server that does not answer is noticed within three
/// seconds.
///
/// ```no_run
/// use engineio_cluster::Nats;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = Nats::connect("nats://broker:4222").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Nats {
    connections: Reconnecting<NatsConnector>,
}

/// The options of a [`Nats`] bus.
#[must_use]
pub struct NatsBuilder {
    channel: String,
    options: Box<SharedOptions>,
}

impl fmt::Debug for NatsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBuilder")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

impl Nats {
    /// Connects to a broker, such as `nats://user:password@host:4222`, and subscribes to the default subject, `engineio`.
    ///
    /// Several servers of a NATS cluster are separated by commas, and get the same credentials: a user and a password, or a
    /// token (`nats://token@host`), percent-encoded where they have characters that a URL cannot have. `tls://` needs no feature, and trusts the certificates that
    /// the system trusts; for others, use [`from_options`](NatsBuilder::from_options). If the process has no default provider
    /// of cryptography for rustls, ring becomes it. A server that demands TLS needs a URL with `tls://`.
    ///
    /// # Errors
    ///
    /// Fails if a URL is malformed, if two have different credentials, or if no server can be reached or accepts within three seconds. Once connected, the
    /// bus reconnects by itself.
    pub async fn connect(url: &str) -> Result<Self, ConnectBusError> {
        Self::builder().connect(url).await
    }

    /// Returns a builder with the default options.
    pub fn builder() -> NatsBuilder {
        NatsBuilder {
            channel: DEFAULT_CHANNEL.to_owned(),
            options: Box::new(ConnectOptions::new),
        }
    }
}

impl NatsBuilder {
    /// Sets the subject. Deployments that share a broker need different ones. Default: `engineio`.
    pub fn channel(mut self, subject: impl Into<String>) -> Self {
        self.channel = subject.into();
        self
    }

    /// Sets a function that returns the options of each connection: credentials, certificates, names. Credentials in the URL
    /// replace those of the options.
    ///
    /// The application cannot pass a client of its own, because a client of async-nats sends stale messages after a
    /// reconnection; this bus creates a new client each time. It overrides the options that it depends on (the ping
    /// interval, capacities, reconnections, events). This is the only place where a type of `async-nats` is part of the
    /// interface: a new major version of that crate is a breaking change of this function.
    pub fn from_options(
        mut self,
        options: impl Fn() -> ConnectOptions + Send + Sync + 'static,
    ) -> Self {
        self.options = Box::new(options);
        self
    }

    /// Connects to a broker, as [`Nats::connect`] does.
    ///
    /// # Errors
    ///
    /// As for [`Nats::connect`].
    pub async fn connect(self, url: &str) -> Result<Nats, ConnectBusError> {
        let broker = without_credentials(url);
        if self.channel.is_empty() || self.channel.contains([' ', '\t', '\r', '\n', '*', '>']) {
            let reason = "the subject has to be a name without spaces and wildcards";
            return Err(ConnectBusError::new(broker, reason));
        }
        if url.contains("tls://") || url.contains("wss://") {
            super::connect::provide_cryptography();
        }
        let Servers {
            addresses,
            credentials,
        } = Servers::parse(url).map_err(|reason| ConnectBusError::new(broker.clone(), reason))?;
        let connector = NatsConnector {
            servers: addresses,
            credentials,
            subject: self.channel.into(),
            options: self.options,
            broker: broker.clone(),
        };
        let connections = Reconnecting::start(connector)
            .await
            .map_err(|reason| ConnectBusError::new(broker, reason))?;
        Ok(Nats { connections })
    }
}

/// Removes user and password from each address of a list.
fn without_credentials(urls: &str) -> String {
    let addresses = urls
        .split(',')
        .map(|url| url.rsplit('@').next().unwrap_or_default());
    addresses.collect::<Vec<_>>().join(",")
}

impl Bus for Nats {
    fn publish(&self, message: Bytes) -> BusFuture<'_, Result<(), PublishError>> {
        Box::pin(self.connections.publish(message))
    }

    fn next_event(&self) -> BusFuture<'_, BusEvent> {
        Box::pin(self.connections.next_event())
    }

    fn reconnect(&self) {
        self.connections.reconnect();
    }

    fn max_message(&self) -> usize {
        self.connections.max_message()
    }
}

struct NatsConnector {
    servers: Vec<String>,
    credentials: Option<Credentials>,
    subject: Subject,
    options: Box<SharedOptions>,
    broker: String,
}

impl fmt::Debug for NatsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConnector")
            .field("broker", &self.broker)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

struct NatsConnection {
    client: Client,
    subject: Subject,
    reader: JoinHandle<()>,
}

impl Drop for NatsConnection {
    fn drop(&mut self) {
        // The subscription goes with it, and so does the last handle of the client.
        self.reader.abort();
    }
}

impl Connector for NatsConnector {
    type Publisher = NatsConnection;
    type Subscription = ();
    type Error = async_nats::Error;

    const PUBLISHES_APART: bool = false;

    async fn connect(
        &self,
        feed: Feed,
        _: Broken,
    ) -> Result<(NatsConnection, ()), async_nats::Error> {
        let events = feed.clone();
        let mut options = (self.options)();
        if let Some(credentials) = &self.credentials {
            options = credentials.add_to(options);
        }
        let options = options
            .ping_interval(PING_INTERVAL)
            .connection_timeout(super::reconnecting::CONNECT_LIMIT)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .client_capacity(COMMAND_CAPACITY)
            .max_reconnects(self.servers.len())
            .ignore_discovered_servers()
            .event_callback(move |event| {
                match event {
                    Event::SlowConsumer(_) => events.missed(1),
                    Event::Disconnected | Event::Closed | Event::LameDuckMode => events.broken(),
                    other => {
                        tracing::debug!(target: "engineio::cluster", event = %other, "event of NATS");
                    }
                }
                std::future::ready(())
            });
        let client = async_nats::connect_with_options(&self.servers, options).await?;
        let mut subscriber = client.subscribe(self.subject.clone()).await?;
        confirm(&client, &self.subject, &mut subscriber, &feed).await?;
        // A reconnected client sends what has waited for the connection, which is stale by then. This one finds no server
        // any more, and ends.
        client.set_server_pool(NOWHERE).await?;
        let reader = tokio::spawn(async move {
            while let Some(message) = subscriber.next().await {
                deliver(&feed, message);
            }
            feed.broken();
        });
        let connection = NatsConnection {
            client,
            subject: self.subject.clone(),
            reader,
        };
        Ok((connection, ()))
    }

    async fn connect_publisher(&self, _: Broken) -> Result<NatsConnection, async_nats::Error> {
        Err("one connection publishes and receives".into())
    }

    fn broker(&self) -> &str {
        &self.broker
    }
}

/// Waits until the server has processed a subscription: it takes the commands of a connection in order, but may serve
/// another connection first, whose messages would be missed. A flush waits for nothing but the system's buffer.
async fn confirm(
    client: &Client,
    subject: &Subject,
    subscriber: &mut Subscriber,
    feed: &Feed,
) -> Result<(), async_nats::Error> {
    // On the subject itself, since the user may have no permission for another.
    let mark = Subject::from(client.new_inbox());
    client
        .publish_with_reply(subject.clone(), mark.clone(), Bytes::new())
        .await?;
    while let Some(message) = subscriber.next().await {
        if message.reply.as_ref() == Some(&mark) {
            return Ok(());
        }
        deliver(feed, message);
    }
    Err("the connection ended before the subscription was confirmed".into())
}

fn deliver(feed: &Feed, message: async_nats::Message) {
    // Those by which others confirm their subscriptions are empty.
    if !message.payload.is_empty() {
        feed.message(message.payload);
    }
}

impl Publisher for NatsConnection {
    async fn publish(&self, message: Bytes) -> Result<(), ()> {
        let sent = async {
            if self.client.connection_state() != State::Connected {
                return Err(async_nats::Error::from("not connected"));
            }
            self.client.publish(self.subject.clone(), message).await?;
            // Without it the message may wait in memory for a connection that is gone.
            self.client.flush().await?;
            Ok(())
        };
        sent.await.map_err(|error| {
            tracing::debug!(target: "engineio::cluster", %error, "NATS did not accept a message");
        })
    }

    fn max_message(&self) -> usize {
        self.client.max_payload().min(MAX_MESSAGE)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// Reads commands of a client up to one that begins with this word.
    async fn read_until(
        lines: &mut tokio::io::Lines<impl tokio::io::AsyncBufRead + Unpin>,
        word: &str,
    ) -> String {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with(word) {
                return line;
            }
        }
        panic!("the client has gone");
    }

    fn words<const N: usize>(line: &str) -> [&str; N] {
        let words: Vec<_> = line.split_whitespace().collect();
        words.try_into().unwrap()
    }

    #[tokio::test]
    async fn is_not_connected_before_the_server_has_processed_the_subscription() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let connecting = tokio::spawn(async move { Nats::connect(&url).await });
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let info = r#"INFO {"server_id":"x","version":"2.10.0","max_payload":1048576}"#;
        write
            .write_all(format!("{info}\r\n").as_bytes())
            .await
            .unwrap();
        read_until(&mut lines, "PING").await;
        write.write_all(b"PONG\r\n").await.unwrap();
        let subscription = read_until(&mut lines, "SUB").await;
        // The server delivers what the client publishes once it has processed the subscription.
        let published = read_until(&mut lines, "PUB").await;
        assert!(!connecting.is_finished());
        let [_, subject, id] = words(&subscription);
        let [_, _, reply, _] = words(&published);
        let echo = format!("MSG {subject} {id} {reply} 0\r\n\r\n");
        write.write_all(echo.as_bytes()).await.unwrap();
        connecting.await.unwrap().unwrap();
    }

    #[test]
    fn credentials_are_not_part_of_the_name_of_a_broker() {
        assert_eq!(
            without_credentials("nats://u:p@a:1,nats://b:2"),
            "a:1,nats://b:2"
        );
        assert_eq!(without_credentials("broker"), "broker");
    }
}
