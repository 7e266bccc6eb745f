//! Peers that keep no rule, and those that keep the server waiting.

use std::time::Duration;

use engineio_tower::{DisconnectReason, Message, SendError, Server, Socket, Transport};
use futures_util::FutureExt;
use tokio::time::{Instant, interval, timeout};
use web_transport_quinn::quinn::TransportConfig;

use crate::raw::{self, RawSession, SETTINGS, connect, connect_with, endpoint};
use crate::support::{PLACES, echo, start, within};

/// The default time to the first packet, from the connection and again from the session.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// The handshakes of the test that lets them fail; `HANDSHAKES` in the environment sets another number.
const HANDSHAKES: usize = 200;

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_get_to_its_first_packet_is_closed_in_time() {
    let harness = start(echo()).await;
    let in_time = |began: Instant| {
        let late = began.elapsed().checked_sub(UPGRADE_TIMEOUT);
        assert!(
            late.is_some_and(|late| late < Duration::from_millis(100)),
            "{late:?}"
        );
    };

    let began = Instant::now();
    let silent = connect(&harness).await.unwrap();
    within(silent.closed()).await;
    in_time(began);

    let began = Instant::now();
    let without_request = connect(&harness).await.unwrap();
    let _control = raw::settings(&without_request).await;
    within(without_request.closed()).await;
    in_time(began);

    let began = Instant::now();
    let without_settings = connect(&harness).await.unwrap();
    let _request = raw::request(&harness, &without_settings, "/engine.io/").await;
    within(without_settings.closed()).await;
    in_time(began);

    let session = harness.request(harness.url("/engine.io/")).await.unwrap();
    let began = Instant::now();
    within(session.closed()).await;
    in_time(began);

    // A first packet of which a byte comes each half second.
    let mut dribbling = harness.stream().await;
    let began = Instant::now();
    dribbling.send(b"\x7e\x00\x80").await;
    let (send, session) = (&mut dribbling.send, &dribbling.session);
    let dribble = async {
        let mut pace = interval(Duration::from_millis(500));
        while send.write_all(b"0").await.is_ok() {
            pace.tick().await;
        }
    };
    let closed = async {
        within(session.closed()).await;
        in_time(began);
    };
    tokio::join!(dribble, closed);
    assert_eq!(dribbling.closed().await, (0, "transport close".to_owned()));
    assert!(harness.server.is_empty());
}

#[tokio::test]
async fn newcomers_of_one_address_have_so_many_places_and_give_them_back() {
    let harness = start(echo().upgrade_timeout(Duration::from_secs(3_600))).await;
    let mut waiting = Vec::new();
    for _ in 0..PLACES {
        waiting.push(connect(&harness).await.unwrap());
    }
    connect(&harness).await.unwrap_err();
    for connection in waiting {
        connection.close(0u32.into(), b"");
    }
    // The places are free as soon as the server has heard of it.
    let mut attempts = 0;
    while connect(&harness).await.is_err() {
        attempts += 1;
        assert!(attempts < 1_000, "the places are not given back");
    }
}

#[tokio::test]
async fn sessions_that_have_begun_take_no_place_of_newcomers() {
    let harness = start(echo()).await;
    let mut peers = Vec::new();
    for _ in 0..2 * PLACES {
        peers.push(harness.open().await);
    }
    assert_eq!(harness.server.len(), 2 * PLACES);
}

