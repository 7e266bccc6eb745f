//! The meaning of a line of input.

use std::fs;

use engineio_client::Message;

/// The rules by which lines become messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    pub(super) is_binary: bool,
    pub(super) is_json: bool,
    /// Whether lines that begin with a colon are commands: only where somebody types.
    pub(super) has_commands: bool,
}

/// The meaning of one line.
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
    pub(super) fn parse(self, line: Vec<u8>) -> Line {
        match line.strip_prefix(b":") {
            Some(rest) if self.has_commands && !rest.starts_with(b":") => {
                command(&String::from_utf8_lossy(rest))
            }
            Some(rest) if self.has_commands => self.message(rest.to_vec()),
            _ => self.message(line),
        }
    }

    fn message(self, line: Vec<u8>) -> Line {
        if self.is_json
            && let Err(error) = serde_json::from_slice::<serde_json::Value>(&line)
        {
            return Line::Remark(format!("not sent, because it is not JSON: {error}"));
        }
        if self.is_binary {
            return Line::Send(Message::from(line));
        }
        match String::from_utf8(line) {
            Ok(text) => Line::Send(Message::from(text)),
            Err(_) => Line::Remark("not sent, because it is not UTF-8; use --binary".to_owned()),
        }
    }
}

fn command(text: &str) -> Line {
    let (name, argument) = text.split_once(' ').unwrap_or((text, ""));
    let argument = argument.trim();
    match (name, argument) {
        ("quit", "") => Line::Quit,
        ("help", "") => Line::Remark(HELP.to_owned()),
        ("file", path) if !path.is_empty() => match fs::read(path) {
            Ok(content) => Line::Send(Message::from(content)),
            Err(error) => Line::Remark(format!("not sent, because {path} cannot be read: {error}")),
        },
        ("hex", digits) if !digits.is_empty() => match bytes(digits) {
            Some(bytes) => Line::Send(Message::from(bytes)),
            None => {
                Line::Remark("not sent, because it is not pairs of hexadecimal digits".to_owned())
            }
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

    const TYPED: Format = Format {
        is_binary: false,
        is_json: false,
        has_commands: true,
    };

    fn remark(line: Line) -> String {
        match line {
            Line::Remark(remark) => remark,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_line_is_a_message() {
        assert_eq!(TYPED.parse(b"hello".to_vec()), Line::Send("hello".into()));
        assert_eq!(TYPED.parse(Vec::new()), Line::Send("".into()));
    }

    #[test]
    fn a_colon_begins_a_command_only_where_somebody_types() {
        let piped = Format {
            has_commands: false,
            ..TYPED
        };
        assert_eq!(piped.parse(b":quit".to_vec()), Line::Send(":quit".into()));
        assert_eq!(piped.parse(b"::a".to_vec()), Line::Send("::a".into()));
        assert_eq!(TYPED.parse(b":quit".to_vec()), Line::Quit);
        assert_eq!(TYPED.parse(b"::quit".to_vec()), Line::Send(":quit".into()));
        assert!(remark(TYPED.parse(b":nonsense".to_vec())).contains("::nonsense"));
    }

    #[test]
    fn bytes_are_pairs_of_digits() {
        let sent = TYPED.parse(b":hex 00 fF1e".to_vec());
        assert_eq!(sent, Line::Send(vec![0, 255, 0x1e].into()));
        assert!(remark(TYPED.parse(b":hex 0".to_vec())).contains("pairs"));
        assert!(remark(TYPED.parse(b":hex zz".to_vec())).contains("pairs"));
    }

    #[test]
    fn a_line_that_cannot_be_sent_says_why() {
        let json = Format {
            is_json: true,
            ..TYPED
        };
        assert!(remark(json.parse(b"{".to_vec())).contains("not JSON"));
        assert_eq!(json.parse(b"{}".to_vec()), Line::Send("{}".into()));
        assert!(remark(TYPED.parse(b"\xff".to_vec())).contains("--binary"));
        assert!(remark(TYPED.parse(b":file /nowhere/at/all".to_vec())).contains("cannot be read"));
    }
}
