//! The tables: Markdown for people, JSON for programs.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::modes::{Figure, Mode};
use super::round::{Sample, median};
use super::servers::Server;

/// All runs of one server in one mode, one for each round; a round that failed is missing.
pub(super) struct Row {
    pub(super) server: &'static Server,
    pub(super) samples: Vec<Option<Sample>>,
    pub(super) failures: Vec<String>,
}

/// All servers in one mode.
pub(super) struct Table {
    pub(super) mode: &'static Mode,
    pub(super) rows: Vec<Row>,
}

/// The ratio to another server over the rounds in which both were measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ratio {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) most: f64,
}

impl Row {
    pub(super) fn add(&mut self, sample: Result<Sample>) {
        match sample {
            Ok(sample) => self.samples.push(Some(sample)),
            Err(error) => {
                self.failures.push(format!("{error:#}"));
                self.samples.push(None);
            }
        }
    }

    fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().flatten()
    }

    pub(super) fn median(&self, key: &str) -> Option<f64> {
        median(self.samples().filter_map(|sample| sample.number(key)))
    }

    pub(super) fn ratio(&self, other: &Self) -> Option<Ratio> {
        let pairs = self.samples.iter().zip(&other.samples);
        let both = pairs.filter_map(|(ours, theirs)| Some((ours.as_ref()?, theirs.as_ref()?)));
        let ratios: Vec<f64> = both
            .map(|(ours, theirs)| ours.figure / theirs.figure)
            .filter(|ratio| ratio.is_finite())
            .collect();
        Some(Ratio {
            median: median(ratios.iter().copied())?,
            least: ratios.iter().copied().fold(f64::MAX, f64::min),
            most: ratios.iter().copied().fold(0.0, f64::max),
        })
    }

    fn disturbed(&self) -> usize {
        self.samples().filter(|sample| sample.disturbed).count()
    }
}

impl Table {
    pub(super) fn new(mode: &'static Mode, servers: &[&'static Server]) -> Self {
        let rows = servers.iter().filter(|server| server.serves(mode));
        Self {
            mode,
            rows: rows
                .map(|server| Row {
                    server,
                    samples: Vec::new(),
                    failures: Vec::new(),
                })
                .collect(),
        }
    }

    pub(super) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.server.name == name)
    }

    pub(super) fn ratio(&self, name: &str) -> Option<Ratio> {
        self.row(name)?.ratio(self.row(self.mode.baseline())?)
    }

    fn markdown(&self) -> String {
        let mode = self.mode;
        let mut out = format!("### {} (`{}`)\n\n", mode.what, mode.name);
        if let Some((must, aim)) = mode.target {
            let _ = writeln!(out, "Target for ours: at most {must:.2}, aim {aim:.2}.\n");
        }
        let cells: &[(&str, &str, usize)] = match mode.figure() {
            Figure::CpuPerMessage => &[
                ("CPU µs", "cpu_us", 2),
                ("per second", "per_second", 0),
                ("p50 µs", "p50_us", 0),
                ("p99 µs", "p99_us", 0),
                ("busy", "server_busy", 2),
                ("waited", "server_wait", 2),
            ],
            Figure::MemoryPerClient => &[
                ("KiB a client", "kib_per_client", 2),
                ("KiB a client after all left", "kib_left_per_client", 2),
                ("CPU µs to open", "open_cpu_us", 0),
            ],
        };
        out += "| server |";
        for (title, ..) in cells {
            let _ = write!(out, " {title} |");
        }
        let baseline = self.mode.baseline();
        let _ = write!(
            out,
            " ÷ {baseline} (least/median/most) | disturbed |\n|---|"
        );
        out += &"---|".repeat(cells.len() + 2);
        out.push('\n');
        for row in &self.rows {
            let _ = write!(out, "| {} |", row.server.what);
            for (_, key, digits) in cells {
                match row.median(key) {
                    Some(number) => {
                        let _ = write!(out, " {number:.digits$} |");
                    }
                    None => out += " – |",
                }
            }
            match self.ratio(row.server.name) {
                Some(Ratio {
                    least,
                    median,
                    most,
                }) => {
                    let _ = write!(out, " {least:.2}/**{median:.2}**/{most:.2} |");
                }
                None => out += " – |",
            }
            let _ = writeln!(out, " {} of {} |", row.disturbed(), row.samples().count());
        }
        for failure in self.rows.iter().flat_map(|row| &row.failures) {
            let _ = writeln!(out, "\nFailed: {failure}");
        }
        out
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let samples = row.samples.iter().map(|sample| {
                let sample = sample.as_ref()?;
                let mut raw = sample.raw.clone();
                raw["disturbed"] = sample.disturbed.into();
                Some(raw)
            });
            json!({
                "server": row.server.name,
                "rounds": samples.collect::<Vec<_>>(),
                "failures": row.failures,
                "ratio": self.ratio(row.server.name).map(|r| [r.least, r.median, r.most]),
            })
        });
        json!({ "mode": self.mode.name, "rows": rows.collect::<Vec<_>>() })
    }
}

