//! May these bytes of a produce request be appended? And as what?
//!
//! Flow: `api::produce` -> **append** -> `storage`. The checks and their order are Kafka's
//! (`ProduceRequest.validateRecords`, `LogValidator`, `UnifiedLog.analyzeAndValidateRecords`):
//! exactly one whole batch, magic 2, size, checksum, header, timestamps, keys. A batch is opened
//! only when the topic asks for another codec, is compacted, or bounds timestamps that the header
//! leaves open; [`open`](super::open) does that, mostly before [`check`] and on another thread.

use bytes::Bytes;

use crate::base::WallMs;
use crate::partition::open::{Opened, must_open, open};
use crate::wire::batch::{self, BatchError, BatchHeader, HEADER_BYTES};
use crate::wire::codec::Codec;

const MAGIC: i8 = 2;

/// What a topic asks of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// `max.message.bytes`.
    pub batch_bytes_max: usize,
    /// `segment.bytes`.
    pub segment_bytes: usize,
    /// `cleanup.policy` has `compact`: every record needs a key.
    pub compacted: bool,
    /// `compression.type`; `None` keeps the producer's.
    pub codec: Option<(Codec, i32)>,
    /// `message.timestamp.type` is `LogAppendTime`.
    pub append_time: bool,
    /// `message.timestamp.before.max.ms`.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub after_max_ms: i64,
}

impl Default for Rules {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            batch_bytes_max: 1_048_588,
            segment_bytes: 1 << 30,
            compacted: false,
            codec: None,
            append_time: false,
            before_max_ms: i64::MAX,
            after_max_ms: 3_600_000,
        }
    }
}

/// A batch that may be appended.
#[derive(Debug)]
pub struct Checked<'a> {
    /// Its header.
    pub header: BatchHeader,
    /// Its bytes.
    pub batch: Body<'a>,
}

/// Where the bytes lie.
#[derive(Debug)]
pub enum Body<'a> {
    /// In the request, as the producer sent them.
    Sent(&'a [u8]),
    /// Written anew.
    Rewritten(Bytes),
}

impl AsRef<[u8]> for Body<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Sent(bytes) => bytes,
            Self::Rewritten(bytes) => bytes,
        }
    }
}

/// Why a batch is refused. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not exactly one batch.
    #[error("a produce request holds exactly one record batch with magic 2 per partition")]
    NotOneBatch,
    /// A batch of another version of the format, older or not known.
    #[error("magic {0} is not known")]
    Magic(i8),
    /// The first bytes are no batch.
    #[error("{0}")]
    Malformed(String),
    /// The checksum does not match.
    #[error("{0}")]
    Corrupt(BatchError),
    /// Over `max.message.bytes`.
    #[error("a batch of {size_bytes} B is over max.message.bytes = {limit_bytes}")]
    TooLarge {
        /// The batch's.
        size_bytes: usize,
        /// The topic's.
        limit_bytes: usize,
    },
    /// Over `segment.bytes`.
    #[error("a batch of {size_bytes} B is over segment.bytes = {limit_bytes}")]
    OverSegment {
        /// The batch's.
        size_bytes: usize,
        /// The topic's.
        limit_bytes: usize,
    },
    /// The header contradicts itself.
    #[error("{0}")]
    BadHeader(&'static str),
    /// The codec id is none that Kafka has.
    #[error("codec id {0} is not known")]
    UnknownCodec(u8),
    /// The records cannot be opened or are malformed.
    #[error("{0}")]
    BadRecords(String),
    /// Decompressed, or written anew, the batch would take more memory than it may.
    #[error("decompressed, the batch is over {limit_bytes} B")]
    OverMemory {
        /// The most that it may have.
        limit_bytes: usize,
    },
    /// Some records have no key, on a compacted topic.
    #[error("a compacted topic needs a key in every record")]
    NoKey(Vec<RecordRefusal>),
    /// Some timestamps are outside the topic's bounds.
    #[error("timestamps are outside the bounds of the topic")]
    BadTimestamp(Vec<RecordRefusal>),
}

