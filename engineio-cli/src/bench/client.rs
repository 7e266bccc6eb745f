//! One client of a measurement.

use std::collections::VecDeque;
use std::sync::Arc;

use engineio_client::{Client, Message, Transport};
use hdrhistogram::Histogram;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Duration, Instant, sleep, timeout_at};

use super::result;
use crate::arguments::Bench;
use crate::failure::{Failure, with_causes};

/// The length of the number at the beginning of each message.
const NUMBER: usize = 16;
/// The time that a session has to close after a second signal.
const LAST_MOMENT: Duration = Duration::from_millis(200);

/// The condition for the end of the measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// No message is sent any more.
    pub(super) stop: Instant,
    /// Messages that have not come back are lost.
    pub(super) give_up: Instant,
    /// Nothing is waited for any more.
    pub(super) is_cut: bool,
}

impl Plan {
    /// Returns the plan of a measurement that is over before it has begun.
    pub(super) fn ended() -> Self {
        let now = Instant::now();
        Self {
            stop: now,
            give_up: now,
            is_cut: true,
        }
    }
}

/// The outcome of one attempt to connect: the time that it took, and the transport.
pub(super) type Attempt = Result<(Duration, Transport), Failure>;

/// The measurements of one client.
#[derive(Debug)]
pub(super) struct Measured {
    /// Microseconds.
    pub(super) latency: Histogram<u64>,
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Messages that came back after one that was sent later.
    pub(super) wrong: u64,
    /// The number after the highest one that came back. A message that is lost puts none behind it out of order.
    pub(super) next: u64,
    /// Messages that were not to come: changed ones, second copies, and those of the server's own accord.
    pub(super) others: u64,
    /// Why the session ended early.
    pub(super) ended: Option<String>,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            latency: result::histogram(),
            sent: 0,
            received: 0,
            wrong: 0,
            next: 0,
            others: 0,
            ended: None,
        }
    }
}

/// Connects, waits for the start, and keeps its messages under way. Returns nothing if it could not connect.
pub(super) async fn run(
    options: Arc<Bench>,
    places: Arc<Semaphore>,
    connected: mpsc::Sender<Attempt>,
    mut start: watch::Receiver<Option<Plan>>,
) -> Option<Measured> {
    let attempt = {
        let _place = places.acquire().await.ok()?;
        connect(&options).await
    };
    let (client, report) = match attempt {
        Ok((client, took)) => {
            let report = Ok((took, client.transport()));
            (Some(client), report)
        }
        Err(error) => (None, Err(error)),
    };
    connected.send(report).await.ok()?;
    drop(connected);
    let client = client?;
    // An error means that the measurement was given up.
    let _ = start.wait_for(Option::is_some).await.ok()?;
    Some(measure(client, &options, start).await)
}

async fn connect(options: &Bench) -> Result<(Client, Duration), Failure> {
    let builder = options.connection.builder()?;
    let began = Instant::now();
    let client = builder.connect().await?;
    client.settled().await;
    Ok((client, began.elapsed()))
}

async fn measure(
    mut client: Client,
    options: &Bench,
    mut plans: watch::Receiver<Option<Plan>>,
) -> Measured {
    let mut measured = Measured::default();
    let mut under_way = VecDeque::with_capacity(options.in_flight as usize);
    let mut is_planned = true;
    'planned: loop {
        let plan = plans.borrow_and_update().unwrap_or_else(Plan::ended);
        while under_way.len() < options.in_flight as usize && Instant::now() < plan.stop {
            let message = message(measured.sent, options);
            let began = Instant::now();
            let sent = tokio::select! {
                sent = client.send(message) => sent,
                // A signal has changed it.
                changed = plans.changed(), if is_planned => {
                    is_planned = changed.is_ok();
                    continue 'planned;
                }
            };
            under_way.push_back((measured.sent, began));
            if sent.is_err() {
                break;
            }
            measured.sent += 1;
        }
        if under_way.is_empty() {
            break;
        }
        let next = tokio::select! {
            next = timeout_at(plan.give_up, client.next()) => next,
            // A signal has changed it.
            changed = plans.changed(), if is_planned => {
                is_planned = changed.is_ok();
                continue;
            }
        };
        match next {
            Ok(Some(message)) => measured.came(&message, options, &mut under_way),
            Ok(None) => {
                let error = client.disconnect_error().map(|error| with_causes(&error));
                let reason = client.disconnect_reason().map(|reason| reason.to_string());
                measured.ended = error.or(reason);
                return measured;
            }
            Err(_) => break,
        }
    }
    let cut = async {
        let cut = plans.wait_for(|plan| plan.is_some_and(|plan| plan.is_cut));
        if cut.await.is_err() {
            std::future::pending::<()>().await;
        }
        sleep(LAST_MOMENT).await;
    };
    tokio::select! {
        () = client.close() => {}
        () = cut => client.abort(),
    }
    // A server that sends a message twice may have done so with the last one.
    while let Some(message) = client.next().await {
        measured.came(&message, options, &mut under_way);
    }
    measured
}

