//! The command line of the load program.

use std::time::Duration;

/// The usage message.
pub(crate) const USAGE: &str = "usage: soak --url URL [--pid N] [--seconds N] [--clients N] [--saboteurs N] [--eio3] \
[--life-ms N] [--lingers] [--seed N]";

/// The options of the command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) url: String,
    /// The process id of the server, to measure its memory and descriptors.
    pub(crate) pid: Option<u32>,
    pub(crate) time: Duration,
    pub(crate) clients: u64,
    pub(crate) saboteurs: u64,
    /// Whether the server accepts clients of revision 3 too.
    pub(crate) eio3: bool,
    /// The server's ping interval plus ping timeout, after which silent clients have timed out.
    pub(crate) life: Duration,
    /// Whether the host keeps reading, and discards, the connection of an ended session while its last data is unread, as
    /// actix-web does.
    pub(crate) lingers: bool,
    pub(crate) seed: u64,
}

impl Options {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            url: String::new(),
            pid: None,
            time: Duration::from_secs(15),
            clients: 32,
            saboteurs: 16,
            eio3: false,
            life: Duration::from_secs(45),
            lingers: false,
            seed: fastrand::u64(..),
        };
        while let Some(name) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--url" => value()?.trim_end_matches('/').clone_into(&mut options.url),
                "--pid" => options.pid = Some(number(&name, &value()?)? as u32),
                "--seconds" => options.time = Duration::from_secs(number(&name, &value()?)?),
                "--clients" => options.clients = number(&name, &value()?)?,
                "--saboteurs" => options.saboteurs = number(&name, &value()?)?,
                "--eio3" => options.eio3 = true,
                "--life-ms" => options.life = Duration::from_millis(number(&name, &value()?)?),
                "--lingers" => options.lingers = true,
                "--seed" => options.seed = number(&name, &value()?)?,
                _ => return Err(format!("unknown option {name}")),
            }
        }
        if options.url.starts_with("http://") {
            Ok(options)
        } else {
            Err("--url takes the http:// URL of an echo server".to_owned())
        }
    }

    /// Returns the host and port to connect to.
    pub(crate) fn address(&self) -> &str {
        let address = self.url.strip_prefix("http://").unwrap_or(&self.url);
        address.split('/').next().unwrap_or(address)
    }

    /// The random numbers of one task: the same for the same seed.
    pub(crate) fn random(&self, task: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(
            self.seed
                .wrapping_add(task.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        )
    }
}

fn number(name: &str, value: &str) -> Result<u64, String> {
    value
        .parse()
        .map_err(|_| format!("invalid value {value} for {name}"))
}
