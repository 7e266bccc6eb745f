//! The fenced code blocks of a Markdown text.

/// A fenced code block.
#[derive(Debug, PartialEq)]
pub(crate) struct Fence<'a> {
    /// The number of its opening line.
    pub(crate) line: usize,
    /// The info string after the backticks: `rust,no_run`.
    pub(crate) info: &'a str,
    /// The content.
    pub(crate) text: &'a str,
}

impl<'a> Fence<'a> {
    /// The language: `rust` of `rust,no_run`.
    pub(crate) fn language(&self) -> &'a str {
        self.info.split([',', ' ']).next().unwrap_or_default()
    }

    /// Returns whether it is a complete Rust program.
    pub(crate) fn is_program(&self) -> bool {
        // Rocket has an attribute that writes `main`.
        let has_main = self.text.contains("fn main()") || self.text.contains("#[rocket::launch]");
        self.language() == "rust" && has_main
    }
}

/// Returns the blocks of a text in order.
pub(crate) fn fences(text: &str) -> Vec<Fence<'_>> {
    let mut found = Vec::new();
    let mut open: Option<(usize, &str, usize)> = None;
    let mut at = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let end = at + line.len();
        if let Some(info) = line.strip_prefix("```") {
            match open.take() {
                None => open = Some((index + 1, info.trim(), end)),
                Some((line, info, start)) => found.push(Fence {
                    line,
                    info,
                    text: &text[start..at],
                }),
            }
        }
        at = end;
    }
    found
}

/// Returns the content of the blocks in one language.
pub(crate) fn of_language<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let found = fences(text).into_iter();
    let found = found.filter(|fence| fence.language() == language);
    found.map(|fence| fence.text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Text.\n\n```rust,no_run\nfn main() {\n}\n```\n\n```sh\nls\n```\n`x`\n";

    #[test]
    fn fences_are_found_with_their_language_and_line() {
        let found = fences(TEXT);
        let seen: Vec<_> = found
            .iter()
            .map(|fence| (fence.line, fence.language(), fence.text))
            .collect();
        assert_eq!(seen, [(3, "rust", "fn main() {\n}\n"), (8, "sh", "ls\n")]);
        assert!(found[0].is_program());
        assert_eq!(of_language(TEXT, "sh"), ["ls\n"]);
    }

    #[test]
    fn a_text_without_fences_has_none() {
        assert_eq!(fences("Only `words`.\n"), []);
    }
}
