//! The secrets of a client, which must not get into an error or the log when a server repeats them.

use std::collections::HashSet;
use std::ops::Range;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use http::header::COOKIE;
use serde_json::{Deserializer, Map, Value};

/// The length in bytes of the shortest value that is removed. A shorter one is not a secret, and may be part of any word.
const MIN_LEN: usize = 4;

/// The length in bytes of the shortest part of a longer value that is removed: servers cite tokens cut short.
const MIN_PART: usize = 8;

/// The maximum number of bytes of a text that are shown.
const SHOWN: usize = 120;

/// Values that were sent to a server and that it may repeat: the session id, query parameters, tokens and cookies.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

/// Without the values.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl Secrets {
    fn add(&mut self, secret: &str) {
        if secret.len() >= MIN_LEN && !self.0.iter().any(|known| known == secret) {
            self.0.push(secret.to_owned());
        }
    }

    /// Adds the values of a query, except those of the protocol, both as they are and decoded.
    pub(crate) fn add_query(&mut self, query: &str) {
        let is_secret = |name: &str| name != "transport" && name != "EIO";
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if is_secret(&name) {
                self.add(&value);
            }
        }
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            if is_secret(name) {
                self.add(value);
            }
        }
    }

    pub(crate) fn add_sid(&mut self, sid: &str) {
        self.add(sid);
    }

    /// Adds the values of headers that are marked as secrets: the credentials behind a scheme, and each cookie of several.
    pub(crate) fn add_headers(&mut self, headers: &HeaderMap) {
        let secrets = headers.iter().filter(|(_, value)| value.is_sensitive());
        for (name, value) in secrets {
            let value = String::from_utf8_lossy(value.as_bytes());
            let is_cookie = name == COOKIE;
            for pair in value.split(|c| is_cookie && c == ';') {
                let start = if is_cookie { '=' } else { ' ' };
                let secret = pair.split_once(start).map_or(pair, |(_, secret)| secret);
                self.add(secret.trim());
                self.add(&password(pair).unwrap_or_default());
            }
        }
    }

    /// Returns a text without the secrets and without longer parts of them, whatever the case of their letters.
    pub(crate) fn redact(&self, text: &[u8]) -> String {
        let text = String::from_utf8_lossy(text);
        let secrets = self.0.iter().map(|secret| secret.to_ascii_lowercase());
        let secrets: Vec<String> = secrets.collect();
        // Not each with each, because both may be large.
        let parts = secrets.iter().flat_map(|secret| {
            let secret = secret.as_bytes();
            secret.windows(secret.len().min(MIN_PART))
        });
        let parts: HashSet<&[u8]> = parts.collect();
        let folded = text.to_ascii_lowercase();
        // Pages write characters as entities.
        let (plain, places) = without_entities(&folded);
        let mut is_hidden = vec![false; text.len()];
        for len in MIN_LEN..=MIN_PART {
            for (at, part) in plain.windows(len).enumerate() {
                if parts.contains(part) {
                    is_hidden[places[at].start..places[at + len - 1].end].fill(true);
                }
            }
        }
        let mut shown = String::with_capacity(text.len());
        let mut was_hidden = false;
        for (at, c) in text.char_indices() {
            let is_hidden = is_hidden[at..at + c.len_utf8()].contains(&true);
            match is_hidden {
                true if was_hidden => {}
                true => shown.push('…'),
                false => shown.push(c),
            }
            was_hidden = is_hidden;
        }
        shown
    }

    /// Returns the beginning of a text from the network in quotes, without the secrets and made safe for one line of a
    /// log: characters that control the terminal or the text direction are escaped.
    pub(crate) fn excerpt(&self, text: &[u8]) -> String {
        // Before it is cut, so that no part of a secret is left.
        let text = self.redact(text);
        let end = text.floor_char_boundary(SHOWN);
        let more = if end < text.len() { "…" } else { "" };
        format!("\"{}{more}\"", text[..end].escape_debug())
    }
}

