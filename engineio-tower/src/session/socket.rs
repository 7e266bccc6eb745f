//! The application's handle of one connected client.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engineio_core as proto;
use engineio_core::{DisconnectReason, Message, Revision, SendError, SendOptions, Sid, Transport};

use crate::server::Server;
use crate::session::{Session, now};

/// One connected client.
///
/// This is a handle: cloning costs a reference count, and it can be kept and used from any task or thread. Clones are
/// equal; a room is a `HashMap<Sid, Socket>`. After the client is gone, sending returns the message in an error, and
/// all other methods still work.
///
/// # Examples
///
/// ```
/// use engineio_tower::{Message, Server, Socket};
///
/// struct Name(String);
///
/// let server = Server::builder()
///     .on_connect(|socket: Socket, _| {
///         socket.set(Name("Ada".into()));
///     })
///     .on_message(|socket: Socket, message: Message| async move {
///         if let (Some(name), Some(text)) = (socket.get::<Name>(), message.as_text()) {
///             let _ = socket.send(format!("{} over {}: {text}", name.0, socket.transport())).await;
///         }
///         if message.is_empty() {
///             socket.close();
///         }
///     })
///     .build();
/// # let _ = server;
/// ```
#[derive(Clone)]
pub struct Socket {
    session: Arc<Session>,
}

impl Socket {
    pub(crate) const fn new(session: Arc<Session>) -> Self {
        Self { session }
    }

    /// Returns the id of the session.
    #[must_use]
    pub fn sid(&self) -> Sid {
        self.session.sid
    }

    /// Sends a message, waiting while the outbox is full.
    ///
    /// When this returns, the message is queued but has not reached the client; see [`flush`](Self::flush). Waiting
    /// senders are served first come, first served, whatever the size of their messages: a `send` future that is
    /// neither polled nor dropped blocks the senders queued behind it. A task that sends without a pause yields to
    /// other tasks at times, even if there is room; to send without ever yielding, use [`try_send`](Self::try_send).
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Closed`] if the client is disconnected or being disconnected. In a connect
    /// handler, where nothing leaves the outbox yet, a full outbox is [`SendError::Full`] at once.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped before it returns, the message was not queued, and its turn passes to the next.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.send_with(message, SendOptions::new()).await
    }

    /// Sends a message as [`send`](Self::send) does, with per-message options.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn send_with(
        &self,
        message: impl Into<Message>,
        options: SendOptions,
    ) -> Result<(), SendError> {
        self.session.send(message.into(), options).await
    }

    /// Sends several messages together, waiting while the outbox has no room for all of them: all are queued or none, in
    /// order, and no other message comes between them.
    ///
    /// It waits in the same queue as [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// Returns all messages, for the reasons of [`send`](Self::send), and as [`SendError::TooLarge`] if there are several and
    /// together they exceed [`outbox_limit`](crate::ServerBuilder::outbox_limit), counting 64 bytes extra for each. A single
    /// one is never too large, as with `send`.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped before it returns, none of the messages was queued, and its turn passes to the next.
    ///
    /// ```
    /// use engineio_tower::{Message, SendError, Socket};
    ///
    /// async fn attach(socket: &Socket, name: &str, file: Vec<u8>) -> Result<(), SendError<Vec<Message>>> {
    ///     socket.send_many([Message::from(name), Message::from(file)]).await
    /// }
    /// # let _ = attach;
    /// ```
    pub async fn send_many<M: Into<Message>>(
        &self,
        messages: impl IntoIterator<Item = M>,
    ) -> Result<(), SendError<Vec<Message>>> {
        let messages = collect(messages);
        self.session.send(messages, SendOptions::new()).await
    }

