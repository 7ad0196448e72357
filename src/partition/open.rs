//! Opening a batch: decompress it, look at each record, and write it anew in the topic's codec.
//!
//! A pure function that may take seconds, so only small batches are opened where a turn waits for it
//! ([`open_small`]); see `shard::opening` for the others. The records are never gathered: they are read
//! twice from the plain bytes, which are bounded.

use std::borrow::Cow;

use bytes::Bytes;

use crate::base::WallMs;
use crate::partition::append::{RecordRefusal, Refusal, Rules, check_unopened};
use crate::wire::batch::{self, BatchHeader, HEADER_BYTES};
use crate::wire::codec::{Codec, CodecError};
use crate::wire::record::{self, BatchBuilder, ProducerStamp, Record, RecordError};

/// Decompressed, a batch may be this many times `max.message.bytes`, and at least [`PLAIN_BYTES_MIN`].
const PLAIN_FACTOR: usize = 16;
const PLAIN_BYTES_MIN: usize = 16 << 20;
/// What writing a batch anew takes at most, as a multiple of its plain bytes: those, the records once
/// more, and the packed ones, while one of them grows.
const MEMORY_FACTOR: usize = 4;
/// Records of a batch that are named when they are refused; a client learns nothing from more.
const NAMED_MAX: usize = 10_000;

/// What came of opening a batch that `check` may take: bytes to append in its place when it had to be
/// written anew.
pub type Opened = Result<Option<Bytes>, Refusal>;

/// Whether it takes a look at the header to say [`must_open`]: the rules alone say no for most.
#[inline]
pub fn may_have_to_open(batch: &[u8], rules: &Rules, now: WallMs) -> bool {
    let bounds = Bounds::of(rules, now);
    let late = batch::peek_max_timestamp(batch).is_some_and(|max| max > bounds.latest);
    late || bounds.earliest > 0 || rules.compacted || rules.codec.is_some()
}

/// Whether the header is not enough to say that a batch may be appended as it is. One that is refused
/// for its header need not be opened.
#[inline]
pub fn must_open(header: &BatchHeader, rules: &Rules, now: WallMs) -> bool {
    let wanted =
        recodes(header, rules) || rules.compacted || Bounds::of(rules, now).may_break(header);
    wanted && check_unopened(header, rules).is_ok()
}

fn recodes(header: &BatchHeader, rules: &Rules) -> bool {
    rules.codec.is_some_and(|(codec, _)| codec as u8 != header.codec_id())
}

/// Opens a whole batch whose checksum is right, and checks its records. It takes at most `memory_bytes`,
/// and refuses what would need more.
///
/// # Errors
/// [`Refusal`].
pub fn open(
    header: &BatchHeader,
    bytes: &[u8],
    rules: &Rules,
    now: WallMs,
    memory_bytes: usize,
) -> Opened {
    let sent = check_unopened(header, rules)?;
    let share = if recodes(header, rules) { memory_bytes / MEMORY_FACTOR } else { memory_bytes };
    let limit = plain_bytes_max(rules).min(share);
    let packed = &bytes[HEADER_BYTES..];
    let plain = match sent {
        Codec::None => Cow::Borrowed(packed),
        _ => Cow::Owned(sent.decompress(packed, limit).map_err(unpacked)?),
    };
    if plain.len() > limit && recodes(header, rules) {
        return Err(Refusal::OverMemory { limit_bytes: limit });
    }
    open_plain(header, sent, &plain, rules, now)
}

/// The same for a batch that is cheap to open: one whose plain form fits into `room`, from which its
/// size is taken. `None` for others; nothing is known of them.
pub fn open_small(
    header: &BatchHeader,
    bytes: &[u8],
    rules: &Rules,
    now: WallMs,
    room: &mut usize,
) -> Option<Opened> {
    let is_dear = rules.codec.is_some_and(|(codec, level)| level > codec.default_level().max(1));
    if is_dear || bytes.len() > *room {
        return None;
    }
    let sent = match check_unopened(header, rules) {
        Ok(sent) => sent,
        Err(refusal) => return Some(Err(refusal)),
    };
    match sent.decompress(&bytes[HEADER_BYTES..], (*room).min(plain_bytes_max(rules))) {
        Ok(plain) => {
            *room -= plain.len();
            Some(open_plain(header, sent, &plain, rules, now))
        }
        // That was work too: whoever comes next in this turn gets none of it.
        Err(CodecError::TooLarge { .. }) => {
            *room = 0;
            None
        }
        Err(e) => Some(Err(bad(e))),
    }
}

