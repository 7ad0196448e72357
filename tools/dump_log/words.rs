//! Records of Kafka's internal logs in words, as Kafka's tool prints them: `{"type":"1","data":{...}}`
//! for a key, `{"version":"4","data":{...}}` for a value, `<DELETE>` for a tombstone; records of the
//! metadata have no key, and the name of their kind beside the version.
//!
//! The table of `schema` says what they are made of. Bytes are base 64, but for what the members of a
//! classic consumer group say and are given. A tagged field that has its default is left out.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use klamm::base::TopicId;
use klamm::wire::frame::{FrameError, Reader};

use super::schema::{Field, Form, Message, Table};

/// The frame version of the metadata's records, which has been the same since there was a first one.
const FRAME_VERSION: u32 = 1;

/// What the records of a log are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Offsets,
    Transactions,
    Shares,
    Metadata,
}

/// Key and value of a record in words, where it has them.
pub(super) type Pair = (Option<String>, Option<String>);

impl Table {
    /// The record at `offset` in words. One that cannot be read says so.
    ///
    /// An error is what ends the tool: there is no key where all have one.
    pub(super) fn words(
        &self,
        kind: Kind,
        offset: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Pair, String> {
        let log = match kind {
            Kind::Offsets => "groups",
            Kind::Transactions => "transactions",
            Kind::Shares => "shares",
            Kind::Metadata => {
                let words = self.metadata(value.unwrap_or_default());
                let words = words.unwrap_or_else(|e| format!("Error at {offset}, skipping. {e}"));
                return Ok((None, Some(words)));
            }
        };
        let key = key.ok_or_else(|| {
            format!(
                "Failed to decode message at offset {offset} using the specified decoder (message \
                 had a missing key)"
            )
        })?;
        let skipped = |what: String| format!("Error at offset {offset}, skipping. {what}");
        let Some((number, rest)) = number(key) else {
            return Ok((Some(skipped("Could not read version from key's buffer.".into())), None));
        };
        let [key, of_value] = self.kind(log, number) else {
            let unknown = format!("Unknown record type {number} at offset {offset}, skipping.");
            return Ok((Some(unknown), None));
        };
        let key = Words::of(self, key, 0, rest).map_err(|e| e.to_string());
        let payload = || value.map_or(Ok("<DELETE>".into()), |value| self.payload(of_value, value));
        Ok(match key.and_then(|data| Ok((data, payload()?))) {
            Ok((data, payload)) => {
                (Some(format!("{{\"type\":\"{number}\",\"data\":{data}}}")), Some(payload))
            }
            Err(what) => (Some(skipped(what)), None),
        })
    }

    fn payload(&self, message: &Message, value: &[u8]) -> Result<String, String> {
        let (version, rest) = number(value).ok_or("Could not read version from value's buffer.")?;
        if !message.versions.contains(&version) {
            return Err(format!("version {version} of the value is not known"));
        }
        let data = Words::of(self, message, version, rest).map_err(|e| e.to_string())?;
        Ok(format!("{{\"version\":\"{version}\",\"data\":{data}}}"))
    }

    fn metadata(&self, value: &[u8]) -> Result<String, String> {
        let mut r = Reader::new(value);
        let mut next = |name: &str| {
            let read = r.uvarint().map_err(|e| format!("Error while reading {name}: {e}"))?;
            i16::try_from(read).map_err(|_| format!("Value for {name} was too large."))
        };
        let frame = next("frame version")?;
        if frame != FRAME_VERSION as i16 {
            return Err(format!(
                "Could not deserialize metadata record due to unknown frame version {frame}(only \
                 frame version {FRAME_VERSION} is supported)"
            ));
        }
        let (number, version) = (next("type")?, next("version")?);
        let [message] = self.kind("metadata", number) else {
            return Err(format!("Unknown metadata id {number}"));
        };
        let data = Words::read(self, message, version, &mut r)
            .map_err(|e| format!("Failed to deserialize record with type {number}: {e}"))?;
        match r.rest().len() {
            0 => Ok(format!(
                "{{\"type\":\"{}\",\"version\":{version},\"data\":{data}}}",
                message.name
            )),
            rest => Err(format!("Found {rest} byte(s) of garbage after {number}")),
        }
    }

    /// A control record of the metadata's log, by its number: name and words.
    pub(super) fn control(&self, number: i16, value: &[u8]) -> Option<Result<String, String>> {
        let [message] = self.kind("control", number) else { return None };
        let version = self::number(value).map_or(0, |(version, _)| version);
        let data = Words::of(self, message, version, value);
        Some(data.map(|data| format!("{} {data}", message.name)).map_err(|e| e.to_string()))
    }
}

/// The number that a key or a value begins with.
fn number(bytes: &[u8]) -> Option<(i16, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (i16::from_be_bytes(*number), rest))
}

/// A message on its way into JSON.
struct Words<'a> {
    table: &'a Table,
    version: i16,
    is_flexible: bool,
    /// It is about a classic group of consumers.
    is_consumers: bool,
}

