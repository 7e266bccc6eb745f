//! Requests that open a session, or do not.

use engineio_tower::{
    ConnectRequest, Message, Rejection, SameSite, Server, ServerBuilder, SidCookie, Socket,
};
use http::StatusCode;
use serde_json::json;
use std::time::Duration;

use crate::support::{
    HANDSHAKE, WEBSOCKET, by, call, code, echo, get, get_request, open, parked, pass, poll,
    post_request, receive_text, seen, text, try_websocket, watched, websocket, with,
};

fn at(path: &str) -> http::Request<crate::support::Body> {
    let mut request = get_request("");
    *request.uri_mut() = path.parse().unwrap();
    request
}

// python row 1
#[tokio::test]
async fn the_open_packet_has_the_five_fields_and_no_cors_header_without_an_origin() {
    let response = get(&echo().build(), HANDSHAKE).await;
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers();
    assert_eq!(headers["content-type"], "text/plain; charset=UTF-8");
    assert!(
        headers
            .keys()
            .all(|name| !name.as_str().starts_with("access-control"))
    );
    let body = text(&response);
    let sid = &body[9..29];
    assert!(
        sid.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    );
    let rest =
        r#""upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000"#;
    assert_eq!(body, format!(r#"0{{"sid":"{sid}",{rest}}}"#));
}

// python row 2
// python row 7
#[tokio::test]
async fn a_transport_must_be_named_and_known() {
    let server = echo().build();
    for query in ["EIO=4", "EIO=4&transport=foo", "EIO=4&transport=__proto__"] {
        let refused = get(&server, query).await;
        assert_eq!(
            seen(&refused),
            (400, r#"{"code":0,"message":"Transport unknown"}"#.into()),
            "{query}"
        );
    }
    assert!(server.is_empty());
}

// python row 3
// python row 4
// python row 5
#[tokio::test]
async fn the_path_is_served_with_and_without_a_slash_and_below_it() {
    let server = echo().build();
    for path in ["/engine.io", "/engine.io/", "/engine.io/foo/bar"] {
        let response = call(&server, at(&format!("{path}?{HANDSHAKE}"))).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(server.len(), 3);
    for path in ["/engine.iox", "/engine.iox/", "/other"] {
        let response = call(&server, at(&format!("{path}?{HANDSHAKE}"))).await;
        assert_eq!(seen(&response), (404, "Not Found".into()), "{path}");
        assert_eq!(
            response.headers()["content-type"],
            "text/plain; charset=UTF-8"
        );
    }
}

// python row 6
#[tokio::test]
async fn the_revision_must_be_named_and_the_last_of_several_counts() {
    let server = echo().build();
    for query in [
        "transport=polling",
        "EIO=3&transport=polling",
        "EIO=4&EIO=3&transport=polling",
    ] {
        let refused = get(&server, query).await;
        assert_eq!(
            seen(&refused),
            (
                400,
                r#"{"code":5,"message":"Unsupported protocol version"}"#.into()
            ),
            "{query}"
        );
    }
    let twice = get(&server, "EIO=4&EIO=4&transport=polling").await;
    assert_eq!(twice.status(), StatusCode::OK);
    assert_eq!(code(&get(&server, "").await), 0);
}

// python row 8
#[tokio::test]
async fn a_websocket_must_be_asked_for_in_http_too() {
    let server = echo().build();
    let refused = get(&server, WEBSOCKET).await;
    assert_eq!(
        seen(&refused),
        (400, r#"{"code":3,"message":"Bad request"}"#.into())
    );
}

// python row 9
// python row 10
// python row 11
#[tokio::test]
async fn a_session_is_asked_for_by_an_id_that_is_known() {
    let server = echo().build();
    let unknown = (
        400,
        r#"{"code":1,"message":"Session ID unknown"}"#.to_owned(),
    );
    for sid in ["zzz", "__proto__", "%22", "a%20b"] {
        assert_eq!(seen(&poll(&server, sid).await), unknown, "{sid}");
        let posted = call(&server, post_request(sid, "4x")).await;
        assert_eq!(seen(&posted), unknown, "{sid}");
    }
    let posted = call(&server, by("POST", get_request(HANDSHAKE))).await;
    assert_eq!(
        seen(&posted),
        (400, r#"{"code":2,"message":"Bad handshake method"}"#.into())
    );
    assert!(server.is_empty());
    let empty = get(&server, &format!("{HANDSHAKE}&sid=")).await;
    assert_eq!(empty.status(), StatusCode::OK);
    assert_eq!(server.len(), 1);
}

// python row 12
// python row 13
#[tokio::test]
async fn other_methods_open_nothing_and_end_nothing() {
    let server = echo().build();
    for (method, query, expected) in [
        ("PUT", HANDSHAKE, 2),
        ("HEAD", HANDSHAKE, 2),
        ("PUT", "sid=a", 0),
        ("PUT", "EIO=4&transport=polling&sid=a", 1),
        ("DELETE", "", 0),
    ] {
        let refused = call(&server, by(method, get_request(query))).await;
        assert_eq!(
            refused.status(),
            StatusCode::BAD_REQUEST,
            "{method} {query}"
        );
        assert_eq!(code(&refused), expected, "{method} {query}");
    }
    let (sid, _) = open(&server).await;
    let live = format!("{HANDSHAKE}&sid={sid}");
    crate::support::post(&server, &sid, "4kept").await;
    for method in ["PUT", "HEAD", "DELETE", "OPTIONS"] {
        let refused = call(&server, by(method, get_request(&live))).await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    assert_eq!(text(&poll(&server, &sid).await), "4kept");
}

// python row 14
// python row 15
// python row 16
#[tokio::test]
async fn a_preflight_is_answered_whatever_it_asks_for_and_other_options_are_not() {
    let server = echo().build();
    for (query, refusal) in [
        (HANDSHAKE, 2),
        ("", 0),
        ("EIO=4&transport=polling&sid=zzz", 1),
    ] {
        let options = by("OPTIONS", get_request(query));
        assert_eq!(code(&call(&server, options).await), refusal, "{query}");
        let options = by("OPTIONS", get_request(query));
        let options = with("host", "a.com", with("origin", "http://a.com", options));
        let preflight = with("access-control-request-method", "POST", options);
        let answer = call(&server, preflight).await;
        assert_eq!(seen(&answer), (204, String::new()), "{query}");
        assert_eq!(
            answer.headers()["access-control-allow-methods"],
            "GET, POST, OPTIONS"
        );
    }
    assert!(server.is_empty());
}

// python row 17
// python row 18
// python row 19
#[tokio::test]
async fn an_index_of_jsonp_is_its_digits() {
    let server = echo().allow_jsonp(true).build();
    for (j, index) in [("0", "0"), ("-3", "3"), ("a1b2", "12")] {
        let script = get(&server, &format!("{HANDSHAKE}&j={j}")).await;
        assert_eq!(
            script.headers()["content-type"],
            "text/javascript; charset=UTF-8"
        );
        let script = text(&script);
        assert!(script.starts_with(&format!(r#"___eio[{index}]("0{{\"sid\":\""#)));
        assert!(
            script.ends_with(r#"\"maxPayload\":1000000}");"#),
            "{script}"
        );
    }
    let too_large = format!("j={}", "1".repeat(50));
    for plain in ["j=abc", "j=", "b64=1", "j=4294967296", &too_large] {
        let response = get(&server, &format!("{HANDSHAKE}&{plain}")).await;
        assert!(text(&response).starts_with(r#"0{"sid":""#), "{plain}");
    }
    let refused = call(
        &server,
        by("PUT", get_request(&format!("{HANDSHAKE}&j=abc"))),
    )
    .await;
    assert_eq!(code(&refused), 2);
}

fn refusing() -> ServerBuilder {
    Server::builder()
        .on_connect(
            |_: Socket, request: ConnectRequest| match request.query("how") {
                Some(how) if how == "text" => Err(Rejection::unauthorized().json("nope")),
                Some(how) if how == "json" => {
                    Err(Rejection::unauthorized().json(json!({ "code": 1 })))
                }
                Some(how) if how == "panic" => panic!("asked for"),
                _ => Err(Rejection::default()),
            },
        )
        .cookie(SidCookie::new("io"))
}

// python row 20
// python row 21
#[tokio::test]
async fn a_refused_client_gets_the_status_and_the_json_of_the_application() {
    let (server, mut leaving) = watched(refusing());
    for (how, status, body) in [
        ("plain", 401, r#""Unauthorized""#),
        ("text", 401, r#""nope""#),
        ("json", 401, r#"{"code":1}"#),
        ("panic", 500, r#""Internal server error""#),
    ] {
        let refused = get(&server, &format!("{HANDSHAKE}&how={how}")).await;
        assert_eq!(seen(&refused), (status, body.into()));
        assert_eq!(refused.headers()["content-type"], "application/json");
        assert!(!refused.headers().contains_key("set-cookie"));
        let refused = try_websocket(&server, &format!("{WEBSOCKET}&how={how}")).await;
        assert_eq!(seen(&refused.unwrap_err()), (status, body.into()));
    }
    assert!(server.is_empty());
    assert!(
        leaving.try_recv().is_err(),
        "who was not let in does not leave"
    );
}

// python row 22
#[tokio::test]
async fn what_is_sent_while_connecting_rides_in_the_handshake() {
    let server = Server::builder()
        .on_connect(|socket: Socket, _: ConnectRequest| async move {
            socket.send("hi1").await?;
            let json = Message::json(&json!({ "a": [1, 2] })).map_err(|_| Rejection::default())?;
            socket.send(json).await?;
            socket.send(vec![1, 2]).await?;
            Ok(())
        })
        .build();
    let (_, packets) = open(&server).await;
    assert_eq!(packets, ["4hi1", r#"4{"a":[1,2]}"#, "bAQI="]);
    let mut client = websocket(&server, WEBSOCKET).await;
    assert!(receive_text(&mut client).await.starts_with('0'));
    assert_eq!(receive_text(&mut client).await, "4hi1");
}

// python row 23
// python row 24
// python row 25
#[tokio::test]
async fn the_cookie_has_the_attributes_that_were_asked_for() {
    for (cookie, written) in [
        (
            SidCookie::new("io"),
            "io=SID; HttpOnly; SameSite=Lax; Path=/",
        ),
        (
            SidCookie::new("eid").path("/x").same_site(SameSite::None),
            "eid=SID; HttpOnly; SameSite=None; Secure; Path=/x",
        ),
        (
            SidCookie::new("io").http_only(false),
            "io=SID; SameSite=Lax; Path=/",
        ),
    ] {
        let server = Server::builder().cookie(cookie).build();
        let response = get(&server, HANDSHAKE).await;
        let sid = &text(&response)[9..29];
        assert_eq!(
            response.headers()["set-cookie"].to_str().unwrap(),
            written.replace("SID", sid)
        );
    }
}

// python row 26
#[tokio::test(start_paused = true)]
async fn intervals_below_a_second_are_announced_and_kept() {
    let server = echo()
        .ping_interval(Duration::from_millis(2_500))
        .ping_timeout(Duration::from_micros(1_234_500))
        .build();
    let start = tokio::time::Instant::now();
    let body = text(&get(&server, HANDSHAKE).await);
    assert!(
        body.contains(r#""pingInterval":2500,"pingTimeout":1234,"#),
        "{body}"
    );
    assert_eq!(text(&poll(&server, &body[9..29]).await), "2");
    assert_eq!(start.elapsed(), Duration::from_millis(2_500));
}

// python row 59
// python row 97
#[tokio::test]
async fn transports_that_are_not_served_are_neither_announced_nor_accepted() {
    use engineio_tower::Transport;
    let server = echo().transports([Transport::WebSocket]).build();
    assert_eq!(code(&get(&server, HANDSHAKE).await), 0);
    let options = by("OPTIONS", get_request("EIO=4"));
    assert_eq!(code(&call(&server, options).await), 0);
    drop(crate::support::open_websocket(&server).await);

    let server = echo().transports([Transport::Polling]).build();
    let body = text(&get(&server, HANDSHAKE).await);
    assert!(body.contains(r#""upgrades":[],"#), "{body}");
    for query in [
        WEBSOCKET.to_owned(),
        crate::support::upgrade_query(&body[9..29]),
    ] {
        let refused = try_websocket(&server, &query).await.unwrap_err();
        assert_eq!(code(&refused), 0, "{query}");
    }
    let waiting = parked(&server, &body[9..29]).await;
    crate::support::post(&server, &body[9..29], "4x").await;
    assert_eq!(text(&waiting.await.unwrap()), "4x");
}

// python row 89
#[tokio::test]
async fn an_empty_path_is_every_path() {
    for path in ["", "/"] {
        let server = echo().path(path).build();
        for asked in ["/", "/any/thing", "/engine.io/"] {
            let response = call(&server, at(&format!("{asked}?{HANDSHAKE}"))).await;
            assert_eq!(response.status(), StatusCode::OK, "{asked}");
        }
    }
}

// python row 96
#[tokio::test]
async fn nobody_finds_a_session_before_it_is_accepted() {
    let gate = std::sync::Arc::new(tokio::sync::Notify::new());
    let (told, mut sids) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::builder()
        .on_connect({
            let gate = gate.clone();
            move |socket: Socket, _: ConnectRequest| {
                told.send(socket.sid().to_string()).unwrap();
                let gate = gate.clone();
                async move { gate.notified().await }
            }
        })
        .build();
    let connecting = tokio::spawn({
        let server = server.clone();
        async move { get(&server, HANDSHAKE).await }
    });
    let sid = sids.recv().await.unwrap();
    assert_eq!(code(&poll(&server, &sid).await), 1);
    assert_eq!(code(&call(&server, post_request(&sid, "4x")).await), 1);
    let refused = try_websocket(&server, &crate::support::upgrade_query(&sid)).await;
    assert_eq!(code(&refused.unwrap_err()), 1);
    gate.notify_one();
    assert_eq!(connecting.await.unwrap().status(), StatusCode::OK);
    assert_eq!(server.len(), 1);
}

// python row 98
#[tokio::test(start_paused = true)]
async fn the_heartbeat_begins_when_the_client_is_accepted() {
    let server = Server::builder()
        .ping_interval(Duration::from_secs(1))
        .ping_timeout(Duration::from_secs(1))
        .on_connect(|_: Socket, _: ConnectRequest| pass(2_500))
        .build();
    let start = tokio::time::Instant::now();
    let (sid, _) = open(&server).await;
    assert_eq!(start.elapsed(), Duration::from_millis(2_500));
    assert_eq!(text(&poll(&server, &sid).await), "2");
    assert_eq!(start.elapsed(), Duration::from_millis(3_500));
    assert_eq!(server.len(), 1);
}
