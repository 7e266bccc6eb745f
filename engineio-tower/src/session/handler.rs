//! The application's handlers: closures or one type, async or plain.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use engineio_core::driver::{Panicked, catch_panic};
use engineio_core::{DisconnectReason, Message};

use crate::server::Server;
use crate::session::rejection::Rejection;
use crate::session::request::ConnectRequest;
use crate::session::socket::Socket;

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Code of the application that may panic when it runs, and when it is dropped, which may be before it has completed.
pub(crate) struct Contained<T>(Option<BoxFuture<T>>);

impl<T> Contained<T> {
    pub(crate) const fn new(code: BoxFuture<T>) -> Self {
        Self(Some(code))
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Panicked>> {
        let Some(code) = &mut self.0 else {
            return Poll::Pending;
        };
        match catch_panic(|| code.as_mut().poll(cx)) {
            Ok(progress) => progress.map(Ok),
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    }

    /// Drops it, and tells whether that panics.
    pub(crate) fn end(mut self) -> Result<(), Panicked> {
        let code = self.0.take();
        catch_panic(|| drop(code))
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        let code = self.0.take();
        // The panic hook has logged the details.
        let _ = catch_panic(|| drop(code));
    }
}

/// Handles all events of the clients, as one type in place of closures.
///
/// Every method has a default: clients are accepted, and messages and disconnects are ignored. For each client,
/// `connect` runs first and completes before anything else is called; `message` runs once for each message, in the
/// order sent, one at a time; `disconnect` runs exactly once and last, for every client whose `connect` accepted.
///
/// A panic in a method disconnects only that client, with [`DisconnectReason::HandlerPanic`].
///
/// # Cancel safety
///
/// While the runtime lives, no method is dropped before it completes, except a `connect` that takes longer than
/// [`connect_timeout`](crate::ServerBuilder::connect_timeout). If a client leaves during `connect`, that method still
/// completes, and `disconnect` runs if it accepted the client.
///
/// # Examples
///
/// ```
/// use engineio_tower::{ConnectRequest, DisconnectReason, Handler, Message, Rejection, Server, Socket};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     async fn connect(&self, socket: &Socket, request: &ConnectRequest) -> Result<(), Rejection> {
///         if request.headers().contains_key("x-stranger") {
///             return Err(Rejection::unauthorized());
///         }
///         socket.send("welcome").await?;
///         Ok(())
///     }
///
///     async fn message(&self, socket: &Socket, message: Message) {
///         let _ = socket.send(message).await;
///     }
///
///     async fn disconnect(&self, socket: &Socket, reason: DisconnectReason) {
///         println!("{} left: {reason}", socket.sid());
///     }
/// }
///
/// let server = Server::with_handler(Echo);
/// # let _ = server;
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Accepts or rejects a client. An error rejects it, with a status and a JSON body; it is then not registered.
    fn connect(
        &self,
        socket: &Socket,
        request: &ConnectRequest,
    ) -> impl Future<Output = Result<(), Rejection>> + Send {
        let _ = (socket, request);
        async { Ok(()) }
    }

    /// Handles a message of a client.
    fn message(&self, socket: &Socket, message: Message) -> impl Future<Output = ()> + Send {
        let _ = (socket, message);
        async {}
    }

    /// Handles the upgrade of a client from polling to another transport.
    fn upgraded(&self, socket: &Socket) -> impl Future<Output = ()> + Send {
        let _ = socket;
        async {}
    }

    /// Handles the disconnect of a client.
    fn disconnect(
        &self,
        socket: &Socket,
        reason: DisconnectReason,
    ) -> impl Future<Output = ()> + Send {
        let _ = (socket, reason);
        async {}
    }
}

/// Lets an application share its handler with the routes of the host app.
impl<H: Handler> Handler for Arc<H> {
    fn connect(
        &self,
        socket: &Socket,
        request: &ConnectRequest,
    ) -> impl Future<Output = Result<(), Rejection>> + Send {
        H::connect(self, socket, request)
    }

    fn message(&self, socket: &Socket, message: Message) -> impl Future<Output = ()> + Send {
        H::message(self, socket, message)
    }

    fn upgraded(&self, socket: &Socket) -> impl Future<Output = ()> + Send {
        H::upgraded(self, socket)
    }

