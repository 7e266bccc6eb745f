//! Secrets reach nobody whom they were not given for: they are in no error, log line or `Debug` output, and go to the
//! server alone, or to the proxy alone.

mod support;

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use engineio_client::{Client, CookieJar, Error, Redirects, Transport};
use futures_util::SinkExt;
use http::{HeaderMap, HeaderValue};
use support::{OPEN, OPEN_POLLING, Reply, Request, Server, echo, in_time, ok, websocket};
use tokio_tungstenite::tungstenite::Message as WsMessage;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

const SID: &str = "sessionSECRETid";

/// Collects every log line, at every level and of every crate.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

struct Fields<'a>(&'a mut String);

impl tracing::field::Visit for Fields<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut Fields(&mut self.0.lock().unwrap()));
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut Fields(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        // The HTTP library's own log is not the client's.
        if event.metadata().target().starts_with("engineio") {
            event.record(&mut Fields(&mut self.0.lock().unwrap()));
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// A builder with a secret in each place that can have one.
fn builder(url: &str) -> engineio_client::ClientBuilder {
    let mut headers = HeaderMap::new();
    headers.insert("x-map", HeaderValue::from_static("headerSECRETmap"));
    Client::builder(&url.replace("://", "://user:urlSECRETpassword@"))
        .query("token", "querySECRET/token")
        .header("x-api-key", "headerSECRETkey")
        .headers(headers)
        .cookie("session", "cookieSECRETvalue")
        .cookie_jar(jar())
}

fn jar() -> CookieJar {
    let jar = CookieJar::new();
    jar.store("http://127.0.0.1/", "jar=jarSECRET; Path=/");
    jar
}

/// All that an error shows, down to its first cause.
fn shown(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(level) = cause {
        write!(text, " {level} {level:?}").unwrap();
        cause = level.source();
    }
    text
}

#[track_caller]
fn is_clean(text: &str) {
    assert!(!text.contains("SECRET"), "{text}");
}

/// Repeats all that the request carried, as some servers do.
fn repeat(request: &Request) -> String {
    format!("{} {:?}", request.target, request.headers)
}

#[tokio::test]
async fn no_error_log_line_or_debug_output_shows_a_secret() {
    let lines = Lines::default();
    let _log = tracing::subscriber::set_default(lines.clone());
    let open = |open: &str| open.replace("\"abc\"", &format!("{SID:?}"));
    let (open, open_polling) = (open(OPEN), open(OPEN_POLLING));
    type Script = Box<dyn Fn(usize, &Request) -> Reply + Send + Sync>;
    let scripts: Vec<(&str, Script)> = vec![
        ("a handshake that is refused", {
            Box::new(|_, request| Reply::Body(403, repeat(request).into_bytes()))
        }),
        ("a refusal in JSON", {
            Box::new(|_, request| {
                let text = repeat(request).replace(['"', '\\'], "'");
                let body = format!(r#"{{"code":4,"message":"{text}"}}"#);
                Reply::Body(400, body.into_bytes())
            })
        }),
        ("a redirect", {
            let location = "location: http://u:locationSECRET@h/?token=SECRET#SECRET\r\n";
            Box::new(move |_, _| Reply::With(302, location, Vec::new()))
        }),
        ("a redirect that is followed, to one that is not", {
            let location = "location: /x/?token=locationSECRET\r\n";
            let away = "location: https://u:locationSECRET@h/?token=SECRET\r\n";
            Box::new(move |_, request| {
                let is_first = request.target.starts_with("/engine.io/");
                Reply::With(302, if is_first { location } else { away }, Vec::new())
            })
        }),
        ("a proxy's refusal that repeats its credentials", {
            Box::new(|_, request| Reply::Body(407, repeat(request).into_bytes()))
        }),
        ("an open packet that cannot be used", {
            let open = open.replace("25000", "-1");
            Box::new(move |_, _| ok(&open))
        }),
        ("an open packet with an escaped key", {
            let open = open.replace("\"sid\"", r#""\u0073id""#);
            let open = open.replace("25000", "-1");
            Box::new(move |_, _| ok(&open))
        }),
        ("an open packet with a doubled id", {
            let open = open.replace("25000", &format!("-1,\"sid\":{SID:?}"));
            Box::new(move |_, _| ok(&open))
        }),
        ("an open packet with an id of a wrong type", {
            let open = open.replace(&format!("{SID:?}"), &format!("[{SID:?}]"));
            Box::new(move |_, _| ok(&open))
        }),
        ("an open packet that is cut off", {
            let open = open.split_at(open.len() - 1).0.to_owned();
            Box::new(move |_, _| ok(&open))
        }),
        ("an open packet that is a string", {
            let open = format!("0{SID:?}");
            Box::new(move |_, _| ok(&open))
        }),
        ("an open packet of revision 3", {
            let open = format!("{}:{open}", open.len());
            Box::new(move |_, _| ok(&open))
        }),
        ("an open packet that is wrapped for JSONP", {
            let open = format!("___eio[0]({:?});", open);
            Box::new(move |_, _| ok(&open))
        }),
        ("an open packet that is wrapped otherwise", {
            let open = format!("<pre>0 {open}</pre>");
            Box::new(move |_, _| ok(&open))
        }),
        ("an open packet of a text that is encoded again", {
            let open = format!("{:?}", format!("{:?}", open));
            Box::new(move |_, _| ok(&open))
        }),
        ("an open packet with an error status", {
            let open = open.clone();
            Box::new(move |_, _| Reply::Body(503, open.clone().into_bytes()))
        }),
        ("an open packet in place of a WebSocket", {
            let (open, refused) = (open.clone(), Mutex::new(false));
            Box::new(move |_, request| {
                *refused.lock().unwrap() |= request.is_websocket();
                match request.is_poll() {
                    true if *refused.lock().unwrap() => ok("1"),
                    true => ok("6"),
                    false => ok(&open),
                }
            })
        }),
        ("an answer that is no packet and repeats the request", {
            Box::new(|_, request| ok(&repeat(request)))
        }),
        ("one that repeats it where the text is cut", {
            Box::new(|_, _| ok(&format!("{}querySECRET/token", "x".repeat(110))))
        }),
        ("one that replaces a cookie and repeats it", {
            let set = "set-cookie: session=newSECRETvalue; Path=/\r\n";
            Box::new(move |_, request| {
                let old = request.header("cookie").unwrap_or_default();
                Reply::With(200, set, format!("{old} newSECRETvalue").into_bytes())
            })
        }),
        ("one that repeats a password in clear text", {
            Box::new(|_, _| ok("urlSECRETpassword is wrong"))
        }),
        ("an encoding that repeats a header", {
            let encoding = "content-encoding: headerSECRETkey\r\n";
            Box::new(move |_, _| Reply::With(200, encoding, b"x".to_vec()))
        }),
        ("a redirect whose path repeats a header", {
            let location = "location: /headerSECRETkey/\r\n";
            Box::new(move |number, _| match number {
                0 => Reply::With(302, location, Vec::new()),
                _ => Reply::Body(403, Vec::new()),
            })
        }),
        (
            "a WebSocket that is closed with a reason that repeats a header",
            {
                let (open, refused) = (open.clone(), Arc::new(Mutex::new(false)));
                Box::new(move |_, request| match request.is_websocket() {
                    true => {
                        *refused.lock().unwrap() = true;
                        websocket(|mut socket| async move {
                            let reason = format!("{}headerSECRETkey", "x".repeat(108));
                            let frame = CloseFrame {
                                code: 1008.into(),
                                reason: reason.into(),
                            };
                            let _ = socket.close(Some(frame)).await;
                            echo(socket).await;
                        })
                    }
                    false if request.is_handshake() => ok(&open),
                    false if *refused.lock().unwrap() => ok("1"),
                    false => ok("6"),
                })
            },
        ),
        ("a poll that is refused", {
            let open = open_polling.clone();
            Box::new(move |_, request| match request.is_handshake() {
                true => ok(&open),
                false => Reply::Body(400, format!("\"Invalid session {SID}\"").into_bytes()),
            })
        }),
        ("an upgrade that is refused or redirected", {
            let open = open.clone();
            Box::new(move |number, request| match request.is_handshake() {
                true => ok(&open),
                false if request.is_websocket() => Reply::Body(400, SID.as_bytes().to_vec()),
                false if number > 2 => ok("1"),
                false => ok("6"),
            })
        }),
        ("a session that ends in good order", {
            let open = open_polling.clone();
            Box::new(move |_, request| match request.is_handshake() {
                true => Reply::With(
                    200,
                    "set-cookie: a=jarSECRET\r\n",
                    open.clone().into_bytes(),
                ),
                false => ok("1"),
            })
        }),
    ];
    for (what, script) in scripts {
        let server = Server::start(script).await;
        let builder = builder(&server.url());
        is_clean(&format!("{builder:?}"));
        let error = match in_time(builder.connect()).await {
            Ok(client) => {
                is_clean(&format!("{client:?} {:?}", client.handle()));
                in_time(client.settled()).await;
                in_time(client.wait()).await;
                if let Some(error) = client.upgrade_error() {
                    is_clean(&shown(&error));
                }
                client.disconnect_error()
            }
            Err(error) => Some(error),
        };
        if let Some(error) = &error {
            is_clean(&shown(error));
        }
        let carried = format!("{:?}", server.seen());
        for secret in [
            "querySECRET",
            "headerSECRETkey",
            "headerSECRETmap",
            "cookieSECRET",
        ] {
            assert!(carried.contains(secret), "{what}: {secret} was not sent");
        }
    }
    is_clean(&lines.0.lock().unwrap());
}

#[tokio::test]
async fn a_proxy_and_a_connector_are_given_no_secret_of_the_server_and_errors_none_of_theirs() {
    let proxy = Server::start(|_, request| Reply::Body(407, repeat(request).into_bytes())).await;
    for transport in [Transport::Polling, Transport::WebSocket] {
        let url = format!("http://u:proxySECRET@127.0.0.1:{}", proxy.port);
        let builder = builder("http://engine.example").proxy(&url);
        is_clean(&format!("{builder:?}"));
        let error = in_time(builder.transports([transport]).connect())
            .await
            .unwrap_err();
        assert_eq!(error.status(), Some(407));
        // The credentials of the proxy are only in its own header, in base64.
        assert!(!shown(&error).contains("dTpwcm94eVNFQ1JFVA"), "{error}");
        is_clean(&shown(&error));

        // As an error of the application may repeat what it was asked for.
        let connector = tower::service_fn(|uri: http::Uri| async move {
            Err::<tokio::net::TcpStream, _>(format!("no way to {uri}"))
        });
        let builder = builder_of(transport).connector(connector);
        is_clean(&format!("{builder:?}"));
        is_clean(&shown(&in_time(builder.connect()).await.unwrap_err()));
    }
    let tunnels = proxy.seen().into_iter();
    for tunnel in tunnels.filter(|request| request.method == "CONNECT") {
        is_clean(&format!("{tunnel:?}"));
    }
}

fn builder_of(transport: Transport) -> engineio_client::ClientBuilder {
    builder("http://engine.example").transports([transport])
}

#[tokio::test]
async fn an_answer_that_repeats_one_header_shows_nothing_of_it() {
    let names = ["cookie", "proxy-authorization", "authorization", "x-map"];
    let server = Server::start(move |number, request| {
        let value = names
            .into_iter()
            .cycle()
            .nth(number)
            .and_then(|name| request.header(name));
        Reply::Body(403, value.unwrap_or_default().as_bytes().to_vec())
    })
    .await;
    let proxy = format!("http://u:proxySECRET@127.0.0.1:{}", server.port);
    for transport in [Transport::Polling, Transport::WebSocket] {
        for name in names {
            let mut builder = builder(&server.url()).transports([transport]);
            // A WebSocket goes through a tunnel, which is another request.
            if transport == Transport::Polling {
                builder = builder.proxy(&proxy);
            }
            let error = in_time(builder.connect()).await.unwrap_err();
            let shown = shown(&error);
            is_clean(&shown);
            for encoded in ["dTpwcm94eVNFQ1JFVA", "dXNlcjp1cmxTRUNSRVRwYXNzd29yZA"] {
                assert!(!shown.contains(encoded), "{name}: {shown}");
            }
        }
    }
}

#[tokio::test]
async fn a_redirect_tells_its_whole_location_to_those_who_ask() {
    let location = "location: https://h/engine.io/?token=a\r\n";
    let server = Server::start(move |_, _| Reply::With(301, location, Vec::new())).await;
    let builder = Client::builder(&server.url()).redirects(Redirects::Never);
    let error = in_time(builder.connect()).await.unwrap_err();
    assert_eq!(error.location(), Some("https://h/engine.io/?token=a"));
    assert!(
        error.to_string().contains("to \"https://h/engine.io/\";"),
        "{error}"
    );
}

#[tokio::test]
async fn the_cookies_of_a_proxy_do_not_go_to_the_server() {
    let server = Server::start(|number, request| match number {
        0 => Reply::With(407, "set-cookie: proxy=SECRET\r\n", Vec::new()),
        _ if request.is_websocket() => websocket(|mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            echo(socket).await;
        }),
        _ => Reply::Never,
    })
    .await;
    let builder = Client::builder(&server.url())
        .transports([Transport::Polling, Transport::WebSocket])
        .try_all_transports(true);
    let client = in_time(builder.connect()).await.unwrap();
    in_time(client.close()).await;
    assert_eq!(server.seen()[1].header("cookie"), None);
}

#[tokio::test]
async fn what_a_stranger_hears_by_a_redirect_is_not_shown_either() {
    let stranger = Server::start(|_, request| Reply::Body(403, repeat(request).into_bytes())).await;
    let port = stranger.port;
    for transport in [Transport::Polling, Transport::WebSocket] {
        let server = Server::start(move |_, request| {
            let key = request.header("x-api-key").unwrap();
            let location = format!("location: http://127.0.0.1:{port}/{key}/?a={key}\r\n");
            Reply::With(302, location.leak(), Vec::new())
        })
        .await;
        let lines = Lines::default();
        let _log = tracing::subscriber::set_default(lines.clone());
        let builder = builder(&server.url()).transports([transport]);
        let error = in_time(builder.redirects(Redirects::Any).connect())
            .await
            .unwrap_err();
        assert_eq!(error.status(), Some(403), "{error}");
        is_clean(&shown(&error));
        is_clean(&lines.0.lock().unwrap());
    }
}

#[tokio::test]
async fn a_closing_frame_that_repeats_the_session_id_or_a_token_is_shown_without_it() {
    let open = OPEN_POLLING.replace("\"abc\"", &format!("{SID:?}"));
    let server = Server::start(move |_, _| {
        let open = open.clone();
        websocket(move |mut socket| async move {
            socket.send(WsMessage::text(open)).await.unwrap();
            let frame = CloseFrame {
                code: 1008.into(),
                reason: format!("{SID} with querySECRET/token \u{202e}").into(),
            };
            let _ = socket.close(Some(frame)).await;
            echo(socket).await;
        })
    })
    .await;
    let builder = builder(&server.url()).transports([Transport::WebSocket]);
    let client = in_time(builder.connect()).await.unwrap();
    in_time(client.wait()).await;
    let error = client.disconnect_error().unwrap();
    is_clean(&shown(&error));
    assert!(
        error.to_string().contains(r#""… with … \u{202e}""#),
        "{error}"
    );
}