/// Returns the bytes of a text in small letters with the entities of HTML decoded, and where each is in the text.
fn without_entities(text: &str) -> (Vec<u8>, Vec<Range<usize>>) {
    let (mut plain, mut places) = (
        Vec::with_capacity(text.len()),
        Vec::with_capacity(text.len()),
    );
    let mut at = 0;
    while let Some(&byte) = text.as_bytes().get(at) {
        let found = (byte == b'&').then(|| entity(&text[at + 1..])).flatten();
        match found {
            Some((c, len)) => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    plain.push(byte.to_ascii_lowercase());
                    places.push(at..at + 1 + len);
                }
                at += 1 + len;
            }
            None => {
                plain.push(byte);
                places.push(at..at + 1);
                at += 1;
            }
        }
    }
    (plain, places)
}

/// Reads an entity behind its `&`. Returns its character, and its length in bytes.
fn entity(text: &str) -> Option<(char, usize)> {
    const NAMES: [(&str, char); 10] = [
        ("amp", '&'),
        ("lt", '<'),
        ("gt", '>'),
        ("quot", '"'),
        ("apos", '\''),
        ("nbsp", '\u{a0}'),
        ("plus", '+'),
        ("sol", '/'),
        ("equals", '='),
        ("grave", '`'),
    ];
    let len = text.bytes().take(9).position(|byte| byte == b';')?;
    let name = &text[..len];
    let c = match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
        None => NAMES.iter().find(|(known, _)| *known == name)?.1,
    };
    Some((c, len + 1))
}

/// Returns the password of basic credentials.
fn password(credentials: &str) -> Option<String> {
    let decoded = STANDARD.decode(credentials.strip_prefix("Basic ")?).ok()?;
    let decoded = String::from_utf8_lossy(&decoded);
    Some(decoded.split_once(':')?.1.to_owned())
}

/// Returns the text of an answer without the id of a session, which the server may have opened even if the client cannot
/// use it.
///
/// Of the first JSON object only the values of the other known keys are kept. An id may hide behind an escaped or doubled
/// key, or be of a wrong type.
pub(crate) fn without_sid(answer: &[u8]) -> String {
    const SHOWN: [&str; 4] = ["upgrades", "pingInterval", "pingTimeout", "maxPayload"];
    let mut text = String::from_utf8_lossy(answer).into_owned();
    let start = text.find('{').unwrap_or(text.len());
    let mut objects = Deserializer::from_str(&text[start..]).into_iter::<Map<String, Value>>();
    let object = objects.next().and_then(Result::ok);
    if let Some(mut fields) = object {
        for (key, value) in &mut fields {
            if !SHOWN.contains(&key.as_str()) {
                *value = "…".into();
            }
        }
        text.truncate(start);
        text.push_str(&Value::from(fields).to_string());
    } else if text.starts_with('0') {
        text.truncate(1);
        text.push('…');
    } else if text[..start].ends_with('0') {
        // Revision 3 writes a length before the packet.
        text.truncate(start);
        text.push('…');
    }
    text
}

/// Returns the packets of a text without the content of messages, which may be of another client. Texts that are no packets
/// stay, except those that begin with the digit of a message.
pub(crate) fn without_messages(text: &str) -> String {
    let packets = text.split('\u{1e}').map(|packet| {
        // Revision 3 writes a length before the packet.
        let length = packet.split_once(':').map_or(0, |(length, _)| {
            let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            if is_number { length.len() + 1 } else { 0 }
        });
        let content = &packet[length..];
        let is_binary = |content: &str| STANDARD.decode(content).is_ok();
        match content.split_at_checked(1) {
            Some((kind @ "4", rest)) if !rest.is_empty() => format!("{}{kind}…", &packet[..length]),
            Some((kind @ "b", rest))
                if !rest.is_empty() && is_binary(rest.trim_start_matches('4')) =>
            {
                format!("{}{kind}…", &packet[..length])
            }
            _ => packet.to_owned(),
        }
    });
    packets.collect::<Vec<_>>().join("\u{1e}")
}

