//! Clients that mind their own business, on either transport, while another one attacks.

use std::time::{Duration, Instant};

use engineio_e2e::puppet::Puppet;
use engineio_e2e::within;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::machine::Machine;

/// The interval between messages of a bystander for which nobody waits.
const PACE: Duration = Duration::from_millis(20);

/// The time limit for a round trip of a bystander, whatever happens to the server meanwhile. With the pace, it shows each
/// pause of half a second, whenever that begins.
const ROUND_TRIP: Duration = Duration::from_millis(480);

/// The record of a bystander so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// The number of messages that came back, each once and in order.
    pub(crate) rounds: u64,
    /// The longest of these round trips.
    pub(crate) slowest: Duration,
    /// The number of broadcasts received, each once and in order.
    pub(crate) news: usize,
}

/// A client that sends a message, waits for its echo, and begins again.
pub(crate) struct Bystander {
    task: JoinHandle<()>,
    progress: watch::Receiver<Progress>,
    demand: watch::Sender<Demand>,
}

/// The progress that an attack must leave to a bystander.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Demand {
    /// Messages at its own pace, which leaves the processors to the attack.
    Pace,
    /// Messages without a pause: the attack waits for its progress.
    Hurry,
    Leave,
}

impl Bystander {
    /// Polls for a session over one connection, and posts over the other.
    pub(crate) fn over_polling(target: String, poll: Puppet, post: Puppet) -> Self {
        Self::start(Polling {
            poll,
            post,
            target,
            waiting: false,
        })
    }

    /// Speaks over the WebSocket of a session.
    pub(crate) fn over_websocket(socket: Puppet) -> Self {
        Self::start(socket)
    }

    fn start(line: impl Line) -> Self {
        let (tell, progress) = watch::channel(Progress::default());
        let (demand, demanded) = watch::channel(Demand::Pace);
        Self {
            task: tokio::spawn(stand_by(line, tell, demanded)),
            progress,
            demand,
        }
    }

    /// Waits until it has come so far.
    pub(crate) async fn reach(&mut self, reached: impl FnMut(&Progress) -> bool) -> Progress {
        self.demand.send_replace(Demand::Hurry);
        let progress = within("a bystander", self.progress.wait_for(reached)).await;
        self.demand.send_replace(Demand::Pace);
        match progress {
            Ok(progress) => *progress,
            Err(_) => {
                let ended = (&mut self.task).await;
                panic!("a bystander is gone: {ended:?}");
            }
        }
    }

    /// Two whole round trips from now on; the first may have begun already.
    pub(crate) async fn is_well(&mut self) -> Progress {
        let rounds = self.progress.borrow().rounds;
        self.reach(|progress| progress.rounds >= rounds + 2).await
    }

    /// It says goodbye. None of its round trips took long.
    pub(crate) async fn leave(self, machine: &Machine) -> Progress {
        self.demand.send_replace(Demand::Leave);
        within("a bystander's end", self.task).await.unwrap();
        let progress = *self.progress.borrow();
        let limit = ROUND_TRIP + machine.allowance();
        assert!(progress.slowest < limit, "{progress:?}, limit {limit:?}");
        progress
    }
}

/// The transport of a bystander.
trait Line: Send + 'static {
    fn send(&mut self, packet: &str) -> impl Future<Output = ()> + Send;
    fn receive(&mut self) -> impl Future<Output = Vec<String>> + Send;
}

async fn stand_by(
    mut line: impl Line,
    tell: watch::Sender<Progress>,
    mut demanded: watch::Receiver<Demand>,
) {
    let mut progress = Progress::default();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let hurried = demanded.wait_for(|demand| *demand != Demand::Pace);
        tokio::select! {
            _ = hurried => {}
            _ = pace.tick() => {}
        }
        if *demanded.borrow() == Demand::Leave {
            break;
        }
        let message = format!("4{} I mind my own business", progress.rounds);
        let begun = Instant::now();
        line.send(&message).await;
        let mut echoed = false;
        while !echoed {
            for packet in line.receive().await {
                let news = format!("4news {} ", progress.news);
                if packet == "2" {
                    line.send("3").await;
                } else if packet.starts_with(&news) {
                    progress.news += 1;
                } else {
                    assert!(
                        packet == message && !echoed,
                        "expected {message}, got {packet}"
                    );
                    echoed = true;
                    progress.rounds += 1;
                    progress.slowest = progress.slowest.max(begun.elapsed());
                }
            }
            tell.send_replace(progress);
        }
    }
    line.send("1").await;
}

struct Polling {
    poll: Puppet,
    post: Puppet,
    target: String,
    /// A GET is on its way.
    waiting: bool,
}

impl Polling {
    async fn ask(&mut self) {
        if !std::mem::replace(&mut self.waiting, true) {
            self.poll.send_get(&self.target).await;
        }
    }
}

impl Line for Polling {
    async fn send(&mut self, packet: &str) {
        self.ask().await;
        let posted = self.post.post(&self.target, packet).await;
        assert_eq!(posted.text(), "ok", "{posted:?}");
    }

    async fn receive(&mut self) -> Vec<String> {
        self.ask().await;
        let payload = self.poll.response().await;
        self.waiting = false;
        assert_eq!(payload.status, 200, "{payload:?}");
        payload.text().split('\x1e').map(str::to_owned).collect()
    }
}

impl Line for Puppet {
    async fn send(&mut self, packet: &str) {
        self.say(packet).await;
    }

    async fn receive(&mut self) -> Vec<String> {
        vec![self.hear().await]
    }
}
