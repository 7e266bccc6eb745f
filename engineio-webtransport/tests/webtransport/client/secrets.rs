//! The secrets of a request are in no log line of either side, of any crate, and in no error.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use engineio_tower::Transport;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Metadata, Subscriber};

use super::{RawServer, client, connected};
use crate::support::{echo, start, within};

/// Collects every log line at every level.
#[derive(Clone, Default)]
struct Lines {
    of_all: Arc<Mutex<String>>,
    of_client: Arc<Mutex<String>>,
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut Fields(&mut self.of_all.lock().unwrap()));
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut Fields(&mut self.of_all.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields(&mut self.of_all.lock().unwrap()));
        if event.metadata().target().starts_with("engineio") {
            event.record(&mut Fields(&mut self.of_client.lock().unwrap()));
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn secrets_are_in_no_log_and_in_no_error() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let (server, builder) = RawServer::start();
    let builder = builder
        .query("token", "querySECRETvalue")
        .bearer_auth("bearerSECRETtoken")
        .cookie("session", "cookieSECRETvalue");
    let connecting = tokio::spawn(async move { within(builder.connect()).await });
    let connection = server.accept().await;
    let _control = crate::raw::settings(&connection).await;
    let (_send, mut recv) = within(connection.accept_bi()).await.unwrap();
    within(recv.read(&mut [0; 2_000])).await.unwrap();
    {
        let lines = lines.of_all.lock().unwrap();
        assert!(lines.contains("127.0.0.1"), "the connection is logged");
        assert!(!lines.contains("SECRET"), "{lines}");
    }
    // The server repeats all that it has heard.
    let heard = b"querySECRETvalue bearerSECRETtoken cookieSECRETvalue";
    connection.close(7u32.into(), heard);
    let error = connecting.await.unwrap().unwrap_err();
    let mut text = format!("{error} {error:?}");
    assert!(text.contains("code 0x7, \"… … …\""), "{text}");
    let mut cause = std::error::Error::source(&error);
    while let Some(level) = cause {
        write!(text, " {level} {level:?}").unwrap();
        cause = level.source();
    }
    assert!(!text.contains("SECRET"), "{text}");
    let lines = lines.of_client.lock().unwrap();
    assert!(!lines.contains("SECRET"), "{lines}");
}

#[tokio::test]
async fn a_server_logs_no_secrets_of_a_request() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let harness = start(echo()).await;
    let builder = client(&harness, [Transport::WebTransport])
        .query("token", "querySECRETvalue")
        .bearer_auth("bearerSECRETtoken")
        .cookie("session", "cookieSECRETvalue");
    let client = connected(builder).await;
    within(client.close()).await;
    let lines = lines.of_all.lock().unwrap();
    assert!(lines.contains("127.0.0.1"), "the connection is logged");
    assert!(!lines.contains("SECRET"), "{lines}");
}
