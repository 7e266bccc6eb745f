//! Machines whose network fails: each node has a network namespace of its own.
//!
//! Such a test runs itself again in a network namespace, in which the broker and the clients live; a bridge leads from there
//! to the namespaces of the nodes. All of it vanishes with the processes.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::{Broker, Kind, LIMIT};
use crate::faults::{
    BYSTANDER_LIMIT, all_more, assert_untouched, emitter, reports, talkers, until_nodes,
};
use crate::node::{Balancer, Node, go_on, options, program};

/// Tells a test that it runs in its own namespace.
const INSIDE: &str = "ENGINEIO_OWN_NETWORK";

/// The address of the broker and the clients.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 254);

const HANDSHAKE: &str = "/engine.io/?EIO=4&transport=polling";

/// Returns whether this process has a network of its own. If not, it has run the test in one.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let status = Command::new("unshare")
        .args(["--map-root-user", "--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "it failed, or network namespaces are missing: they need root or user namespaces, util-linux and iproute2"
    );
    false
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status();
    let succeeded = status.is_ok_and(|status| status.success());
    assert!(
        succeeded,
        "`{command}` failed (Debian: apt-get install iproute2)"
    );
}

fn make_bridge() {
    run("ip link set lo up");
    run("ip link add bridge type bridge");
    run(&format!("ip address add {HERE}/24 dev bridge"));
    run("ip link set bridge up");
}

/// Starts a node on a machine of its own, which is connected to the bridge by the link of its name.
fn machine(name: &str, number: u8, broker: &Broker) -> Node {
    let ip = format!("10.9.0.{number}");
    let mut child = Command::new("unshare")
        .args(["--net", "--", "sh", "-c", "echo; read _; exec \"$@\"", "sh"])
        .arg(program())
        .args(options(name, &ip, broker))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It says so when it has its namespace, and waits for the link.
    let told = child.stdout.as_mut().unwrap().read_exact(&mut [0]);
    told.unwrap();
    let id = child.id();
    run(&format!(
        "ip link add link-{name} type veth peer name eth0 netns {id}"
    ));
    run(&format!("ip link set link-{name} master bridge up"));
    for command in [
        format!("ip address add {ip}/24 dev eth0"),
        "ip link set eth0 up".to_owned(),
        "ip link set lo up".to_owned(),
    ] {
        run(&format!("nsenter --target {id} --net {command}"));
    }
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"\n").unwrap();
    Node::started(child)
}

fn machines(broker: &Broker) -> [Node; 3] {
    std::thread::scope(|scope| {
        let starting = [("a", 1), ("b", 2), ("c", 3)]
            .map(|(name, number)| scope.spawn(move || machine(name, number, broker)));
        starting.map(|node| node.join().unwrap())
    })
}

/// Opens a session, and returns the target of its requests.
async fn opened(node: &Node) -> String {
    let (status, open) = node.get(HANDSHAKE).await;
    assert_eq!(status, 200);
    let sid = open.split("\"sid\":\"").nth(1).unwrap();
    format!("{HANDSHAKE}&sid={}", sid.split('"').next().unwrap())
}

/// The row "nodes cannot reach each other, broker fine".
pub(crate) async fn nodes_that_cannot_reach_each_other_cost_503_for_their_sessions(kind: Kind) {
    let test = match kind {
        Kind::Nats => {
            "network_of::nats::nodes_that_cannot_reach_each_other_cost_503_for_their_sessions"
        }
        Kind::Redis => {
            "network_of::redis::nodes_that_cannot_reach_each_other_cost_503_for_their_sessions"
        }
    };
    if is_inside(test) {
        // Ports that are isolated reach all others, and not each other.
        let isolate = |value: &str| {
            run(&format!("bridge link set dev link-a isolated {value}"));
            run(&format!("bridge link set dev link-b isolated {value}"));
        };
        a_cut_costs_503(kind, |_| isolate("on"), |_| isolate("off")).await;
    }
}

