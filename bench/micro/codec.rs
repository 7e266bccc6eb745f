//! The codec of revision 4: packets of a payload and of frames.

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use engineio_core::codec::v4;
use engineio_core::{Frame, Message, Packet, Text};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [32, 4_096, 65_536];

fn text(size: usize) -> String {
    (0..size)
        .map(|at| char::from(b' ' + (at % 95) as u8))
        .collect()
}

fn payload(count: usize, size: usize) -> Vec<Packet> {
    (0..count)
        .map(|_| Packet::Message(Message::from(text(size))))
        .collect()
}

#[divan::bench(args = SIZES)]
fn decode_frame(bencher: Bencher<'_, '_>, size: usize) {
    let frame = Frame::text(format!("4{}", text(size)));
    bencher
        .counter(BytesCount::new(size))
        .with_inputs(|| frame.clone())
        .bench_values(|frame| v4::decode_frame(black_box(frame)));
}

#[divan::bench(args = SIZES)]
fn encode_frame(bencher: Bencher<'_, '_>, size: usize) {
    let packet = Packet::Message(Message::Text(Text::from(text(size))));
    bencher
        .counter(BytesCount::new(size))
        .with_inputs(|| packet.clone())
        .bench_values(|packet| v4::encode_frame(black_box(packet), false));
}

#[divan::bench(args = [1, 16, 256])]
fn decode_payload(bencher: Bencher<'_, '_>, count: usize) {
    let body = v4::encode_payload(&payload(count, 32));
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| body.clone())
        .bench_values(|body| {
            v4::decode_payload(black_box(body))
                .filter(Result::is_ok)
                .count()
        });
}

#[divan::bench(args = [1, 16, 256])]
fn encode_payload(bencher: Bencher<'_, '_>, count: usize) {
    let packets = payload(count, 32);
    bencher
        .counter(ItemsCount::new(count))
        .bench_local(|| v4::encode_payload(black_box(&packets)));
}

#[divan::bench(args = SIZES)]
fn binary_by_polling(bencher: Bencher<'_, '_>, size: usize) {
    let packets = [Packet::Message(Message::Binary(Bytes::from(vec![7; size])))];
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        let body = v4::encode_payload(black_box(&packets));
        v4::decode_payload(body).filter(Result::is_ok).count()
    });
}
