//! A deployment under a crowd of clients that mostly do nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use engineio_client::{Client, Transport};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use crate::broker::{Broker, Kind};
use crate::faults::three;
use crate::node::{Balancer, Node, SPREAD};

const CLIENTS: usize = 2_000;

/// The most clients that connect at the same time.
const AT_ONCE: usize = 50;

/// The time limit for all to connect.
const LIMIT: Duration = Duration::from_secs(120);

struct Crowd {
    url: String,
    /// Lets so many connect at the same time.
    doors: Semaphore,
    connected: AtomicUsize,
    over: AtomicBool,
}

/// One crowd at a time: it takes thousands of descriptors.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Stays connected, and tells of the end of each session. Returns how many have ended.
async fn stay(
    crowd: Arc<Crowd>,
    transports: &[Transport],
    tell: mpsc::UnboundedSender<Instant>,
) -> usize {
    let mut ended = 0;
    loop {
        let door = crowd.doors.acquire().await.unwrap();
        let builder = Client::builder(&crowd.url).transports(transports.iter().copied());
        let Ok(mut client) = builder.connect().await else {
            continue;
        };
        drop(door);
        crowd.connected.fetch_add(1, Ordering::Relaxed);
        while client.next().await.is_some() {}
        crowd.connected.fetch_sub(1, Ordering::Relaxed);
        if crowd.over.load(Ordering::Relaxed) {
            return ended;
        }
        ended += 1;
        let _ = tell.send(Instant::now());
    }
}

impl Crowd {
    async fn all_connected(&self) {
        let mut look = interval(Duration::from_millis(20));
        let all = async {
            while self.connected.load(Ordering::Relaxed) < CLIENTS {
                look.tick().await;
            }
        };
        let outcome = timeout(LIMIT, all).await;
        let connected = self.connected.load(Ordering::Relaxed);
        assert!(outcome.is_ok(), "{connected} are connected");
    }
}

/// Three nodes are replaced by new ones, one after the other. Each client reconnects once, and those of a node leave it one
/// after the other too.
pub(crate) async fn two_thousand_clients_reconnect_once_each_while_three_nodes_are_replaced(
    kind: Kind,
) {
    let _alone = ALONE.lock().await;
    let broker = Broker::start(kind);
    let old = three(&broker).await;
    let balancer = Balancer::start(&old).await;
    let crowd = Arc::new(Crowd {
        url: balancer.url(),
        doors: Semaphore::new(AT_ONCE),
        connected: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    });
    let (tell, mut ends) = mpsc::unbounded_channel();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        // One in four upgrades, mostly through another node.
        let transports: &[_] = match number % 4 {
            0 => &[Transport::Polling, Transport::WebSocket],
            _ => &[Transport::WebSocket],
        };
        clients.spawn(stay(Arc::clone(&crowd), transports, tell.clone()));
    }
    crowd.all_connected().await;
    // The new nodes first, so that nobody moves twice.
    let new = ["d", "e", "f"].map(|name| Node::start(name, &broker));
    balancer.set(new.iter().map(|node| node.address));
    for node in old {
        let leaving = tokio::task::spawn_blocking(move || node.leave());
        leaving.await.unwrap();
        crowd.all_connected().await;
        let mut times = Vec::new();
        while let Ok(time) = ends.try_recv() {
            times.push(time);
        }
        times.sort_unstable();
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            panic!("nobody was there");
        };
        // Without a spread they would all go in one moment.
        let middle = &times[times.len() / 10..times.len() * 9 / 10];
        let spread = middle[middle.len() - 1] - middle[0];
        println!(
            "{} sessions ended within {:?}, eight of ten within {spread:?}",
            times.len(),
            *last - *first
        );
        assert!(spread > SPREAD / 2, "{spread:?}");
    }
    crowd.over.store(true, Ordering::Relaxed);
    for node in new {
        let leaving = tokio::task::spawn_blocking(move || node.leave());
        leaving.await.unwrap();
    }
    for ended in clients.join_all().await {
        assert!(ended <= 1, "a client has reconnected {ended} times");
    }
}
