//! The requests of the polling transport.

use std::future::poll_fn;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use engineio_core::Payload;
use engineio_core::codec::detach;
use futures_core::future::BoxFuture;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderValue,
    LOCATION, PROXY_AUTHORIZATION,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use super::attempt::Attempt;
use super::connect::{ConnectTimeout, Connector};
use super::cookies::Cookies;
use crate::error::{BoxError, excerpt};
use crate::{Error, ErrorKind};

/// The content type of a payload of bytes, which only revision 3 has.
const BINARY: &str = "application/octet-stream";

/// The time for which an unused connection is kept. Node and uvicorn close theirs after five seconds: a request that starts at
/// that moment would be lost, and the session with it.
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// One poll and one POST: a client never needs more.
const MAX_IDLE: usize = 2;

/// The time limit for a body that only explains the status of its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most bytes of the body of a refusal that are kept.
pub(crate) const MAX_REFUSAL: usize = 64 * 1024;

type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// Sends requests: the client's own pool, or the application's service.
trait Exchange: Send + Sync {
    fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> BoxFuture<'static, Result<Response<AnyBody>, BoxError>>;
}

struct Custom<S>(S);

impl<S, B> Exchange for Custom<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data: Send> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> BoxFuture<'static, Result<Response<AnyBody>, BoxError>> {
        let mut service = self.0.clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx))
                .await
                .map_err(Into::into)?;
            let response = service.call(request).await.map_err(Into::into)?;
            Ok(response.map(|body| {
                body.map_frame(|frame| frame.map_data(whole))
                    .map_err(Into::into)
                    .boxed_unsync()
            }))
        })
    }
}

fn whole(mut data: impl Buf) -> Bytes {
    let len = data.remaining();
    data.copy_to_bytes(len)
}

/// The application's own way to send requests, with its type forgotten.
#[derive(Clone)]
pub(crate) struct HttpService(Arc<dyn Exchange>);

impl HttpService {
    pub(crate) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body<Data: Send> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Arc::new(Custom(service)))
    }
}

impl std::fmt::Debug for HttpService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpService")
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Http {
    service: HttpService,
    /// The application brought its own service, which may have its own mind about encodings.
    is_custom: bool,
    pub(crate) headers: Arc<HeaderMap>,
    cookies: Option<Arc<Cookies>>,
    forwarding: Option<HeaderValue>,
    max_response: usize,
}

impl Http {
    pub(crate) fn new(
        custom: Option<HttpService>,
        connector: Connector,
        headers: Arc<HeaderMap>,
        cookies: Option<Arc<Cookies>>,
        max_response: usize,
    ) -> Self {
        let is_custom = custom.is_some();
        let forwarding = connector
            .proxy()
            .and_then(super::proxy::Proxy::authorization);
        let forwarding = forwarding.filter(|_| !is_custom);
        let service = custom.unwrap_or_else(|| {
            let client = Client::builder(TokioExecutor::new())
                .pool_idle_timeout(KEEP_ALIVE)
                .pool_max_idle_per_host(MAX_IDLE)
                .pool_timer(TokioTimer::new())
                .build(connector);
            HttpService::new::<Client<Connector, Full<Bytes>>, _>(client)
        });
        Self {
            service,
            is_custom,
            headers,
            cookies,
            forwarding,
            max_response,
        }
    }

