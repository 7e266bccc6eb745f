//! The HTTP form of the protocol's answers.

use bytes::Bytes;
use engineio_core::{Refusal, jsonp};
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    SEC_WEBSOCKET_VERSION, SET_COOKIE, TRANSFER_ENCODING, UPGRADE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::http::delivery::Delivery;
use crate::http::template::{NO_STORE, Template, Templates};
use crate::policy::compression::{Accepted, Encoding};
use crate::policy::cors::{CorsReply, Preflight};
use crate::policy::options::Options;
use crate::server::meter;
use crate::session::rejection::Rejection;

/// A response of the engine, before it gets a body type in common with the inner service.
pub(crate) type EngineResponse = Response<Bytes>;

/// The answer to a request, before it is written as HTTP.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Packets: the answer to a poll.
    Payload(engineio_core::Payload, Delivery),
    /// The open packet, and the cookie with the session's id.
    Opened(engineio_core::Payload, Option<HeaderValue>, Delivery),
    /// A POST was accepted.
    Posted,
    /// The protocol refuses the request.
    Refusal(Refusal),
    /// The application refuses the client.
    Refused(Rejection),
    /// The 101, or the answer to a preflight.
    Response(EngineResponse),
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
const SCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=UTF-8");
/// For proxies that compress.
const NO_TRANSFORM: HeaderValue = HeaderValue::from_static("no-store, no-transform");
/// For compressors around the server: those of tower-http and actix-web, and nginx, leave a body alone that says how it is
/// encoded, and ignore `no-transform`.
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The parts of a request that its answer depends on; the head is not kept.
#[derive(Debug)]
pub(crate) struct Reply {
    cors: CorsReply,
    /// The origin was checked and is allowed.
    pub(crate) allowed: bool,
    accepted: Accepted,
    jsonp: Option<u32>,
    /// The headers that the application's hooks add.
    headers: Option<Box<HeaderMap>>,
}

impl Reply {
    pub(crate) fn new(options: &Options, head: &Parts, jsonp: Option<u32>) -> Self {
        Self {
            cors: options.origins.reply(head),
            allowed: false,
            // The answer to a POST is two bytes.
            accepted: if options.compression.is_on() && head.method != Method::POST {
                Encoding::negotiate(&head.headers)
            } else {
                Accepted::PLAIN
            },
            jsonp,
            headers: None,
        }
    }

    /// Returns the headers that are added to the answer.
    pub(crate) fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers.get_or_insert_default()
    }

    /// Returns the answer to a browser's preflight request.
    pub(crate) fn preflight(&mut self, preflight: Preflight) -> EngineResponse {
        preflight.respond(&mut self.cors).map(|()| Bytes::new())
    }

    /// Writes the answer as HTTP. What it delivers is returned beside it.
    pub(crate) fn write(
        &mut self,
        options: &Options,
        templates: &Templates,
        answer: Answer,
    ) -> (EngineResponse, Delivery) {
        let accepted = matches!(
            answer,
            Answer::Payload(..) | Answer::Opened(..) | Answer::Posted | Answer::Response(_)
        );
        let from_template = accepted && !matches!(answer, Answer::Response(_));
        let template = match self.cors.is_due(self.allowed) {
            true => &templates.cors,
            false => &templates.plain,
        };
        let mut delivery = Delivery::default();
        let mut response = match answer {
            Answer::Payload(payload, packets) => {
                delivery = packets;
                self.payload(options, template, payload)
            }
            Answer::Opened(payload, cookie, packets) => {
                delivery = packets;
                let mut response = self.payload(options, template, payload);
                if let Some(cookie) = cookie {
                    response.headers_mut().append(SET_COOKIE, cookie);
                }
                response
            }
            Answer::Posted => template.posted.clone().map(|()| Bytes::from_static(b"ok")),
            Answer::Refusal(refusal) => refused(refusal),
            Answer::Refused(rejection) => {
                meter::turned_away();
                let (status, body, mut headers) = rejection.into_parts();
                remove_connection_headers(&mut headers);
                let mut response = response(status, JSON, body);
                response.headers_mut().extend(headers);
                response
            }
            Answer::Response(response) => response,
        };
        let headers = response.headers_mut();
        if from_template {
            if self.allowed {
                self.cors.write_origin(headers);
            }
        } else {
            self.cors.write(self.allowed, headers);
            if !headers.contains_key(VARY)
                && let Some(names) = options.origins.vary(false)
            {
                headers.insert(VARY, names);
            }
        }
        // A refusal opens no session, so it sets no cookie.
        if let Some(mut more) = self.headers.take().filter(|_| accepted) {
            remove_connection_headers(&mut more);
            // The application's headers replace those of the same name, except where both are meant.
            let vary = headers.remove(VARY);
            let cookie = headers.remove(SET_COOKIE);
            headers.extend(*more);
            if let Some(vary) = vary {
                headers.append(VARY, vary);
            }
            if let Some(cookie) = cookie {
                headers.append(SET_COOKIE, cookie);
            }
        }
        (response, delivery)
    }

    fn payload(
        &self,
        options: &Options,
        template: &Template,
        payload: engineio_core::Payload,
    ) -> EngineResponse {
        let (content_type, body) = match self.jsonp {
            _ if payload.binary => (Some(BINARY), payload.body),
            Some(index) => match std::str::from_utf8(&payload.body) {
                Ok(text) => (Some(SCRIPT), jsonp::wrap(index, text)),
                Err(_) => (None, payload.body),
            },
            None => (None, payload.body),
        };
        let compression = options.compression;
        let compressed = match payload.compress {
            true => compression.apply(&body, self.accepted),
            false => None,
        };
        let (body, encoding) = match compressed {
            Some((body, encoding)) => (body, Some(encoding)),
            None => (body, (!payload.compress).then_some(IDENTITY)),
        };
        let mut response = template.payload.clone().map(|()| body);
        let headers = response.headers_mut();
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type);
        }
        if let Some(encoding) = encoding {
            headers.insert(CONTENT_ENCODING, encoding);
        }
        if !payload.compress {
            headers.insert(CACHE_CONTROL, NO_TRANSFORM);
        }
        if self.jsonp.is_some() {
            // A script that holds what others have written must not be taken for anything else.
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        response
    }
}

/// Removes the headers that only the host may set. hyper closes the connection without an answer if those of the application
/// contradict the body.
pub(crate) fn remove_connection_headers(headers: &mut HeaderMap) {
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

fn response(status: StatusCode, content_type: HeaderValue, body: Bytes) -> EngineResponse {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, NO_STORE);
    response
}

/// Returns the response by which the protocol refuses a request, and counts it.
pub(crate) fn refused(refusal: Refusal) -> EngineResponse {
    tracing::debug!(target: "engineio::refusal", %refusal, "refused");
    meter::refused(refusal);
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = response(status, JSON, refusal.body().into());
    match refusal {
        Refusal::MethodNotAllowed => {
            let methods = HeaderValue::from_static("GET, POST");
            response.headers_mut().insert(ALLOW, methods);
        }
        Refusal::UpgradeRequired => {
            let headers = response.headers_mut();
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            // RFC 9110 § 15.5.22 wants to hear what to upgrade to, and § 7.8 that it is of this connection alone.
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        _ => {}
    }
    response
}
