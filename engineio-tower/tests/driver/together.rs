//! Messages that are sent together: all or none, in order, with back pressure.

use crate::support::{HANDSHAKE, get, open, poll, socket, text};
use engineio_tower::{
    DisconnectReason, Message, Rejection, SendError, Server, Sid, Socket, WhenFull,
};
use futures_util::FutureExt;
use http::StatusCode;

fn texts(texts: &[&str]) -> Vec<Message> {
    texts.iter().map(|&text| Message::from(text)).collect()
}

/// Room for three messages of one character.
fn small() -> engineio_tower::ServerBuilder {
    Server::builder().outbox_limit(3 * 65)
}

#[tokio::test(start_paused = true)]
async fn many_messages_wait_for_room_and_keep_their_order_among_other_senders() {
    let server = small().build();
    let (sid, _) = open(&server).await;
    let socket = socket(&server, &sid);
    socket.try_send_many(["a", "b"]).unwrap();
    let mut pair = Box::pin(socket.send_many(["c", "d"]));
    assert!(pair.as_mut().now_or_never().is_none());
    // There is room for one more, but the two came first.
    let mut single = Box::pin(socket.send("e"));
    assert!(single.as_mut().now_or_never().is_none());
    assert!(matches!(socket.try_send("x"), Err(SendError::Full(_))));
    assert_eq!(
        socket.try_send_many(["x", "y"]),
        Err(SendError::Full(texts(&["x", "y"])))
    );
    assert_eq!(text(&poll(&server, &sid).await), "4a\x1e4b");
    pair.await.unwrap();
    single.await.unwrap();
    assert_eq!(text(&poll(&server, &sid).await), "4c\x1e4d\x1e4e");
}

#[tokio::test(start_paused = true)]
async fn many_messages_that_are_given_up_are_not_queued_and_block_nobody() {
    let server = small().build();
    let (sid, _) = open(&server).await;
    let socket = socket(&server, &sid);
    socket.try_send_many(["a", "b"]).unwrap();
    let mut given_up = Box::pin(socket.send_many(["c", "d"]));
    assert!(given_up.as_mut().now_or_never().is_none());
    let mut next = Box::pin(socket.send("e"));
    assert!(next.as_mut().now_or_never().is_none());
    drop(given_up);
    next.await.unwrap();
    assert_eq!(text(&poll(&server, &sid).await), "4a\x1e4b\x1e4e");
}

#[tokio::test]
async fn many_messages_that_could_never_be_queued_together_come_back_at_once() {
    let server = small().build();
    let (sid, _) = open(&server).await;
    let socket = socket(&server, &sid);
    let four = ["a", "b", "c", "d"];
    let too_large = Err(SendError::TooLarge(texts(&four)));
    assert_eq!(socket.send_many(four).await, too_large);
    assert_eq!(socket.try_send_many(four), too_large);
    assert_eq!(socket.blocking_send_many(four), too_large);
    // One message alone is never too large, by whatever way it is sent.
    let large = "x".repeat(1_000);
    socket.send_many([large.as_str()]).await.unwrap();
    assert_eq!(text(&poll(&server, &sid).await), format!("4{large}"));
    // Nor does it end a client that is to be ended when its outbox is full.
    let server = small().when_full(WhenFull::Disconnect).build();
    open(&server).await;
    let socket = server.sockets().remove(0);
    assert_eq!(socket.send_many(four).await, too_large);
    assert!(socket.is_connected());
}

#[tokio::test(start_paused = true)]
async fn many_messages_come_back_from_a_client_that_leaves_while_they_wait() {
    let server = small().build();
    let (sid, _) = open(&server).await;
    let socket = socket(&server, &sid);
    socket.try_send_many(["a", "b", "c"]).unwrap();
    let mut waiting = Box::pin(socket.send_many(["d", "e"]));
    assert!(waiting.as_mut().now_or_never().is_none());
    socket.abort();
    assert_eq!(waiting.await, Err(SendError::Closed(texts(&["d", "e"]))));
    let sid: Sid = sid.parse().unwrap();
    let gone = server.send_many(&sid, ["f"]).await;
    assert_eq!(gone, Err(SendError::Closed(texts(&["f"]))));
}

#[tokio::test]
async fn many_messages_reach_a_client_by_its_id_and_from_a_plain_thread() {
    let server = small().build();
    let (sid, _) = open(&server).await;
    let socket = socket(&server, &sid);
    let by_id = server.send_many(&socket.sid(), ["a", "b"]).await;
    by_id.unwrap();
    let thread = {
        let socket = socket.clone();
        std::thread::spawn(move || socket.blocking_send_many(["c", "d"]))
    };
    let mut received = String::new();
    while !received.ends_with("4c\x1e4d") {
        received.push_str(&text(&poll(&server, &sid).await));
    }
    assert_eq!(received, "4a\x1e4b4c\x1e4d");
    thread.join().unwrap().unwrap();
}

#[tokio::test]
async fn in_a_connect_handler_many_messages_do_not_wait_for_a_client_that_is_not_there() {
    let server = small()
        .on_connect(|socket: Socket, _| async move {
            socket.send_many(["a", "b"]).await?;
            let error = socket.send_many(["c", "d"]).await.unwrap_err();
            assert!(matches!(error, SendError::Full(_)));
            socket.send_many(["too", "much", "for", "it"]).await?;
            Ok::<_, Rejection>(())
        })
        .build();
    let refused = get(&server, HANDSHAKE).await;
    assert_eq!(refused.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_slow_consumer_is_disconnected_for_many_messages_as_for_one() {
    let (server, mut left) = crate::support::watched(small().when_full(WhenFull::Disconnect));
    open(&server).await;
    let socket = server.sockets().remove(0);
    socket.send_many(["a", "b"]).await.unwrap();
    let closed = socket.send_many(["c", "d"]).await;
    assert_eq!(closed, Err(SendError::Closed(texts(&["c", "d"]))));
    assert_eq!(left.recv().await, Some(DisconnectReason::SlowConsumer));
}

#[tokio::test]
async fn an_empty_list_needs_no_room_and_no_turn() {
    for when_full in [WhenFull::Wait, WhenFull::Disconnect] {
        let server = small().when_full(when_full).build();
        let (sid, _) = open(&server).await;
        let socket = socket(&server, &sid);
        let nothing = Vec::<Message>::new;
        socket.try_send("a".repeat(1_000)).unwrap();
        let mut waiting = Box::pin(socket.send_many(["b", "c"]));
        if when_full == WhenFull::Wait {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        assert_eq!(socket.send_many(nothing()).now_or_never(), Some(Ok(())));
        assert_eq!(socket.try_send_many(nothing()), Ok(()));
        assert_eq!(socket.blocking_send_many(nothing()), Ok(()));
        assert!(socket.is_connected());
        socket.abort();
        let closed = Err(SendError::Closed(Vec::new()));
        assert_eq!(socket.try_send_many(nothing()), closed);
        assert_eq!(socket.send_many(nothing()).await, closed);
    }
}
