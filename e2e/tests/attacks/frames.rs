//! Frames that RFC 6455 forbids, or too many of those that it allows.

use engineio_e2e::app::MAX_PAYLOAD;
use engineio_e2e::frame::{self, Frame};
use engineio_e2e::puppet::Puppet;
use engineio_tower::DisconnectReason::{self, ParseError, PayloadTooLarge, TransportError};
use engineio_tower::{ServerBuilder, Sid};

use crate::siege::Siege;

/// The limit of a client's outbox in these tests.
const OUTBOX: usize = 50_000;

pub(crate) fn rules(builder: ServerBuilder) -> ServerBuilder {
    builder
        .outbox_limit(OUTBOX)
        .inbox_limit(OUTBOX)
        .websocket_compression_threshold(1_024)
}

/// The frames end the connection with this code, and the session with this reason.
async fn costs(siege: &mut Siege, what: &str, frames: &[u8], code: u16, reason: DisconnectReason) {
    let client = siege.websocket().await;
    costs_client(siege, client, what, frames, code, reason).await;
}

async fn costs_client(
    siege: &mut Siege,
    (sid, mut socket): (Sid, Puppet),
    what: &str,
    frames: &[u8],
    code: u16,
    reason: DisconnectReason,
) {
    // The connection may already be closed for what follows.
    socket.try_write(frames).await;
    assert_eq!(close_code(&mut socket).await, Some(code), "{what}");
    socket.try_write(frame::close(code)).await;
    socket.ended().await;
    assert_eq!(siege.ended(sid).await, reason, "{what}");
}

async fn close_code(socket: &mut Puppet) -> Option<u16> {
    loop {
        match socket.frame().await {
            Some(Frame::Close(code)) => return code,
            Some(_) => {}
            None => return None,
        }
    }
}

pub(crate) async fn forbidden(siege: &mut Siege) {
    let of = frame::of_head;
    let forbidden: [(&str, Vec<u8>); 16] = [
        ("without a mask", vec![0x81, 0x01, b'4']),
        ("first reserved bit", of(0xc1, b"4")),
        ("second reserved bit", of(0xa1, b"4")),
        ("third reserved bit", of(0x91, b"4")),
        ("reserved opcode", of(0x83, b"4")),
        ("reserved control opcode", of(0x8b, b"")),
        ("ping in fragments", of(0x09, b"")),
        ("pong in fragments", of(0x0a, b"")),
        ("close in fragments", of(0x08, b"")),
        ("large ping", of(0x89, &[0; 126])),
        ("large close", of(0x88, &[3; 300])),
        ("nothing to continue", of(0x80, b"4")),
        (
            "message in message",
            [of(0x01, b"4"), of(0x81, b"4")].concat(),
        ),
        ("half a close code", of(0x88, b"\x03")),
        ("a code that none may send", frame::close(1006)),
        ("a code that there is not", frame::close(65_535)),
    ];
    for (what, frames) in forbidden {
        costs(siege, what, &frames, 1002, TransportError).await;
    }
}

pub(crate) async fn not_utf8(siege: &mut Siege) {
    let of = frame::of_head;
    let broken = [
        of(0x81, b"4\xff"),
        of(0x81, b"4\xed\xa0\x80"),
        of(0x81, b"4\xc0\x80"),
        [of(0x01, b"4\xe2"), of(0x80, b"\x82")].concat(),
        of(0x88, b"\x03\xe8\xff"),
    ];
    for frames in broken {
        costs(siege, "not UTF-8", &frames, 1007, TransportError).await;
    }
}

pub(crate) async fn no_packets(siege: &mut Siege) {
    for text in ["", "x", "7", "9hello", "bA", "b@@@@"] {
        costs(siege, text, &frame::text(text), 1002, ParseError).await;
    }
    costs(siege, "2", &frame::text("2"), 1002, TransportError).await;
}

pub(crate) async fn too_large(siege: &mut Siege) {
    let of = frame::of_head;
    let ten_gigabytes = [0x82, 0xff, 0, 0, 0x02, 0x54, 0x0b, 0xe4, 0, 0, 0, 0, 0, 0];
    let all_there_is = [[0x82].as_slice(), &[0xff; 9], &[0; 4]].concat();
    let one_more = of(0x82, &vec![0; MAX_PAYLOAD + 1]);
    let mut fragments = of(0x01, b"4");
    for _ in 0..4 {
        fragments.extend(of(0x00, &vec![b'x'; MAX_PAYLOAD / 4]));
    }
    let sizes: [(&str, &[u8]); 4] = [
        ("10 GB announced", &ten_gigabytes),
        ("2⁶⁴ bytes announced", &all_there_is),
        ("a byte too many", &one_more),
        ("too many in fragments", &fragments),
    ];
    for (what, frames) in sizes {
        costs(siege, what, frames, 1009, PayloadTooLarge).await;
    }
}

