//! Limits what attacks cost a process in memory and descriptors, as Linux reports them.

use std::time::Duration;

use engineio_e2e::app::MAX_PAYLOAD;
use engineio_e2e::frame::{self, Frame};
use engineio_e2e::puppet::Puppet;

use crate::bystander::Bystander;
use crate::machine::Machine;
use crate::process::Process;
use crate::siege::{POLLING, WEBSOCKET, sid};

/// One on each transport. With them, the process has that many clients.
async fn bystanders(process: &Process) -> [Bystander; 2] {
    let mut poll = Puppet::connect(process.address).await;
    let open = poll.get(POLLING).await;
    let target = format!("{POLLING}&sid={}", sid(open.text()));
    let post = Puppet::connect(process.address).await;
    let mut socket = Puppet::connect(process.address).await;
    socket.upgrade(WEBSOCKET).await;
    assert!(socket.hear().await.starts_with("0{"));
    let mut bystanders = [
        Bystander::over_polling(target, poll, post),
        Bystander::over_websocket(socket),
    ];
    for bystander in &mut bystanders {
        bystander.is_well().await;
    }
    bystanders
}

async fn leave(bystanders: [Bystander; 2], machine: &Machine) {
    for mut bystander in bystanders {
        bystander.is_well().await;
        bystander.leave(machine).await;
    }
}

/// Five thousand sessions that are opened and never used. They are forgotten, and the next five thousand live in the
/// memory of the first.
pub(crate) async fn handshakes(host: &str) {
    const COUNT: usize = 5_000;
    let mut process = Process::start(host, Duration::from_millis(600)).await;
    let machine = Machine::watch();
    let bystanders = bystanders(&process).await;
    let mut resident = Vec::new();
    for _ in 0..2 {
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let address = process.address;
            clients.spawn(async move {
                let mut client = Puppet::connect(address).await;
                for _ in 0..COUNT / 10 {
                    assert_eq!(client.get(POLLING).await.status, 200);
                }
            });
        }
        clients.join_all().await;
        let most = process.clients().await;
        process.has_clients(bystanders.len()).await;
        resident.push(process.resident_kib());
        println!("{most} at once, then {} KiB", resident[resident.len() - 1]);
    }
    assert!(resident[1] < resident[0] * 6 / 5, "KiB: {resident:?}");
    leave(bystanders, &machine).await;
}

/// Clients that send and read nothing. What they can make the process hold is their limits, not what they send.
pub(crate) async fn stalled_readers(host: &str) {
    const CLIENTS: usize = 20;
    const MESSAGE: usize = 10_000;
    let mut process = Process::start(host, Duration::from_millis(500)).await;
    let machine = Machine::watch();
    let bystanders = bystanders(&process).await;
    let (memory, descriptors) = (process.resident_kib(), process.descriptors());
    let mut clients = tokio::task::JoinSet::new();
    let (end, over) = tokio::sync::watch::channel(false);
    for _ in 0..CLIENTS {
        let mut over = over.clone();
        let mut client = Puppet::connect(process.address).await;
        client
            .upgrade(&POLLING.replace("polling", "websocket"))
            .await;
        clients.spawn(async move {
            let message = frame::binary(&[0; MESSAGE]).repeat(10);
            tokio::select! {
                () = async { while client.try_write(&message).await {} } => {}
                _ = over.wait_for(|over| *over) => {}
            }
            client
        });
    }
    let mut most = 0;
    let mut look = tokio::time::interval(Duration::from_millis(20));
    while process.clients().await > bystanders.len() {
        most = most.max(process.resident_kib());
        look.tick().await;
    }
    // Outbox, inbox, one message more in each, what is being read and what is being written.
    let mut each = 2 * 100_000 + 4 * MESSAGE + 4 * 65_536;
    if host.starts_with("actix") {
        // It has buffers of its own on both ways.
        each += 768 * 1024;
    }
    let limit = CLIENTS * each / 1024;
    println!("{} KiB more, of {limit} KiB", most - memory);
    assert!(most < memory + limit + 4_096, "{memory} KiB, then {most}");
    // Their connections are not held on to, though there is still something to be written. actix-web keeps them until the
    // client reads or closes; it has no time limit for writing.
    if !host.starts_with("actix") {
        process.has_descriptors(descriptors).await;
    }
    end.send_replace(true);
    drop(clients.join_all().await);
    process.has_descriptors(descriptors).await;
    leave(bystanders, &machine).await;
}

/// Messages of 200 MB each, in as many bytes as may come. What they cost is the limit of a message.
pub(crate) async fn bombs(host: &str) {
    const CLIENTS: usize = 20;
    let process = Process::start(host, Duration::from_secs(25)).await;
    let machine = Machine::watch();
    let bystanders = bystanders(&process).await;
    let memory = process.resident_kib();
    let bomb = frame::of_head(0xc2, &frame::bomb(200));
    let target = POLLING.replace("polling", "websocket");
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = Puppet::connect(process.address).await;
        let agreed = client.upgrade_with(&target, "permessage-deflate").await;
        assert!(agreed.starts_with("permessage-deflate;"), "{agreed}");
        let bomb = bomb.clone();
        clients.spawn(async move {
            assert!(client.hear().await.starts_with("0{"));
            client.write(bomb).await;
            assert_eq!(client.frame().await, Some(Frame::Close(Some(1009))));
            client
        });
    }
    let clients = clients.join_all().await;
    let most = process.peak_kib();
    // The input of each client, in a buffer that doubles, and for each thread a decompressor and its output.
    let limit = (CLIENTS * 3 * bomb.len() + 4 * 4 * MAX_PAYLOAD) / 1024;
    println!("{} KiB more, of {limit} KiB", most - memory);
    assert!(most < memory + limit + 4_096, "{memory} KiB, then {most}");
    drop(clients);
    leave(bystanders, &machine).await;
}

/// More connections than the process may have descriptors. Whoever is connected notices nothing, and when they are gone
/// others are served.
pub(crate) async fn descriptors(host: &str) {
    const LIMIT: usize = 64;
    let process = Process::start_narrow(host, Duration::from_secs(25), LIMIT).await;
    let machine = Machine::watch();
    let bystanders = bystanders(&process).await;
    let mut clients = Vec::new();
    for _ in 0..2 * LIMIT {
        let mut client = Puppet::connect(process.address).await;
        client.send_get(POLLING).await;
        clients.push(client);
    }
    // The first are served.
    assert_eq!(clients[0].response().await.status, 200);
    engineio_e2e::within("the last descriptor", async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while process.descriptors() < LIMIT {
            look.tick().await;
        }
    })
    .await;
    drop(clients);
    let mut client = Puppet::connect(process.address).await;
    let open = client.get(POLLING).await;
    let target = format!("{POLLING}&sid={}", sid(open.text()));
    assert_eq!(client.post(&target, "4still here").await.text(), "ok");
    assert_eq!(client.get(&target).await.text(), "4still here");
    leave(bystanders, &machine).await;
}
