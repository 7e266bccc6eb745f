//! WebTransport against a server on aioquic.

use engineio_client::{Client, ClientBuilder, DisconnectReason, ErrorKind, Message, Transport};

use crate::peers::{Peer, in_time, required};

/// Returns the builder of a client that trusts this server.
fn client(url: &str) -> ClientBuilder {
    let (url, hash) = url.split_once('#').expect("a URL with a hash");
    let digit = |at| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).unwrap();
    Client::builder(url)
        .transports([Transport::WebTransport])
        .server_certificate_hashes([std::array::from_fn(digit)])
}

fn peer() -> Peer {
    Peer::parse(&required("INTEROP_WEBTRANSPORT"))
}

#[tokio::test]
async fn messages_of_every_size_come_back_in_order() {
    let server = peer().start(&[]).await;
    let mut client = in_time(client(&server.url).connect()).await.unwrap();
    let lengths = [0, 1, 124, 125, 126, 65_534, 65_535, 65_536, 999_999];
    let large = lengths.iter().flat_map(|len| {
        [
            Message::from("x".repeat(*len)),
            Message::from(vec![7; *len]),
        ]
    });
    let messages: Vec<Message> = large
        .chain((0..1_000).map(|n| Message::from(n.to_string())))
        .collect();
    let (handle, sending) = (client.handle(), messages.clone());
    let sender = tokio::spawn(async move {
        for message in sending {
            handle.send(message).await.unwrap();
        }
    });
    for message in messages {
        assert_eq!(in_time(client.next()).await, Some(message));
    }
    sender.await.unwrap();
    in_time(client.close()).await;
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Client));
}

#[tokio::test]
async fn heartbeats_keep_the_session() {
    let server = peer().start(&[]).await;
    let mut client = in_time(client(&server.url).connect()).await.unwrap();
    // The server pings each 300 ms, and gives a client up that does not answer for 2 s.
    assert!(
        tokio::time::timeout(std::time::Duration::from_secs(4), client.next())
            .await
            .is_err()
    );
    client.send("still here").await.unwrap();
    assert_eq!(in_time(client.next()).await, Some("still here".into()));
}

#[tokio::test]
async fn a_close_by_the_server_comes_behind_its_messages() {
    let server = peer().start(&[]).await;
    let mut client = in_time(client(&server.url).connect()).await.unwrap();
    client.send("close-me").await.unwrap();
    assert_eq!(in_time(client.next()).await, Some("last words".into()));
    assert_eq!(in_time(client.next()).await, None);
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Server));
    assert!(client.disconnect_error().is_none());
}

#[tokio::test]
async fn a_server_that_takes_no_more_data_ends_the_session() {
    let server = peer().start(&[]).await;
    let mut client = in_time(client(&server.url).connect()).await.unwrap();
    client.send("stop-me").await.unwrap();
    assert_eq!(in_time(client.next()).await, None);
    let error = client.disconnect_error().map(|error| error.kind());
    assert_eq!(error, Some(ErrorKind::Transport));
}
