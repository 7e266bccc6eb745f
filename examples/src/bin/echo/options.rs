//! The command line of the echo server.

use std::net::SocketAddr;
use std::time::Duration;

use engineio_axum::{Origins, ServerBuilder, SidCookie, Transport};
use engineio_examples::node::NodeOptions;

/// The options, a line each. Those of a node are in [`engineio_examples::node::HELP`].
pub(crate) const HELP: &str = "\
Usage: echo [OPTION]…

  --host NAME                  axum, actix, warp, warp-filter or hyper (default: axum)
  --listen ADDR:PORT           address of the server (default: 127.0.0.1:3000)
  --threads N                  number of threads (default: one for each processor)
  --name NAME                  beginning of all session ids, by which a balancer finds the server
  --transports NAME,…          polling, websocket and webtransport (default: the first two)
  --webtransport ADDR:PORT     UDP address for WebTransport, with a self-signed certificate
  --ws-compression BYTES       size from which WebSocket messages are compressed (default: never)
  --ping-interval-ms N         time between two pings (default: 25000)
  --ping-timeout-ms N          time for the answer to a ping (default: 20000)
  --max-payload BYTES          size of the largest message of a client (default: 1000000)
  --origins any|same|URL,…     origins whose pages may connect (default: same)
  --cookie NAME                name of a cookie with the session id (default: none)
  --eio3                       accept clients of revision 3 too
  --jsonp                      accept polling by JSONP too
  --help                       print this
";

/// The options of the command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) host: String,
    pub(crate) listen: SocketAddr,
    pub(crate) threads: Option<usize>,
    /// The UDP address for WebTransport.
    pub(crate) webtransport: Option<SocketAddr>,
    /// A prefix of session ids, so that a load balancer can tell several servers apart.
    pub(crate) name: Option<String>,
    /// The place of this server in a cluster.
    pub(crate) node: NodeOptions,
    ping_interval: Option<Duration>,
    ping_timeout: Option<Duration>,
    max_payload: Option<usize>,
    transports: Option<Vec<Transport>>,
    /// The smallest WebSocket message to compress.
    ws_compression: Option<usize>,
    origins: Option<Origins>,
    cookie: Option<String>,
    eio3: bool,
    jsonp: bool,
}

impl Options {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            host: "axum".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            threads: None,
            webtransport: None,
            name: None,
            node: NodeOptions::default(),
            ping_interval: None,
            ping_timeout: None,
            max_payload: None,
            transports: None,
            ws_compression: None,
            origins: None,
            cookie: None,
            eio3: false,
            jsonp: false,
        };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{name} needs a value"))
            };
            match name.as_str() {
                "--host" => options.host = value()?,
                "--listen" => options.listen = parsed(&name, &value()?)?,
                "--ping-interval-ms" => options.ping_interval = Some(millis(&name, &value()?)?),
                "--ping-timeout-ms" => options.ping_timeout = Some(millis(&name, &value()?)?),
                "--max-payload" => options.max_payload = Some(parsed(&name, &value()?)?),
                "--ws-compression" => options.ws_compression = Some(parsed(&name, &value()?)?),
                "--webtransport" => options.webtransport = Some(parsed(&name, &value()?)?),
                "--threads" => options.threads = Some(parsed(&name, &value()?)?),
                "--name" => options.name = Some(server_name(value()?)?),
                "--transports" => {
                    let names = value()?;
                    let transports: Option<Vec<_>> =
                        names.split(',').map(Transport::from_name).collect();
                    options.transports = Some(transports.ok_or_else(|| {
                        format!(
                            "--transports takes polling, websocket and webtransport, not {names}"
                        )
                    })?);
                }
                "--origins" => options.origins = Some(origins(&value()?)?),
                "--cookie" => options.cookie = Some(value()?),
                option if NodeOptions::knows(option) => options.node.set(option, value()?)?,
                "--eio3" => options.eio3 = true,
                "--jsonp" => options.jsonp = true,
                _ => return Err(format!("unknown option {name}")),
            }
        }
        if options.webtransport.is_some() {
            let transports = options.transports.get_or_insert_with(|| {
                vec![
                    Transport::Polling,
                    Transport::WebSocket,
                    Transport::WebTransport,
                ]
            });
            if !transports.contains(&Transport::WebTransport) {
                return Err("--webtransport needs webtransport among --transports".into());
            }
        }
        if options.node.is_set() && options.name.is_some() {
            return Err("--node names the server already; leave --name out".into());
        }
        Ok(options)
    }

    /// Applies the options to a server.
    pub(crate) fn apply(&self, mut builder: ServerBuilder) -> ServerBuilder {
        if let Some(interval) = self.ping_interval {
            builder = builder.ping_interval(interval);
        }
        if let Some(timeout) = self.ping_timeout {
            builder = builder.ping_timeout(timeout);
        }
        if let Some(bytes) = self.max_payload {
            builder = builder.max_payload(bytes);
        }
        if let Some(transports) = &self.transports {
            builder = builder.transports(transports.iter().copied());
        }
        if let Some(bytes) = self.ws_compression {
            builder = builder.websocket_compression_threshold(bytes);
        }
        if let Some(origins) = &self.origins {
            builder = builder.origins(origins.clone());
        }
        if let Some(name) = &self.cookie {
            builder = builder.cookie(SidCookie::new(name.clone()));
        }
        builder.allow_eio3(self.eio3).allow_jsonp(self.jsonp)
    }
}

fn origins(value: &str) -> Result<Origins, String> {
    match value {
        "any" => Ok(Origins::any()),
        "same" => Ok(Origins::same()),
        list => Origins::try_list(list.split(',')).map_err(|error| format!("--origins: {error}")),
    }
}

/// Checks that a name consists of letters and digits, and leaves room for the random part of a session id.
fn server_name(name: String) -> Result<String, String> {
    let fits = (1..=16).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
    if fits {
        Ok(name)
    } else {
        Err(format!(
            "--name takes up to 16 letters and digits, not {name}"
        ))
    }
}

fn parsed<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("invalid value {value} for {name}"))
}

fn millis(name: &str, value: &str) -> Result<Duration, String> {
    parsed(name, value).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use engineio_examples::node;

    use super::*;

    /// A value that each option takes, if it takes one.
    fn words(option: &str) -> Vec<&str> {
        let value = match option {
            "--host" => "hyper",
            "--listen" | "--webtransport" | "--node-listen" => "127.0.0.1:0",
            "--transports" => "polling,webtransport",
            "--origins" => "any",
            "--peers" => "b=127.0.0.1:7001",
            "--bus" => "nats://127.0.0.1:4222",
            "--cookie" | "--name" | "--node" | "--cluster-secret" => "text",
            "--eio3" | "--jsonp" => return vec![option],
            _ => "5",
        };
        vec![option, value]
    }

    #[test]
    fn the_help_lists_options_that_the_command_line_knows() {
        let lines = HELP.lines().chain(node::HELP.lines());
        let options = lines.filter_map(|line| line.trim().split(' ').next());
        let mut known = 0;
        for option in options.filter(|word| word.starts_with("--") && *word != "--help") {
            let words = words(option).into_iter().map(str::to_owned);
            assert!(Options::parse(words).is_ok(), "{option}");
            known += 1;
        }
        assert_eq!(known, 20);
    }
}