/// One record that made its batch be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRefusal {
    /// 0-based in its batch.
    pub index: i32,
    /// For the client.
    pub message: String,
}

/// Finds the one batch in a partition's `records`; what follows it and is no whole batch is
/// dropped. Its size and checksum are right when this returns.
///
/// # Errors
/// [`Refusal`].
#[inline]
pub fn single_batch<'a>(
    records: &'a [u8],
    rules: &Rules,
) -> Result<(BatchHeader, &'a [u8]), Refusal> {
    let (header, bytes) = unsummed_batch(records, rules)?;
    check_sum(&header, bytes, rules)?;
    Ok((header, bytes))
}

/// The same without a look at all of its bytes, which [`check_sum`] takes.
///
/// # Errors
/// [`Refusal`].
#[inline]
pub fn unsummed_batch<'a>(
    records: &'a [u8],
    rules: &Rules,
) -> Result<(BatchHeader, &'a [u8]), Refusal> {
    if records.len() < HEADER_BYTES {
        return Err(Refusal::NotOneBatch);
    }
    let (header, bytes) = match BatchHeader::parse_whole(records) {
        Ok(found) => found,
        Err(BatchError::Short { .. }) => return Err(Refusal::NotOneBatch),
        Err(e) => return Err(Refusal::Malformed(e.to_string())),
    };
    if header.magic != MAGIC {
        return Err(Refusal::Magic(header.magic));
    }
    if BatchHeader::parse_whole(&records[bytes.len()..]).is_ok() {
        return Err(Refusal::NotOneBatch);
    }
    let size_bytes = header.size_bytes;
    if size_bytes > rules.batch_bytes_max {
        return Err(Refusal::TooLarge { size_bytes, limit_bytes: rules.batch_bytes_max });
    }
    Ok((header, bytes))
}

/// The second half of [`single_batch`].
///
/// # Errors
/// [`Refusal`].
#[inline]
pub fn check_sum(header: &BatchHeader, bytes: &[u8], rules: &Rules) -> Result<(), Refusal> {
    header.check_crc(bytes).map_err(Refusal::Corrupt)?;
    let (size_bytes, limit_bytes) = (header.size_bytes, rules.segment_bytes);
    if size_bytes > limit_bytes {
        return Err(Refusal::OverSegment { size_bytes, limit_bytes });
    }
    Ok(())
}

/// Checks a batch found by [`single_batch`] against the topic. `opened` is what came of opening it,
/// if that was done before; it is opened here otherwise, when it has to be.
///
/// # Errors
/// [`Refusal`].
pub fn check<'a>(
    header: BatchHeader,
    bytes: &'a [u8],
    rules: &Rules,
    now: WallMs,
    opened: Option<Opened>,
) -> Result<Checked<'a>, Refusal> {
    check_unopened(&header, rules)?;
    let anew = match opened {
        Some(opened) => opened?,
        None if must_open(&header, rules, now) => open(&header, bytes, rules, now, usize::MAX)?,
        None => None,
    };
    let Some(batch) = anew else { return Ok(unopened(header, bytes, rules)) };
    let header = BatchHeader::parse(&batch).map_err(|e| Refusal::BadRecords(e.to_string()))?;
    let size_bytes = header.size_bytes;
    if size_bytes > rules.batch_bytes_max {
        return Err(Refusal::TooLarge { size_bytes, limit_bytes: rules.batch_bytes_max });
    }
    Ok(Checked { header, batch: Body::Rewritten(batch) })
}

