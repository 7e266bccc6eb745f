//! Forged ids and headers, and those who reach the internal listener without being a node.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use engineio_cluster::{Cluster, JoinError, Peers, StartError};
use engineio_tower::{PeerAddr, Scheme, Server};
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, StatusCode};
use tokio::net::TcpStream;

use crate::support::{POLLING, SECRET, nodes, nodes_with};
use engineio_e2e::host::Hyper;

#[tokio::test]
async fn a_forged_id_is_an_unknown_session_whatever_node_it_names() {
    let [a, b] = nodes().await;
    for sid in [
        "AAAAAAAAAAAAAAAAAAAA.a",
        "AAAAAAAAAAAAAAAAAAAA.b",
        "AAAA.nobody",
        "AAAA",
        "..",
        "a.a.a",
    ] {
        let target = format!("{POLLING}&sid={sid}");
        for node in [&a, &b] {
            for response in [
                node.connect().await.get(&target).await,
                node.connect().await.post(&target, "4x").await,
            ] {
                assert_eq!(response.status, 400, "{sid}");
                assert_eq!(
                    response.text(),
                    r#"{"code":1,"message":"Session ID unknown"}"#
                );
            }
        }
    }
}

type Seen = Arc<Mutex<Option<(Option<SocketAddr>, Option<Scheme>, usize)>>>;

#[tokio::test]
async fn the_forwarding_headers_of_a_client_are_replaced() {
    let seen = Seen::default();
    let told = Arc::clone(&seen);
    let [mut a, b] = nodes_with::<Hyper, 2>(move |builder| {
        let told = Arc::clone(&told);
        builder.headers(move |head, _| {
            let peer = head.extensions.get().map(|&PeerAddr(peer)| peer);
            let scheme = head.extensions.get().copied();
            let internal = |name: &&http::HeaderName| name.as_str().starts_with("engineio-cluster");
            let internal = head.headers.keys().filter(internal).count();
            *told.lock().unwrap() = Some((peer, scheme, internal));
        })
    })
    .await;
    let target = a.poller().await;
    let mut client = b.connect().await;
    let forged = "engineio-cluster-forwarded: https\r\nengineio-cluster-peer: 6.6.6.6:66\r\n\
        content-length: 2\r\n";
    client.send_post(&target, forged).await;
    client.write("4x").await;
    assert_eq!(client.response().await.status, 200);
    let expected = (Some(client.local_addr()), None, 0);
    assert_eq!(seen.lock().unwrap().take(), Some(expected));
}

async fn internal(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    requests.ready().await.unwrap()
}

fn send(requests: &mut SendRequest<Bytes>, request: http::request::Builder) -> ResponseFuture {
    requests
        .send_request(request.body(()).unwrap(), true)
        .unwrap()
        .0
}

pub(crate) fn hello(secret: &str, target: &str) -> http::request::Builder {
    Request::post("http://cluster/v1/hello")
        .header("engineio-cluster-secret", secret)
        .header("engineio-cluster-node", "stranger")
        .header("engineio-cluster-target", target)
}

pub(crate) fn forwarded(target: &str) -> http::request::Builder {
    Request::get(format!("http://cluster{target}")).header("engineio-cluster-forwarded", "unknown")
}

#[tokio::test]
async fn a_request_from_outside_is_not_served_by_the_internal_listener() {
    let [mut a, b] = nodes().await;
    let target = a.poller().await;
    for request in [
        forwarded(&target),
        Request::get("http://cluster/v1/sessions"),
        hello("wrong", "a"),
        hello("", "a"),
        Request::get(format!("http://cluster{POLLING}")),
    ] {
        let mut requests = internal(a.cluster.local_addr()).await;
        let response = send(&mut requests, request).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        // One attempt is all that a connection has.
        while poll_fn(|cx| requests.poll_ready(cx)).await.is_ok() {
            let (response, _) = requests
                .send_request(hello(SECRET, "a").body(()).unwrap(), true)
                .unwrap();
            if let Ok(response) = response.await {
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            }
        }
    }
    assert_eq!(a.server.len(), 1);
    assert_eq!(b.server.len(), 0);
}

