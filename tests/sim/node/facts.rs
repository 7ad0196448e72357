//! What has to be true of a server, whatever happens to it: gathered from what clients were told.

use std::collections::BTreeMap;

use klamm::base::{DetMap, Moment, TopicId};
use klamm::wire::ErrorCode;
use klamm::wire::batch::{BatchHeader, HEADER_BYTES};
use klamm::wire::codec::Codec;

use super::admin::RECODED;

/// A partition of one incarnation of a topic.
pub(crate) type LogKey = (TopicId, i32);

/// Where the part of a batch begins that a broker never changes.
const FIXED_FROM: usize = 16;
/// Where the timestamps begin.
const TIMES_FROM: usize = 27;

struct Batch {
    log: LogKey,
    producer: usize,
    counter: u64,
    at: Option<i64>,
    /// What consumers get of it, where the topic keeps the producer's codec.
    bytes: Option<Vec<u8>>,
}

/// What no codec changes of a batch: times, producer, sequence and the records.
fn content(batch: &[u8]) -> Vec<u8> {
    let header = BatchHeader::parse(batch).unwrap();
    let codec = Codec::from_id(header.codec_id()).unwrap();
    let mut content = batch[TIMES_FROM..HEADER_BYTES].to_vec();
    content.extend(codec.decompress(&batch[HEADER_BYTES..], 1 << 20).unwrap());
    content
}

/// One log, as far as anybody was told of it.
#[derive(Default)]
pub(crate) struct LogFacts {
    /// Base offset to (next offset, batch), for every batch whose place is known.
    at: BTreeMap<i64, (i64, usize)>,
    /// Base offsets by producer and counter: they rise together.
    order: BTreeMap<(usize, u64), i64>,
    /// Ends that were acknowledged, and when.
    acked: Vec<(i64, Moment)>,
    /// Highest high watermark that a consumer saw.
    pub high_watermark: i64,
    /// Log start that was asked for, and the one that was acknowledged.
    pub start_max: i64,
    pub start_acked: i64,
}

impl LogFacts {
    pub(crate) fn acked_end(&self) -> i64 {
        self.acked.last().map_or(0, |a| a.0)
    }

    /// When something at or after `offset` was acknowledged first.
    pub(crate) fn acked_since(&self, offset: i64) -> Option<Moment> {
        let at = self.acked.partition_point(|(end, _)| *end <= offset);
        self.acked.get(at).map(|(_, since)| *since)
    }
}

/// An offset that a group committed.
#[derive(Default, Clone, Copy)]
pub(crate) struct Committed {
    pub acked: i64,
    pub sent: i64,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Facts {
    batches: Vec<Batch>,
    by_content: DetMap<Vec<u8>, usize>,
    pub logs: BTreeMap<LogKey, LogFacts>,
    /// Topics whose creation was acknowledged and whose deletion nobody asked for.
    pub created: BTreeMap<TopicId, String>,
    /// Topics whose deletion was asked for.
    pub doomed: Vec<TopicId>,
    /// Topics whose deletion was acknowledged.
    pub deleted: Vec<TopicId>,
    pub offsets: BTreeMap<(String, i32), Committed>,
    /// The disk fails since the server last started.
    pub faulty: bool,
    /// Answers that said so.
    pub storage_errors: usize,
    /// What happened, for the test to see that something did.
    pub acks: usize,
    pub seen: usize,
    pub commits: usize,
    pub openings: usize,
    pub told: u64,
}

impl Facts {
    pub(crate) fn log(&mut self, key: LogKey) -> &mut LogFacts {
        self.logs.entry(key).or_default()
    }

    /// Whether this answer is what a failing disk makes of it.
    pub(crate) fn is_storage_error(&mut self, code: i16) -> bool {
        let is = self.faulty && ErrorCode(code) == ErrorCode::KAFKA_STORAGE_ERROR;
        self.storage_errors += usize::from(is);
        is
    }

    pub(crate) fn is_doomed(&self, topic: TopicId) -> bool {
        self.doomed.contains(&topic)
    }

    /// A producer is about to send a batch, with this counter of its own. Returns its number.
    pub(crate) fn on_send(
        &mut self,
        log: LogKey,
        producer: usize,
        counter: u64,
        batch: &[u8],
        recoded: bool,
    ) -> usize {
        let id = self.batches.len();
        let bytes = (!recoded).then(|| batch[FIXED_FROM..].to_vec());
        self.batches.push(Batch { log, producer, counter, at: None, bytes });
        let known = self.by_content.insert(content(batch), id);
        assert!(known.is_none(), "two batches are the same");
        id
    }

