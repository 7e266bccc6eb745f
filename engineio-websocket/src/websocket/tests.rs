//! Two WebSockets that talk to each other, and one over raw bytes.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use engineio_core::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{Received, Role, WRITE_BUFFER, WebSocket};
use crate::End;

const LIMIT: usize = 2_000_000;

fn pair(deflate: bool) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (near, far) = tokio::io::duplex(100_000);
    let near = WebSocket::new(near, Role::Client, LIMIT, deflate);
    (near, WebSocket::new(far, Role::Server, LIMIT, deflate))
}

/// Flushes one side while the other reads, until a frame or the end is there.
async fn carry(
    from: &mut WebSocket<DuplexStream>,
    to: &mut WebSocket<DuplexStream>,
) -> Result<Frame, End> {
    loop {
        let received = poll_fn(|cx| {
            let _ = from.poll_flush(cx)?;
            to.poll_read(cx).map(std::io::Result::Ok)
        });
        match received.await.unwrap() {
            Some(Received::Frame(frame)) => return Ok(frame),
            Some(Received::Closed(_)) => return Err(to.take_end().unwrap()),
            None => {}
        }
    }
}

#[tokio::test]
async fn messages_of_every_size_arrive_in_both_directions() {
    for deflate in [false, true] {
        let (mut client, mut server) = pair(deflate);
        for len in [
            0, 1, 125, 126, 16_383, 16_384, 65_535, 65_536, 100_001, 1_000_003,
        ] {
            let text = Frame::text("héllo, wörld; ".repeat(len / 16));
            let bytes: Vec<u8> = (0..len).map(|n| (n * n / 7) as u8).collect();
            for frame in [text, Frame::Binary(bytes.into())] {
                for to_server in [true, false] {
                    let (from, to) = match to_server {
                        true => (&mut client, &mut server),
                        false => (&mut server, &mut client),
                    };
                    match deflate {
                        false => from.write(frame.clone()),
                        true => from.write_compressed(frame.clone()),
                    }
                    let small = Frame::text("behind it");
                    from.write(small.clone());
                    assert_eq!(carry(from, to).await.unwrap(), frame, "{len}");
                    assert_eq!(carry(from, to).await.unwrap(), small, "{len}");
                }
            }
        }
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(server.poll_read(cx).is_pending());
        assert!(client.poll_read(cx).is_pending());
        assert_eq!(server.capacities(), (0, 0));
        assert_eq!(client.capacities(), (0, 0));
    }
}

#[tokio::test]
async fn a_client_masks_each_frame_with_another_key() {
    let (near, mut far) = tokio::io::duplex(1_000);
    let mut client = WebSocket::new(near, Role::Client, LIMIT, false);
    for _ in 0..2 {
        client.write(Frame::text("4hello"));
    }
    poll_fn(|cx| client.poll_flush(cx)).await.unwrap();
    let mut frames = [[0; 12]; 2];
    for frame in &mut frames {
        far.read_exact(frame).await.unwrap();
        let [first, second, key @ .., _, _, _, _, _, _] = *frame;
        assert_eq!((first, second), (0x81, 0x86));
        crate::mask::apply(&mut frame[6..], key);
        assert_eq!(&frame[6..], b"4hello");
    }
    assert_ne!(frames[0][2..6], frames[1][2..6]);
}

#[tokio::test]
async fn a_close_frame_is_answered_with_its_code_in_both_roles() {
    for server_first in [true, false] {
        let (client, server) = pair(false);
        let (mut first, mut second) = match server_first {
            true => (server, client),
            false => (client, server),
        };
        first.close(1001);
        let heard = carry(&mut first, &mut second).await.unwrap_err();
        let End::Close(Some(close)) = heard else {
            panic!("{heard:?}");
        };
        assert_eq!((close.code, &*close.reason), (1001, ""));
        second.write(Frame::text("too late"));
        let answer = carry(&mut second, &mut first).await.unwrap_err();
        assert!(matches!(answer, End::Close(Some(close)) if close.code == 1001));
    }
}

#[tokio::test]
async fn the_last_of_many_pings_is_answered() {
    let (near, mut far) = tokio::io::duplex(1_000);
    let mut client = WebSocket::new(near, Role::Client, LIMIT, false);
    far.write_all(b"\x89\x01a\x89\x01b").await.unwrap();
    let pong = poll_fn(|cx| {
        assert!(client.poll_read(cx).is_pending());
        client.poll_flush(cx)
    });
    pong.await.unwrap();
    let mut frame = [0; 7];
    far.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[..2], [0x8a, 0x81]);
    assert_eq!(frame[6] ^ frame[2], b'b');
}

