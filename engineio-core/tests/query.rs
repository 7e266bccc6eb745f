//! Requests: what they ask for, and why they are refused.

use engineio_core::{
    Action, Config, Method, Query, Refusal, Revision, Sid, SidParameter, Transport,
};

const NOTHING: Query = Query {
    revision: None,
    transport: None,
    sid: SidParameter::Absent,
    base64: false,
    jsonp: None,
};

fn sid(id: &str) -> SidParameter {
    SidParameter::Given(id.parse().unwrap())
}

#[test]
fn parameters_are_read_as_the_reference_reads_them() {
    let longest = "x".repeat(Sid::MAX_LEN);
    let too_long = "x".repeat(Sid::MAX_LEN + 1);
    let (longest_query, too_long_query) = (format!("sid={longest}"), format!("sid={too_long}"));
    let v4 = Query {
        revision: Some(Revision::V4),
        ..NOTHING
    };
    let websocket = Query {
        transport: Some(Transport::WebSocket),
        ..NOTHING
    };
    let polling = Query {
        transport: Some(Transport::Polling),
        ..NOTHING
    };
    let with_sid = |sid| Query { sid, ..NOTHING };
    let with_jsonp = |index| Query {
        jsonp: Some(index),
        ..NOTHING
    };
    let base64 = Query {
        base64: true,
        ..NOTHING
    };
    let table = [
        ("", NOTHING),
        ("&&=&t=Oabc&x", NOTHING),
        ("EIO=4", v4),
        ("EIO=%34", v4),
        ("E%49O=4", v4),
        (
            "EIO=3",
            Query {
                revision: Some(Revision::V3),
                ..NOTHING
            },
        ),
        ("EIO=", NOTHING),
        ("EIO=5", NOTHING),
        ("EIO=04", NOTHING),
        ("EIO=4 ", NOTHING),
        ("eio=4", NOTHING),
        ("transport=polling", polling),
        ("transport=websocket", websocket),
        ("transport=%77ebsocket", websocket),
        ("transport=webtransport", NOTHING),
        ("transport=WebSocket", NOTHING),
        ("transport=", NOTHING),
        ("transport=constructor", NOTHING),
        ("sid=abc-_.~9", with_sid(sid("abc-_.~9"))),
        ("sid=%61bc", with_sid(sid("abc"))),
        ("sid=", NOTHING),
        ("sid", NOTHING),
        ("sid=a b", with_sid(SidParameter::Malformed)),
        ("sid=a+b", with_sid(SidParameter::Malformed)),
        ("sid=a%00", with_sid(SidParameter::Malformed)),
        ("sid=%ff", with_sid(SidParameter::Malformed)),
        ("sid=../x", with_sid(SidParameter::Malformed)),
        (&longest_query, with_sid(sid(&longest))),
        (&too_long_query, with_sid(SidParameter::Malformed)),
        ("b64=1", base64),
        ("b64=0", base64),
        ("b64=", NOTHING),
        ("j=12", with_jsonp(12)),
        ("j=a1b2", with_jsonp(12)),
        ("j=", NOTHING),
        ("j=x", NOTHING),
        ("j=99999999999", NOTHING),
        // The last one of a repeated parameter counts, even if it is worth nothing.
        ("EIO=3&EIO=4", v4),
        ("EIO=4&EIO=x", NOTHING),
        ("transport=polling&transport=websocket", websocket),
        ("transport=polling&transport=x", NOTHING),
        ("sid=a&sid=b", with_sid(sid("b"))),
        ("sid=a&sid=", NOTHING),
        ("sid=a&sid=b%20", with_sid(SidParameter::Malformed)),
        ("b64=1&b64=", NOTHING),
        ("j=1&j=2", with_jsonp(2)),
        (
            "EIO=4&transport=polling&sid=abc&b64=1&j=0&t=x",
            Query {
                revision: Some(Revision::V4),
                transport: Some(Transport::Polling),
                sid: sid("abc"),
                base64: true,
                jsonp: Some(0),
            },
        ),
    ];
    for (query, parsed) in table {
        assert_eq!(Query::parse(query), parsed, "{query:?}");
    }
}

#[track_caller]
fn check(config: &Config, request: (Method, bool, &str), expected: Result<Action, Refusal>) {
    let (method, upgrade, query) = request;
    let action = Query::parse(query).action(method, upgrade, config);
    assert_eq!(action, expected, "{method:?} ?{query} upgrade: {upgrade}");
}

const HTTP: bool = false;
const UPGRADE: bool = true;