    /// A batch was acknowledged at an offset, or without one (a duplicate).
    pub(crate) fn on_ack(&mut self, id: usize, base: i64, count: i64, now: Moment) {
        self.acks += 1;
        let log = self.batches[id].log;
        if base < 0 {
            return;
        }
        self.place(id, base, base + count);
        let facts = self.log(log);
        if base + count > facts.acked_end() {
            facts.acked.push((base + count, now));
        }
    }

    /// A batch lies here, said by an acknowledgement or seen by a consumer.
    fn place(&mut self, id: usize, base: i64, next: i64) {
        let batch = &mut self.batches[id];
        let (log, producer, counter) = (batch.log, batch.producer, batch.counter);
        let known = batch.at.replace(base);
        assert!(known.is_none_or(|at| at == base), "batch {id} is at {known:?} and at {base}");
        let facts = self.log(log);
        if let Some(there) = facts.at.insert(base, (next, id)) {
            assert_eq!(there, (next, id), "{log:?}: another batch is at {base}");
            return;
        }
        let before = facts.at.range(..base).next_back().map_or(0, |(_, (end, _))| *end);
        let after = facts.at.range(base + 1..).next().map_or(i64::MAX, |(at, _)| *at);
        assert!(before <= base && next <= after, "{log:?}: {base}..{next} overlaps");
        facts.order.insert((producer, counter), base);
        let lower = facts.order.range((producer, 0)..(producer, counter)).next_back();
        let upper = facts.order.range((producer, counter + 1)..(producer, u64::MAX)).next();
        let in_order =
            lower.is_none_or(|(_, at)| *at < base) && upper.is_none_or(|(_, at)| base < *at);
        assert!(in_order, "{log:?}: producer {producer} is out of order at {base}");
    }

    /// A consumer got bytes at `from`. Returns where it goes on.
    pub(crate) fn on_seen(&mut self, log: LogKey, from: i64, mut bytes: &[u8]) -> i64 {
        let mut next = from;
        while let Ok((header, batch)) = BatchHeader::parse_whole(bytes) {
            header.check_crc(batch).expect("a checksum");
            let (base, end) = (header.base_offset.0, header.next_offset().0);
            let is_first = next == from;
            assert!(base == next || is_first && base < next, "{log:?}: {base} follows {next}");
            assert!(end > next, "{log:?}: {base}..{end} was not asked for at {next}");
            let Some(&id) = self.by_content.get(&content(batch)) else {
                panic!("{log:?}: {header:?} was never sent");
            };
            let sent = &self.batches[id];
            assert_eq!(sent.log, log, "a batch of another log");
            match &sent.bytes {
                Some(bytes) => assert!(*bytes == batch[FIXED_FROM..], "{header:?} was changed"),
                None => assert_eq!(header.codec_id(), RECODED.1 as u8, "{header:?}"),
            }
            self.place(id, base, end);
            self.seen += 1;
            next = end;
            bytes = &bytes[batch.len()..];
        }
        next
    }

    /// A consumer was told how far the log goes; `asked` is what was known when it asked.
    pub(crate) fn on_bounds(
        &mut self,
        log: LogKey,
        asked: (i64, i64),
        high_watermark: i64,
        start: i64,
    ) {
        let facts = self.log(log);
        assert!(
            high_watermark >= asked.0,
            "{log:?}: high watermark {high_watermark} after {}",
            asked.0
        );
        assert!(start >= asked.1, "{log:?}: starts at {start}, {} was acknowledged", asked.1);
        assert!(start <= facts.start_max, "{log:?}: starts at {start}, not {}", facts.start_max);
        assert!(start <= high_watermark, "{log:?}: starts at {start}, ends at {high_watermark}");
        facts.high_watermark = facts.high_watermark.max(high_watermark);
    }

    /// What an answer about the log has to say at least: high watermark and log start.
    pub(crate) fn bounds(&mut self, log: LogKey) -> (i64, i64) {
        let facts = self.log(log);
        (facts.high_watermark.max(facts.acked_end()), facts.start_acked)
    }
}
