//! The requests of the polling transport.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use engineio_core::Payload;
use engineio_core::codec::detach;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, PROXY_AUTHORIZATION,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::attempt::Attempt;
use super::connect::Connector;
use super::content::{decompress, unpack};
use super::failure;
use super::form::{host, origin_form};
use super::headers::Headers;
use super::kept::{Failed, Kept, quiet};
use crate::error::BoxError;
use crate::redirect::is_redirect;
use crate::{Error, ErrorKind};

/// The content type of a payload of bytes, which only revision 3 has.
const BINARY: &str = "application/octet-stream";

/// The time for which an unused connection is kept. Node and uvicorn close theirs after five seconds: a request that starts at
/// that moment would be lost, and the session with it.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// The time limit for a body that only explains the status of its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The maximum number of bytes of the body of a refusal that are kept.
pub(crate) const MAX_REFUSAL: usize = 64 * 1024;

/// The time within which a request on a kept-alive connection fails if the server had closed the connection. If it
/// fails later, the server had received it: a poll may have been answered, and a second one would not get the packets
/// of that answer.
const STALE_WITHIN: Duration = Duration::from_secs(1);

/// Sends the requests of polling. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    connector: Connector,
    max_response: usize,
}

/// The outcome of a request: the body of a successful answer, and the connection for the next request.
pub(crate) type Outcome = (Result<Payload, Error>, Option<Box<Kept>>);

impl Http {
    pub(crate) const fn new(connector: Connector, max_response: usize) -> Self {
        Self {
            connector,
            max_response,
        }
    }

    /// Sends a GET, or a POST of this body, over the connection of the request before, or a new one.
    // Not an async function, whose future would hold its arguments twice.
    pub(crate) fn request(
        self,
        kept: Option<Box<Kept>>,
        uri: http::Uri,
        headers: Headers,
        body: Option<Payload>,
    ) -> impl Future<Output = Outcome> + Send {
        let is_post = body.is_some();
        async move {
            // Made only for an error.
            let attempt = || Attempt::new(method(is_post), &uri, &headers);
            let sent = self.send(kept, &attempt, &uri, &headers, body.as_ref());
            let (mut connection, response) = match sent.await {
                Ok(sent) => sent,
                Err(error) => return (Err(error), None),
            };
            let answer = {
                let mut answer = pin!(self.read(response, &attempt, &uri, &headers, is_post));
                connection.drive(|cx| answer.as_mut().poll(cx)).await
            };
            if answer.is_ok()
                && let Err(error) = connection.finish().await
            {
                // The server has not received what it has acknowledged.
                return (Err(failure::of_request(&attempt(), error)), None);
            }
            (answer, Some(connection).filter(|kept| !kept.is_over()))
        }
    }

    /// Sends a request, and returns the head of its answer with the connection by which its body comes.
    ///
    /// If the server had closed the connection that was kept, a GET is sent again over a new one. A POST is not, once any
    /// of it was written.
    async fn send(
        &self,
        mut kept: Option<Box<Kept>>,
        attempt: &(impl Fn() -> Attempt + Sync),
        uri: &http::Uri,
        headers: &Headers,
        body: Option<&Payload>,
    ) -> Result<(Box<Kept>, Response<Incoming>), Error> {
        kept = kept.filter(|kept| kept.leads_to(uri));
        loop {
            let mut connection = match kept.take() {
                Some(kept) => kept,
                // In a box, because it is large and rare.
                None => Box::pin(Kept::open(&self.connector, uri))
                    .await
                    .map_err(|error| failure::of_connection(&attempt(), error))?,
            };
            let was_kept = connection.has_served();
            let start = Instant::now();
            connection.ready().await;
            let request = self.prepare_for(&connection, uri, headers, body);
            let (error, was_stale) = match connection.send(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(Failed::NotBegun(error)) => (error, true),
                Err(Failed::Broken(error)) => {
                    let is_early = start.elapsed() < STALE_WITHIN && !connection.is_answered();
                    (error, body.is_none() && is_early)
                }
            };
            if !was_kept || !was_stale || failure::is_panic(&*error) {
                return Err(failure::of_request(&attempt(), error));
            }
        }
    }

