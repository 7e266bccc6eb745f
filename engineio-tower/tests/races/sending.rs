//! Sending while the client comes to fetch, or stops coming.

use engineio_tower::Server;
use shuttle::{future, thread};

use crate::explore::{Watched, explore, numbers, poll, poll_to_the_end, texts};
use crate::support::{self, open, post, socket};
use crate::upgrading::{receive_to_the_end, websocket};

#[test]
fn messages_sent_while_polls_arrive_are_fetched_once_and_in_order() {
    explore(|| async {
        let watched = Watched::new(Server::builder());
        let (sid, _) = open(&watched.server).await;
        let socket = socket(&watched.server, &sid);
        let sender = thread::spawn(move || {
            for text in numbers(4) {
                socket.try_send(text).unwrap();
            }
            socket.close();
        });
        assert_eq!(poll_to_the_end(&watched.server, &sid).await, numbers(4));
        sender.join().unwrap();
        watched.clean_after(1).await;
    });
}

#[test]
fn who_waits_for_room_goes_on_when_a_poll_has_made_it() {
    explore(|| async {
        let watched = Watched::new(Server::builder().outbox_limit(0));
        let (sid, _) = open(&watched.server).await;
        let mut senders = Vec::new();
        for _ in 0..2 {
            let socket = socket(&watched.server, &sid);
            senders.push(future::spawn(async move {
                for text in numbers(3) {
                    socket.send(text).await.unwrap();
                }
                socket.flush().await;
            }));
        }
        let mut messages = Vec::new();
        while messages.len() < 6 {
            messages.extend(texts(&poll(&watched.server, &sid).await.unwrap()));
        }
        for sender in senders {
            sender.await.unwrap();
        }
        socket(&watched.server, &sid).abort();
        watched.clean_after(1).await;
    });
}

#[test]
fn a_poll_that_is_given_up_while_a_message_is_sent_ends_the_session_once() {
    explore(|| async {
        let watched = Watched::new(Server::builder());
        let (sid, _) = open(&watched.server).await;
        let socket = socket(&watched.server, &sid);
        let polling = {
            let (server, sid) = (watched.server.clone(), sid.clone());
            future::spawn(async move { poll(&server, &sid).await })
        };
        let sender = thread::spawn({
            let socket = socket.clone();
            move || socket.try_send("hello").is_ok()
        });
        polling.abort();
        let polled = polling.await;
        let sent = sender.join().unwrap();
        match polled {
            // It was answered before it could be given up.
            Ok(packets) => {
                assert!(sent);
                assert_eq!(packets, Some(vec!["4hello".to_owned()]));
                socket.abort();
            }
            // It had not begun, it waited, or its answer was lost with it.
            Err(_) => socket.abort(),
        }
        socket.closed().await;
        drop(socket);
        watched.clean_after(1).await;
    });
}

#[test]
fn messages_of_posts_are_handled_in_order_whoever_runs_the_handlers() {
    explore(|| async {
        let watched = Watched::new(Server::builder());
        let (sid, _) = open(&watched.server).await;
        let socket = socket(&watched.server, &sid);
        let busy = thread::spawn(move || {
            for text in numbers(2) {
                socket.try_send(text).unwrap();
            }
        });
        let polling = {
            let (server, sid) = (watched.server.clone(), sid.clone());
            future::spawn(async move { poll_to_the_end(&server, &sid).await })
        };
        for text in ["40\x1e41", "42", "43\x1e41"] {
            assert_eq!(post(&watched.server, &sid, text).await.status(), 200);
        }
        busy.join().unwrap();
        assert_eq!(post(&watched.server, &sid, "1").await.status(), 200);
        polling.await.unwrap();
        assert_eq!(watched.messages(), ["0", "1", "2", "3", "1"]);
        watched.clean_after(1).await;
    });
}

#[test]
fn what_waits_for_the_application_is_read_on_when_there_is_room() {
    explore(|| async {
        let watched = Watched::slow(Server::builder().inbox_limit(0));
        let opened = websocket(&watched.server, support::WEBSOCKET).await;
        let (mut client, driver) = opened.unwrap();
        for text in ["40", "41", "42", "43", "44", "45", "1"] {
            support::send(&mut client, text).await;
        }
        receive_to_the_end(client).await;
        driver.await.unwrap();
        watched.goodbye().await;
        assert_eq!(watched.messages(), numbers(6));
        watched.clean_after(1).await;
    });
}

#[test]
fn a_post_that_waits_for_the_application_is_answered_when_there_is_room() {
    explore(|| async {
        let watched = Watched::slow(Server::builder().inbox_limit(0));
        let (sid, _) = open(&watched.server).await;
        let polling = {
            let (server, sid) = (watched.server.clone(), sid.clone());
            future::spawn(async move { poll_to_the_end(&server, &sid).await })
        };
        for text in ["40\x1e41\x1e42", "43\x1e44", "45\x1e1"] {
            assert_eq!(post(&watched.server, &sid, text).await.status(), 200);
        }
        polling.await.unwrap();
        watched.goodbye().await;
        assert_eq!(watched.messages(), numbers(6));
        watched.clean_after(1).await;
    });
}

#[test]
fn the_end_of_a_client_comes_after_its_handlers_that_run_beside() {
    explore(|| async {
        let watched = Watched::slow(Server::builder().concurrent_messages());
        let (sid, _) = open(&watched.server).await;
        let socket = socket(&watched.server, &sid);
        let posting = post(&watched.server, &sid, "40\x1e41\x1e42");
        assert_eq!(posting.await.status(), 200);
        socket.abort();
        drop(socket);
        watched.goodbye().await;
        assert_eq!(watched.messages().len(), 3);
        watched.clean_after(1).await;
    });
}

#[test]
fn who_gives_up_waiting_while_a_poll_makes_room_passes_its_turn_on() {
    explore(|| async {
        let watched = Watched::new(Server::builder().outbox_limit(0));
        let (sid, _) = open(&watched.server).await;
        let mut senders = Vec::new();
        for text in numbers(4) {
            let socket = socket(&watched.server, &sid);
            senders.push(future::spawn(
                async move { socket.send(text).await.is_ok() },
            ));
        }
        let givers_up = senders.split_off(2);
        let giving_up = thread::spawn(move || {
            givers_up.iter().for_each(future::JoinHandle::abort);
            givers_up
        });
        let polling = {
            let (server, sid) = (watched.server.clone(), sid.clone());
            future::spawn(async move { poll_to_the_end(&server, &sid).await })
        };
        let mut sent = 0;
        for sender in senders {
            assert!(sender.await.unwrap());
            sent += 1;
        }
        for sender in giving_up.join().unwrap() {
            // Sent, or given up before.
            sent += usize::from(sender.await.unwrap_or(false));
        }
        let last = socket(&watched.server, &sid);
        last.flush().await;
        last.close();
        drop(last);
        assert!(polling.await.unwrap().len() >= sent);
        watched.clean_after(1).await;
    });
}
