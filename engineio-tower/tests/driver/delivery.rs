//! Responses that carry packets and are dropped before they were written.

use bytes::Bytes;
use engineio_tower::{Delivery, DisconnectReason, EngineIoService, Server};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::mpsc::UnboundedReceiver;
use tower::ServiceExt;

use crate::support::{get_request, open, poll, text, watched};

const HANDSHAKE: &str = "EIO=4&transport=polling";

/// A server with a client, whose id, and a message for it.
async fn one_message() -> (Server, UnboundedReceiver<DisconnectReason>, String) {
    let (server, leaving) = watched(Server::builder());
    let (sid, _) = open(&server).await;
    let socket = server.socket(&sid.parse().unwrap()).unwrap();
    socket.try_send("one").unwrap();
    (server, leaving, sid)
}

fn poll_query(sid: &str) -> String {
    format!("{HANDSHAKE}&sid={sid}")
}

#[tokio::test]
async fn the_session_ends_whose_packets_a_host_drops_with_their_response() {
    let (server, mut leaving, sid) = one_message().await;
    let service = EngineIoService::new(server.clone());
    let request = get_request(&poll_query(&sid));
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    drop(response);
    let reason = leaving.recv().await;
    assert_eq!(reason, Some(DisconnectReason::TransportError));
    let response = poll(&server, &sid).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_session_ends_whose_packets_a_host_takes_in_part() {
    let (server, mut leaving, sid) = one_message().await;
    let socket = server.socket(&sid.parse().unwrap()).unwrap();
    let service = EngineIoService::new(server.clone());
    for is_whole in [true, false] {
        socket.try_send("x".repeat(200_000)).unwrap();
        let request = get_request(&poll_query(&sid));
        let response = service.clone().oneshot(request).await.unwrap();
        let mut body = response.into_body();
        let mut len = body.size_hint().exact().unwrap();
        while let Some(part) = body.frame().await {
            let part = part.unwrap().into_data().unwrap();
            assert!(part.len() <= 64 * 1024);
            len -= part.len() as u64;
            assert_eq!(body.size_hint().exact(), Some(len));
            if !is_whole && len < 64 * 1024 {
                break;
            }
        }
        assert_eq!(len == 0, is_whole);
        drop(body);
        assert_eq!(socket.disconnect_reason().is_none(), is_whole);
    }
    let reason = leaving.recv().await;
    assert_eq!(reason, Some(DisconnectReason::TransportError));
}

#[tokio::test]
async fn the_session_ends_whose_open_packet_a_host_drops() {
    let (server, mut leaving) = watched(Server::builder());
    let service = EngineIoService::new(server.clone());
    drop(service.oneshot(get_request(HANDSHAKE)).await.unwrap());
    let reason = leaving.recv().await;
    assert_eq!(reason, Some(DisconnectReason::TransportError));
    assert!(server.is_empty());
}

#[tokio::test]
async fn a_host_without_the_body_of_the_service_tells_that_it_has_written() {
    let (server, mut leaving, sid) = one_message().await;
    let mut response = server.respond(get_request(&poll_query(&sid))).await;
    let delivery = Delivery::take(&mut response);
    assert_eq!(response.body(), &Bytes::from_static(b"4one"));
    delivery.confirm();
    drop(response);
    let socket = server.socket(&sid.parse().unwrap()).unwrap();
    socket.try_send("two").unwrap();
    assert_eq!(text(&poll(&server, &sid).await), "4two");

    socket.try_send("three").unwrap();
    let mut response = server.respond(get_request(&poll_query(&sid))).await;
    drop(Delivery::take(&mut response));
    let reason = leaving.recv().await;
    assert_eq!(reason, Some(DisconnectReason::TransportError));
}

#[tokio::test]
async fn a_host_that_takes_no_delivery_is_trusted_to_send() {
    let (server, _leaving, sid) = one_message().await;
    drop(server.respond(get_request(&poll_query(&sid))).await);
    let socket = server.socket(&sid.parse().unwrap()).unwrap();
    socket.try_send("two").unwrap();
    assert_eq!(text(&poll(&server, &sid).await), "4two");
}

#[tokio::test]
async fn a_refusal_delivers_nothing() {
    let (server, _leaving, sid) = one_message().await;
    let mut response = server
        .respond(get_request("EIO=4&transport=polling&sid=nobody"))
        .await;
    drop(Delivery::take(&mut response));
    drop(response);
    assert_eq!(text(&poll(&server, &sid).await), "4one");
}
