//! Turns: waiting senders in the order in which they came, and a thread that a busy client shares with other tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{OPEN_POLLING, Reply, Server, in_time, ok, websocket};
use engineio_client::{Client, SendError, Transport};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::task::yield_now;
use tokio_tungstenite::tungstenite::Message as WsMessage;

/// A server whose handshake brings many messages.
async fn talkative(messages: usize) -> Server {
    let body = format!("{OPEN_POLLING}{}", "\u{1e}4a".repeat(messages));
    Server::start(move |_, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(&body),
        "POST" => ok("ok"),
        _ => Reply::Never,
    })
    .await
}

/// Counts the turns of another task.
fn turns() -> Arc<AtomicUsize> {
    let turns = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&turns);
    tokio::spawn(std::future::poll_fn(move |cx| {
        count.fetch_add(1, Ordering::Relaxed);
        // At once, unlike `yield_now`.
        cx.waker().wake_by_ref();
        std::task::Poll::<()>::Pending
    }));
    turns
}

/// A client whose first POST is under way, to a server that answers POSTs when it is told to. The outbox holds 1,000 bytes.
async fn held_back() -> (tokio::sync::watch::Sender<bool>, Server, Client) {
    let (open, gate) = tokio::sync::watch::channel(false);
    let server = Server::start(move |_, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN_POLLING),
        "POST" if *gate.borrow() => ok("ok"),
        "POST" => Reply::Later(gate.clone(), "ok"),
        _ => Reply::Never,
    })
    .await;
    let builder = Client::builder(&server.url()).outbox_limit(1000);
    let client = in_time(builder.connect()).await.unwrap();
    client.send("under way").await.unwrap();
    while server.posts().is_empty() {
        yield_now().await;
    }
    (open, server, client)
}

#[tokio::test]
async fn a_large_message_is_not_overtaken_by_small_ones() {
    let (open, server, client) = held_back().await;
    client.send("x".repeat(500)).await.unwrap();
    let send = |text: String| {
        let handle = client.handle();
        tokio::spawn(async move { handle.send(text).await })
    };
    let large = send("l".repeat(900));
    yield_now().await;
    let small: Vec<_> = (0..10).map(|n| send(format!("s{n}"))).collect();
    yield_now().await;
    // There is room for it, but others came first.
    assert!(matches!(client.try_send("s"), Err(SendError::Full(_))));
    // One that gives up lets the next ones pass.
    small[3].abort();
    open.send_replace(true);
    in_time(large).await.unwrap().unwrap();
    for (n, small) in small.into_iter().enumerate() {
        assert_eq!(in_time(small).await.is_ok(), n != 3);
    }
    in_time(client.close()).await;
    let posted = server.posts().join("\u{1e}");
    let order: Vec<&str> = posted
        .split('\u{1e}')
        .map(|packet| packet.get(..2).unwrap_or(packet))
        .collect();
    assert_eq!(order[..3], ["4u", "4x", "4l"]);
    let small: Vec<&str> = posted
        .split('\u{1e}')
        .filter(|packet| packet.starts_with("4s"))
        .collect();
    assert_eq!(
        small,
        [
            "4s0", "4s1", "4s2", "4s4", "4s5", "4s6", "4s7", "4s8", "4s9"
        ]
    );
}

#[tokio::test]
async fn a_sink_sends_and_flushes_beside_handles_that_send_without_a_pause() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |_, request| match request.method.as_str() {
        _ if request.is_websocket() => {
            let told = told.clone();
            websocket(|mut socket| async move {
                socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    told.send(message.to_string()).unwrap();
                }
            })
        }
        _ if request.is_handshake() => ok(OPEN_POLLING),
        "POST" => {
            told.send(request.body.clone()).unwrap();
            ok("ok")
        }
        _ => Reply::Never,
    })
    .await;
    for transport in [Transport::Polling, Transport::WebSocket] {
        let builder = Client::builder(&server.url())
            .transports([transport])
            .outbox_limit(1000);
        let mut client = in_time(builder.connect()).await.unwrap();
        for _ in 0..2 {
            let handle = client.handle();
            tokio::spawn(async move { while handle.send("x".repeat(400)).await.is_ok() {} });
        }
        for n in 0..20 {
            let text = format!("sunk {n}");
            match n % 2 {
                0 => in_time(SinkExt::send(&mut client, text.clone().into()))
                    .await
                    .unwrap(),
                _ => {
                    let feed = SinkExt::feed(&mut client, text.clone().into());
                    in_time(feed).await.unwrap();
                    in_time(client.flush()).await.unwrap();
                }
            }
            // A flush of a POST waits for the answer, so that it has arrived.
            while !in_time(heard.recv()).await.unwrap().contains(&text) {}
        }
        client.abort();
        in_time(client.wait()).await;
    }
}

