//! How a record is printed: which parts, with what between them, and bytes read as what.

use std::io::{self, Write};

use klamm::wire::batch::NO_TIMESTAMP;
use klamm::wire::record::RecordHeader;

use crate::tools::cli::{Outcome, ToolError};
use crate::tools::properties::Properties;

/// Where and when a record is, for printing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printed<'a> {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) timestamp: i64,
    pub(super) is_append_time: bool,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [RecordHeader<'a>],
}

/// What bytes are read as, by the class name that Kafka has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deserializer {
    Bytes,
    Boolean,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Uuid,
}

/// The formatter of `--formatter`.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "properties of a formatter")]
pub(in crate::tools) struct Formatter {
    prints_nothing: bool,
    timestamp: bool,
    partition: bool,
    offset: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    headers_separator: Vec<u8>,
    null_literal: Vec<u8>,
    key_reader: Deserializer,
    value_reader: Deserializer,
    headers_reader: Deserializer,
}

impl Formatter {
    /// Reads the properties. `class` is Kafka's default formatter or the one that prints nothing.
    pub(super) fn new(class: &str, properties: &Properties) -> Outcome<Self> {
        let simple = class.rsplit('.').next().unwrap_or(class);
        if !["DefaultMessageFormatter", "NoOpMessageFormatter"].contains(&simple) {
            return Err(ToolError::Usage(format!(
                "--formatter takes DefaultMessageFormatter or NoOpMessageFormatter, not {class}"
            )));
        }
        let text = |key: &str, default: &str| properties.get(key).unwrap_or(default).into();
        let prints = |key: &str| properties.is_true(key).unwrap_or(false);
        let reader = |key: &str| properties.get(key).map_or(Ok(Deserializer::Bytes), deserializer);
        Ok(Self {
            prints_nothing: simple == "NoOpMessageFormatter",
            timestamp: prints("print.timestamp"),
            partition: prints("print.partition"),
            offset: prints("print.offset"),
            epoch: prints("print.epoch"),
            headers: prints("print.headers"),
            key: prints("print.key"),
            value: properties.is_true("print.value").unwrap_or(true),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null_literal: text("null.literal", "null"),
            key_reader: reader("key.deserializer")?,
            value_reader: reader("value.deserializer")?,
            headers_reader: reader("headers.deserializer")?,
        })
    }

    /// Prints one record. An error of kind `InvalidData` is the record's: its bytes are not what
    /// they are to be read as.
    pub(super) fn print(&self, record: &Printed<'_>, out: &mut impl Write) -> io::Result<()> {
        if self.prints_nothing {
            return Ok(());
        }
        // The last part ends the line, all others are followed by the separator between parts.
        let parts = [
            self.timestamp,
            self.partition,
            self.offset,
            self.epoch,
            self.headers,
            self.key,
            self.value,
        ];
        let last = parts.iter().rposition(|is_printed| *is_printed);
        for (at, _) in parts.iter().enumerate().filter(|(_, is_printed)| **is_printed) {
            match at {
                0 if record.timestamp == NO_TIMESTAMP => out.write_all(b"NO_TIMESTAMP")?,
                0 if record.is_append_time => write!(out, "LogAppendTime:{}", record.timestamp)?,
                0 => write!(out, "CreateTime:{}", record.timestamp)?,
                1 => write!(out, "Partition:{}", record.partition)?,
                2 => write!(out, "Offset:{}", record.offset)?,
                3 => write!(out, "Epoch:{}", record.leader_epoch)?,
                4 => self.print_headers(record.headers, out)?,
                5 => self.print_bytes(record.key, self.key_reader, out)?,
                _ => self.print_bytes(record.value, self.value_reader, out)?,
            }
            let is_last = last == Some(at);
            out.write_all(if is_last { &self.line_separator } else { &self.key_separator })?;
        }
        Ok(())
    }

