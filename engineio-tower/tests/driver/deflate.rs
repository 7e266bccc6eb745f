//! Compressed WebSocket messages (permessage-deflate, RFC 7692), from the handshake to the close code.

use std::time::Duration;

use crate::support::{
    Body, WEBSOCKET, call, echo, open, parked, upgrade_query, watched, websocket_request, with,
};
use bytes::{Buf, BytesMut};
use engineio_tower::{
    DisconnectReason, Driver, EngineIoService, Message, SendOptions, Server, ServerBuilder, Socket,
};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use http::{Method, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tower::ServiceExt;

const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// What Chromium offers.
const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// The largest payload of the servers here, in bytes.
const MAX_PAYLOAD: usize = 100_000;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PACKED: u8 = 0x40;

fn deflating() -> ServerBuilder {
    echo()
        .max_payload(MAX_PAYLOAD)
        .websocket_compression_threshold(1_024)
}

fn offering(query: &str, offer: &str) -> Request<Body> {
    with("sec-websocket-extensions", offer, websocket_request(query))
}

fn agreed<B>(response: &Response<B>) -> Option<&str> {
    let value = response.headers().get("sec-websocket-extensions")?;
    Some(value.to_str().unwrap())
}

/// A client that speaks in frames.
struct Raw {
    stream: DuplexStream,
    read: BytesMut,
}

impl Raw {
    /// Opens a WebSocket on which messages may be compressed.
    async fn begin(server: &Server, query: &str) -> Self {
        let service = EngineIoService::new(server.clone());
        let mut response = service.oneshot(offering(query, OFFER)).await.unwrap();
        assert_eq!(agreed(&response), Some(AGREED));
        let driver = Driver::take(&mut response).unwrap();
        let (stream, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(driver.run(theirs));
        let read = BytesMut::new();
        Self { stream, read }
    }

    /// The same with a session of its own.
    async fn open(server: &Server) -> Self {
        let mut raw = Self::begin(server, WEBSOCKET).await;
        let (first, open) = raw.hear().await;
        assert_eq!((first, open[0]), (TEXT, b'0'));
        raw
    }

    /// Sends a frame. The server may have had enough before its end.
    async fn say(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first, 0xff];
        frame.extend((payload.len() as u64).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(payload);
        let _ = self.stream.write_all(&frame).await;
    }

    /// The first byte and the payload of the next frame.
    async fn hear(&mut self) -> (u8, Vec<u8>) {
        let (first, second) = (self.take(1).await[0], self.take(1).await[0]);
        let len = match second {
            126 => self.take(2).await.get_u16().into(),
            127 => self.take(8).await.get_u64(),
            len => len.into(),
        };
        (first, self.take(len as usize).await.to_vec())
    }

    async fn take(&mut self, len: usize) -> BytesMut {
        while self.read.len() < len {
            let read = self.stream.read_buf(&mut self.read).await.unwrap();
            assert_ne!(read, 0, "the connection ended");
        }
        self.read.split_to(len)
    }

    /// The next frame, which must have been compressed: its first byte without the bit, the message, and how long it was.
    async fn hear_packed(&mut self) -> (u8, Vec<u8>, usize) {
        let (first, payload) = self.hear().await;
        assert_eq!(first & PACKED, PACKED, "not compressed");
        (first & !PACKED, unpacked(&payload), payload.len())
    }

    /// The code with which the server closes.
    async fn close_code(&mut self) -> u16 {
        let (first, code) = self.hear().await;
        assert_eq!(first, CLOSE, "{code:?}");
        u16::from_be_bytes(code.try_into().unwrap())
    }
}

fn packed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 1_024);
    Compress::new(Compression::best(), false)
        .compress_vec(message, &mut out, FlushCompress::Sync)
        .unwrap();
    out.strip_suffix(&[0, 0, 0xff, 0xff]).unwrap().to_vec()
}

fn unpacked(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * MAX_PAYLOAD);
    Decompress::new(false)
        .decompress_vec(
            &[payload, &[0, 0, 0xff, 0xff]].concat(),
            &mut out,
            FlushDecompress::Sync,
        )
        .unwrap();
    out
}

