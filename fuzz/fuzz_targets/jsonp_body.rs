//! Bytes as a form, and text through a form and through a script.
#![no_main]

use engineio_core::jsonp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(payload) = jsonp::unwrap(data) {
        assert!(payload.len() <= data.len());
    }
    let Ok(payload) = std::str::from_utf8(data) else {
        return;
    };
    // The official client writes a backslash before a line feed as it writes a backslash before an `n`.
    if !payload.contains("\\\n") {
        let unwrapped = jsonp::unwrap(form(payload).as_bytes());
        assert_eq!(unwrapped.as_deref(), Some(payload.as_bytes()));
    }

    let script = jsonp::wrap(7, payload);
    let literal = script
        .strip_prefix(b"___eio[7](")
        .and_then(|rest| rest.strip_suffix(b");"))
        .expect("a call");
    let literal = std::str::from_utf8(literal).expect("a script is text");
    let ends_early = |char: char| char.is_ascii_control() || "<>&\u{2028}\u{2029}".contains(char);
    assert!(!literal.contains(ends_early));
    assert_eq!(
        serde_json::from_str::<String>(literal).as_deref().ok(),
        Some(payload)
    );
});

/// Encodes a payload as the official client puts it into its form: line feeds and `\n` escaped, then form encoding.
fn form(payload: &str) -> String {
    let escaped = payload.replace("\\n", "\\\n").replace('\n', "\\n");
    form_urlencoded::Serializer::new(String::new())
        .append_pair("d", &escaped)
        .finish()
}
