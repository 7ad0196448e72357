//! Records inside a batch: reading them from plain bytes, and building a batch of them.
//!
//! The broker opens batches only when it must (another codec asked for, keys of a compacted topic,
//! a timestamp looked up, its own internal topics); the client and the tools open all of them.
//! Source: Apache Kafka `DefaultRecord`: varint length, attributes, varlong timestamp delta, varint
//! offset delta, key, value, headers; a length of -1 is null.

use bytes::Bytes;

use crate::wire::batch::{self, HEADER_BYTES, LOG_OVERHEAD, NO_PRODUCER_ID};
use crate::wire::codec::{Codec, CodecError};

/// One header of a record: key and value, which may be null.
pub type RecordHeader<'a> = (&'a str, Option<&'a [u8]>);

/// One record as it lies in uncompressed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Key, or null.
    pub key: Option<&'a [u8]>,
    /// Value, or null (a tombstone).
    pub value: Option<&'a [u8]>,
    /// Headers, still encoded: see [`Record::headers`].
    headers: Headers<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

/// The bytes are not records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("record {index} of the batch is malformed: {what}")]
pub struct RecordError {
    /// 0-based position in the batch.
    pub index: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl<'a> Record<'a> {
    /// Headers in order. They were checked when the record was read.
    pub fn headers(&self) -> impl Iterator<Item = RecordHeader<'a>> + use<'a> {
        let mut cursor = Cursor { rest: self.headers.bytes };
        (0..self.headers.count).map_while(move |_| cursor.header())
    }
}

/// Reads `count` records out of `bytes`, the uncompressed part of a batch after its header. Stops
/// after the first error; bytes left over are one.
pub fn records(
    bytes: &[u8],
    count: i32,
) -> impl Iterator<Item = Result<Record<'_>, RecordError>> + '_ {
    let mut cursor = Cursor { rest: bytes };
    let count = usize::try_from(count).unwrap_or(0);
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let index = next.take()?;
        let read = if index < count {
            cursor.record()
        } else if cursor.rest.is_empty() {
            return None;
        } else {
            Err("bytes follow the last record")
        };
        next = read.is_ok().then_some(index + 1);
        Some(read.map_err(|what| RecordError { index, what }))
    })
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn record(&mut self) -> Result<Record<'a>, &'static str> {
        let size = self.varint().ok_or("its length is cut")?;
        let body = self.take(size).ok_or("it is longer than the batch")?;
        let mut c = Cursor { rest: body };
        c.take(1).ok_or("it is empty")?;
        let timestamp_delta = c.varlong().ok_or("its timestamp is cut")?;
        let offset_delta = c.varint().ok_or("its offset is cut")?;
        let key = c.nullable().ok_or("its key is longer than the record")?;
        let value = c.nullable().ok_or("its value is longer than the record")?;
        let count = c.varint().and_then(|n| usize::try_from(n).ok()).ok_or("bad header count")?;
        let bytes = c.rest;
        for _ in 0..count {
            c.header().ok_or("a header is malformed")?;
        }
        if !c.rest.is_empty() {
            return Err("bytes follow its last header");
        }
        Ok(Record { timestamp_delta, offset_delta, key, value, headers: Headers { count, bytes } })
    }

    fn header(&mut self) -> Option<RecordHeader<'a>> {
        let size = self.varint()?;
        let key = std::str::from_utf8(self.take(size)?).ok()?;
        Some((key, self.nullable()?))
    }

    fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        match self.varint()? {
            -1 => Some(None),
            size => self.take(size).map(Some),
        }
    }

    fn take(&mut self, size: i32) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(usize::try_from(size).ok()?)?;
        self.rest = rest;
        Some(head)
    }

    fn varint(&mut self) -> Option<i32> {
        i32::try_from(self.varlong()?).ok()
    }

    fn varlong(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        None
    }
}

