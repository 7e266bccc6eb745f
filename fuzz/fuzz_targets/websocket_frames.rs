//! Bytes as what a WebSocket reads, in either role. However they are split, the same messages come out, none is larger
//! than allowed, and the peer can read the answers.
#![no_main]

use std::task::{Context, Poll, Waker};

use engineio_core::{DisconnectReason, Frame};
use engineio_fuzz::{Script, Wire};
use engineio_websocket::{End, Received, Role, WebSocket};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    let role = script.pick(&[Role::Server, Role::Client]);
    let setup = Setup {
        role,
        deflate: script.byte() & 1 == 1,
        max_payload: script.pick(&[1_000_000, 300, 10, 0]),
    };
    let parts = [script.byte(), script.byte(), script.byte()];
    let bytes = script.rest();

    let whole = setup.read(bytes, &[]);
    let split = setup.read(bytes, &parts);
    assert_eq!(whole.outcome, split.outcome, "the split matters");
    for reading in [&whole, &split] {
        // A pong repeats the data of a ping behind a head, which in frames of a client has a mask.
        let most = 3 * bytes.len() + 8;
        assert!(reading.written.len() <= most, "more answers than questions");
        setup.check_answers(&reading.written);
    }
    setup.check_round_trip(whole.outcome.frames, &parts);
});

#[derive(Clone, Copy)]
struct Setup {
    role: Role,
    deflate: bool,
    max_payload: usize,
}

/// The messages of a stream, and the end that it came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    frames: Vec<Frame>,
    reason: DisconnectReason,
    end: String,
}

struct Reading {
    outcome: Outcome,
    written: Vec<u8>,
}

impl Setup {
    const fn peer(self) -> Self {
        Self {
            role: match self.role {
                Role::Server => Role::Client,
                Role::Client => Role::Server,
            },
            ..self
        }
    }

    /// Reads as the driver of a session does: all that is there, then the plain frames of the same read.
    fn read(self, bytes: &[u8], parts: &[u8]) -> Reading {
        let mut wire = Wire::new(bytes, parts);
        let mut socket = WebSocket::new(&mut wire, self.role, self.max_payload, self.deflate);
        let mut frames = Vec::new();
        let cx = &mut Context::from_waker(Waker::noop());
        let mut idle = 0;
        let reason = 'read: loop {
            let mut next = match socket.poll_read(cx) {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    flush(&mut socket);
                    None
                }
            };
            idle += usize::from(next.is_none());
            assert!(idle <= 2 * bytes.len() + 2, "reads without end");
            while let Some(received) = next {
                match received {
                    Received::Frame(frame) => {
                        assert!(frame.as_bytes().len() <= self.max_payload);
                        frames.push(frame);
                    }
                    Received::Closed(reason) => break 'read reason,
                }
                next = socket.parse_plain();
            }
        };
        let end = socket.take_end().map(|end| end.to_string());
        socket.close(1000);
        flush(&mut socket);
        Reading {
            outcome: Outcome {
                frames,
                reason,
                end: end.expect("an end has a cause"),
            },
            written: wire.written,
        }
    }

    /// Checks that the answers are pongs, and a close frame that nothing follows.
    fn check_answers(self, written: &[u8]) {
        let mut wire = Wire::new(written, &[]);
        let role = self.peer().role;
        let mut socket = WebSocket::new(&mut wire, role, 0, false);
        let cx = &mut Context::from_waker(Waker::noop());
        loop {
            match socket.poll_read(cx) {
                Poll::Ready(None) => {}
                Poll::Ready(Some(Received::Closed(_))) => break,
                other => panic!("{other:?} out of answers"),
            }
        }
        let end = socket.take_end();
        assert!(matches!(end, Some(End::Close(_))), "{end:?}");
    }

    /// Checks that the messages can be sent again, and arrive as the same.
    fn check_round_trip(self, frames: Vec<Frame>, parts: &[u8]) {
        let Self {
            role,
            max_payload,
            deflate,
        } = self.peer();
        let mut wire = Wire::new(&[], &[]);
        let mut socket = WebSocket::new(&mut wire, role, max_payload, deflate);
        for frame in &frames {
            match deflate {
                true => socket.write_compressed(frame.clone()),
                false => socket.write(frame.clone()),
            }
            flush(&mut socket);
        }
        let again = self.read(&wire.written, parts);
        assert_eq!(again.outcome.frames, frames);
        assert_eq!(again.outcome.reason, DisconnectReason::TransportClose);
    }
}

fn flush(socket: &mut WebSocket<&mut Wire<'_>>) {
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(matches!(socket.poll_flush(cx), Poll::Ready(Ok(()))));
}
