//! The CORS headers of responses.
//!
//! The protocol is that of the Fetch standard, § 3.3. The head of a request is not kept until its answer, so the parts
//! that the answer needs are copied at once; a request without an `Origin` header costs no allocation.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::policy::origin::{MAX_ORIGIN_LEN, Origins};

/// The maximum length of an `Access-Control-Request-Headers` that is echoed, in bytes: some forty names of usual
/// length. Beyond it no header is allowed, and the browser does not send the request.
const MAX_REQUESTED_HEADERS_LEN: usize = 1024;

/// The time for which a browser may cache a preflight. Chromium caches none for longer than these two hours; every real
/// request is checked anyway, so that a change of the configuration does not wait for it.
const MAX_AGE_SECONDS: HeaderValue = HeaderValue::from_static("7200");

/// The headers that a request adds to its answer. The default adds nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct CorsReply {
    credentials: bool,
    origin: Option<HeaderValue>,
}

/// A preflight: the question of a browser whether it may send a request. It is answered without any session logic.
#[derive(Clone, Debug)]
pub(crate) struct Preflight {
    requested_headers: Option<HeaderValue>,
}

impl Origins {
    /// Returns the headers that the answer to this request needs.
    pub(crate) fn reply(&self, head: &Parts) -> CorsReply {
        if self.is_off() {
            return CorsReply::default();
        }
        let origin = head.headers.get(ORIGIN);
        CorsReply {
            credentials: self.sends_credentials(),
            // A list that is too long is refused and thus never echoed.
            origin: origin
                .filter(|origin| origin.len() <= MAX_ORIGIN_LEN)
                .and_then(copy),
        }
    }

    /// Reads a preflight: an `OPTIONS` request with `Origin` and `Access-Control-Request-Method`. Any other request,
    /// and every one where the host does CORS itself, gives `None`.
    pub(crate) fn preflight(&self, head: &Parts) -> Option<Preflight> {
        let is_preflight = head.method == Method::OPTIONS
            && !self.is_off()
            && head.headers.contains_key(ORIGIN)
            && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        is_preflight.then(|| Preflight {
            requested_headers: head
                .headers
                .get(ACCESS_CONTROL_REQUEST_HEADERS)
                .filter(|names| is_list_of_names(names.as_bytes()))
                .and_then(copy),
        })
    }
}

impl CorsReply {
    /// Returns the headers that all answers to an allowed origin have in common, for a template.
    pub(crate) fn template(origins: &Origins) -> Self {
        Self {
            credentials: origins.sends_credentials(),
            // Replaced by that of the request.
            origin: Some(HeaderValue::from_static("null")),
        }
    }

    /// Returns whether the answer has CORS headers. `allowed` is what the check of the origin said.
    pub(crate) fn is_due(&self, allowed: bool) -> bool {
        allowed && self.origin.is_some()
    }

    /// Adds to the headers of an answer, a refusal or a 101 included. `allowed` is what the check of the origin said:
    /// a page whose origin was refused must not read even the refusal.
    pub(crate) fn write(&mut self, allowed: bool, headers: &mut HeaderMap) {
        if self.is_due(allowed) {
            self.write_origin(headers);
            if self.credentials {
                headers.insert(
                    ACCESS_CONTROL_ALLOW_CREDENTIALS,
                    HeaderValue::from_static("true"),
                );
            }
        }
    }

    /// Completes the headers of a template that has those of an allowed origin.
    pub(crate) fn write_origin(&mut self, headers: &mut HeaderMap) {
        if let Some(origin) = self.origin.take() {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
    }
}

impl Origins {
    /// Returns the `Vary` header, for the caches between server and client, in one value, because a second one costs an
    /// allocation. `encoded` tells whether the response may be compressed.
    pub(crate) fn vary(&self, encoded: bool) -> Option<HeaderValue> {
        let names = match (!self.is_off(), encoded) {
            (true, true) => "Origin, Accept-Encoding",
            // They do even where the request has no origin.
            (true, false) => "Origin",
            (false, true) => "Accept-Encoding",
            (false, false) => return None,
        };
        Some(HeaderValue::from_static(names))
    }
}

impl Preflight {
    /// Returns the 204 for an allowed origin. For one that is not allowed, the service sends its refusal.
    pub(crate) fn respond(self, reply: &mut CorsReply) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        reply.write(true, headers);
        headers.insert(
            VARY,
            HeaderValue::from_static("Origin, Access-Control-Request-Headers"),
        );
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, OPTIONS"),
        );
        if let Some(names) = self.requested_headers {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS);
        response
    }
}

