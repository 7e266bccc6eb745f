//! A cluster of processes while something fails.

use std::time::Duration;

use engineio_cluster::{Cluster, EmitError, Emitter, Nats, PublishError, Redis};
use engineio_tower::Server;
use tokio::time::{Instant, interval, timeout};

use crate::broker::{Broker, Kind, LIMIT};
use crate::node::{Audience, Balancer, Node, Report, Talker, go_on};

/// The longest time that a client waits whose nodes are untouched. Its target is 100 ms on an idle machine.
pub(crate) const BYSTANDER_LIMIT: Duration = Duration::from_millis(500);

pub(crate) async fn emitter(broker: &Broker) -> Emitter {
    let url = broker.url();
    match broker.kind {
        Kind::Nats => Emitter::connect(Nats::connect(&url).await.unwrap()).await,
        Kind::Redis => Emitter::connect(Redis::connect(&url).await.unwrap()).await,
    }
}

/// Starts three nodes at the same time.
pub(crate) async fn three(broker: &Broker) -> [Node; 3] {
    std::thread::scope(|scope| {
        let starting = ["a", "b", "c"].map(|name| scope.spawn(move || Node::start(name, broker)));
        starting.map(|node| node.join().unwrap())
    })
}

/// Talks by both transports.
pub(crate) fn talkers(url: &str, count: usize) -> Vec<Talker> {
    let each = (0..count).map(|number| Talker::start(url.to_owned(), number % 2 == 0));
    each.collect()
}

pub(crate) async fn all_more(talkers: &[Talker], count: u64) {
    for talker in talkers {
        talker.more(count).await;
    }
}

pub(crate) async fn reports(talkers: Vec<Talker>) -> Vec<Report> {
    let mut reports = Vec::new();
    for talker in talkers {
        reports.push(talker.stop().await);
    }
    reports
}

/// Waits until an emitter sees so many nodes.
pub(crate) async fn until_nodes(emitter: &Emitter, count: usize) {
    let mut ticks = interval(Duration::from_millis(50));
    let reached = async {
        while emitter.nodes().len() != count {
            ticks.tick().await;
        }
    };
    timeout(LIMIT, reached)
        .await
        .expect("the nodes see each other");
}

pub(crate) fn assert_untouched(reports: &[Report]) {
    for report in reports {
        assert_eq!(report.ended, 0, "{report:?}");
        assert!(report.messages > 0, "{report:?}");
    }
}

/// Every client of every node gets each broadcast once, whoever sends it.
pub(crate) async fn broadcasts_reach_every_client_once(kind: Kind) {
    let broker = Broker::start(kind);
    let nodes = three(&broker).await;
    let emitter = emitter(&broker).await;
    let urls = nodes.iter().flat_map(|node| [node.url(), node.url()]);
    let mut audience = Audience::connect(urls).await;
    for number in 0..20 {
        assert_eq!(emitter.broadcast(number.to_string()).await, Ok(3));
    }
    audience.send(1, "bcast:by a client").await;
    let sids = audience.sids();
    let last = sids.last().unwrap().parse().unwrap();
    let mut expected: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    expected.push("bcast:by a client".to_owned());
    // It leaves another node, so that it may overtake what the emitter sends.
    let mut ends = 0;
    let mut got = vec![Vec::new(); sids.len()];
    while ends == 0 || got.iter().any(|got| got.len() < expected.len()) {
        ends += 1;
        let end = format!("end {ends}");
        emitter.broadcast(end.as_str()).await.unwrap();
        for (all, more) in got.iter_mut().zip(audience.collect_until(&end).await) {
            all.extend(more);
        }
        assert!(ends < 100, "{got:?}");
    }
    for mut got in got {
        // Only the order of one sender is promised.
        let by_client = got
            .iter()
            .position(|text| text.starts_with("bcast:"))
            .unwrap();
        let text = got.remove(by_client);
        got.push(text);
        assert_eq!(got, expected);
    }
    assert_eq!(emitter.send(&last, "to one").await, Ok(()));
    assert_eq!(emitter.disconnect(&last).await, Ok(true));
    assert_eq!(emitter.disconnect(&last).await, Ok(false));
}

