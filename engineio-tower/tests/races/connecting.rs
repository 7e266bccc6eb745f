//! Clients that come, while others leave and the server does.

use std::sync::Arc;
use std::time::Duration;

use engineio_tower::{ConnectRequest, Server, Socket};
use http::StatusCode;
use shuttle::sync::Mutex;
use shuttle::{future, thread};

use crate::explore::{PATIENCE, Watched, explore, poll_to_the_end};
use crate::support::{self, get, open, socket};

/// Longer than a scenario, whose clock stands still.
const GRACE: Duration = Duration::from_secs(60);

/// Opens a session; gives its id, or `None` if there is no place for it.
async fn try_open(server: &Server) -> Option<String> {
    let response = get(server, support::HANDSHAKE).await;
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let packets = support::text(&response);
    let packets = packets.split('\x1e').next().unwrap();
    let open: serde_json::Value = serde_json::from_str(packets.strip_prefix('0').unwrap()).unwrap();
    Some(open["sid"].as_str().unwrap().to_owned())
}

/// Opens a session as soon as a place has come back.
async fn open_when_there_is_a_place(server: &Server) -> String {
    for _ in 0..PATIENCE {
        if let Some(sid) = try_open(server).await {
            return sid;
        }
        future::yield_now().await;
    }
    panic!("the place never came back");
}

#[test]
fn a_client_that_comes_during_a_shutdown_is_refused_or_told_of_it() {
    explore(|| async {
        let came = Arc::new(Mutex::new(0));
        let coming = Arc::clone(&came);
        let builder = Server::builder().on_connect(move |_: Socket, _: ConnectRequest| {
            *coming.lock().unwrap() += 1;
        });
        let watched = Watched::new(builder);
        let mut clients = Vec::new();
        for _ in 0..2 {
            let server = watched.server.clone();
            clients.push(future::spawn(async move {
                if let Some(sid) = try_open(&server).await {
                    poll_to_the_end(&server, &sid).await;
                }
            }));
        }
        watched.server.shutdown(GRACE).await;
        assert!(watched.server.is_empty());
        for client in clients {
            client.await.unwrap();
        }
        // Whomever the application has accepted it sees off, the client that is refused after that included.
        let accepted = *came.lock().unwrap();
        watched.clean_after(accepted).await;
    });
}

#[test]
fn places_are_given_to_no_more_than_there_are_and_come_back() {
    explore(|| async {
        let watched = Watched::new(Server::builder().max_sockets(1));
        let mut clients = Vec::new();
        for _ in 0..3 {
            let server = watched.server.clone();
            clients.push(future::spawn(async move { try_open(&server).await }));
        }
        let mut accepted = Vec::new();
        for client in clients {
            accepted.extend(client.await.unwrap());
        }
        assert_eq!(accepted.len(), 1);
        let socket = socket(&watched.server, &accepted[0]);
        let leaving = thread::spawn(move || socket.abort());
        // Refused until the disconnect handler of the client that leaves has returned.
        let early = try_open(&watched.server).await;
        leaving.join().unwrap();
        if let Some(early) = &early {
            support::socket(&watched.server, early).abort();
        }
        let late = open_when_there_is_a_place(&watched.server).await;
        support::socket(&watched.server, &late).abort();
        watched.clean_after(2 + usize::from(early.is_some())).await;
    });
}

#[test]
fn sessions_are_found_until_they_are_gone() {
    explore(|| async {
        let watched = Watched::new(Server::builder());
        let (first, _) = open(&watched.server).await;
        let coming = {
            let server = watched.server.clone();
            future::spawn(async move { open(&server).await.0 })
        };
        let leaving = {
            let socket = socket(&watched.server, &first);
            thread::spawn(move || socket.abort())
        };
        let looking = {
            let server = watched.server.clone();
            thread::spawn(move || {
                let sid = first.parse().unwrap();
                let found = server.socket(&sid).is_some();
                let counted = server.sockets().len();
                assert!(counted <= 2);
                // Who is gone does not come back.
                assert!(found || server.socket(&sid).is_none());
                server.broadcast("to everybody")
            })
        };
        let second = coming.await.unwrap();
        leaving.join().unwrap();
        assert!(looking.join().unwrap() <= 2);
        assert_eq!(watched.server.sockets().len(), 1);
        socket(&watched.server, &second).abort();
        watched.clean_after(2).await;
    });
}

#[test]
fn a_handle_that_is_closed_while_its_client_is_let_in_leaves_nothing_behind() {
    for close in [Socket::close, Socket::abort] {
        explore(move || async move {
            let kept = Arc::new(Mutex::new(None));
            let keeping = Arc::clone(&kept);
            let builder = Server::builder().on_connect(move |socket: Socket, _: ConnectRequest| {
                *keeping.lock().unwrap() = Some(socket);
            });
            let watched = Watched::new(builder);
            let taking = Arc::clone(&kept);
            let closer = thread::spawn(move || {
                // Whether it is there yet is one of the things that are tried.
                let socket = taking.lock().unwrap().take();
                socket.inspect(close)
            });
            let response = get(&watched.server, support::HANDSHAKE).await;
            let closed = closer.join().unwrap();
            let is_let_in = response.status() == StatusCode::OK;
            assert!(is_let_in || closed.is_some());
            // One that is being closed waits for its client, which does not come.
            let sockets = closed.into_iter().chain(watched.server.sockets());
            sockets.for_each(|socket| socket.abort());
            watched.server.shutdown(GRACE).await;
            drop(kept.lock().unwrap().take());
            // The connect handler said yes in every case.
            watched.clean_after(1).await;
        });
    }
}

#[test]
fn a_client_that_gives_up_while_it_is_let_in_is_disconnected_if_it_was() {
    explore(|| async {
        let came = Arc::new(Mutex::new(0));
        let coming = Arc::clone(&came);
        let builder = Server::builder().on_connect(move |_: Socket, _: ConnectRequest| {
            let coming = Arc::clone(&coming);
            async move {
                future::yield_now().await;
                *coming.lock().unwrap() += 1;
            }
        });
        let watched = Watched::new(builder);
        let connecting = {
            let server = watched.server.clone();
            future::spawn(async move { get(&server, support::HANDSHAKE).await })
        };
        future::yield_now().await;
        connecting.abort();
        if connecting.await.is_ok() {
            for socket in watched.server.sockets() {
                socket.abort();
            }
        }
        assert_eq!(watched.gone().await.len(), *came.lock().unwrap());
    });
}