    fn disconnect(
        &self,
        socket: &Socket,
        reason: DisconnectReason,
    ) -> impl Future<Output = ()> + Send {
        H::disconnect(self, socket, reason)
    }
}

/// A handler that has been called: its result, or a future that is still to be polled.
pub(crate) enum Started<T> {
    Done(T),
    Running(BoxFuture<T>),
}

type Connect = dyn Fn(Socket, ConnectRequest) -> Started<Result<(), Rejection>> + Send + Sync;
type OnMessage = dyn Fn(&Socket, Message) -> Started<()> + Send + Sync;
pub(crate) type OnServer = dyn Fn(Server) -> BoxFuture<()> + Send + Sync;
type OnSocket = dyn Fn(Socket) -> Started<()> + Send + Sync;
type Disconnect = dyn Fn(Socket, DisconnectReason) -> Started<()> + Send + Sync;

/// The handlers of a server, with their types erased: users name `Server` in their own types.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) connect: Option<Box<Connect>>,
    pub(crate) message: Option<Box<OnMessage>>,
    /// The message handler runs on a blocking thread, so a client may occupy one at a time only.
    pub(crate) message_blocks: bool,
    pub(crate) upgraded: Option<Box<OnSocket>>,
    pub(crate) drained: Option<Box<OnSocket>>,
    pub(crate) disconnect: Option<Box<Disconnect>>,
    pub(crate) start: Option<Box<OnServer>>,
    pub(crate) shutdown: Option<Box<OnServer>>,
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handlers")
            .field("connect", &self.connect.is_some())
            .field("message", &self.message.is_some())
            .field("upgraded", &self.upgraded.is_some())
            .field("disconnect", &self.disconnect.is_some())
            .finish()
    }
}

impl Handlers {
    pub(crate) fn of<H: Handler>(handler: H) -> Self {
        let handler = Arc::new(handler);
        let (on_connect, on_upgraded, on_disconnect) = (
            Arc::clone(&handler),
            Arc::clone(&handler),
            Arc::clone(&handler),
        );
        Self {
            connect: Some(Box::new(move |socket, request| {
                let handler = Arc::clone(&on_connect);
                Started::Running(Box::pin(
                    async move { handler.connect(&socket, &request).await },
                ))
            })),
            message: Some(Box::new(move |socket, first| {
                let (handler, socket) = (Arc::clone(&handler), socket.clone());
                Started::Running(Box::pin(async move {
                    let mut next = Some(first);
                    while let Some(message) = next {
                        handler.message(&socket, message).await;
                        next = socket.next_message();
                    }
                }))
            })),
            upgraded: Some(Box::new(move |socket| {
                let handler = Arc::clone(&on_upgraded);
                Started::Running(Box::pin(async move { handler.upgraded(&socket).await }))
            })),
            drained: None,
            start: None,
            message_blocks: false,
            shutdown: None,
            disconnect: Some(Box::new(move |socket, reason| {
                let handler = Arc::clone(&on_disconnect);
                Started::Running(Box::pin(async move {
                    handler.disconnect(&socket, reason).await;
                }))
            })),
        }
    }

    pub(crate) fn connect(
        &self,
        socket: Socket,
        request: ConnectRequest,
    ) -> Started<Result<(), Rejection>> {
        match &self.connect {
            Some(handler) => handler(socket, request),
            None => Started::Done(Ok(())),
        }
    }

    pub(crate) fn message(&self, socket: &Socket, message: Message) -> Started<()> {
        match &self.message {
            Some(handler) => handler(socket, message),
            None => Started::Done(()),
        }
    }

    pub(crate) fn upgraded(&self, socket: Socket) -> Started<()> {
        match &self.upgraded {
            Some(handler) => handler(socket),
            None => Started::Done(()),
        }
    }

    pub(crate) fn drained(&self, socket: Socket) -> Started<()> {
        match &self.drained {
            Some(handler) => handler(socket),
            None => Started::Done(()),
        }
    }

    pub(crate) fn disconnect(&self, socket: Socket, reason: DisconnectReason) -> Started<()> {
        match &self.disconnect {
            Some(handler) => handler(socket, reason),
            None => Started::Done(()),
        }
    }
}

mod sealed {
    pub trait Sealed<K> {}
}

/// Marks a handler that returns a future. Never named by users.
#[derive(Debug)]
pub struct Async(());

/// Marks a handler that returns its result at once. Never named by users.
#[derive(Debug)]
pub struct Plain(());

/// The result of a handler for messages, upgrades and disconnects: `()`, or a future of it.
#[diagnostic::on_unimplemented(
    message = "a handler returns `()` or a future whose output is `()`, not `{Self}`",
    note = "handle the error inside the handler, for example with `let _ = socket.send(message).await;`"
)]
///
/// ```
/// use engineio_tower::{Message, Server, Socket};
///
/// fn plain(_: Socket, message: Message) {
///     println!("{message:?}");
/// }
///
/// async fn echo(socket: Socket, message: Message) {
///     let _ = socket.send(message).await;
/// }
///
/// let server = Server::builder().on_message(echo).on_upgrade(|_| println!("faster now")).build();
/// let server = Server::builder().on_message(plain).build();
/// # let _ = server;
/// ```
pub trait HandlerOutput<K>: sealed::Sealed<K> {
    /// Returns the work that is left.
    #[doc(hidden)]
    fn start(self) -> Settled;

