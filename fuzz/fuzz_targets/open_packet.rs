//! Bytes as the JSON of an open packet.
#![no_main]

use engineio_core::Handshake;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(handshake) = Handshake::from_json(data) {
        let again = Handshake::from_json(&handshake.to_json());
        assert_eq!(again.ok(), Some(handshake));
    }
});
