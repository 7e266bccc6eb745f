//! Sessions on a WebSocket, and heartbeats on either transport.

use std::time::Duration;

use bytes::Bytes;
use engineio_tower::{DisconnectReason, Origins, Rejection, SidCookie, Socket};
use futures_util::SinkExt;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    Client, WEBSOCKET, by, call, code, echo, get, get_request, open, open_websocket, parked, pass,
    poll, post, probed, receive, receive_text, send, text, try_websocket, watched, websocket,
    websocket_request, with,
};

async fn send_binary(client: &mut Client, bytes: &'static [u8]) {
    let message = Message::binary(Bytes::from_static(bytes));
    client.send(message).await.unwrap();
}

/// The code with which the server closes, after nothing else.
async fn close_code(client: &mut Client) -> Option<u16> {
    match futures_util::StreamExt::next(client).await {
        Some(Ok(Message::Close(Some(frame)))) => Some(frame.code.into()),
        other => panic!("expected a close frame, got {other:?}"),
    }
}

// python row 60
#[tokio::test]
async fn a_websocket_opens_a_session_and_carries_the_cookie_too() {
    let server = echo().cookie(SidCookie::new("io")).build();
    let accepted = call(&server, websocket_request(WEBSOCKET)).await;
    assert_eq!(accepted.status(), 101);
    assert!(accepted.headers().contains_key("set-cookie"));
    let mut client = websocket(&server, WEBSOCKET).await;
    let open = receive_text(&mut client).await;
    assert!(open.starts_with(r#"0{"sid":""#), "{open}");
    assert!(open.contains(r#""upgrades":[],"#), "{open}");
}

// python row 61
#[tokio::test]
async fn messages_are_frames_and_base64_is_read_there_too() {
    let server = echo().build();
    let mut client = open_websocket(&server).await;
    send(&mut client, "4abc").await;
    assert_eq!(receive_text(&mut client).await, "4abc");
    for bytes in [&[0, 1][..], &[]] {
        send_binary(&mut client, bytes).await;
        let echo = receive(&mut client).await;
        assert_eq!(echo, Some(Message::binary(Bytes::from_static(bytes))));
    }
    send(&mut client, "bAQID").await;
    let echo = receive(&mut client).await;
    assert_eq!(echo, Some(Message::binary(Bytes::from_static(&[1, 2, 3]))));
}

// python row 62
#[tokio::test]
async fn a_websocket_that_is_refused_gets_the_same_answer_as_a_poll() {
    let server = echo()
        .on_connect(|_: Socket, _| Err(Rejection::unauthorized().json("no")))
        .build();
    let refused = try_websocket(&server, WEBSOCKET).await.unwrap_err();
    assert_eq!(
        (refused.status().as_u16(), &*text(&refused)),
        (401, r#""no""#)
    );
    let evil = with("origin", "http://evil.com", websocket_request(WEBSOCKET));
    assert_eq!(code(&call(&server, evil).await), 4);
    for (query, expected) in [
        ("EIO=4&transport=websocket&sid=zzz", 1),
        ("EIO=3&transport=websocket", 5),
        ("transport=websocket", 5),
    ] {
        let refused = try_websocket(&server, query).await.unwrap_err();
        assert_eq!(refused.status(), 400, "{query}");
        assert_eq!(code(&refused), expected, "{query}");
    }
}

// python row 63
#[tokio::test]
async fn a_websocket_for_another_path_is_not_found() {
    let mut request = websocket_request("");
    *request.uri_mut() = "/elsewhere".parse().unwrap();
    let server = echo().origins(Origins::off()).build();
    assert_eq!(call(&server, request).await.status(), 404);
}

// python row 64
#[tokio::test]
async fn a_session_on_a_websocket_takes_no_requests() {
    let server = echo().build();
    let mut client = websocket(&server, WEBSOCKET).await;
    let sid = receive_text(&mut client).await[9..29].to_owned();
    assert_eq!(code(&poll(&server, &sid).await), 3);
    assert_eq!(code(&post(&server, &sid, "4x").await), 3);
    let put = by(
        "PUT",
        get_request(&format!("EIO=4&transport=polling&sid={sid}")),
    );
    assert_eq!(call(&server, put).await.status(), 405);
    send(&mut client, "4fine").await;
    assert_eq!(receive_text(&mut client).await, "4fine");
}

// python row 65
#[tokio::test]
async fn a_frame_out_of_place_is_passed_over_unless_it_is_an_offence() {
    let (server, mut leaving) = watched(echo());
    let mut client = open_websocket(&server).await;
    for harmless in ["5", "6", "0{}", "3"] {
        send(&mut client, harmless).await;
    }
    send(&mut client, "4fine").await;
    assert_eq!(receive_text(&mut client).await, "4fine");
    for (offence, reason) in [
        ("2", DisconnectReason::TransportError),
        ("9", DisconnectReason::ParseError),
    ] {
        let mut client = open_websocket(&server).await;
        send(&mut client, offence).await;
        assert_eq!(close_code(&mut client).await, Some(1002));
        assert_eq!(leaving.recv().await, Some(reason));
    }
    assert_eq!(server.len(), 1);
}

// python row 66
#[tokio::test]
async fn a_frame_that_is_no_packet_ends_the_session_at_once() {
    let (server, mut leaving) = watched(echo());
    for frame in ["x", "", "bA", "b!"] {
        let mut client = open_websocket(&server).await;
        send(&mut client, frame).await;
        assert_eq!(close_code(&mut client).await, Some(1002), "{frame:?}");
        assert_eq!(leaving.recv().await, Some(DisconnectReason::ParseError));
    }
}

// python row 67
// python row 68
#[tokio::test]
async fn the_websocket_is_closed_with_the_session() {
    let (server, mut leaving) = watched(echo());
    let mut client = open_websocket(&server).await;
    send(&mut client, "1").await;
    assert_eq!(close_code(&mut client).await, Some(1000));
    assert_eq!(leaving.recv().await, Some(DisconnectReason::Client));
    let mut client = open_websocket(&server).await;
    send(&mut client, "4kick").await;
    assert_eq!(receive_text(&mut client).await, "1");
    assert_eq!(close_code(&mut client).await, Some(1000));
    assert_eq!(leaving.recv().await, Some(DisconnectReason::Server));
}

// python row 69
#[tokio::test]
async fn a_message_is_measured_in_bytes_on_a_websocket() {
    let (server, mut leaving) = watched(echo().max_payload(100));
    let mut client = open_websocket(&server).await;
    let exact = format!("4{}", "é".repeat(49)) + "x";
    assert_eq!(exact.len(), 100);
    send(&mut client, &exact).await;
    assert_eq!(receive_text(&mut client).await, exact);
    for message in [
        Message::text(format!("4{}", "x".repeat(100))),
        Message::text(format!("4{}", "é".repeat(50))),
        Message::binary(vec![0; 101]),
    ] {
        let mut client = open_websocket(&server).await;
        client.send(message).await.unwrap();
        assert_eq!(close_code(&mut client).await, Some(1009));
        assert_eq!(
            leaving.recv().await,
            Some(DisconnectReason::PayloadTooLarge)
        );
    }
}

// python row 82
#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_is_noticed_at_once() {
    let (server, mut leaving) = watched(echo());
    let start = Instant::now();
    drop(open_websocket(&server).await);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportClose));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

fn quick() -> engineio_tower::ServerBuilder {
    echo()
        .ping_interval(Duration::from_secs(1))
        .ping_timeout(Duration::from_secs(1))
}

// python row 77
#[tokio::test(start_paused = true)]
async fn the_next_ping_comes_one_interval_after_the_pong() {
    let server = quick().build();
    let start = Instant::now();
    let (sid, _) = open(&server).await;
    assert_eq!(text(&poll(&server, &sid).await), "2");
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    pass(300).await;
    post(&server, &sid, "3").await;
    assert_eq!(text(&poll(&server, &sid).await), "2");
    assert_eq!(start.elapsed(), Duration::from_millis(2_300));
}

// python row 78
// python row 79
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_is_gone_after_interval_and_timeout() {
    let (server, mut leaving) = watched(quick());
    let start = Instant::now();
    let (sid, _) = open(&server).await;
    assert_eq!(text(&poll(&server, &sid).await), "2");
    let waiting = parked(&server, &sid).await;
    assert_eq!(leaving.recv().await, Some(DisconnectReason::PingTimeout));
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    // The poll that waits is not left hanging.
    assert_eq!(text(&waiting.await.unwrap()), "1");
    assert_eq!(code(&poll(&server, &sid).await), 1);

    let start = Instant::now();
    open(&server).await;
    assert_eq!(leaving.recv().await, Some(DisconnectReason::PingTimeout));
    assert_eq!(start.elapsed(), Duration::from_secs(2));
}

// python row 80
#[tokio::test(start_paused = true)]
async fn pongs_that_nobody_asked_for_change_nothing() {
    let (server, mut leaving) = watched(quick());
    let start = Instant::now();
    let mut client = open_websocket(&server).await;
    for _ in 0..5 {
        pass(100).await;
        send(&mut client, "3").await;
    }
    assert_eq!(receive_text(&mut client).await, "2");
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert_eq!(close_code(&mut client).await, Some(1000));
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    assert_eq!(leaving.recv().await, Some(DisconnectReason::PingTimeout));
}

// python row 81
#[tokio::test(start_paused = true)]
async fn messages_put_the_pong_off_once_and_do_not_replace_it() {
    let (server, mut leaving) = watched(quick());
    let start = Instant::now();
    let mut client = open_websocket(&server).await;
    let chatter = async {
        loop {
            pass(300).await;
            send(&mut client, "4x").await;
        }
    };
    tokio::select! {
        reason = leaving.recv() => assert_eq!(reason, Some(DisconnectReason::PingTimeout)),
        () = chatter => {}
    }
    // The ping came at 1.0 s, and the first message after it, at 1.2 s, began the wait for the pong anew.
    assert_eq!(start.elapsed(), Duration::from_millis(2_200));
}

// python row 76
#[tokio::test]
async fn an_upgrade_that_is_not_allowed_is_not_announced_and_refused() {
    let server = echo().allow_upgrades(false).build();
    let (sid, _) = open(&server).await;
    let refused = try_websocket(&server, &crate::support::upgrade_query(&sid)).await;
    assert_eq!(code(&refused.unwrap_err()), 3);
    post(&server, &sid, "4fine").await;
    assert_eq!(text(&poll(&server, &sid).await), "4fine");
    drop(open_websocket(&server).await);
}

// python row 70
// python row 71
#[tokio::test(start_paused = true)]
async fn an_upgrade_ends_the_poll_that_waits_and_paces_those_that_follow() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    let waiting = parked(&server, &sid).await;
    let mut client = probed(&server, &sid).await;
    assert_eq!(text(&waiting.await.unwrap()), "6");
    let start = Instant::now();
    for round in 1..=3 {
        assert_eq!(text(&poll(&server, &sid).await), "6");
        assert_eq!(start.elapsed(), Duration::from_millis(100 * round));
    }
    post(&server, &sid, "4m1").await;
    post(&server, &sid, "4m2").await;
    send(&mut client, "5").await;
    send(&mut client, "4m3").await;
    for expected in ["4m1", "4m2", "4m3"] {
        assert_eq!(receive_text(&mut client).await, expected);
    }
    assert_eq!(code(&poll(&server, &sid).await), 3);
}

/// The two arrive over different connections, and a busy runtime finds both at once.
#[tokio::test]
async fn a_poll_does_not_overtake_the_upgrade_packet_that_was_sent_before_it() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    let mut client = probed(&server, &sid).await;
    send(&mut client, "5").await;
    assert_eq!(code(&poll(&server, &sid).await), 3);
    send(&mut client, "4there").await;
    assert_eq!(receive_text(&mut client).await, "4there");
}

// python row 72
#[tokio::test]
async fn what_is_queued_at_the_upgrade_follows_the_probe() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    post(&server, &sid, "4q1").await;
    let mut client = probed(&server, &sid).await;
    send(&mut client, "5").await;
    assert_eq!(receive_text(&mut client).await, "4q1");
    send(&mut client, "4after").await;
    assert_eq!(receive_text(&mut client).await, "4after");
}

