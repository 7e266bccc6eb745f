//! The end of a session, while everything else goes on.

use std::time::Duration;

use engineio_tower::{DisconnectReason, Server, Socket};
use shuttle::{future, thread};

use crate::explore::{Watched, explore, in_time, numbers, poll_to_the_end};
use crate::support::{self, open, post, socket};
use crate::upgrading::{receive_to_the_end, websocket};

/// Everybody who may use a client's handle: who sends when there is room, who waits until all is gone, who waits for
/// the end.
fn users(socket: &Socket) -> Vec<future::JoinHandle<()>> {
    let [sending, flushing, watching] = [socket.clone(), socket.clone(), socket.clone()];
    vec![
        future::spawn(async move {
            for text in numbers(5) {
                if sending.send(text).await.is_err() {
                    break;
                }
            }
        }),
        future::spawn(async move {
            flushing.flush().await;
        }),
        future::spawn(async move {
            watching.closed().await;
            assert!(!watching.is_connected());
        }),
    ]
}

/// Both ways of closing, from a plain thread.
fn closer(socket: Socket, close: fn(&Socket)) -> thread::JoinHandle<()> {
    thread::spawn(move || close(&socket))
}

const WAYS: [fn(&Socket); 2] = [Socket::close, Socket::abort];

#[test]
fn a_close_meets_polls_posts_and_senders() {
    for close in WAYS {
        explore(move || async move {
            let watched = Watched::new(Server::builder().outbox_limit(100));
            let (sid, _) = open(&watched.server).await;
            let socket = socket(&watched.server, &sid);
            let users = users(&socket);
            let posting = {
                let (server, sid) = (watched.server.clone(), sid.clone());
                future::spawn(async move {
                    // Taken or refused, but answered.
                    post(&server, &sid, "4hello").await;
                })
            };
            let closer = closer(socket, close);
            poll_to_the_end(&watched.server, &sid).await;
            closer.join().unwrap();
            posting.await.unwrap();
            for user in users {
                user.await.unwrap();
            }
            watched.clean_after(1).await;
        });
    }
}

#[test]
fn a_close_meets_a_websocket() {
    for close in WAYS {
        explore(move || async move {
            let watched = Watched::new(Server::builder().outbox_limit(100));
            let opened = websocket(&watched.server, support::WEBSOCKET).await;
            let (mut client, driver) = opened.unwrap();
            let opened = support::receive_text(&mut client).await;
            assert!(opened.starts_with('0'));
            let socket = watched.server.sockets().pop().unwrap();
            let users = users(&socket);
            let closer = closer(socket, close);
            support::send(&mut client, "4hello").await;
            receive_to_the_end(client).await;
            closer.join().unwrap();
            driver.await.unwrap();
            for user in users {
                user.await.unwrap();
            }
            watched.clean_after(1).await;
        });
    }
}

#[test]
fn a_close_meets_an_upgrade() {
    for close in WAYS {
        explore(move || async move {
            let watched = Watched::new(Server::builder().outbox_limit(100));
            let (sid, _) = open(&watched.server).await;
            let socket = socket(&watched.server, &sid);
            let users = users(&socket);
            let upgrading = {
                let (server, query) = (watched.server.clone(), support::upgrade_query(&sid));
                future::spawn(async move {
                    let Some((mut client, driver)) = websocket(&server, &query).await else {
                        return;
                    };
                    // The server may have closed it already.
                    use futures_util::SinkExt;
                    for text in ["2probe", "5"] {
                        let message = tokio_tungstenite::tungstenite::Message::text(text);
                        let _ = client.send(message).await;
                    }
                    receive_to_the_end(client).await;
                    driver.await.unwrap();
                })
            };
            let closer = closer(socket, close);
            poll_to_the_end(&watched.server, &sid).await;
            closer.join().unwrap();
            upgrading.await.unwrap();
            for user in users {
                user.await.unwrap();
            }
            watched.clean_after(1).await;
        });
    }
}

#[test]
fn a_websocket_that_vanishes_meets_a_close() {
    for close in WAYS {
        explore(move || async move {
            let watched = Watched::new(Server::builder());
            let opened = websocket(&watched.server, support::WEBSOCKET).await;
            let (client, driver) = opened.unwrap();
            let socket = watched.server.sockets().pop().unwrap();
            let waiting = {
                let socket = socket.clone();
                future::spawn(async move { socket.closed().await })
            };
            let closer = closer(socket.clone(), close);
            drop(client);
            closer.join().unwrap();
            driver.await.unwrap();
            let reason = waiting.await.unwrap();
            assert_eq!(socket.disconnect_reason(), Some(reason));
            drop(socket);
            watched.clean_after(1).await;
        });
    }
}

#[test]
fn a_deadline_meets_polls_and_pongs() {
    const BEAT: Duration = Duration::from_millis(100);
    explore(|| async {
        let builder = Server::builder().ping_interval(BEAT).ping_timeout(BEAT);
        let watched = Watched::new(builder);
        let (sid, _) = open(&watched.server).await;
        let waiting = {
            let socket = socket(&watched.server, &sid);
            future::spawn(async move { socket.closed().await })
        };
        let polling = {
            let (server, sid) = (watched.server.clone(), sid.clone());
            future::spawn(async move { poll_to_the_end(&server, &sid).await })
        };
        let answering = {
            let server = watched.server.clone();
            future::spawn(async move {
                // Some come too early, some in time, and perhaps some too late.
                for _ in 0..5 {
                    post(&server, &sid, "3").await;
                    future::yield_now().await;
                }
            })
        };
        assert_eq!(in_time(waiting).await, DisconnectReason::PingTimeout);
        polling.await.unwrap();
        answering.await.unwrap();
        assert_eq!(watched.gone().await, [DisconnectReason::PingTimeout]);
    });
}
