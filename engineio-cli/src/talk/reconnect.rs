//! Another session after one that ended, and the remarks about it.

use engineio_client::{ClientBuilder, DisconnectReason, FailedAttempt, Reconnect};
use tokio::sync::mpsc;

use super::sender::Unsent;
use crate::failure::with_causes;

/// Lets a client connect again, and hands on what each session that ended has not sent. A remark for which there is no room
/// is dropped: nothing waits for the screen here.
pub(super) fn enable(
    builder: ClientBuilder,
    remarks: &mpsc::Sender<String>,
    unsent: mpsc::UnboundedSender<Unsent>,
) -> ClientBuilder {
    let failed = remarks.clone();
    let policy = Reconnect::new().on_failed_attempt(move |attempt| {
        let _ = failed.try_send(remark(attempt));
    });
    let (opened, ended) = (remarks.clone(), remarks.clone());
    let mut is_first = true;
    builder
        .reconnect(policy)
        .on_connect(move |_| {
            if !std::mem::replace(&mut is_first, false) {
                let _ = opened.try_send("connected again".to_owned());
            }
            async {}
        })
        .on_disconnect(move |_, end| {
            if end.reason != DisconnectReason::Client {
                let _ = ended.try_send(format!("the session is over: {}", end.reason));
                let _ = unsent.send(Unsent {
                    messages: end.unsent,
                    transport: end.transport,
                    is_close: end.reason == DisconnectReason::Server,
                });
            }
            async {}
        })
}

fn remark(attempt: &FailedAttempt) -> String {
    let error = attempt.error.as_ref().map(|error| with_causes(error));
    let error = error.unwrap_or_else(|| attempt.reason.to_string());
    match attempt.next_delay {
        Some(delay) => format!(
            "not connected; trying again in {:.1} s: {error}",
            delay.as_secs_f64()
        ),
        None => format!("not connected; giving up: {error}"),
    }
}
