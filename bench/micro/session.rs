//! The session machine: what one message costs between the frame that brought it and the frame that answers it.

use std::sync::Arc;
use std::time::Instant;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use engineio_core::server::{Event, First, Input, Session};
use engineio_core::{Config, Frame, LinkId, Payload, Revision, Sid, Transport};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

fn new_session() -> Session {
    Session::new(
        Arc::new(Config::default()),
        Sid::from_random([7; 15]),
        Revision::V4,
        false,
    )
}

fn drain(session: &mut Session) {
    while let Some(output) = session.poll_output() {
        black_box(output);
    }
    black_box(session.poll_timeout());
}

fn websocket(now: Instant) -> (Session, LinkId) {
    let mut session = new_session();
    let id = session.next_link();
    session.handle_input(now, Input::Accepted(First::Link(id, Transport::WebSocket)));
    drain(&mut session);
    while session.take_frame(now, id).is_some() {}
    drain(&mut session);
    (session, id)
}

/// As the driver of a WebSocket does it, `batch` messages a wake.
#[divan::bench(args = [1, 16])]
fn websocket_echo(bencher: Bencher<'_, '_>, batch: usize) {
    let now = Instant::now();
    let (mut session, id) = websocket(now);
    let frame = Frame::text("4a message of some thirty bytes");
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        for _ in 0..batch {
            session.handle_input(now, Input::LinkFrame(id, frame.clone()));
            drain(&mut session);
        }
        while let Some(event) = session.take_event(|| now) {
            if let Event::Message(message) = event {
                assert!(session.send(message).is_ok());
            }
            drain(&mut session);
        }
        while let Some(frame) = session.take_frame(now, id) {
            black_box(frame);
            drain(&mut session);
        }
    });
}

/// A GET that waits, a POST with one message, its echo in the answer of the GET.
#[divan::bench]
fn polling_round_trip(bencher: Bencher<'_, '_>) {
    let now = Instant::now();
    let mut session = new_session();
    let first = session.next_exchange();
    session.handle_input(now, Input::Accepted(First::Polling(first)));
    drain(&mut session);
    assert!(session.take_payload(now, first).is_some());
    drain(&mut session);
    let body = bytes::Bytes::from_static(b"4a message of some thirty bytes");
    bencher.bench_local(|| {
        let (poll, post) = (session.next_exchange(), session.next_exchange());
        for input in [
            Input::PollOpened(poll),
            Input::PostOpened(post),
            Input::PostReceived(post, Payload::text(body.clone())),
        ] {
            session.handle_input(now, input);
            drain(&mut session);
        }
        while let Some(event) = session.take_event(|| now) {
            if let Event::Message(message) = event {
                assert!(session.send(message).is_ok());
            }
            drain(&mut session);
        }
        let answer = session.take_payload(now, poll);
        drain(&mut session);
        answer
    });
}

/// From the request to the open packet.
#[divan::bench]
fn handshake(bencher: Bencher<'_, '_>) {
    let now = Instant::now();
    let config = Arc::new(Config::default());
    bencher.bench_local(|| {
        let mut session = Session::new(
            Arc::clone(&config),
            Sid::from_random([7; 15]),
            Revision::V4,
            false,
        );
        let id = session.next_exchange();
        session.handle_input(now, Input::Accepted(First::Polling(id)));
        drain(&mut session);
        session.take_payload(now, id)
    });
}