#[tokio::test]
async fn a_forwarded_request_is_never_forwarded_again() {
    let [mut a, b] = nodes().await;
    let target = a.poller().await;
    let mut requests = internal(b.cluster.local_addr()).await;
    let response = send(&mut requests, hello(SECRET, "b")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    // As if a node took `b` for the owner of a session of `a`.
    let response = send(&mut requests, forwarded(&target)).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(a.connect().await.post(&target, "4lives").await.status, 200);
}

#[tokio::test]
async fn a_node_that_another_rejects_is_told_why() {
    let [a] = nodes().await;
    let there = a.cluster.local_addr().to_string();
    for (secret, name, reason) in [
        ("another secret", "a", "its secret differs"),
        (SECRET, "b", "another node is at its address"),
    ] {
        let peers = Peers::fixed([(name, there.clone())]).unwrap();
        let builder = Cluster::builder().name("c").secret(secret).peers(peers);
        let cluster = builder.start(&Server::builder().build()).await.unwrap();
        let (_, unreachable) = cluster.sids().await;
        assert!(
            unreachable[0].to_string().ends_with(reason),
            "{unreachable:?}"
        );
    }
}

#[tokio::test]
async fn a_version_that_is_not_spoken_here_is_told() {
    let [a] = nodes().await;
    let mut requests = internal(a.cluster.local_addr()).await;
    let request = Request::post("http://cluster/v2/hello")
        .header("engineio-cluster-secret", SECRET)
        .header("engineio-cluster-target", "a");
    let response = send(&mut requests, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_listener_beyond_this_machine_needs_a_secret() {
    let server = Server::builder().build();
    let started = Cluster::builder().listen("0.0.0.0:0").start(&server).await;
    assert!(matches!(started, Err(StartError::Unprotected)));
    let started = Cluster::builder().secret("").start(&server).await;
    assert!(matches!(started, Err(StartError::EmptySecret)));
    let started = Cluster::builder().name("two words").start(&server).await;
    assert!(matches!(started, Err(StartError::Name(_))));
    let first = Cluster::builder().start(&server).await;
    assert_eq!(first.unwrap().id().as_str().len(), 8);
    let second = Cluster::builder().start(&server).await;
    assert!(matches!(second, Err(StartError::AlreadyStarted)));
}

#[tokio::test]
async fn a_second_node_with_the_name_of_a_listed_one_does_not_start() {
    let [a, _] = nodes().await;
    let listed = a.cluster.local_addr().to_string();
    let named_a = || {
        let peers = Peers::fixed([("a", listed.as_str())]).unwrap();
        Cluster::builder().name("a").secret(SECRET).peers(peers)
    };
    let server = Server::builder().build();
    // It listens at another port than the list says.
    let started = named_a().start(&server).await;
    let is_told = matches!(started, Err(StartError::ListedElsewhere { .. }));
    assert!(is_told, "{started:?}");
    // It believes that it is reached there, but somebody else is.
    let started = named_a().advertise(listed.as_str()).start(&server).await;
    let in_use = matches!(started, Err(StartError::Join(JoinError::IdInUse { .. })));
    assert!(in_use, "{started:?}");
    // The server is free for another attempt.
    let renamed = Cluster::builder().name("c").start(&server).await;
    assert_eq!(renamed.unwrap().id().as_str(), "c");
}

#[tokio::test]
async fn the_ids_of_the_application_get_the_name_of_the_node() {
    let [a] = nodes_with::<Hyper, 1>(|builder| {
        builder.generate_sid(|_| async { "3b241101-e2bb-4255-8caf-4136c566a962".parse().unwrap() })
    })
    .await;
    let open = a.connect().await.get(POLLING).await;
    let sid = crate::support::sid(open.text());
    assert_eq!(sid, "3b241101-e2bb-4255-8caf-4136c566a962.a");
}