/// Returns whether a text looks like the open packet of a session, alone or in something else.
pub(crate) fn is_open_packet(text: &[u8]) -> bool {
    let start = text.iter().position(|&byte| byte == b'{');
    let before = text[..start.unwrap_or(0)].trim_ascii_end();
    before.ends_with(b"0") || text.starts_with(b"0")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn secrets() -> Secrets {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer t0ken+long"),
            ("cookie", "a=cookie1; b=cookie2"),
            ("x-key", "whole key"),
            ("proxy-authorization", "Basic dTpwYXNzd29yZA=="),
        ] {
            let mut value = HeaderValue::from_static(value);
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        headers.insert("user-agent", HeaderValue::from_static("text"));
        let mut secrets = Secrets::default();
        secrets.add_query("key=q%20x%2Fy&EIO=4&transport=polling&sid=longid&t=1");
        secrets.add_headers(&headers);
        secrets
    }

    #[test]
    fn a_text_does_not_show_what_the_request_carried() {
        let text = "polling of longid with q x/y, q%20x%2Fy, t0ken+long, cookie1, cookie2, password and key as text";
        assert_eq!(
            secrets().redact(text.as_bytes()),
            "polling of … with …, …, …, …, …, … and key as text"
        );
        assert_eq!(format!("{:?}", secrets()), "8 secrets");
    }

    #[test]
    fn a_part_of_a_secret_is_hidden_in_either_case() {
        let mut secrets = secrets();
        secrets.add("eyJhbGciOiJIUzI1NiJ9.e30.ücret");
        for (text, expected) in [
            (
                "token \"eyJhbGciOi…\" is invalid",
                "token \"……\" is invalid",
            ),
            ("…30.ücret, or 1NIJ9.E3", "……, or …"),
            ("EYJHBGCIOIJIUZI1NIJ9.E30.üCRET", "…"),
            ("T0KEN+LONG and COOKIE1", "… and …"),
            // Too little to be of use, and often a word.
            ("eyJhbGc t0ken cookie", "eyJhbGc t0ken cookie"),
            ("a ü", "a ü"),
        ] {
            assert_eq!(secrets.redact(text.as_bytes()), expected);
        }
    }

    #[test]
    fn an_excerpt_has_no_part_of_a_secret_and_no_character_that_deceives() {
        let text = format!("{}t0ken+long", "x".repeat(SHOWN - 3));
        let shown = secrets().excerpt(text.as_bytes());
        assert!(!shown.contains("t0"), "{shown}");
        let deceiving = "a\u{202e}b\u{2066}c\u{200b}\u{feff}\u{1b}[31m\r\n\u{85}\u{2028}\"\\é😀";
        let shown = secrets().excerpt(deceiving.as_bytes());
        assert_eq!(
            shown,
            r#""a\u{202e}b\u{2066}c\u{200b}\u{feff}\u{1b}[31m\r\n\u{85}\u{2028}\"\\é😀""#
        );
    }

    #[test]
    fn the_content_of_messages_is_not_shown() {
        for (text, shown) in [
            (
                "4hi\u{1e}0{}\u{1e}bAAAA\u{1e}2",
                "4…\u{1e}0{}\u{1e}b…\u{1e}2",
            ),
            ("3:4hi6:b4AAAA", "3:4…"),
            ("6:b4AAAA", "6:b…"),
            ("bad gateway", "bad gateway"),
            ("<p>4 of 5", "<p>4 of 5"),
            ("http://h/", "http://h/"),
            ("", ""),
        ] {
            assert_eq!(without_messages(text), shown, "{text}");
        }
    }

    #[test]
    fn a_secret_in_the_entities_of_a_page_is_removed() {
        let mut secrets = Secrets::default();
        secrets.add("a+b/c SECRET6=");
        for text in [
            "bad token a&#43;b&#47;c&#32;SECRET6&#61; é",
            "bad token a&#x2B;b&#x2f;c SECRET6&equals; é",
            "bad token A&plus;b&sol;c SECRET6= é",
        ] {
            assert_eq!(secrets.redact(text.as_bytes()), "bad token … é");
        }
        for text in ["&#xffffffff; & &; &#; &unknown; é&", "a & b"] {
            assert_eq!(secrets.redact(text.as_bytes()), text);
        }
    }
}