#[test]
fn requests_that_fit_are_served() {
    use Method::{Get, Post};
    let config = Config::default();
    let abc: Sid = "abc".parse().unwrap();
    let open = |transport| Ok(Action::Open(transport, Revision::V4));
    for (request, action) in [
        (
            (Get, HTTP, "EIO=4&transport=polling"),
            open(Transport::Polling),
        ),
        (
            (Get, HTTP, "EIO=4&transport=polling&sid="),
            open(Transport::Polling),
        ),
        (
            (Get, UPGRADE, "EIO=4&transport=websocket"),
            open(Transport::WebSocket),
        ),
        (
            (Get, HTTP, "EIO=4&transport=polling&sid=abc"),
            Ok(Action::Poll(abc)),
        ),
        (
            (Post, HTTP, "EIO=4&transport=polling&sid=abc"),
            Ok(Action::Post(abc)),
        ),
        (
            (Get, UPGRADE, "EIO=4&transport=websocket&sid=abc"),
            Ok(Action::Upgrade(abc)),
        ),
        // Whether the revision is the session's is asked where the session is known.
        (
            (Get, HTTP, "transport=polling&sid=abc"),
            Ok(Action::Poll(abc)),
        ),
    ] {
        check(&config, request, action);
    }
}

#[test]
fn the_first_rule_that_a_request_breaks_is_the_one_it_hears_of() {
    use Method::{Get, Other, Post};
    use Refusal::{
        BadHandshakeMethod, BadRequest, JsonpNotAllowed, MethodNotAllowed, UnknownSid,
        UnknownTransport, UnsupportedVersion,
    };
    let config = Config::default();
    for (request, refusal) in [
        // First the transport, whatever else is wrong.
        ((Get, HTTP, ""), UnknownTransport),
        ((Get, HTTP, "EIO=4"), UnknownTransport),
        (
            (Get, HTTP, "EIO=4&transport=webtransport"),
            UnknownTransport,
        ),
        (
            (Post, HTTP, "EIO=9&transport=x&sid=a%20b"),
            UnknownTransport,
        ),
        ((Other, UPGRADE, "EIO=9&transport=x"), UnknownTransport),
        // Then the sid, if there is one.
        ((Get, HTTP, "EIO=4&transport=polling&sid=a%20b"), UnknownSid),
        (
            (Other, HTTP, "EIO=4&transport=polling&sid=a%20b"),
            UnknownSid,
        ),
        (
            (Get, UPGRADE, "EIO=4&transport=polling&sid=a%20b"),
            UnknownSid,
        ),
        ((Get, HTTP, "EIO=4&transport=websocket&sid=abc"), BadRequest),
        (
            (Get, UPGRADE, "EIO=4&transport=polling&sid=abc"),
            BadRequest,
        ),
        (
            (Post, HTTP, "EIO=4&transport=websocket&sid=abc"),
            BadRequest,
        ),
        (
            (Other, HTTP, "EIO=4&transport=polling&sid=abc"),
            MethodNotAllowed,
        ),
        (
            (Other, HTTP, "EIO=4&transport=websocket&sid=abc"),
            MethodNotAllowed,
        ),
        // Without one, the method, then the way of opening, then the revision.
        ((Post, HTTP, "EIO=9&transport=polling"), BadHandshakeMethod),
        (
            (Post, HTTP, "EIO=9&transport=websocket"),
            BadHandshakeMethod,
        ),
        ((Other, HTTP, "EIO=4&transport=polling"), BadHandshakeMethod),
        (
            (Post, HTTP, "EIO=4&transport=polling&sid="),
            BadHandshakeMethod,
        ),
        ((Get, HTTP, "EIO=9&transport=websocket"), BadRequest),
        ((Get, UPGRADE, "EIO=9&transport=polling"), BadRequest),
        ((Get, HTTP, "transport=polling"), UnsupportedVersion),
        ((Get, HTTP, "EIO=&transport=polling"), UnsupportedVersion),
        ((Get, HTTP, "EIO=2&transport=polling"), UnsupportedVersion),
        ((Get, HTTP, "EIO=3&transport=polling"), UnsupportedVersion),
        (
            (Get, HTTP, "EIO=4&EIO=5&transport=polling"),
            UnsupportedVersion,
        ),
        (
            (Get, UPGRADE, "EIO=3&transport=websocket"),
            UnsupportedVersion,
        ),
        ((Get, UPGRADE, "transport=websocket"), UnsupportedVersion),
        // A script, before anything else about a transport that exists.
        ((Get, HTTP, "transport=polling&j=0"), JsonpNotAllowed),
        (
            (Post, HTTP, "transport=polling&sid=abc&j=0"),
            JsonpNotAllowed,
        ),
        ((Get, HTTP, "transport=x&j=0"), UnknownTransport),
    ] {
        check(&config, request, Err(refusal));
    }
}