/// Appends `value` as a zigzag varint.
pub fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut v = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while v >= 0x80 {
        out.push((v & 0x7f) as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Collects records and makes one batch of them, with base offset 0 and leader epoch -1, as a
/// producer sends it.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    /// Room for the header, then the records.
    batch: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// Appends a record with the next offset.
    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) {
        if self.count == 0 {
            self.base_timestamp = timestamp_ms;
            self.max_timestamp = timestamp_ms;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
        let (delta, at) = (timestamp_ms - self.base_timestamp, i64::from(self.count));
        let header = |(key, value): &RecordHeader<'_>| {
            nullable_bytes(Some(key.as_bytes())) + nullable_bytes(*value)
        };
        let size = 1
            + varlong_bytes(delta)
            + varlong_bytes(at)
            + nullable_bytes(key)
            + nullable_bytes(value)
            + varlong_bytes(headers.len() as i64)
            + headers.iter().map(header).sum::<usize>();
        let out = &mut self.batch;
        if out.is_empty() {
            out.resize(HEADER_BYTES, 0);
        }
        put_varlong(out, size as i64);
        out.push(0);
        put_varlong(out, delta);
        put_varlong(out, at);
        put_nullable(out, key);
        put_nullable(out, value);
        put_varlong(out, headers.len() as i64);
        for (key, value) in headers {
            put_nullable(out, Some(key.as_bytes()));
            put_nullable(out, *value);
        }
        self.count += 1;
    }

    /// Number of records so far.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Bytes that the batch has without compression.
    pub fn size_bytes(&self) -> usize {
        self.batch.len().max(HEADER_BYTES)
    }

    /// Makes the batch and empties the builder.
    ///
    /// # Errors
    /// [`CodecError`] when the codec fails.
    pub fn build(&mut self, codec: Codec, producer: ProducerStamp) -> Result<Bytes, CodecError> {
        self.build_at_level(codec, codec.default_level(), producer)
    }

    /// As [`Self::build`], at a compression level of the codec's own scale.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn build_at_level(
        &mut self,
        codec: Codec,
        level: i32,
        producer: ProducerStamp,
    ) -> Result<Bytes, CodecError> {
        let mut this = std::mem::take(self);
        this.batch.resize(this.size_bytes(), 0);
        let mut out = match codec {
            Codec::None => this.batch,
            codec => {
                let packed = codec.compress(&this.batch[HEADER_BYTES..], level)?;
                this.batch.truncate(HEADER_BYTES);
                this.batch.extend_from_slice(&packed);
                this.batch
            }
        };
        let length = i32::try_from(out.len() - LOG_OVERHEAD)
            .map_err(|_| CodecError::TooLarge { limit_bytes: i32::MAX as usize })?;
        let attributes = i16::from(codec as u8) | (i16::from(producer.transactional) << 4);
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&0_i64.to_be_bytes());
        header.extend_from_slice(&length.to_be_bytes());
        header.extend_from_slice(&(-1_i32).to_be_bytes());
        header.push(2);
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&attributes.to_be_bytes());
        header.extend_from_slice(&(this.count - 1).to_be_bytes());
        header.extend_from_slice(&this.base_timestamp.to_be_bytes());
        header.extend_from_slice(&this.max_timestamp.to_be_bytes());
        header.extend_from_slice(&producer.id.to_be_bytes());
        header.extend_from_slice(&producer.epoch.to_be_bytes());
        header.extend_from_slice(&producer.sequence.to_be_bytes());
        header.extend_from_slice(&this.count.to_be_bytes());
        out[..HEADER_BYTES].copy_from_slice(&header);
        batch::set_crc(&mut out);
        Ok(Bytes::from(out))
    }
}

/// A copy of a whole batch with other producer fields; the transactional bit stays.
pub fn with_stamp(batch: &[u8], producer: ProducerStamp) -> Bytes {
    let mut out = batch.to_vec();
    batch::set_producer(&mut out, producer.id, producer.epoch, producer.sequence);
    Bytes::from(out)
}

/// The producer fields of a batch header.
#[derive(Debug, Clone, Copy)]
pub struct ProducerStamp {
    /// Producer id, or -1.
    pub id: i64,
    /// Producer epoch, or -1.
    pub epoch: i16,
    /// Sequence of the first record, or -1.
    pub sequence: i32,
    /// Whether the batch is part of a transaction.
    pub transactional: bool,
}

impl ProducerStamp {
    /// Not an idempotent producer.
    pub const NONE: Self =
        Self { id: NO_PRODUCER_ID, epoch: -1, sequence: -1, transactional: false };
}

/// Bytes that [`put_varlong`] takes.
fn varlong_bytes(value: i64) -> usize {
    let bits = 64 - ((value << 1) ^ (value >> 63)).leading_zeros();
    (bits.max(1) as usize).div_ceil(7)
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |b| varlong_bytes(b.len() as i64) + b.len())
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varlong(out, -1),
        Some(b) => {
            put_varlong(out, b.len() as i64);
            out.extend_from_slice(b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::BatchHeader;

    #[test]
    fn what_the_builder_writes_the_reader_reads_with_every_codec() {
        for codec in Codec::ALL {
            let mut builder = BatchBuilder::default();
            builder.push(1000, Some(b"k"), Some(b"v"), &[("h", Some(b"x")), ("n", None)]);
            builder.push(1007, None, None, &[]);
            let bytes = builder.build(codec, ProducerStamp::NONE).unwrap();
            let (header, whole) = BatchHeader::parse_whole(&bytes).unwrap();
            header.check_crc(whole).unwrap();
            assert_eq!((header.count, header.last_offset_delta), (2, 1));
            assert_eq!((header.base_timestamp, header.max_timestamp), (1000, 1007));
            let plain = codec.decompress(&whole[HEADER_BYTES..], 1 << 20).unwrap();
            let read: Vec<_> = records(&plain, header.count).map(Result::unwrap).collect();
            assert_eq!(read[0].key, Some(&b"k"[..]));
            let headers: Vec<_> = read[0].headers().collect();
            assert_eq!(headers, [("h", Some(&b"x"[..])), ("n", None)]);
            assert_eq!((read[1].timestamp_delta, read[1].offset_delta), (7, 1));
            assert_eq!((read[1].key, read[1].value), (None, None));
        }
    }

    #[test]
    fn malformed_records_are_errors_and_end_the_reading() {
        for (bytes, count) in [(&[0x80][..], 1), (&[20, 0], 1), (&[2, 0], 1), (&[], 1), (&[9], 0)] {
            let read: Vec<_> = records(bytes, count).collect();
            assert_eq!(read.len(), 1, "{bytes:?}");
            assert!(read[0].is_err(), "{bytes:?}");
        }
    }
}
