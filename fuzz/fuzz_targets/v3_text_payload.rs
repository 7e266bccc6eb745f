//! Bytes as a text payload of revision 3.
#![no_main]

use engineio_core::Payload;
use engineio_core::codec::v3;
use engineio_fuzz::{check_frames, check_v3, packets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let payload = Payload::text(data.to_vec());
    let (Ok(packets) | Err(packets)) = packets(data.len(), v3::decode_payload(payload));
    check_frames(&packets);
    check_v3(&packets);
});
