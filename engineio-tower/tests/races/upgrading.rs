//! The upgrade while messages go both ways.

use engineio_tower::{Driver, EngineIoService, Server};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use shuttle::{future, thread};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, protocol::Role};
use tower::ServiceExt;

use crate::explore::{Watched, explore, in_time, numbers, poll, texts};
use crate::support::{self, Client, open, post, receive, receive_text, send, socket};

/// Opens a WebSocket whose driver runs in a task of the scheduler.
pub(crate) async fn websocket(
    server: &Server,
    query: &str,
) -> Option<(Client, future::JoinHandle<()>)> {
    let service = EngineIoService::new(server.clone());
    let request = support::websocket_request(query);
    let mut response = service.oneshot(request).await.unwrap();
    let driver = Driver::take(&mut response)?;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let (ours, theirs) = tokio::io::duplex(1024);
    let driver = future::spawn(driver.run(theirs));
    let client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    Some((client, driver))
}

/// Reads until the server closes, and says goodbye; gives the packets that came.
pub(crate) async fn receive_to_the_end(mut client: Client) -> Vec<String> {
    let mut packets = Vec::new();
    while let Some(message) = receive(&mut client).await {
        packets.push(message.to_text().unwrap().to_owned());
    }
    while let Some(Ok(_)) = client.next().await {}
    packets
}

/// Polls until the noop by which an upgrade ends the polling.
async fn poll_until_noop(server: Server, sid: String) -> Vec<String> {
    let mut messages = Vec::new();
    loop {
        let packets = poll(&server, &sid).await.unwrap();
        messages.extend(texts(&packets));
        if packets.iter().any(|packet| packet == "6") {
            return messages;
        }
    }
}

#[test]
fn messages_sent_during_an_upgrade_arrive_once_and_in_order() {
    explore(|| async {
        let watched = Watched::new(Server::builder());
        let server = &watched.server;
        let (sid, _) = open(server).await;
        let socket = socket(server, &sid);
        let sender = thread::spawn(move || {
            for text in numbers(5) {
                socket.try_send(text).unwrap();
            }
            socket
        });
        let polling = future::spawn(poll_until_noop(server.clone(), sid.clone()));
        let query = support::upgrade_query(&sid);
        let (mut client, driver) = websocket(server, &query).await.unwrap();
        send(&mut client, "2probe").await;
        assert_eq!(receive_text(&mut client).await, "3probe");
        let mut messages = in_time(polling).await;
        send(&mut client, "5").await;
        sender.join().unwrap().close();
        let packets = receive_to_the_end(client).await;
        messages.extend(texts(&packets));
        driver.await.unwrap();
        assert_eq!(messages, numbers(5));
        watched.clean_after(1).await;
    });
}

#[test]
fn who_waits_for_room_goes_on_when_the_session_has_moved_to_its_websocket() {
    explore(|| async {
        let watched = Watched::new(Server::builder().outbox_limit(0));
        let server = &watched.server;
        let (sid, _) = open(server).await;
        let socket = socket(server, &sid);
        let sender = future::spawn(async move {
            for text in numbers(5) {
                socket.send(text).await.unwrap();
            }
            socket.flush().await;
            socket
        });
        let polling = future::spawn(poll_until_noop(server.clone(), sid.clone()));
        let query = support::upgrade_query(&sid);
        let (mut client, driver) = websocket(server, &query).await.unwrap();
        send(&mut client, "2probe").await;
        assert_eq!(receive_text(&mut client).await, "3probe");
        let mut messages = in_time(polling).await;
        send(&mut client, "5").await;
        let closing = future::spawn(async move { sender.await.unwrap().close() });
        let packets = receive_to_the_end(client).await;
        messages.extend(texts(&packets));
        closing.await.unwrap();
        driver.await.unwrap();
        assert_eq!(messages, numbers(5));
        watched.clean_after(1).await;
    });
}

#[test]
fn messages_of_a_last_post_and_of_first_frames_are_handled_in_order() {
    explore(|| last_post_and_first_frames(Watched::new(Server::builder())));
}

#[test]
fn a_slow_application_gets_messages_of_a_last_post_and_of_first_frames_in_order() {
    explore(|| last_post_and_first_frames(Watched::slow(Server::builder().inbox_limit(0))));
}

async fn last_post_and_first_frames(watched: Watched) {
    let server = &watched.server;
    let (sid, _) = open(server).await;
    let polling = future::spawn(poll_until_noop(server.clone(), sid.clone()));
    let posting = {
        let (server, sid) = (server.clone(), sid.clone());
        future::spawn(async move {
            for text in ["40", "41\x1e42"] {
                assert_eq!(post(&server, &sid, text).await.status(), 200);
            }
        })
    };
    let query = support::upgrade_query(&sid);
    let (mut client, driver) = websocket(server, &query).await.unwrap();
    send(&mut client, "2probe").await;
    assert_eq!(receive_text(&mut client).await, "3probe");
    in_time(polling).await;
    posting.await.unwrap();
    for text in ["5", "43", "44", "45"] {
        send(&mut client, text).await;
    }
    client.send(Message::Close(None)).await.unwrap();
    receive_to_the_end(client).await;
    driver.await.unwrap();
    watched.goodbye().await;
    assert_eq!(watched.messages(), numbers(6));
    watched.clean_after(1).await;
}

#[test]
fn an_upgrade_that_breaks_off_loses_nothing() {
    explore(|| async {
        let watched = Watched::new(Server::builder());
        let server = &watched.server;
        let (sid, _) = open(server).await;
        let socket = socket(server, &sid);
        let sender = thread::spawn(move || {
            for text in numbers(3) {
                socket.try_send(text).unwrap();
            }
            socket
        });
        let breaking = {
            let (server, query) = (server.clone(), support::upgrade_query(&sid));
            future::spawn(async move {
                let (mut client, driver) = websocket(&server, &query).await.unwrap();
                send(&mut client, "2probe").await;
                drop(client);
                driver.await.unwrap();
            })
        };
        let mut messages = Vec::new();
        while messages.len() < 3 {
            messages.extend(texts(&poll(server, &sid).await.unwrap()));
        }
        breaking.await.unwrap();
        assert_eq!(messages, numbers(3));
        sender.join().unwrap().abort();
        watched.clean_after(1).await;
    });
}
