//! The syntax of Java's `.properties` files, which Kafka's configuration files have.
//!
//! `key=value`, `key: value` or `key value`; `#` and `!` start comments; a `\` at the end of a line
//! continues it on the next, and elsewhere escapes (`\t \n \r \f \uXXXX`, any other as it is).

use super::error::ConfigError;

/// All pairs in order; a key may come twice, the later one counts.
///
/// # Errors
/// [`ConfigError::Syntax`] for a broken `\u` escape.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let mut pairs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, first)) = lines.next() {
        let mut line = first.trim_start().to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        while continues(&line) {
            line.pop();
            let Some((_, next)) = lines.next() else { break };
            line.push_str(next.trim_start());
        }
        let (key, value) = split(&line);
        let read = |part| {
            unescape(part).ok_or(ConfigError::Syntax {
                line: number + 1,
                what: "\\u must be followed by four hexadecimal digits of a character",
            })
        };
        pairs.push((read(key)?, read(value)?));
    }
    Ok(pairs)
}

/// Whether the line ends in an odd number of backslashes.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1
}

/// The key ends at the first blank, `=` or `:` that is not escaped.
fn split(line: &str) -> (&str, &str) {
    let blank = |c: char| c.is_ascii_whitespace();
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (blank(c) || c == '=' || c == ':');
        escaped = !escaped && c == '\\';
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(blank);
    (key, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(blank))
}

fn unescape(text: &str) -> Option<String> {
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
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits = chars.as_str().get(..4)?;
                out.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
                chars = chars.as_str()[4..].chars();
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[(&str, &str)]) {
        let read = parse(text).unwrap();
        let read: Vec<_> = read.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(read, expect);
    }

    #[test]
    fn every_form_of_a_pair_is_read() {
        check(
            "a=1\nb: 2\nc 3\n  d  =  4  \ne\n",
            &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4  "), ("e", "")],
        );
        check("#x=1\n!y=2\n\n z=3", &[("z", "3")]);
        check("a=b=c:d", &[("a", "b=c:d")]);
    }

    #[test]
    fn lines_continue_and_escapes_are_undone() {
        check("a=x,\\\n   y,\\\n   z\nb=1", &[("a", "x,y,z"), ("b", "1")]);
        check("a\\=b\\:c\\ d=\\u0041\\t\\q\\\\", &[("a=b:c d", "A\tq\\")]);
        check("a=end\\", &[("a", "end")]);
    }

    #[test]
    fn a_broken_escape_names_its_line() {
        for text in ["\nx=\\u00", "\nx=\\ud800", "\nx=\\uzzzz"] {
            assert!(matches!(parse(text), Err(ConfigError::Syntax { line: 2, .. })), "{text}");
        }
    }
}
