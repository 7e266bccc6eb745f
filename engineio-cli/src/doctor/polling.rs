//! Checks of polling: the handshake, caches, stickiness, limits of the body, and buffering.

use std::time::Duration;

use reqwest::header::LOCATION;
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, timeout};

use super::probe::{Answer, Open, Probe, send};
use super::report::Report;
use super::trouble::Trouble;

/// The number of further requests for a session, each on a new connection.
const STICKINESS: usize = 8;
/// The largest body that is posted.
const LARGEST: u64 = 4_000_000;
/// A poll that a server answers at once takes less than this through an honest proxy.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The advice for a server that closes sessions.
pub(super) const CLOSED: &str = "The server or its application ends each session: see its log, and whether it wants credentials (-H).";

/// The outcome of a handshake.
#[derive(Debug)]
pub(super) enum Handshake {
    Opened(Open),
    /// There is an answer, and it opens no session.
    Refused(StatusCode),
    /// Nothing else can be checked.
    Hopeless,
}

/// The transports that reach their session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Works {
    pub(super) polling: bool,
    pub(super) websocket: bool,
}

/// Opens a session by polling.
pub(super) async fn handshake(probe: &Probe, report: &mut Report) -> Handshake {
    const CHECK: &str = "handshake";
    let answer = match send(probe.request(Method::GET, None)).await {
        Ok(answer) => answer,
        Err(trouble) => {
            let (text, status) = (trouble.to_string(), trouble.status());
            let advice = status.map_or_else(|| trouble.advice(), |status| advice(status, ""));
            report.fault(CHECK, text, advice);
            return match status {
                Some(status) => Handshake::Refused(status),
                None => Handshake::Hopeless,
            };
        }
    };
    if let Some(open) = (answer.status == StatusCode::OK)
        .then(|| probe.parse(&answer))
        .flatten()
    {
        let is_v3 = is_of_revision_3(&answer.body);
        if is_v3 != probe.is_v3() {
            let revision = if is_v3 { 3 } else { 4 };
            report.fault(
                CHECK,
                format!("the server speaks revision {revision} of the protocol"),
                &format!("Try --eio {revision}."),
            );
            return Handshake::Hopeless;
        }
        if open
            .ping_interval()
            .saturating_add(open.ping_timeout())
            .is_zero()
        {
            report.fault(
                CHECK,
                "the ping interval and the ping timeout are zero",
                "No session lasts, because it has no time for heartbeats: raise both in the server.",
            );
            return Handshake::Refused(answer.status);
        }
        let payload = match open.max_payload() {
            Some(bytes) => format!(", at most {bytes} bytes a payload"),
            None => String::new(),
        };
        let text = format!(
            "{:.0} ms; a ping each {} s, timeout {} s{payload}",
            answer.took.as_secs_f64() * 1e3,
            open.ping_interval().as_secs_f64(),
            open.ping_timeout().as_secs_f64(),
        );
        report.good(CHECK, text);
        return Handshake::Opened(open);
    }
    let location = answer.headers.get(LOCATION);
    let location = location.filter(|_| answer.status.is_redirection());
    let text = match location.map(|to| String::from_utf8_lossy(to.as_bytes())) {
        Some(to) => format!("{} to {}", answer.status, without_secrets(&to)),
        None => format!("{}: {}", answer.status, beginning(&answer.body)),
    };
    report.fault(CHECK, text, advice(answer.status, &answer.body));
    match speaks_another_revision(&answer.body) {
        // The other transports do not speak this one either.
        true => Handshake::Hopeless,
        false => Handshake::Refused(answer.status),
    }
}

/// Returns whether the answer to a handshake has the length of its packet in front, as revision 3 has it.
fn is_of_revision_3(body: &str) -> bool {
    body.trim_start_matches(|c: char| c.is_ascii_digit())
        .starts_with(':')
}

fn speaks_another_revision(body: &str) -> bool {
    body.contains("Unsupported protocol version") || body.contains("\"code\":5")
}