/// What can be told from the header alone.
pub(super) fn check_unopened(header: &BatchHeader, rules: &Rules) -> Result<Codec, Refusal> {
    check_header(header)?;
    if rules.append_time && header.is_append_time() {
        let message = "the producer may not say that the broker set the time".to_owned();
        return Err(Refusal::BadTimestamp(vec![RecordRefusal { index: 0, message }]));
    }
    let sent = Codec::from_id(header.codec_id());
    sent.ok_or(Refusal::UnknownCodec(header.codec_id()))
}

/// A topic with `CreateTime` clears the bit by which a client claims that the broker set the time,
/// and takes a largest timestamp below -1 for none.
fn unopened<'a>(mut header: BatchHeader, bytes: &'a [u8], rules: &Rules) -> Checked<'a> {
    let untimed = header.max_timestamp < batch::NO_TIMESTAMP;
    if rules.append_time || !(header.is_append_time() || untimed) {
        return Checked { header, batch: Body::Sent(bytes) };
    }
    let mut anew = bytes.to_vec();
    batch::set_create_time(&mut anew, header.max_timestamp.max(batch::NO_TIMESTAMP));
    if let Ok(mended) = BatchHeader::parse(&anew) {
        header = mended;
    }
    Checked { header, batch: Body::Rewritten(Bytes::from(anew)) }
}