/// Bytes that cannot be made smaller.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[tokio::test]
async fn nothing_is_agreed_on_unless_both_want_it() {
    let on = deflating().build();
    let off = echo().build();
    let accepted = call(&on, offering(WEBSOCKET, OFFER)).await;
    assert_eq!(
        (accepted.status().as_u16(), agreed(&accepted)),
        (101, Some(AGREED))
    );
    for (server, request) in [
        (&off, offering(WEBSOCKET, OFFER)),
        (&on, websocket_request(WEBSOCKET)),
        (
            &on,
            offering(WEBSOCKET, "permessage-deflate; server_max_window_bits=9"),
        ),
        (&on, offering(WEBSOCKET, "x-webkit-deflate-frame, \"")),
    ] {
        let accepted = call(server, request).await;
        assert_eq!((accepted.status().as_u16(), agreed(&accepted)), (101, None));
    }
    // An answer that is no WebSocket says nothing of it.
    let refused = call(&on, offering("EIO=3&transport=websocket", OFFER)).await;
    assert_eq!((refused.status().as_u16(), agreed(&refused)), (400, None));
    // Whoever has agreed on nothing may not use it.
    let (server, mut leaving) = watched(deflating());
    let mut response = EngineIoService::new(server.clone())
        .oneshot(websocket_request(WEBSOCKET))
        .await
        .unwrap();
    let (stream, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(Driver::take(&mut response).unwrap().run(theirs));
    let read = BytesMut::new();
    let mut client = Raw { stream, read };
    client.hear().await;
    let long = [b"4", "x".repeat(2_000).as_bytes()].concat();
    client.say(TEXT, &long).await;
    assert_eq!(client.hear().await, (TEXT, long.clone()));
    client.say(TEXT | PACKED, &packed(&long)).await;
    assert_eq!(client.close_code().await, 1002);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportError));
}

#[tokio::test]
async fn an_extended_connect_agrees_on_it_too() {
    let mut request = offering(WEBSOCKET, OFFER);
    *request.method_mut() = Method::CONNECT;
    let protocol = hyper::ext::Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    let accepted = call(&deflating().build(), request).await;
    assert_eq!(
        (accepted.status().as_u16(), agreed(&accepted)),
        (200, Some(AGREED))
    );
}

#[tokio::test]
async fn messages_are_compressed_both_ways() {
    let server = deflating().build();
    let mut client = Raw::open(&server).await;
    let long = format!("4{}", "Grüße ".repeat(3_000));
    for text in ["4", "4hello", &long] {
        client.say(TEXT | PACKED, &packed(text.as_bytes())).await;
        if text.len() < 1_024 {
            assert_eq!(client.hear().await, (TEXT, text.into()));
        } else {
            let (first, echo, len) = client.hear_packed().await;
            assert_eq!((first, &*echo), (TEXT, text.as_bytes()));
            assert!(len < 200, "{len}");
        }
    }
    let mut bytes = b"0123456789".repeat(5_000);
    client.say(BINARY | PACKED, &packed(&bytes)).await;
    let (first, echo, _) = client.hear_packed().await;
    assert_eq!((first, echo), (BINARY, bytes.clone()));
    // As a client that compresses only what is worth it, and in pieces.
    client.say(BINARY, &bytes).await;
    assert_eq!(client.hear_packed().await.1, bytes);
    bytes.truncate(20_000);
    let whole = packed(&bytes);
    client.say(0x42, &whole[..10]).await;
    client.say(0x89, b"between").await;
    client.say(0x00, &whole[10..11]).await;
    client.say(0x80, &whole[11..]).await;
    assert_eq!(client.hear().await, (0x8a, b"between".to_vec()));
    assert_eq!(client.hear_packed().await.1, bytes);
    // What is as large as may be.
    let largest = [b"4", "x".repeat(MAX_PAYLOAD - 1).as_bytes()].concat();
    client.say(TEXT | PACKED, &packed(&largest)).await;
    assert_eq!(client.hear_packed().await.1, largest);
    let largest = noise(MAX_PAYLOAD);
    let grown = packed(&largest);
    assert!(grown.len() > MAX_PAYLOAD);
    client.say(BINARY | PACKED, &grown).await;
    assert_eq!(client.hear().await, (BINARY, largest));
}

