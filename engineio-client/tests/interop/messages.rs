//! Messages of every kind of content.

use engineio_client::{Client, Message, Transport};

use crate::peers::{MODES, Peer, in_time, peers};

/// Sends all, and checks that each comes back as it was, once and in order.
async fn echo(peer: &Peer, mode: &[Transport], messages: &[Message]) {
    let mut client = in_time(peer.client(mode).connect()).await.unwrap();
    let handle = client.handle();
    let messages = messages.iter().filter(|message| peer.takes(message, mode));
    let messages: Vec<Message> = messages.cloned().collect();
    let sending = messages.clone();
    let sender = tokio::spawn(async move {
        for message in sending {
            handle.send(message).await.unwrap();
        }
    });
    for (n, message) in messages.iter().enumerate() {
        let echo = in_time(client.next()).await;
        if echo.as_ref() != Some(message) {
            let brief = |message: &Message| (message.is_binary(), message.len());
            let (echo, message) = (echo.as_ref().map(brief), brief(message));
            let why = client.disconnect_error();
            panic!(
                "{} over {mode:?}, message {n}: {message:?} came back as {echo:?}, {why:?}",
                peer.name
            );
        }
    }
    sender.await.unwrap();
    end(&mut client).await;
}

/// Closes, after which nothing may come any more.
async fn end(client: &mut Client) {
    in_time(client.close()).await;
    assert_eq!(in_time(client.next()).await, None);
}

async fn echo_everywhere(messages: &[Message]) {
    for peer in peers() {
        for mode in MODES {
            echo(&peer, mode, messages).await;
        }
    }
}

#[tokio::test]
async fn text_of_every_plane() {
    // Each character there is, a quarter of a plane at a time. U+001E separates packets in a poll, so that no text can
    // have it. In front stands a letter, because python-engineio takes text that looks like JSON for JSON.
    let mut messages = Vec::new();
    for quarter in 0..17 * 4 {
        let first = quarter * 0x4000;
        let characters = (first..first + 0x4000)
            .filter_map(char::from_u32)
            .filter(|character| *character != '\u{1e}');
        messages.push(Message::from(format!(
            "t{}",
            characters.collect::<String>()
        )));
    }
    echo_everywhere(&messages).await;
}

#[tokio::test]
async fn binary_with_the_separator_of_packets_in_it() {
    let mut messages = vec![
        Message::from(vec![0x1e]),
        Message::from(vec![0x1e; 1000]),
        Message::from((0..=255).collect::<Vec<u8>>()),
    ];
    // At each place of the three that base64 knows, and at each end.
    for length in 1..8 {
        for at in 0..length {
            let mut bytes = vec![b'4'; length];
            bytes[at] = 0x1e;
            messages.push(Message::from(bytes));
        }
    }
    echo_everywhere(&messages).await;
}

#[tokio::test]
async fn empty_messages_between_others() {
    let messages = [
        Message::from(""),
        Message::from(Vec::new()),
        Message::from("a"),
        Message::from(""),
        Message::from(""),
        Message::from(vec![0]),
        Message::from(Vec::new()),
        Message::from(Vec::new()),
        Message::from(""),
    ];
    echo_everywhere(&messages).await;
}

#[tokio::test]
async fn messages_of_a_megabyte() {
    let bytes: Vec<u8> = (0..1_000_000_usize).map(|n| (n % 251) as u8).collect();
    // Two, three and four bytes for each character.
    let text: String = "é€😀".chars().cycle().take(333_333).collect();
    assert!(text.len() >= 999_997, "{}", text.len());
    let messages = [
        Message::from(bytes),
        Message::from(text),
        Message::from("between"),
        Message::from("x".repeat(1_000_000)),
    ];
    echo_everywhere(&messages).await;
}

#[tokio::test]
async fn messages_that_either_side_may_compress() {
    let json = |len: usize| {
        let items = (0..).map(|n| format!("{{\"id\":{n},\"price\":{}}},", n * 7919 % 1009));
        let items = items.scan(0, |total: &mut usize, item| {
            *total += item.len();
            (*total <= len).then_some(item)
        });
        // A letter in front, because python-engineio takes text that looks like JSON for JSON.
        format!("t{}", items.collect::<String>())
    };
    let mut messages = Vec::new();
    for len in [10, 1_023, 1_024, 5_000, 70_000, 900_000] {
        messages.push(Message::from(json(len)));
        messages.push(Message::from(json(len).into_bytes()));
    }
    for peer in peers() {
        for mode in MODES {
            let builder = peer.client(mode).websocket_compression_threshold(1_024);
            let mut client = in_time(builder.connect()).await.unwrap();
            in_time(client.settled()).await;
            for message in &messages {
                in_time(client.send(message.clone())).await.unwrap();
                let echo = in_time(client.next()).await;
                assert!(
                    echo.as_ref() == Some(message),
                    "{} over {mode:?}: {} bytes, {:?}",
                    peer.name,
                    message.len(),
                    client.disconnect_error()
                );
            }
            end(&mut client).await;
        }
    }
}
