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
    // HTTP/2 has the host in the URI and not among the headers.
    let origin = uri.scheme_str().zip(uri.authority());
    let origin = origin.map(|(scheme, host)| format!("{scheme}://{host}"));
    let uri = origin.unwrap_or_default() + target;
    let mut request = http::Request::builder()
        .method(from.method().as_str())
        .uri(uri)
        .version(match from.version() {
            Version::HTTP_10 => http::Version::HTTP_10,
            Version::HTTP_2 => http::Version::HTTP_2,
            _ => http::Version::HTTP_11,
        });
    for (name, value) in from.headers() {
        request = request.header(name.as_str(), value.as_bytes());
    }
    if let Some(peer) = from.peer_addr() {
        request = request.extension(PeerAddr(peer));
    }
    if from.app_config().secure() {
        request = request.extension(Scheme::Https);
    }
    // Only over HTTP/1.1 do the bytes of a WebSocket follow the head.
    if from.version() == Version::HTTP_11 {
        request = request.extension(HostUpgrade);
    }
    let body = HostBody::new(body, request.headers_ref()?);
    request.body(body).ok()
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
