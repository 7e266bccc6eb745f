//! The handlers and hooks of a server.

use std::sync::Arc;

use engineio_core::{DisconnectReason, Message};

use super::ServerBuilder;
use crate::server::Server;
use crate::session::handler::{ConnectOutput, Handler, HandlerOutput, Handlers};
use crate::session::request::ConnectRequest;
use crate::session::socket::Socket;

impl ServerBuilder {
    /// Sets the handler that accepts or rejects a client: a closure that takes the [`Socket`] and the
    /// [`ConnectRequest`].
    ///
    /// It may be async or plain, and returns `Result<(), Rejection>` or nothing. A [`Rejection`](crate::Rejection)
    /// turns the client away before the server registers it. Messages sent to the socket here leave with the handshake
    /// response.
    ///
    /// A plain closure must not block, here and in the other handlers. For blocking work, such as a synchronous
    /// database call, use an async closure and `tokio::task::spawn_blocking`.
    pub fn on_connect<F, R, K>(mut self, handler: F) -> Self
    where
        F: Fn(Socket, ConnectRequest) -> R + Send + Sync + 'static,
        R: ConnectOutput<K>,
    {
        self.handlers.connect = Some(Box::new(move |socket, request| {
            handler(socket, request).decide().0
        }));
        self
    }

    /// Sets the message handler: a closure that takes the [`Socket`] and the [`Message`], async or plain.
    ///
    /// The messages of one client are handled one at a time, in the order sent. A plain closure must not block; see
    /// [`on_message_blocking`](Self::on_message_blocking).
    pub fn on_message<F, R, K>(mut self, handler: F) -> Self
    where
        F: Fn(Socket, Message) -> R + Send + Sync + 'static,
        R: HandlerOutput<K>,
    {
        let handler = Arc::new(handler);
        self.handlers.message_blocks = false;
        self.handlers.message = Some(Box::new(move |socket, message| {
            handler(socket.clone(), message)
                .start_batch(&handler, socket)
                .0
        }));
        self
    }

    /// Sets a message handler that may block: it runs on the runtime's blocking threads. The
    /// messages of one client are still handled one at a time, in the order sent, even with
    /// [`concurrent_messages`](Self::concurrent_messages).
    ///
    /// tokio has 512 such threads unless its runtime is built with another number, and a handler that waits in
    /// [`blocking_send`](Socket::blocking_send) for a client that does not read keeps one until that client is dropped,
    /// after `ping_interval` and `ping_timeout`. As many slow consumers as there are threads block the handlers of all
    /// other clients: for untrusted clients, set [`when_full`](Self::when_full), so that no handler waits, or use
    /// [`try_send`](Socket::try_send).
    pub fn on_message_blocking<F>(self, handler: F) -> Self
    where
        F: Fn(Socket, Message) + Send + Sync + 'static,
    {
        let handler = Arc::new(handler);
        let mut builder = self.on_message(move |socket: Socket, message: Message| {
            let handler = Arc::clone(&handler);
            async move {
                let run = tokio::task::spawn_blocking(move || handler(socket, message));
                // A panic must end the client as it does in any other handler.
                if let Err(error) = run.await
                    && let Ok(panic) = error.try_into_panic()
                {
                    std::panic::resume_unwind(panic);
                }
            }
        });
        builder.handlers.message_blocks = true;
        builder
    }

    /// Sets the handler for clients that have moved from polling to another transport; async or plain.
    pub fn on_upgrade<F, R, K>(mut self, handler: F) -> Self
    where
        F: Fn(Socket) -> R + Send + Sync + 'static,
        R: HandlerOutput<K>,
    {
        self.handlers.upgraded = Some(Box::new(move |socket| handler(socket).start().0));
        self
    }

    /// Sets the handler that runs when a client's outbox has drained into its connection; async or plain.
    pub fn on_drain<F, R, K>(mut self, handler: F) -> Self
    where
        F: Fn(Socket) -> R + Send + Sync + 'static,
        R: HandlerOutput<K>,
    {
        self.handlers.drained = Some(Box::new(move |socket| handler(socket).start().0));
        self
    }

    /// Sets the handler for disconnects: a closure that takes the [`Socket`] and the [`DisconnectReason`], async or
    /// plain. It runs exactly once and last, for every client whose `on_connect` returned `Ok`, including one that was
    /// closed before it got its response.
    pub fn on_disconnect<F, R, K>(mut self, handler: F) -> Self
    where
        F: Fn(Socket, DisconnectReason) -> R + Send + Sync + 'static,
        R: HandlerOutput<K>,
    {
        self.handlers.disconnect = Some(Box::new(move |socket, reason| {
            handler(socket, reason).start().0
        }));
        self
    }

    /// Sets the task that starts with the server: at [`Server::start`], or else at the first handshake. It is an
    /// async closure that takes the [`Server`]; it runs in a task that is aborted when the server has shut down, so it
    /// is also the place for background work. The task ends with the runtime on which it was started, and is not started
    /// again on another one that serves the server.
    ///
    /// ```
    /// use std::time::Duration;
    /// use engineio_tower::Server;
    ///
    /// let server = Server::builder()
    ///     .on_start(|server| async move {
    ///         let mut tick = tokio::time::interval(Duration::from_secs(1));
    ///         loop {
    ///             tick.tick().await;
    ///             server.broadcast("tick");
    ///         }
    ///     })
    ///     .build();
    /// # let _ = server;
    /// ```
    pub fn on_start<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Server) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handlers.start = Some(Box::new(move |server| Box::pin(hook(server))));
        self
    }

    /// Sets the hook for the beginning of a shutdown, while the clients are still connected: an async closure that
    /// takes the [`Server`]. [`Server::shutdown`] waits for it, within the grace period.
    pub fn on_shutdown<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Server) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handlers.shutdown = Some(Box::new(move |server| Box::pin(hook(server))));
        self
    }

    /// Sets one type as the handler of all client events, in place of the closures that were given before.
    pub fn handler<H: Handler>(mut self, handler: H) -> Self {
        let Handlers {
            start, shutdown, ..
        } = self.handlers;
        self.handlers = Handlers {
            start,
            shutdown,
            ..Handlers::of(handler)
        };
        self
    }
}
