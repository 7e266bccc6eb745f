//! The configurations of `deploy` and of `docs/DEPLOYMENT.md`, and one that is other than they and does no harm.

use std::collections::BTreeSet;

use crate::raw::{HANDSHAKE, get, sid};
use crate::support::{MODES, client, echo, end, in_time, messages, url};

/// The servers to which these session ids lead.
fn servers<'a>(sids: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let name = |sid: &'a str| sid.split_once('.').map(|(name, _)| name);
    sids.into_iter().filter_map(name).collect()
}

#[tokio::test]
async fn every_message_comes_once_and_in_order_over_each_transport() {
    let messages = messages();
    let proxies = [
        "nginx",
        "nginx-by-address",
        "haproxy",
        "haproxy-by-cookie",
        "guide-nginx",
        "guide-haproxy-by-cookie",
        "guide-haproxy-by-sid",
        "guide-nginx-by-node",
        "guide-haproxy-by-node",
        "buffering",
    ];
    for proxy in proxies {
        for mode in MODES {
            let mut client = in_time(client(proxy, mode).connect()).await.unwrap();
            echo(&mut client, &messages).await;
            let transport = in_time(client.settled()).await;
            assert_eq!(Some(&transport), mode.last(), "{proxy}");
            end(client).await;
        }
    }
}

#[tokio::test]
async fn many_sessions_at_once_stay_each_at_its_server() {
    for proxy in ["nginx", "haproxy"] {
        let sessions = (0..12).map(|n| {
            tokio::spawn(async move {
                let connecting = client(proxy, MODES[n % 3]).connect();
                let mut client = in_time(connecting).await.unwrap();
                for round in 0..20 {
                    let text = format!("{n} {round}");
                    client.send(text.as_str()).await.unwrap();
                    let echo = in_time(client.next()).await;
                    assert_eq!(echo, Some(text.as_str().into()));
                }
                let sid = client.sid().unwrap();
                end(client).await;
                sid
            })
        });
        let sessions: Vec<_> = sessions.collect();
        let mut sids = Vec::new();
        for session in sessions {
            sids.push(session.await.unwrap());
        }
        if proxy == "haproxy" {
            let servers = servers(sids.iter().map(String::as_str));
            assert_eq!(
                servers,
                BTreeSet::from(["a", "b"]),
                "by the fewest connections"
            );
        }
    }
}

#[tokio::test]
async fn nginx_leads_addresses_to_servers_and_sessions_wherever_they_come_from() {
    let mut sids = Vec::new();
    for last in 1..=16 {
        let from = [127, 0, 0, last];
        let mut first = None;
        for _ in 0..2 {
            let answer = get("nginx", from, HANDSHAKE, "").await;
            let server = sid(&answer).split_once('.').unwrap().0.to_owned();
            assert_eq!(
                first.get_or_insert_with(|| server.clone()),
                &server,
                "one address, one server"
            );
            sids.push(sid(&answer).to_owned());
        }
    }
    let both = servers(sids.iter().map(String::as_str));
    assert_eq!(both, BTreeSet::from(["a", "b"]), "not all at one server");
    for (n, sid) in sids.iter().enumerate() {
        // A WebSocket handshake without its headers: refused with 400 and code 3 by the server that has the session,
        // with code 1 by the other. It takes nothing from the session.
        let query = format!("EIO=4&transport=websocket&sid={sid}");
        let answer = get("nginx", [127, 0, 1, n as u8 + 1], &query, "").await;
        assert!(answer.contains("\"code\":3"), "{answer}");
    }
}

#[tokio::test]
async fn pages_of_the_proxys_own_host_are_let_in_and_others_not() {
    let proxies = [
        "nginx",
        "haproxy",
        "guide-nginx",
        "guide-haproxy-by-cookie",
        "guide-haproxy-by-sid",
    ];
    for proxy in proxies {
        let from = [127, 0, 0, 1];
        let own = format!("origin: {}\r\n", url(proxy));
        let answer = get(proxy, from, HANDSHAKE, &own).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let answer = get(
            proxy,
            from,
            HANDSHAKE,
            "origin: http://elsewhere.example\r\n",
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
}
