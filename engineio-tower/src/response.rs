//! How the server says in HTTP what the protocol decided.

use bytes::Bytes;
use engineio_core::Refusal;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, SEC_WEBSOCKET_VERSION};
use http::{HeaderValue, Response, StatusCode};

use crate::refuse::Refuse;

/// A response of ours, before it is given the body type of the inner service's.
pub(crate) type EngineResponse = Response<Bytes>;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

fn response(status: StatusCode, content_type: HeaderValue, body: Bytes) -> EngineResponse {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, NO_STORE);
    response
}

/// The answer to a handshake or a poll.
pub(crate) fn payload(body: Bytes) -> EngineResponse {
    response(StatusCode::OK, TEXT, body)
}

/// The answer to a POST: `ok` in lower case, as `text/html`, which is what clients of the reference know.
pub(crate) fn posted() -> EngineResponse {
    response(StatusCode::OK, HTML, Bytes::from_static(b"ok"))
}

/// The protocol refuses the request.
pub(crate) fn refusal(refusal: Refusal) -> EngineResponse {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = response(status, JSON, refusal.body().into());
    match refusal {
        Refusal::MethodNotAllowed => {
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, POST"));
        }
        Refusal::UpgradeRequired => {
            response
                .headers_mut()
                .insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        _ => {}
    }
    response
}

/// The application refuses the client.
pub(crate) fn refused(refuse: Refuse) -> EngineResponse {
    let (status, body) = refuse.into_parts();
    response(status, JSON, body)
}