#[tokio::test]
async fn only_what_is_large_and_becomes_smaller_is_compressed() {
    let server = deflating()
        .on_connect(|socket: Socket, _| async move {
            let plain = SendOptions::new().compress(false);
            socket.try_send("a".repeat(1_022)).unwrap();
            socket.try_send("b".repeat(1_023)).unwrap();
            socket.try_send(vec![b'c'; 1_023]).unwrap();
            socket.try_send(vec![b'd'; 1_024]).unwrap();
            socket.try_send(noise(5_000)).unwrap();
            socket.try_send("e".repeat(10_000)).unwrap();
            let kept = socket.send_with("f".repeat(10_000), plain).await;
            kept.unwrap();
            socket.try_send("the end").unwrap();
        })
        .build();
    let mut client = Raw::open(&server).await;
    let text = |letter: &str, len| [b"4", letter.repeat(len).as_bytes()].concat();
    // The type of the packet counts.
    assert_eq!(client.hear().await, (TEXT, text("a", 1_022)));
    assert_eq!(client.hear_packed().await.1, text("b", 1_023));
    assert_eq!(client.hear().await, (BINARY, vec![b'c'; 1_023]));
    assert_eq!(client.hear_packed().await.1, vec![b'd'; 1_024]);
    assert_eq!(client.hear().await, (BINARY, noise(5_000)));
    assert_eq!(client.hear_packed().await.1, text("e", 10_000));
    assert_eq!(client.hear().await, (TEXT, text("f", 10_000)));
    assert_eq!(client.hear().await, (TEXT, b"4the end".to_vec()));
}

#[tokio::test]
async fn everyone_gets_a_broadcast_as_it_was_agreed_on() {
    let server = deflating().build();
    let mut clients = [
        Raw::open(&server).await,
        Raw::open(&server).await,
        Raw::open(&server).await,
    ];
    let mut plain = crate::support::open_websocket(&server).await;
    for round in 0..10 {
        let news = format!("{round}: {}", "news ".repeat(1_000));
        assert_eq!(server.broadcast(news.clone()), 4);
        for client in &mut clients {
            let (first, heard, _) = client.hear_packed().await;
            assert_eq!((first, heard), (TEXT, format!("4{news}").into_bytes()));
        }
        assert_eq!(
            crate::support::receive_text(&mut plain).await,
            format!("4{news}")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_agrees_on_it_for_what_follows() {
    let server = deflating().build();
    let (sid, _) = open(&server).await;
    let waiting = parked(&server, &sid).await;
    let mut client = Raw::begin(&server, &upgrade_query(&sid)).await;
    client.say(TEXT | PACKED, &packed(b"2probe")).await;
    assert_eq!(client.hear().await, (TEXT, b"3probe".to_vec()));
    assert_eq!(crate::support::text(&waiting.await.unwrap()), "6");
    client.say(TEXT, b"5").await;
    let long = [b"4", "x".repeat(2_000).as_bytes()].concat();
    client.say(TEXT | PACKED, &packed(&long)).await;
    assert_eq!(client.hear_packed().await.1, long);
}

#[tokio::test]
async fn a_message_that_unpacks_to_too_much_ends_the_session() {
    let (server, mut leaving) = watched(deflating());
    let too_much = vec![b'4'; MAX_PAYLOAD + 1];
    let bomb = vec![0; 50_000_000];
    for message in [too_much, bomb] {
        let mut client = Raw::open(&server).await;
        client.say(BINARY | PACKED, &packed(&message)).await;
        assert_eq!(client.close_code().await, 1009);
        assert_eq!(
            leaving.recv().await,
            Some(DisconnectReason::PayloadTooLarge)
        );
    }
    // It is too much already as it comes.
    let mut client = Raw::open(&server).await;
    client.say(BINARY | PACKED, &noise(2 * MAX_PAYLOAD)).await;
    assert_eq!(client.close_code().await, 1009);
    assert_eq!(
        leaving.recv().await,
        Some(DisconnectReason::PayloadTooLarge)
    );
}

#[tokio::test]
async fn what_is_not_deflated_or_out_of_place_ends_the_session() {
    let (server, mut leaving) = watched(deflating());
    let whole = packed(&noise(2_000));
    for (first, payload, code) in [
        (TEXT | PACKED, &b"4hello"[..], 1007),
        (TEXT | PACKED, b"", 1007),
        (BINARY | PACKED, &whole[..1_000], 1007),
        (TEXT | PACKED, &packed(b"4\xff"), 1007),
        (0x89 | PACKED, b"", 1002),
        (CLOSE | PACKED, b"", 1002),
        (0x80 | PACKED, b"4", 1002),
        (0xe1, b"4", 1002),
        (0xa1, b"4", 1002),
    ] {
        let mut client = Raw::open(&server).await;
        client.say(first, payload).await;
        assert_eq!(client.close_code().await, code, "{first:x} {payload:?}");
        assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportError));
    }
    // A message that is none, after it was unpacked.
    let mut client = Raw::open(&server).await;
    client.say(TEXT | PACKED, &packed(b"")).await;
    assert_eq!(client.close_code().await, 1002);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::ParseError));
}