    fn print_headers(&self, headers: &[RecordHeader<'_>], out: &mut impl Write) -> io::Result<()> {
        if headers.is_empty() {
            return out.write_all(b"NO_HEADERS");
        }
        for (at, (key, value)) in headers.iter().enumerate() {
            if at > 0 {
                out.write_all(&self.headers_separator)?;
            }
            write!(out, "{key}:")?;
            self.print_bytes(*value, self.headers_reader, out)?;
        }
        Ok(())
    }

    fn print_bytes(
        &self,
        bytes: Option<&[u8]>,
        reader: Deserializer,
        out: &mut impl Write,
    ) -> io::Result<()> {
        match bytes {
            None => out.write_all(&self.null_literal),
            Some(bytes) => reader.print(bytes, out),
        }
    }
}

impl Deserializer {
    fn print(self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        match self {
            // Kafka writes a UUID as its text.
            Self::Bytes | Self::Uuid => out.write_all(bytes),
            Self::Boolean => write!(out, "{}", u8::from_be_bytes(sized(bytes)?) != 0),
            Self::Short => write!(out, "{}", i16::from_be_bytes(sized(bytes)?)),
            Self::Integer => write!(out, "{}", i32::from_be_bytes(sized(bytes)?)),
            Self::Long => write!(out, "{}", i64::from_be_bytes(sized(bytes)?)),
            Self::Float => write!(out, "{:?}", f32::from_be_bytes(sized(bytes)?)),
            Self::Double => write!(out, "{:?}", f64::from_be_bytes(sized(bytes)?)),
        }
    }
}

fn sized<const N: usize>(bytes: &[u8]) -> io::Result<[u8; N]> {
    bytes.try_into().map_err(|_| {
        let what = format!("Size of data received by the deserializer is {}, not {N}", bytes.len());
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

fn deserializer(class: &str) -> Outcome<Deserializer> {
    let simple = class.rsplit('.').next().unwrap_or(class);
    Ok(match simple {
        "StringDeserializer" | "ByteArrayDeserializer" | "BytesDeserializer" => Deserializer::Bytes,
        "BooleanDeserializer" => Deserializer::Boolean,
        "ShortDeserializer" => Deserializer::Short,
        "IntegerDeserializer" => Deserializer::Integer,
        "LongDeserializer" => Deserializer::Long,
        "FloatDeserializer" => Deserializer::Float,
        "DoubleDeserializer" => Deserializer::Double,
        "UUIDDeserializer" => Deserializer::Uuid,
        _ => {
            let text = format!("{class} is not one of Kafka's own deserializers");
            return Err(ToolError::Usage(text));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[track_caller]
    fn check(properties: &str, expect: &Expect) {
        let args: Vec<_> = properties.split_whitespace().map(str::to_owned).collect();
        let properties = Properties::read(None, &args).unwrap();
        let formatter = Formatter::new("DefaultMessageFormatter", &properties).unwrap();
        let first = Printed {
            partition: 2,
            offset: 7,
            leader_epoch: 3,
            timestamp: 1000,
            is_append_time: false,
            key: Some(b"k"),
            value: Some(&[0, 0, 0, 0, 0, 0, 0, 9]),
            headers: &[("a", Some(b"x")), ("b", None)],
        };
        let second =
            Printed { timestamp: NO_TIMESTAMP, key: None, value: None, headers: &[], ..first };
        let mut out = Vec::new();
        formatter.print(&first, &mut out).unwrap();
        formatter.print(&second, &mut out).unwrap();
        formatter.print(&Printed { is_append_time: true, value: None, ..first }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        expect.assert_eq(&text.replace('\t', "|").replace('\0', "0"));
    }

    #[test]
    fn the_value_alone_is_printed_unless_asked_otherwise() {
        check(
            "value.deserializer=org.apache.kafka.common.serialization.LongDeserializer",
            &expect![[r"
            9
            null
            null
        "]],
        );
    }

    #[test]
    fn all_parts_come_in_kafkas_order() {
        check(
            "print.timestamp=true print.partition=true print.offset=true print.epoch=true \
             print.headers=true print.key=true value.deserializer=LongDeserializer",
            &expect![[r"
                CreateTime:1000|Partition:2|Offset:7|Epoch:3|a:x,b:null|k|9
                NO_TIMESTAMP|Partition:2|Offset:7|Epoch:3|NO_HEADERS|null|null
                LogAppendTime:1000|Partition:2|Offset:7|Epoch:3|a:x,b:null|k|null
            "]],
        );
    }

    #[test]
    fn separators_and_the_null_literal_can_be_chosen() {
        check(
            "print.key=true print.value=false print.headers=true key.separator=:: \
             headers.separator=; null.literal=NIL line.separator=!",
            &expect!["a:x;b:NIL::k!NO_HEADERS::NIL!a:x;b:NIL::k!"],
        );
    }

    #[test]
    fn bytes_of_another_size_are_an_error_of_the_record() {
        let properties =
            Properties::read(None, &["value.deserializer=LongDeserializer".to_owned()]);
        let formatter = Formatter::new("DefaultMessageFormatter", &properties.unwrap()).unwrap();
        let record = Printed {
            partition: 0,
            offset: 0,
            leader_epoch: 0,
            timestamp: 0,
            is_append_time: false,
            key: None,
            value: Some(b"abc"),
            headers: &[],
        };
        let refused = formatter.print(&record, &mut Vec::new()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert!(Formatter::new("x.y.MyFormatter", &Properties::default()).is_err());
    }
}