/// The row "broker gone for any time": broadcasts are lost, and nothing else.
pub(crate) async fn a_killed_broker_costs_broadcasts_and_no_session(kind: Kind) {
    let mut broker = Broker::start(kind);
    let nodes = three(&broker).await;
    let balancer = Balancer::start(&nodes).await;
    let talkers = talkers(&balancer.url(), 6);
    all_more(&talkers, 20).await;
    broker.kill();
    // Longer than the silence after which a node is dead.
    go_on(Duration::from_secs(7)).await;
    all_more(&talkers, 20).await;
    broker.restart();
    let emitter = emitter(&broker).await;
    until_nodes(&emitter, 3).await;
    all_more(&talkers, 20).await;
    assert_eq!(emitter.broadcast("again").await, Ok(3));
    assert_untouched(&reports(talkers).await);
}

/// The buffers of the system take messages that a broker does not read. Such a broadcast must not be reported as sent.
pub(crate) async fn a_broadcast_that_a_frozen_broker_does_not_take_is_an_error(kind: Kind) {
    let broker = Broker::start(kind);
    let (url, server) = (broker.url(), Server::builder().build());
    let node = match kind {
        Kind::Nats => Cluster::builder().bus(Nats::connect(&url).await.unwrap()),
        Kind::Redis => Cluster::builder().bus(Redis::connect(&url).await.unwrap()),
    };
    let cluster = node.start(&server).await.unwrap();
    let emitter = emitter(&broker).await;
    until_nodes(&emitter, 1).await;
    assert_eq!(cluster.broadcast("before").await, Ok(0));
    assert_eq!(emitter.broadcast("before").await, Ok(1));
    broker.freeze();
    let began = Instant::now();
    let (by_node, by_emitter) =
        tokio::join!(cluster.broadcast("frozen"), emitter.broadcast("frozen"));
    let unconfirmed = PublishError::Unconfirmed;
    assert_eq!(by_node.unwrap_err().bus, Some(unconfirmed));
    assert_eq!(by_emitter, Err(EmitError::Publish(unconfirmed)));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    broker.thaw();
}

/// A bus that accepts and delivers nothing: nobody is declared dead.
pub(crate) async fn a_deaf_bus_costs_no_session(kind: Kind) {
    let broker = Broker::start(kind);
    let nodes = three(&broker).await;
    let balancer = Balancer::start(&nodes).await;
    let talkers = talkers(&balancer.url(), 6);
    all_more(&talkers, 20).await;
    broker.freeze();
    go_on(Duration::from_secs(8)).await;
    all_more(&talkers, 20).await;
    broker.thaw();
    let emitter = emitter(&broker).await;
    until_nodes(&emitter, 3).await;
    all_more(&talkers, 20).await;
    assert_untouched(&reports(talkers).await);
}

/// The row "node frozen for 3 s": its sessions wait, and nobody else notices.
pub(crate) async fn a_node_that_stands_still_for_three_seconds_loses_nothing(kind: Kind) {
    let broker = Broker::start(kind);
    let nodes = three(&broker).await;
    let [a, b, c] = &nodes;
    let untouched = Balancer::start([a, b]).await;
    let bystanders = talkers(&untouched.url(), 4);
    let of_c = Balancer::start([c]).await;
    let theirs = talkers(&of_c.url(), 2);
    all_more(&theirs, 10).await;
    // From now on the requests of its sessions enter elsewhere.
    of_c.set([a.address, b.address]);
    all_more(&theirs, 10).await;
    c.freeze();
    go_on(Duration::from_secs(3)).await;
    c.thaw();
    all_more(&theirs, 10).await;
    assert_untouched(&reports(theirs).await);
    let bystanders = reports(bystanders).await;
    assert_untouched(&bystanders);
    for report in bystanders {
        assert!(report.longest_gap < BYSTANDER_LIMIT, "{report:?}");
    }
}