impl Measured {
    fn came(
        &mut self,
        message: &Message,
        options: &Bench,
        under_way: &mut VecDeque<(u64, Instant)>,
    ) {
        let is_same_kind = message.is_binary() == options.binary;
        match number(message.as_bytes(), options.size as usize) {
            Some(number) if is_same_kind => self.came_back(number, under_way),
            _ => self.others += 1,
        }
    }

    fn came_back(&mut self, number: u64, under_way: &mut VecDeque<(u64, Instant)>) {
        // It is not waited for any more.
        let place = under_way.iter().position(|&(sent, _)| sent == number);
        match place.and_then(|place| under_way.remove(place)) {
            Some((_, sent)) if number >= self.next => {
                self.next = number + 1;
                self.received += 1;
                let micros = sent.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
                // The histogram grows, so that every time fits.
                let _ = self.latency.record(micros);
            }
            Some(_) => self.wrong += 1,
            None => self.others += 1,
        }
    }
}

fn message(number: u64, options: &Bench) -> Message {
    let text = text(number, options.size as usize);
    match options.binary {
        true => Message::from(text.into_bytes()),
        false => Message::from(text),
    }
}

fn text(number: u64, size: usize) -> String {
    let padding = "x".repeat(size - NUMBER);
    format!("{number:0NUMBER$x}{padding}")
}

/// Returns the number of a message of a measurement.
fn number(message: &[u8], size: usize) -> Option<u64> {
    let (number, padding) = message.split_at_checked(NUMBER)?;
    if message.len() != size || padding.iter().any(|&byte| byte != b'x') {
        return None;
    }
    u64::from_str_radix(str::from_utf8(number).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_size_and_its_number() {
        let text = text(0xab, 24);
        assert_eq!(text.len(), 24);
        assert_eq!(number(text.as_bytes(), 24), Some(0xab));
        assert_eq!(number(text.as_bytes(), 25), None);
        assert_eq!(number(b"welcome", 24), None);
        // A width in a format has 16 bits.
        assert_eq!(super::text(1, 100_000).len(), 100_000);
    }

    #[test]
    fn a_lost_message_puts_no_other_out_of_order() {
        let mut measured = Measured::default();
        let now = Instant::now();
        let mut under_way = VecDeque::from([(0, now), (1, now), (2, now), (3, now)]);
        for number in [0, 2, 3] {
            measured.came_back(number, &mut under_way);
        }
        assert_eq!((measured.wrong, measured.received), (0, 3));
        assert_eq!(under_way, [(1, now)]);
        // It was late, not lost.
        measured.came_back(1, &mut under_way);
        assert_eq!((measured.wrong, measured.received), (1, 3));
    }

    #[test]
    fn a_message_out_of_order_is_wrong_and_not_waited_for() {
        let mut measured = Measured::default();
        let now = Instant::now();
        let mut under_way = VecDeque::from([(0, now), (1, now)]);
        measured.came_back(1, &mut under_way);
        measured.came_back(0, &mut under_way);
        assert_eq!((measured.wrong, measured.received), (1, 1));
        assert!(under_way.is_empty());
        measured.came_back(1, &mut under_way);
        assert_eq!((measured.wrong, measured.others), (1, 1));
    }
}
