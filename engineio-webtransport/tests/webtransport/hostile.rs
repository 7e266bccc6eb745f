//! Peers that keep no rule, and those that keep the server waiting.

use std::sync::Arc;
use std::time::Duration;

use engineio_tower::{DisconnectReason, SendError, Transport};
use tokio::time::Instant;
use web_transport_quinn::quinn::{self, Connection, Endpoint};

use crate::support::{Harness, client, echo, start, within};

const SHORT: Duration = Duration::from_millis(300);

/// The places for newcomers of one address: those that have not proved it, and those that have.
const PLACES: usize = 4 + 16;

/// Connects by QUIC alone.
async fn raw(harness: &Harness) -> Result<Connection, quinn::ConnectionError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates({
            let mut roots = rustls::RootCertStore::empty();
            roots
                .add(harness.identity.get().certificate().into())
                .unwrap();
            roots
        })
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(tls));
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(config, harness.address, "localhost");
    within(connecting.unwrap()).await
}

/// A SETTINGS frame on a control stream that promises WebTransport.
const SETTINGS: &[u8] = b"\x00\x04\x09\x08\x01\x33\x01\xab\x60\x37\x42\x01";

#[tokio::test]
async fn a_connection_that_does_not_get_to_its_first_packet_is_closed_in_time() {
    let harness = start(echo().upgrade_timeout(SHORT)).await;
    let began = Instant::now();
    let silent = raw(&harness).await.unwrap();
    within(silent.closed()).await;
    let without_request = raw(&harness).await.unwrap();
    let mut control = without_request.open_uni().await.unwrap();
    control.write_all(SETTINGS).await.unwrap();
    within(without_request.closed()).await;
    let session = harness.request(harness.url("/engine.io/")).await.unwrap();
    within(session.closed()).await;
    let mut dribbling = harness.stream().await;
    dribbling.send(b"\x7e\x00\x80").await;
    assert_eq!(dribbling.closed().await, (0, "transport close".to_owned()));
    assert!(began.elapsed() > 4 * SHORT);
    assert!(harness.server.is_empty());
}

#[tokio::test]
async fn newcomers_of_one_address_have_so_many_places_and_give_them_back() {
    let harness = start(echo().upgrade_timeout(Duration::from_secs(3_600))).await;
    let mut waiting = Vec::new();
    for _ in 0..PLACES {
        waiting.push(raw(&harness).await.unwrap());
    }
    raw(&harness).await.unwrap_err();
    for connection in waiting {
        connection.close(0u32.into(), b"");
    }
    // The places are free as soon as the server has heard of it.
    let mut attempts = 0;
    while raw(&harness).await.is_err() {
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
    let harness = start(echo()).await;
    for n in 0..200 {
        let mut peer = harness.stream().await;
        match n % 4 {
            0 => peer.send(b"\x81\x02\x03").await,
            1 => peer.send(b"\x0e0{\"sid\":\"abc\"}").await,
            2 => peer.send.finish().unwrap(),
            _ => peer.session.close(0, b""),
        }
        within(peer.session.closed()).await;
    }
    assert!(harness.server.is_empty());
    harness.open().await;
    within(harness.server.shutdown(Duration::from_secs(5))).await;
    // It ends once no connection is left.
    within(harness.serving).await.unwrap();
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
        let connection = raw(&harness).await.unwrap();
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
async fn a_message_in_pieces_arrives_whole_after_the_client_has_moved() {
    let harness = start(echo()).await;
    let identity = harness.identity.get();
    let session = within(client(&identity).connect(harness.url("/engine.io/")))
        .await
        .unwrap();
    let mut peer = crate::support::Peer::new(session).await;
    for byte in b"\x010\x0b4hello worl" {
        peer.send(&[*byte]).await;
    }
    assert!(peer.text().await.starts_with('0'));
    assert_eq!(peer.text().await, "4hello worl");
    let socket = harness.server.sockets().remove(0);
    assert_eq!(socket.transport(), Transport::WebTransport);
}
