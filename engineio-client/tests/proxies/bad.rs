//! Proxies that are configured badly: what works all the same, and how the rest fails. Nothing hangs.

use std::time::{Duration, Instant};

use engineio_client::{Client, DisconnectReason, ErrorKind, Reconnect, Transport};
use tokio::sync::mpsc;

use crate::support::{MODES, ask, client, echo, end, in_time, messages, url};

#[tokio::test]
async fn without_the_upgrade_headers_a_session_stays_on_polling() {
    let both = [Transport::Polling, Transport::WebSocket];
    let mut client = in_time(client("no-upgrade", &both).connect())
        .await
        .unwrap();
    assert_eq!(in_time(client.settled()).await, Transport::Polling);
    echo(&mut client, &messages()).await;
    end(client).await;
}

#[tokio::test]
async fn without_the_upgrade_headers_websocket_alone_is_refused() {
    let connecting = client("no-upgrade", &[Transport::WebSocket]).connect();
    let error = in_time(connecting).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Refused, Some(400)),
        "{error}"
    );

    let both = [Transport::WebSocket, Transport::Polling];
    let connecting = client("no-upgrade", &both)
        .try_all_transports(true)
        .connect();
    let mut client = in_time(connecting).await.unwrap();
    assert_eq!(ask(&mut client, "by polling").await, "by polling");
    end(client).await;
}

/// A client of the server that this session is at, past the proxy.
async fn watch(sid: &str) -> Client {
    let server = format!("server-{}", sid.split_once('.').unwrap().0);
    let connecting = Client::builder(&url(&server)).connect();
    let mut watcher = in_time(connecting).await.unwrap();
    assert!(ask(&mut watcher, "watch").await.starts_with("watching"));
    watcher
}

/// Why the session ended, in the words of its server.
async fn reason(watcher: &mut Client, sid: &str) -> String {
    let begin = format!("gone {sid} ");
    loop {
        let message = in_time(watcher.next()).await.expect("the watcher stays");
        let text = message.as_text().unwrap_or_default();
        if let Some(reason) = text.strip_prefix(&begin) {
            return reason.to_owned();
        }
    }
}

#[tokio::test]
async fn a_websocket_that_is_cut_is_a_clear_end_on_both_sides() {
    for mode in &MODES[1..] {
        let mut client = in_time(client("cut", mode).connect()).await.unwrap();
        assert_eq!(in_time(client.settled()).await, Transport::WebSocket);
        let sid = client.sid().unwrap();
        let mut watcher = watch(&sid).await;
        let began = Instant::now();
        assert_eq!(in_time(client.next()).await, None);
        let after = began.elapsed();
        assert!(
            after < Duration::from_secs(15),
            "cut after 5 s, seen after {after:?}"
        );
        assert_eq!(
            client.disconnect_reason(),
            Some(DisconnectReason::TransportClose)
        );
        let error = client.disconnect_error().expect("it was no orderly end");
        assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
        assert_eq!(reason(&mut watcher, &sid).await, "transport close");
        end(watcher).await;
    }
}

#[tokio::test]
async fn a_client_comes_back_after_its_websocket_was_cut() {
    let (connected, mut sids) = mpsc::unbounded_channel();
    let (disconnected, mut reasons) = mpsc::unbounded_channel();
    let connecting = client("cut", &[Transport::WebSocket])
        .reconnect(Reconnect::new().initial_delay(Duration::from_millis(50)))
        .on_connect(move |handle| {
            connected.send(handle.sid()).unwrap();
            async {}
        })
        .on_disconnect(move |_, end| {
            let _ = disconnected.send(end.reason);
            async {}
        })
        .connect();
    let mut client = in_time(connecting).await.unwrap();
    let first = in_time(sids.recv()).await.unwrap();
    let reason = in_time(reasons.recv()).await;
    assert_eq!(reason, Some(DisconnectReason::TransportClose));
    let second = in_time(sids.recv()).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(Some(ask(&mut client, "whoami").await), second);
    end(client).await;
}

#[tokio::test]
async fn a_poll_that_is_cut_ends_the_session_at_another_server() {
    let mut client = in_time(client("impatient", &[Transport::Polling]).connect())
        .await
        .unwrap();
    assert_eq!(ask(&mut client, "one").await, "one");
    assert_eq!(in_time(client.next()).await, None);
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Refused));
    let error = client.disconnect_error().unwrap();
    assert_eq!(
        (error.status(), error.code()),
        (Some(400), Some(1)),
        "{error}"
    );
}

#[tokio::test]
async fn without_stickiness_polling_meets_servers_that_do_not_know_the_session() {
    let connecting = client("round-robin", &[Transport::Polling]).connect();
    let mut client = in_time(connecting).await.unwrap();
    let _ = client.send("to the other server").await;
    assert_eq!(in_time(client.next()).await, None);
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Refused));
    let error = client.disconnect_error().unwrap();
    assert_eq!(
        (error.status(), error.code()),
        (Some(400), Some(1)),
        "{error}"
    );
    assert!(error.to_string().contains("sticky sessions"), "{error}");
}

#[tokio::test]
async fn a_websocket_alone_needs_no_stickiness() {
    let connecting = client("round-robin", &[Transport::WebSocket]).connect();
    let mut client = in_time(connecting).await.unwrap();
    echo(&mut client, &messages()).await;
    end(client).await;
}
