//! What a Fetch brought, record by record: batches opened, and what a consumer must not see left out.
//!
//! Left out are control batches, records below the offset that was asked for (a batch is always sent
//! whole), and, for read_committed, the records of aborted transactions. Those are found as Kafka
//! does: the answer lists (producer, first offset); from that offset on the producer's transactional
//! batches are dropped until its abort marker comes by.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::base::Offset;
use crate::client::cluster::PartitionName;
use crate::wire::batch::{BatchHeader, HEADER_BYTES, NO_TIMESTAMP};
use crate::wire::codec::Codec;
use crate::wire::record::{Record, RecordError, records};

/// One batch, decompressed.
#[derive(Debug, Clone)]
pub struct FetchedBatch {
    /// Where it comes from.
    pub partition: PartitionName,
    /// Its header, as stored.
    pub header: BatchHeader,
    /// The records, without compression.
    plain: Bytes,
    /// Records below this offset were not asked for.
    from: Offset,
}

/// One record with what only its batch knows.
#[derive(Debug, Clone, Copy)]
pub struct FetchedRecord<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Milliseconds since 1970, or [`NO_TIMESTAMP`].
    pub timestamp: i64,
    /// Key, value and headers.
    pub record: Record<'a>,
}

impl FetchedBatch {
    /// The records that were asked for, in order. Ends after the first error.
    pub fn records(&self) -> impl Iterator<Item = Result<FetchedRecord<'_>, RecordError>> + '_ {
        let header = self.header;
        let read = records(&self.plain, header.count).map(move |read| {
            read.map(|record| FetchedRecord {
                offset: Offset(header.base_offset.0 + i64::from(record.offset_delta)),
                timestamp: timestamp(&header, &record),
                record,
            })
        });
        read.filter(|r| r.as_ref().map_or(true, |r| r.offset >= self.from))
    }

    /// Where to go on after this batch.
    pub fn next_offset(&self) -> Offset {
        self.header.next_offset()
    }

    /// Whether the broker set the timestamps (`LogAppendTime`), not the producer (`CreateTime`).
    pub fn is_append_time(&self) -> bool {
        self.header.is_append_time()
    }
}

fn timestamp(header: &BatchHeader, record: &Record<'_>) -> i64 {
    if header.is_append_time() {
        header.max_timestamp
    } else if header.base_timestamp == NO_TIMESTAMP {
        NO_TIMESTAMP
    } else {
        header.base_timestamp.saturating_add(record.timestamp_delta)
    }
}

/// What one partition's part of an answer holds.
#[derive(Debug)]
pub struct Opened {
    /// The batches that a consumer sees.
    pub batches: Vec<FetchedBatch>,
    /// Where to fetch next, past all that was left out too.
    pub next: Offset,
}

/// Opens the `bytes` that a partition answered to a fetch at `from`. `aborted` lists (producer id,
/// first offset) of aborted transactions. A batch that is cut at the end is ignored; it comes whole
/// the next time. Decompressed, a batch may have `plain_bytes_max`.
///
/// # Errors
/// What is wrong with the first bad batch, and its offset. Batches before it are lost to the caller,
/// who asks for them again when it goes on.
pub fn open(
    partition: &PartitionName,
    bytes: &Bytes,
    from: Offset,
    aborted: &[(i64, i64)],
    plain_bytes_max: usize,
) -> Result<Opened, String> {
    let mut opened = Opened { batches: Vec::new(), next: from };
    let mut filter = AbortFilter::new(aborted);
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let Ok((header, batch)) = BatchHeader::parse_whole(&rest) else { break };
        let at = header.base_offset;
        let bad = |what: String| format!("{partition} at offset {at}: {what}");
        if header.magic != 2 {
            return Err(bad(format!("record format {} is older than 2", header.magic)));
        }
        header.check_crc(batch).map_err(|e| bad(e.to_string()))?;
        let codec = Codec::from_id(header.codec_id())
            .ok_or_else(|| bad(format!("codec {} is not known", header.codec_id())))?;
        let packed = rest.split_to(header.size_bytes).slice(HEADER_BYTES..);
        let plain = match codec {
            Codec::None => packed,
            codec => {
                codec.decompress(&packed, plain_bytes_max).map_err(|e| bad(e.to_string()))?.into()
            }
        };
        if header.next_offset() <= from {
            continue;
        }
        opened.next = header.next_offset();
        if filter.is_seen(&header, &plain) {
            opened.batches.push(FetchedBatch { partition: partition.clone(), header, plain, from });
        }
    }
    Ok(opened)
}

struct AbortFilter {
    /// (first offset, producer id), the earliest last.
    to_come: Vec<(i64, i64)>,
    aborting: BTreeSet<i64>,
}

