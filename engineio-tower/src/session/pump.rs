//! Runs the handlers of one client, one event after the other.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use engineio_core::DisconnectReason;
use engineio_core::driver::catch_panic;
use engineio_core::server::Event;

use crate::repeated::log_repeated;
use crate::server::PendingWork;
use crate::server::meter;
use crate::session::handler::{BoxFuture, Started};
use crate::session::socket::Socket;
use crate::session::{Next, Session, give_way, now};

/// The running handler of a client, if one is running.
///
/// It is polled by the task of the client's WebSocket, together with the reads and writes, or else by a task that lives
/// as long as there are events. Only a task that has claimed the right may poll it.
#[derive(Default)]
pub(crate) struct Pump {
    running: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// The handler that is running, or was started last, is that for the end.
    last: bool,
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pump")
            .field("running", &self.running.is_some())
            .finish()
    }
}

impl Pump {
    /// Returns a task that runs handlers until there are no events left.
    pub(crate) fn run(self, session: Arc<Session>) -> impl Future<Output = ()> + Send {
        Task {
            pump: self,
            session,
            done: false,
        }
    }

    /// Drops the handler that is running.
    fn give_up(&mut self) {
        // Its panic has no effect that is still to come.
        let _ = catch_panic(|| self.running = None);
    }

    /// Runs handlers until there are no events left, and gives the claim back then.
    pub(crate) fn poll(&mut self, session: &Arc<Session>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_from(None, session, cx)
    }

    /// Does the same, beginning with the event that was taken together with the claim, if there is one.
    pub(crate) fn poll_from(
        &mut self,
        mut claimed: Option<Event>,
        session: &Arc<Session>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        // Log lines of handlers name their client. Without a subscriber it costs one check.
        let _span =
            tracing::debug_span!(target: "engineio::session", "session", sid = session.sid.short())
                .entered();
        let mut socket = None;
        let mut first = claimed.is_none();
        loop {
            if let slot @ Some(_) = &mut self.running {
                let done = catch_panic(|| {
                    if let Some(running) = slot {
                        ready!(running.as_mut().poll(cx));
                    }
                    // A future may panic when it is dropped, too.
                    *slot = None;
                    Poll::Ready(())
                });
                match done {
                    Ok(done) => ready!(done),
                    Err(_) => {
                        panicked(session);
                        self.give_up();
                    }
                }
            }
            if std::mem::take(&mut self.last) && catch_panic(|| session.release()).is_err() {
                log_repeated!(error, target: "engineio::session", sid = session.sid.short(), "a value attached to the client panicked when it was dropped");
            }
            let event = match claimed.take() {
                Some(event) => event,
                None => match session.next_event(std::mem::take(&mut first)) {
                    Next::Event(event) => event,
                    Next::Idle => return Poll::Ready(()),
                    Next::Yield => {
                        give_way(cx);
                        return Poll::Pending;
                    }
                },
            };
            self.last = matches!(event, Event::Closed(_));
            let socket = socket.get_or_insert_with(|| Socket::new(Arc::clone(session)));
            match catch_panic(|| start(session, socket, event)) {
                Ok(Started::Running(running)) => self.running = Some(running),
                Ok(Started::Done(())) => {}
                Err(_) => panicked(session),
            }
        }
    }
}

/// See [`Pump::run`].
struct Task {
    pump: Pump,
    session: Arc<Session>,
    done: bool,
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        ready!(this.pump.poll(&this.session, cx));
        this.done = true;
        Poll::Ready(())
    }
}

impl Drop for Task {
    /// Runs the remaining handlers until they have to wait. The runtime is gone: with the program, or with one of the
    /// threads of a host that has a runtime for each.
    fn drop(&mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        while !self.done && self.pump.poll(&self.session, cx).is_pending() {
            self.pump.give_up();
        }
    }
}

fn start(session: &Arc<Session>, socket: &Socket, event: Event) -> Started<()> {
    let handlers = &session.server.handlers;
    match event {
        Event::Message(message) => {
            let len = message.len();
            meter::received(len);
            let handler = handlers.message(socket, message);
            match handler {
                Started::Running(handler) if session.server.options.concurrent_messages => {
                    run_concurrently(session, len, handler);
                    Started::Done(())
                }
                handler => handler,
            }
        }
        Event::Upgraded => handlers.upgraded(socket.clone()),
        Event::Drained => handlers.drained(socket.clone()),
        Event::Closed(reason) => {
            tracing::debug!(target: "engineio::session", sid = session.sid.short(), %reason, "closed");
            handlers.disconnect(socket.clone(), reason)
        }
        _ => Started::Done(()),
    }
}

/// A message handler that runs concurrently with others of its client. `on_disconnect` waits for it, and so does a
/// shutdown.
struct Concurrent {
    session: Arc<Session>,
    /// The length of the message.
    len: usize,
    _pending: PendingWork,
}

impl Concurrent {
    fn new(session: &Arc<Session>, len: usize) -> Self {
        session.begin_concurrent(len);
        Self {
            session: Arc::clone(session),
            len,
            _pending: PendingWork::begin(&session.server),
        }
    }
}

impl Drop for Concurrent {
    fn drop(&mut self) {
        self.session.end_concurrent(self.len);
    }
}

/// Runs a handler in a task of its own.
fn run_concurrently(session: &Arc<Session>, len: usize, handler: BoxFuture<()>) {
    let concurrent = Concurrent::new(session, len);
    session.server.spawn(async move {
        let concurrent = concurrent;
        // Dropped before the end of the client can come, and before the message counts no longer.
        let mut handler = handler;
        let run = std::future::poll_fn(|cx| {
            let progress = catch_panic(|| handler.as_mut().poll(cx));
            progress.map_or_else(|panicked| Poll::Ready(Err(panicked)), |poll| poll.map(Ok))
        });
        if run.await.is_err() {
            panicked(&concurrent.session);
        }
    });
}

/// Ends the client whose handler panicked, and no other. The panic hook has logged the details.
fn panicked(session: &Arc<Session>) {
    log_repeated!(error, target: "engineio::session", sid = session.sid.short(), "a handler panicked; the client is disconnected");
    session.update(|session| session.abort(now(), DisconnectReason::HandlerPanic));
}
