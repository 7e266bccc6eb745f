//! One server under one load.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::cpus;
use super::modes::{Figure, Mode};
use super::peers::Peers;
use super::servers::{OURS, Running, SERVERS, Server};

/// A server that could have run but did not for more than this share of the window was disturbed.
const DISTURBED: f64 = 0.10;

/// The number of times a disturbed run is repeated.
const REPEATS: usize = 2;

/// The result of one run.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) raw: Value,
    pub(super) figure: f64,
    pub(super) disturbed: bool,
}

impl Sample {
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        self.raw[key].as_f64()
    }

    fn wait(&self) -> f64 {
        self.number("server_wait").unwrap_or_default()
    }
}

/// Measures once, and again if the run was disturbed; gives the least disturbed run.
pub(super) fn measure(
    server: &Server,
    mode: &Mode,
    window: Duration,
    peers: &mut Peers,
) -> Result<Sample> {
    let mut best: Option<Sample> = None;
    for _ in 0..=REPEATS {
        let sample = once(server, mode, window, peers)?;
        if best.as_ref().is_none_or(|best| sample.wait() < best.wait()) {
            best = Some(sample);
        }
        if best.as_ref().is_some_and(|best| !best.disturbed) {
            break;
        }
    }
    best.context("nothing was measured")
}

fn once(server: &Server, mode: &Mode, window: Duration, peers: &mut Peers) -> Result<Sample> {
    let (running, command) = match mode.of_clients {
        false => {
            let running = Running::start(server, mode, peers)?;
            let command = generator(&running)?;
            (running, command)
        }
        // They take the place of the generator, and measure themselves.
        true => {
            let command = server.command(peers)?;
            let ours = SERVERS.iter().find(|server| server.name == OURS);
            let ours = ours.context("our server is missing")?;
            (Running::start(ours, mode, peers)?, command)
        }
    };
    let load = load(command, &running, mode, window)?;
    let raw = answer(load).with_context(|| format!("{} under {}", server.name, mode.name))?;
    let figure = raw[mode.figure().key()].as_f64().context("no figure")?;
    let wait = raw["server_wait"].as_f64().unwrap_or_default();
    // Memory does not depend on who else is running.
    let disturbed = mode.figure() == Figure::CpuPerMessage && wait > DISTURBED;
    Ok(Sample {
        raw,
        figure,
        disturbed,
    })
}

/// The load generator, which measures this server.
pub(super) fn generator(running: &Running) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["load", "--pid", &running.pid().to_string()]);
    Ok(command)
}

/// Starts a program that loads the server and measures, on its processor.
pub(super) fn load(
    mut command: Command,
    running: &Running,
    mode: &Mode,
    window: Duration,
) -> Result<Child> {
    command.arg(mode.load);
    let window = mode.window_ms(window.as_millis() as u64);
    for (name, value) in [
        ("--addr", running.addr.to_string()),
        ("--size", mode.size.to_string()),
        ("--clients", mode.clients.to_string()),
        ("--depth", mode.depth.to_string()),
        ("--warm-up-ms", mode.warm_up_ms.to_string()),
        ("--window-ms", window.to_string()),
    ] {
        command.args([name, &value]);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(cpus::spawn_on(cpus::GENERATOR, &mut command)?)
}

/// Waits for what it has measured. It bounds its own time.
pub(super) fn answer(load: Child) -> Result<Value> {
    let output = load.wait_with_output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = error
            .lines()
            .filter(|line| !line.is_empty())
            .take(4)
            .collect();
        bail!("{}", lines.join(" "));
    }
    serde_json::from_slice(&output.stdout).context("the generator's answer")
}

/// The median; of an even number the mean of the two in the middle.
pub(super) fn median(numbers: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => None,
        len if len % 2 == 1 => Some(numbers[middle]),
        _ => Some((numbers[middle - 1] + numbers[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0]), Some(3.0));
        assert_eq!(median([9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median([9.0, 1.0, 3.0, 5.0]), Some(4.0));
    }
}
