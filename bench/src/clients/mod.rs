//! The clients that are measured: ours, and the limits. One process holds many clients of one kind.

mod bare_hyper;
mod bare_websocket;
mod counted;
mod ours;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use self::bare_hyper::BareHyper;
use self::bare_websocket::{BareWebSocket, Gathering};
pub(crate) use self::counted::{Counted, WORK, run as count};
use self::ours::Ours;
use crate::load::clients;
use crate::load::measure::{Load, bounded};
use crate::options::Options;

/// Measures clients of this name, and gives what was measured.
pub(crate) fn run(options: &mut Options) -> Result<Value> {
    let name = options.word().context("which client?")?;
    let load = Load::parse(options)?;
    bounded(&load, async {
        match name.as_str() {
            "client" => clients::run::<Ours>(&load).await,
            "client-handler" => ours::run_handlers(&load).await,
            "client-tungstenite" => clients::run::<BareWebSocket>(&load).await,
            "client-gathering" => clients::run::<Gathering>(&load).await,
            "client-hyper" => clients::run::<BareHyper>(&load).await,
            name => bail!("no such client: {name}"),
        }
    })
}
