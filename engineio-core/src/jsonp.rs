//! Polling by script elements and forms, for browsers without CORS: the payload of a poll is the argument of a function
//! call, and the payload of a POST is a form field.
//!
//! Only text can be sent this way. If a handshake carries `j`, the driver opens the session with base64, so that none
//! of its payloads is binary; the reference's client asks for this itself.

use bytes::{BufMut, Bytes, BytesMut};

/// Wraps a poll's payload as the argument of the client's callback: `___eio[<index>]("…");`.
///
/// The string is valid JSON, valid JavaScript of every edition, and safe inside HTML: quotes, backslashes, control
/// characters, U+2028, U+2029, `<`, `>` and `&` are escaped. Built in one buffer of the exact size.
///
/// ```
/// use engineio_core::jsonp;
///
/// assert_eq!(jsonp::wrap(12, "4a\u{1e}4\"b\""), r#"___eio[12]("4a\u001e4\"b\"");"#);
/// ```
#[must_use]
pub fn wrap(index: u32, payload: &str) -> Bytes {
    const HEAD: &[u8] = b"___eio[";
    const OPEN: &[u8] = b"](\"";
    const FOOT: &[u8] = b"\");";

    let index = index.to_string();
    let mut size = HEAD.len() + index.len() + OPEN.len() + FOOT.len();
    pieces(payload.as_bytes(), |piece| size += piece.len());
    let mut script = BytesMut::with_capacity(size);
    script.put_slice(HEAD);
    script.put_slice(index.as_bytes());
    script.put_slice(OPEN);
    pieces(payload.as_bytes(), |piece| script.put_slice(piece));
    script.put_slice(FOOT);
    script.freeze()
}

/// Hands over the string literal piece by piece: runs that stay as they are, and escapes.
fn pieces(mut text: &[u8], mut piece: impl FnMut(&[u8])) {
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let mut escape = *b"\\u0000";
        let (len, escape): (usize, &[u8]) = match rest {
            [b'"', ..] => (1, b"\\\""),
            [b'\\', ..] => (1, b"\\\\"),
            [b'\n', ..] => (1, b"\\n"),
            [b'\r', ..] => (1, b"\\r"),
            [b'\t', ..] => (1, b"\\t"),
            [byte @ (0x00..=0x1f | 0x7f | b'<' | b'>' | b'&'), ..] => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                escape[4] = HEX[usize::from(*byte >> 4)];
                escape[5] = HEX[usize::from(*byte & 0x0f)];
                (1, &escape)
            }
            // U+2028 and U+2029 end a line in JavaScript before ECMAScript 2019, even within a string.
            [0xe2, 0x80, 0xa8, ..] => (3, b"\\u2028"),
            [0xe2, 0x80, 0xa9, ..] => (3, b"\\u2029"),
            _ => {
                at += 1;
                continue;
            }
        };
        piece(&text[..at]);
        piece(escape);
        text = &rest[len..];
        at = 0;
    }
    piece(text);
}

/// Extracts the payload from a POST's form, which is the first field `d`. `None` if there is none; the reference
/// answers such a request with success, and so should the driver
/// ([`Input::PostWithoutPayload`](crate::server::Input::PostWithoutPayload)).
///
/// Form encoding is undone (`application/x-www-form-urlencoded`: a `%` that begins no escape stands for itself), and
/// after that the client's own escaping, which keeps browsers from turning line feeds into CR LF: `\n` is a line feed,
/// and of two or more backslashes before an `n` one is taken away. Whether the result is UTF-8 is checked when it is
/// decoded.
///
/// ```
/// use engineio_core::jsonp;
///
/// assert_eq!(jsonp::unwrap(br"d=4a%5Cnb%5C%5Cnc").unwrap(), "4a\nb\\nc");
/// assert_eq!(jsonp::unwrap(b"x=1"), None);
/// ```
#[must_use]
pub fn unwrap(form: &[u8]) -> Option<Bytes> {
    let value = form.split(|&byte| byte == b'&').find_map(|field| {
        let name_len = field.iter().position(|&byte| byte == b'=');
        let (name, value) = match name_len {
            Some(at) => (&field[..at], &field[at + 1..]),
            None => (field, &[][..]),
        };
        let is_payload = matches!(name, b"d" | b"%64");
        is_payload.then_some(value)
    })?;
    let mut data = decode_form(value);
    unescape_line_feeds(&mut data);
    // Percent-encoding takes three bytes for one, and messages can keep the buffer for long.
    data.shrink_to_fit();
    Some(data.into())
}

/// Undoes form encoding, byte for byte.
fn decode_form(value: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, behind @ ..] = rest {
        rest = behind;
        data.push(match *first {
            b'+' => b' ',
            b'%' => match *behind {
                [high, low, ref behind @ ..] => match (hex(high), hex(low)) {
                    (Some(high), Some(low)) => {
                        rest = behind;
                        high << 4 | low
                    }
                    _ => b'%',
                },
                _ => b'%',
            },
            byte => byte,
        });
    }
    data
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Undoes the client's escaping in place: the result is never longer.
///
/// A run of backslashes before an `n` loses one, and if it was the only one, the `n` is a line feed. That is what the
/// reference's two replacements come to.
fn unescape_line_feeds(data: &mut Vec<u8>) {
    let mut backslashes = 0_usize;
    let mut end = 0;
    for at in 0..data.len() {
        let mut byte = data[at];
        if byte == b'n' && backslashes > 0 {
            end -= 1;
            if backslashes == 1 {
                byte = b'\n';
            }
        }
        backslashes = if byte == b'\\' { backslashes + 1 } else { 0 };
        data[end] = byte;
        end += 1;
    }
    data.truncate(end);
}