/// Compressed messages that are none, or are more than they seem.
pub(crate) async fn compressed(siege: &mut Siege) {
    let of = frame::of_head;
    let bomb = frame::bomb(200);
    assert!(bomb.len() < MAX_PAYLOAD, "{}", bomb.len());
    let middle = bomb.len() / 2;
    let in_pieces = [of(0x42, &bomb[..middle]), of(0x80, &bomb[middle..])].concat();
    let endless = b"\x03\x00".repeat(MAX_PAYLOAD / 2);
    let broken: [(&str, Vec<u8>, u16, DisconnectReason); 8] = [
        ("a bomb", of(0xc2, &bomb), 1009, PayloadTooLarge),
        ("a bomb of text", of(0xc1, &bomb), 1009, PayloadTooLarge),
        ("a bomb in pieces", in_pieces, 1009, PayloadTooLarge),
        ("no deflate", of(0xc1, b"4hello"), 1007, TransportError),
        ("no end", of(0xc2, &bomb[..20]), 1007, TransportError),
        ("ends without end", of(0xc2, &endless), 1007, TransportError),
        (
            "not UTF-8",
            frame::packed(1, b"4\xff"),
            1007,
            TransportError,
        ),
        ("a ping", of(0xc9, b""), 1002, TransportError),
    ];
    for (what, frames, code, reason) in broken {
        let client = siege.deflating_websocket().await;
        costs_client(siege, client, what, &frames, code, reason).await;
    }
    // As much as may be, again and again, out of next to nothing.
    let largest = frame::packed(2, &vec![0; MAX_PAYLOAD]);
    let (_, mut socket) = siege.deflating_websocket().await;
    socket.write(largest.repeat(100)).await;
    for _ in 0..100 {
        let echo = socket.frame().await;
        assert!(matches!(echo, Some(Frame::PackedBinary(bytes, _)) if bytes.len() == MAX_PAYLOAD));
    }
}

/// Pings of a client that reads nothing: there is never more than one pong on its way to be written.
pub(crate) async fn pings(siege: &mut Siege) {
    const COUNT: u32 = 100_000;
    let (_, mut socket) = siege.websocket().await;
    // 13 MB, of which the answers would be more than the connection holds.
    for first in (0..COUNT).step_by(1000) {
        let mut frames = Vec::new();
        for number in first..first + 1000 {
            let mut data = [0; 125];
            data[..4].copy_from_slice(&number.to_be_bytes());
            frames.extend(frame::of_head(0x89, &data));
        }
        socket.write(frames).await;
    }
    socket.say("4still here").await;
    let mut last = None;
    let mut pongs = 0;
    loop {
        match socket.frame().await {
            Some(Frame::Pong(data)) => {
                let number = u32::from_be_bytes(*data.first_chunk().unwrap());
                assert!(last.is_none_or(|last| last < number), "{last:?}, {number}");
                last = Some(number);
                pongs += 1;
            }
            Some(Frame::Text(text)) => break assert_eq!(text, "4still here"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(last, Some(COUNT - 1), "the last ping has its answer");
    assert!(pongs <= COUNT);
}

/// Messages of no length, in one breath: every one comes back.
pub(crate) async fn tiny_messages(siege: &mut Siege) {
    const COUNT: usize = 20_000;
    let (sid, mut client) = siege.websocket().await;
    let socket = siege.site.socket(&sid).unwrap();
    let frames = frame::text("4").repeat(COUNT);
    let (mut reader, mut writer) = client.split();
    let read = async {
        for _ in 0..COUNT {
            assert_eq!(reader.frame().await, Some(Frame::Text("4".into())));
            assert!(socket.queued_bytes() <= OUTBOX, "{}", socket.queued_bytes());
        }
    };
    tokio::join!(writer.write(&frames), read);
}

/// Fragments of no length, which never make a message.
pub(crate) async fn endless_fragments(siege: &mut Siege) {
    let (_, mut socket) = siege.websocket().await;
    socket.write(frame::of_head(0x01, b"4still")).await;
    socket
        .write(frame::of_head(0x00, b"").repeat(100_000))
        .await;
    socket.write(frame::of_head(0x80, b" here")).await;
    assert_eq!(socket.hear().await, "4still here");
}
