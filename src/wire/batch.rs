//! The record batch (format v2) as a zero-copy view: 61 bytes of header, then the records.
//!
//! Flow: `api::produce` -> **batch** -> `storage::log`; the same view reads what lies in a segment.
//! Source: Apache Kafka `DefaultRecordBatch`; big-endian.
//!
//! ```text
//! 0      8    12     16  17  21   23       27       35       43   51   53    57    61
//! | base | len | epoch | M | crc | attr | last d | base ts | max ts | pid | pe | seq | n | records
//!                                ^-- CRC-32C covers from here to the end
//! ```
//!
//! Base offset and leader epoch lie outside the CRC, so the broker sets both without computing it
//! anew. Deliberately absent: whether the batch may be appended (`partition::append` decides that).

use crate::base::{LeaderEpoch, Offset};

/// Size of the header, in bytes: the smallest batch.
pub const HEADER_BYTES: usize = 61;
/// Base offset and length: what precedes the bytes that the length field counts.
pub const LOG_OVERHEAD: usize = 12;

/// "No producer id": the batch does not come from an idempotent producer.
pub const NO_PRODUCER_ID: i64 = -1;
/// "No timestamp".
pub const NO_TIMESTAMP: i64 = -1;

const CRC_FROM: usize = 21;
const CODEC_MASK: i16 = 0x07;
const TIMESTAMP_TYPE_BIT: i16 = 0x08;
const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;

/// The fields of a batch header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Bytes of the whole batch, header included.
    pub size_bytes: usize,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// Format version; 2 is the only one that is stored.
    pub magic: i8,
    /// CRC-32C of everything from the attributes on, as stored.
    pub crc: u32,
    /// Codec, timestamp type, transactional and control bits.
    pub attributes: i16,
    /// Offset of the last record minus `base_offset`.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, ms.
    pub base_timestamp: i64,
    /// Largest timestamp in the batch, ms.
    pub max_timestamp: i64,
    /// Producer id, or [`NO_PRODUCER_ID`].
    pub producer_id: i64,
    /// Epoch of the producer, or -1.
    pub producer_epoch: i16,
    /// Sequence of the first record, or -1.
    pub base_sequence: i32,
    /// Number of records that the header claims.
    pub count: i32,
}

/// Why bytes are not a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than a header, or than the length field says.
    #[error("{have} B is less than the {need} B of the batch")]
    Short {
        /// Bytes there are.
        have: usize,
        /// Bytes the batch needs.
        need: usize,
    },
    /// The length field is below the size of a header.
    #[error("a batch length of {0} is below the size of a header")]
    BadLength(i32),
    /// The checksum does not match.
    #[error("batch checksum is {stored:#010x}, its bytes give {computed:#010x}")]
    BadCrc {
        /// CRC-32C in the header.
        stored: u32,
        /// CRC-32C of the bytes.
        computed: u32,
    },
}

