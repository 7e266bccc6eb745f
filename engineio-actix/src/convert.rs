//! Conversions between actix-web's `http` 0.2 and `http` 1.

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::{StatusCode, Uri, Version};
use actix_web::{HttpRequest, HttpResponse};
use engineio_tower::{HostBody, HostRequest, HostUpgrade, Scheme, Server};
use http::Request;

/// Returns the URI for the server, whose path and query are those of `from` from where `path` begins. `None` if the request is
/// not for the server.
///
/// actix-web has decoded `path`, which says only how many segments follow the prefix of a scope. The server gets them as
/// they were sent, as on every other host: `/engine%2eio/` is not its path, and a decoded `%3F` would begin a query that
/// nobody in front of this has seen. Slashes are not decoded.
pub(crate) fn uri(server: &Server, from: &Uri, path: &str) -> Option<String> {
    server.claims(path).then_some(())?;
    let mut slashes = from.path().rmatch_indices('/');
    let (start, _) = slashes.nth(path.matches('/').count().checked_sub(1)?)?;
    server.claims(&from.path()[start..]).then_some(())?;
    // HTTP/2 has the host in the URI and not among the headers.
    let origin = from.scheme_str().zip(from.authority());
    let origin = origin.map(|(scheme, host)| format!("{scheme}://{host}"));
    Some(origin.unwrap_or_default() + &from.path_and_query()?.as_str()[start..])
}

/// Converts a request for the service. `None` if `http` 1 cannot represent it.
pub(crate) fn request<S>(from: &HttpRequest, uri: String, body: S) -> Option<Request<HostBody<S>>> {
    let request = HostRequest::new(from.method(), uri, from.headers(), from.peer_addr());
    let mut request = request.into_request().ok()?;
    *request.version_mut() = match from.version() {
        Version::HTTP_10 => http::Version::HTTP_10,
        Version::HTTP_2 => http::Version::HTTP_2,
        _ => http::Version::HTTP_11,
    };
    if from.app_config().secure() {
        request.extensions_mut().insert(Scheme::Https);
    }
    // Only over HTTP/1.1 do the bytes of a WebSocket follow the head.
    if from.version() != Version::HTTP_11 {
        request.extensions_mut().remove::<HostUpgrade>();
    }
    let body = HostBody::new(body, request.headers());
    Some(request.map(|()| body))
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
