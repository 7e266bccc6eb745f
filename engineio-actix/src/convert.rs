//! Between actix-web's `http` 0.2 and `http` 1.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use actix_web::http::{StatusCode, Version};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use engineio_tower::{HostUpgrade, PeerAddr, Scheme};
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};

/// A request body: actix-web's stream of bytes, which stays on its thread.
pub(crate) struct RequestBody {
    payload: Payload,
    /// What the request announced and is still to come.
    remaining: Option<u64>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = PayloadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PayloadError>>> {
        let chunk = ready!(Pin::new(&mut self.payload).poll_next(cx));
        if let (Some(remaining), Some(Ok(chunk))) = (&mut self.remaining, &chunk) {
            *remaining = remaining.saturating_sub(chunk.len() as u64);
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The request as the service wants it. `None` if the path is no URI in the eyes of `http` 1.
pub(crate) fn request(
    from: &HttpRequest,
    path: &str,
    payload: Payload,
) -> Option<http::Request<RequestBody>> {
    let target = match from.query_string() {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    };
    let uri = match (from.uri().scheme_str(), from.uri().authority()) {
        // HTTP/2, where the host is in the URI and not among the headers.
        (Some(scheme), Some(host)) => format!("{scheme}://{host}{target}"),
        _ => target,
    };
    let announced = from.headers().get(CONTENT_LENGTH);
    let mut request = http::Request::new(RequestBody {
        payload,
        remaining: announced.and_then(|length| length.to_str().ok()?.parse().ok()),
    });
    *request.uri_mut() = uri.parse().ok()?;
    *request.method_mut() = http::Method::from_bytes(from.method().as_str().as_bytes()).ok()?;
    *request.version_mut() = match from.version() {
        Version::HTTP_10 => http::Version::HTTP_10,
        Version::HTTP_2 => http::Version::HTTP_2,
        _ => http::Version::HTTP_11,
    };
    let headers = request.headers_mut();
    for (name, value) in from.headers() {
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes());
        let value = http::HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    if let Some(peer) = from.peer_addr() {
        request.extensions_mut().insert(PeerAddr(peer));
    }
    if from.app_config().secure() {
        request.extensions_mut().insert(Scheme::Https);
    }
    // Only over HTTP/1.1 do the bytes of a WebSocket follow the head.
    if from.version() == Version::HTTP_11 {
        request.extensions_mut().insert(HostUpgrade);
    }
    Some(request)
}

/// The response as actix-web wants it. A 101 gets the body that carries the WebSocket.
pub(crate) fn response<B>(from: http::Response<B>, body: BoxBody) -> HttpResponse {
    let status = StatusCode::from_u16(from.status().as_u16());
    let mut builder = HttpResponse::build(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in from.headers() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            builder.append_header((name, value));
        }
    }
    if body.size() == BodySize::Stream {
        // Says that the bytes of the body are the connection's from here on.
        builder.upgrade("websocket");
    }
    builder.body(body)
}