/// The whole report in Markdown.
pub(super) fn markdown(head: &str, tables: &[Table]) -> String {
    let mut out = format!("{head}\n");
    out += &summary(tables);
    out += &hosts(tables);
    for table in tables {
        out.push('\n');
        out += &table.markdown();
    }
    out
}

/// Ours beside the targets.
fn summary(tables: &[Table]) -> String {
    let mut out = String::from(
        "| work | ours ÷ baseline | must | aim | ours ÷ limit | |\n|---|---|---|---|---|---|\n",
    );
    let verdict = |figure: f64, must: f64, aim: f64| match figure {
        figure if figure <= aim => "aim reached",
        figure if figure <= must => "holds",
        _ => "**missed**",
    };
    for table in tables {
        if let Some((must, aim)) = table.mode.target_kib
            && let Some(kib) = table
                .row(table.mode.ours())
                .and_then(|row| row.median("kib_per_client"))
        {
            let verdict = verdict(kib, must, aim);
            let what = table.mode.what;
            let _ = writeln!(
                out,
                "| {what} | {kib:.2} KiB | {must:.2} KiB | {aim:.2} KiB | – | {verdict} |"
            );
        }
        let (Some(ours), Some((must, aim))) = (table.ratio(table.mode.ours()), table.mode.target)
        else {
            continue;
        };
        let limit = ["tungstenite", "hyper", "client-gathering"]
            .iter()
            .find_map(|limit| table.row(table.mode.ours())?.ratio(table.row(limit)?));
        let limit = limit.map_or_else(|| "–".to_owned(), |ratio| format!("{:.2}", ratio.median));
        let verdict = verdict(ours.median, must, aim);
        let _ = writeln!(
            out,
            "| {} | {:.2} ({:.2}–{:.2}) | {must:.2} | {aim:.2} | {limit} | {verdict} |",
            table.mode.what, ours.median, ours.least, ours.most
        );
    }
    out
}

/// The cost of a framework relative to bare hyper.
fn hosts(tables: &[Table]) -> String {
    const HOSTS: [&str; 3] = ["axum", "actix", "warp"];
    let mut rows = String::new();
    for table in tables {
        let Some(bare) = table.row("ours") else {
            continue;
        };
        let ratios = HOSTS.map(|host| table.row(host).and_then(|row| row.ratio(bare)));
        if ratios.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(rows, "| {} |", table.mode.what);
        for ratio in ratios {
            match ratio {
                Some(ratio) => {
                    let _ = write!(rows, " {:.2} |", ratio.median);
                }
                None => rows += " – |",
            }
        }
        rows.push('\n');
    }
    if rows.is_empty() {
        return rows;
    }
    format!("\n| work | axum ÷ bare hyper | actix-web | warp |\n|---|---|---|---|\n{rows}")
}

/// The whole report for programs.
pub(super) fn json(head: Value, tables: &[Table]) -> Value {
    let modes: Vec<Value> = tables.iter().map(Table::json).collect();
    json!({ "about": head, "modes": modes })
}
