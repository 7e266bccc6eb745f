//! Handlers of one client that run concurrently, and what waits for them.

use std::time::Duration;

use crate::support::{open, pass, poll, post, socket, text, watched};
use engineio_tower::{DisconnectReason, Message, Server, ServerBuilder, Socket};
use tokio::sync::mpsc;

const SECOND: Duration = Duration::from_secs(1);

/// A server whose handlers of messages take a second, and are too many for one more with the first message of 1,500 bytes.
fn builder() -> ServerBuilder {
    Server::builder()
        .concurrent_messages()
        .inbox_limit(1_000)
        .on_message(async |_: Socket, _: Message| pass(1_000).await)
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_client_that_polls_is_reported_after_it_had_too_many_handlers() {
    type End = fn(&Server, &str);
    let ends: [(DisconnectReason, End); 4] = [
        (DisconnectReason::PingTimeout, |_, _| {}),
        (DisconnectReason::Server, |server, sid| {
            socket(server, sid).abort();
        }),
        (DisconnectReason::Server, |server, sid| {
            socket(server, sid).close();
        }),
        (DisconnectReason::Shutdown, |server, _| {
            let server = server.clone();
            tokio::spawn(async move { server.shutdown(SECOND).await });
        }),
    ];
    for (expected, end) in ends {
        for while_it_runs in [false, true] {
            let (server, mut leaving) = watched(builder());
            let (sid, _) = open(&server).await;
            let answer = post(&server, &sid, format!("4{}", "x".repeat(1_500))).await;
            assert_eq!(text(&answer), "ok");
            if !while_it_runs {
                pass(2_000).await;
            }
            end(&server, &sid);
            let left = tokio::time::timeout(100 * SECOND, leaving.recv()).await;
            assert_eq!(left, Ok(Some(expected)), "{while_it_runs}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_outbox_is_reported_after_the_client_had_too_many_handlers() {
    let (tell, mut drained) = mpsc::unbounded_channel();
    let builder = builder().on_drain(move |_: Socket| {
        let _ = tell.send(());
    });
    let server = builder.build();
    let (sid, _) = open(&server).await;
    post(&server, &sid, format!("4{}", "x".repeat(1_500))).await;
    pass(2_000).await;
    socket(&server, &sid).try_send("a").unwrap();
    assert_eq!(text(&poll(&server, &sid).await), "4a");
    let drained = tokio::time::timeout(SECOND, drained.recv()).await;
    assert_eq!(drained, Ok(Some(())));
}
