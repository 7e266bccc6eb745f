//! Networks without UDP, and servers that stop answering at some point.

use std::time::Duration;

use engineio_client::{DisconnectReason, ErrorKind, Message};
use engineio_tower::Transport::{Polling, WebSocket, WebTransport};
use tokio::net::TcpListener;
use tokio::time::{Instant, interval, timeout};
use web_transport_quinn::SendStream;

use super::{RawServer, client, connected, serve, site, site_without_udp};
use crate::raw;
use crate::support::{LIMIT, echo, start, within};

const SHORT: Duration = Duration::from_millis(300);
/// Far below the default limits, and far above the given ones.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn without_udp_an_upgrade_goes_to_websocket() {
    let (harness, _udp) = site_without_udp(echo()).await;
    let began = Instant::now();
    let mut client = connected(client(&harness, [Polling, WebSocket, WebTransport])).await;
    assert_eq!(within(client.settled()).await, WebSocket);
    assert!(began.elapsed() < SOON);
    client.send("a").await.unwrap();
    assert_eq!(within(client.next()).await, Some(Message::from("a")));
    within(client.close()).await;
}

#[tokio::test]
async fn without_udp_and_websocket_a_session_stays_on_polling() {
    let (harness, _udp) = site_without_udp(echo()).await;
    let builder = client(&harness, [Polling, WebTransport]).upgrade_timeout(SHORT);
    let mut client = connected(builder).await;
    assert_eq!(within(client.settled()).await, Polling);
    let error = client.upgrade_error().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("UDP"), "{error}");
    client.send("a").await.unwrap();
    assert_eq!(within(client.next()).await, Some(Message::from("a")));
}

#[tokio::test]
async fn without_udp_a_direct_connection_fails_in_time_or_takes_the_next_transport() {
    let (harness, _udp) = site_without_udp(echo()).await;
    let began = Instant::now();
    let direct = client(&harness, [WebTransport]).connect_timeout(SHORT);
    let error = within(direct.connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(
        error.to_string().contains("no firewall stops UDP"),
        "{error}"
    );
    for next in [WebSocket, Polling] {
        let builder = client(&harness, [WebTransport, next]);
        let builder = builder.connect_timeout(SHORT).try_all_transports(true);
        let client = connected(builder).await;
        assert_eq!(client.transport(), next);
        within(client.close()).await;
    }
    assert!(began.elapsed() < SOON);
}

/// A server that goes this far, and then stops.
async fn stop_at(stage: usize, server: RawServer) {
    match stage {
        0 => {
            let _connection = server.accept().await;
            std::future::pending().await
        }
        1 => {
            let connection = server.accept().await;
            let _control = raw::settings(&connection).await;
            std::future::pending().await
        }
        2 => {
            let _session = server.session().await;
            std::future::pending().await
        }
        _ => {
            let session = server.session().await;
            let _stream = within(session.accept_bi()).await.unwrap();
            std::future::pending().await
        }
    }
}

#[tokio::test]
async fn each_wait_for_a_server_has_an_end() {
    for stage in 0..4 {
        let (server, builder) = RawServer::start();
        let stopped = tokio::spawn(stop_at(stage, server));
        let began = Instant::now();
        let error = within(builder.request_timeout(SHORT).connect()).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Timeout, "{stage}");
        assert!(began.elapsed() < SOON, "{stage}");
        stopped.abort();
    }
}

/// Sends one byte after another, of a text packet that does not end, until nobody takes it.
async fn drip(send: &mut SendStream) {
    let mut drops = interval(Duration::from_millis(20));
    let mut bytes: &[u8] = b"\x7e\xff\xff0";
    while send.write_all(bytes).await.is_ok() {
        bytes = b"x";
        drops.tick().await;
    }
}

