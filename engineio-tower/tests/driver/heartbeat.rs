//! The round-trip time that the heartbeat measures.

use std::time::Duration;

use crate::support::{
    get, open, open_websocket, parked, pass, post, receive_text, send, socket, text,
};
use engineio_tower::Server;

fn server() -> Server {
    let interval = Duration::from_secs(1);
    Server::builder()
        .ping_interval(interval)
        .allow_eio3(true)
        .build()
}

#[tokio::test(start_paused = true)]
async fn the_round_trip_of_a_websocket_is_measured_from_ping_to_pong() {
    let server = server();
    let mut client = open_websocket(&server).await;
    let socket = server.sockets().remove(0);
    assert_eq!(socket.rtt(), None);
    for millis in [30, 200] {
        assert_eq!(receive_text(&mut client).await, "2");
        pass(millis).await;
        // Another packet is no answer.
        send(&mut client, "4x").await;
        send(&mut client, "3").await;
        pass(1).await;
        let rtt = socket.rtt().unwrap();
        assert!(rtt >= Duration::from_millis(millis), "{rtt:?}");
        assert!(rtt <= Duration::from_millis(millis + 2), "{rtt:?}");
        // A pong that was not asked for changes nothing.
        pass(500).await;
        send(&mut client, "3").await;
        pass(1).await;
        assert_eq!(socket.rtt(), Some(rtt));
    }
}

/// The ping waits for the next poll, which is no part of the round trip.
#[tokio::test(start_paused = true)]
async fn the_round_trip_of_a_poll_begins_when_the_ping_leaves() {
    let server = server();
    let (sid, _) = open(&server).await;
    let socket = socket(&server, &sid);
    pass(1_500).await;
    assert_eq!(text(&crate::support::poll(&server, &sid).await), "2");
    pass(100).await;
    post(&server, &sid, "3").await;
    assert_eq!(socket.rtt(), Some(Duration::from_millis(100)));
    let waiting = parked(&server, &sid).await;
    assert_eq!(text(&waiting.await.unwrap()), "2");
    pass(40).await;
    post(&server, &sid, "3").await;
    let rtt = socket.rtt().unwrap();
    assert!(rtt < Duration::from_millis(50), "{rtt:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_of_revision_3_pings_itself_and_has_no_round_trip() {
    let server = server();
    get(&server, "EIO=3&transport=polling").await;
    let socket = server.sockets().remove(0);
    let sid = socket.sid();
    let query = format!("EIO=3&transport=polling&sid={sid}");
    let mut request = crate::support::post_request("", "1:2");
    *request.uri_mut() = format!("/engine.io/?{query}").parse().unwrap();
    assert_eq!(text(&crate::support::call(&server, request).await), "ok");
    assert_eq!(text(&get(&server, &query).await), "1:3");
    assert_eq!(socket.rtt(), None);
}
