//! Sessions that are lost while input is sent.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use engineio_tower::{ConnectRequest, Message, Server, Socket};
use tokio::task::JoinSet;

use super::talk::account;
use super::{eio, serve};

const LINES: usize = 1_500;

#[tokio::test]
async fn every_line_that_several_lost_sessions_had_is_sent_or_counted() {
    // At the same time, because each waits before it connects again.
    let conversations: JoinSet<()> = (0..8).map(|_| conversation()).collect();
    conversations.join_all().await;
}

/// Sends lines to a server that ends the first sessions while they are sent to.
async fn conversation() {
    let input: Vec<String> = (0..LINES).map(|n| format!("line {n}")).collect();
    let input = input.join("\n");
    let heard = Arc::new(Mutex::new(HashSet::new()));
    let hears = Arc::clone(&heard);
    let sessions = Arc::new(AtomicUsize::new(0));
    let opened = Arc::clone(&sessions);
    let server = Server::builder()
        .on_connect(move |_: Socket, _: ConnectRequest| {
            opened.fetch_add(1, Ordering::Relaxed);
            async {}
        })
        .on_message(move |socket: Socket, message: Message| {
            let line = message.as_text().unwrap_or_default().to_owned();
            let mut heard = hears.lock().unwrap();
            heard.insert(line);
            if sessions.load(Ordering::Relaxed) < 4 && heard.len() % 40 == 0 {
                socket.abort();
            }
            async {}
        });
    let url = serve(server).await;
    let options = ["--reconnect", "--no-upgrade", &url];
    let output = eio(input.as_bytes(), &options).await;
    let (unsent, doubtful) = account(&output, LINES);
    let heard = heard.lock().unwrap().len();
    assert_eq!(unsent, 0, "{output:?}");
    assert!(heard + doubtful >= LINES, "{heard}, {output:?}");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
