//! The properties of the packets of any payload.

use engineio_core::codec::{v3, v4};
use engineio_core::{DecodeError, Frame, Packet, Payload};

/// The packets up to the first error, which must be the last item and lie within the payload.
pub fn packets<I>(len: usize, decoded: I) -> Result<Vec<Packet>, Vec<Packet>>
where
    I: Iterator<Item = Result<Packet, DecodeError>>,
{
    let mut decoded = decoded;
    let mut packets = Vec::new();
    while let Some(packet) = decoded.next() {
        match packet {
            Ok(packet) => packets.push(packet),
            Err(error) => {
                assert!(error.offset() <= len);
                assert!(decoded.next().is_none(), "nothing follows an error");
                return Err(packets);
            }
        }
    }
    assert!(decoded.next().is_none(), "the end is the end");
    Ok(packets)
}

/// Every packet survives the way through a WebSocket, in both revisions and forms.
pub fn check_frames(packets: &[Packet]) {
    for packet in packets {
        for base64 in [false, true] {
            let frame = v4::encode_frame(packet.clone(), base64);
            assert_eq!(v4::decode_frame(frame).as_ref(), Ok(packet));
            let frame = v3::encode_frame(packet.clone(), base64);
            assert!(!base64 || matches!(frame, Frame::Text(_)));
            assert_eq!(v3::decode_frame(frame).as_ref(), Ok(packet));
        }
    }
}

/// Every list of packets survives the way through a payload of revision 3, whose size is known beforehand.
pub fn check_v3(packets: &[Packet]) {
    for base64 in [false, true] {
        let payload = v3::encode_payload(packets, base64);
        assert!(!base64 || !payload.binary);
        let len = if payload.binary {
            v3::encoded_len_binary
        } else {
            v3::encoded_len
        };
        if !packets.is_empty() {
            let size: usize = packets.iter().map(len).sum();
            assert_eq!(payload.body.len(), size);
        }
        check_v3_decoding(payload, packets);
    }
}

fn check_v3_decoding(payload: Payload, packets: &[Packet]) {
    let decoded: Result<Vec<_>, _> = v3::decode_payload(payload).collect();
    assert_eq!(decoded.as_deref(), Ok(packets));
}