    /// Sends a message if the outbox has room now and no sender waits for room.
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Full`] if the outbox has no room or others wait for it, or as
    /// [`SendError::Closed`] if the client is disconnected or being disconnected.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.session.try_send(message.into(), SendOptions::new())
    }

    /// Sends several messages together if the outbox has room for all of them now and no sender waits for room; none
    /// otherwise.
    ///
    /// # Errors
    ///
    /// Returns all messages, as [`SendError::Full`] if the outbox has no room for them or others wait for it, as
    /// [`SendError::Closed`] if the client is disconnected or being disconnected, or as [`SendError::TooLarge`] as
    /// [`send_many`](Self::send_many) does.
    pub fn try_send_many<M: Into<Message>>(
        &self,
        messages: impl IntoIterator<Item = M>,
    ) -> Result<(), SendError<Vec<Message>>> {
        self.session.try_send(collect(messages), SendOptions::new())
    }

    /// Sends a message if it can leave at once, and drops it otherwise: for data that is worthless when late, such as a
    /// position that the next one replaces. Returns whether it was sent.
    ///
    /// In a connect handler nothing leaves at once, so it drops the message and returns `false`.
    pub fn send_volatile(&self, message: impl Into<Message>) -> bool {
        self.session.send_volatile(message.into())
    }

    /// Sends a message from a plain thread, blocking it while the outbox is full.
    ///
    /// A client that does not read is disconnected by a task of the runtime that serves the requests. A program that drops this
    /// runtime must [shut the server down](crate::Server::shutdown) first, or the thread waits forever.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Panics
    ///
    /// Panics inside an async task if the outbox is full, since it would block the task's thread: use
    /// [`send`](Self::send) there.
    pub fn blocking_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.session.blocking_send(message.into())
    }

    /// Sends several messages together from a plain thread, blocking it while the outbox has no room for all of them.
    ///
    /// # Errors
    ///
    /// As [`send_many`](Self::send_many).
    ///
    /// # Panics
    ///
    /// As [`blocking_send`](Self::blocking_send).
    pub fn blocking_send_many<M: Into<Message>>(
        &self,
        messages: impl IntoIterator<Item = M>,
    ) -> Result<(), SendError<Vec<Message>>> {
        self.session.blocking_send(collect(messages))
    }

    /// Waits until the queue of messages is empty, or the client is gone: all messages sent so far, and those that are sent while
    /// it waits, have been handed to the client's connection.
    ///
    /// In a connect handler it returns at once: messages sent there travel with the handshake.
    ///
    /// # Cancel safety
    ///
    /// It only waits; dropping it changes nothing.
    pub async fn flush(&self) {
        self.session.flushed().await;
    }

    /// Disconnects the client gracefully: sends the queued messages, then the close packet.
    ///
    /// Returns at once; [`closed`](Self::closed) waits for the end. Messages that the client sends from now on are
    /// dropped. In a connect handler it refuses the client. Works on any thread.
    pub fn close(&self) {
        self.session
            .update(|session| session.close(now(), DisconnectReason::Server));
    }

    /// Disconnects the client gracefully. Returns whether that can be waited for: a client that polls and has no poll open,
    /// and nothing to fetch, may never come again.
    pub(crate) fn close_now_or_later(&self) -> bool {
        self.session.update(|session| {
            let is_awaited = session.is_ready() || session.queued_messages() > 0;
            session.close(now(), DisconnectReason::Server);
            is_awaited
        })
    }

    /// Disconnects the client at once and drops the queued messages, and those of the client that no handler has taken yet.
    /// After [`close`](Self::close), the latter are still handled.
    pub fn abort(&self) {
        self.session
            .update(|session| session.abort(now(), DisconnectReason::Server));
    }

    /// Waits until the client is gone, and returns the reason. Its disconnect handler may not have run yet.
    ///
    /// # Cancel safety
    ///
    /// It only waits; dropping it changes nothing.
    pub async fn closed(&self) -> DisconnectReason {
        self.session.closed().await
    }

    /// Returns whether the client is connected: it was accepted, and is not being disconnected.
    ///
    /// In a connect handler it returns `false`, although messages can be sent there: they leave with the handshake once the
    /// handler has accepted the client.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.session.ask(proto::server::Session::is_open)
    }

    /// Returns the reason why the client is gone, or `None` while it is connected.
    #[must_use]
    pub fn disconnect_reason(&self) -> Option<DisconnectReason> {
        self.session.ask(proto::server::Session::closed)
    }

    /// Returns the current transport, or the last one once the client is gone.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.session.transport()
    }

    /// Returns the protocol revision that the client speaks.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.session.revision
    }

    /// Returns the address of the peer that opened the session, if the host passed it on.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.session.peer
    }

    /// Returns the round-trip time of the last heartbeat, from the ping that left to its pong. It is updated at every
    /// pong, once in a [`ping_interval`](crate::ServerBuilder::ping_interval).
    ///
    /// `None` before the first pong, and for a client of revision 3, which pings itself. A client that polls answers a ping
    /// with a request of its own, so that its round trip takes longer.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.session.ask(proto::server::Session::round_trip)
    }

    /// Returns the number of messages queued for the client.
    #[must_use]
    pub fn queued_messages(&self) -> usize {
        self.session.ask(proto::server::Session::queued_messages)
    }

    /// Returns the number of bytes queued for the client, counting 64 bytes of overhead for each message.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.session.ask(proto::server::Session::queued_bytes)
    }

    /// Attaches a value to the client, one of each type. Returns the value of that type that was attached before.
    ///
    /// The value is dropped after `on_disconnect`, even if a handle is kept, and at once if `on_disconnect` has run.
    ///
    /// ```
    /// use engineio_tower::Socket;
    ///
    /// #[derive(Debug)]
    /// struct User(String);
    ///
    /// fn greet(socket: &Socket) {
    ///     socket.set(User("Ada".into()));
    ///     assert_eq!(socket.get::<User>().unwrap().0, "Ada");
    /// }
    /// # let _ = greet;
    /// ```
    pub fn set<T: Any + Send + Sync>(&self, value: T) -> Option<Arc<T>> {
        self.session.data.set(value)
    }

    /// Returns the value of this type that was attached to the client.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.session.data.get()
    }

    /// Returns the server that the client is connected to.
    #[must_use]
    pub fn server(&self) -> Server {
        Server::from_inner(Arc::clone(&self.session.server))
    }

    pub(crate) fn next_message(&self) -> Option<Message> {
        self.session.next_message()
    }
}

fn collect<M: Into<Message>>(messages: impl IntoIterator<Item = M>) -> Vec<Message> {
    messages.into_iter().map(Into::into).collect()
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.session, &other.session)
    }
}

impl Eq for Socket {}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("sid", &self.sid()).finish()
    }
}