    /// Sends a GET, or a POST of this body, and returns the body of a successful answer.
    pub(crate) async fn request(
        self,
        uri: http::Uri,
        body: Option<Payload>,
    ) -> Result<Payload, Error> {
        let method = if body.is_some() {
            Method::POST
        } else {
            Method::GET
        };
        let attempt = Attempt::new(method.clone(), &uri, &self.headers);
        let secure = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        let bytes = body.as_ref().map(|body| body.body.clone());
        let mut request = Request::new(Full::new(bytes.unwrap_or_default()));
        *request.method_mut() = method;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if !self.is_custom {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
        }
        if let Some(body) = &body {
            let kind = if body.binary {
                BINARY
            } else {
                "text/plain;charset=UTF-8"
            };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        apply(&self.headers, self.cookies.as_deref(), secure, headers);
        if let (Some(authorization), false) = (&self.forwarding, secure) {
            headers.insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        *request.uri_mut() = uri;

        let response = self.service.0.exchange(request).await;
        let response = response.map_err(|error| failed(&attempt, error))?;
        let status = response.status();
        // A proxy that asks for credentials is not the server, whose cookies these are.
        if let Some(cookies) = &self.cookies
            && status != StatusCode::PROXY_AUTHENTICATION_REQUIRED
        {
            cookies.store(response.headers());
        }
        if status.is_redirection() {
            let to = response.headers().get(LOCATION);
            return Err(Error::redirect(&attempt, status, to));
        }
        if !status.is_success() {
            let encoding = response.headers().get(CONTENT_ENCODING).cloned();
            let body = first_bytes(response.into_body(), MAX_REFUSAL).await;
            let plain = encoding.and_then(|encoding| unpack(&encoding, &body, MAX_REFUSAL));
            // As far as it can be read: what is broken in it is no reason to say less.
            let body = match plain {
                Some((plain, _)) if !plain.is_empty() => plain.into(),
                _ => body,
            };
            return Err(Error::refused(&attempt, status, body));
        }
        if body.is_some() {
            // Nothing in the answer to a POST matters, but reading it lets the connection be used again.
            first_bytes(response.into_body(), MAX_REFUSAL).await;
            return Ok(Payload::text(Bytes::new()));
        }
        let kind = response.headers().get(CONTENT_TYPE);
        let is_binary = kind.is_some_and(|kind| kind.as_bytes().starts_with(BINARY.as_bytes()));
        let encoding = response.headers().get(CONTENT_ENCODING).cloned();
        // The size hint of the body says the same, but not through every layer of an application's own service.
        let announced = response.headers().get(CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        let limit = self.max_response;
        let body = whole_body(response.into_body(), announced, limit, &attempt).await?;
        let body = match encoding {
            Some(encoding) => decompress(&encoding, body, self.max_response, &attempt)?,
            None => body,
        };
        Ok(if is_binary {
            Payload::binary(body)
        } else {
            Payload::text(body)
        })
    }
}

/// Puts the application's headers and the cookies on a request.
pub(crate) fn apply(
    own: &HeaderMap,
    cookies: Option<&Cookies>,
    secure: bool,
    headers: &mut HeaderMap,
) {
    for name in own.keys() {
        headers.remove(name);
        for value in own.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    if let Some(cookie) = super::cookies::header(own, cookies, secure) {
        headers.insert(COOKIE, cookie);
    }
}

/// A request without an answer.
pub(crate) fn failed(attempt: &Attempt, error: BoxError) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
    let mut connecting = false;
    while let Some(level) = cause {
        if level.is::<ConnectTimeout>() {
            let message = format!(
                "{attempt} found no connection in time; check that the server runs and can be reached, or raise \
                 `connect_timeout`"
            );
            return Error::new(ErrorKind::Timeout, message).with_source(error);
        }
        if let Some(level) = level.downcast_ref::<hyper_util::client::legacy::Error>() {
            connecting |= level.is_connect();
        }
        cause = level.source();
    }
    if connecting {
        let message = format!(
            "{attempt} found no connection; check that the server runs and that the host, the port, the proxy and the \
             certificates are right"
        );
        Error::new(ErrorKind::Connect, message).with_source(error)
    } else {
        let message = format!("{attempt} broke before it was answered; connect again");
        Error::new(ErrorKind::Transport, message).with_source(error)
    }
}

/// The size that hyper's read buffer may have by default, rounded up. A body that comes in one chunk is a slice of it.
const READ_BUFFER: usize = 512 * 1024;

/// Reads a body that must not be larger than `limit`, and refuses one that is as soon as that is known.
async fn whole_body(
    mut body: AnyBody,
    announced: Option<u64>,
    limit: usize,
    attempt: &Attempt,
) -> Result<Bytes, Error> {
    let too_large = || {
        let message = format!(
            "{attempt} was answered with more than {limit} bytes; raise `max_response` if the server may send that much"
        );
        Error::new(ErrorKind::TooLarge, message)
    };
    if announced.unwrap_or_else(|| body.size_hint().lower()) > limit as u64 {
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(attempt, error))?;
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

/// Reads at most `limit` bytes, and takes what came if the body breaks or does not end.
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
    let _ = tokio::time::timeout(PATIENCE, reading).await;
    bytes.freeze()
}

/// Undoes an encoding, up to so many bytes: what came out, and whether it broke there. `None` for an encoding that was
/// not asked for.
fn unpack(
    encoding: &HeaderValue,
    body: &[u8],
    limit: usize,
) -> Option<(Vec<u8>, io::Result<usize>)> {
    let limit = limit as u64;
    let mut plain = Vec::new();
    let outcome = match encoding.as_bytes().to_ascii_lowercase().as_slice() {
        b"identity" => Read::take(body, limit).read_to_end(&mut plain),
        b"gzip" | b"x-gzip" => {
            let decoder = flate2::read::MultiGzDecoder::new(body);
            decoder.take(limit).read_to_end(&mut plain)
        }
        // Some servers leave out the wrapper of RFC 1950, and every browser and curl read that.
        b"deflate" if !has_zlib_header(body) => {
            let decoder = flate2::read::DeflateDecoder::new(body);
            decoder.take(limit).read_to_end(&mut plain)
        }
        b"deflate" => {
            let decoder = flate2::read::ZlibDecoder::new(body);
            decoder.take(limit).read_to_end(&mut plain)
        }
        _ => return None,
    };
    Some((plain, outcome))
}

/// Returns whether the data begins as RFC 1950 § 2.2 says. A deflate stream that does would be a stored block with bits
/// set in its padding, which no encoder writes.
fn has_zlib_header(body: &[u8]) -> bool {
    matches!(body, &[cmf, flags, ..] if cmf & 0x0f == 8 && u16::from_be_bytes([cmf, flags]) % 31 == 0)
}

fn decompress(
    encoding: &HeaderValue,
    body: Bytes,
    limit: usize,
    attempt: &Attempt,
) -> Result<Bytes, Error> {
    let Some((plain, outcome)) = unpack(encoding, &body, limit.saturating_add(1)) else {
        let message = format!(
            "{attempt} was answered in the encoding {}, which was not asked for; switch it off in the server",
            excerpt(encoding.as_bytes())
        );
        return Err(Error::new(ErrorKind::Protocol, message));
    };
    if let Err(error) = outcome {
        let message = format!("{attempt} was answered with compressed data that is broken");
        return Err(Error::new(ErrorKind::Protocol, message).with_source(error));
    }
    if plain.len() > limit {
        let message = format!(
            "{attempt} was answered with compressed data of more than {limit} bytes; raise `max_response` if the \
             server may send that much"
        );
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(plain.into())
}

/// The answer to a WebSocket handshake that is none.
pub(crate) fn is_switching(status: StatusCode) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures_util::stream::{StreamExt, iter, pending};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::{PATIENCE, first_bytes};

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_hides_nothing() {
        let came = ["one", "two"].map(|part| Ok::<_, Infallible>(Frame::data(Bytes::from(part))));
        let start = tokio::time::Instant::now();
        let read = first_bytes(StreamBody::new(iter(came).chain(pending())), 100).await;
        assert_eq!(read, "onetwo");
        assert_eq!(start.elapsed(), PATIENCE);
    }
}
