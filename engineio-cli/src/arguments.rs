//! The options of the command line.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use engineio_client::{Client, ClientBuilder, ErrorKind, Revision, Transport};
use tokio::time::timeout;

use crate::failure::Failure;
use crate::files;

/// Talk to an Engine.IO server.
///
/// Each line of input is sent as a message, and each received message is a line of output. Status and errors go to the
/// standard error stream.
#[derive(Debug, Parser)]
#[command(
    name = "eio",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = AFTER_HELP,
    after_long_help = AFTER_HELP
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) task: Option<Task>,
    #[command(flatten)]
    pub(crate) talk: Talk,
}

/// The largest file of certificates, in bytes: a hundred times the size of a system's.
const MOST_CERTIFICATES: usize = 32 << 20;

/// The longest time that an option takes.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const AFTER_HELP: &str = "\
Examples:
  eio http://localhost:5000                        talk to a server, line by line
  echo hello | eio -q http://localhost:5000        send one message from a script
  eio --send-file photo.jpg https://example.com    send a file as a binary message
  eio --json -H 'Authorization: Bearer T' URL      check and indent JSON, with a header
  eio bench --clients 100 http://localhost:5000    measure a server that echoes
  eio doctor https://example.com                   diagnose the proxies in front of it
  eio completions bash > ~/.local/share/bash-completion/completions/eio

On a terminal, lines that begin with a colon are commands (:help lists them), and lines are
remembered in $XDG_STATE_HOME/eio/history, or ~/.local/state/eio/history.

Exit codes:
  0    success
  1    the server cannot be reached, the session ended with an error, or input was not sent
       or may not have arrived
  2    wrong usage: an option, the URL, or a file that cannot be read
  3    doctor found faults, or bench did not get every message back exactly once
  130  the signal SIGINT; 143: SIGTERM; 141: the standard output was closed, as by `| head`

RUST_LOG=engineio=debug logs the protocol.";

/// The commands other than talking.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Measure a server that sends each message back: messages per second and latency.
    Bench(Bench),
    /// Check a deployment: poll, post, upgrade and close, and explain the faults of proxies and the server.
    Doctor(Doctor),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// The options of a conversation.
#[derive(Debug, Args)]
pub(crate) struct Talk {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Reconnect when the session ends.
    #[arg(long)]
    pub(crate) reconnect: bool,
    /// Send lines as binary messages, and write binary messages unchanged if the output is not a terminal.
    #[arg(long)]
    pub(crate) binary: bool,
    /// Send only lines that are JSON, and print JSON indented.
    #[arg(long)]
    pub(crate) json: bool,
    /// Send the content of a file, at most 100 MB, as one binary message before the input; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) send_file: Vec<PathBuf>,
    /// Wait this many seconds for further messages after the end of the input.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) linger: Duration,
    /// Do not save the lines that are typed. Lines that begin with a space are never saved.
    #[arg(long)]
    pub(crate) no_history: bool,
    /// Print no status and no line for each message that is not sent, only the error at the end if there is one.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// The options of a measurement.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// The number of clients, all in this process.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) clients: u32,
    /// The time to measure after all clients are connected, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = more_than_no_seconds)]
    pub(crate) seconds: Duration,
    /// The size of a message, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 32, value_parser = clap::value_parser!(u32).range(24..=100_000_000))]
    pub(crate) size: u32,
    /// The number of messages that each client has in flight.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) in_flight: u32,
    /// The number of clients that connect at the same time.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connecting: u32,
    /// Send binary messages.
    #[arg(long)]
    pub(crate) binary: bool,
    /// Print the result as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The options of a diagnosis.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// The origin of the page from which browsers connect, to check CORS.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,
    /// Do not wait for a heartbeat, which takes as long as the server's ping interval.
    #[arg(long)]
    pub(crate) quick: bool,
}

/// The server, and the options of the connection.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    // Required, but an option to the parser, because a task in its place has a URL of its own.
    /// The server: http://, https://, ws:// or wss://. Without a path, /engine.io/.
    #[arg(value_name = "URL", required = true)]
    url: Option<String>,
    /// Send this header with every request; may be repeated.
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// polling, websocket or polling,websocket (the default); the first one opens the session.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    transports: Vec<TransportName>,
    /// Stay on polling.
    #[arg(long)]
    no_upgrade: bool,
    /// The protocol revision.
    #[arg(long, value_name = "REVISION", default_value = "4")]
    eio: RevisionName,
    /// The server's path, instead of /engine.io/.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Connect through this proxy: http://, https://, socks4://, socks5:// or socks5h://.
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// Trust the certificates in this file (PEM) in addition to the usual ones.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Its content. A pipe can be read only once.
    #[arg(skip)]
    ca_content: OnceLock<Vec<u8>>,
    /// Accept every certificate. Dangerous: for tests only.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// The time for a connection, a handshake, a POST or an upgrade, instead of 10 to 20 seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TransportName {
    Polling,
    Websocket,
    #[cfg(feature = "webtransport")]
    Webtransport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RevisionName {
    #[value(name = "3")]
    V3,
    #[value(name = "4")]
    V4,
}

