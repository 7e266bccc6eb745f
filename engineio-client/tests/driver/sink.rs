//! What the sink has taken although there was no room: sent by a close, and otherwise handed back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use engineio_client::{
    Client, ClientBuilder, DisconnectReason, FlushError, Message, Reconnect, SendError, SinkError,
    Transport,
};
use futures_util::{FutureExt, SinkExt};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};

use crate::support::memory::Memory;

const OPEN: &str = r#"0{"sid":"abc","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;

fn builder(service: Memory) -> ClientBuilder {
    Client::builder("http://in.memory")
        .connector(service)
        .transports([Transport::Polling])
        .outbox_limit(1)
}

fn body(request: &Request<Full<Bytes>>) -> Bytes {
    let body = request.body().clone().collect().now_or_never();
    body.unwrap().unwrap().to_bytes()
}

/// A client whose first message is on its way to a server that does not answer; the second one fills the outbox, and the sink
/// holds the third.
async fn holding(builder: ClientBuilder) -> Client {
    let mut client = builder.connect().await.unwrap();
    client.feed("posted".into()).await.unwrap();
    while client.queued_bytes() > 0 {
        tokio::task::yield_now().await;
    }
    for text in ["queued", "held"] {
        client.feed(text.into()).await.unwrap();
    }
    client
}

fn silent() -> Memory {
    Memory::new(|number, _| (number == 0).then_some(OPEN))
}

#[tokio::test(start_paused = true)]
async fn every_close_sends_what_the_sink_has_taken() {
    for how in ["client", "handle", "sink", "flush"] {
        let posted = Arc::new(Mutex::new(Vec::new()));
        let posts = Arc::clone(&posted);
        let service = Memory::new(move |number, request| {
            if *request.method() == Method::POST {
                posts.lock().unwrap().push(body(request));
                return Some("ok");
            }
            (number == 0).then_some(OPEN)
        });
        let mut client = builder(service).connect().await.unwrap();
        // The driver does not run in between.
        for text in ["queued", "held"] {
            client.feed(text.into()).await.unwrap();
        }
        match how {
            "client" => client.close().await,
            "handle" => client.handle().close().await,
            "sink" => SinkExt::close(&mut client).await.unwrap(),
            _ => {
                SinkExt::flush(&mut client).await.unwrap();
                client.close().await;
            }
        }
        let posted = posted.lock().unwrap().join(&b'|');
        let posted = String::from_utf8(posted).unwrap().replace('\u{1e}', "|");
        assert_eq!(posted, "4queued|4held|1", "{how}");
        client.flush().await.unwrap();
        assert_eq!(client.take_unsent(), [], "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_sink_holds_when_the_session_ends_is_handed_back_and_fails_one_flush() {
    for how in ["abort", "close", "sink", "timeout"] {
        let mut client = holding(builder(silent())).await;
        match how {
            "abort" => client.abort(),
            "close" => client.close().await,
            "sink" => {
                let closed = SinkExt::close(&mut client).await;
                assert_eq!(closed, Err(SinkError::Lost));
            }
            // That of the POST.
            _ => client.wait().await,
        }
        if how != "sink" {
            let flushed = client.flush().await;
            assert!(matches!(flushed, Err(FlushError::Lost)), "{how}");
        }
        client.flush().await.unwrap();
        SinkExt::flush(&mut client).await.unwrap();
        let unsent = client.take_unsent();
        assert_eq!(unsent, ["queued", "held"].map(Message::from), "{how}");
        let sent = SinkExt::send(&mut client, "late".into()).await;
        assert!(matches!(sent, Err(SinkError::NotQueued(_))), "{how}");
        assert_eq!(client.take_unsent(), [], "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_handler_gets_what_the_sink_held() {
    for how in ["abort", "close", "drop", "timeout"] {
        let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
        let builder = builder(silent()).on_disconnect(move |_, end| {
            let _ = sender.send(end.unsent);
            async {}
        });
        let client = holding(builder).await;
        let handle = client.handle();
        match how {
            "abort" => {
                client.abort();
                assert_eq!(client.take_unsent(), []);
            }
            "close" => client.close().await,
            "drop" => drop(client),
            _ => client.wait().await,
        }
        let unsent = ends.recv().await.unwrap();
        assert_eq!(unsent, ["queued", "held"].map(Message::from), "{how}");
        assert_eq!(handle.take_unsent(), [], "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_client_sends_after_it_has_fed_the_sink_comes_after_that() {
    for waits in [true, false] {
        let posted = Arc::new(Mutex::new(Vec::new()));
        let posts = Arc::clone(&posted);
        let service = Memory::new(move |number, request| {
            if *request.method() == Method::POST {
                posts.lock().unwrap().push(body(request));
                return Some("ok");
            }
            (number == 0).then_some(OPEN)
        });
        let mut client = builder(service).connect().await.unwrap();
        // The driver does not run in between.
        for text in ["queued", "held"] {
            client.feed(text.into()).await.unwrap();
        }
        if waits {
            client.send("sent").await.unwrap();
        } else {
            let full = client.try_send("sent");
            assert!(matches!(full, Err(SendError::Full(_))), "{full:?}");
            while client.try_send("sent").is_err() {
                tokio::task::yield_now().await;
            }
        }
        client.flush().await.unwrap();
        let posted = posted.lock().unwrap().join(&b'\x1e');
        assert_eq!(posted, b"4queued\x1e4held\x1e4sent", "{waits}");
    }
}

#[tokio::test(start_paused = true)]
async fn between_two_sessions_the_client_is_closed_for_try_send_whatever_the_sink_holds() {
    let policy = Reconnect::new()
        .initial_delay(Duration::from_secs(1_000))
        .max_delay(Duration::from_secs(1_000));
    let client = holding(builder(silent()).reconnect(policy)).await;
    // That of the POST, which ends the session.
    while client.disconnect_reason().is_none() {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(
        client.disconnect_reason(),
        Some(DisconnectReason::TransportError)
    );
    let closed = client.try_send("sent");
    assert!(matches!(closed, Err(SendError::Closed(_))), "{closed:?}");
}