fn advice(status: StatusCode, body: &str) -> &'static str {
    let says = |text| body.contains(text);
    match status.as_u16() {
        200 => {
            "Something else answers at this path: a page, a cache or another server.\n\
             Engine.IO lives at /engine.io/ and Socket.IO at /socket.io/, if nothing else is set."
        }
        301 | 302 | 303 | 307 | 308 => {
            "The server redirects; browsers follow, but not every client does. Use the address in `Location`."
        }
        400 if speaks_another_revision(body) => {
            "The server speaks another revision of the protocol: try --eio 3, or --eio 4."
        }
        400 if says("Transport unknown") || says("\"code\":0") => {
            "The server does not allow polling."
        }
        400 | 426 => {
            "The server does not take this for an Engine.IO handshake; an older revision answers like this: try --eio 3."
        }
        401 | 403 => {
            "The application or a proxy refuses: pass what it wants with -H, and --origin for browsers."
        }
        404 => {
            "There is no Engine.IO server at this path, or a proxy does not forward it.\n\
             Engine.IO lives at /engine.io/ and Socket.IO at /socket.io/, if nothing else is set."
        }
        429 => "There are too many requests from here.",
        502..=504 => "A proxy answers, and the server behind it does not.",
        _ => "This is the answer of a proxy or of a server with a fault.",
    }
}

/// Checks that no cache answers: two handshakes give two sessions.
pub(super) async fn fresh_answers(probe: &Probe, first: &Open, report: &mut Report) {
    match probe.open().await {
        Ok(second) if second.sid == first.sid => report.fault(
            "cache",
            "two handshakes were answered with the same session",
            "A cache answers: exclude this path from it, or let clients send a timestamp (`timestampRequests`).",
        ),
        Ok(_) => report.good("cache", "each handshake gets a session of its own"),
        Err(error) => report.fault("cache", format!("the second handshake failed: {error}"), "The server is not stable, or limits requests."),
    }
}

/// Checks that each new connection reaches the process that knows the session. Returns whether all did.
pub(super) async fn stickiness(probe: &Probe, open: &Open, report: &mut Report) -> bool {
    const CHECK: &str = "stickiness";
    let (mut tried, mut unknown, mut failures) = (0, 0, Vec::new());
    while tried < STICKINESS {
        tried += 1;
        match send(probe.post(open, probe.heartbeat_packet().to_owned())).await {
            Ok(answer) if answer.status == StatusCode::OK => {}
            Ok(answer) if is_unknown(&answer) => unknown += 1,
            Ok(answer) => failures.push(format!("{}: {}", answer.status, beginning(&answer.body))),
            Err(trouble) => {
                failures.push(trouble.to_string());
                // The others would take as long.
                if matches!(
                    trouble,
                    Trouble::NoAnswer(_) | Trouble::NoConnectionInTime(_)
                ) {
                    break;
                }
            }
        }
    }
    if unknown > 0 {
        let text = format!(
            "{unknown} of {tried} requests reached a process that does not know the session"
        );
        report.fault(
            CHECK,
            text,
            "There are several processes, and the load balancer is not sticky. Let it choose by client address or\n\
             cookie, let clients use WebSocket only, or let the processes forward (engineio-cluster).",
        );
    } else if let Some(failure) = failures.first() {
        let text = format!("{} of {tried} POSTs failed: {failure}", failures.len());
        report.fault(
            CHECK,
            text,
            "Something between here and the server does not let POSTs through.",
        );
    } else if open.cookies.is_empty() {
        report.good(
            CHECK,
            format!("{STICKINESS} new connections reached the session"),
        );
    } else {
        let text = format!(
            "{STICKINESS} new connections with the server's cookie reached the session; a page of another origin needs `withCredentials`"
        );
        report.good(CHECK, text);
    }
    unknown == 0 && failures.is_empty()
}

fn is_unknown(answer: &Answer) -> bool {
    // JavaScript and Rust say it by code, Python in words.
    answer.status == StatusCode::BAD_REQUEST
        && ["\"code\":1", "Session ID unknown", "Invalid session"]
            .iter()
            .any(|text| answer.body.contains(text))
}

/// Checks that the largest POST that the server allows gets through. The data of a heartbeat reaches no application.
pub(super) async fn largest_post(probe: &Probe, open: &Open, report: &mut Report) {
    const CHECK: &str = "payload";
    let Some(most) = open.max_payload().filter(|_| !probe.is_v3()) else {
        return;
    };
    // A session of its own: servers may end it.
    let Ok(open) = probe.open().await else { return };
    let size = most.min(LARGEST);
    let padding = "x".repeat(size.saturating_sub(1) as usize);
    let packet = format!("{}{padding}", probe.heartbeat_packet());
    match send(probe.post(&open, packet)).await {
        Ok(answer) if answer.status == StatusCode::OK => {
            report.good(CHECK, format!("a POST of {size} bytes arrives"));
        }
        Ok(answer) if answer.status == StatusCode::PAYLOAD_TOO_LARGE => report.fault(
            CHECK,
            format!(
                "a POST of {size} bytes is answered with 413, although the server allows {most}"
            ),
            "A proxy limits the body. In nginx: client_max_body_size, above the server's maximum.",
        ),
        Ok(answer) => {
            report.note(
                CHECK,
                format!("a POST of {size} bytes is answered with {}", answer.status),
            );
        }
        Err(error) => report.note(CHECK, format!("a POST of {size} bytes is cut off: {error}")),
    }
}

