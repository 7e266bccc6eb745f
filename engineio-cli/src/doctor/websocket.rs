//! Checks of the WebSocket: opened at once, reached by an upgrade, and left without traffic.

use std::time::Duration;

use engineio_client::{Client, Error, ErrorKind, Transport};
use reqwest::StatusCode;
use tokio::time::{Instant, timeout};

use super::polling::Works;
use super::probe::Open;
use super::report::Report;
use crate::arguments::Connection;
use crate::failure::with_causes;

const NO_UPGRADE: &str = "\
A proxy in between does not pass WebSocket handshakes on. In nginx:
  proxy_http_version 1.1;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection $connection_upgrade;";

/// Opens a session by WebSocket. Returns whether that worked.
pub(super) async fn direct(
    connection: &Connection,
    open: Option<&Open>,
    refused: Option<StatusCode>,
    report: &mut Report,
) -> bool {
    const CHECK: &str = "WebSocket";
    let began = Instant::now();
    match connect(connection, &[Transport::WebSocket]).await {
        Ok(client) => {
            let took = began.elapsed().as_secs_f64() * 1e3;
            report.good(CHECK, format!("opens a session in {took:.0} ms"));
            client.close().await;
            true
        }
        Err(error) => {
            let offers =
                open.is_none_or(|open| open.upgrades.iter().any(|name| name == "websocket"));
            match offers {
                true if refused.is_some()
                    && error.status() == refused.map(|status| status.as_u16()) =>
                {
                    report.note(CHECK, "refused as the handshake by polling is");
                }
                true => report.fault(CHECK, with_causes(&error), advice(&error)),
                false => report.note(
                    CHECK,
                    format!("the server offers none: {}", with_causes(&error)),
                ),
            }
            false
        }
    }
}

fn advice(error: &Error) -> &'static str {
    match error.status() {
        Some(200 | 400 | 404 | 405 | 426 | 501) => NO_UPGRADE,
        Some(401 | 403) => {
            "The application or a proxy refuses WebSockets: does it see the same headers and origin as for polling?"
        }
        Some(502..=504) => "A proxy answers, and the server behind it does not.",
        _ => NO_UPGRADE,
    }
}

/// Opens a session by polling and waits for its upgrade.
pub(super) async fn upgrade(
    connection: &Connection,
    open: &Open,
    works: Works,
    report: &mut Report,
) {
    const CHECK: &str = "upgrade";
    if !open.upgrades.iter().any(|name| name == "websocket") {
        report.note(CHECK, "the server offers none");
        return;
    }
    let began = Instant::now();
    let client = match connect(connection, &[Transport::Polling, Transport::WebSocket]).await {
        Ok(client) => client,
        Err(error) => {
            report.fault(
                CHECK,
                with_causes(&error),
                "The session broke before its upgrade.",
            );
            return;
        }
    };
    // The client has a time limit for it.
    let settled = client.settled().await;
    let error = client.upgrade_error().or_else(|| client.disconnect_error());
    match (settled, error) {
        (Transport::WebSocket, _) => {
            let took = began.elapsed().as_secs_f64() * 1e3;
            report.good(CHECK, format!("from polling to WebSocket in {took:.0} ms"));
        }
        (_, Some(error)) if works.websocket => {
            report.fault(
                CHECK,
                with_causes(&error),
                not_upgraded(Some(&error), works),
            );
        }
        _ if works.websocket => report.fault(
            CHECK,
            "a session that was opened by polling stays there",
            not_upgraded(None, works),
        ),
        _ => report.note(CHECK, "none, because WebSockets do not work"),
    }
    client.close().await;
}

/// Says why a session may not be upgraded where WebSockets work.
fn not_upgraded(error: Option<&Error>, works: Works) -> &'static str {
    // The code of a session that is not known.
    let is_unknown = error.is_some_and(|error| error.code() == Some(1));
    if !works.polling || is_unknown {
        return "WebSockets work, so the upgrade reaches a process that does not know the session: the load balancer\n\
                is not sticky, or treats WebSockets and polls differently.";
    }
    match error.map(Error::kind) {
        Some(ErrorKind::Timeout | ErrorKind::Protocol) => {
            "WebSockets work, and all requests reach the session: the server does not answer the probe of the upgrade,\n\
             `2probe`, with `3probe` as it should. See its log."
        }
        _ => {
            "WebSockets work, and all requests reach the session: the server, or a proxy, refuses the WebSocket of a\n\
             session that was opened by polling. See their logs."
        }
    }
}

/// Opens a WebSocket and checks that it stays open for a time.
pub(super) async fn stays_open(connection: &Connection, time: Duration) -> Result<(), String> {
    let began = Instant::now();
    let mut client = connect(connection, &[Transport::WebSocket])
        .await
        .map_err(|error| with_causes(&error))?;
    let messages = async { while client.next().await.is_some() {} };
    if timeout(time, messages).await.is_err() {
        client.close().await;
        return Ok(());
    }
    let error = client.disconnect_error().map(|error| with_causes(&error));
    let reason = client.disconnect_reason().map(|reason| reason.to_string());
    let reason = error.or(reason).unwrap_or_default();
    Err(format!(
        "the WebSocket was closed after {:.1} s: {reason}",
        began.elapsed().as_secs_f64()
    ))
}

async fn connect(connection: &Connection, transports: &[Transport]) -> Result<Client, Error> {
    let builder = connection
        .builder()
        .unwrap_or_else(|_| Client::builder(connection.url()));
    let builder = builder.transports(transports.iter().copied());
    builder.connect().await
}
