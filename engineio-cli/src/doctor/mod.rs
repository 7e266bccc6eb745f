//! A diagnosis of a deployment: what a proxy or server does wrong, in words.

mod cors;
mod heartbeat;
mod polling;
mod probe;
mod report;
mod trouble;
mod websocket;

use self::polling::{Handshake, Works};
use self::probe::Probe;
use self::report::Report;
use crate::arguments::Doctor;
use crate::failure::Failure;
use crate::signals::Signals;

/// Runs the checks, and closes the sessions that they have opened, even if a signal ends them.
pub(crate) async fn run(options: Doctor) -> Result<(), Failure> {
    options.connection.check().await?;
    let probe = Probe::new(&options.connection)?;
    let mut signals = Signals::listen(|| {})
        .map_err(|error| Failure::session(format!("cannot wait for signals: {error}")))?;
    let checked = signals.unless(check(&options, &probe)).await;
    let closed = signals.unless(probe.close()).await;
    match (checked, closed) {
        (Err(signal), _) | (_, Err(signal)) => Err(Failure::signal(signal)),
        (Ok(result), Ok(())) => result,
    }
}

/// Runs the checks one after the other and prints each result.
async fn check(options: &Doctor, probe: &Probe) -> Result<(), Failure> {
    let mut report = Report::new(&probe.address());
    let connection = &options.connection;
    let (open, refused) = match connection.has_polling() {
        false => (None, None),
        true => match polling::handshake(probe, &mut report).await {
            Handshake::Opened(open) => (Some(open), None),
            // WebSockets may still work.
            Handshake::Refused(status) => (None, Some(status)),
            Handshake::Hopeless => return report.finish().await,
        },
    };
    let mut works = Works {
        polling: false,
        websocket: false,
    };
    if let Some(open) = &open {
        polling::fresh_answers(probe, open, &mut report).await;
        report.check().await?;
        works.polling = polling::stickiness(probe, open, &mut report).await;
        report.check().await?;
        if works.polling {
            polling::largest_post(probe, open, &mut report).await;
            report.check().await?;
            polling::buffering(probe, &mut report).await;
        } else {
            report.note(
                "buffering",
                "not checked, because requests do not reach their session",
            );
        }
    }
    report.check().await?;
    if connection.has_polling() {
        cors::check(probe, options.origin.as_deref(), &mut report).await;
    }
    if connection.has_websocket() {
        works.websocket = websocket::direct(connection, open.as_ref(), refused, &mut report).await;
    }
    report.check().await?;
    if let Some(open) = open.as_ref().filter(|_| connection.has_upgrade()) {
        websocket::upgrade(connection, open, works, &mut report).await;
    }
    if let Some(open) = &open {
        match options.quick {
            true => report.note("heartbeat", "not waited for, because of --quick"),
            false => heartbeat::check(connection, probe, open, works, &mut report).await,
        }
    }
    report.finish().await
}
