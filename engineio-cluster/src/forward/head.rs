//! The head of a request, as it leaves the node that received it and as it arrives at the owner of the session.

use std::net::SocketAddr;

use engineio_tower::forward::Arrived;
use engineio_tower::{PeerAddr, Scheme};
use h2::ext::Protocol;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE, SEC_WEBSOCKET_KEY, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, response};

use crate::link::{NODE, SECRET, TARGET};

/// Marks a forwarded request; its value is the scheme that the client used, or `unknown`. Only the internal listener
/// reads it, and the value of a client is replaced.
const FORWARDED: HeaderName = HeaderName::from_static("engineio-cluster-forwarded");

/// The address of the client's side of its connection. Only the internal listener reads it.
const PEER: HeaderName = HeaderName::from_static("engineio-cluster-peer");

/// The headers that concern one connection (RFC 9110 § 7.6.1), which HTTP/2 forbids, and those whose meaning ends at the
/// node that received the request.
const HOP_BY_HOP: [HeaderName; 11] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHENTICATE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    // The node that received the request answers these two.
    EXPECT,
    SEC_WEBSOCKET_KEY,
];

/// Removes the headers that concern one connection.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Removes the headers in which nodes describe a client to each other.
fn remove_own(headers: &mut HeaderMap) {
    for name in [FORWARDED, PEER, SECRET, NODE, TARGET] {
        headers.remove(name);
    }
}

/// Turns the head of a client's request into that of the request to the owner.
pub(super) fn depart(head: Parts, peer: Option<SocketAddr>, websocket: bool) -> Box<Request<()>> {
    let Parts {
        method,
        uri,
        mut headers,
        extensions,
        ..
    } = head;
    remove_hop_by_hop(&mut headers);
    remove_own(&mut headers);
    if let Some(peer) = peer.and_then(|peer| HeaderValue::try_from(peer.to_string()).ok()) {
        headers.insert(PEER, peer);
    }
    let scheme = match extensions.get::<Scheme>() {
        Some(Scheme::Https) => "https",
        Some(Scheme::Http) => "http",
        None if uri.scheme_str() == Some("https") => "https",
        None => "unknown",
    };
    headers.insert(FORWARDED, HeaderValue::from_static(scheme));
    if method != Method::POST {
        // The body of a poll means nothing and stays here.
        headers.remove(CONTENT_LENGTH);
    }
    let host = || headers.get(HOST)?.to_str().ok()?.parse::<Authority>().ok();
    let authority = uri.authority().cloned().or_else(host);
    let mut request = Request::new(());
    *request.uri_mut() = absolute(uri, authority);
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = method;
    if websocket {
        // RFC 8441.
        *request.method_mut() = Method::CONNECT;
        request
            .extensions_mut()
            .insert(Protocol::from_static("websocket"));
    }
    *request.headers_mut() = headers;
    Box::new(request)
}

/// Adds a scheme and an authority, which HTTP/2 requires; the client's own scheme travels in [`FORWARDED`].
fn absolute(uri: Uri, authority: Option<Authority>) -> Uri {
    let mut parts = uri.into_parts();
    parts.scheme = Some(http::uri::Scheme::HTTP);
    parts.authority = authority.or_else(|| Some(Authority::from_static("cluster")));
    parts
        .path_and_query
        .get_or_insert_with(|| PathAndQuery::from_static("/"));
    Uri::from_parts(parts).unwrap_or_default()
}

/// Turns the head of a forwarded request into the head that the owner would have seen as the receiver.
///
/// Returns `false`, and changes nothing, if the request is not marked as forwarded.
pub(crate) fn arrive<B>(request: &mut Request<B>) -> bool {
    let headers = request.headers_mut();
    let Some(scheme) = headers.remove(FORWARDED) else {
        return false;
    };
    let peer = headers.remove(PEER);
    let peer = peer.and_then(|peer| peer.to_str().ok()?.parse().ok());
    if request.method() != Method::CONNECT {
        // As HTTP/1.1 has it.
        if let Some(path) = request.uri().path_and_query().cloned() {
            *request.uri_mut() = Uri::from(path);
        }
    }
    let extensions = request.extensions_mut();
    extensions.insert(Arrived);
    match scheme.as_bytes() {
        b"https" => extensions.insert(Scheme::Https),
        b"http" => extensions.insert(Scheme::Http),
        _ => None,
    };
    if let Some(peer) = peer {
        extensions.insert(PeerAddr(peer));
    }
    true
}

/// Removes from the head of the owner's response what belongs to the connection between the nodes.
pub(super) fn returned(head: &mut response::Parts) {
    // As a response of this node has it: hyper keeps the connections of HTTP/1.0 open for HTTP/1 only.
    head.version = Version::default();
    let headers = &mut head.headers;
    remove_hop_by_hop(headers);
    remove_own(headers);
    // The host writes both.
    headers.remove(CONTENT_LENGTH);
    headers.remove(http::header::DATE);
}
