//! Text as a query string: what it asks for, and that what was understood can be asked again.
#![no_main]

use engineio_core::{Action, Config, Method, Query, Revision, SidParameter, Transport};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let query = Query::parse(text);
    assert_eq!(Query::parse(&written(&query)), query);
    for allow_eio3 in [false, true] {
        for transports in [
            &[Transport::Polling][..],
            &[Transport::Polling, Transport::WebSocket],
        ] {
            let config = Config {
                allow_eio3,
                allow_jsonp: true,
                transports: transports.iter().copied().collect(),
                ..Config::default()
            };
            for method in [Method::Get, Method::Post, Method::Other] {
                for upgrade in [false, true] {
                    check_action(&query, method, upgrade, &config);
                }
            }
        }
    }
});

/// The query that says the same in the plainest words.
fn written(query: &Query) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    if let Some(revision) = query.revision {
        text.append_pair("EIO", &revision.to_string());
    }
    if let Some(transport) = query.transport {
        text.append_pair("transport", transport.name());
    }
    match query.sid {
        SidParameter::Absent => {}
        SidParameter::Malformed => {
            text.append_pair("sid", "?");
        }
        SidParameter::Given(sid) => {
            text.append_pair("sid", sid.as_str());
        }
    }
    if query.base64 {
        text.append_pair("b64", "1");
    }
    if let Some(index) = query.jsonp {
        text.append_pair("j", &index.to_string());
    }
    text.finish()
}

fn check_action(query: &Query, method: Method, upgrade: bool, config: &Config) {
    let Ok(action) = query.action(method, upgrade, config) else {
        return;
    };
    let transport = query.transport.expect("no action without a transport");
    assert!(config.transports.contains(transport));
    assert!(method != Method::Other);
    match action {
        Action::Open(opened, revision) => {
            assert_eq!(method, Method::Get);
            assert_eq!(opened, transport);
            assert_eq!(query.revision, Some(revision));
            assert!(revision == Revision::V4 || config.allow_eio3);
            assert_eq!(query.sid, SidParameter::Absent);
            assert_eq!(upgrade, opened == Transport::WebSocket);
        }
        Action::Upgrade(sid) => {
            assert!(upgrade && method == Method::Get);
            assert_eq!(query.sid, SidParameter::Given(sid));
        }
        Action::Poll(sid) => {
            assert!(!upgrade && method == Method::Get);
            assert_eq!(query.sid, SidParameter::Given(sid));
        }
        Action::Post(sid) => {
            assert_eq!((method, transport), (Method::Post, Transport::Polling));
            assert_eq!(query.sid, SidParameter::Given(sid));
        }
        action => panic!("unknown: {action:?}"),
    }
}