    /// Reads the answer to a request.
    // Not an async function, whose future would hold the response twice.
    fn read(
        &self,
        response: Response<Incoming>,
        attempt: &(impl Fn() -> Attempt + Sync),
        uri: &http::Uri,
        headers: &Headers,
        is_post: bool,
    ) -> impl Future<Output = Result<Payload, Error>> + Send {
        let is_success = response.status().is_success();
        async move {
            if !is_success {
                // In a box, because it is large and rare.
                let refused = self.read_refusal(response, attempt, uri, headers);
                return Err(Box::pin(refused).await);
            }
            headers.store(uri, response.headers());
            if is_post {
                // Nothing in the answer to a POST matters, but reading it lets the connection be used again.
                discard(response.into_body(), MAX_REFUSAL).await;
                return Ok(Payload::text(Bytes::new()));
            }
            let kind = response.headers().get(CONTENT_TYPE);
            let is_binary = kind.is_some_and(|kind| kind.as_bytes().starts_with(BINARY.as_bytes()));
            let encoding = response.headers().get(CONTENT_ENCODING).cloned();
            let mut body = pin!(whole_body(response.into_body(), self.max_response, attempt));
            let body = poll_fn(|_| body.as_mut().poll(&mut quiet())).await?;
            let body = match encoding {
                Some(encoding) => decompress(&encoding, body, self.max_response, &attempt())?,
                None => body,
            };
            Ok(if is_binary {
                Payload::binary(body)
            } else {
                Payload::text(body)
            })
        }
    }

    /// Reads an answer other than a success, and returns the error for it.
    async fn read_refusal(
        &self,
        response: Response<Incoming>,
        attempt: &(impl Fn() -> Attempt + Sync),
        uri: &http::Uri,
        headers: &Headers,
    ) -> Error {
        let status = response.status();
        // The answer may repeat them, and may change those of the jar.
        let mut request = match host(uri) {
            Ok(host) => self.prepare(uri, headers, host, None),
            Err(error) => return error,
        };
        let mut sent = std::mem::take(request.headers_mut());
        sent.extend(self.proxy_headers(uri));
        // A proxy that asks for credentials is not the server, whose cookies these are.
        if status != StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            headers.store(uri, response.headers());
        }
        let attempt = attempt().with_headers(sent);
        let (head, body) = response.into_parts();
        if is_redirect(status) {
            return Error::redirect(&attempt, head);
        }
        let body = first_bytes(body, MAX_REFUSAL).await;
        let encoding = head.headers.get(CONTENT_ENCODING);
        let plain = encoding.and_then(|encoding| unpack(encoding, &body, MAX_REFUSAL));
        // As much as can be read: even a broken body helps to explain the refusal.
        let body = match plain {
            Some((plain, _)) if !plain.is_empty() => plain.into(),
            _ => body,
        };
        Error::refused(&attempt, head, body)
    }

    /// Returns the headers for the proxy that requests to this URL are sent to.
    pub(super) fn proxy_headers(&self, uri: &http::Uri) -> HeaderMap {
        let authorization = self.connector.proxy_authorization(uri);
        let header = authorization.map(|value| (PROXY_AUTHORIZATION, value));
        header.into_iter().collect()
    }

    /// Returns a request for this connection.
    fn prepare_for(
        &self,
        connection: &Kept,
        uri: &http::Uri,
        headers: &Headers,
        body: Option<&Payload>,
    ) -> Request<Full<Bytes>> {
        let mut request = self.prepare(uri, headers, connection.host().clone(), body);
        if connection.is_forwarded() {
            *request.uri_mut() = uri.clone();
            request.headers_mut().extend(self.proxy_headers(uri));
        } else {
            *request.uri_mut() = origin_form(uri);
        }
        request
    }

    /// Returns a request without its URL, and without what only a proxy gets.
    fn prepare(
        &self,
        uri: &http::Uri,
        own: &Headers,
        host: HeaderValue,
        body: Option<&Payload>,
    ) -> Request<Full<Bytes>> {
        let bytes = body.map(|body| body.body.clone());
        let mut request = Request::new(Full::new(bytes.unwrap_or_default()));
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
        if let Some(body) = body {
            let kind = if body.binary {
                BINARY
            } else {
                "text/plain;charset=UTF-8"
            };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        headers.insert(HOST, host);
        own.apply(uri, headers);
        *request.method_mut() = method(body.is_some());
        request
    }
}