#[tokio::test]
async fn a_sink_that_is_given_up_does_not_block_other_senders() {
    let (open, server, mut client) = held_back().await;
    let handle = client.handle();
    client.send("x".repeat(900)).await.unwrap();
    // As in a `select!`: the sink keeps the message, and is polled no more.
    {
        let mut sending = Box::pin(SinkExt::send(&mut client, "sunk".repeat(20).into()));
        assert!((&mut sending).now_or_never().is_none());
    }
    open.send_replace(true);
    in_time(handle.send("later")).await.unwrap();
    in_time(SinkExt::flush(&mut client)).await.unwrap();
    in_time(client.close()).await;
    let posted = server.posts().join("\u{1e}");
    assert!(
        posted.contains("4later") && posted.contains("4sunk"),
        "{posted}"
    );
}

#[tokio::test]
async fn a_sink_goes_on_when_the_sender_before_it_gives_up() {
    let (open, server, mut client) = held_back().await;
    client.send("x".repeat(500)).await.unwrap();
    let handle = client.handle();
    let mut before = Box::pin(handle.send("l".repeat(900)));
    assert!((&mut before).now_or_never().is_none());
    let mut sunk = Box::pin(SinkExt::feed(&mut client, "sunk".into()));
    assert!((&mut sunk).now_or_never().is_some());
    drop(sunk);
    let mut flush = Box::pin(SinkExt::flush(&mut client));
    assert!((&mut flush).now_or_never().is_none());
    // There is room for the sink's message as soon as the large one does not come before it.
    drop(before);
    open.send_replace(true);
    in_time(flush).await.unwrap();
    in_time(client.close()).await;
    assert!(server.posts().join("").contains("4sunk"));
}

#[tokio::test]
async fn handlers_that_never_wait_leave_other_tasks_their_turns() {
    const COUNT: usize = 10_000;
    let server = talkative(COUNT).await;
    let handled = Arc::new(AtomicUsize::new(0));
    let turns = turns();
    let (count, seen) = (Arc::clone(&handled), Arc::clone(&turns));
    let longest = Arc::new(AtomicUsize::new(0));
    let most = Arc::clone(&longest);
    let mut last = (0, 0);
    let builder = Client::builder(&server.url()).on_message(move |_, _| {
        let done = count.fetch_add(1, Ordering::Relaxed);
        let now = seen.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, done);
        }
        most.fetch_max(done - last.1, Ordering::Relaxed);
        async {}
    });
    let _client = in_time(builder.connect()).await.unwrap();
    while handled.load(Ordering::Relaxed) < COUNT {
        yield_now().await;
    }
    let longest = longest.load(Ordering::Relaxed);
    assert!(
        longest <= 256,
        "{longest} messages without a turn for others"
    );
}

#[tokio::test]
async fn a_stream_that_always_has_a_message_leaves_other_tasks_their_turns() {
    let server = talkative(1000).await;
    let mut client = in_time(Client::connect(&server.url())).await.unwrap();
    let turns = turns();
    let reading = tokio::spawn(async move {
        for _ in 0..1000 {
            client.next().await.unwrap();
        }
    });
    in_time(reading).await.unwrap();
    assert!(turns.load(Ordering::Relaxed) >= 5);
}

#[tokio::test]
async fn a_loop_of_sends_lets_other_tasks_run() {
    for by_sink in [false, true] {
        let (_open, _server, mut client) = held_back().await;
        let (tell, mut told) = tokio::sync::oneshot::channel();
        let sending = tokio::spawn(async move {
            let mut sent = 0;
            while told.try_recv().is_err() {
                client.abort();
                match by_sink {
                    true => drop(client.feed("x".into()).await),
                    false => drop(client.send("x").await),
                }
                sent += 1;
                assert!(sent < 1_000, "other tasks starve");
            }
        });
        tokio::spawn(async move { tell.send(()).unwrap() });
        in_time(sending).await.unwrap();
    }
}