fn check_header(header: &BatchHeader) -> Result<(), Refusal> {
    let refuse = |what| Err(Refusal::BadHeader(what));
    if header.base_offset.0 != 0 {
        return refuse("the base offset of a produced batch is 0");
    }
    if header.count <= 0 {
        return refuse("a produced batch holds at least one record");
    }
    if i64::from(header.last_offset_delta) + 1 != i64::from(header.count) {
        return refuse("the last offset delta and the number of records do not fit together");
    }
    if header.is_control() {
        return refuse("clients may not write control records");
    }
    if header.has_producer() && header.base_sequence < 0 {
        return refuse("a batch with a producer id needs a sequence");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::HEADER_BYTES;
    use crate::wire::record::{BatchBuilder, ProducerStamp};

    const NOW: WallMs = WallMs(1_700_000_000_000);
    const RULES: Rules = Rules {
        batch_bytes_max: 1 << 20,
        segment_bytes: 1 << 30,
        compacted: false,
        codec: None,
        append_time: false,
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
    };

    fn batch(codec: Codec, keys: &[Option<&[u8]>]) -> Vec<u8> {
        let mut builder = BatchBuilder::default();
        for (i, key) in keys.iter().enumerate() {
            builder.push(NOW.0 + i as i64, *key, Some(b"value"), &[]);
        }
        builder.build(codec, ProducerStamp::NONE).unwrap().to_vec()
    }

    fn ask(bytes: &[u8], rules: &Rules) -> Result<Vec<u8>, Refusal> {
        let (header, bytes) = single_batch(bytes, rules)?;
        check(header, bytes, rules, NOW, None).map(|c| c.batch.as_ref().to_vec())
    }

    #[test]
    fn a_good_batch_passes_unopened_whatever_its_codec() {
        for codec in Codec::ALL {
            let bytes = batch(codec, &[None, Some(b"k")]);
            assert_eq!(ask(&bytes, &RULES), Ok(bytes.clone()));
            let trailing = [&bytes[..], &[0; 3]].concat();
            assert_eq!(ask(&trailing, &RULES), Ok(bytes), "what is no batch is dropped");
        }
    }

    #[test]
    fn every_damaged_or_lying_batch_is_refused() {
        let good = batch(Codec::None, &[Some(b"k")]);
        let edit = |at: usize, bytes: &[u8], mend_crc: bool| {
            let mut b = good.clone();
            b[at..at + bytes.len()].copy_from_slice(bytes);
            if mend_crc {
                batch::set_crc(&mut b);
            }
            ask(&b, &RULES).unwrap_err()
        };
        assert!(matches!(edit(65, &[9], false), Refusal::Corrupt(_)));
        assert!(matches!(edit(16, &[1], false), Refusal::Magic(1)), "magic 1");
        assert!(matches!(edit(16, &[3], false), Refusal::Magic(3)), "magic 3");
        assert!(matches!(edit(8, &[0; 4], false), Refusal::Malformed(_)), "length 0");
        assert!(matches!(edit(8, &[0, 1, 0, 0], false), Refusal::NotOneBatch), "longer than sent");
        assert!(matches!(edit(0, &5_i64.to_be_bytes(), false), Refusal::BadHeader(_)), "base 5");
        assert!(matches!(edit(57, &[0; 4], true), Refusal::BadHeader(_)), "count 0");
        assert!(matches!(edit(57, &9_i32.to_be_bytes(), true), Refusal::BadHeader(_)), "count 9");
        assert!(matches!(edit(22, &[0x20], true), Refusal::BadHeader(_)), "control");
        assert!(matches!(edit(22, &[5], true), Refusal::UnknownCodec(5)));
        assert!(matches!(edit(43, &[0; 8], true), Refusal::BadHeader(_)), "id without sequence");
        for bytes in [&good[..0], &good[..10], &good[..good.len() - 1], &good.repeat(2)] {
            assert_eq!(ask(bytes, &RULES), Err(Refusal::NotOneBatch));
        }
        let small = Rules { batch_bytes_max: good.len() - 1, ..RULES };
        assert!(matches!(ask(&good, &small), Err(Refusal::TooLarge { .. })));
        let small = Rules { segment_bytes: good.len() - 1, ..RULES };
        assert!(matches!(ask(&good, &small), Err(Refusal::OverSegment { .. })));
    }

    #[test]
    fn a_compacted_topic_names_the_records_without_a_key() {
        let rules = Rules { compacted: true, ..RULES };
        let bytes = batch(Codec::Zstd, &[Some(b"k"), None, Some(b"k"), None]);
        let Err(Refusal::NoKey(refused)) = ask(&bytes, &rules) else { panic!("not refused") };
        assert_eq!(refused.iter().map(|r| r.index).collect::<Vec<_>>(), [1, 3]);
        assert!(ask(&batch(Codec::Zstd, &[Some(b"k")]), &rules).is_ok());
    }

    #[test]
    fn timestamps_outside_the_bounds_are_refused_at_the_bound() {
        let bytes = batch(Codec::Gzip, &[None, None, None]);
        for (now, broken) in [(NOW.0, 0), (NOW.0 - 3_600_000, 2), (NOW.0 - 3_600_003, 3)] {
            let (header, whole) = single_batch(&bytes, &RULES).unwrap();
            match check(header, whole, &RULES, WallMs(now), None) {
                Ok(_) => assert_eq!(broken, 0),
                Err(Refusal::BadTimestamp(refused)) => assert_eq!(refused.len(), broken),
                Err(e) => panic!("{e}"),
            }
        }
        let rules = Rules { before_max_ms: 10, ..RULES };
        let (header, whole) = single_batch(&bytes, &rules).unwrap();
        let late = check(header, whole, &rules, WallMs(NOW.0 + 11), None);
        assert!(matches!(late, Err(Refusal::BadTimestamp(refused)) if refused.len() == 1));
    }

    #[test]
    fn another_codec_is_written_when_the_topic_asks_and_the_records_stay() {
        let bytes = batch(Codec::Gzip, &[Some(b"a"), None]);
        let rules = Rules { codec: Some((Codec::Zstd, 3)), ..RULES };
        let anew = ask(&bytes, &rules).unwrap();
        let (header, whole) = BatchHeader::parse_whole(&anew).unwrap();
        header.check_crc(whole).unwrap();
        assert_eq!((header.codec_id(), header.count), (4, 2));
        let open = |codec: Codec, b: &[u8]| codec.decompress(&b[HEADER_BYTES..], 1 << 20).unwrap();
        assert_eq!(open(Codec::Zstd, &anew), open(Codec::Gzip, &bytes));
    }
}
