//! An interactive client for Engine.IO servers, like websocat for WebSockets.
//!
//! `eio http://localhost:5000` connects: each line of input is sent as a message, and each received message is a line
//! of output. It works in a pipe too: `echo hello | eio http://localhost:5000`. `eio --help` lists the options.

use std::error::Error as StdError;
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use engineio_client::{Client, ClientBuilder, Handle, Message, Reconnect, Revision, Transport};
use tokio::sync::mpsc;

const HELP: &str = "\
eio - talk to an Engine.IO server

usage: eio [options] URL

  -H, --header 'Name: value'  send this header with every request (may be repeated)
      --transports LIST       polling, websocket or polling,websocket (the default); the first one opens the session
      --no-upgrade            stay on polling
      --eio 3|4               protocol revision (default 4)
      --path PATH             the server's path, instead of /engine.io/
      --proxy URL             http://, socks4://, socks5:// or socks5h://
      --insecure              accept every certificate (dangerous: for tests only)
      --reconnect             reconnect when the session ends
      --binary                send lines as binary messages, and write binary messages unchanged
      --json                  send only lines that are JSON, and print JSON indented
      --linger SECONDS        after the end of the input, wait this long for further messages (default 1)
  -q, --quiet                 no status line, no diagnostics
  -h, --help                  print this help

A typed line is sent as text; the end of the input (Ctrl-D) closes the session. Received messages go to standard
output, everything else to standard error. RUST_LOG=engineio=debug shows the protocol.";

#[derive(Debug)]
struct Options {
    client: ClientBuilder,
    is_binary: bool,
    is_json: bool,
    is_quiet: bool,
    linger: Duration,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .init();
    }
    let args = std::env::args_os().skip(1);
    let args = args.map(|arg| arg.to_string_lossy().into_owned());
    let options = match parse(args) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("eio: {error}; see `eio --help`");
            return ExitCode::FAILURE;
        }
    };
    match talk(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eio: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let (mut url, mut headers, mut changes) = (None, Vec::new(), Vec::new());
    let (mut is_binary, mut is_json, mut is_quiet) = (false, false, false);
    let mut linger = Duration::from_secs(1);
    type Change = Box<dyn FnOnce(ClientBuilder) -> ClientBuilder>;
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        let change: Change = match arg.as_str() {
            "-h" | "--help" => return Ok(None),
            "-H" | "--header" => {
                let header = value()?;
                let (name, value) = header
                    .split_once(':')
                    .ok_or_else(|| format!("`{header}` is not a header"))?;
                headers.push((name.trim().to_owned(), value.trim().to_owned()));
                continue;
            }
            "--transports" => {
                let names = value()?;
                let transports: Option<Vec<_>> =
                    names.split(',').map(Transport::from_name).collect();
                let transports =
                    transports.ok_or_else(|| format!("unknown transport in {names}"))?;
                Box::new(move |client| client.transports(transports))
            }
            "--no-upgrade" => Box::new(|client| client.upgrade(false)),
            "--eio" => {
                let revision = match value()?.as_str() {
                    "3" => Revision::V3,
                    "4" => Revision::V4,
                    other => return Err(format!("unknown protocol revision {other}")),
                };
                Box::new(move |client| client.revision(revision))
            }
            "--path" => {
                let path = value()?;
                Box::new(move |client| client.path(&path))
            }
            "--proxy" => {
                let proxy = value()?;
                Box::new(move |client| client.proxy(&proxy))
            }
            "--insecure" => Box::new(|client| client.danger_accept_invalid_certificates(true)),
            "--reconnect" => Box::new(|client| client.reconnect(Reconnect::new())),
            "--binary" => {
                is_binary = true;
                continue;
            }
            "--json" => {
                is_json = true;
                continue;
            }
            "-q" | "--quiet" => {
                is_quiet = true;
                continue;
            }
            "--linger" => {
                let secs = value()?;
                let secs = secs
                    .parse()
                    .ok()
                    .and_then(|secs| Duration::try_from_secs_f64(secs).ok());
                linger = secs.ok_or("--linger needs a number of seconds")?;
                continue;
            }
            _ if arg.starts_with('-') => return Err(format!("unknown option {arg}")),
            _ if url.is_some() => return Err(format!("more than one URL: {arg}")),
            _ => {
                url = Some(arg);
                continue;
            }
        };
        changes.push(change);
    }
    let url = url.ok_or("no URL was given")?;
    let mut client = Client::builder(&url);
    for (name, value) in headers {
        client = client.header(&name, &value);
    }
    for change in changes {
        client = change(client);
    }
    Ok(Some(Options {
        client,
        is_binary,
        is_json,
        is_quiet,
        linger,
    }))
}

