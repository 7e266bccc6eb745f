//! Sessions that are lost while input is sent.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
#[cfg(unix)]
use std::{process::Stdio, time::Duration};

use engineio_tower::{ConnectRequest, Message, Server, Socket};
use tokio::task::JoinSet;
#[cfg(unix)]
use tokio::{io::AsyncWriteExt, time::timeout};

use super::talk::account;
#[cfg(unix)]
use super::{LIMIT, command, kill, output};
use super::{eio, serve};

const LINES: usize = 1_500;

#[tokio::test]
async fn every_line_that_several_lost_sessions_had_is_sent_or_counted() {
    // At the same time, because each waits before it connects again.
    let conversation = |n: usize| conversation(["polling", "websocket"][n % 2]);
    let conversations: JoinSet<()> = (0..16).map(conversation).collect();
    conversations.join_all().await;
}

#[tokio::test]
async fn what_a_server_has_not_read_when_the_time_of_the_close_is_over_is_counted() {
    // It reads nothing behind the first messages, and so does not see the close either.
    let server = Server::builder()
        .inbox_limit(1)
        .on_message(|_: Socket, _: Message| std::future::pending::<()>());
    let url = serve(server).await;
    let options = ["--transports", "websocket", &url];
    let output = eio(b"1\n2\n3\n", &options).await;
    assert_eq!(account(&output, 3), (0, 3), "{output:?}");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn what_a_signal_leaves_unsent_is_counted() {
    let (messages, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    // The POST is answered when all of it is in the inbox.
    let server = Server::builder()
        .inbox_limit(1)
        .on_message(move |_: Socket, _: Message| {
            let _ = messages.send(());
            std::future::pending::<()>()
        });
    let url = serve(server).await;
    let mut child = command(&["--no-upgrade", &url])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"1\n2\n3\n").await.unwrap();
    timeout(LIMIT, arrived.recv()).await.unwrap();
    // Two that come together count as one.
    let ending = async {
        let step = Duration::from_millis(100);
        while timeout(step, child.wait()).await.is_err() {
            kill(&child, "TERM").await;
        }
    };
    timeout(LIMIT, ending).await.unwrap();
    let output = output(child).await;
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    let (unsent, doubtful) = account(&output, 3);
    assert_eq!(unsent + doubtful, 3, "{output:?}");
}

/// Sends lines by this transport to a server that ends the first sessions while they are sent to.
async fn conversation(transport: &str) {
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
    let options = ["--reconnect", "--transports", transport, &url];
    let output = eio(input.as_bytes(), &options).await;
    let (unsent, doubtful) = account(&output, LINES);
    let heard = heard.lock().unwrap().len();
    assert_eq!(unsent, 0, "{output:?}");
    assert!(heard + doubtful >= LINES, "{heard}, {output:?}");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
