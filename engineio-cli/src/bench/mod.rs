//! A measurement of a server that sends each message back.

mod client;
mod result;

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until, timeout};

use self::client::{Measured, Plan};
use self::result::Totals;
use crate::arguments::Bench;
use crate::failure::Failure;
use crate::output::{LAST_WORDS, print_aside};
use crate::signals::Signals;

/// The time for the last messages to come back.
const LAST_MESSAGES: Duration = Duration::from_secs(5);
/// The time for the sessions to close after a signal.
const CLOSING: Duration = Duration::from_secs(5);

/// The time for the results of the clients after a second signal.
const LAST_RESULTS: Duration = Duration::from_millis(500);

/// Connects the clients, measures, and prints the result. A signal ends the measurement early, and another one at once.
pub(crate) async fn run(options: Bench) -> Result<(), Failure> {
    // Wrong options are an error before anything starts.
    let _ = options.connection.builder()?;
    let options = Arc::new(options);
    let places = Arc::new(Semaphore::new(options.connecting as usize));
    let (start, started) = watch::channel(None);
    let (connected_sender, mut connected) = mpsc::channel(64);
    let mut signals = Signals::listen(|| {})
        .map_err(|error| Failure::session(format!("cannot wait for signals: {error}")))?;
    let mut clients = JoinSet::new();
    for _ in 0..options.clients {
        let (options, places) = (options.clone(), places.clone());
        let (connected, started) = (connected_sender.clone(), started.clone());
        clients.spawn(client::run(options, places, connected, started));
    }
    drop(connected_sender);

    let bar = progress("connecting", options.clients.into());
    let mut totals = Totals::default();
    loop {
        tokio::select! {
            attempt = connected.recv() => match attempt {
                Some(attempt) => totals.connection(attempt),
                None => break,
            },
            signal = signals.next() => {
                bar.finish_and_clear();
                // Those that wait for others need not begin.
                places.close();
                start.send_replace(Some(Plan::ended()));
                let closing = collect(&mut clients, &mut totals);
                let _ = timeout(CLOSING, signals.unless(closing)).await;
                return Err(Failure::signal(signal));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    totals.check()?;

    let begin = Instant::now();
    let plan = Plan {
        stop: begin + options.seconds,
        give_up: begin + options.seconds + LAST_MESSAGES,
        is_cut: false,
    };
    start.send_replace(Some(plan));
    let measuring = signals.unless(show_time(options.seconds, plan.stop));
    let cut = measuring.await.err();
    let time = begin.elapsed().min(options.seconds);
    if cut.is_some() {
        let stop = Instant::now();
        let give_up = stop + LAST_MESSAGES;
        start.send_replace(Some(Plan {
            stop,
            give_up,
            is_cut: false,
        }));
    }
    let measured = collect(&mut clients, &mut totals);
    let cut = match signals.unless(measured).await {
        Err(signal) => {
            start.send_replace(Some(Plan::ended()));
            let _ = timeout(LAST_RESULTS, collect(&mut clients, &mut totals)).await;
            Some(signal)
        }
        Ok(()) => cut,
    };
    let printing = print_aside(totals.report(&options, time));
    if let Some(signal) = cut {
        if let Ok(printed) = timeout(LAST_WORDS, printing).await {
            printed?;
        }
        return Err(Failure::signal(signal));
    }
    signals.unless(printing).await.map_err(Failure::signal)??;
    match totals.is_complete() {
        true => Ok(()),
        false => Err(Failure::findings()),
    }
}

/// Waits for the measurements of the clients.
async fn collect(clients: &mut JoinSet<Option<Measured>>, totals: &mut Totals) {
    while let Some(measured) = clients.join_next().await {
        totals.client(measured.unwrap_or_else(|_| Some(Measured::default())));
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
