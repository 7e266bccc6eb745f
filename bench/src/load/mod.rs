//! The load generator: one thread, raw sockets, frames made beforehand, every echo compared byte for byte.

pub(crate) mod clients;
mod fanout;
pub(crate) mod fixed;
mod frames;
pub(crate) mod http;
pub(crate) mod measure;
pub(crate) mod meter;
mod polling;
pub(crate) mod process;
mod relay;
mod ring;
mod scale;
mod websocket;
mod ws;

use anyhow::{Result, bail};
use serde_json::Value;

pub(crate) use self::measure::Load;
use self::measure::{memory, open_all, window};

/// A client's masked text frame.
pub(crate) fn text_frame(text: &[u8]) -> Vec<u8> {
    frames::frame(1, text)
}

/// Runs the load and gives what was measured.
pub(crate) fn run(load: &Load) -> Result<Value> {
    measure::bounded(load, measured(load))
}

async fn measured(load: &Load) -> Result<Value> {
    match load.mode.as_str() {
        "ws-echo" => websocket::echo(load, false).await,
        "ws-upgrade" => websocket::echo(load, true).await,
        "connect-ws" => websocket::connect(load).await,
        "ping" => websocket::ping(load).await,
        "idle-ws" => websocket::idle(load).await,
        "ws-relay" => relay::run(load).await,
        "ws-ring" => ring::run(load).await,
        "fanout" => fanout::run(load).await,
        "poll-echo" => polling::echo(load).await,
        "connect" => polling::connect(load, false).await,
        "connect-fresh" => polling::connect(load, true).await,
        "idle-poll" => polling::idle(load).await,
        "scale" => scale::run(load).await,
        "poll-session" => polling::sessions(load).await,
        mode => bail!("no such mode: {mode}"),
    }
}