#[test]
fn revision_3_must_be_allowed_and_asked_for() {
    let config = Config {
        allow_eio3: true,
        ..Config::default()
    };
    let open = |transport, revision| Ok(Action::Open(transport, revision));
    for (request, action) in [
        (
            (Method::Get, HTTP, "EIO=3&transport=polling"),
            open(Transport::Polling, Revision::V3),
        ),
        (
            (Method::Get, UPGRADE, "EIO=3&transport=websocket"),
            open(Transport::WebSocket, Revision::V3),
        ),
        (
            (Method::Get, HTTP, "EIO=4&transport=polling"),
            open(Transport::Polling, Revision::V4),
        ),
        // The reference takes these two for revision 3.
        (
            (Method::Get, HTTP, "transport=polling"),
            Err(Refusal::UnsupportedVersion),
        ),
        (
            (Method::Get, HTTP, "EIO=x&transport=polling"),
            Err(Refusal::UnsupportedVersion),
        ),
    ] {
        check(&config, request, action);
    }
}

#[test]
fn polling_by_scripts_must_be_allowed() {
    let config = Config {
        allow_jsonp: true,
        ..Config::default()
    };
    let open = |transport| Ok(Action::Open(transport, Revision::V4));
    let script = (Method::Get, HTTP, "EIO=4&transport=polling&j=0");
    check(&config, script, open(Transport::Polling));
    let refused = Err(Refusal::JsonpNotAllowed);
    check(&Config::default(), script, refused);
    // A WebSocket is no script, and an index without digits asks for none.
    for (request, action) in [
        (
            (Method::Get, UPGRADE, "EIO=4&transport=websocket&j=0"),
            open(Transport::WebSocket),
        ),
        (
            (Method::Get, HTTP, "EIO=4&transport=polling&j=x"),
            open(Transport::Polling),
        ),
    ] {
        check(&Config::default(), request, action);
    }
}

#[test]
fn a_transport_that_is_not_offered_is_unknown_for_every_request() {
    let only = |transport: Transport| Config {
        transports: [transport].into_iter().collect(),
        ..Config::default()
    };
    let polling = only(Transport::Polling);
    let websocket = only(Transport::WebSocket);
    let unknown = Err(Refusal::UnknownTransport);
    for query in [
        "EIO=4&transport=websocket",
        "EIO=4&transport=websocket&sid=abc",
    ] {
        check(&polling, (Method::Get, UPGRADE, query), unknown);
        let served = Query::parse(query).action(Method::Get, UPGRADE, &websocket);
        assert!(served.is_ok(), "{query}");
    }
    for query in ["EIO=4&transport=polling", "EIO=4&transport=polling&sid=abc"] {
        check(&websocket, (Method::Get, HTTP, query), unknown);
        let served = Query::parse(query).action(Method::Get, HTTP, &polling);
        assert!(served.is_ok(), "{query}");
    }
    check(
        &websocket,
        (Method::Post, HTTP, "EIO=4&transport=polling&sid=abc"),
        unknown,
    );
}

#[test]
fn refusals_carry_the_codes_that_clients_know() {
    for (refusal, code, status, message) in [
        (Refusal::UnknownTransport, 0, 400, "Transport unknown"),
        (Refusal::UnknownSid, 1, 400, "Session ID unknown"),
        (Refusal::BadHandshakeMethod, 2, 400, "Bad handshake method"),
        (Refusal::BadRequest, 3, 400, "Bad request"),
        (Refusal::Forbidden, 4, 403, "Forbidden"),
        (
            Refusal::UnsupportedVersion,
            5,
            400,
            "Unsupported protocol version",
        ),
        (Refusal::JsonpNotAllowed, 3, 400, "JSONP is not allowed"),
        (Refusal::MethodNotAllowed, 3, 405, "Method not allowed"),
        (Refusal::PayloadTooLarge, 3, 413, "Payload too large"),
    ] {
        assert_eq!((refusal.code(), refusal.status()), (code, status));
        let body = format!(r#"{{"code":{code},"message":"{message}"}}"#);
        assert_eq!(refusal.body(), body);
    }
}
