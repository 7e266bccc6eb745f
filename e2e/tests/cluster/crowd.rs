//! More between two nodes than one connection of HTTP/2 takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use engineio_e2e::host::Hyper;
use engineio_tower::{EngineIoService, Server};
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tower_service::Service;

use crate::support::{POLLING, nodes_with, sid};

/// More than the 10,000 of one connection.
const COUNT: usize = 10_500;

/// The time limit for all of them.
const LIMIT: Duration = Duration::from_secs(60);

/// The body of the response to a GET, without a socket.
async fn get(server: Server, target: String) -> Bytes {
    let request = Request::get(target).body(Full::<Bytes>::default()).unwrap();
    let response = EngineIoService::new(server).call(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_wait_at_once_than_one_connection_takes() {
    let arrived = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&arrived);
    let [owner, entry] = nodes_with::<Hyper, 2>(|builder| {
        let counted = Arc::clone(&counted);
        builder
            .ping_interval(LIMIT)
            .max_sockets(COUNT)
            .headers(move |_, _| {
                counted.fetch_add(1, Ordering::Relaxed);
            })
    })
    .await;
    let mut waiting = JoinSet::new();
    for _ in 0..COUNT {
        let open = get(owner.server.clone(), POLLING.to_owned()).await;
        let target = format!("{POLLING}&sid={}", sid(std::str::from_utf8(&open).unwrap()));
        waiting.spawn(get(entry.server.clone(), target));
    }
    let mut look = interval(Duration::from_millis(20));
    let all_wait = async {
        while arrived.load(Ordering::Relaxed) < 2 * COUNT {
            look.tick().await;
        }
    };
    let outcome = timeout(LIMIT, all_wait).await;
    let polls = arrived.load(Ordering::Relaxed) - COUNT;
    assert!(outcome.is_ok(), "{polls} of {COUNT} have arrived");
    assert_eq!(owner.server.broadcast("to all"), COUNT);
    for payload in waiting.join_all().await {
        assert_eq!(payload, "4to all");
    }
}