impl<'a> Words<'a> {
    fn of(
        table: &'a Table,
        of: &Message,
        version: i16,
        bytes: &[u8],
    ) -> Result<String, FrameError> {
        Self::read(table, of, version, &mut Reader::new(bytes))
    }

    fn read(
        table: &'a Table,
        message: &Message,
        version: i16,
        r: &mut Reader<'_>,
    ) -> Result<String, FrameError> {
        let is_flexible = version >= message.flexible_from;
        let mut words = Self { table, version, is_flexible, is_consumers: false };
        words.fields(r, &message.fields)
    }

    /// The fields in the order of the table, which tagged ones do not have among the bytes.
    fn fields(&mut self, r: &mut Reader<'_>, fields: &[Field]) -> Result<String, FrameError> {
        let there = fields.iter().filter(|field| field.versions.contains(&self.version));
        let mut there: Vec<_> = there.map(|field| (field, None)).collect();
        for (field, text) in there.iter_mut().filter(|(field, _)| field.tag.is_none()) {
            let value = self.value(r, field)?;
            self.is_consumers |= field.name == "protocolType" && value == "\"consumer\"";
            *text = Some(value);
        }
        for _ in 0..if self.is_flexible { r.uvarint()? } else { 0 } {
            let (number, size) = (r.uvarint()?, r.uvarint()?);
            let mut bytes = Reader::new(r.take(size as usize)?);
            let is_it = |field: &Field| field.tag.is_some_and(|(tag, _)| tag == number);
            if let Some((field, text)) = there.iter_mut().find(|(field, _)| is_it(field)) {
                let value = self.value(&mut bytes, field)?;
                *text = field.tag.filter(|(_, default)| *default != value).map(|_| value);
            }
        }
        let texts = there.iter().filter_map(|(field, text)| {
            text.as_ref().map(|text| format!("\"{}\":{text}", field.name))
        });
        Ok(format!("{{{}}}", texts.collect::<Vec<_>>().join(",")))
    }

    fn value(&mut self, r: &mut Reader<'_>, field: &Field) -> Result<String, FrameError> {
        if !field.is_list {
            return self.one(r, field);
        }
        let Some(count) = r.nullable_array_len(self.is_flexible)? else { return Ok("null".into()) };
        let mut list = String::from("[");
        for at in 0..count {
            list.push_str(if at > 0 { "," } else { "" });
            list.push_str(&self.one(r, field)?);
        }
        list.push(']');
        Ok(list)
    }

    fn one(&mut self, r: &mut Reader<'_>, field: &Field) -> Result<String, FrameError> {
        let compact = self.is_flexible;
        Ok(match field.form {
            Form::Bool => (r.i8()? != 0).to_string(),
            Form::I8 => r.i8()?.to_string(),
            Form::I16 => r.i16()?.to_string(),
            Form::U16 => r.i16()?.cast_unsigned().to_string(),
            Form::I32 => r.i32()?.to_string(),
            Form::I64 => r.i64()?.to_string(),
            Form::F64 => double(f64::from_bits(r.i64()?.cast_unsigned())),
            Form::Uuid => quoted(Some(&TopicId(r.uuid()?).to_string())),
            Form::Text => quoted(r.nullable_string_of(compact)?),
            Form::Binary => {
                let bytes = r.nullable_bytes(compact)?;
                let said = bytes.filter(|_| self.is_consumers);
                match said.and_then(|bytes| self.said(field.name, bytes)) {
                    Some(words) => words,
                    None => quoted(bytes.map(|bytes| STANDARD.encode(bytes)).as_deref()),
                }
            }
            Form::Struct => self.fields(r, &field.fields)?,
            // A byte says whether there is one; what no one knows of follows where there is.
            Form::NullableStruct if r.i8()? != 1 => "null".into(),
            Form::NullableStruct => self.fields(r, &field.fields)?,
        })
    }

    /// What a member of a consumer group has said or was given, where it can be read.
    fn said(&self, name: &str, bytes: &[u8]) -> Option<String> {
        let message = self.table.named("consumer", name)?;
        let (version, rest) = number(bytes).filter(|(version, _)| *version >= 0)?;
        Self::of(self.table, message, version, rest).ok()
    }
}

/// A text in JSON, as Jackson writes it.
fn quoted(text: Option<&str>) -> String {
    let Some(text) = text else { return "null".into() };
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..=' ' if char != ' ' => {
                let _ = write!(out, "\\u{:04X}", u32::from(char));
            }
            _ => out.push(char),
        }
    }
    out.push('"');
    out
}

/// A number as Java writes it: with a point, and from 10^7 on or below 10^-3 with an exponent.
fn double(number: f64) -> String {
    if number == 0.0 || (1e-3..1e7).contains(&number.abs()) {
        return format!("{number:?}");
    }
    let text = format!("{number:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::double;

    #[test]
    fn numbers_are_written_as_in_java() {
        for (number, text) in [
            (0.0, "0.0"),
            (-3.0, "-3.0"),
            (0.001, "0.001"),
            (9.5e-4, "9.5E-4"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (-123_456_789.25, "-1.2345678925E8"),
        ] {
            assert_eq!(double(number), text);
        }
    }
}
