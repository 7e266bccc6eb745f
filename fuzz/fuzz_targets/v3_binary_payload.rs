//! Bytes as a binary payload of revision 3, and as a binary frame.
#![no_main]

use engineio_core::codec::v3;
use engineio_core::{Frame, Payload};
use engineio_fuzz::{check_frames, check_v3, packets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let payload = Payload::binary(data.to_vec());
    let (Ok(mut packets) | Err(mut packets)) = packets(data.len(), v3::decode_payload(payload));
    packets.extend(v3::decode_frame(Frame::Binary(data.to_vec().into())));
    check_frames(&packets);
    check_v3(&packets);
});
