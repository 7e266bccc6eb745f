//! Single HTTP requests, each on a connection of its own, so that a load balancer decides anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use engineio_client::{Revision, rustls};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Request, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::trouble::Trouble;
use crate::arguments::Connection;
use crate::failure::{Failure, with_causes};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The time for a whole answer, if the options name none.
const LIMIT: Duration = Duration::from_secs(15);
/// The time that a request has beyond its limit to say how far it came.
const GRACE: Duration = Duration::from_millis(500);
/// The time to close the sessions at the end.
const CLOSING: Duration = Duration::from_secs(2);
/// The largest body that is read, in bytes: as much as the client takes.
pub(super) const LARGEST_BODY: usize = 32 * 1024 * 1024;

/// Sends requests to a server.
#[derive(Debug)]
pub(super) struct Probe {
    client: Client,
    url: Url,
    revision: Revision,
    limit: Duration,
    /// The sessions to close at the end.
    opened: Mutex<Vec<Open>>,
}

/// The answer to a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    pub(super) took: Duration,
}

/// The open packet.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Open {
    pub(super) sid: String,
    #[serde(default)]
    pub(super) upgrades: Vec<String>,
    ping_interval: u64,
    ping_timeout: u64,
    /// Not sent by older servers.
    max_payload: Option<u64>,
    /// The cookies that came with it, which a balancer may need to find the process again.
    #[serde(skip)]
    pub(super) cookies: String,
}

impl Open {
    pub(super) fn ping_interval(&self) -> Duration {
        Duration::from_millis(self.ping_interval)
    }

    pub(super) fn ping_timeout(&self) -> Duration {
        Duration::from_millis(self.ping_timeout)
    }

    /// Returns the limit that the server announces. Zero is none, as for the client.
    pub(super) fn max_payload(&self) -> Option<u64> {
        self.max_payload.filter(|most| *most > 0)
    }

    /// Reads the answer to a handshake.
    fn parse(answer: &Answer) -> Option<Self> {
        // Revision 3 puts the length of the packet and a colon in front.
        let (_, packet) = answer.body.split_once('{')?;
        let mut stream = serde_json::Deserializer::from_str(
            &answer.body[answer.body.len() - packet.len() - 1..],
        )
        .into_iter::<Self>();
        let mut open = stream.next()?.ok()?;
        let cookies = answer.headers.get_all("set-cookie").iter();
        let pairs = cookies.filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
        open.cookies = pairs.collect::<Vec<_>>().join("; ");
        Some(open)
    }
}

impl Probe {
    pub(super) fn new(connection: &Connection) -> Result<Self, Failure> {
        let failed = |error: reqwest::Error| Failure::usage(with_causes(&error.without_url()));
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .pool_max_idle_per_host(0)
            .connect_timeout(connection.timeout().unwrap_or(CONNECT_LIMIT))
            .http1_only()
            .default_headers(headers(connection)?);
        builder = match &connection.proxy {
            Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy).map_err(failed)?),
            None => builder.no_proxy(),
        };
        // reqwest asks for a provider of cryptography even where it is given a whole configuration.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = connection.builder()?.rustls_config()?;
        builder = builder.tls_backend_preconfigured(Arc::unwrap_or_clone(tls));
        Ok(Self {
            client: builder.build().map_err(failed)?,
            url: url(connection)?,
            revision: connection.revision(),
            limit: connection.timeout().unwrap_or(LIMIT),
            opened: Mutex::default(),
        })
    }

    /// Returns the address without what may be a secret: a user name, a password and the query.
    pub(super) fn address(&self) -> String {
        let origin = self.url.origin().ascii_serialization();
        format!("{origin}{}", self.url.path())
    }

    pub(super) fn is_v3(&self) -> bool {
        self.revision == Revision::V3
    }

    /// Returns a request, with the session of `open` if there is one.
    pub(super) fn request(&self, method: Method, open: Option<&Open>) -> RequestBuilder {
        let mut url = self.url.clone();
        let revision = if self.is_v3() { "3" } else { "4" };
        url.query_pairs_mut()
            .append_pair("EIO", revision)
            .append_pair("transport", "polling");
        if let Some(open) = open {
            url.query_pairs_mut().append_pair("sid", &open.sid);
        }
        let request = self.client.request(method, url).timeout(self.limit);
        match open {
            Some(open) if !open.cookies.is_empty() => request.header("cookie", &open.cookies),
            _ => request,
        }
    }

    /// Returns a POST of packets.
    pub(super) fn post(&self, open: &Open, packets: String) -> RequestBuilder {
        let body = match self.is_v3() {
            true => format!("{}:{packets}", packets.len()),
            false => packets,
        };
        self.request(Method::POST, Some(open))
            .header(CONTENT_TYPE, "text/plain;charset=UTF-8")
            .body(body)
    }

    /// Returns the packet that clients send as a heartbeat, which no application sees.
    pub(super) fn heartbeat_packet(&self) -> &'static str {
        if self.is_v3() { "2" } else { "3" }
    }

    /// Opens a session.
    pub(super) async fn open(&self) -> Result<Open, String> {
        let answer = send(self.request(Method::GET, None)).await;
        let answer = answer.map_err(|trouble| trouble.to_string())?;
        self.parse(&answer)
            .ok_or_else(|| format!("another answer: {}", answer.status))
    }

    /// Reads the answer to a handshake, whose session will be closed.
    pub(super) fn parse(&self, answer: &Answer) -> Option<Open> {
        let open = Open::parse(answer)?;
        self.opened().push(open.clone());
        Some(open)
    }

    /// Does not close the session any more.
    pub(super) fn forget(&self, open: &Open) {
        self.opened().retain(|other| other.sid != open.sid);
    }

    /// Closes the sessions, as far as the server answers in time. The server may have ended some.
    pub(super) async fn close(&self) {
        let opened = std::mem::take(&mut *self.opened());
        let mut closing = JoinSet::new();
        for open in opened {
            closing.spawn(send(self.post(&open, "1".to_owned())));
        }
        let _ = timeout(CLOSING, closing.join_all()).await;
    }

    fn opened(&self) -> MutexGuard<'_, Vec<Open>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a request and reads the whole answer.
