//! Redis and Valkey as a bus.

use std::fmt;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ProtocolVersion, PushInfo, PushKind, RedisError, Value,
};

use super::channel::{Bus, BusEvent, BusFuture, MAX_MESSAGE, PublishError};
use super::connect::{ConnectBusError, DEFAULT_CHANNEL};
use super::reconnecting::{Broken, Connector, Feed, PUBLISH_LIMIT, Publisher, Reconnecting};

/// A [`Bus`] over the pub/sub of Redis 6 or later, or of Valkey.
///
/// One connection publishes and another receives, both by RESP3. A connection that breaks is replaced, the first one
/// also if Redis does not answer within two seconds; messages that waited in it are not sent. Messages above [`MAX_MESSAGE`] are dropped when they arrive, and counted.
///
/// In a Redis Cluster, connect to any one node: pub/sub reaches them all. Sentinel is not supported; use a stable
/// address.
///
/// ```no_run
/// use engineio_cluster::Redis;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = Redis::connect("redis://broker:6379").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Redis {
    connections: Reconnecting<RedisConnector>,
}

/// The options of a [`Redis`] bus.
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisBuilder {
    channel: String,
}

impl Redis {
    /// Connects to a broker, such as `redis://user:password@host:6379`, and subscribes to the default channel, `engineio`.
    ///
    /// `rediss://` needs the feature `redis-tls`, and trusts the certificates that the system trusts; for others, use
    /// [`from_client`](Self::from_client). If the process has no default provider of cryptography for rustls, ring becomes
    /// it.
    ///
    /// # Errors
    ///
    /// Fails if the URL is malformed, or if the broker cannot be reached or refuses within three seconds. Once connected,
    /// the bus reconnects by itself.
    pub async fn connect(url: &str) -> Result<Self, ConnectBusError> {
        Self::builder().connect(url).await
    }

    /// Connects with a client that the application has configured, for options that a URL cannot express.
    ///
    /// This is the only place where a type of the `redis` crate is part of the interface: a new major version of
    /// that crate is a breaking change of this function.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub async fn from_client(client: Client) -> Result<Self, ConnectBusError> {
        Self::builder().from_client(client).await
    }

    /// Returns a builder with the default options.
    pub fn builder() -> RedisBuilder {
        RedisBuilder {
            channel: DEFAULT_CHANNEL.to_owned(),
        }
    }
}

impl RedisBuilder {
    /// Sets the name of the channel. Deployments that share a broker need different ones. Default: `engineio`.
    pub fn channel(mut self, channel: impl Into<String>) -> Self {
        self.channel = channel.into();
        self
    }

    /// Connects to a broker, as [`Redis::connect`] does.
    ///
    /// # Errors
    ///
    /// As for [`Redis::connect`].
    pub async fn connect(self, url: &str) -> Result<Redis, ConnectBusError> {
        if url.starts_with("rediss:") && !cfg!(feature = "redis-tls") {
            let reason = "`rediss://` needs the feature `redis-tls`";
            return Err(ConnectBusError::new("at the given URL", reason));
        }
        // The text of the error may quote the URL, which has the password.
        let client = Client::open(url)
            .map_err(|error| ConnectBusError::new("at the given URL", error.category()))?;
        self.from_client(client).await
    }

    /// Connects with a client of the application's own, as [`Redis::from_client`] does.
    ///
    /// # Errors
    ///
    /// As for [`Redis::connect`].
    pub async fn from_client(self, client: Client) -> Result<Redis, ConnectBusError> {
        let info = client.get_connection_info();
        #[cfg(feature = "redis-tls")]
        if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            super::connect::provide_cryptography();
        }
        let broker = info.addr().to_string();
        let settings = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3);
        let info = info.clone().set_redis_settings(settings);
        let client = Client::open(info).map_err(|error| ConnectBusError::new(&broker, error))?;
        let connector = RedisConnector {
            client,
            channel: self.channel,
            broker: broker.clone(),
        };
        let connections = Reconnecting::start(connector)
            .await
            .map_err(|reason| ConnectBusError::new(broker, reason))?;
        Ok(Redis { connections })
    }
}

