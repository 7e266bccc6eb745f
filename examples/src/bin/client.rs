//! Sends messages to an echo server and checks that each comes back, once and in order.
//!
//! `client --url http://127.0.0.1:3000/engine.io/ [--transports polling,websocket] [--blocking] [--count N]
//! [--size BYTES] [--binary]`
//!
//! Prints one line: `ok: N echoed over polling|websocket`, with the final transport, or an error, and exits within
//! 30 seconds whatever the server does. `RUST_LOG=engineio=debug` shows details.

use std::error::Error as StdError;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use engineio_client::{Client, DisconnectReason, Message, Transport, blocking};

/// The time limit of the program, independent of the server.
const PATIENCE: Duration = Duration::from_secs(29);

/// The largest message to send; the machine may not have more memory.
const MAX_SIZE: usize = 1 << 30;

const USAGE: &str = "usage: client --url URL [--transports polling,websocket] [--blocking] [--count N] \
                     [--size BYTES] [--binary]";

#[derive(Clone, Debug)]
struct Options {
    url: String,
    transports: Vec<Transport>,
    is_blocking: bool,
    count: usize,
    size: usize,
    is_binary: bool,
}

fn main() -> ExitCode {
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .init();
    }
    // An argument that is not Unicode cannot be a known one.
    let args = std::env::args_os().skip(1);
    let args = args.map(|arg| arg.to_string_lossy().into_owned());
    let outcome = parse(args).and_then(run_in_time);
    match outcome {
        Ok(transport) => {
            println!("{transport}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", error.replace(['\r', '\n'], " "));
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        url: String::new(),
        transports: vec![Transport::Polling, Transport::WebSocket],
        is_blocking: false,
        count: 100,
        size: 32,
        is_binary: false,
    };
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .ok_or_else(|| format!("{arg} needs a value; {USAGE}"))
        };
        match arg.as_str() {
            "--url" => options.url = value()?,
            "--transports" => {
                let names = value()?;
                let transports: Option<Vec<_>> =
                    names.split(',').map(Transport::from_name).collect();
                options.transports =
                    transports.ok_or_else(|| format!("unknown transport in {names}; {USAGE}"))?;
            }
            "--count" => options.count = number(&value()?)?,
            "--size" => options.size = number(&value()?)?,
            "--blocking" => options.is_blocking = true,
            "--binary" => options.is_binary = true,
            _ => return Err(format!("unknown argument {arg}; {USAGE}")),
        }
    }
    if options.url.is_empty() {
        return Err(USAGE.to_owned());
    }
    if options.size > MAX_SIZE {
        let size = options.size;
        return Err(format!(
            "a message of {size} bytes is too large; the maximum is {MAX_SIZE}"
        ));
    }
    Ok(options)
}

fn number(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("{text} is not a number; {USAGE}"))
}

/// Runs the exchange in a thread, so that the time limit holds even if it hangs.
fn run_in_time(options: Options) -> Result<String, String> {
    let (done, outcome) = mpsc::channel();
    let count = options.count;
    std::thread::spawn(move || {
        let outcome = if options.is_blocking {
            echo_blocking(&options)
        } else {
            echo_async(&options)
        };
        // The receiver is gone only after the time limit.
        let _ = done.send(outcome);
    });
    match outcome.recv_timeout(PATIENCE) {
        Ok(Ok(transport)) => Ok(format!("ok: {count} echoed over {transport}")),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(format!(
            "not all of {count} messages came back within {PATIENCE:?}"
        )),
    }
}

/// The n-th message: its number where it fits, filled up to exactly `size` bytes.
fn message(n: usize, options: &Options) -> Message {
    let mut bytes = n.to_string().into_bytes();
    if bytes.len() > options.size {
        bytes.clear();
    }
    // Bytes of every value in binary messages, the separator of polling payloads among them.
    let fill = |at: usize| {
        if options.is_binary {
            (at % 251) as u8
        } else {
            b'a' + (at % 26) as u8
        }
    };
    bytes.extend((bytes.len()..options.size).map(fill));
    if options.is_binary {
        Message::from(bytes)
    } else {
        Message::from(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn check(
    n: usize,
    echo: Option<Message>,
    end: impl Fn() -> String,
    options: &Options,
) -> Result<(), String> {
    let Some(echo) = echo else {
        return Err(format!(
            "{n} of {} messages came back, then {}",
            options.count,
            end()
        ));
    };
    if echo == message(n, options) {
        return Ok(());
    }
    let kind = if echo.is_binary() { "binary" } else { "text" };
    let begin = &echo.as_bytes()[..echo.len().min(24)];
    let begin = String::from_utf8_lossy(begin);
    Err(format!(
        "message {n} came back wrong: {kind} of {} bytes that begins with {begin:?}",
        echo.len()
    ))
}

fn end(reason: Option<DisconnectReason>, error: Option<engineio_client::Error>) -> String {
    match (error, reason) {
        (Some(error), _) => describe(&error),
        (None, Some(reason)) => format!("the session ended: {reason}"),
        (None, None) => "the session ended".to_owned(),
    }
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

/// Returns the limit for one response: two of these messages in base64, or the default.
fn max_response(options: &Options) -> usize {
    (options.size * 3).max(32 << 20)
}

fn echo_async(options: &Options) -> Result<Transport, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(async {
        let mut client = Client::builder(&options.url)
            .transports(options.transports.iter().copied())
            .max_response(max_response(options))
            .connect()
            .await
            .map_err(|error| describe(&error))?;
        let handle = client.handle();
        let sending = options.clone();
        let sender = tokio::spawn(async move {
            for n in 0..sending.count {
                if handle.send(message(n, &sending)).await.is_err() {
                    break;
                }
            }
        });
        for n in 0..options.count {
            let echo = client.next().await;
            let end = || end(client.disconnect_reason(), client.disconnect_error());
            check(n, echo, end, options)?;
        }
        sender.abort();
        // A few messages are faster than the move to WebSocket.
        let transport = client.settled().await;
        client.close().await;
        no_more(client.next().await)?;
        Ok(transport)
    })
}

fn echo_blocking(options: &Options) -> Result<Transport, String> {
    let mut client = blocking::Client::builder(&options.url)
        .transports(options.transports.iter().copied())
        .max_response(max_response(options))
        .connect()
        .map_err(|error| describe(&error))?;
    let handle = client.handle();
    let sending = options.clone();
    let sender = std::thread::spawn(move || {
        for n in 0..sending.count {
            if handle.send(message(n, &sending)).is_err() {
                break;
            }
        }
    });
    for n in 0..options.count {
        let echo = client.next();
        let end = || end(client.disconnect_reason(), client.disconnect_error());
        check(n, echo, end, options)?;
    }
    sender
        .join()
        .map_err(|_| "the sending thread panicked".to_owned())?;
    let transport = client.settled().map_err(|error| describe(&error))?;
    client.close().map_err(|error| describe(&error))?;
    no_more(client.next())?;
    Ok(transport)
}

/// Each message once: what came after the last one is one too many.
fn no_more(message: Option<Message>) -> Result<(), String> {
    match message {
        None => Ok(()),
        Some(message) => Err(format!(
            "a message of {} bytes came back twice",
            message.len()
        )),
    }
}