/// A node that stands still for longer than the silence is taken for dead, and is a member again when it wakes up.
pub(crate) async fn a_node_that_stands_still_for_eight_seconds_is_given_up_and_comes_back(
    kind: Kind,
) {
    let broker = Broker::start(kind);
    let nodes = three(&broker).await;
    let [a, b, c] = &nodes;
    let emitter = emitter(&broker).await;
    until_nodes(&emitter, 3).await;
    let untouched = Balancer::start([a, b]).await;
    let bystanders = talkers(&untouched.url(), 4);
    all_more(&bystanders, 10).await;
    let audience = Audience::connect([c.url()]).await;
    let target = format!(
        "/engine.io/?EIO=4&transport=polling&sid={}",
        audience.sids()[0]
    );
    c.freeze();
    until_nodes(&emitter, 2).await;
    go_on(Duration::from_secs(3)).await;
    let (status, body) = a.get(&target).await;
    assert_eq!((status, body.contains("\"code\":1")), (400, true), "{body}");
    c.thaw();
    until_nodes(&emitter, 3).await;
    all_more(&bystanders, 10).await;
    let (status, _) = c.get("/engine.io/?EIO=4&transport=polling").await;
    assert_eq!(status, 200);
    assert_untouched(&reports(bystanders).await);
}

/// The row "owner killed": its port refuses at once, and its clients learn that their sessions are over.
pub(crate) async fn the_clients_of_a_killed_owner_learn_it_at_once(kind: Kind) {
    let broker = Broker::start(kind);
    let [a, b, mut c] = three(&broker).await;
    let untouched = Balancer::start([&a, &b]).await;
    let bystanders = talkers(&untouched.url(), 4);
    all_more(&bystanders, 10).await;
    let (_, opened) = c.get("/engine.io/?EIO=4&transport=polling").await;
    let sid = opened
        .split("\"sid\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let target = format!("/engine.io/?EIO=4&transport=polling&sid={sid}");
    c.kill();
    let killed = Instant::now();
    loop {
        let (status, body) = a.get(&target).await;
        if status == 400 {
            assert!(body.contains("\"code\":1"), "{body}");
            break;
        }
        // Until the owner is known to be dead.
        assert_eq!(status, 503, "{body}");
        assert!(killed.elapsed() < LIMIT);
    }
    let took = killed.elapsed();
    println!("owner killed: 400 after {took:?}");
    // The target is 300 ms on an idle machine; silence alone would take 4.5 s.
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_untouched(&reports(bystanders).await);
}

/// The younger of two nodes with one id refuses to start, and says what to do.
pub(crate) async fn a_second_node_with_one_id_refuses_to_start(kind: Kind) {
    let broker = Broker::start(kind);
    let nodes = three(&broker).await;
    let talkers = talkers(&nodes[0].url(), 2);
    all_more(&talkers, 10).await;
    let (status, said) = Node::refused("a", &broker);
    assert!(!status.success());
    assert!(
        said.contains("has the id a: stop it, or give this node another name"),
        "{said}"
    );
    all_more(&talkers, 10).await;
    assert_untouched(&reports(talkers).await);
}

/// Three nodes are replaced one by one; each client reconnects once at most while a node is replaced.
pub(crate) async fn a_rolling_deploy_ends_each_session_once_and_loses_nothing(kind: Kind) {
    let broker = Broker::start(kind);
    let old = three(&broker).await;
    let balancer = Balancer::start(&old).await;
    let talkers = talkers(&balancer.url(), 12);
    all_more(&talkers, 10).await;
    // New clients go to the new nodes, so that nobody moves twice.
    let mut new = Vec::new();
    for name in ["d", "e", "f"] {
        new.push(Node::start(name, &broker));
    }
    balancer.set(new.iter().map(|node| node.address));
    for node in old {
        node.leave();
        all_more(&talkers, 10).await;
    }
    let emitter = emitter(&broker).await;
    until_nodes(&emitter, 3).await;
    for report in reports(talkers).await {
        assert!(report.ended <= 1, "{report:?}");
    }
}

/// Somebody floods the channel with broadcasts and with what is no message at all: the queues are bounded, and requests do
/// not pass through the broker.
pub(crate) async fn a_flood_on_the_bus_costs_no_session(kind: Kind) {
    let broker = Broker::start(kind);
    let nodes = three(&broker).await;
    let balancer = Balancer::start(&nodes).await;
    let talkers = talkers(&balancer.url(), 6);
    all_more(&talkers, 10).await;
    let (bus, emitter) = (broker.connect().await, emitter(&broker).await);
    let end = Instant::now() + Duration::from_secs(3);
    let (mut garbage, mut broadcasts) = (0, 0);
    while Instant::now() < end {
        for _ in 0..100 {
            // A broker that is busy takes no more for a moment.
            garbage += u64::from(bus.publish(vec![0xff; 200].into()).await.is_ok());
        }
        broadcasts += u64::from(emitter.broadcast("x".repeat(1_000)).await.is_ok());
    }
    println!("flood over {kind:?}: {garbage} messages of no kind, {broadcasts} broadcasts");
    all_more(&talkers, 10).await;
    until_nodes(&emitter, 3).await;
    assert_eq!(emitter.broadcast("again").await, Ok(3));
    assert_untouched(&reports(talkers).await);
}

/// Redis cuts subscribers that it cannot send to: the nodes subscribe again, and their sessions notice nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_redis_cuts_at_its_output_buffer_limit_come_back() {
    let broker = Broker::start(Kind::Redis);
    let nodes = three(&broker).await;
    let balancer = Balancer::start(&nodes).await;
    let talkers = talkers(&balancer.url(), 6);
    all_more(&talkers, 10).await;
    // The default limit is 32 MB.
    let foreign = vec![b'x'; 33 * 1024 * 1024];
    broker.redis_command(&[b"PUBLISH", b"engineio", &foreign]);
    let emitter = emitter(&broker).await;
    until_nodes(&emitter, 3).await;
    assert_eq!(emitter.broadcast("again").await, Ok(3));
    all_more(&talkers, 10).await;
    assert_untouched(&reports(talkers).await);
}