#[tokio::test]
async fn the_time_for_a_graceful_close_is_added_to_no_other_limit() {
    let (server, builder) = RawServer::start();
    let dripping = tokio::spawn(async move {
        let (_session, mut send, _recv) = server.stream().await;
        drip(&mut send).await;
        std::future::pending::<()>().await;
    });
    let builder = builder.close_timeout(LIMIT);
    let began = Instant::now();
    let error = within(builder.request_timeout(SHORT).connect()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(began.elapsed() < SOON);
    dripping.abort();

    let (server, builder) = RawServer::start();
    let dripping = tokio::spawn(async move {
        let (_session, mut send, _recv) = server.open_with(200).await;
        drip(&mut send).await;
        std::future::pending::<()>().await;
    });
    let mut client = connected(builder.close_timeout(LIMIT)).await;
    client.send(vec![0; 10]).await.unwrap();
    assert_eq!(within(client.next()).await, None);
    assert!(began.elapsed() < 2 * SOON);
    dripping.abort();

    let limit = Duration::from_secs(2);
    let (server, builder) = RawServer::start();
    let pinging = tokio::spawn(async move {
        let (_session, mut send, _recv) = server.open().await;
        let mut pings = interval(Duration::from_millis(20));
        while send.write_all(b"\x012").await.is_ok() {
            pings.tick().await;
        }
        std::future::pending::<()>().await;
    });
    let client = connected(builder.close_timeout(limit)).await;
    // More than the windows of both sides hold.
    for _ in 0..20 {
        let _ = client.try_send(vec![0; 100_000]);
    }
    let began = Instant::now();
    within(client.close()).await;
    assert!(began.elapsed() < limit + Duration::from_millis(1_500));
    pinging.abort();
}

#[tokio::test]
async fn each_wait_of_an_upgrade_has_an_end() {
    for stage in 0..4 {
        let (harness, udp) = site_without_udp(echo()).await;
        let (server, _) = RawServer::new(udp);
        let stopped = tokio::spawn(stop_at(stage, server));
        for (transports, limit, expected) in [
            (&[Polling, WebTransport][..], SHORT, Polling),
            (&[Polling, WebSocket, WebTransport], LIMIT, WebSocket),
        ] {
            let builder = client(&harness, transports.iter().copied())
                .server_certificate_hashes([])
                .danger_accept_invalid_certificates(true);
            let mut client = connected(builder.upgrade_timeout(limit)).await;
            assert_eq!(within(client.settled()).await, expected, "{stage}");
            client.send("a").await.unwrap();
            assert_eq!(within(client.next()).await, Some(Message::from("a")));
            within(client.close()).await;
        }
        stopped.abort();
    }
}

#[tokio::test]
async fn a_heartbeat_keeps_a_session_and_its_absence_ends_it() {
    let beats = Duration::from_millis(50);
    let patience = Duration::from_secs(1);
    let harness = site(|| echo().ping_interval(beats).ping_timeout(patience)).await;
    let mut client = connected(client(&harness, [WebTransport])).await;
    let longer = 2 * (beats + patience);
    timeout(longer, client.next()).await.unwrap_err();
    client.send("a").await.unwrap();
    assert_eq!(within(client.next()).await, Some(Message::from("a")));

    let (server, builder) = RawServer::start();
    let silent = async {
        let (session, _send, _recv) = server.open_with(50).await;
        within(session.closed()).await;
    };
    let waiting = async {
        let mut client = connected(builder).await;
        assert_eq!(within(client.next()).await, None);
        let reason = client.disconnect_reason();
        assert_eq!(reason, Some(DisconnectReason::PingTimeout));
    };
    tokio::join!(silent, waiting);
}

#[tokio::test]
async fn a_slow_webtransport_loses_against_websocket() {
    // HTTP at the port of the long way, unless that is the port of another test.
    let (harness, listener) = loop {
        let harness = start(echo()).await.behind(SHORT).await;
        if let Ok(listener) = TcpListener::bind(harness.address).await {
            break (harness, listener);
        }
    };
    serve(&harness, listener);
    let mut client = connected(client(&harness, [Polling, WebSocket, WebTransport])).await;
    assert_eq!(within(client.settled()).await, WebSocket);
    client.send("a").await.unwrap();
    assert_eq!(within(client.next()).await, Some(Message::from("a")));
}
