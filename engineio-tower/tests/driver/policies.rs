//! Options of a server beyond the protocol's rules, seen from a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{
    call, code, get, get_request, open, poll, post, receive_text, send, text, watched,
};
use bytes::Bytes;
use engineio_tower::{
    ConnectRequest, Message, Origins, PeerAddr, Rejection, Server, ServerBuilder, Sid, SidCookie,
    Socket, WhenFull,
};
use http::{Method, Response, StatusCode};

fn echo() -> ServerBuilder {
    Server::builder().on_message(|socket: Socket, message: Message| {
        let _ = socket.try_send(message);
    })
}

const HANDSHAKE: &str = "EIO=4&transport=polling";

async fn from_origin(server: &Server, query: &str, origin: &str) -> Response<Bytes> {
    let mut request = get_request(query);
    let headers = request.headers_mut();
    headers.insert("host", "app.example.com".parse().unwrap());
    headers.insert("origin", origin.parse().unwrap());
    call(server, request).await
}

#[tokio::test]
async fn another_origin_is_refused_at_the_handshake_and_on_a_live_session() {
    let server = echo().build();
    let same = from_origin(&server, HANDSHAKE, "https://app.example.com").await;
    assert_eq!(same.status(), StatusCode::OK);
    assert_eq!(
        same.headers()["access-control-allow-origin"],
        "https://app.example.com"
    );
    assert_eq!(same.headers()["access-control-allow-credentials"], "true");
    let sid = text(&same)[9..29].to_owned();
    let live = format!("{HANDSHAKE}&sid={sid}");
    for query in [HANDSHAKE, &live] {
        let evil = from_origin(&server, query, "https://evil.example.com").await;
        assert_eq!(evil.status(), StatusCode::FORBIDDEN, "{query}");
        assert_eq!(text(&evil), r#"{"code":4,"message":"Forbidden"}"#);
        assert!(!evil.headers().contains_key("access-control-allow-origin"));
        assert_eq!(evil.headers()["vary"], "Origin");
    }
    let mut hijack = crate::support::websocket_request("EIO=4&transport=websocket");
    hijack
        .headers_mut()
        .insert("origin", "https://evil.example.com".parse().unwrap());
    assert_eq!(call(&server, hijack).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(server.len(), 1);
}

#[tokio::test]
async fn a_preflight_is_answered_before_any_session_logic() {
    let server = echo()
        .origins(Origins::list(["https://page.example.com"]))
        .build();
    let preflight = |origin: &str| {
        let mut request = get_request("");
        *request.method_mut() = Method::OPTIONS;
        let headers = request.headers_mut();
        headers.insert("origin", origin.parse().unwrap());
        headers.insert("access-control-request-method", "POST".parse().unwrap());
        headers.insert("access-control-request-headers", "x-token".parse().unwrap());
        request
    };
    let welcome = call(&server, preflight("https://page.example.com")).await;
    assert_eq!(welcome.status(), StatusCode::NO_CONTENT);
    let headers = welcome.headers();
    assert_eq!(headers["access-control-allow-headers"], "x-token");
    assert_eq!(
        headers["access-control-allow-methods"],
        "GET, POST, OPTIONS"
    );
    assert_eq!(
        headers
            .get_all("access-control-allow-origin")
            .iter()
            .count(),
        1
    );
    let refused = call(&server, preflight("https://evil.example.com")).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_application_may_judge_origins_asynchronously() {
    let server = echo()
        .origins(Origins::predicate_async(|origin, _| {
            let allowed = origin.ends_with(".example.com");
            async move {
                tokio::task::yield_now().await;
                allowed
            }
        }))
        .build();
    let welcome = from_origin(&server, HANDSHAKE, "https://a.example.com").await;
    assert_eq!(welcome.status(), StatusCode::OK);
    assert_eq!(
        welcome.headers()["access-control-allow-origin"],
        "https://a.example.com"
    );
    let refused = from_origin(&server, HANDSHAKE, "https://example.org").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn large_polls_are_compressed_as_the_client_likes_it() {
    use std::io::Read;
    let server = echo().build();
    let (sid, _) = open(&server).await;
    for (accept, coding) in [
        ("gzip, deflate", Some("gzip")),
        ("gzip;q=0.1, deflate", Some("deflate")),
        ("gzip;q=0", None),
        ("br", None),
        ("identity;q=0", None),
    ] {
        for (size, large) in [(1023, false), (1024, true)] {
            let message = format!("4{}", "x".repeat(size - 1));
            post(&server, &sid, message.clone()).await;
            let mut request = get_request(&format!("{HANDSHAKE}&sid={sid}"));
            request
                .headers_mut()
                .insert("accept-encoding", accept.parse().unwrap());
            let response = call(&server, request).await;
            assert_eq!(response.status(), StatusCode::OK, "{accept}");
            let used = response.headers().get("content-encoding");
            let used = used.map(|coding| coding.to_str().unwrap());
            let body = response.body().as_ref();
            let mut plain = String::new();
            match used {
                Some("gzip") => flate2::read::GzDecoder::new(body)
                    .read_to_string(&mut plain)
                    .unwrap(),
                Some("deflate") => flate2::read::ZlibDecoder::new(body)
                    .read_to_string(&mut plain)
                    .unwrap(),
                _ => {
                    plain = text(&response);
                    0
                }
            };
            assert_eq!(plain, message, "{accept}");
            assert_eq!(used, coding.filter(|_| large), "{accept} {size}");
            assert_eq!(response.headers()["vary"], "Origin, Accept-Encoding");
        }
    }
}

#[tokio::test]
async fn the_cookie_is_set_when_a_session_opens_and_not_when_it_is_refused() {
    let server = Server::builder()
        .cookie(SidCookie::new("io"))
        .on_connect(|_: Socket, request: ConnectRequest| {
            request
                .query("reject")
                .map_or(Ok(()), |_| Err(Rejection::default()))
        })
        .build();
    let response = get(&server, HANDSHAKE).await;
    let sid = &text(&response)[9..29];
    assert_eq!(
        response.headers()["set-cookie"],
        format!("io={sid}; HttpOnly; SameSite=Lax; Path=/")
    );
    let refused = get(&server, &format!("{HANDSHAKE}&reject=1")).await;
    assert!(!refused.headers().contains_key("set-cookie"));
    assert!(!poll_headers(&server, sid).await.contains_key("set-cookie"));
    let websocket = call(
        &server,
        crate::support::websocket_request("EIO=4&transport=websocket"),
    )
    .await;
    assert!(websocket.headers().contains_key("set-cookie"));
}

async fn poll_headers(server: &Server, sid: &str) -> http::HeaderMap {
    let socket = server.socket(&sid.parse().unwrap()).unwrap();
    socket.try_send("x").unwrap();
    poll(server, sid).await.headers().clone()
}

#[tokio::test]
async fn hooks_add_headers() {
    let server = echo()
        .headers(|head, headers| {
            assert_eq!(head.uri.path(), "/engine.io/");
            headers.insert("x-every", "1".parse().unwrap());
        })
        .initial_headers(|_, headers| {
            headers.insert("x-first", "1".parse().unwrap());
        })
        .build();
    let response = get(&server, HANDSHAKE).await;
    assert!(response.headers().contains_key("x-every"));
    assert!(response.headers().contains_key("x-first"));
    let headers = poll_headers(&server, &text(&response)[9..29]).await;
    assert!(headers.contains_key("x-every"));
    assert!(!headers.contains_key("x-first"));
}

#[tokio::test(start_paused = true)]
async fn a_connect_handler_that_hangs_is_given_up() {
    let server = Server::builder()
        .connect_timeout(Duration::from_secs(3))
        .on_connect(|_: Socket, _: ConnectRequest| std::future::pending::<()>())
        .build();
    let start = tokio::time::Instant::now();
    let response = get(&server, HANDSHAKE).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(start.elapsed().as_secs(), 3);
    assert!(server.is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_two_clients_that_are_let_in_under_one_id_the_first_keeps_it() {
    let builder = Server::builder()
        .generate_sid(|_| async { Sid::from_random([7; 15]) })
        .on_connect(|_: Socket, _: ConnectRequest| tokio::task::yield_now());
    let (server, mut leaving) = watched(builder);
    let (one, other) = tokio::join!(get(&server, HANDSHAKE), get(&server, HANDSHAKE));
    let mut statuses = [one.status(), other.status()];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE]);
    // Its connect handler has said yes, so the other one hears of its end.
    leaving.recv().await.unwrap();
    let sid = Sid::from_random([7; 15]);
    let socket = server.socket(&sid).unwrap();
    socket.send("hello").await.unwrap();
    assert_eq!(text(&poll(&server, sid.as_str()).await), "4hello");
    socket.abort();
    leaving.recv().await.unwrap();
    server.shutdown(Duration::from_secs(1)).await;
    assert!(leaving.try_recv().is_err());
}

#[tokio::test]
async fn ids_come_from_the_application_and_taken_ones_are_drawn_anew() {
    let drawn = Arc::new(AtomicUsize::new(0));
    let server = {
        let drawn = Arc::clone(&drawn);
        echo()
            .generate_sid(move |_| {
                // Each id twice.
                let n = drawn.fetch_add(1, Ordering::SeqCst) / 2;
                async move {
                    tokio::task::yield_now().await;
                    format!("client-{n}").parse::<Sid>().unwrap()
                }
            })
            .build()
    };
    for n in 0..3 {
        let (sid, _) = open(&server).await;
        assert_eq!(sid, format!("client-{n}"));
    }
    assert_eq!(drawn.load(Ordering::SeqCst), 5);
    let stuck = Server::builder()
        .generate_sid(|_| async { "always".parse().unwrap() })
        .build();
    open(&stuck).await;
    let response = get(&stuck, HANDSHAKE).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn sockets_are_limited_in_all_and_by_peer() {
    let server = echo().max_sockets(3).max_sockets_per_peer(2).build();
    let from = |last: u8| {
        let mut request = get_request(HANDSHAKE);
        let peer = SocketAddr::from(([10, 0, 0, last], 1));
        request.extensions_mut().insert(PeerAddr(peer));
        request
    };
    let first = call(&server, from(1)).await;
    assert_eq!(call(&server, from(1)).await.status(), StatusCode::OK);
    let crowded = call(&server, from(1)).await;
    assert_eq!(crowded.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(call(&server, from(2)).await.status(), StatusCode::OK);
    let full = call(&server, from(3)).await;
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
    let sid = text(&first)[9..29].to_owned();
    post(&server, &sid, "1").await;
    assert_eq!(call(&server, from(1)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_connect_handler_that_sends_more_than_fits_refuses() {
    let server = Server::builder()
        .outbox_limit(140)
        .on_connect(|socket: Socket, request: ConnectRequest| async move {
            socket.send("one").await?;
            if request.query("many").is_some() {
                socket.send_many(["two", "three"]).await?;
            }
            socket.send("two").await?;
            socket.send("three").await?;
            Ok(())
        })
        .build();
    for query in [HANDSHAKE.to_owned(), format!("{HANDSHAKE}&many=1")] {
        let refused = call(&server, get_request(&query)).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(code(&refused), 3);
    }
}

#[tokio::test]
async fn a_client_that_is_disconnected_for_what_its_connect_handler_sends_is_told_to_come_back() {
    let server = Server::builder()
        .outbox_limit(140)
        .when_full(WhenFull::Disconnect)
        .on_connect(|socket: Socket, _: ConnectRequest| async move {
            for message in ["one", "two", "three"] {
                let _ = socket.send(message).await;
            }
        })
        .build();
    let refused = call(&server, get_request(HANDSHAKE)).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(code(&refused), 3);
}

#[tokio::test]
async fn the_initial_message_follows_the_open_packet() {
    let server = echo().initial_message("hello").build();
    let (_, packets) = open(&server).await;
    assert_eq!(packets, ["4hello"]);
    let mut client = crate::support::websocket(&server, "EIO=4&transport=websocket").await;
    receive_text(&mut client).await;
    assert_eq!(receive_text(&mut client).await, "4hello");
}

#[tokio::test]
async fn jsonp_answers_are_scripts_and_posts_are_forms() {
    let server = echo().allow_jsonp(true).build();
    let response = get(&server, &format!("{HANDSHAKE}&j=7")).await;
    assert_eq!(
        response.headers()["content-type"],
        "text/javascript; charset=UTF-8"
    );
    let script = text(&response);
    assert!(script.starts_with(r#"___eio[7]("0{\"sid\":\""#), "{script}");
    let sid = script.split(r#"\":\""#).nth(1).unwrap()[..20].to_owned();
    let query = format!("{HANDSHAKE}&sid={sid}&j=8");
    let form = http::Request::post(format!("/engine.io/?{query}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("d=4%3Cb%3E%E2%80%A8".into())
        .unwrap();
    let posted = call(&server, form).await;
    assert_eq!(text(&posted), "ok");
    let script = text(&get(&server, &query).await);
    assert_eq!(script, "___eio[8](\"4\\u003cb\\u003e\\u2028\");");
}

#[tokio::test]
async fn a_rejection_carries_headers_and_a_401_a_challenge() {
    let server = Server::builder()
        .on_connect(|_: Socket, request: ConnectRequest| {
            let name = |name: &'static str| http::HeaderName::from_static(name);
            let value = |value: &'static str| http::HeaderValue::from_static(value);
            Err::<(), _>(match request.query("how").as_deref() {
                Some("basic") => {
                    Rejection::unauthorized().header(name("www-authenticate"), value("Basic"))
                }
                Some("later") => Rejection::status_code(StatusCode::TOO_MANY_REQUESTS)
                    .header(name("retry-after"), value("7")),
                _ => Rejection::unauthorized(),
            })
        })
        .build();
    for (how, name, value) in [
        ("basic", "www-authenticate", "Basic"),
        ("plain", "www-authenticate", "Bearer"),
        ("later", "retry-after", "7"),
    ] {
        let polling = get(&server, &format!("{HANDSHAKE}&how={how}")).await;
        assert_eq!(polling.headers()[name], value);
        let query = format!("EIO=4&transport=websocket&how={how}");
        let websocket = crate::support::try_websocket(&server, &query)
            .await
            .unwrap_err();
        assert_eq!(websocket.headers()[name], value);
    }
}

#[tokio::test]
async fn a_websocket_gets_the_first_subprotocol_that_it_offers_or_the_one_that_is_chosen() {
    let chosen = async |server: &Server, offered: &str| {
        let (sid, _) = open(server).await;
        let mut answers = Vec::new();
        for query in [
            "EIO=4&transport=websocket",
            &crate::support::upgrade_query(&sid),
        ] {
            let mut request = crate::support::websocket_request(query);
            if !offered.is_empty() {
                let headers = request.headers_mut();
                headers.insert("sec-websocket-protocol", offered.parse().unwrap());
            }
            let answer = call(server, request).await;
            assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
            let chosen = answer.headers().get("sec-websocket-protocol");
            answers.push(chosen.map(|name| name.to_str().unwrap().to_owned()));
        }
        assert_eq!(answers[0], answers[1], "for a session and for an upgrade");
        answers.remove(0)
    };
    let server = echo().build();
    for (offered, expected) in [
        ("chat", Some("chat")),
        ("arduino, x", Some("arduino")),
        ("", None),
        (" , ,", None),
        ("a b, c", Some("c")),
    ] {
        assert_eq!(chosen(&server, offered).await.as_deref(), expected);
    }
    let choosing = echo()
        .subprotocol(|offered| offered.iter().copied().find(|name| name.ends_with("v2")))
        .build();
    assert_eq!(
        chosen(&choosing, "a.v1,a.v2").await.as_deref(),
        Some("a.v2")
    );
    assert_eq!(chosen(&choosing, "a.v1").await, None);
    let refusing = echo().subprotocol(|_| Some("not offered")).build();
    assert_eq!(chosen(&refusing, "a.v1").await, None);
}

/// As for `Access-Control-Allow-Private-Network`, which no rule of origins can know.
#[tokio::test]
async fn the_headers_hook_extends_preflights() {
    let server = echo()
        .origins(Origins::any())
        .headers(|head, headers| {
            if head
                .headers
                .contains_key("access-control-request-private-network")
            {
                let yes = "true".parse().unwrap();
                headers.insert("access-control-allow-private-network", yes);
            }
        })
        .build();
    let preflight = http::Request::options(format!("/engine.io/?{HANDSHAKE}"))
        .header("origin", "https://a.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-private-network", "true");
    let answer = call(&server, preflight.body("".into()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let headers = answer.headers();
    assert_eq!(headers["access-control-allow-private-network"], "true");
    assert_eq!(headers["access-control-allow-origin"], "https://a.example");
}

#[tokio::test]
async fn a_script_request_is_refused_unless_jsonp_is_allowed() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    let refusal = r#"{"code":3,"message":"JSONP is not allowed"}"#;
    for query in [
        format!("{HANDSHAKE}&j=0"),
        format!("{HANDSHAKE}&sid={sid}&j=0"),
    ] {
        let refused = get(&server, &query).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert_eq!(refused.headers()["content-type"], "application/json");
        assert_eq!(text(&refused), refusal);
    }
    let form = http::Request::post(format!("/engine.io/?{HANDSHAKE}&sid={sid}&j=0"));
    let refused = call(&server, form.body("d=4hello".into()).unwrap()).await;
    assert_eq!(text(&refused), refusal);
    // Who has lost nothing goes on.
    assert_eq!(text(&post(&server, &sid, "4still here").await), "ok");
    assert_eq!(text(&poll(&server, &sid).await), "4still here");
    assert_eq!(server.len(), 1);
}

/// The request of a `<script>` element in a page of evil.example: no `Origin`, but the cookies of the visitor.
#[tokio::test]
async fn a_foreign_page_cannot_read_a_session_by_a_script() {
    let server = echo().allow_jsonp(true).build();
    let (sid, _) = open(&server).await;
    for query in [
        format!("{HANDSHAKE}&j=0"),
        format!("{HANDSHAKE}&sid={sid}&j=0"),
    ] {
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("referer", "https://evil.example/"),
        ] {
            let mut request = get_request(&query);
            let headers = request.headers_mut();
            headers.insert("host", "app.example".parse().unwrap());
            headers.insert("cookie", "session=victim".parse().unwrap());
            headers.insert(name, value.parse().unwrap());
            let refused = call(&server, request).await;
            assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{name}: {value}");
            assert_eq!(text(&refused), r#"{"code":4,"message":"Forbidden"}"#);
        }
    }
    assert_eq!(server.len(), 1);
}

#[tokio::test]
async fn clients_of_both_revisions_are_served_at_once() {
    let server = echo().allow_eio3(true).build();
    let old = get(&server, "EIO=3&transport=polling").await;
    let body = text(&old);
    let (length, open_packet) = body.split_once(':').unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), open_packet.len());
    let sid = open_packet[9..29].to_owned();
    let query = format!("EIO=3&transport=polling&sid={sid}");
    let request = http::Request::post(format!("/engine.io/?{query}"))
        .body("6:4hello".into())
        .unwrap();
    assert_eq!(text(&call(&server, request).await), "ok");
    assert_eq!(text(&get(&server, &query).await), "6:4hello");
    let mixed = get(&server, &format!("EIO=4&transport=polling&sid={sid}")).await;
    assert_eq!(mixed.status(), StatusCode::BAD_REQUEST);
    for query in ["EIO=2&transport=polling", "transport=polling"] {
        assert!(text(&get(&server, query).await).contains(r#""code":5"#));
    }
    let (new, _) = open(&server).await;
    post(&server, &new, "4hello").await;
    assert_eq!(text(&poll(&server, &new).await), "4hello");
    let mut client = crate::support::websocket(&server, "EIO=3&transport=websocket").await;
    receive_text(&mut client).await;
    send(&mut client, "2").await;
    assert_eq!(receive_text(&mut client).await, "3");
}
