//! Bytes as what the server reads on the stream of a WebTransport session. However they are split, the same packets come
//! out, none is empty or larger than allowed, and written again they arrive as the same.
#![no_main]

use std::task::{Context, Poll, Waker};

use engineio_core::codec::stream::Header;
use engineio_core::{DisconnectReason, Frame};
use engineio_fuzz::{Script, Wire};
use engineio_websocket::{PacketStream, Received};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    let max_payload = script.pick(&[1_000_000, 300, 10, 0]);
    let parts = [script.byte(), script.byte(), script.byte()];
    let bytes = script.rest();

    check_header(bytes, max_payload);
    let whole = read(bytes, &[], max_payload);
    let split = read(bytes, &parts, max_payload);
    assert_eq!(whole, split, "the split matters");
    check_round_trip(whole.frames, &parts, max_payload);
});

/// The packets of a stream, and the end that it came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    frames: Vec<Frame>,
    reason: DisconnectReason,
    end: String,
}

/// Checks that a header can be written as the same, in as many bytes or fewer.
fn check_header(bytes: &[u8], max_payload: usize) {
    let Ok(Some((header, len))) = Header::decode(bytes, max_payload) else {
        return;
    };
    assert!((1..=max_payload).contains(&header.len));
    let encoded = header.encode();
    let again = encoded.as_slice();
    assert!(again.len() <= len && len <= Header::MAX_LEN);
    assert_eq!(
        Header::decode(again, max_payload),
        Ok(Some((header, again.len())))
    );
}

/// Reads as the driver of a session does: all that is there, then the packets of the same read.
fn read(bytes: &[u8], parts: &[u8], max_payload: usize) -> Outcome {
    let mut wire = Wire::new(bytes, parts);
    let mut stream = PacketStream::new(&mut wire, max_payload);
    let mut frames = Vec::new();
    let cx = &mut Context::from_waker(Waker::noop());
    let mut idle = 0;
    let reason = 'read: loop {
        let mut next = match stream.poll_read(cx) {
            Poll::Ready(next) => next,
            Poll::Pending => None,
        };
        idle += usize::from(next.is_none());
        assert!(idle <= 2 * bytes.len() + 2, "reads without end");
        while let Some(received) = next {
            match received {
                Received::Frame(frame) => {
                    assert!((1..=max_payload).contains(&frame.as_bytes().len()));
                    frames.push(frame);
                }
                Received::Closed(reason) => break 'read reason,
            }
            next = stream.parse_plain();
        }
    };
    let end = stream.take_end().map(|end| end.to_string());
    assert!(wire.written.is_empty(), "a reader answers");
    Outcome {
        frames,
        reason,
        end: end.expect("an end has a cause"),
    }
}

/// Checks that the packets can be sent again, and arrive as the same.
fn check_round_trip(frames: Vec<Frame>, parts: &[u8], max_payload: usize) {
    let mut wire = Wire::new(&[], &[]);
    let mut stream = PacketStream::new(&mut wire, max_payload);
    let cx = &mut Context::from_waker(Waker::noop());
    for frame in &frames {
        stream.write(frame.clone());
        assert!(matches!(stream.poll_flush(cx), Poll::Ready(Ok(()))));
    }
    let again = read(&wire.written, parts, max_payload);
    assert_eq!(again.frames, frames);
    assert_eq!(again.reason, DisconnectReason::TransportClose);
}