/// A fault every five seconds, for `ENGINEIO_SOAK_SECONDS` (15 by default), with every message counted.
pub(crate) async fn a_soak_with_a_fault_every_five_seconds_loses_nothing(kind: Kind) {
    let seconds = std::env::var("ENGINEIO_SOAK_SECONDS").ok();
    let seconds = seconds.map_or(15, |text| text.parse().expect("a number of seconds"));
    let mut broker = Broker::start(kind);
    let mut nodes = three(&broker).await;
    let balancer = Balancer::start(&nodes).await;
    let talkers = talkers(&balancer.url(), 12);
    all_more(&talkers, 10).await;
    let end = Instant::now() + Duration::from_secs(seconds);
    for fault in (0..5).cycle() {
        if Instant::now() >= end {
            break;
        }
        match fault {
            0 => {
                broker.kill();
                go_on(Duration::from_secs(2)).await;
                broker.restart();
            }
            1 => {
                nodes[1].freeze();
                go_on(Duration::from_secs(2)).await;
                nodes[1].thaw();
            }
            2 => {
                nodes[2].kill();
                let gone = nodes[2].address;
                let left = nodes.iter().map(|node| node.address);
                balancer.set(left.filter(|address| *address != gone));
                nodes[2] = Node::start("c", &broker);
                balancer.set(nodes.iter().map(|node| node.address));
            }
            3 => {
                broker.freeze();
                go_on(Duration::from_secs(3)).await;
                broker.thaw();
            }
            _ => {
                let (status, _) = Node::refused("a", &broker);
                assert!(!status.success());
            }
        }
        go_on(Duration::from_secs(3)).await;
    }
    all_more(&talkers, 20).await;
    let emitter = emitter(&broker).await;
    until_nodes(&emitter, 3).await;
    let reports = reports(talkers).await;
    let messages: u64 = reports.iter().map(|report| report.messages).sum();
    let ended: u64 = reports.iter().map(|report| report.ended).sum();
    println!("soak over {kind:?}: {messages} messages, {ended} sessions ended");
}