/// The `max_timestamp` of a batch whose header has not been looked at; `None` when it is cut off.
#[inline]
pub fn peek_max_timestamp(batch: &[u8]) -> Option<i64> {
    let field = batch.get(35..)?.first_chunk()?;
    Some(i64::from_be_bytes(*field))
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may be longer than the batch or, past the
    /// header, shorter (see [`Self::parse_whole`]). The checksum is not looked at.
    ///
    /// # Errors
    /// [`BatchError::Short`] and [`BatchError::BadLength`].
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some((head, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Short { have: bytes.len(), need: HEADER_BYTES });
        };
        let length = i32_at(head, 8);
        let size_bytes = usize::try_from(length).map_or(0, |n| n + LOG_OVERHEAD);
        if size_bytes < HEADER_BYTES {
            return Err(BatchError::BadLength(length));
        }
        Ok(Self {
            base_offset: Offset(i64_at(head, 0)),
            size_bytes,
            leader_epoch: LeaderEpoch(i32_at(head, 12)),
            magic: i8::from_be_bytes([head[16]]),
            crc: u32::from_be_bytes([head[17], head[18], head[19], head[20]]),
            attributes: i16_at(head, 21),
            last_offset_delta: i32_at(head, 23),
            base_timestamp: i64_at(head, 27),
            max_timestamp: i64_at(head, 35),
            producer_id: i64_at(head, 43),
            producer_epoch: i16_at(head, 51),
            base_sequence: i32_at(head, 53),
            count: i32_at(head, 57),
        })
    }

    /// Reads the header and takes the batch's bytes off the front of `bytes`.
    ///
    /// # Errors
    /// As [`Self::parse`], and [`BatchError::Short`] when the batch is cut.
    #[inline]
    pub fn parse_whole(bytes: &[u8]) -> Result<(Self, &[u8]), BatchError> {
        let header = Self::parse(bytes)?;
        let short = BatchError::Short { have: bytes.len(), need: header.size_bytes };
        Ok((header, bytes.get(..header.size_bytes).ok_or(short)?))
    }

    /// Compares the stored checksum with that of `batch`, the whole batch.
    ///
    /// # Errors
    /// [`BatchError::BadCrc`].
    #[inline]
    pub fn check_crc(&self, batch: &[u8]) -> Result<(), BatchError> {
        let computed = crc(batch);
        let bad = BatchError::BadCrc { stored: self.crc, computed };
        if computed == self.crc { Ok(()) } else { Err(bad) }
    }

    /// Offset of the last record.
    #[inline]
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// Offset after the last record.
    #[inline]
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// Codec number: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; 5 to 7 are unknown.
    pub fn codec_id(&self) -> u8 {
        (self.attributes & CODEC_MASK) as u8
    }

    /// The timestamps were set by the broker (`LogAppendTime`).
    pub fn is_append_time(&self) -> bool {
        self.attributes & TIMESTAMP_TYPE_BIT != 0
    }

    /// Part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Holds transaction markers, which consumers do not see.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Comes from an idempotent or transactional producer.
    pub fn has_producer(&self) -> bool {
        self.producer_id != NO_PRODUCER_ID
    }

    /// Sequence of the last record; wraps from 2^31-1 to 0.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        let sum = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        (sum & i64::from(i32::MAX)) as i32
    }
}

/// CRC-32C of the part of `batch` (a whole batch) that the checksum covers.
#[inline]
pub fn crc(batch: &[u8]) -> u32 {
    crc32c::crc32c(&batch[CRC_FROM..])
}

/// Writes the base offset. Outside the CRC.
#[inline]
pub fn set_base_offset(batch: &mut [u8], offset: Offset) {
    batch[0..8].copy_from_slice(&offset.0.to_be_bytes());
}

/// Writes the leader epoch. Outside the CRC.
#[inline]
pub fn set_leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) {
    batch[12..16].copy_from_slice(&epoch.0.to_be_bytes());
}

/// Stamps the whole batch with the broker's time (`LogAppendTime`) and sets the CRC anew.
pub fn set_append_time(batch: &mut [u8], now_ms: i64) {
    let attributes = i16_at(batch, 21) | TIMESTAMP_TYPE_BIT;
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
    batch[35..43].copy_from_slice(&now_ms.to_be_bytes());
    set_crc(batch);
}

/// Says that the timestamps are the client's (`CreateTime`), the largest one being
/// `max_timestamp`, and sets the CRC anew.
pub fn set_create_time(batch: &mut [u8], max_timestamp: i64) {
    let attributes = i16_at(batch, 21) & !TIMESTAMP_TYPE_BIT;
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
    batch[35..43].copy_from_slice(&max_timestamp.to_be_bytes());
    set_crc(batch);
}

/// Writes the producer fields, and sets the CRC anew.
pub fn set_producer(batch: &mut [u8], id: i64, epoch: i16, sequence: i32) {
    batch[43..51].copy_from_slice(&id.to_be_bytes());
    batch[51..53].copy_from_slice(&epoch.to_be_bytes());
    batch[53..57].copy_from_slice(&sequence.to_be_bytes());
    set_crc(batch);
}

/// Computes the CRC and writes it.
pub fn set_crc(batch: &mut [u8]) {
    let crc = crc(batch);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Headers of the whole batches in `bytes`, each with its bytes; ends before the first cut batch.
pub fn iter(bytes: &[u8]) -> impl Iterator<Item = (BatchHeader, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (header, batch) = BatchHeader::parse_whole(rest).ok()?;
        rest = &rest[header.size_bytes..];
        Some((header, batch))
    })
}

fn i16_at(b: &[u8], at: usize) -> i16 {
    i16::from_be_bytes([b[at], b[at + 1]])
}

fn i32_at(b: &[u8], at: usize) -> i32 {
    i32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn i64_at(b: &[u8], at: usize) -> i64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&b[at..at + 8]);
    i64::from_be_bytes(eight)
}