    /// Returns the work that is left for the first message and those that follow it.
    #[doc(hidden)]
    fn start_batch<F>(self, handler: &Arc<F>, socket: &Socket) -> Settled
    where
        F: Fn(Socket, Message) -> Self + Send + Sync + 'static,
        Self: Sized;
}

/// The work that a handler has left; used by the implementations of [`HandlerOutput`] only.
#[doc(hidden)]
pub struct Settled(pub(crate) Started<()>);

impl std::fmt::Debug for Settled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Settled")
    }
}

impl sealed::Sealed<Plain> for () {}

impl HandlerOutput<Plain> for () {
    fn start(self) -> Settled {
        Settled(Started::Done(()))
    }

    fn start_batch<F>(self, _: &Arc<F>, _: &Socket) -> Settled {
        Settled(Started::Done(()))
    }
}

impl<Fut: Future<Output = ()> + Send + 'static> sealed::Sealed<Async> for Fut {}

impl<Fut: Future<Output = ()> + Send + 'static> HandlerOutput<Async> for Fut {
    fn start(self) -> Settled {
        Settled(Started::Running(Box::pin(self)))
    }

    fn start_batch<F>(self, handler: &Arc<F>, socket: &Socket) -> Settled
    where
        F: Fn(Socket, Message) -> Self + Send + Sync + 'static,
    {
        let (handler, socket) = (Arc::clone(handler), socket.clone());
        Settled(Started::Running(Box::pin(async move {
            self.await;
            // One box serves all messages that are there by now.
            while let Some(message) = socket.next_message() {
                handler(socket.clone(), message).await;
            }
        })))
    }
}

/// The result of a connect handler: `()` or `Result<(), Rejection>`, or a future of one of them.
#[diagnostic::on_unimplemented(
    message = "a connect handler returns `()` or `Result<(), Rejection>`, or a future of one of them, not `{Self}`"
)]
///
/// ```
/// use engineio_tower::{ConnectRequest, Rejection, Server, Socket};
///
/// async fn knows_the_word(socket: Socket, request: ConnectRequest) -> Result<(), Rejection> {
///     if request.query("word").as_deref() != Some("sesame") {
///         return Err(Rejection::forbidden());
///     }
///     socket.send("come in").await?;
///     Ok(())
/// }
///
/// let server = Server::builder().on_connect(knows_the_word).build();
/// let server = Server::builder().on_connect(|socket: Socket, _| println!("{} is here", socket.sid())).build();
/// # let _ = server;
/// ```
pub trait ConnectOutput<K>: sealed::Sealed<(K, Rejection)> {
    #[doc(hidden)]
    fn decide(self) -> Decided;
}

/// The decision of a connect handler; used by the implementations of [`ConnectOutput`] only.
#[doc(hidden)]
pub struct Decided(pub(crate) Started<Result<(), Rejection>>);

impl std::fmt::Debug for Decided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decided")
    }
}

impl sealed::Sealed<(Plain, Rejection)> for () {}

impl ConnectOutput<Plain> for () {
    fn decide(self) -> Decided {
        Decided(Started::Done(Ok(())))
    }
}

impl sealed::Sealed<(Plain, Rejection)> for Result<(), Rejection> {}

impl ConnectOutput<Plain> for Result<(), Rejection> {
    fn decide(self) -> Decided {
        Decided(Started::Done(self))
    }
}

impl<F> sealed::Sealed<(Async, Rejection)> for F where
    F: Future<Output = Result<(), Rejection>> + Send + 'static
{
}

impl<F> ConnectOutput<Async> for F
where
    F: Future<Output = Result<(), Rejection>> + Send + 'static,
{
    fn decide(self) -> Decided {
        Decided(Started::Running(Box::pin(self)))
    }
}

/// Marks a connect handler whose future cannot reject the client. Never named by users.
#[derive(Debug)]
pub struct AsyncUnit(());

impl<F> sealed::Sealed<(AsyncUnit, Rejection)> for F where F: Future<Output = ()> + Send + 'static {}

impl<F> ConnectOutput<AsyncUnit> for F
where
    F: Future<Output = ()> + Send + 'static,
{
    fn decide(self) -> Decided {
        Decided(Started::Running(Box::pin(async move {
            self.await;
            Ok(())
        })))
    }
}
