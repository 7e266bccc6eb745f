//! Runs a scenario under many schedules, and looks at what is left of it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use engineio_tower::{DisconnectReason, Message, Server, ServerBuilder, Socket};
use http::StatusCode;
use shuttle::future::{self, block_on};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::Mutex;
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use tokio::runtime::Runtime;

use super::support;

/// How many schedules of each kind a scenario meets if `RACES_ROUNDS` says nothing else.
const ROUNDS: usize = 400;

/// How many times the preference changes in a schedule with preferences: races that need more are rare.
const CHANGES: usize = 3;

/// A service and a WebSocket's driver do not fit into what shuttle gives to a thread.
const STACK_BYTES: usize = 512 * 1024;

/// A scenario that takes more steps goes round in circles.
const STEPS: usize = 50_000;

/// How often the scheduler may choose somebody else until what must happen has happened.
pub(crate) const PATIENCE: usize = 2_000;

thread_local! {
    /// The clock. All tasks of a scenario run on the thread of its test.
    static RUNTIME: Cell<Option<&'static Runtime>> = const { Cell::new(None) };
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

/// Runs the scenario under schedules that are drawn at random, and under others in which some task always goes first.
pub(crate) fn explore<F>(scenario: impl Fn() -> F + Send + Sync + 'static)
where
    F: Future<Output = ()>,
{
    // Lends its clock, which stands still, and runs nothing.
    // It is never dropped: after a failure its timers know tasks of which no scheduler knows.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let runtime = &*Box::leak(Box::new(runtime));
    RUNTIME.set(Some(runtime));
    let _entered = runtime.enter();
    let rounds = number("RACES_ROUNDS").map_or(ROUNDS, |rounds| rounds as usize);
    let seed = number("RACES_SEED").unwrap_or(0);
    let scenario = Arc::new(scenario);
    let random = RandomScheduler::new_from_seed(seed, rounds);
    run(random, Arc::clone(&scenario));
    let preferring = PctScheduler::new_from_seed(seed, CHANGES, rounds);
    run(preferring, scenario);
}

fn run<F>(
    scheduler: impl Scheduler + 'static,
    scenario: Arc<impl Fn() -> F + Send + Sync + 'static>,
) where
    F: Future<Output = ()>,
{
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(STEPS);
    // What a schedule was is of no use to a reader; the seed brings it again.
    config.failure_persistence = FailurePersistence::None;
    Runner::new(scheduler, config).run(move || block_on(scenario()));
}

/// A server that is watched: what its handlers saw, and whether it is gone.
pub(crate) struct Watched {
    pub(crate) server: Server,
    seen: Arc<Seen>,
}

/// What the handlers saw. The server owns it through them.
#[derive(Default)]
struct Seen {
    messages: Mutex<Vec<String>>,
    left: Mutex<Vec<DisconnectReason>>,
}

impl Seen {
    fn hear(&self, message: &Message) {
        let text = message.as_text().unwrap_or_default().to_owned();
        self.messages.lock().unwrap().push(text);
    }
}

impl Watched {
    pub(crate) fn new(builder: ServerBuilder) -> Self {
        let seen = Arc::new(Seen::default());
        let for_messages = Arc::clone(&seen);
        let builder = builder.on_message(move |_: Socket, message: Message| {
            for_messages.hear(&message);
        });
        Self::build(builder, seen)
    }

    /// One whose application takes its time for each message.
    pub(crate) fn slow(builder: ServerBuilder) -> Self {
        let seen = Arc::new(Seen::default());
        let for_messages = Arc::clone(&seen);
        let builder = builder.on_message(move |_: Socket, message: Message| {
            let seen = Arc::clone(&for_messages);
            async move {
                future::yield_now().await;
                seen.hear(&message);
                future::yield_now().await;
            }
        });
        Self::build(builder, seen)
    }

    fn build(builder: ServerBuilder, seen: Arc<Seen>) -> Self {
        let for_ends = Arc::clone(&seen);
        let server = builder
            .on_disconnect(move |_: Socket, reason| for_ends.left.lock().unwrap().push(reason))
            .build();
        Self { server, seen }
    }

    /// The messages that the application got.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.seen.messages.lock().unwrap().clone()
    }

    /// Waits until the application has heard of the end of a client, and so of all its messages.
    pub(crate) async fn goodbye(&self) {
        until(|| !self.seen.left.lock().unwrap().is_empty()).await;
    }

    /// Waits until every client has left and nothing keeps the server alive but this handle; gives the reasons for
    /// which clients were disconnected.
    pub(crate) async fn gone(self) -> Vec<DisconnectReason> {
        until(|| self.server.is_empty() && self.server.sockets().is_empty()).await;
        drop(self.server);
        // A session that stays in the registry keeps the server, and the server keeps its handlers.
        until(|| Arc::strong_count(&self.seen) == 1).await;
        std::mem::take(&mut self.seen.left.lock().unwrap())
    }

    /// As [`gone`](Self::gone), where so many clients were let in.
    pub(crate) async fn clean_after(self, clients: usize) {
        assert_eq!(self.gone().await.len(), clients);
    }
}

/// Lets the others go on until it is so.
#[track_caller]
pub(crate) fn until(mut is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        for _ in 0..PATIENCE {
            if is_so() {
                return;
            }
            future::yield_now().await;
        }
        panic!("it never came so: {caller}");
    }
}

/// What one poll brings: the packets, or `None` if it is refused.
pub(crate) async fn poll(server: &Server, sid: &str) -> Option<Vec<String>> {
    let response = support::poll(server, sid).await;
    let packets = support::text(&response);
    (response.status() == StatusCode::OK)
        .then(|| packets.split('\x1e').map(str::to_owned).collect())
}

/// Polls until the session is over; gives the messages that came.
pub(crate) async fn poll_to_the_end(server: &Server, sid: &str) -> Vec<String> {
    let mut messages = Vec::new();
    while let Some(packets) = poll(server, sid).await {
        messages.extend(texts(&packets));
        if packets.iter().any(|packet| packet == "1") {
            break;
        }
    }
    messages
}

/// The messages among packets.
pub(crate) fn texts(packets: &[String]) -> Vec<String> {
    let messages = packets.iter().filter_map(|packet| packet.strip_prefix('4'));
    messages.map(str::to_owned).collect()
}

pub(crate) fn numbers(end: usize) -> Vec<String> {
    (0..end).map(|n| n.to_string()).collect()
}

/// Waits for a task that may have to wait for the server's clock, and lets time pass meanwhile.
pub(crate) async fn in_time<T>(task: future::JoinHandle<T>) -> T {
    let runtime = RUNTIME.get().expect("within `explore`");
    for _ in 0..PATIENCE {
        if task.is_finished() {
            break;
        }
        future::yield_now().await;
        runtime.block_on(tokio::time::advance(Duration::from_millis(1)));
    }
    task.await.unwrap()
}