/// Polling works as if there had been no WebSocket.
async fn polling_works(server: &engineio_tower::Server, sid: &str) {
    let waiting = parked(server, sid).await;
    assert!(
        !waiting.is_finished(),
        "a poll waits until there is something"
    );
    assert_eq!(post(server, sid, "4q").await.status(), 200);
    assert_eq!(text(&waiting.await.unwrap()), "4q");
}

// python row 73
// python row 75
#[tokio::test(start_paused = true)]
async fn an_upgrade_that_fails_before_the_probe_leaves_polling_as_it_was() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    let query = crate::support::upgrade_query(&sid);
    for first in ["2", "3probe", "4x", "x", ""] {
        let mut client = websocket(&server, &query).await;
        send(&mut client, first).await;
        assert_eq!(receive(&mut client).await, None, "{first:?}");
        polling_works(&server, &sid).await;
    }
    let mut client = websocket(&server, &query).await;
    send_binary(&mut client, b"2probe").await;
    assert_eq!(receive(&mut client).await, None);
    polling_works(&server, &sid).await;
    // Closed, cut off, and silent for longer than an upgrade may take.
    let mut client = websocket(&server, &query).await;
    client.close(None).await.unwrap();
    assert_eq!(receive(&mut client).await, None);
    polling_works(&server, &sid).await;
    drop(websocket(&server, &query).await);
    polling_works(&server, &sid).await;
    let start = Instant::now();
    let mut client = websocket(&server, &query).await;
    polling_works(&server, &sid).await;
    assert_eq!(receive(&mut client).await, None);
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    polling_works(&server, &sid).await;
    assert_eq!(server.len(), 1);
}