async fn talk(options: Options) -> Result<(), String> {
    let mut screen = Screen::new(&options);
    let client = options.client.connect().await;
    let mut client = client.map_err(|error| describe(&error))?;
    screen.remark(
        "connected; each line is a message, Ctrl-D ends the session",
        &client,
    );
    let mut typed = send_lines(client.handle(), options.is_binary, options.is_json);
    let mut transport = client.transport();
    let mut typing = true;
    let handle = client.handle();
    let mut settled = std::pin::pin!(handle.settled());
    let mut is_settled = false;
    loop {
        tokio::select! {
            line = typed.recv(), if typing => match line {
                Some(Ok(())) => {
                    screen.sent += 1;
                    screen.status(&client);
                }
                Some(Err(error)) => screen.remark(&error, &client),
                // The server may still answer what was sent last.
                None => typing = false,
            },
            message = client.next() => match message {
                Some(message) => screen.incoming(&message, &client).map_err(|error| error.to_string())?,
                None => break,
            },
            () = tokio::time::sleep(options.linger), if !typing => {
                client.close().await;
                break;
            }
            now = &mut settled, if !is_settled => {
                is_settled = true;
                if now != transport {
                    transport = now;
                    screen.remark("upgraded to websocket", &client);
                }
            }
        }
    }
    screen.clear();
    match (client.disconnect_error(), client.disconnect_reason()) {
        (Some(error), _) => Err(describe(&error)),
        (None, Some(reason)) if !screen.is_quiet => {
            eprintln!("eio: {reason}");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Sends the lines of the standard input, beside the reading of what comes: a slow server must not stop both. Tells what
/// became of each.
fn send_lines(
    handle: Handle,
    is_binary: bool,
    is_json: bool,
) -> mpsc::Receiver<Result<(), String>> {
    let (tell, told) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut lines = read_lines();
        while let Some(line) = lines.recv().await {
            let outcome = match outgoing(line, is_binary, is_json) {
                Ok(message) => match handle.send(message).await {
                    Ok(()) => Ok(()),
                    Err(_) => break,
                },
                Err(error) => Err(error),
            };
            if tell.send(outcome).await.is_err() {
                break;
            }
        }
    });
    told
}

fn outgoing(line: Vec<u8>, is_binary: bool, is_json: bool) -> Result<Message, String> {
    if is_json && let Err(error) = serde_json::from_slice::<serde_json::Value>(&line) {
        return Err(format!("not sent, because it is not JSON: {error}"));
    }
    if is_binary {
        return Ok(Message::from(line));
    }
    match String::from_utf8(line) {
        Ok(text) => Ok(Message::from(text)),
        Err(_) => Err("not sent, because it is not UTF-8; use --binary".to_owned()),
    }
}

/// The lines of the standard input. A thread of their own reads them, because such a read cannot be given up.
fn read_lines() -> mpsc::Receiver<Vec<u8>> {
    let (lines, receiver) = mpsc::channel(64);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut line = Vec::new();
        while matches!(input.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            if line.ends_with(b"\n") {
                line.pop();
            }
            if lines.blocking_send(std::mem::take(&mut line)).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The user interface: messages on standard output, and a status line on a terminal.
struct Screen {
    is_binary: bool,
    is_json: bool,
    is_quiet: bool,
    /// The status line is shown: somebody types and watches.
    is_live: bool,
    shows_messages: bool,
    sent: u64,
    received: u64,
}

impl Screen {
    fn new(options: &Options) -> Self {
        let watched = std::io::stderr().is_terminal() && std::io::stdin().is_terminal();
        Self {
            is_binary: options.is_binary,
            is_json: options.is_json,
            is_quiet: options.is_quiet,
            is_live: watched && !options.is_quiet,
            shows_messages: std::io::stdout().is_terminal(),
            sent: 0,
            received: 0,
        }
    }

    fn incoming(&mut self, message: &Message, client: &Client) -> std::io::Result<()> {
        self.received += 1;
        self.clear();
        let mut out = std::io::stdout().lock();
        match message.as_text() {
            Some(text) => {
                let json = self
                    .is_json
                    .then(|| message.parse_json::<serde_json::Value>());
                match json {
                    Some(Ok(json)) => writeln!(out, "{json:#}")?,
                    // A stranger's text must not move the cursor or change colours.
                    _ if self.shows_messages => writeln!(out, "{}", printable(text))?,
                    _ => writeln!(out, "{text}")?,
                }
            }
            None if self.is_binary && !self.shows_messages => out.write_all(message.as_bytes())?,
            None => writeln!(out, "{}", hex(message.as_bytes()))?,
        }
        out.flush()?;
        self.status(client);
        Ok(())
    }

    fn remark(&self, text: &str, client: &Client) {
        if !self.is_quiet {
            self.clear();
            eprintln!("eio: {text}");
            self.status(client);
        }
    }

    /// Draws the status line; what is typed stands behind it.
    fn status(&self, client: &Client) {
        if self.is_live {
            let state = match client.is_open() {
                true => client.transport().name(),
                false => "away",
            };
            eprint!(
                "\r\x1b[2K\x1b[2m[{state} ↑{} ↓{}]\x1b[0m ",
                self.sent, self.received
            );
        }
    }

    fn clear(&self) {
        if self.is_live {
            eprint!("\r\x1b[2K");
        }
    }
}

fn printable(text: &str) -> String {
    let plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars()
        .map(|c| if plain(c) { c } else { '\u{fffd}' })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 64;
    let shown = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}"));
    let more = if bytes.len() > SHOWN { " …" } else { "" };
    let digits = shown.collect::<Vec<_>>().join(" ");
    format!("<{} bytes> {digits}{more}", bytes.len())
}

fn describe(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