fn plain_bytes_max(rules: &Rules) -> usize {
    rules.batch_bytes_max.saturating_mul(PLAIN_FACTOR).max(PLAIN_BYTES_MIN)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn bad(e: impl std::fmt::Display) -> Refusal {
    Refusal::BadRecords(e.to_string())
}

fn unpacked(e: CodecError) -> Refusal {
    match e {
        CodecError::TooLarge { limit_bytes } => Refusal::OverMemory { limit_bytes },
        damaged @ CodecError::Damaged { .. } => bad(damaged),
    }
}

fn open_plain(
    header: &BatchHeader,
    sent: Codec,
    plain: &[u8],
    rules: &Rules,
    now: WallMs,
) -> Opened {
    check_records(header, plain, rules, now)?;
    match rules.codec.filter(|(codec, _)| *codec != sent) {
        Some((codec, level)) => encode_anew(header, plain, codec, level).map(Some).map_err(bad),
        None => Ok(None),
    }
}

/// The timestamps that a topic takes.
struct Bounds {
    earliest: i64,
    latest: i64,
}

impl Bounds {
    /// Any, where the broker sets the time.
    fn of(rules: &Rules, now: WallMs) -> Self {
        if rules.append_time {
            return Self { earliest: i64::MIN, latest: i64::MAX };
        }
        let earliest = now.0.saturating_sub(rules.before_max_ms);
        Self { earliest, latest: now.0.saturating_add(rules.after_max_ms) }
    }

    /// Only the bounds of all records are in the header, so an earliest bound that means anything
    /// needs the batch opened.
    fn may_break(&self, header: &BatchHeader) -> bool {
        header.max_timestamp > self.latest || self.earliest > 0
    }

    fn broken_by(&self, timestamp: i64) -> bool {
        timestamp != batch::NO_TIMESTAMP && !(self.earliest..=self.latest).contains(&timestamp)
    }
}

fn check_records(
    header: &BatchHeader,
    plain: &[u8],
    rules: &Rules,
    now: WallMs,
) -> Result<(), Refusal> {
    let bounds = Bounds::of(rules, now);
    let (mut keyless, mut untimely) = (Vec::new(), Vec::new());
    for (at, record) in record::records(plain, header.count).enumerate() {
        let record: Record<'_> = record.map_err(|e: RecordError| bad(e))?;
        let refuse = |message| RecordRefusal { index: at as i32, message };
        if rules.compacted && record.key.is_none() && keyless.len() < NAMED_MAX {
            keyless.push(refuse("a compacted topic needs a key".to_owned()));
        }
        let timestamp = timestamp(header, &record);
        if bounds.broken_by(timestamp) && untimely.len() < NAMED_MAX {
            let Bounds { earliest, latest } = bounds;
            let message = format!("timestamp {timestamp} is outside {earliest}..={latest}");
            untimely.push(refuse(message));
        }
    }
    if !keyless.is_empty() {
        return Err(Refusal::NoKey(keyless));
    }
    if !untimely.is_empty() {
        return Err(Refusal::BadTimestamp(untimely));
    }
    Ok(())
}

fn timestamp(header: &BatchHeader, record: &Record<'_>) -> i64 {
    header.base_timestamp.saturating_add(record.timestamp_delta)
}

fn encode_anew(
    header: &BatchHeader,
    plain: &[u8],
    codec: Codec,
    level: i32,
) -> Result<Bytes, CodecError> {
    let mut builder = BatchBuilder::default();
    let mut headers = Vec::new();
    for record in record::records(plain, header.count).flatten() {
        headers.clear();
        headers.extend(record.headers());
        builder.push(timestamp(header, &record), record.key, record.value, &headers);
    }
    let producer = ProducerStamp {
        id: header.producer_id,
        epoch: header.producer_epoch,
        sequence: header.base_sequence,
        transactional: header.is_transactional(),
    };
    builder.build_at_level(codec, level, producer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::append::single_batch;

    const NOW: WallMs = WallMs(1_700_000_000_000);

    fn zeros(count: usize, bytes: usize, codec: Codec) -> Vec<u8> {
        let mut builder = BatchBuilder::default();
        for _ in 0..count {
            builder.push(NOW.0, None, Some(&vec![0; bytes]), &[]);
        }
        builder.build(codec, ProducerStamp::NONE).unwrap().to_vec()
    }

    #[test]
    fn a_batch_is_small_when_its_plain_form_fits_whatever_was_sent() {
        let rules = Rules { codec: Some((Codec::Lz4, 9)), ..Rules::default() };
        let fits = zeros(1, 600, Codec::Zstd);
        let bomb = zeros(1, 1 << 20, Codec::Zstd);
        assert!(bomb.len() < 1000, "{}", bomb.len());
        let small = |bytes: &[u8], rules: &Rules, room: &mut usize| {
            let (header, whole) = single_batch(bytes, rules).unwrap();
            assert!(must_open(&header, rules, NOW));
            let opened = open_small(&header, whole, rules, NOW, room);
            if let Some(opened) = &opened {
                let apart = open(&header, whole, rules, NOW, usize::MAX);
                assert_eq!(*opened, apart, "the same, whoever asks");
            }
            opened
        };
        let mut room = 1500;
        assert!(small(&fits, &rules, &mut room).unwrap().unwrap().is_some());
        assert!((800..900).contains(&room), "{room} left");
        assert!(small(&fits, &rules, &mut room).is_some());
        assert!(small(&fits, &rules, &mut room).is_none(), "the room is used up");
        room = 1500;
        assert!(small(&bomb, &rules, &mut room).is_none());
        assert!(small(&fits, &rules, &mut room).is_none(), "trying the bomb took it all");
        let dear = Rules { codec: Some((Codec::Zstd, 22)), ..rules };
        assert!(small(&zeros(1, 10, Codec::None), &dear, &mut 1500).is_none(), "a high level");
    }

    #[test]
    fn of_many_bad_records_some_are_named() {
        let rules = Rules { compacted: true, ..Rules::default() };
        let bytes = zeros(NAMED_MAX + 5, 0, Codec::None);
        let (header, whole) = single_batch(&bytes, &rules).unwrap();
        let Err(Refusal::NoKey(named)) = open(&header, whole, &rules, NOW, 1 << 20) else {
            panic!()
        };
        assert_eq!((named.len(), named[7].index), (NAMED_MAX, 7));
    }

    #[test]
    fn what_takes_more_memory_than_there_is_for_it_is_refused() {
        let rules = Rules { codec: Some((Codec::Lz4, 1)), ..Rules::default() };
        let opens = |codec, rules: &Rules, memory_bytes| {
            let bytes = zeros(1, 1 << 20, codec);
            let rules = Rules { batch_bytes_max: 2 << 20, ..*rules };
            let (header, whole) = single_batch(&bytes, &rules).unwrap();
            match open(&header, whole, &rules, NOW, memory_bytes) {
                Ok(_) => true,
                Err(Refusal::OverMemory { .. }) => false,
                Err(other) => panic!("{other:?}"),
            }
        };
        for codec in [Codec::None, Codec::Zstd] {
            assert!(opens(codec, &rules, 5 << 20), "{codec:?}");
            assert!(!opens(codec, &rules, 4 << 20), "{codec:?}: it has to be written anew");
        }
        let compacted = Rules { before_max_ms: 1 << 40, ..Rules::default() };
        assert!(opens(Codec::Zstd, &compacted, 2 << 20));
        assert!(!opens(Codec::Zstd, &compacted, 1 << 20));
        assert!(opens(Codec::None, &compacted, 0), "it is looked at where it lies");
    }
}