/// Checks that a waiting poll is answered at once: closes the session while a poll waits.
pub(super) async fn buffering(probe: &Probe, report: &mut Report) {
    const CHECK: &str = "buffering";
    let Ok(open) = probe.open().await else { return };
    // Servers send messages of their own after the handshake, which a first poll fetches.
    let poll = || send(probe.request(Method::GET, Some(&open)));
    let mut waiting = std::pin::pin!(poll());
    let quiet = Duration::from_millis(500);
    if let Ok(first) = timeout(quiet, &mut waiting).await {
        if first.is_ok_and(|first| has_close(&first)) {
            report.fault(
                CHECK,
                "the server closes a session as soon as it is polled",
                CLOSED,
            );
            return;
        }
        waiting.set(poll());
        if timeout(quiet, &mut waiting).await.is_ok() {
            report.note(CHECK, "not checked, because the server always has messages");
            return;
        }
    }
    let closing = async {
        let began = Instant::now();
        let closed = send(probe.post(&open, "1".to_owned())).await;
        if closed.is_ok() {
            probe.forget(&open);
        }
        (began, closed)
    };
    let ((answer, at), (began, closed)) =
        tokio::join!(async { (waiting.await, Instant::now()) }, closing);
    if !closed.is_ok_and(|answer| answer.status == StatusCode::OK) {
        report.note(
            CHECK,
            "not checked, because the session could not be closed",
        );
        return;
    }
    let took = at.duration_since(began);
    match (held_back(&answer, took), answer) {
        (Some(fault), _) => report.fault(
            CHECK,
            fault,
            "A proxy holds answers back. In nginx: proxy_buffering off.",
        ),
        (None, Ok(_)) => {
            let took = took.as_secs_f64() * 1e3;
            report.good(
                CHECK,
                format!("a waiting poll is answered {took:.0} ms after its cause"),
            );
        }
        (None, Err(error)) => report.note(
            CHECK,
            format!("the poll broke when its session was closed: {error}"),
        ),
    }
}

/// Returns whether the server closes the session by its answer to a poll.
pub(super) fn has_close(answer: &Answer) -> bool {
    answer.status == StatusCode::OK && answer.body.split('\u{1e}').any(|packet| packet == "1")
}

/// Returns what is wrong with a poll that ended this long after its session was closed.
fn held_back(answer: &Result<Answer, Trouble>, took: Duration) -> Option<String> {
    match answer {
        Err(Trouble::NoAnswer(_) | Trouble::Endless(..)) => Some(format!(
            "a waiting poll is not answered within {:.0} s of its cause",
            took.as_secs_f64()
        )),
        Ok(_) if took >= AT_ONCE => Some(format!(
            "a waiting poll is answered {:.1} s after its cause",
            took.as_secs_f64()
        )),
        _ => None,
    }
}

/// Returns a URL or path without its query and its credentials, which may be secrets.
fn without_secrets(to: &str) -> String {
    let end = to.find(['?', '#']).unwrap_or(to.len());
    let shown = &to[..end];
    let start = shown.find("//").map_or(0, |at| at + 2);
    let path = shown[start..]
        .find('/')
        .map_or(shown.len(), |at| start + at);
    let host = shown[start..path]
        .rfind('@')
        .map_or(start, |at| start + at + 1);
    format!("{}{}", &shown[..start], &shown[host..])
}

/// Returns the beginning of a body in one line.
fn beginning(body: &str) -> String {
    const SHOWN: usize = 80;
    let plain = body.chars().map(|c| if c.is_control() { ' ' } else { c });
    let shown: String = plain.take(SHOWN).collect();
    match body.chars().nth(SHOWN) {
        Some(_) => format!("{}…", shown.trim()),
        None => shown.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_that_is_never_answered_is_held_back() {
        let took = Duration::from_secs(14);
        let fault = held_back(&Err(Trouble::NoAnswer(took)), took).unwrap();
        assert!(fault.ends_with("not answered within 14 s of its cause"));
        let broken = Err(Trouble::NotHttp("reset".to_owned()));
        assert_eq!(held_back(&broken, took), None);
    }
}
