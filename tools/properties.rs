//! Properties: `key=value` arguments and Java property files.

use std::collections::BTreeMap;
use std::fs;

use crate::tools::cli::{Outcome, ToolError};

/// Keys and values; what comes later wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Reads a file, if one is named, and then `key=value` arguments. A key without a value is empty.
    pub(crate) fn read(file: Option<&str>, args: &[String]) -> Outcome<Self> {
        let mut all = match file {
            None => Self::default(),
            Some(path) => {
                let text = fs::read(path).map_err(|e| ToolError::Failed(format!("{path}: {e}")))?;
                Self::parse(&String::from_utf8_lossy(&text))
            }
        };
        all.add(args);
        Ok(all)
    }

    /// Adds `key=value` arguments.
    pub(crate) fn add(&mut self, args: &[String]) {
        for arg in args {
            let (key, value) = arg.split_once('=').unwrap_or((arg, ""));
            self.set(key, value);
        }
    }

    /// Adds others, which win.
    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Reads the text of a Java property file.
    pub(crate) fn parse(text: &str) -> Self {
        let mut all = BTreeMap::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let mut line = line.trim_start().to_owned();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            while line.chars().rev().take_while(|&c| c == '\\').count() % 2 == 1 {
                line.pop();
                let Some(next) = lines.next() else { break };
                line.push_str(next.trim_start());
            }
            let (key, value) = split_line(&line);
            all.insert(unescape(key), unescape(value));
        }
        Self(all)
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All of them, by key.
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0.into_iter().collect()
    }

    /// Sets a value.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.0.insert(key.to_owned(), value.to_owned());
    }

    /// Whether the value says true, as Kafka's readers and formatters take it.
    pub(crate) fn is_true(&self, key: &str) -> Option<bool> {
        self.get(key).map(|v| v.trim().eq_ignore_ascii_case("true"))
    }

    /// The value as a number.
    pub(crate) fn number<N: std::str::FromStr>(&self, key: &str) -> Outcome<Option<N>> {
        let Some(text) = self.get(key) else { return Ok(None) };
        let bad = |_| ToolError::Failed(format!("{key}={text} is not a number in its range"));
        text.trim().parse().map(Some).map_err(bad)
    }
}

/// Key and value of a logical line: apart by the first `=`, `:` or blank that is not escaped.
fn split_line(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        if !escaped && (c == '=' || c == ':' || c.is_ascii_whitespace()) {
            let rest = line[at..].trim_start();
            let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (&line[..at], rest.trim_start());
        }
        escaped = c == '\\' && !escaped;
    }
    (line, "")
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\x0c'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                out.push(code.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_file_reads_as_java_reads_it() {
        let text = "# comment\n! too\n a = b \nc:d\ne  f\nlong=one\\\n   two\nesc\\=aped=\\u0041\\t\nnone\n";
        let all = Properties::parse(text);
        let pairs: Vec<_> = all.0.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("a", "b "),
                ("c", "d"),
                ("e", "f"),
                ("esc=aped", "A\t"),
                ("long", "onetwo"),
                ("none", "")
            ]
        );
    }

    #[test]
    fn arguments_win_over_the_file_and_may_hold_equals_signs() {
        let args = ["k=v=w".to_owned(), "empty".to_owned(), "n=7".to_owned()];
        let all = Properties::read(None, &args).unwrap();
        assert_eq!(all.get("k"), Some("v=w"));
        assert_eq!(all.get("empty"), Some(""));
        assert_eq!(all.number::<i32>("n").unwrap(), Some(7));
        assert!(all.number::<i32>("k").is_err());
    }
}
