//! The ends of sessions, by either side.

use std::time::Duration;

use engineio_core::Frame;
use engineio_tower::{DisconnectReason, Message, Server, Socket, Transport};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;
use web_transport_quinn::quinn::TransportConfig;

use crate::raw::{RawSession, endpoint};
use crate::support::{Harness, echo, start, within};

/// The sessions of the test that counts lost messages; `FAREWELLS` in the environment sets another number.
const FAREWELLS: usize = 100;
const AT_ONCE: usize = 10;

/// The sessions that are closed in one moment: more than the places of newcomers.
const CLOSED_AT_ONCE: usize = 50;

async fn ends_with(harness: &mut Harness, reason: DisconnectReason) {
    assert_eq!(harness.end().await, (reason, Transport::WebTransport));
}

#[tokio::test]
async fn a_close_by_the_server_delivers_everything_then_the_close_packet_then_the_end() {
    let say_goodbye = |socket: Socket, message: Message| {
        let _ = socket.try_send(message);
        let _ = socket.try_send(vec![b'x'; 300_000]);
        socket.close();
    };
    let mut harness = start(Server::builder().on_message(say_goodbye)).await;
    let (mut peer, _) = harness.open().await;
    peer.send(b"\x044bye").await;
    assert_eq!(peer.text().await, "4bye");
    assert_eq!(peer.read().await.unwrap().1.len(), 300_000);
    assert_eq!(peer.rest().await, ["1"]);
    // Not at once: what a browser has not read is lost with the session.
    assert_eq!(peer.closed().await, (0, "server disconnect".to_owned()));
    ends_with(&mut harness, DisconnectReason::Server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_of_what_is_sent_just_before_a_close() {
    let say_goodbye = |socket: Socket, message: Message| {
        let _ = socket.try_send(message);
        socket.close();
    };
    let harness = start(Server::builder().on_message(say_goodbye)).await;
    let harness = &harness;
    let count = std::env::var("FAREWELLS").ok();
    let count = count.map_or(FAREWELLS, |count| count.parse().unwrap());
    let session = |n: usize| async move {
        let (mut peer, _) = harness.open().await;
        let text = format!("4{n}");
        peer.send_frame(Frame::text(text.clone())).await;
        assert_eq!(peer.rest().await, [text, "1".to_owned()]);
        peer.session.close(0, b"");
    };
    let mut sessions: FuturesUnordered<_> = (0..AT_ONCE.min(count)).map(session).collect();
    let mut begun = sessions.len();
    while let Some(()) = sessions.next().await {
        if begun < count {
            sessions.push(session(begun));
            begun += 1;
        }
    }
}

/// Sessions that are ending are not limited in number, only in time.
#[tokio::test]
async fn sessions_that_are_all_closed_at_once_get_everything_in_order() {
    let mut harness = start(echo()).await;
    let mut peers = Vec::new();
    for _ in 0..CLOSED_AT_ONCE {
        peers.push(harness.open().await.0);
    }
    // More than QUIC sends before the first acknowledgement, and nobody reads meanwhile.
    let large = "x".repeat(30_000);
    for socket in harness.server.sockets() {
        socket.try_send("first").unwrap();
        socket.try_send(large.clone()).unwrap();
        socket.try_send("last").unwrap();
        socket.close();
    }
    let expected = &format!("4{large}");
    let mut sessions: FuturesUnordered<_> = peers
        .iter_mut()
        .map(|peer| async move {
            assert_eq!(peer.rest().await, ["4first", expected, "4last", "1"]);
            assert_eq!(peer.closed().await.0, 0);
        })
        .collect();
    while let Some(()) = sessions.next().await {}
    for _ in 0..CLOSED_AT_ONCE {
        ends_with(&mut harness, DisconnectReason::Server).await;
    }
    assert!(harness.server.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_distant_client_that_does_not_answer_a_close_is_given_up_after_five_seconds() {
    let delay = Duration::from_secs(1);
    let harness = start(echo()).await.behind(delay).await;
    let endpoint = endpoint(&harness, TransportConfig::default());
    let mut session = RawSession::open(&harness, &endpoint).await;
    let closed = Instant::now();
    harness.server.sockets().remove(0).close();
    assert_eq!(session.read(2).await, b"\x011");
    within(session.connection.closed()).await;
    // The acknowledgement of the end, a round trip and half a second to read, the answer to the close, and the way to the
    // client.
    let after = closed.elapsed() - (2 * delay + 2 * delay + delay / 2 + delay);
    let limit = Duration::from_secs(5);
    assert!(after >= limit, "{after:?}");
    assert!(after < limit + delay / 2, "{after:?}");
}

#[tokio::test]
async fn a_client_ends_its_session_in_every_way_that_it_has() {
    // No ping has to be sent for the server to notice.
    let mut harness = start(echo().ping_interval(Duration::from_secs(1_000))).await;

    let (peer, _) = harness.open().await;
    peer.session.close(0, b"");
    ends_with(&mut harness, DisconnectReason::TransportClose).await;

    let (mut peer, _) = harness.open().await;
    peer.send(b"\x011").await;
    assert_eq!(peer.rest().await, [""; 0]);
    assert_eq!(peer.closed().await, (0, "client disconnect".to_owned()));
    ends_with(&mut harness, DisconnectReason::Client).await;

    let (mut peer, _) = harness.open().await;
    peer.send.finish().unwrap();
    assert_eq!(peer.closed().await.0, 0);
    ends_with(&mut harness, DisconnectReason::TransportClose).await;

    let (mut peer, _) = harness.open().await;
    peer.send.reset(7).unwrap();
    peer.closed().await;
    ends_with(&mut harness, DisconnectReason::TransportClose).await;

    let (mut peer, _) = harness.open().await;
    peer.recv.stop(7).unwrap();
    ends_with(&mut harness, DisconnectReason::TransportClose).await;

    // The connection is gone, without a word of HTTP/3.
    let (peer, _) = harness.open().await;
    quinn::Connection::close(&peer.session, 0u32.into(), b"");
    ends_with(&mut harness, DisconnectReason::TransportClose).await;
}

#[tokio::test]
async fn what_breaks_a_rule_ends_the_session_with_its_reason() {
    use DisconnectReason::{ParseError, PayloadTooLarge, TransportError};

    let mut harness = start(echo().max_payload(1_000)).await;
    for (bytes, reason, code) in [
        (&b"\x80"[..], ParseError, 1002),
        (b"\x00", ParseError, 1002),
        (b"\x01x", ParseError, 1002),
        // The length alone is enough.
        (b"\xfe\x03\xe9", PayloadTooLarge, 1009),
        (b"\x034\xff\xfe", TransportError, 1002),
        // Only the server may ping.
        (b"\x012", TransportError, 1002),
    ] {
        let (mut peer, _) = harness.open().await;
        peer.send(b"\x034hi").await;
        assert_eq!(peer.text().await, "4hi");
        peer.send(bytes).await;
        assert_eq!(peer.closed().await.0, code, "{bytes:?}");
        ends_with(&mut harness, reason).await;
    }
    // Exactly the limit is fine.
    let (mut peer, _) = harness.open().await;
    peer.send_frame(Frame::text(format!("4{}", "x".repeat(999))))
        .await;
    assert_eq!(peer.text().await.len(), 1_000);
}

#[tokio::test]
async fn another_stream_of_either_kind_ends_the_session() {
    let mut harness = start(echo()).await;
    let (peer, _) = harness.open().await;
    let (mut second, _recv) = within(peer.session.open_bi()).await.unwrap();
    second.write_all(b"x").await.unwrap();
    assert_eq!(peer.closed().await.0, 1002);
    ends_with(&mut harness, DisconnectReason::TransportError).await;

    let (peer, _) = harness.open().await;
    let mut one_way = within(peer.session.open_uni()).await.unwrap();
    one_way.write_all(b"x").await.unwrap();
    assert_eq!(peer.closed().await.0, 1002);
    ends_with(&mut harness, DisconnectReason::TransportError).await;
}

#[tokio::test]
async fn heartbeats_go_on_and_silence_ends_the_session() {
    let quick = Duration::from_millis(100);
    let mut harness = start(echo().ping_interval(2 * quick).ping_timeout(quick)).await;
    let (mut peer, _) = harness.open().await;
    for _ in 0..3 {
        assert_eq!(peer.text().await, "2");
        peer.send(b"\x013").await;
    }
    assert_eq!(peer.text().await, "2");
    assert_eq!(peer.closed().await, (0, "ping timeout".to_owned()));
    ends_with(&mut harness, DisconnectReason::PingTimeout).await;
}

/// As over a WebSocket, whose last bytes the system sends when the session is long gone.
#[tokio::test]
async fn a_message_that_is_on_its_way_at_the_ping_timeout_arrives_whole() {
    let quick = Duration::from_millis(300);
    let mut harness = start(echo().ping_interval(quick).ping_timeout(quick)).await;
    let (mut peer, _) = harness.open().await;
    let large = vec![7; 8_000_000];
    harness.server.sockets()[0].try_send(large.clone()).unwrap();
    ends_with(&mut harness, DisconnectReason::SlowConsumer).await;
    let session = peer.session.clone();
    let read = async {
        let (_, arrived) = peer.read().await.unwrap();
        assert!(arrived == large, "{}", arrived.len());
        assert_eq!(peer.rest().await, [""; 0]);
    };
    // A browser has nothing of a session that is closed, read or not.
    tokio::select! {
        biased;
        _ = session.closed() => panic!("closed before everything was read"),
        () = read => {}
    }
    assert_eq!(peer.closed().await.1, "slow consumer");
}

#[tokio::test]
async fn a_shutdown_tells_every_client_and_ends_the_listener() {
    let mut harness = start(echo()).await;
    let (mut peer, _) = harness.open().await;
    let socket = harness.server.sockets().remove(0);
    socket.try_send("last").unwrap();
    let server = harness.server.clone();
    let read = async {
        let rest = peer.rest().await;
        assert_eq!(rest, ["4last", "1"]);
        assert_eq!(peer.closed().await, (0, "shutdown".to_owned()));
    };
    tokio::join!(server.shutdown(Duration::from_secs(10)), read);
    ends_with(&mut harness, DisconnectReason::Shutdown).await;
    within(&mut harness.serving).await.unwrap();
    // The socket is free again.
    std::net::UdpSocket::bind(harness.address).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_session_lives_whose_pings_are_rarer_than_the_client_waits_for_a_packet() {
    let interval = Duration::from_secs(100);
    let harness = start(echo().ping_interval(interval)).await;
    let mut transport = TransportConfig::default();
    let idle = Duration::from_secs(30).try_into().unwrap();
    transport.max_idle_timeout(Some(idle));
    let endpoint = endpoint(&harness, transport);
    let mut session = RawSession::open(&harness, &endpoint).await;
    for _ in 0..2 {
        let mut ping = [0; 2];
        let read = session.recv.read_exact(&mut ping);
        tokio::time::timeout(2 * interval, read)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&ping, b"\x012");
        session.write(b"\x013").await;
    }
    session.is_alive().await;
}
