//! The server's own accept loop: clients that do nothing, the end, and programs without async.

use std::net::SocketAddr;
use std::time::Duration;

use engineio_e2e::frame::{self, Frame};
use engineio_e2e::host::{PAGE, axum_app};
use engineio_e2e::http2::Http2;
use engineio_e2e::puppet::Puppet;
use engineio_e2e::{app, within};
use engineio_tower::blocking::Host;
use engineio_tower::{EngineIoService, Message, Server, Socket, serve};
use tokio::net::TcpListener;

const POLLING: &str = "/engine.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/engine.io/?EIO=4&transport=websocket";
const SOON: Duration = Duration::from_millis(100);

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn clients_that_ask_nothing_are_dropped() {
    let (listener, address) = listen().await;
    let service = EngineIoService::new(Server::builder().build());
    tokio::spawn(
        serve(listener, service)
            .header_read_timeout(SOON)
            .into_future(),
    );
    // Nothing at all; what may become HTTP/2; HTTP/2 without a request; half a head.
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for words in ["", "PRI * HT", preface, "GET / HTTP/1.1\r\nhost: "] {
        let mut client = Puppet::connect(address).await;
        client.write(words).await;
        within("the end", client.ended()).await;
    }
}

#[tokio::test]
async fn clients_may_have_all_the_time_there_is() {
    let (listener, address) = listen().await;
    let service = EngineIoService::new(Server::builder().build());
    tokio::spawn(
        serve(listener, service)
            .header_read_timeout(Duration::MAX)
            .shutdown_timeout(Duration::MAX)
            .into_future(),
    );
    let mut client = Puppet::connect(address).await;
    assert_eq!(client.get(POLLING).await.status, 200);
    let mut client = Http2::connect(address).await;
    assert_eq!(client.get(POLLING).await.0, 200);
}

#[tokio::test]
async fn a_waiting_poll_is_not_a_slow_head() {
    let (listener, address) = listen().await;
    let (server, _events) = app::echo(|builder| builder.ping_interval(SOON * 4));
    tokio::spawn(
        serve(listener, EngineIoService::new(server))
            .header_read_timeout(SOON)
            .into_future(),
    );
    let mut client = Puppet::connect(address).await;
    let open = client.get(POLLING).await;
    let sid = open.text().split('"').nth(3).unwrap().to_owned();
    assert_eq!(
        client.get(&format!("{POLLING}&sid={sid}")).await.text(),
        "2"
    );
}

#[tokio::test]
async fn a_failed_handshake_ends_its_connection_only() {
    let (listener, address) = listen().await;
    let handshake = |stream: tokio::net::TcpStream| async move {
        let mut first = [0];
        stream.readable().await?;
        stream.peek(&mut first).await?;
        match &first {
            b"G" => Ok(stream),
            _ => Err(std::io::Error::other("a client of another kind")),
        }
    };
    let service = EngineIoService::with_inner(Server::builder().build(), axum_app());
    tokio::spawn(serve(listener, service).tls(handshake).into_future());
    let mut other = Puppet::connect(address).await;
    let mut client = Puppet::connect(address).await;
    assert_eq!(client.get("/").await.text(), PAGE);
    other.write("X").await;
    within("the end", other.ended()).await;
}

#[tokio::test]
async fn a_shutdown_waits_for_requests_but_not_for_ever() {
    let (listener, address) = listen().await;
    let (server, mut events) = app::echo(|builder| builder);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = serve(listener, EngineIoService::new(server))
        .shutdown_timeout(SOON)
        .with_graceful_shutdown(async move { stopped.await.unwrap() });
    let served = tokio::spawn(served.into_future());
    let mut client = Puppet::connect(address).await;
    let open = client.get(POLLING).await;
    let sid = open.text().split('"').nth(3).unwrap().to_owned();
    client.send_get(&format!("{POLLING}&sid={sid}")).await;
    // A WebSocket is not waited for, and goes on while the runtime does.
    let mut socket = Puppet::connect(address).await;
    socket.upgrade(WEBSOCKET).await;
    assert!(socket.hear().await.starts_with("0{"));
    stop.send(()).unwrap();
    within("the end", served).await.unwrap().unwrap();
    client.ended().await;
    // The poll was broken off.
    events.disconnected().await;
    socket.say("4still here").await;
    assert_eq!(socket.hear().await, "4still here");
}

