//! The meaning of a line of input.

use std::path::Path;

use engineio_client::Message;
use serde::de::IgnoredAny;

use super::MOST;
use crate::files;

/// The rules by which lines become messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    pub(super) is_binary: bool,
    pub(super) is_json: bool,
}

/// The meaning of a line that somebody typed.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    Send(Message),
    /// Nothing is sent, and this is shown.
    Remark(String),
    Quit,
}

const HELP: &str = "\
commands:
  :file PATH   send the content of a file as one binary message
  :hex BYTES   send bytes, written as hexadecimal digits
  :quit        close the session, as Ctrl-D does
  :help        print this list
  ::TEXT       send :TEXT";

impl Format {
    /// Returns the meaning of a line that was typed, where a colon begins a command.
    pub(super) fn typed(self, line: Vec<u8>) -> Line {
        match line.strip_prefix(b":") {
            Some(rest) if rest.starts_with(b":") => self.pasted(rest.to_vec()),
            Some(rest) => command(&String::from_utf8_lossy(rest)),
            None => self.pasted(line),
        }
    }

    /// Returns the meaning of a line of pasted text, where a colon is one.
    pub(super) fn pasted(self, line: Vec<u8>) -> Line {
        match self.message(line) {
            Ok(message) => Line::Send(message),
            Err(why) => Line::Remark(format!("not sent: {why}")),
        }
    }

    /// Returns the message that a line is, or why it is none.
    pub(super) fn message(self, line: Vec<u8>) -> Result<Message, String> {
        if self.is_json {
            let text = str::from_utf8(&line).map_err(|_| "it is not JSON: it is not UTF-8")?;
            // Of any depth: nothing is built of it.
            let json = serde_json::from_str::<IgnoredAny>(text);
            json.map_err(|error| format!("it is not JSON: {error}"))?;
        }
        if self.is_binary {
            return Ok(Message::from(line));
        }
        match String::from_utf8(line) {
            Ok(text) => Ok(Message::from(text)),
            Err(_) => Err("it is not UTF-8; use --binary".to_owned()),
        }
    }
}

fn command(text: &str) -> Line {
    let (name, argument) = text.split_once(' ').unwrap_or((text, ""));
    let argument = argument.trim();
    match (name, argument) {
        ("quit", "") => Line::Quit,
        ("help", "") => Line::Remark(HELP.to_owned()),
        ("file", path) if !path.is_empty() => match files::read(Path::new(path), MOST) {
            Ok(content) => Line::Send(Message::from(content)),
            Err(why) => Line::Remark(format!("not sent: {why}")),
        },
        ("hex", digits) if !digits.is_empty() => match bytes(digits) {
            Some(bytes) => Line::Send(Message::from(bytes)),
            None => Line::Remark("not sent: bytes are pairs of hexadecimal digits".to_owned()),
        },
        _ => Line::Remark(format!(
            "unknown command :{name}; :help lists the commands, and ::{name} sends this line"
        )),
    }
}

/// Reads pairs of hexadecimal digits, with or without spaces between them.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16))
        .collect();
    let (pairs, []) = digits.as_deref()?.as_chunks::<2>() else {
        return None;
    };
    Some(
        pairs
            .iter()
            .map(|[high, low]| (high * 16 + low) as u8)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Format = Format {
        is_binary: false,
        is_json: false,
    };

    fn remark(line: &[u8]) -> String {
        match TEXT.typed(line.to_vec()) {
            Line::Remark(remark) => remark,
            other => panic!("{other:?}"),
        }
    }

    fn sent(line: &[u8]) -> Message {
        match TEXT.typed(line.to_vec()) {
            Line::Send(message) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_line_is_a_message() {
        assert_eq!(sent(b"hello"), "hello".into());
        assert_eq!(sent(b""), "".into());
    }

    #[test]
    fn a_colon_begins_a_command_only_where_somebody_types() {
        assert_eq!(TEXT.message(b":quit".to_vec()), Ok(":quit".into()));
        assert_eq!(TEXT.message(b"::a".to_vec()), Ok("::a".into()));
        assert_eq!(TEXT.typed(b":quit".to_vec()), Line::Quit);
        assert_eq!(sent(b"::quit"), ":quit".into());
        assert!(remark(b":nonsense").contains("::nonsense"));
    }

    #[test]
    fn bytes_are_pairs_of_digits() {
        assert_eq!(sent(b":hex 00 fF1e"), vec![0, 255, 0x1e].into());
        assert!(remark(b":hex 0").contains("pairs"));
        assert!(remark(b":hex zz").contains("pairs"));
    }

    #[test]
    fn a_line_that_cannot_be_sent_says_why() {
        let json = Format {
            is_json: true,
            ..TEXT
        };
        assert!(json.message(b"{".to_vec()).unwrap_err().contains("JSON"));
        assert_eq!(json.message(b"{}".to_vec()), Ok("{}".into()));
        let error = json.message(b"\"\xff\"".to_vec()).unwrap_err();
        assert!(error.contains("it is not UTF-8"), "{error}");
        assert!(remark(b"\xff").contains("--binary"));
        assert!(remark(b":file /nowhere/at/all").contains("cannot read /nowhere"));
    }

    #[test]
    fn json_of_any_depth_is_sent() {
        let json = Format {
            is_json: true,
            ..TEXT
        };
        for depth in [128, 100_000] {
            let text = "[".repeat(depth) + &"]".repeat(depth);
            assert_eq!(json.message(text.clone().into()), Ok(text.into()));
        }
        assert!(json.message(vec![b'['; 100_000]).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_without_end_is_refused() {
        let error = files::read(Path::new("/dev/zero"), MOST).unwrap_err();
        assert!(error.contains("larger than"), "{error}");
    }
}