/// The outbox bounds a client that does not read, however small its messages become on the way.
#[tokio::test(start_paused = true)]
async fn nothing_is_compressed_for_a_client_that_takes_nothing() {
    let server = deflating().outbox_limit(100_000).build();
    let client = Raw::open(&server).await;
    let socket = server.sockets().remove(0);
    let mut sent = 0;
    while let Ok(sent_all) = tokio::time::timeout(
        Duration::from_secs(1),
        socket.send(Message::from(noise_text(50_000))),
    )
    .await
    {
        sent_all.unwrap();
        sent += 1;
        assert!(sent < 20, "a client that does not read takes everything");
    }
    // 64 KiB are in the pipe, 64 KiB and a message in the buffer, and two messages in the outbox.
    assert!(sent >= 4, "{sent}");
    drop(client);
}

/// Hexadecimal digits at random, of which half is left.
fn noise_text(len: usize) -> String {
    let digits = noise(len)
        .into_iter()
        .map(|byte| char::from_digit(u32::from(byte % 16), 16));
    digits.map(Option::unwrap).collect()
}

/// Frames of a batch that is read at once: the plain ones are passed on together, the others one by one, all in order.
#[tokio::test(start_paused = true)]
async fn compressed_and_plain_messages_keep_their_order() {
    let server = deflating().inbox_limit(5_000).build();
    let mut client = Raw::open(&server).await;
    for number in 0..300 {
        let text = format!("4{number}");
        if number % 3 == 0 {
            client.say(TEXT | PACKED, &packed(text.as_bytes())).await;
        } else if number % 7 == 0 {
            let long = format!("{text} {}", "x".repeat(1_500));
            client.say(TEXT | PACKED, &packed(long.as_bytes())).await;
        } else {
            client.say(TEXT, text.as_bytes()).await;
        }
    }
    for number in 0..300 {
        let (first, payload) = client.hear().await;
        let payload = match first & PACKED {
            0 => payload,
            _ => unpacked(&payload),
        };
        let text = String::from_utf8(payload).unwrap();
        assert_eq!(text.split(' ').next().unwrap(), format!("4{number}"));
    }
}

/// Late messages are not worth the time: unpacked they would be fifty megabytes.
#[tokio::test(start_paused = true)]
async fn what_comes_behind_the_close_is_not_unpacked() {
    let (server, mut leaving) = watched(deflating());
    let mut client = Raw::open(&server).await;
    client.say(TEXT, b"4kick").await;
    assert_eq!(client.hear().await, (TEXT, b"1".to_vec()));
    assert_eq!(client.close_code().await, 1000);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::Server));
    // Were it unpacked, it would be a fault, and the connection would end.
    client.say(TEXT | PACKED, b"nonsense").await;
    client.say(CLOSE, &1000_u16.to_be_bytes()).await;
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
}
