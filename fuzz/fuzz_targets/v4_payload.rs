//! Bytes as a payload of revision 4, and what is decoded through every other form.
#![no_main]

use bytes::Bytes;
use engineio_core::codec::v4;
use engineio_core::{Frame, Packet};
use engineio_fuzz::{check_frames, check_v3, packets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    let decoded = packets(data.len(), v4::decode_payload(body));
    if let Ok(packets) = &decoded {
        assert!(!packets.is_empty(), "an empty payload is an error");
        let encoded = v4::encode_payload(packets);
        let size: usize = packets
            .iter()
            .map(|packet| v4::encoded_len(packet) + 1)
            .sum();
        assert_eq!(encoded.len(), size - 1);
        let again: Result<Vec<Packet>, _> = v4::decode_payload(encoded).collect();
        assert_eq!(again.as_ref(), Ok(packets));
    }
    // A payload without a separator is a frame.
    if let Ok(text) = std::str::from_utf8(data)
        && !data.contains(&v4::SEPARATOR)
    {
        let frame = v4::decode_frame(Frame::text(text.to_owned())).ok();
        assert_eq!(
            frame.as_ref(),
            decoded.as_deref().ok().and_then(<[_]>::first)
        );
    }
    let (Ok(packets) | Err(packets)) = decoded;
    check_frames(&packets);
    check_v3(&packets);
});
