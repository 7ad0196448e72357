//! Lines into records: `[headers TAB] [key TAB] value`, each part where the properties ask for it.
//!
//! Bytes pass through as they are; separators are compared as UTF-8.

use klamm::wire::record::RecordHeader;

use crate::tools::cli::{Outcome, ToolError};
use crate::tools::properties::Properties;

/// How a line is taken apart.
#[derive(Debug)]
pub(super) struct LineReader {
    parse_key: bool,
    parse_headers: bool,
    ignore_error: bool,
    key_separator: Vec<u8>,
    headers_delimiter: Vec<u8>,
    headers_separator: Vec<u8>,
    headers_key_separator: Vec<u8>,
    null_marker: Option<Vec<u8>>,
    line_number: u64,
}

/// A line taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Vec<RecordHeader<'a>>,
}

impl LineReader {
    /// Reads the properties.
    pub(super) fn new(properties: &Properties) -> Outcome<Self> {
        let text = |key: &str, default: &str| properties.get(key).unwrap_or(default).to_owned();
        let key_separator = text("key.separator", "\t");
        let headers_delimiter = text("headers.delimiter", "\t");
        let headers_separator = text("headers.separator", ",");
        let headers_key_separator = text("headers.key.separator", ":");
        let null_marker = properties.get("null.marker").map(str::to_owned);
        let named = [
            ("headers.delimiter", Some(&headers_delimiter)),
            ("headers.separator", Some(&headers_separator)),
            ("headers.key.separator", Some(&headers_key_separator)),
            ("null.marker", null_marker.as_ref()),
            ("key.separator", Some(&key_separator)),
        ];
        for (at, (name, value)) in named.iter().enumerate() {
            // The key's separator may be that of the headers: the two come one after the other.
            let others = if *name == "null.marker" { &named[..] } else { &named[at..4] };
            for (other, other_value) in others {
                if name != other && value.is_some() && value == other_value {
                    let text = format!("{name} and {other} may not be equal");
                    return Err(ToolError::Failed(text));
                }
            }
        }
        let separators = [&key_separator, &headers_delimiter, &headers_separator];
        if separators.into_iter().chain([&headers_key_separator]).any(String::is_empty) {
            return Err(ToolError::Failed("a separator may not be empty".to_owned()));
        }
        Ok(Self {
            parse_key: properties.is_true("parse.key").unwrap_or(false),
            parse_headers: properties.is_true("parse.headers").unwrap_or(false),
            ignore_error: properties.is_true("ignore.error").unwrap_or(false),
            key_separator: key_separator.into_bytes(),
            headers_delimiter: headers_delimiter.into_bytes(),
            headers_separator: headers_separator.into_bytes(),
            headers_key_separator: headers_key_separator.into_bytes(),
            null_marker: null_marker.map(String::into_bytes),
            line_number: 0,
        })
    }

    /// Takes the next line apart; `line` is without its end.
    pub(super) fn read<'a>(&mut self, line: &'a [u8]) -> Outcome<Line<'a>> {
        self.line_number += 1;
        let mut rest = line;
        let mut headers = None;
        if self.parse_headers {
            headers = self.part(&mut rest, line, &self.headers_delimiter, "headers delimiter")?;
        }
        let mut key = None;
        if self.parse_key {
            key = self.part(&mut rest, line, &self.key_separator, "key separator")?;
        }
        let headers = match headers.and_then(|h| self.or_null(h)) {
            Some(headers) => self.headers(headers)?,
            None => Vec::new(),
        };
        Ok(Line { key: key.and_then(|k| self.or_null(k)), value: self.or_null(rest), headers })
    }

    /// The last line was not taken and will come again.
    pub(super) fn unread(&mut self) {
        self.line_number -= 1;
    }

    /// What comes before `separator`, taken off `rest`.
    fn part<'a>(
        &self,
        rest: &mut &'a [u8],
        line: &[u8],
        separator: &[u8],
        name: &str,
    ) -> Outcome<Option<&'a [u8]>> {
        match split_once(rest, separator) {
            Some((part, tail)) => {
                *rest = tail;
                Ok(Some(part))
            }
            None if self.ignore_error => Ok(None),
            None => Err(ToolError::Failed(format!(
                "org.apache.kafka.common.KafkaException: No {name} found on line number {}: '{}'",
                self.line_number,
                String::from_utf8_lossy(line)
            ))),
        }
    }

    fn headers<'a>(&self, text: &'a [u8]) -> Outcome<Vec<RecordHeader<'a>>> {
        let mut headers = Vec::new();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let (pair, tail) = match split_once(text, &self.headers_separator) {
                Some((pair, tail)) => (pair, Some(tail)),
                None => (text, None),
            };
            rest = tail;
            let (key, value) = match split_once(pair, &self.headers_key_separator) {
                Some((key, value)) => (key, self.or_null(value)),
                None if self.ignore_error => (pair, None),
                None => return Err(self.bad_pair("No header key separator found in pair", pair)),
            };
            if self.null_marker.as_deref() == Some(key) {
                return Err(self.bad_pair("A header key is the null marker in pair", pair));
            }
            let key = std::str::from_utf8(key)
                .map_err(|_| self.bad_pair("A header key is not UTF-8 in pair", pair))?;
            headers.push((key, value));
        }
        Ok(headers)
    }

    fn bad_pair(&self, what: &str, pair: &[u8]) -> ToolError {
        ToolError::Failed(format!(
            "org.apache.kafka.common.KafkaException: {what} '{}' on line number {}",
            String::from_utf8_lossy(pair),
            self.line_number
        ))
    }

    fn or_null<'a>(&self, part: &'a [u8]) -> Option<&'a [u8]> {
        (self.null_marker.as_deref() != Some(part)).then_some(part)
    }
}