/// Copies a value. A clone would keep alive the whole buffer that the head was read into.
fn copy(value: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value.as_bytes()).ok()
}

/// Returns whether this is what a browser sends: field names, RFC 9110 § 5.1, with commas between them, and not too
/// many.
fn is_list_of_names(list: &[u8]) -> bool {
    let is_name = |name: &[u8]| {
        let name = name.trim_ascii();
        !name.is_empty()
            && name
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
    };
    list.len() <= MAX_REQUESTED_HEADERS_LEN && list.split(|&byte| byte == b',').all(is_name)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(method: Method, headers: &[(&'static str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri("/engine.io/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn written(origins: &Origins, head: &Parts, allowed: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        origins.reply(head).write(allowed, &mut headers);
        headers
    }

    const PAGE: (&str, &str) = ("origin", "https://b.com");

    #[test]
    fn an_allowed_origin_is_echoed() {
        let headers = written(&Origins::any(), &head(Method::GET, &[PAGE]), true);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://b.com");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
    }

    #[test]
    fn credentials_can_be_switched_off() {
        let origins = Origins::any().credentials(false);
        let headers = written(&origins, &head(Method::GET, &[PAGE]), true);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://b.com");
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }

    #[test]
    fn without_an_origin_and_after_a_refusal_only_vary_is_sent() {
        for (headers, allowed) in [(&[][..], true), (&[PAGE][..], false)] {
            let head = head(Method::GET, headers);
            assert!(written(&Origins::any(), &head, allowed).is_empty());
            assert_eq!(Origins::any().vary(false).unwrap(), "Origin");
            assert_eq!(
                Origins::any().vary(true).unwrap(),
                "Origin, Accept-Encoding"
            );
        }
    }

    #[test]
    fn off_sends_nothing_and_leaves_preflights_to_the_host() {
        let origins = Origins::off();
        let head = head(
            Method::OPTIONS,
            &[PAGE, ("access-control-request-method", "POST")],
        );
        assert!(written(&origins, &head, true).is_empty());
        assert_eq!(origins.vary(false), None);
        assert_eq!(origins.vary(true).unwrap(), "Accept-Encoding");
        assert!(origins.preflight(&head).is_none());
    }

    #[test]
    fn an_endless_origin_is_not_kept() {
        let long = format!("https://{}.com", "a".repeat(MAX_ORIGIN_LEN));
        let headers = written(
            &Origins::any(),
            &head(Method::GET, &[("origin", &long)]),
            true,
        );
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    }

    #[test]
    fn a_preflight_is_answered_with_204() {
        let head = head(
            Method::OPTIONS,
            &[
                PAGE,
                ("access-control-request-method", "POST"),
                (
                    "access-control-request-headers",
                    "authorization, content-type",
                ),
            ],
        );
        let origins = Origins::any();
        let response = origins
            .preflight(&head)
            .unwrap()
            .respond(&mut origins.reply(&head));
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let headers = response.headers();
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://b.com");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], "GET, POST, OPTIONS");
        assert_eq!(
            headers[ACCESS_CONTROL_ALLOW_HEADERS],
            "authorization, content-type"
        );
        assert_eq!(headers[ACCESS_CONTROL_MAX_AGE], "7200");
        assert_eq!(headers[VARY], "Origin, Access-Control-Request-Headers");
    }

    #[test]
    fn only_names_of_headers_are_echoed_and_not_too_many() {
        let long = ["x-name"; 200].join(",");
        for (names, echoed) in [
            ("x-token", true),
            ("x-token,x-other", true),
            ("x token", false),
            ("x-token,", false),
            ("", false),
            ("x: y", false),
            (&long, false),
        ] {
            let origins = Origins::any();
            let head = head(
                Method::OPTIONS,
                &[
                    PAGE,
                    ("access-control-request-method", "POST"),
                    ("access-control-request-headers", names),
                ],
            );
            let response = origins
                .preflight(&head)
                .unwrap()
                .respond(&mut origins.reply(&head));
            let allows = response
                .headers()
                .contains_key(ACCESS_CONTROL_ALLOW_HEADERS);
            assert_eq!(allows, echoed, "{names:?}");
        }
    }

    #[test]
    fn other_requests_are_no_preflight() {
        let asks = ("access-control-request-method", "POST");
        for (method, headers) in [
            (Method::GET, &[PAGE, asks][..]),
            (Method::OPTIONS, &[PAGE]),
            (Method::OPTIONS, &[asks]),
        ] {
            assert!(Origins::any().preflight(&head(method, headers)).is_none());
        }
    }
}
