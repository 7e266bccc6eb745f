//! One client asks for broadcasts, all clients get them.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use anyhow::Result;
use serde_json::Value;
use tokio::task::JoinSet;

use super::frames::{Batch, Tail};
use super::ws::{Pace, WebSocket};
use super::{Load, meter};

/// The state that the clients share. Broadcast `n` stands at `n % depth`; the next one with that place is asked for only
/// when all clients have this one.
#[derive(Default)]
struct Round {
    clients: u32,
    depth: u64,
    completed: u64,
    received: Vec<u32>,
    since: Vec<Option<Instant>>,
    sender: Option<Waker>,
    /// No further broadcast is asked for.
    paused: bool,
}

thread_local! {
    static ROUND: RefCell<Round> = RefCell::default();
}

struct Member {
    /// The one that asks.
    sends: bool,
    sent: u64,
}

impl Pace for Member {
    fn echoed(&mut self, first: u64, count: u64, now: Instant) {
        meter::count(count);
        ROUND.with_borrow_mut(|round| {
            for number in first..first + count {
                let slot = (number % round.depth) as usize;
                round.received[slot] += 1;
                if round.received[slot] == round.clients {
                    round.received[slot] = 0;
                    round.completed += 1;
                    if let Some(since) = round.since[slot].take() {
                        meter::took(now - since);
                    }
                    if let Some(sender) = round.sender.take() {
                        sender.wake();
                    }
                }
            }
        });
    }

    fn allowed(&mut self, cx: &mut Context<'_>) -> u64 {
        if !self.sends {
            return 0;
        }
        ROUND.with_borrow_mut(|round| {
            round.sender = Some(cx.waker().clone());
            match round.paused {
                true => self.sent,
                false => round.completed + round.depth,
            }
        })
    }

    fn sending(&mut self, first: u64, count: u64) {
        ROUND.with_borrow_mut(|round| {
            for number in self.sent..first + count {
                round.since[(number % round.depth) as usize] = Some(Instant::now());
            }
        });
        self.sent = first + count;
    }

    fn is_done(&self, _: u64, _: u64) -> bool {
        false
    }
}

/// Broadcasts; what is counted are deliveries, and the latency is that of the last delivery of a broadcast.
pub(super) async fn run(load: &Load) -> Result<Value> {
    let sockets =
        super::open_all(load.clients, |number| WebSocket::open(load.addr, number)).await?;
    super::window(load, join(load, sockets, false), meter::messages, false).await
}

/// Lets clients take part in broadcasts, the first of which asks for them unless they are `paused`.
pub(super) fn join(load: &Load, sockets: Vec<WebSocket>, paused: bool) -> JoinSet<Result<()>> {
    ROUND.set(Round {
        clients: sockets.len() as u32,
        depth: load.depth as u64,
        received: vec![0; load.depth],
        since: vec![None; load.depth],
        paused,
        ..Round::default()
    });
    let tail = Tail::new(load.size);
    let mark = |slot| format!("bcast:{slot:4} ");
    let batch = Arc::new(Batch::new(load.size, load.depth, &tail, mark));
    let mut clients = JoinSet::new();
    for (number, mut socket) in sockets.into_iter().enumerate() {
        let batch = Arc::clone(&batch);
        clients.spawn(async move {
            let mut member = Member {
                sends: number == 0,
                sent: 0,
            };
            socket.run(&batch, &mut member).await
        });
    }
    clients
}

/// Goes on asking for broadcasts, or asks for none after those in flight.
pub(super) fn pause(paused: bool) {
    ROUND.with_borrow_mut(|round| {
        round.paused = paused;
        if let Some(sender) = round.sender.take() {
            sender.wake();
        }
    });
}

/// Returns how many broadcasts have reached all clients.
pub(super) fn completed() -> u64 {
    ROUND.with_borrow(|round| round.completed)
}