impl Bus for Redis {
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

struct RedisConnector {
    client: Client,
    channel: String,
    broker: String,
}

impl fmt::Debug for RedisConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConnector")
            .field("broker", &self.broker)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

struct RedisPublisher {
    connection: MultiplexedConnection,
    channel: String,
}

impl RedisConnector {
    async fn open(
        &self,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, RedisError> {
        let on_push = move |push: PushInfo| -> Result<(), redis::aio::SendError> {
            on_push(push);
            Ok(())
        };
        let config = AsyncConnectionConfig::new()
            // The limit of the caller is that of both connections together.
            .set_connection_timeout(None)
            .set_response_timeout(Some(PUBLISH_LIMIT))
            .set_push_sender(on_push);
        self.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }
}

impl Connector for RedisConnector {
    type Publisher = RedisPublisher;
    /// Dropping it ends the subscription.
    type Subscription = MultiplexedConnection;
    type Error = RedisError;

    const PUBLISHES_APART: bool = true;

    async fn connect(
        &self,
        feed: Feed,
        publisher_broken: Broken,
    ) -> Result<(RedisPublisher, MultiplexedConnection), RedisError> {
        let subscribe = async {
            let mut subscriber = self.open(move |push| receive(&feed, push)).await?;
            subscriber.subscribe(&self.channel).await?;
            Ok(subscriber)
        };
        tokio::try_join!(self.connect_publisher(publisher_broken), subscribe)
    }

    async fn connect_publisher(&self, broken: Broken) -> Result<RedisPublisher, RedisError> {
        let on_push = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                broken.report();
            }
        };
        Ok(RedisPublisher {
            connection: self.open(on_push).await?,
            channel: self.channel.clone(),
        })
    }

    fn broker(&self) -> &str {
        &self.broker
    }
}

impl Publisher for RedisPublisher {
    async fn publish(&self, message: Bytes) -> Result<(), ()> {
        let mut connection = self.connection.clone();
        let mut command = redis::cmd("PUBLISH");
        command.arg(&self.channel).arg(&message[..]);
        let answer: Result<i64, _> = command.query_async(&mut connection).await;
        answer.map(|_receivers| ()).map_err(|error| {
            tracing::debug!(target: "engineio::cluster", %error, "Redis did not accept a message");
        })
    }

    fn max_message(&self) -> usize {
        MAX_MESSAGE
    }
}

/// Handles a push message: on a message, RESP3 sends the channel and the data.
fn receive(feed: &Feed, push: PushInfo) {
    match push.kind {
        PushKind::Message => match push.data.into_iter().nth(1) {
            Some(Value::BulkString(data)) => feed.message(data.into()),
            _ => {
                tracing::debug!(target: "engineio::cluster", "a push message of Redis has no data")
            }
        },
        PushKind::Disconnection | PushKind::Unsubscribe => feed.broken(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "redis-tls")]
    #[tokio::test]
    async fn a_broker_without_tls_is_an_error_where_tls_is_asked_for() {
        use tokio::io::AsyncWriteExt;

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rediss://{}", listener.local_addr().unwrap());
        let connecting = tokio::spawn(async move { Redis::connect(&url).await });
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"-ERR unknown command\r\n").await.unwrap();
        assert!(connecting.await.expect("it does not panic").is_err());
    }

    #[cfg(not(feature = "redis-tls"))]
    #[tokio::test]
    async fn without_its_feature_tls_is_refused_by_its_name() {
        let error = Redis::connect("rediss://:secret@broker").await.unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let said = format!("{error} {}", cause.unwrap_or_default());
        assert!(
            said.contains("`redis-tls`") && !said.contains("secret"),
            "{said}"
        );
    }
}