/// The same where only the packets in one direction are lost.
pub(crate) async fn a_network_that_fails_in_one_direction_costs_503_as_soon(kind: Kind) {
    let test = match kind {
        Kind::Nats => "network_of::nats::a_network_that_fails_in_one_direction_costs_503_as_soon",
        Kind::Redis => "network_of::redis::a_network_that_fails_in_one_direction_costs_503_as_soon",
    };
    if is_inside(test) {
        let route = |from: &Node, verb: &str| {
            run(&format!(
                "nsenter --target {} --net ip route {verb} blackhole 10.9.0.1",
                from.id()
            ));
        };
        a_cut_costs_503(kind, |b| route(b, "add"), |b| route(b, "del")).await;
    }
}

/// Cuts the network between `a` and `b`, and heals it. Both functions are given `b`.
async fn a_cut_costs_503(kind: Kind, cut: impl Fn(&Node), heal: impl Fn(&Node)) {
    make_bridge();
    let broker = Broker::at(HERE, kind, &[]);
    let [a, b, c] = machines(&broker);
    let emitter = emitter(&broker).await;
    until_nodes(&emitter, 3).await;
    // Neither of the two links of `c` is cut.
    let untouched = Balancer::start([&a, &c]).await;
    let bystanders = talkers(&untouched.url(), 4);
    all_more(&bystanders, 10).await;
    let (waiting, other) = (opened(&a).await, opened(&a).await);
    let (poll, cut) = tokio::join!(b.get(&waiting), async {
        go_on(Duration::from_millis(500)).await;
        cut(&b);
        Instant::now()
    });
    // The connection is given up when its pings are not answered.
    assert_eq!(poll.0, 503, "{}", poll.1);
    println!(
        "link cut: the waiting poll got 503 after {:?}",
        cut.elapsed()
    );
    assert!(
        cut.elapsed() < Duration::from_secs(7),
        "{:?}",
        cut.elapsed()
    );
    let begun = Instant::now();
    let (status, body) = b.get(&other).await;
    assert_eq!(status, 503, "{body}");
    println!(
        "link cut: another request got 503 after {:?}",
        begun.elapsed()
    );
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    // Both are members as before: the broker reaches them.
    assert_eq!(emitter.nodes().len(), 3);
    assert_eq!(emitter.broadcast("again").await, Ok(3));
    heal(&b);
    let healed = Instant::now();
    // The broadcast waits for this poll.
    while b.get(&other).await.0 == 503 {
        assert!(healed.elapsed() < LIMIT, "they reach each other again");
    }
    let bystanders = reports(bystanders).await;
    assert_untouched(&bystanders);
    for report in bystanders {
        assert!(report.longest_gap < BYSTANDER_LIMIT, "{report:?}");
    }
}

/// The row "owner's machine vanishes": no packet comes back from it, not even a refusal.
pub(crate) async fn a_machine_that_vanishes_costs_503_until_it_is_declared_dead(kind: Kind) {
    let test = match kind {
        Kind::Nats => {
            "network_of::nats::a_machine_that_vanishes_costs_503_until_it_is_declared_dead"
        }
        Kind::Redis => {
            "network_of::redis::a_machine_that_vanishes_costs_503_until_it_is_declared_dead"
        }
    };
    if !is_inside(test) {
        return;
    }
    make_bridge();
    let broker = Broker::at(HERE, kind, &[]);
    let [a, b, c] = machines(&broker);
    let emitter = emitter(&broker).await;
    until_nodes(&emitter, 3).await;
    let untouched = Balancer::start([&a, &b]).await;
    let bystanders = talkers(&untouched.url(), 4);
    all_more(&bystanders, 10).await;
    let lost = opened(&c).await;
    run("ip link set link-c down");
    let vanished = Instant::now();
    loop {
        let (status, body) = a.get(&lost).await;
        if status == 400 {
            assert!(body.contains("\"code\":1"), "{body}");
            break;
        }
        assert_eq!(status, 503, "{body}");
        assert!(vanished.elapsed() < LIMIT);
    }
    let took = vanished.elapsed();
    println!("machine vanished: 400 after {took:?}");
    assert!(
        took > Duration::from_secs(3) && took < Duration::from_secs(8),
        "{took:?}"
    );
    until_nodes(&emitter, 2).await;
    run("ip link set link-c up");
    until_nodes(&emitter, 3).await;
    assert_eq!(emitter.broadcast("again").await, Ok(3));
    let bystanders = reports(bystanders).await;
    assert_untouched(&bystanders);
    for report in bystanders {
        assert!(report.longest_gap < BYSTANDER_LIMIT, "{report:?}");
    }
}