fn split_once<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(separator.len()).position(|w| w == separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// One line each, `properties` separated by blanks; what is read of it.
    #[track_caller]
    fn check(properties: &str, lines: &[&str], expect: &Expect) {
        let args: Vec<_> = properties.split_whitespace().map(str::to_owned).collect();
        let text = |part: Option<&[u8]>| {
            part.map_or("null".to_owned(), |p| format!("{:?}", String::from_utf8_lossy(p)))
        };
        let mut reader = match LineReader::new(&Properties::read(None, &args).unwrap()) {
            Ok(reader) => reader,
            Err(ToolError::Failed(what)) => return expect.assert_eq(&what),
            Err(other) => panic!("{other:?}"),
        };
        let mut read = |line: &&str| match reader.read(line.as_bytes()) {
            Ok(line) => {
                let header = |(key, value): &RecordHeader<'_>| format!(" {key}={}", text(*value));
                let headers: String = line.headers.iter().map(header).collect();
                format!("{} -> {}{headers}\n", text(line.key), text(line.value))
            }
            Err(ToolError::Failed(what)) => what + "\n",
            Err(other) => panic!("{other:?}"),
        };
        expect.assert_eq(&lines.iter().map(&mut read).collect::<String>());
    }

    #[test]
    fn a_line_is_a_value_unless_asked_otherwise() {
        check(
            "",
            &["a\tb", ""],
            &expect![[r#"
            null -> "a\tb"
            null -> ""
        "#]],
        );
    }

    #[test]
    fn a_key_is_what_comes_before_the_separator() {
        check(
            "parse.key=true key.separator=::",
            &["k::v::w", "::v", "kv"],
            &expect![[r#"
                "k" -> "v::w"
                "" -> "v"
                org.apache.kafka.common.KafkaException: No key separator found on line number 3: 'kv'
            "#]],
        );
        check(
            "parse.key=true ignore.error=true",
            &["kv"],
            &expect![[r#"
            null -> "kv"
        "#]],
        );
    }

    #[test]
    fn headers_come_first() {
        check(
            "parse.key=true parse.headers=true null.marker=N",
            &["h1:a,h2:N,h3:b:c\tk\tv", "N\tN\tN", "h\tk\tv", "N:x\tk\tv"],
            &expect![[r#"
                "k" -> "v" h1="a" h2=null h3="b:c"
                null -> null
                org.apache.kafka.common.KafkaException: No header key separator found in pair 'h' on line number 3
                org.apache.kafka.common.KafkaException: A header key is the null marker in pair 'N:x' on line number 4
            "#]],
        );
    }

    #[test]
    fn separators_that_cannot_be_told_apart_are_refused() {
        check(
            "headers.delimiter=,",
            &[],
            &expect!["headers.delimiter and headers.separator may not be equal"],
        );
        check(
            "null.marker=:",
            &[],
            &expect!["headers.key.separator and null.marker may not be equal"],
        );
        check("key.separator=", &[], &expect!["a separator may not be empty"]);
    }
}