#[tokio::test]
async fn failed_handshakes_leave_nothing_behind() {
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let harness = start(echo()).await;
    let count = std::env::var("HANDSHAKES").ok();
    let count = count.map_or(HANDSHAKES, |count| count.parse().unwrap());
    for n in 0..count {
        if n % 6 < 2 {
            let connection = connect(&harness).await.unwrap();
            let _control = raw::settings(&connection).await;
            if n % 6 == 1 {
                let _request = raw::request(&harness, &connection, "/elsewhere").await;
            }
            connection.close(0u32.into(), b"");
            continue;
        }
        let mut peer = harness.stream().await;
        match n % 6 {
            2 => peer.send(b"\x81\x02\x03").await,
            3 => peer.send(b"\x0e0{\"sid\":\"abc\"}").await,
            4 => peer.send.finish().unwrap(),
            _ => peer.session.close(0, b""),
        }
        within(peer.session.closed()).await;
    }
    assert!(harness.server.is_empty());
    // All places are free, so none was lost.
    harness.open().await;
    within(harness.server.shutdown(Duration::from_secs(5))).await;
    within(harness.serving).await.unwrap();
    drop(harness.server);
    // Connections linger for a moment after they were closed (RFC 9000 § 10.2).
    let gone = async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    within(gone).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_no_room_for_the_answer_is_closed_in_time() {
    let harness = start(echo()).await;
    for path in ["/engine.io/", "/elsewhere"] {
        let mut transport = TransportConfig::default();
        // Enough for the SETTINGS of the server, and no more.
        transport
            .receive_window(40u32.into())
            .keep_alive_interval(Some(UPGRADE_TIMEOUT / 3));
        let connection = connect_with(&harness, transport).await.unwrap();
        let _control = raw::settings(&connection).await;
        let _request = raw::request(&harness, &connection, path).await;
        let mut settings = within(connection.accept_uni()).await.unwrap();
        within(settings.read_chunk(1, true)).await.unwrap();
        within(connection.closed()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_streams_are_not_taken() {
    let harness = start(echo()).await;
    let connection = connect(&harness).await.unwrap();
    let mut streams = Vec::new();
    while streams.len() < 1_000
        && let Some(stream) = connection.open_bi().now_or_never()
    {
        streams.push(stream.unwrap());
    }
    let mut one_way = Vec::new();
    while one_way.len() < 1_000
        && let Some(stream) = connection.open_uni().now_or_never()
    {
        one_way.push(stream.unwrap());
    }
    assert_eq!((streams.len(), one_way.len()), (3, 4));
    within(connection.closed()).await;
}

#[tokio::test]
async fn a_thousand_streams_that_mean_nothing_pass_one_after_another() {
    let harness = start(echo()).await;
    let endpoint = endpoint(&harness, TransportConfig::default());
    let mut session = RawSession::open(&harness, &endpoint).await;
    for _ in 0..1_000 {
        // A reserved type (RFC 9114 § 6.2.3), and a second request.
        let mut stream = within(session.connection.open_uni()).await.unwrap();
        let _ = stream.write_all(b"\x21hello").await;
        let (mut stream, _recv) = within(session.connection.open_bi()).await.unwrap();
        let _ = stream.write_all(b"\x01\x05hello").await;
    }
    session.is_alive().await;
}

#[tokio::test]
async fn garbage_in_place_of_http_closes_the_connection_only() {
    let harness = start(echo()).await;
    let (mut bystander, _) = harness.open().await;
    let settings_twice = [SETTINGS, &SETTINGS[1..]].concat();
    let huge_settings = [&b"\x00\x04\xbf\xff\xff\xff"[..], &[0; 1_000]].concat();
    let other_settings = b"\x00\x04\x02\x08\x01".to_vec();
    let request_of = |bytes: &[u8]| (SETTINGS.to_vec(), bytes.to_vec());
    for (control, request) in [
        (vec![0xff; 2_000], Vec::new()),
        (huge_settings, Vec::new()),
        (other_settings, Vec::new()),
        // A frame that is no HEADERS; a header block that is none; and one that is announced as huge.
        request_of(b"\x00\x05hello"),
        request_of(b"\x01\x05hello"),
        request_of(b"\x01\xbf\xff\xff\xff"),
        request_of(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        (settings_twice, b"\x01\x00".to_vec()),
    ] {
        let connection = connect(&harness).await.unwrap();
        let mut uni = connection.open_uni().await.unwrap();
        let _ = uni.write_all(&control).await;
        let (mut bi, _recv) = connection.open_bi().await.unwrap();
        let _ = bi.write_all(&request).await;
        let _ = bi.finish();
        within(connection.closed()).await;
    }
    bystander.send(b"\x064still").await;
    assert_eq!(bystander.text().await, "4still");
    assert_eq!(harness.server.len(), 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_a_full_outbox_and_no_more() {
    let quick = Duration::from_millis(300);
    let mut harness = start(echo().ping_interval(quick).ping_timeout(quick)).await;
    let (peer, sid) = harness.open().await;
    let socket = harness.server.socket(&sid.parse().unwrap()).unwrap();
    let message = vec![7; 50_000];
    let mut taken = 0;
    let full = loop {
        match socket.try_send(message.clone()) {
            Ok(()) => taken += message.len(),
            Err(error) => break error,
        }
        tokio::task::yield_now().await;
    };
    assert!(matches!(full, SendError::Full(_)), "{full:?}");
    // The outbox, the buffers of the two ends, and a packet that is cut in two.
    assert!(taken < 4_000_000, "{taken}");
    let (reason, _) = harness.end().await;
    assert!(
        [
            DisconnectReason::SlowConsumer,
            DisconnectReason::PingTimeout
        ]
        .contains(&reason),
        "{reason}"
    );
    drop(peer);
}

#[tokio::test]
async fn datagrams_are_dropped_and_a_flood_of_them_hurts_nobody() {
    let harness = start(echo()).await;
    let (mut peer, _) = harness.open().await;
    for n in 0..10_000 {
        let _ = peer.session.send_datagram(vec![0; 1_000].into());
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    peer.send(b"\x064still").await;
    assert_eq!(peer.text().await, "4still");
}

#[tokio::test]
async fn a_message_in_pieces_arrives_whole_though_the_client_moves_in_the_middle() {
    let harness = start(echo()).await;
    let endpoint = endpoint(&harness, TransportConfig::default());
    let mut session = RawSession::open(&harness, &endpoint).await;
    for (at, byte) in b"\x0c4hello world".iter().enumerate() {
        if at == 6 {
            let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            endpoint.rebind(other).unwrap();
        }
        session.write(&[*byte]).await;
    }
    assert_eq!(session.read(13).await, b"\x0c4hello world");
    let socket = harness.server.sockets().remove(0);
    assert_eq!(socket.transport(), Transport::WebTransport);
}

#[tokio::test]
async fn capsules_in_pieces_are_read_and_those_that_mean_nothing_are_skipped() {
    let mut harness = start(echo()).await;
    let endpoint = endpoint(&harness, TransportConfig::default());
    let mut session = RawSession::open(&harness, &endpoint).await;
    session.capsule_in_pieces(b"\x3f\x05hello").await;
    session.is_alive().await;
    session
        .capsule_in_pieces(b"\x68\x43\x07\0\0\0\x04bye")
        .await;
    within(session.connection.closed()).await;
    let end = (DisconnectReason::TransportClose, Transport::WebTransport);
    assert_eq!(harness.end().await, end);

    // One that is announced as larger than 64 KiB.
    let mut session = RawSession::open(&harness, &endpoint).await;
    session.capsule_in_pieces(b"\x3f\x80\x01\0\x01").await;
    within(session.connection.closed()).await;
    assert_eq!(harness.end().await, end);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_a_byte_a_second_is_given_up_when_it_owes_a_pong() {
    let mut harness = start(echo()).await;
    let endpoint = endpoint(&harness, TransportConfig::default());
    let mut session = RawSession::open(&harness, &endpoint).await;
    let began = Instant::now();
    session.write(b"\x7e\x27\x10").await;
    let mut pace = interval(Duration::from_secs(1));
    while session.send.write_all(b"4").await.is_ok() {
        pace.tick().await;
    }
    // The ping interval and the ping timeout.
    let limit = Duration::from_secs(25 + 20);
    assert!(began.elapsed() >= limit, "{:?}", began.elapsed());
    assert!(began.elapsed() < limit + Duration::from_secs(3));
    let end = (DisconnectReason::PingTimeout, Transport::WebTransport);
    assert_eq!(harness.end().await, end);
}

#[tokio::test(start_paused = true)]
async fn what_arrives_while_a_handler_waits_fills_the_windows_and_no_more() {
    let wait = |_: Socket, _: Message| std::future::pending::<()>();
    let harness = start(Server::builder().on_message(wait)).await;
    let mut transport = TransportConfig::default();
    transport.send_window(64 * 1024);
    let endpoint = endpoint(&harness, transport);
    let mut session = RawSession::open(&harness, &endpoint).await;
    let message = [&b"\x7e\x27\x10"[..], &[b'4'; 10_000]].concat();
    let flood = async {
        loop {
            session.send.write_all(&message).await.unwrap();
        }
    };
    timeout(Duration::from_secs(5), flood).await.unwrap_err();
    let sent = session.connection.stats().udp_tx.bytes;
    // The inbox without the part of the connection, a read, and the window of the stream, as UDP datagrams.
    assert!(sent < 1_048_576, "{sent}");
}
