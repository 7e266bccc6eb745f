//! So many messages in flight as elsewhere, but passed round among many more clients.
//!
//! When every one of thousands of clients has a message in flight, each waits for longer than the kernel delays an
//! acknowledgement, and a message costs a packet and a timer more. Here it costs what a client costs that was quiet for
//! a while.

use std::cell::RefCell;
use std::task::{Context, Waker};
use std::time::Instant;

use anyhow::Result;
use serde_json::Value;
use tokio::task::JoinSet;

use super::frames::{Batch, Tail};
use super::ws::{Pace, WebSocket};
use super::{Load, meter};

/// The distance over which a turn is passed on: a prime, so that every client gets one, and so large that the next client is not a neighbour
/// in memory.
const STRIDE: usize = 7_919;

/// The turns of a client.
#[derive(Clone, Default)]
struct Seat {
    /// The number of messages that may have been sent by now.
    turns: u64,
    waker: Option<Waker>,
}

thread_local! {
    static RING: RefCell<Vec<Seat>> = RefCell::default();
}

struct Member {
    number: usize,
    sent: u64,
    echoes: u64,
    since: Instant,
}

impl Pace for Member {
    fn echoed(&mut self, _: u64, count: u64, now: Instant) {
        self.echoes += count;
        meter::count(count);
        meter::took(now - self.since);
        RING.with_borrow_mut(|ring| {
            let next = (self.number + STRIDE) % ring.len();
            ring[next].turns += count;
            let wake = match meter::stopped() {
                false => next..next + 1,
                // Clients whose turn would never come leave too.
                true => 0..ring.len(),
            };
            for seat in &mut ring[wake] {
                if let Some(waker) = seat.waker.take() {
                    waker.wake();
                }
            }
        });
    }

    fn allowed(&mut self, cx: &mut Context<'_>) -> u64 {
        if meter::stopped() {
            return self.sent;
        }
        RING.with_borrow_mut(|ring| {
            let seat = &mut ring[self.number];
            seat.waker = Some(cx.waker().clone());
            // One at a time, even when turns have caught up with each other.
            seat.turns.min(self.echoes + 1)
        })
    }

    fn sending(&mut self, first: u64, count: u64) {
        if first + count > self.sent {
            self.since = Instant::now();
        }
        self.sent = first + count;
    }

    fn is_done(&self, sent: u64, echoes: u64) -> bool {
        meter::stopped() && sent == echoes
    }
}

/// Echoes over WebSockets, `depth` in flight in all.
pub(super) async fn run(load: &Load) -> Result<Value> {
    let mut ring = vec![Seat::default(); load.clients];
    for turn in 0..load.depth {
        ring[turn * load.clients / load.depth].turns += 1;
    }
    RING.set(ring);
    let tail = Tail::new(load.size);
    let sockets =
        super::open_all(load.clients, |number| WebSocket::open(load.addr, number)).await?;
    let mut clients = JoinSet::new();
    for (number, mut socket) in sockets.into_iter().enumerate() {
        let mark = |slot| format!("client {number:6} message {slot:3} ");
        let batch = Batch::new(load.size, 1, &tail, mark);
        clients.spawn(async move {
            let mut member = Member {
                number,
                sent: 0,
                echoes: 0,
                since: Instant::now(),
            };
            socket.run(&batch, &mut member).await
        });
    }
    super::window(load, clients, meter::messages, true).await
}