///
/// A runtime of its own carries the request: while hyper reads interim responses (1xx) without an end, no timer of the
/// runtime that polls it need fire, and only the timer of another one is a limit.
pub(super) async fn send(request: RequestBuilder) -> Result<Answer, Trouble> {
    let began = Instant::now();
    let (client, request) = request.build_split();
    let request = request.map_err(|error| Trouble::without_answer(&error, began.elapsed()))?;
    let limit = request.timeout().copied().unwrap_or(LIMIT);
    let (mut give, answer) = oneshot::channel();
    thread::spawn(move || {
        let outcome = match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(async {
                tokio::select! {
                    outcome = exchange(&client, request, began) => outcome,
                    () = give.closed() => Err(Trouble::NoAnswer(limit)),
                }
            }),
            Err(error) => Err(Trouble::NoConnection(error.to_string())),
        };
        // Nobody waits for it any more after the limit.
        let _ = give.send(outcome);
    });
    match timeout(limit + GRACE, answer).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) | Err(_) => Err(Trouble::NoAnswer(limit)),
    }
}

async fn exchange(client: &Client, request: Request, began: Instant) -> Result<Answer, Trouble> {
    let response = client.execute(request).await;
    let mut response =
        response.map_err(|error| Trouble::without_answer(&error, began.elapsed()))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > LARGEST_BODY => {
                return Err(Trouble::TooLarge(status));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return Err(Trouble::in_body(status, &error, began.elapsed())),
        }
    }
    Ok(Answer {
        status,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        took: began.elapsed(),
    })
}

/// Returns the URL of the server. The rules are those of the client.
fn url(connection: &Connection) -> Result<Url, Failure> {
    let text = connection.url();
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Failure::usage(format!(
            "the URL `{text}` has no scheme; write `http://{text}`"
        )));
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => "http",
        "https" | "wss" => "https",
        _ => {
            let why = "a scheme that is not known; use http, https, ws or wss";
            return Err(Failure::usage(format!("the URL has {why}")));
        }
    };
    let mut url = Url::parse(&format!("{scheme}://{rest}"))
        .map_err(|error| Failure::usage(format!("this is not a URL: {error}")))?;
    url.set_fragment(None);
    match connection.path() {
        Some(path) => url.set_path(path),
        None if url.path() == "/" => url.set_path("/engine.io/"),
        None => {}
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn headers(connection: &Connection) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in connection.headers()? {
        let pair = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .zip(HeaderValue::from_str(value).ok());
        // The name may hold a secret too, if the colon is in the wrong place.
        let wrong = || Failure::usage("a header has a name or a value that cannot be sent");
        let (name, mut value) = pair.ok_or_else(wrong)?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Task};

    fn connection(arguments: &[&str]) -> Connection {
        let arguments = [&["eio", "doctor"], arguments].concat();
        match Arguments::try_parse_from(arguments).unwrap().task {
            Some(Task::Doctor(doctor)) => doctor.connection,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_url_is_that_of_the_server() {
        let of = |arguments: &[&str]| url(&connection(arguments)).unwrap().to_string();
        assert_eq!(of(&["http://a"]), "http://a/engine.io/");
        assert_eq!(of(&["wss://a:1/socket.io"]), "https://a:1/socket.io/");
        assert_eq!(of(&["HTTP://a:5000", "--path", "x"]), "http://a:5000/x/");
        for wrong in ["ftp://a", "a:5000", "http://", "http://a:x"] {
            assert!(url(&connection(&[wrong])).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_open_packet_of_both_revisions_is_read() {
        for body in [
            "0{\"sid\":\"a\",\"pingInterval\":25000,\"pingTimeout\":20000}",
            "63:0{\"sid\":\"a\",\"pingInterval\":25000,\"pingTimeout\":20000}3:4hi",
        ] {
            let mut headers = HeaderMap::new();
            headers.append("set-cookie", HeaderValue::from_static("a=1; Path=/"));
            headers.append("set-cookie", HeaderValue::from_static("b=2"));
            let answer = Answer {
                status: StatusCode::OK,
                headers,
                body: body.to_owned(),
                took: Duration::ZERO,
            };
            let open = Open::parse(&answer).unwrap();
            assert_eq!(
                (open.sid.as_str(), open.cookies.as_str()),
                ("a", "a=1; b=2")
            );
            assert_eq!(open.ping_interval(), Duration::from_secs(25));
        }
    }
}
