//! The server as a filter.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use engineio_tower::{Delivery, DiscardUnread, HostBody, PeerAddr, Server};
use futures_core::Stream;
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use hyper::upgrade::OnUpgrade;
use warp::{Filter, Rejection, Reply};

/// Returns the server as a filter, for `warp::serve`. Put it before the routes.
///
/// It rejects requests for other paths with "not found", so that warp goes on to the routes. Below a prefix
/// (`warp::path("api").and(filter)`) it matches the rest of the path.
///
/// # Limits
///
/// These are limitations of `warp::serve`; [`layer`](crate::layer) has none of them.
///
/// - No WebSockets over HTTP/2 (RFC 8441), which `warp::serve` does not offer. Browsers then open them over HTTP/1.1,
///   without any configuration.
/// - Nagle's algorithm is on for polling, which delays the second of two small responses by some 40 ms. The server's
///   WebSockets disable it.
/// - There is no time limit for clients that connect but send no request (slowloris).
/// - The connect handler sees only the path and query of the URI, and nothing that layers attached to the request.
///
/// # Examples
///
/// ```no_run
/// use engineio_warp::Server;
/// use warp::Filter;
///
/// # async fn run() {
/// let server = Server::builder().build();
/// let routes = warp::path::end().map(|| "hello");
/// warp::serve(engineio_warp::filter(&server).or(routes)).run(([127, 0, 0, 1], 5000)).await;
/// # }
/// ```
pub fn filter(
    server: &Server,
) -> impl Filter<Extract = (warp::reply::Response,), Error = Rejection>
+ Clone
+ Send
+ Sync
+ 'static
+ use<> {
    let claimed = server.clone();
    let server = server.clone();
    // First of all the path: the body of a request can be taken only once.
    warp::path::peek()
        .and_then(move |rest: warp::path::Peek| {
            let path = format!("/{}", rest.as_str());
            let claims = claimed.claims(&path);
            async move { claims.then_some(path).ok_or_else(warp::reject::not_found) }
        })
        .and(warp::method())
        .and(warp::query::raw().or_else(|_| async { Ok::<_, Rejection>((String::new(),)) }))
        .and(headers())
        .and(warp::addr::remote())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::body::stream())
        .then(
            move |path, method, query, headers, peer: Option<_>, upgrade: Option<_>, body| {
                let request = request(path, method, query, headers, body);
                let server = server.clone();
                async move {
                    let Some(mut request) = request else {
                        return http::StatusCode::BAD_REQUEST.into_response();
                    };
                    let extensions = request.extensions_mut();
                    peer.map(|peer| extensions.insert(PeerAddr(peer)));
                    upgrade.map(|upgrade: OnUpgrade| extensions.insert(upgrade));
                    respond(server.respond(request).await)
                }
            },
        )
}

/// Returns the headers, including the host, which HTTP/2 has in the URI and which no filter passes on.
fn headers() -> impl Filter<Extract = (HeaderMap,), Error = Rejection> + Copy {
    let host = warp::host::optional().map(Some);
    let host = host.or_else(|_| async { Ok::<_, Rejection>((None,)) });
    let headers = warp::header::headers_cloned().and(host);
    headers.map(|mut headers: HeaderMap, host: Option<Option<Authority>>| {
        match host {
            Some(host) => {
                if let Some(host) = host.and_then(|host| HeaderValue::try_from(host.as_str()).ok())
                {
                    headers.entry(HOST).or_insert(host);
                }
            }
            // It is none, or the URI has another one, which counts (RFC 9112 § 3.2.2) and which warp does not tell.
            None => drop(headers.remove(HOST)),
        }
        headers
    })
}

/// Makes a response that is taken part by part if it carries packets, so that the session ends if the client goes away before
/// the last one.
///
/// Over HTTP/2, such a body ends with an empty frame. A client that resets its requests in a flood gets many of them with the
/// refusals, and h2 closes the connection then.
fn respond(mut response: Response<Bytes>) -> warp::reply::Response {
    let delivery = Delivery::take(&mut response);
    if delivery.is_empty() {
        return response.into_response();
    }
    let (mut head, bytes) = response.into_parts();
    head.headers.insert(CONTENT_LENGTH, bytes.len().into());
    let parts = warp::reply::stream(Parts { bytes, delivery });
    Response::from_parts(head, parts.into_response().into_body())
}

/// The parts of the body of a response.
struct Parts {
    bytes: Bytes,
    delivery: Delivery,
}

impl Stream for Parts {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        Poll::Ready(this.delivery.next_part(&mut this.bytes).map(Ok))
    }
}

/// The body of a request whose frames come from `S`.
type RequestBody<S> = DiscardUnread<HostBody<Pin<Box<S>>>>;

fn request<S, D>(
    path: String,
    method: Method,
    query: String,
    headers: HeaderMap,
    stream: S,
) -> Option<Request<RequestBody<S>>>
where
    S: Stream<Item = Result<D, warp::Error>> + Send + 'static,
    D: Buf + 'static,
{
    let uri = match query.as_str() {
        "" => path.parse(),
        query => format!("{path}?{query}").parse(),
    };
    let body = HostBody::new(Box::pin(stream), &headers);
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri.ok()?;
    *request.headers_mut() = headers;
    Some(DiscardUnread::wrap(request))
}
