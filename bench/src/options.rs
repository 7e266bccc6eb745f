//! The arguments of a command: words, and `--name value`.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};

/// The options that are not used yet.
#[derive(Debug)]
pub(crate) struct Options {
    words: std::vec::IntoIter<String>,
    named: BTreeMap<String, String>,
}

impl Options {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut words = Vec::new();
        let mut named = BTreeMap::new();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix("--") {
                Some(name) => {
                    let value = arguments
                        .next()
                        .with_context(|| format!("--{name} needs a value"))?;
                    named.insert(name.to_owned(), value);
                }
                None => words.push(argument),
            }
        }
        Ok(Self {
            words: words.into_iter(),
            named,
        })
    }

    /// The next word.
    pub(crate) fn word(&mut self) -> Option<String> {
        self.words.next()
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.named.remove(name)
    }

    /// The words of a list, separated by commas.
    pub(crate) fn list(&mut self, name: &str) -> Option<Vec<String>> {
        let list = self.text(name)?;
        Some(list.split(',').map(|word| word.trim().to_owned()).collect())
    }

    pub(crate) fn required<T: FromStr>(&mut self, name: &str) -> Result<T> {
        let value = self
            .text(name)
            .with_context(|| format!("--{name} is missing"))?;
        value
            .parse()
            .map_err(|_| anyhow!("--{name} {value} makes no sense"))
    }

    pub(crate) fn number<T: FromStr>(&mut self, name: &str, default: T) -> Result<T> {
        match self.named.contains_key(name) {
            true => self.required(name),
            false => Ok(default),
        }
    }

    /// Fails if something was given that nobody asked for.
    pub(crate) fn finish(mut self) -> Result<()> {
        if let Some(word) = self.words.next() {
            bail!("what is {word}?");
        }
        match self.named.into_keys().next() {
            Some(name) => bail!("unknown option --{name}"),
            None => Ok(()),
        }
    }
}
