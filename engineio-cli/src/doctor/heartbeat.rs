//! The check of the heartbeat: the time that a poll or a WebSocket may wait.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use super::polling::{CLOSED, Works, has_close};
use super::probe::{Open, Probe, send};
use super::report::Report;
use super::trouble::Trouble;
use super::websocket;
use crate::arguments::Connection;

/// The longest time to wait for a heartbeat.
const MOST_PATIENCE: Duration = Duration::from_secs(600);
/// The delay of a heartbeat that a busy server may have.
const LATE: Duration = Duration::from_secs(5);
/// The advice for a ping that does not come.
const NO_PING: &str = "\
The server sends no ping, or a proxy holds it back or gives up a poll that waits. The time limit of a proxy
must be longer than the ping interval and half the timeout: proxy_read_timeout in nginx, `timeout server` in HAProxy, the idle time of a cloud balancer.";

/// Waits for the server's next ping, by polling and by WebSocket at the same time.
pub(super) async fn check(
    connection: &Connection,
    probe: &Probe,
    open: &Open,
    works: Works,
    report: &mut Report,
) {
    if probe.is_v3() {
        report.note(
            "heartbeat",
            "not checked: in revision 3 the client sends the pings",
        );
        return;
    }
    if !works.polling && !works.websocket {
        report.note("heartbeat", "not checked, because no transport works");
        return;
    }
    let patience = open.ping_interval().saturating_add(LATE);
    if patience > MOST_PATIENCE {
        let text = format!(
            "not waited for: a ping comes only each {:.0} s; proxies close what is silent for so long",
            open.ping_interval().as_secs_f64()
        );
        report.note("heartbeat", text);
        return;
    }
    report.note(
        "heartbeat",
        format!("waiting up to {:.0} s", patience.as_secs_f64()),
    );
    let by_polling = async {
        match works.polling {
            true => Some(ping_by_polling(probe, patience).await),
            false => None,
        }
    };
    let by_websocket = async {
        match works.websocket {
            true => Some(websocket::stays_open(connection, patience).await),
            false => None,
        }
    };
    let (by_polling, by_websocket) = tokio::join!(by_polling, by_websocket);
    match by_polling {
        Some(Ok(after)) => report.good(
            "heartbeat",
            format!("by polling after {:.1} s", after.as_secs_f64()),
        ),
        Some(Err((text, advice))) => report.fault("heartbeat", text, advice),
        None => {}
    }
    match by_websocket {
        Some(Ok(())) => report.good("heartbeat", "by WebSocket"),
        Some(Err(text)) => report.fault(
            "heartbeat",
            text,
            "A proxy closes a WebSocket without traffic. Its time limit must be longer than the ping interval:\n\
             proxy_read_timeout in nginx, `timeout tunnel` in HAProxy, the idle time of a cloud balancer.",
        ),
        None => {}
    }
}

/// Polls until the server's ping comes. Returns the time that it took.
async fn ping_by_polling(
    probe: &Probe,
    patience: Duration,
) -> Result<Duration, (String, &'static str)> {
    let began = Instant::now();
    let open = probe.open().await.map_err(|text| (text, NO_PING))?;
    while began.elapsed() < patience {
        let poll = probe
            .request(Method::GET, Some(&open))
            .timeout(patience.saturating_sub(began.elapsed()));
        let sent = Instant::now();
        let answer = send(poll).await;
        let waited = sent.elapsed().as_secs_f64();
        match answer {
            Ok(answer) if answer.status != StatusCode::OK => {
                let text = format!(
                    "a poll that waited {waited:.1} s was answered with {}",
                    answer.status
                );
                return Err((text, NO_PING));
            }
            Ok(answer) if answer.body.split('\u{1e}').any(|packet| packet == "2") => {
                return Ok(began.elapsed());
            }
            Ok(answer) if has_close(&answer) => {
                let text =
                    format!("the server closed the session, by a poll that waited {waited:.1} s");
                return Err((text, CLOSED));
            }
            // The server's own messages. A server that always has some must not be asked without end.
            Ok(_) => sleep(Duration::from_millis(100)).await,
            Err(Trouble::NoAnswer(_)) => break,
            Err(error) => {
                let text = format!("a poll that waited {waited:.1} s broke: {error}");
                return Err((text, NO_PING));
            }
        }
    }
    let text = format!("no ping came within {:.0} s", patience.as_secs_f64());
    Err((text, NO_PING))
}
