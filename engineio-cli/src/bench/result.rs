//! The result of a measurement, in words and as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::client::{Attempt, Measured};
use crate::arguments::Bench;
use crate::failure::Failure;

/// Three significant digits.
const DIGITS: u8 = 3;
const BAR: f64 = 40.0;

/// Returns an empty histogram of microseconds.
pub(super) fn histogram() -> Histogram<u64> {
    #[expect(
        clippy::expect_used,
        reason = "the precision is a constant from 0 to 5"
    )]
    Histogram::new(DIGITS).expect("a valid precision")
}

/// The sums over all clients.
#[derive(Debug)]
pub(super) struct Totals {
    connecting: Histogram<u64>,
    latency: Histogram<u64>,
    /// Clients by transport.
    transports: BTreeMap<&'static str, u64>,
    /// Clients that could not connect, or whose session ended early, by reason.
    errors: BTreeMap<String, u64>,
    /// The first of those that could not connect.
    failure: Option<Failure>,
    sent: u64,
    received: u64,
    wrong: u64,
    others: u64,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            connecting: histogram(),
            latency: histogram(),
            transports: BTreeMap::new(),
            errors: BTreeMap::new(),
            failure: None,
            sent: 0,
            received: 0,
            wrong: 0,
            others: 0,
        }
    }
}

impl Totals {
    pub(super) fn connection(&mut self, attempt: Attempt) {
        match attempt {
            Ok((took, transport)) => {
                let micros = took.as_micros().try_into().unwrap_or(u64::MAX);
                // The histogram grows, so that every time fits.
                let _ = self.connecting.record(micros);
                *self.transports.entry(transport.name()).or_default() += 1;
            }
            Err(failure) => {
                let error = failure.message().unwrap_or_default().to_owned();
                *self.errors.entry(error).or_default() += 1;
                self.failure.get_or_insert(failure);
            }
        }
    }

    /// Fails if no client has connected.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match &self.failure {
            Some(failure) if self.transports.is_empty() => Err(failure.clone()),
            _ => Ok(()),
        }
    }

    pub(super) fn client(&mut self, measured: Option<Measured>) {
        let Some(measured) = measured else { return };
        self.latency += measured.latency;
        self.sent += measured.sent;
        self.received += measured.received;
        self.wrong += measured.wrong;
        self.others += measured.others;
        if let Some(reason) = measured.ended {
            *self.errors.entry(reason).or_default() += 1;
        }
    }

    fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received + self.wrong)
    }

    /// Returns whether each client connected, each message came back in order, and nothing else came.
    pub(super) fn is_complete(&self) -> bool {
        let faults = self.lost() + self.wrong + self.others;
        self.errors.is_empty() && faults == 0 && self.received > 0
    }

    /// Returns the result of a measurement that took this time, as it is printed.
    pub(super) fn report(&self, options: &Bench, time: Duration) -> String {
        match options.json {
            true => format!("{:#}", self.json(options, time)),
            false => self.text(options, time),
        }
    }

    fn per_second(&self, time: Duration) -> f64 {
        // A signal may come at once.
        self.received as f64 / time.as_secs_f64().max(1e-6)
    }

    fn json(&self, options: &Bench, time: Duration) -> serde_json::Value {
        serde_json::json!({
            "clients": options.clients,
            "size": options.size,
            "in_flight": options.in_flight,
            "seconds": time.as_secs_f64(),
            "transports": self.transports,
            "connect_us": Quantiles::of(&self.connecting),
            "latency_us": Quantiles::of(&self.latency),
            "sent": self.sent,
            "received": self.received,
            "per_second": self.per_second(time),
            "lost": self.lost(),
            "wrong": self.wrong,
            "others": self.others,
            "errors": self.errors,
        })
    }

    fn text(&self, options: &Bench, time: Duration) -> String {
        let connected: u64 = self.transports.values().sum();
        let transports = self.transports.iter();
        let transports: Vec<_> = transports
            .map(|(name, count)| format!("{count} over {name}"))
            .collect();
        let mut text = format!(
            "{} in flight by each client, {} bytes each, {:.1} s\n\n\
             clients    {connected} of {} connected ({})\n\
             connect    {}\n\
             messages   {} sent, {} received, {:.0} per second\n\
             latency    {}\n",
            options.in_flight,
            options.size,
            time.as_secs_f64(),
            options.clients,
            transports.join(", "),
            Quantiles::of(&self.connecting),
            self.sent,
            self.received,
            self.per_second(time),
            Quantiles::of(&self.latency),
        );
        for (count, name) in [
            (
                self.lost(),
                "did not come back; does the server send each message back?",
            ),
            (self.wrong, "came back in another order"),
            (
                self.others,
                "came that were not to come: changed, twice, or of the server's own accord",
            ),
        ] {
            if count > 0 {
                text.push_str(&format!("           {count} {name}\n"));
            }
        }
        for (error, count) in &self.errors {
            text.push_str(&format!("error      {count} clients: {error}\n"));
        }
        text.push('\n');
        text.push_str(&bars(&self.latency));
        text
    }
}

/// Shows a histogram, one line for each doubling.
fn bars(histogram: &Histogram<u64>) -> String {
    let mut text = String::new();
    let all = histogram.len().max(1) as f64;
    let mut from = 0;
    for step in histogram.iter_log(125, 2.0) {
        let to = step.value_iterated_to() + 1;
        let share = step.count_since_last_iteration() as f64 / all;
        if share > 0.0 {
            let bar = "#".repeat((share * BAR).ceil() as usize);
            text.push_str(&format!(
                "{:>10} to {:<10} {bar:<40} {:5.1} %\n",
                time(from),
                time(to),
                share * 100.0
            ));
        }
        from = to;
    }
    text
}

/// Figures of a histogram, in microseconds.
#[derive(Debug, Serialize)]
struct Quantiles {
    median: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            median: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        }
    }
}

impl std::fmt::Display for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.max == 0 {
            return f.write_str("none");
        }
        write!(
            f,
            "median {}, 90 % {}, 99 % {}, 99.9 % {}, longest {}",
            time(self.median),
            time(self.p90),
            time(self.p99),
            time(self.p999),
            time(self.max)
        )
    }
}

fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.2} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_that_suits_them() {
        let times = [0, 999, 1_000, 15_600, 1_000_000].map(time);
        assert_eq!(times, ["0 µs", "999 µs", "1.00 ms", "15.60 ms", "1.00 s"]);
    }

    #[test]
    fn bars_add_up_to_everything() {
        let mut histogram = histogram();
        for micros in [100, 100, 300, 5_000] {
            histogram.record(micros).unwrap();
        }
        let text = bars(&histogram);
        let shares = text.lines().map(|line| {
            let (_, share) = line.trim_end_matches(" %").rsplit_once(' ').unwrap();
            share.parse::<f64>().unwrap()
        });
        assert_eq!(shares.sum::<f64>(), 100.0, "{text}");
    }

    #[test]
    fn a_client_that_could_not_connect_makes_the_result_incomplete() {
        let mut totals = Totals::default();
        totals.client(Some(Measured {
            sent: 1,
            received: 1,
            ..Measured::default()
        }));
        assert!(totals.is_complete());
        totals.client(Some(Measured {
            others: 1,
            ..Measured::default()
        }));
        assert!(!totals.is_complete());
        totals.connection(Err(Failure::session("refused")));
        assert!(!totals.is_complete());
        assert!(totals.check().is_err());
    }
}