impl Connection {
    /// Returns a client as these options ask for.
    pub(crate) fn builder(&self) -> Result<ClientBuilder, Failure> {
        let mut builder = Client::builder(self.url())
            .revision(self.revision())
            .upgrade(!self.no_upgrade)
            .danger_accept_invalid_certificates(self.insecure);
        if !self.transports.is_empty() {
            builder = builder.transports(self.transports.iter().map(|name| match name {
                TransportName::Polling => Transport::Polling,
                TransportName::Websocket => Transport::WebSocket,
                #[cfg(feature = "webtransport")]
                TransportName::Webtransport => Transport::WebTransport,
            }));
        }
        for (name, value) in self.headers()? {
            builder = builder.header(name, value);
        }
        if let Some(path) = &self.path {
            builder = builder.path(path);
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy);
        }
        if let Some(pem) = self.ca_pem()? {
            builder = builder.root_certificate(pem);
        }
        if let Some(time) = self.timeout {
            builder = builder
                .connect_timeout(time)
                .request_timeout(time)
                .upgrade_timeout(time);
        }
        Ok(builder)
    }

    /// Returns the names and values of the headers. They may be secrets, which an error of the parser of arguments would
    /// repeat.
    pub(crate) fn headers(&self) -> Result<Vec<(&str, &str)>, Failure> {
        let headers = self.header.iter().map(|text| header(text));
        headers.collect::<Option<_>>().ok_or_else(|| {
            let what = "a header has no name before a colon; write it as `--header 'Name: value'`";
            Failure::usage(what)
        })
    }

    /// Fails if the client refuses the options, which it does before it connects.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        // Nobody would close a session, and no connection has this address, which is for documents (RFC 5737).
        let address = Ipv4Addr::new(192, 0, 2, 1);
        let builder = self.builder()?.local_address(address.into());
        match timeout(Duration::ZERO, builder.connect()).await {
            Ok(Err(error)) if error.kind() == ErrorKind::Invalid => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(crate) fn url(&self) -> &str {
        self.url.as_deref().unwrap_or_default()
    }

    /// Returns whether the options allow polling.
    pub(crate) fn has_polling(&self) -> bool {
        let is_polling = |name: &TransportName| matches!(name, TransportName::Polling);
        self.transports.is_empty() || self.transports.iter().any(is_polling)
    }

    /// Returns whether the options allow WebSockets.
    pub(crate) fn has_websocket(&self) -> bool {
        let is_websocket = |name: &TransportName| matches!(name, TransportName::Websocket);
        self.transports.is_empty() || self.transports.iter().any(is_websocket)
    }

    /// Returns whether the options allow the upgrade from one to the other.
    pub(crate) fn has_upgrade(&self) -> bool {
        self.has_polling() && self.has_websocket() && !self.no_upgrade
    }

    pub(crate) fn revision(&self) -> Revision {
        match self.eio {
            RevisionName::V3 => Revision::V3,
            RevisionName::V4 => Revision::V4,
        }
    }

    /// Returns the time limit that the options name, if they do.
    pub(crate) const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Returns the path that the options name, if they do.
    pub(crate) fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Returns the certificates to trust.
    fn ca_pem(&self) -> Result<Option<&[u8]>, Failure> {
        let Some(path) = &self.ca_file else {
            return Ok(None);
        };
        if let Some(content) = self.ca_content.get() {
            return Ok(Some(content));
        }
        let content = files::read(path, MOST_CERTIFICATES).map_err(Failure::usage)?;
        Ok(Some(self.ca_content.get_or_init(|| content)))
    }
}

fn header(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(':')?;
    let (name, value) = (name.trim(), value.trim());
    // With a space, part of the value is before the colon.
    (!name.contains(char::is_whitespace)).then_some((name, value))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| *time <= LONGEST)
        .ok_or_else(|| "expected a number of seconds, at most a year of them".to_owned())
}

fn more_than_no_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("nothing can be measured in no time".to_owned()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_options_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_url_alone_is_a_conversation() {
        let arguments = Arguments::try_parse_from(["eio", "http://localhost"]).unwrap();
        assert!(arguments.task.is_none());
        assert_eq!(arguments.talk.connection.url(), "http://localhost");
        assert_eq!(arguments.talk.linger, Duration::from_secs(1));
    }

    #[test]
    fn a_task_needs_a_url_of_its_own() {
        assert!(Arguments::try_parse_from(["eio", "doctor"]).is_err());
        let arguments = Arguments::try_parse_from(["eio", "doctor", "http://a"]).unwrap();
        assert!(
            matches!(arguments.task, Some(Task::Doctor(doctor)) if doctor.connection.url() == "http://a")
        );
    }

    #[test]
    fn a_header_has_a_name_and_a_value() {
        assert_eq!(header("A:  b:c "), Some(("A", "b:c")));
        assert_eq!(header("nothing"), None);
        assert_eq!(header("no thing: x"), None);
    }

    #[test]
    fn a_time_is_a_number_of_seconds() {
        assert_eq!(seconds("0.5").unwrap(), Duration::from_millis(500));
        for wrong in ["-1", "soon", "1e9", "1e99", "NaN"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert!(seconds("0").is_ok() && more_than_no_seconds("0").is_err());
    }
}