impl AbortFilter {
    fn new(aborted: &[(i64, i64)]) -> Self {
        let mut to_come: Vec<_> = aborted.iter().map(|&(id, first)| (first, id)).collect();
        to_come.sort_unstable_by(|a, b| b.cmp(a));
        Self { to_come, aborting: BTreeSet::new() }
    }

    fn is_seen(&mut self, header: &BatchHeader, plain: &[u8]) -> bool {
        let last = header.last_offset().0;
        while let Some((_, id)) = self.to_come.pop_if(|&mut (first, _)| first <= last) {
            self.aborting.insert(id);
        }
        if header.is_control() {
            if is_abort_marker(plain) {
                self.aborting.remove(&header.producer_id);
            }
            return false;
        }
        !(header.is_transactional() && self.aborting.contains(&header.producer_id))
    }
}

/// A control record's key is its version and its type, each an `i16`; type 0 is an abort.
fn is_abort_marker(plain: &[u8]) -> bool {
    let first = records(plain, 1).next().and_then(Result::ok);
    first.and_then(|r| r.key).is_some_and(|key| key.get(2..4) == Some(&[0, 0]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::{set_base_offset, set_crc};
    use crate::wire::record::{BatchBuilder, ProducerStamp};
    use expect_test::{Expect, expect};
    use std::fmt::Write as _;

    const TRANSACTIONAL: u8 = 0x10;
    const CONTROL: u8 = 0x30;

    /// A batch with one record for each value; a marker has its type as the key.
    fn batch(base: i64, producer: i64, bits: u8, values: &[&str]) -> Vec<u8> {
        let mut builder = BatchBuilder::default();
        for value in values {
            let marker = [0, 0, 0, u8::from(*value == "commit")];
            let key = (bits == CONTROL).then_some(&marker[..]);
            builder.push(1000, key, Some(value.as_bytes()), &[]);
        }
        let stamp = ProducerStamp { id: producer, ..ProducerStamp::NONE };
        let mut bytes = builder.build(Codec::Zstd, stamp).unwrap().to_vec();
        set_base_offset(&mut bytes, Offset(base));
        bytes[22] |= bits;
        set_crc(&mut bytes);
        bytes
    }

    #[track_caller]
    fn check(batches: &[Vec<u8>], from: i64, aborted: &[(i64, i64)], expect: &Expect) {
        let bytes = Bytes::from(batches.concat());
        let name = PartitionName::new("t", 0);
        let mut text = String::new();
        match open(&name, &bytes, Offset(from), aborted, 1 << 20) {
            Ok(opened) => {
                for record in opened.batches.iter().flat_map(FetchedBatch::records) {
                    let record = record.unwrap();
                    let value = String::from_utf8_lossy(record.record.value.unwrap());
                    writeln!(text, "{} {value}", record.offset).unwrap();
                }
                writeln!(text, "next {}", opened.next).unwrap();
            }
            Err(e) => writeln!(text, "{e}").unwrap(),
        }
        expect.assert_eq(&text);
    }

    #[test]
    fn records_below_the_asked_offset_and_a_cut_batch_are_left_out() {
        let mut cut = batch(14, -1, 0, &["e"]);
        cut.pop();
        let batches = [batch(10, -1, 0, &["a", "b", "c"]), batch(13, -1, 0, &["d"]), cut];
        check(
            &batches,
            12,
            &[],
            &expect![[r"
                12 c
                13 d
                next 14
            "]],
        );
    }

    #[test]
    fn aborted_transactions_and_markers_are_left_out() {
        let batches = [
            batch(0, 7, TRANSACTIONAL, &["aborted"]),
            batch(1, 8, TRANSACTIONAL, &["committed"]),
            batch(2, -1, 0, &["plain"]),
            batch(3, 7, CONTROL, &["abort"]),
            batch(4, 7, TRANSACTIONAL, &["again"]),
            batch(5, 8, CONTROL, &["commit"]),
        ];
        check(
            &batches,
            0,
            &[(7, 0)],
            &expect![[r"
                1 committed
                2 plain
                4 again
                next 6
            "]],
        );
    }

    #[test]
    fn a_damaged_batch_is_named() {
        let mut bad = batch(5, -1, 0, &["x"]);
        let last = bad.len() - 1;
        bad[last] ^= 1;
        let name = PartitionName::new("t", 3);
        let error = open(&name, &Bytes::from(bad), Offset(0), &[], 1 << 20).unwrap_err();
        assert!(error.starts_with("t-3 at offset 5: batch checksum is 0x"), "{error}");
    }
}
