//! Sessions that begin on WebTransport.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engineio_core::Frame;
use engineio_tower::{
    ConnectRequest, DisconnectReason, Origins, Rejection, Server, SidCookie, Socket, Transport,
};
use engineio_webtransport::{Identity, WebTransport};
use http::StatusCode;
use tokio::sync::mpsc;
use web_transport_quinn::proto::ConnectRequest as SessionRequest;
use web_transport_quinn::{ClientError, ConnectError};

use crate::support::{echo, one_origin, panics::panic_again_on_drop, start, within};

#[tokio::test]
async fn a_session_opens_and_echoes_messages_of_every_kind_and_size() {
    let mut harness = start(echo()).await;
    let mut peer = harness.stream().await;
    peer.send(b"\x010").await;
    let open: serde_json::Value = serde_json::from_str(&peer.text().await[1..]).unwrap();
    assert_eq!(open["upgrades"], serde_json::json!([]));
    assert_eq!(open["maxPayload"], 1_000_000);
    let socket = &harness.server.sockets()[0];
    assert_eq!(socket.transport(), Transport::WebTransport);
    assert_eq!(socket.sid().as_str(), open["sid"].as_str().unwrap());

    peer.send(b"\x064hello").await;
    assert_eq!(peer.read().await.unwrap(), (0x06, b"4hello".to_vec()));
    peer.send(b"\x83\x01\x02\x03").await;
    assert_eq!(peer.read().await.unwrap(), (0x83, vec![1, 2, 3]));
    // An empty binary message is text, because a packet of no bytes is an error.
    peer.send(b"\x01b").await;
    assert_eq!(peer.read().await.unwrap(), (0x01, b"b".to_vec()));
    peer.send(b"\x05bAQID").await;
    assert_eq!(peer.read().await.unwrap(), (0x83, vec![1, 2, 3]));
    for len in [1, 125, 126, 65_535, 65_536, 1_000_000] {
        let bytes: Vec<u8> = (0..len).map(|n: usize| (n * n / 7) as u8).collect();
        peer.send_frame(Frame::Binary(bytes.clone().into())).await;
        let (_, echoed) = peer.read().await.unwrap();
        assert!(echoed == bytes, "{len}");
    }
    peer.session.close(0, b"");
    let end = (DisconnectReason::TransportClose, Transport::WebTransport);
    assert_eq!(harness.end().await, end);
}

#[tokio::test]
async fn many_messages_come_back_in_order() {
    let harness = start(echo()).await;
    let (mut peer, _) = harness.open().await;
    let mut bytes = Vec::new();
    for n in 0..5_000 {
        let text = format!("4{n}");
        bytes.push(text.len() as u8);
        bytes.extend_from_slice(text.as_bytes());
    }
    peer.send(&bytes).await;
    for n in 0..5_000 {
        assert_eq!(peer.text().await, format!("4{n}"));
    }
}

#[tokio::test]
async fn the_connect_handler_sees_the_request_and_what_it_sends_follows_the_open_packet() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let builder =
        echo()
            .origins(one_origin())
            .on_connect(move |socket: Socket, request: ConnectRequest| {
                let _ = tell.send((
                    request.query("token"),
                    request.headers().get("origin").cloned(),
                    request.peer_addr(),
                    request.transport(),
                    request.method().clone(),
                ));
                socket.try_send("welcome").map_err(Rejection::from)
            });
    let harness = start(builder).await;
    let mut request = SessionRequest::new(harness.url("/engine.io/?token=abc&EIO=4"));
    let origin = "https://app.example.com";
    request.headers.insert("origin", origin.parse().unwrap());
    let session = harness.request(request).await.unwrap();
    let mut peer = crate::support::Peer::new(session).await;
    peer.send(b"\x010").await;
    assert!(peer.text().await.starts_with("0{"));
    assert_eq!(peer.text().await, "4welcome");
    let (token, seen, address, transport, method) = within(told.recv()).await.unwrap();
    assert_eq!(token.as_deref(), Some("abc"));
    assert_eq!(seen.unwrap(), origin);
    assert!(address.unwrap().ip().is_loopback());
    assert_eq!(transport, Transport::WebTransport);
    assert_eq!(method, http::Method::CONNECT);
}