#[tokio::test]
async fn dropping_it_ends_its_connections() {
    let (listener, address) = listen().await;
    let service = EngineIoService::with_inner(Server::builder().build(), axum_app());
    let served = tokio::spawn(serve(listener, service).into_future());
    let mut client = Puppet::connect(address).await;
    assert_eq!(client.get("/").await.text(), PAGE);
    served.abort();
    client.ended().await;
}

/// Threads only on the server's side: a blocking handler, and a stop from another thread.
#[tokio::test]
async fn without_async() {
    let server = Server::builder()
        .on_message_blocking(|socket, message| {
            let _ = socket.blocking_send(message);
        })
        .build();
    let host = Host::bind("127.0.0.1:0", EngineIoService::new(server.clone())).unwrap();
    let address = host.local_addr().unwrap();
    let stopper = host.stopper();
    let running = std::thread::spawn(move || host.run());

    let mut poll = Puppet::connect(address).await;
    let open = poll.get(POLLING).await;
    let sid = open.text().split('"').nth(3).unwrap().to_owned();
    poll.send_get(&format!("{POLLING}&sid={sid}")).await;
    let mut socket = Puppet::connect(address).await;
    socket.upgrade(WEBSOCKET).await;
    assert!(socket.hear().await.starts_with("0{"));
    socket.say("4hello").await;
    assert_eq!(socket.hear().await, "4hello");
    // From a thread that belongs to no runtime.
    std::thread::spawn(move || {
        assert_eq!(server.broadcast("news"), 2);
        stopper.stop();
        stopper.stop();
    })
    .join()
    .unwrap();
    let mut told = poll.response().await.text().to_owned();
    if told == "4news" {
        told = poll
            .get(&format!("{POLLING}&sid={sid}"))
            .await
            .text()
            .to_owned();
    }
    assert!(told.ends_with('1'), "{told}");
    assert_eq!(socket.hear().await, "4news");
    assert_eq!(socket.hear().await, "1");
    assert!(matches!(socket.frame().await, Some(Frame::Close(_))));
    socket.write(frame::close(1000)).await;
    socket.ended().await;
    let run = tokio::task::spawn_blocking(|| running.join().unwrap());
    within("the host's end", run).await.unwrap().unwrap();
}

/// Broadcasts go to the connection from where they are sent, as far as it takes them, and the rest follows.
#[tokio::test]
async fn broadcasts_to_a_slow_client_arrive_whole_and_in_order_and_so_does_the_end() {
    const LEN: usize = 15_000;
    let server = Server::builder()
        .outbox_limit(64 * 1024 * 1024)
        .on_message(|socket: Socket, _: Message| socket.close())
        .build();
    let (listener, address) = listen().await;
    let service = EngineIoService::new(server.clone());
    tokio::spawn(serve(listener, service).into_future());
    let mut slow = Puppet::connect(address).await;
    let mut quick = Puppet::connect(address).await;
    for client in [&mut slow, &mut quick] {
        client.upgrade(WEBSOCKET).await;
        assert!(client.hear().await.starts_with("0{"));
    }
    let message = |number: usize| format!("{number:0LEN$}");
    // More than the buffers of the system hold.
    for number in 0..1_000 {
        assert_eq!(server.broadcast(message(number)), 2);
        assert_eq!(quick.hear().await[1..], message(number));
    }
    slow.say("4enough").await;
    for number in 0..1_000 {
        assert_eq!(slow.hear().await[1..], message(number));
    }
    assert_eq!(slow.hear().await, "1");
    assert!(matches!(slow.frame().await, Some(Frame::Close(_))));
}

/// Nobody is connected by it yet, so that there is nothing to be finished.
#[tokio::test]
async fn a_handshake_under_way_holds_up_no_shutdown() {
    let (listener, address) = listen().await;
    let (begun, mut beginning) = tokio::sync::mpsc::unbounded_channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = serve(listener, EngineIoService::new(Server::builder().build()))
        .tls(move |stream| {
            begun.send(()).unwrap();
            async move {
                // Its first words never come.
                std::future::pending::<()>().await;
                Ok(stream)
            }
        })
        .header_read_timeout(Duration::MAX)
        .shutdown_timeout(Duration::MAX)
        .with_graceful_shutdown(async move { stopped.await.unwrap() });
    let served = tokio::spawn(served.into_future());
    let mut client = Puppet::connect(address).await;
    beginning.recv().await.unwrap();
    stop.send(()).unwrap();
    within("the end", served).await.unwrap().unwrap();
    client.ended().await;
}