/// As clients do that take the 101 for the whole upgrade, and those that do not wait for the answer to their probe.
#[tokio::test]
async fn an_upgrade_packet_completes_the_upgrade_without_a_probe_and_right_behind_one() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    let mut client = websocket(&server, &crate::support::upgrade_query(&sid)).await;
    send(&mut client, "5").await;
    send(&mut client, "4hello").await;
    assert_eq!(receive_text(&mut client).await, "4hello");

    let (sid, _) = open(&server).await;
    let mut client = websocket(&server, &crate::support::upgrade_query(&sid)).await;
    for frame in ["2probe", "5", "4x"] {
        client.feed(Message::text(frame)).await.unwrap();
    }
    client.flush().await.unwrap();
    assert_eq!(receive_text(&mut client).await, "3probe");
    assert_eq!(receive_text(&mut client).await, "4x");
}

#[tokio::test]
async fn base64_is_asked_for_by_each_transport_for_itself() {
    let server = echo().build();
    for (handshake, upgrade, expected) in [
        ("&b64=1", "", Message::binary(vec![1, 2, 3])),
        ("", "&b64=1", Message::text("bAQID")),
    ] {
        let opened = get(&server, &format!("EIO=4&transport=polling{handshake}")).await;
        let sid = text(&opened)[9..29].to_owned();
        let query = format!("{}{upgrade}", crate::support::upgrade_query(&sid));
        let mut client = websocket(&server, &query).await;
        send(&mut client, "5").await;
        send_binary(&mut client, b"\x01\x02\x03").await;
        assert_eq!(receive(&mut client).await, Some(expected));
    }
}

// python row 74
// python row 75b
#[tokio::test]
async fn an_upgrade_that_fails_after_the_probe_leaves_polling_as_it_was() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    for second in [Some("4x"), Some("x"), None] {
        let waiting = parked(&server, &sid).await;
        let mut client = probed(&server, &sid).await;
        assert_eq!(text(&waiting.await.unwrap()), "6");
        match second {
            Some(frame) => send(&mut client, frame).await,
            None => client.close(None).await.unwrap(),
        }
        assert_eq!(receive(&mut client).await, None);
        polling_works(&server, &sid).await;
    }
}
