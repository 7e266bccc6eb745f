//! A subscriber of the log is code of the application, which may panic.

#[path = "support/memory.rs"]
mod memory;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engineio_client::{Client, DisconnectReason, ErrorKind};
use memory::Memory;
use tokio::sync::mpsc;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Panics at each event of the client after so many.
struct Panics {
    after: usize,
    events: Arc<AtomicUsize>,
}

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("engineio")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        let before = self.events.fetch_add(1, Ordering::Relaxed);
        assert!(before < self.after, "on purpose");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_at_every_event_closes_the_client_in_good_order() {
    const OPEN: &str =
        r#"0{"sid":"abc","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000}"#;
    for after in 0.. {
        let events = Arc::new(AtomicUsize::new(0));
        let subscriber = Panics {
            after,
            events: Arc::clone(&events),
        };
        let _guard = tracing::subscriber::set_default(subscriber);
        // A WebSocket is refused, and the handler panics at the message.
        let service = Memory::new(|number, _| match number {
            0 => Some(OPEN),
            1..3 => Some("6"),
            _ => Some("4a"),
        });
        let (sender, mut ends) = mpsc::unbounded_channel();
        let connecting = Client::builder("http://in.memory")
            .connector(service)
            .on_message(|_, _| async { panic!("on purpose") })
            .on_disconnect(move |_, end| {
                let _ = sender.send(end);
                async {}
            })
            .connect();
        let error = match connecting.await {
            Err(error) => error,
            Ok(client) => {
                client.wait().await;
                let end = ends.recv().await.unwrap();
                assert_eq!(end.reason, DisconnectReason::HandlerPanic, "{after}");
                let error = end.error.unwrap();
                assert_eq!(error.kind(), ErrorKind::Panicked, "{after}: {error}");
                client.disconnect_error().unwrap()
            }
        };
        assert_eq!(error.kind(), ErrorKind::Panicked, "{after}: {error}");
        if events.load(Ordering::Relaxed) <= after {
            assert!(after > 2, "the client logs more than {after} events");
            return;
        }
    }
}
