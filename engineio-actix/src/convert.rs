//! Conversions between actix-web's `http` 0.2 and `http` 1.

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::{StatusCode, Version};
use actix_web::{HttpRequest, HttpResponse};
use engineio_tower::{HostBody, HostUpgrade, PeerAddr, Scheme};

/// Converts a request for the service. `None` if `http` 1 cannot parse the target of the request.
///
/// actix-web has decoded `path`, which says only how many segments of the request line are the server's: a decoded
/// `%3F` would begin a query that nobody in front of this has seen. Slashes are not decoded.
pub(crate) fn request<S>(
    from: &HttpRequest,
    path: &str,
    body: S,
) -> Option<http::Request<HostBody<S>>> {
    let uri = from.uri();
    let mut slashes = uri.path().rmatch_indices('/');
    let (start, _) = slashes.nth(path.matches('/').count().checked_sub(1)?)?;
    let target = &uri.path_and_query()?.as_str()[start..];
    let uri = match (uri.scheme_str(), uri.authority()) {
        // HTTP/2, where the host is in the URI and not among the headers.
        (Some(scheme), Some(host)) => format!("{scheme}://{host}{target}"),
        _ => target.to_owned(),
    };
    let headers = from.headers().iter().filter_map(|(name, value)| {
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        Some((name, http::HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    let headers = http::HeaderMap::from_iter(headers);
    let mut request = http::Request::new(HostBody::new(body, &headers));
    *request.headers_mut() = headers;
    *request.uri_mut() = uri.parse().ok()?;
    *request.method_mut() = http::Method::from_bytes(from.method().as_str().as_bytes()).ok()?;
    *request.version_mut() = match from.version() {
        Version::HTTP_10 => http::Version::HTTP_10,
        Version::HTTP_2 => http::Version::HTTP_2,
        _ => http::Version::HTTP_11,
    };
    let extensions = request.extensions_mut();
    from.peer_addr()
        .map(|peer| extensions.insert(PeerAddr(peer)));
    if from.app_config().secure() {
        extensions.insert(Scheme::Https);
    }
    // Only over HTTP/1.1 do the bytes of a WebSocket follow the head.
    if from.version() == Version::HTTP_11 {
        extensions.insert(HostUpgrade);
    }
    Some(request)
}

/// Converts a response for actix-web. A 101 gets the body that carries the WebSocket.
pub(crate) fn response<B>(
    request: &HttpRequest,
    from: http::Response<B>,
    body: BoxBody,
) -> HttpResponse {
    let status = StatusCode::from_u16(from.status().as_u16());
    let mut builder = HttpResponse::build(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in from.headers() {
        builder.append_header((name.as_str(), value.as_bytes()));
    }
    if body.size() == BodySize::Stream {
        // Says that the bytes of the body are the connection's from here on.
        builder.upgrade("websocket");
    } else if request.head().upgrade() {
        // actix-web would repeat the `connection: upgrade` of the request, and close without having said so.
        builder.force_close();
    }
    builder.body(body)
}