#[tokio::test]
async fn a_client_that_the_handler_refuses_learns_the_status_and_the_body() {
    let refuse = |_: Socket, _: ConnectRequest| {
        Err::<(), _>(Rejection::status_code(StatusCode::FORBIDDEN).json("no"))
    };
    let harness = start(echo().on_connect(refuse)).await;
    let mut peer = harness.stream().await;
    peer.send(b"\x010").await;
    assert_eq!(peer.closed().await, (403, r#""no""#.to_owned()));
    assert!(harness.server.is_empty());
}

#[tokio::test]
async fn a_hook_that_panics_closes_the_session_with_500_and_hurts_nobody_else() {
    fn panics<T>(_: &http::request::Parts) -> T {
        panic_again_on_drop();
    }
    for builder in [
        echo().cookie(SidCookie::from_fn(|_, head| panics(head))),
        echo().generate_sid(|head| {
            let sid = panics(head);
            async move { sid }
        }),
        echo().on_connect(|_: Socket, _: ConnectRequest| -> Result<(), Rejection> {
            panic_again_on_drop()
        }),
    ] {
        let harness = start(builder.max_sockets(1)).await;
        for _ in 0..2 {
            let mut peer = harness.stream().await;
            peer.send(b"\x010").await;
            let failed = (500, r#""Internal server error""#.to_owned());
            assert_eq!(peer.closed().await, failed);
            assert!(harness.server.is_empty());
        }
    }
}

#[tokio::test]
async fn the_limit_on_clients_holds_for_all_transports_together() {
    let mut harness = start(echo().max_sockets(2)).await;
    harness.poll_open().await;
    let (peer, _) = harness.open().await;
    let mut third = harness.stream().await;
    third.send(b"\x010").await;
    let unavailable = r#"{"code":3,"message":"Service unavailable"}"#;
    assert_eq!(third.closed().await, (503, unavailable.to_owned()));
    peer.session.close(0, b"");
    harness.end().await;
    harness.open().await;
}

#[tokio::test]
async fn a_session_is_refused_before_it_begins_for_its_path_its_origin_and_its_revision() {
    async fn refused(
        harness: &crate::support::Harness,
        path: &str,
        origin: Option<&str>,
    ) -> Option<StatusCode> {
        let mut request = SessionRequest::new(harness.url(path));
        if let Some(origin) = origin {
            request.headers.insert("origin", origin.parse().unwrap());
        }
        match harness.request(request).await {
            Ok(_) => None,
            Err(ClientError::HttpError(ConnectError::ErrorStatus(status))) => Some(status),
            Err(ClientError::HttpError(ConnectError::ProtoError(error))) => {
                let text = error.to_string();
                let codes = [400, 403, 404, 503];
                let code = codes.iter().find(|code| text.contains(&code.to_string()));
                Some(StatusCode::from_u16(*code.expect(&text)).unwrap())
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    let harness = start(echo().origins(one_origin())).await;
    let allowed = Some("https://app.example.com");
    for path in ["/engine.io", "/engine.io/", "/engine.io/?EIO=4"] {
        assert_eq!(refused(&harness, path, allowed).await, None, "{path}");
        assert_eq!(refused(&harness, path, None).await, None, "{path}");
    }
    let not_found = Some(StatusCode::NOT_FOUND);
    assert_eq!(refused(&harness, "/", allowed).await, not_found);
    assert_eq!(refused(&harness, "/engine.iox", allowed).await, not_found);
    let forbidden = Some(StatusCode::FORBIDDEN);
    let stranger = Some("https://example.org");
    assert_eq!(refused(&harness, "/engine.io/", stranger).await, forbidden);
    let bad = Some(StatusCode::BAD_REQUEST);
    assert_eq!(refused(&harness, "/engine.io/?EIO=3", allowed).await, bad);

    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let origins = Origins::predicate_async(move |origin, _| {
        count.fetch_add(1, Ordering::Relaxed);
        let allowed = origin == "https://app.example.com";
        async move { allowed }
    });
    let harness = start(echo().origins(origins)).await;
    assert_eq!(refused(&harness, "/engine.io/", stranger).await, forbidden);
    assert_eq!(refused(&harness, "/engine.io/", allowed).await, None);
    assert_eq!(asked.load(Ordering::Relaxed), 2);

    harness.server.refuse_clients();
    let unavailable = Some(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused(&harness, "/engine.io/", allowed).await, unavailable);
}

#[tokio::test]
async fn pages_of_this_machine_are_of_the_same_origin_whatever_their_scheme() {
    let harness = start(echo()).await;
    for scheme in ["http", "https"] {
        let mut request = SessionRequest::new(harness.url("/engine.io/"));
        let origin = format!("{scheme}://{}", harness.address);
        request.headers.insert("origin", origin.parse().unwrap());
        harness.request(request).await.unwrap();
    }
    let mut request = SessionRequest::new(harness.url("/engine.io/"));
    let other = "http://127.0.0.1:1";
    request.headers.insert("origin", other.parse().unwrap());
    harness.request(request).await.unwrap_err();
}

#[tokio::test]
#[should_panic = "WebTransport is not among the transports of the server"]
async fn a_server_without_the_transport_cannot_be_served() {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let udp = WebTransport::bind("127.0.0.1:0", identity).await.unwrap();
    drop(udp.serve(&Server::builder().build()));
}
