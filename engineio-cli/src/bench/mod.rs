//! A measurement of a server that sends each message back.

mod client;
mod result;

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, interval, sleep_until};

use self::client::{Measured, Plan};
use self::result::Totals;
use crate::arguments::Bench;
use crate::failure::Failure;

/// The time for the last messages to come back.
const LAST_MESSAGES: Duration = Duration::from_secs(5);

/// Connects the clients, measures, and prints the result.
pub(crate) async fn run(options: Bench) -> Result<(), Failure> {
    // Wrong options are an error before anything starts.
    let _ = options.connection.builder()?;
    let options = Arc::new(options);
    let places = Arc::new(Semaphore::new(options.connecting as usize));
    let (start, started) = watch::channel(None);
    let (connected_sender, mut connected) = mpsc::channel(64);
    let clients: Vec<_> = (0..options.clients)
        .map(|_| {
            let (options, places) = (options.clone(), places.clone());
            let (connected, started) = (connected_sender.clone(), started.clone());
            tokio::spawn(client::run(options, places, connected, started))
        })
        .collect();
    drop(connected_sender);

    let bar = progress("connecting", options.clients.into());
    let mut totals = Totals::default();
    while let Some(attempt) = connected.recv().await {
        totals.connection(attempt);
        bar.inc(1);
    }
    bar.finish_and_clear();
    totals.check()?;

    let begin = Instant::now();
    let plan = Plan {
        stop: begin + options.seconds,
        give_up: begin + options.seconds + LAST_MESSAGES,
    };
    start.send_replace(Some(plan));
    show_time(options.seconds, plan.stop).await;
    for client in clients {
        let measured = client.await;
        totals.client(measured.unwrap_or_else(|_| Some(Measured::default())));
    }
    totals.print(&options)?;
    match totals.is_complete() {
        true => Ok(()),
        false => Err(Failure::findings()),
    }
}

fn progress(name: &'static str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(name);
    let style = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len}");
    match style {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

async fn show_time(time: Duration, stop: Instant) {
    let bar = progress("measuring, seconds", time.as_secs());
    let mut seconds = interval(Duration::from_secs(1));
    seconds.tick().await;
    loop {
        tokio::select! {
            _ = seconds.tick() => bar.inc(1),
            () = sleep_until(stop) => break,
        }
    }
    bar.finish_and_clear();
}
