//! The table of the records of Kafka's internal logs, `records.txt`, read.
//!
//! ```text
//! groups 1 value 0-4 flexible 4+        log, number of the kind, part, versions
//!  offset int64                         a field in all versions
//!  expireTimestamp int64 1-1            in some
//!  topicId uuid 4+ tag 0 "AAAA..."      tagged; written when it is not the default
//!  members []struct                     its own fields follow, one blank deeper
//! ```

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

const TABLE: &str = include_str!("records.txt");

/// The form of a field, or of each element of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    I8,
    I16,
    U16,
    I32,
    I64,
    F64,
    Uuid,
    Text,
    Binary,
    Struct,
    NullableStruct,
}

/// A field in the versions that have it.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) is_list: bool,
    pub(super) versions: RangeInclusive<i16>,
    /// Number and, as it would be printed, the default.
    pub(super) tag: Option<(u32, &'static str)>,
    /// Those of a struct.
    pub(super) fields: Vec<Self>,
}

/// Key or value of one kind of record.
#[derive(Debug)]
pub(super) struct Message {
    /// What the table calls it after its number.
    pub(super) name: &'static str,
    pub(super) versions: RangeInclusive<i16>,
    /// The first version with compact lengths and tags.
    pub(super) flexible_from: i16,
    pub(super) fields: Vec<Field>,
}

/// All messages by log and number; a kind with a key has two.
#[derive(Debug)]
pub(super) struct Table(BTreeMap<(&'static str, i16), Vec<Message>>);

impl Table {
    /// Reads the table. An error names the line that is none.
    pub(super) fn read() -> Result<Self, String> {
        let mut messages = BTreeMap::<_, Vec<Message>>::new();
        let mut lines = TABLE.lines().filter(|line| !line.starts_with('#')).peekable();
        while let Some(line) = lines.next() {
            let mut inner = Vec::new();
            while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
                inner.push(line);
            }
            let read = Message::read(line, &inner);
            let (of, message) = read.ok_or_else(|| format!("the table of records: {line}"))?;
            messages.entry(of).or_default().push(message);
        }
        Ok(Self(messages))
    }

    /// The messages of a kind: key and value, or the one that there is.
    pub(super) fn kind(&self, log: &'static str, number: i16) -> &[Message] {
        self.0.get(&(log, number)).map_or(&[], Vec::as_slice)
    }

    /// The message of that name.
    pub(super) fn named(&self, log: &'static str, name: &str) -> Option<&Message> {
        self.kind(log, 0).iter().find(|message| message.name == name)
    }
}

impl Message {
    fn read(line: &'static str, inner: &[&'static str]) -> Option<((&'static str, i16), Self)> {
        let words: Vec<_> = line.split(' ').collect();
        let (&[log, number, name, versions], rest) = words.split_first_chunk()?;
        let flexible_from = match rest {
            [] => i16::MAX,
            ["flexible", from] => *range(from)?.start(),
            _ => return None,
        };
        let mut at = 0;
        let fields = Field::read_all(inner, &mut at, 1)?;
        let message = Self { name, versions: range(versions)?, flexible_from, fields };
        Some(((log, number.parse().ok()?), message))
    }
}

impl Field {
    /// Fields from line `at` on that stand `depth` blanks from the left.
    fn read_all(lines: &[&'static str], at: &mut usize, depth: usize) -> Option<Vec<Self>> {
        let mut fields = Vec::new();
        while let Some(line) = lines.get(*at) {
            let text = line.trim_start();
            if line.len() - text.len() < depth {
                break;
            }
            *at += 1;
            let inner = Self::read_all(lines, at, depth + 1)?;
            fields.push(Self::read(text, inner)?);
        }
        Some(fields)
    }

    fn read(text: &'static str, fields: Vec<Self>) -> Option<Self> {
        let words: Vec<_> = text.split(' ').collect();
        let (&[name, form], rest) = words.split_first_chunk()?;
        let (versions, tag) = match *rest {
            [] => (None, None),
            [versions] => (Some(versions), None),
            ["tag", number, default] => (None, Some((number, default))),
            [versions, "tag", number, default] => (Some(versions), Some((number, default))),
            _ => return None,
        };
        let tag = match tag {
            Some((number, default)) => Some((number.parse().ok()?, default)),
            None => None,
        };
        Some(Self {
            name,
            form: self::form(form.trim_start_matches("[]"))?,
            is_list: form.starts_with("[]"),
            versions: versions.map_or(Some(0..=i16::MAX), range)?,
            tag,
            fields,
        })
    }
}

fn form(word: &str) -> Option<Form> {
    Some(match word {
        "boolean" => Form::Bool,
        "int8" => Form::I8,
        "int16" => Form::I16,
        "uint16" => Form::U16,
        "int32" => Form::I32,
        "int64" => Form::I64,
        "float64" => Form::F64,
        "uuid" => Form::Uuid,
        "string" => Form::Text,
        "bytes" => Form::Binary,
        "struct" => Form::Struct,
        "struct?" => Form::NullableStruct,
        _ => return None,
    })
}

/// `3+` or `0-4`.
fn range(text: &str) -> Option<RangeInclusive<i16>> {
    if let Some(from) = text.strip_suffix('+') {
        return Some(from.parse().ok()?..=i16::MAX);
    }
    let (from, to) = text.split_once('-')?;
    Some(from.parse().ok()?..=to.parse().ok()?)
}
