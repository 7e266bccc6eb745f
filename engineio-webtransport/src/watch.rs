//! What a client does beside the stream of its session, noticed without looking for it at each packet.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join};
use futures_util::task::AtomicWaker;
use quinn::SendStream;

use crate::session::Client;

/// Follows what a client does beside its stream, while another future is [run](Self::during).
pub(crate) struct Watch {
    following: BoxFuture<'static, ((), ())>,
    shared: Arc<Shared>,
    /// That of `shared`, which a future of quinn compares with the one that it has.
    waker: Waker,
}

/// The first thing that a client did which ends its session.
#[derive(Clone)]
pub(crate) struct Signal(Arc<Shared>);

/// A thing that a client does beside its stream, and that ends the session.
#[derive(Clone, Copy)]
pub(crate) enum Deed {
    /// It has opened another stream.
    SecondStream,
    /// It takes no more data of the stream.
    Stopped,
}

#[derive(Default)]
struct Shared {
    deed: OnceLock<Deed>,
    /// `following` has something to do.
    is_woken: AtomicBool,
    task: AtomicWaker,
}

impl Watch {
    /// Watches a client, and the stream whose data it takes.
    pub(crate) fn new(client: Client, send: &SendStream) -> Self {
        let shared = Arc::new(Shared {
            is_woken: AtomicBool::new(true),
            ..Shared::default()
        });
        let stopped = send.stopped();
        let tell = Signal(Arc::clone(&shared));
        let stopped = {
            let tell = tell.clone();
            async move {
                if let Ok(Some(_)) = stopped.await {
                    tell.set(Deed::Stopped);
                }
            }
        };
        let follow = client.follow(move || tell.set(Deed::SecondStream));
        Self {
            following: join(stopped, follow).boxed(),
            waker: Arc::clone(&shared).into(),
            shared,
        }
    }

    /// Returns what tells the stream of the first deed.
    pub(crate) fn signal(&self) -> Signal {
        Signal(Arc::clone(&self.shared))
    }

    /// Runs a future, whose task is woken for what the client does too.
    pub(crate) async fn during<F: Future>(&mut self, mut future: Pin<&mut F>) -> F::Output {
        poll_fn(|cx| {
            self.poll(cx);
            future.as_mut().poll(cx)
        })
        .await
    }

    /// Polls what follows the client only if that was woken: its locks would cost each packet as much as a read.
    fn poll(&mut self, cx: &Context<'_>) {
        self.shared.task.register(cx.waker());
        if self.shared.is_woken.swap(false, Ordering::AcqRel) {
            // Never ready.
            let _: Poll<_> = self
                .following
                .as_mut()
                .poll(&mut Context::from_waker(&self.waker));
        }
    }
}

impl Signal {
    fn set(&self, deed: Deed) {
        let _ = self.0.deed.set(deed);
    }

    /// Returns the first deed.
    pub(crate) fn get(&self) -> Option<Deed> {
        self.0.deed.get().copied()
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.task.wake();
    }
}