#[tokio::test]
async fn a_bomb_is_refused_at_the_limit_in_both_roles() {
    for to_server in [true, false] {
        let (near, far) = tokio::io::duplex(100_000);
        let (role, other) = match to_server {
            true => (Role::Server, Role::Client),
            false => (Role::Client, Role::Server),
        };
        let mut from = WebSocket::new(near, other, LIMIT, true);
        let mut to = WebSocket::new(far, role, 100_000, true);
        from.write_compressed(Frame::Binary(vec![0; 100_001].into()));
        let refused = carry(&mut from, &mut to).await.unwrap_err();
        assert!(
            matches!(refused, End::Violation(crate::Violation::TooLarge)),
            "{refused:?}"
        );
        to.close(1000);
        let told = carry(&mut to, &mut from).await.unwrap_err();
        assert!(matches!(told, End::Close(Some(close)) if close.code == 1009));
    }
}

#[tokio::test]
async fn an_end_without_a_close_frame_is_told_from_one() {
    let (mut client, server) = pair(false);
    drop(server);
    let received = poll_fn(|cx| client.poll_read(cx)).await;
    assert!(matches!(received, Some(Received::Closed(_))));
    assert!(matches!(client.take_end(), Some(End::Eof)));
    assert!(client.take_end().is_none());
}

#[tokio::test]
async fn a_connection_that_never_takes_all_does_not_fill_memory() {
    for role in [Role::Server, Role::Client] {
        let (mut peer, io) = tokio::io::duplex(1000);
        let mut socket = WebSocket::new(io, role, 1000, false);
        let cx = &mut Context::from_waker(Waker::noop());
        let mut taken = [0; 900];
        for _ in 0..10_000 {
            // Each round is a new turn of the task, as in life; a turn may not go on for ever.
            tokio::task::yield_now().await;
            while socket.poll_room(cx).is_ready() {
                let frame = Frame::Binary(Bytes::from_static(&[0; 500]));
                socket.write(frame);
            }
            let _ = socket.poll_flush(cx);
            peer.read_exact(&mut taken).await.unwrap();
            let (_, capacity) = socket.capacities();
            assert!(capacity <= 4 * WRITE_BUFFER, "{capacity} bytes");
        }
    }
}

#[tokio::test]
async fn a_large_message_of_a_client_is_masked_piece_by_piece() {
    let (mut client, mut server) = pair(false);
    let cx = &mut Context::from_waker(Waker::noop());
    let frame = Frame::Binary(vec![7; LIMIT].into());
    client.write(frame.clone());
    assert!(client.poll_flush(cx).is_pending());
    let (_, capacity) = client.capacities();
    assert!(capacity <= 2 * WRITE_BUFFER, "{capacity} bytes");
    assert_eq!(carry(&mut client, &mut server).await.unwrap(), frame);
}

#[tokio::test]
async fn a_connection_that_waits_holds_the_beginning_of_a_frame_or_nothing() {
    let (mut peer, io) = tokio::io::duplex(1000);
    let mut socket = WebSocket::new(io, Role::Server, 1000, false);
    let cx = &mut Context::from_waker(Waker::noop());
    // A masked text frame, whole and then in two parts.
    let frame = [0x81, 0x82, 0, 0, 0, 0, b'4', b'a'];
    for (part, held) in [(&frame[..], 0), (&frame[..3], 3), (&frame[3..], 0)] {
        peer.write_all(part).await.unwrap();
        let received = socket.poll_read(cx);
        assert_eq!(received.is_ready(), held == 0);
        assert!(socket.poll_read(cx).is_pending());
        assert_eq!(socket.capacities(), (held, 0));
    }
}

#[tokio::test]
async fn early_bytes_are_parsed_before_anything_is_read() {
    let (_peer, io) = tokio::io::duplex(1000);
    let socket = WebSocket::new(io, Role::Client, 1000, false);
    let mut socket = socket.with_early(b"\x81\x022a\x81");
    let cx = &mut Context::from_waker(Waker::noop());
    let Poll::Ready(Some(Received::Frame(frame))) = socket.poll_read(cx) else {
        panic!("a frame");
    };
    assert_eq!(frame, Frame::text("2a"));
    assert!(socket.poll_read(cx).is_pending());
}

#[tokio::test]
async fn frames_without_a_message_are_read_a_few_at_a_time() {
    let ping: &[u8] = b"\x89\x00";
    let pong: &[u8] = b"\x8a\x00";
    let part: &[u8] = b"\x00\x00";
    for (first, frame) in [("", ping), ("", pong), ("\x01\x00", part)] {
        let (mut server, near) = tokio::io::duplex(1_000_000);
        let mut client = WebSocket::new(near, Role::Client, LIMIT, false);
        let frames = [first.as_bytes(), &frame.repeat(10_000), b"\x80\x00"].concat();
        let frames = match first {
            "" => [&frame.repeat(10_000), &b"\x81\x00"[..]].concat(),
            _ => frames,
        };
        server.write_all(&frames).await.unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut reads = 0;
        loop {
            match client.poll_read(&mut cx) {
                Poll::Ready(None) => reads += 1,
                Poll::Ready(Some(Received::Frame(frame))) => {
                    assert_eq!(frame, Frame::text(""));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(reads >= 10_000 / 256, "{reads}");
    }
}
