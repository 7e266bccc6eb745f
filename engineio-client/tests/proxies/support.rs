//! The addresses of the proxies, and helpers that all tests need.

use std::future::Future;
use std::time::Duration;

use engineio_client::{Client, ClientBuilder, Message, Transport};

/// A time limit that nothing here comes near, even on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The three ways in which a session lives: the transports allowed, the last of which it ends up on.
pub(crate) const MODES: [&[Transport]; 3] = [
    &[Transport::Polling],
    &[Transport::WebSocket],
    &[Transport::Polling, Transport::WebSocket],
];

/// The URL of a proxy, or of one of the servers behind them.
pub(crate) fn url(name: &str) -> String {
    let proxies = std::env::var("PROXIES").unwrap_or_else(|_| {
        panic!("PROXIES is not set: run these tests with `cargo xtask interop --only proxies`")
    });
    let mut lines = proxies.lines().filter_map(|line| line.split_once('\t'));
    let found = lines.find(|(known, _)| *known == name);
    found
        .unwrap_or_else(|| panic!("no `{name}` in PROXIES"))
        .1
        .to_owned()
}

pub(crate) fn client(proxy: &str, transports: &[Transport]) -> ClientBuilder {
    Client::builder(&url(proxy)).transports(transports.iter().copied())
}

/// Fails the test that hangs, instead of hanging with it.
#[track_caller]
pub(crate) fn in_time<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let at = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(LONG, future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened within {LONG:?} at {at}"),
        }
    }
}

/// Many small messages and some large ones, text and binary, each another.
pub(crate) fn messages() -> Vec<Message> {
    let sizes = [0, 20, 1_000, 30_000, 200_000];
    let message = |n: usize| {
        let size = if n % 50 == 49 { sizes[4] } else { sizes[n % 4] };
        if n.is_multiple_of(2) {
            Message::from(format!("{n}:{}", "é".repeat(size / 2)))
        } else {
            let bytes: Vec<u8> = (0..size).map(|at| (at * 7 + n) as u8).collect();
            Message::from(bytes)
        }
    };
    (0..200).map(message).collect()
}

/// Sends all and expects each back, once and in order.
pub(crate) async fn echo(client: &mut Client, messages: &[Message]) {
    let handle = client.handle();
    let sending = messages.to_vec();
    let sender = tokio::spawn(async move {
        for message in sending {
            handle.send(message).await.unwrap();
        }
    });
    for (n, message) in messages.iter().enumerate() {
        let echo = in_time(client.next()).await;
        let is_same = echo.as_ref() == Some(message);
        let why = client.disconnect_error();
        assert!(
            is_same,
            "message {n} came back as {:?}, {why:?}",
            echo.map(|echo| echo.len())
        );
    }
    sender.await.unwrap();
}

/// The answer to a command of the echo server.
pub(crate) async fn ask(client: &mut Client, command: &str) -> String {
    client.send(command).await.unwrap();
    let answer = in_time(client.next()).await;
    answer
        .as_ref()
        .and_then(Message::as_text)
        .unwrap_or_default()
        .to_owned()
}

/// Closes, after which nothing may come any more.
pub(crate) async fn end(mut client: Client) {
    in_time(client.close()).await;
    assert_eq!(in_time(client.next()).await, None);
}
