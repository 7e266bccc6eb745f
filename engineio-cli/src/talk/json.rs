//! JSON on the screen.

use serde::de::IgnoredAny;

/// The depth from which JSON is not indented. The space before the values of a message would grow with the square of its depth.
const DEEPEST: usize = 128;

/// Returns a JSON text with one value to a line, or `None` if it is not JSON, or too deep. All but the space between the values stays as
/// it is: the order of keys, and numbers that no type holds.
pub(super) fn indented(json: &str) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(json).ok()?;
    let mut lines = String::with_capacity(2 * json.len());
    let mut depth = 0;
    let (mut is_text, mut is_escaped) = (false, false);
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if is_text {
            lines.push(c);
            is_text = c != '"' || is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            continue;
        }
        match c {
            '{' | '[' => {
                lines.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    lines.push(end);
                } else {
                    depth += 1;
                    if depth > DEEPEST {
                        return None;
                    }
                    next_line(&mut lines, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                next_line(&mut lines, depth);
                lines.push(c);
            }
            ',' => {
                lines.push(c);
                next_line(&mut lines, depth);
            }
            ':' => lines.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => {
                lines.push(c);
                is_text = c == '"';
            }
        }
    }
    Some(lines)
}

fn next_line(lines: &mut String, depth: usize) {
    lines.push('\n');
    lines.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_otherwise_left_as_it_is() {
        for (json, expected) in [
            (
                r#"{"b":1.10,"a":123456789012345678901234567890,"b":[]}"#,
                "{\n  \"b\": 1.10,\n  \"a\": 123456789012345678901234567890,\n  \"b\": []\n}",
            ),
            (
                r#" [ { } , [ 1 , -2e+9 ] , "a, \"{\\" , null ] "#,
                "[\n  {},\n  [\n    1,\n    -2e+9\n  ],\n  \"a, \\\"{\\\\\",\n  null\n]",
            ),
            (r#""\u00e9 ü""#, r#""\u00e9 ü""#),
            ("-0", "-0"),
        ] {
            assert_eq!(indented(json).as_deref(), Some(expected));
        }
        let nested = |depth| "[".repeat(depth) + "0" + &"]".repeat(depth);
        assert!(indented(&nested(DEEPEST)).is_some());
        assert_eq!(indented(&nested(DEEPEST + 1)), None);
        assert_eq!(indented(&nested(1_000_000)), None);
        for json in ["", "{", "[1,]", "1 2", "\"\n\"", "nul"] {
            assert_eq!(indented(json), None);
        }
    }
}
