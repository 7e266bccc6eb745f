//! Checks that a page of another origin may use the server.

use reqwest::header::{HeaderMap, ORIGIN};
use reqwest::{Method, StatusCode};

use super::probe::{Probe, send};
use super::report::Report;

const CHECK: &str = "CORS";
const ALLOW_ORIGIN: &str = "access-control-allow-origin";

/// Sends a handshake and a preflight with an origin.
pub(super) async fn check(probe: &Probe, origin: Option<&str>, report: &mut Report) {
    let Some(origin) = origin else {
        report.note(
            CHECK,
            "not checked; pass --origin https://… for pages of another origin",
        );
        return;
    };
    let request = probe.request(Method::GET, None).header(ORIGIN, origin);
    match send(request).await {
        Ok(answer) if answer.status != StatusCode::OK => {
            let text = format!(
                "a handshake from {origin} is answered with {}",
                answer.status
            );
            report.fault(
                CHECK,
                text,
                "The server does not allow this origin: list it there.",
            );
            return;
        }
        Ok(answer) => {
            // It has opened a session.
            let _ = probe.parse(&answer);
            if let Err((text, advice)) = allowed(&answer.headers, origin) {
                report.fault(CHECK, text, advice);
                return;
            }
        }
        Err(error) => {
            report.note(CHECK, format!("not checked: {error}"));
            return;
        }
    }
    let preflight = probe
        .request(Method::OPTIONS, None)
        .header(ORIGIN, origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    match send(preflight).await {
        Ok(answer) if !answer.status.is_success() => report.fault(
            CHECK,
            format!("a preflight is answered with {}", answer.status),
            "A proxy or the host app does not let OPTIONS through to the server.",
        ),
        Ok(answer) => match allowed(&answer.headers, origin) {
            Ok(()) => report.good(CHECK, format!("pages of {origin} may connect")),
            Err((text, advice)) => report.fault(CHECK, format!("preflight: {text}"), advice),
        },
        Err(error) => report.fault(
            CHECK,
            format!("a preflight fails: {error}"),
            "A proxy does not let OPTIONS through.",
        ),
    }
}

/// Checks the headers as a browser does.
fn allowed(headers: &HeaderMap, origin: &str) -> Result<(), (String, &'static str)> {
    let values: Vec<_> = headers.get_all(ALLOW_ORIGIN).iter().collect();
    match values.as_slice() {
        [] => Err((
            format!("no {ALLOW_ORIGIN}"),
            "The server or a proxy drops the header: allow the origin in the server, and only there.",
        )),
        [value] if *value == origin || *value == "*" => Ok(()),
        [value] => Err((
            format!("{ALLOW_ORIGIN} is {value:?}"),
            "The header names another origin: list this one in the server, and let no proxy set the header.",
        )),
        _ => Err((
            format!("{} times {ALLOW_ORIGIN}", values.len()),
            "The server and a proxy both set it, which browsers refuse: take it out of the proxy.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn a_header_that_stands_twice_is_a_fault() {
        let mut headers = HeaderMap::new();
        assert!(
            allowed(&headers, "https://a")
                .unwrap_err()
                .0
                .starts_with("no ")
        );
        headers.append(ALLOW_ORIGIN, HeaderValue::from_static("https://a"));
        assert!(allowed(&headers, "https://a").is_ok());
        assert!(allowed(&headers, "https://b").is_err());
        headers.append(ALLOW_ORIGIN, HeaderValue::from_static("*"));
        assert!(
            allowed(&headers, "https://a")
                .unwrap_err()
                .0
                .starts_with("2 times")
        );
    }
}
