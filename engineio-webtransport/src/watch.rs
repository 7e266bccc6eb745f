//! What a client does beside the stream of its session, noticed without looking for it at each packet.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::join4;
use futures_util::task::AtomicWaker;
use quinn::{Connection, RecvStream, StoppedError, VarInt};
use web_transport_proto as proto;

use crate::session::{next_one_way, next_stream};

/// Follows what a client does beside its stream, while another future is [run](Self::during).
pub(crate) struct Watch<'a> {
    following: Pin<&'a mut (dyn Future<Output = ()> + Send)>,
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

struct Shared {
    deed: OnceLock<Deed>,
    /// `following` has something to do.
    is_woken: AtomicBool,
    task: AtomicWaker,
}

/// Follows a session: the streams that the client opens, and what becomes of those that it has. Never ends, because the
/// streams have to stay open.
pub(crate) async fn follow(
    connection: &Connection,
    id: proto::VarInt,
    critical: &mut Vec<RecvStream>,
    leaving: Pin<&mut impl Future<Output = ()>>,
    stopped: Pin<&mut impl Future<Output = Result<Option<VarInt>, StoppedError>>>,
    signal: &Signal,
) {
    let two_way = async {
        if next_stream(connection, id).await.is_ok() {
            signal.set(Deed::SecondStream);
        }
    };
    let one_way = async {
        if next_one_way(connection, id, critical).await.is_ok() {
            signal.set(Deed::SecondStream);
        }
    };
    let stopped = async {
        if let Ok(Some(_)) = stopped.await {
            signal.set(Deed::Stopped);
        }
    };
    join4(two_way, one_way, stopped, leaving).await;
    pending().await
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        following: Pin<&'a mut (dyn Future<Output = ()> + Send)>,
        signal: &Signal,
    ) -> Self {
        let shared = Arc::clone(&signal.0);
        Self {
            following,
            waker: Arc::clone(&shared).into(),
            shared,
        }
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
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            deed: OnceLock::new(),
            is_woken: AtomicBool::new(true),
            task: AtomicWaker::new(),
        }))
    }

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