const fn method(is_post: bool) -> Method {
    match is_post {
        true => Method::POST,
        false => Method::GET,
    }
}

/// The size that hyper's read buffer may have by default, rounded up. A body that comes in one chunk is a slice of it.
const READ_BUFFER: usize = 512 * 1024;

/// Reads a body that must not be larger than `limit`, and refuses one that is as soon as that is known.
async fn whole_body<B>(
    mut body: B,
    limit: usize,
    attempt: &(impl Fn() -> Attempt + Sync),
) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let too_large = || {
        let message = format!(
            "{} was answered with more than {limit} bytes; raise `max_response` if the server may send that much",
            attempt()
        );
        Error::new(ErrorKind::TooLarge, message)
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failure::of_request(&attempt(), error.into()))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > limit {
            return Err(too_large());
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    // Most answers come in one piece: a slice of a read buffer that must not stay alive for a small body.
    Ok(if rest.is_empty() {
        detach(first, READ_BUFFER)
    } else {
        let buffer = rest.capacity();
        detach(rest.freeze(), buffer)
    })
}

/// Reads at most `limit` bytes, and returns the bytes that have arrived if the body breaks or does not end.
pub(crate) async fn first_bytes<B>(mut body: B, limit: usize) -> Bytes
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut bytes = BytesMut::new();
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                let room = limit - bytes.len();
                bytes.extend_from_slice(&data[..data.len().min(room)]);
                if bytes.len() == limit {
                    break;
                }
            }
        }
    };
    within_patience(reading).await;
    bytes.freeze()
}

/// Reads at most `limit` bytes, if they arrive in time, and forgets them.
async fn discard<B>(mut body: B, limit: usize)
where
    B: Body<Data = Bytes> + Unpin,
{
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read >= limit {
                break;
            }
        }
    };
    within_patience(reading).await;
}

/// Waits for the reading of a body, which as a rule is there with its head and needs no timer.
async fn within_patience(reading: impl Future<Output = ()>) {
    let mut reading = pin!(reading);
    let first = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await;
    if first.is_pending() {
        let _ = Box::pin(tokio::time::timeout(PATIENCE, reading)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use bytes::Bytes;
    use futures_util::stream::{StreamExt, iter, pending};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;
    use crate::net::headers::Headers;

    #[tokio::test]
    async fn a_small_body_does_not_keep_the_buffer_alive_that_the_head_was_read_into() {
        struct Owner(Arc<Vec<u8>>);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        let uri = http::Uri::from_static("http://h/");
        let headers = Headers::new(HeaderMap::new(), None, &uri);
        let attempt = || Attempt::new(Method::GET, &uri, &headers);
        // In one piece, and in several.
        for parts in [&[(0, 63)][..], &[(0, 1), (1, 63)]] {
            let buffer = Arc::new(vec![b'x'; 200_063]);
            let alive = Arc::downgrade(&buffer);
            // The body lies behind the head.
            let buffer = Bytes::from_owner(Owner(buffer)).slice(200_000..);
            let frames: Vec<_> = parts
                .iter()
                .map(|&(start, end)| Ok::<_, Infallible>(Frame::data(buffer.slice(start..end))))
                .collect();
            drop(buffer);
            let body = whole_body(StreamBody::new(iter(frames)), 1_000, &attempt).await;
            assert_eq!(body.unwrap().len(), 63);
            assert!(alive.upgrade().is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_hides_nothing() {
        let came = ["one", "two"].map(|part| Ok::<_, Infallible>(Frame::data(Bytes::from(part))));
        let start = Instant::now();
        let read = first_bytes(StreamBody::new(iter(came).chain(pending())), 100).await;
        assert_eq!(read, "onetwo");
        assert_eq!(start.elapsed(), PATIENCE);
    }
}
