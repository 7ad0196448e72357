//! What a partition remembers of each idempotent producer, so that a retried batch is recognised.
//!
//! Per producer id the last five batches are kept (KIP-98, KIP-360): a batch with the sequences of
//! one of them is a duplicate and gets the offsets of the first time; else its sequence must follow
//! the last one. A producer that is not known (new, or expired) may begin anywhere.
//!
//! On disk it is Kafka's `.snapshot`: i16 version 1, CRC-32C of what follows, i32 count, then per
//! producer id i64, epoch i16, last sequence i32, last offset i64, offset delta i32, timestamp i64,
//! coordinator epoch i32, first offset of the open transaction i64. Kafka writes the last batch of
//! each producer; here all that are remembered have an entry, oldest first, so that a retry of any of
//! them is recognised after a restart too. Kafka, reading this, keeps the last one.

use std::time::Duration;

use super::known::Known;
use crate::base::{Moment, Offset, WallMs};
use crate::wire::batch::BatchHeader;

/// Batches remembered per producer; also the most requests that an idempotent client has in flight.
pub const BATCHES_KEPT: usize = 5;

/// Clients do not send a batch again after so long (librdkafka gives up after 5 minutes, Java after 2).
const RETRIED_FOR: Duration = Duration::from_mins(10);

const SNAPSHOT_VERSION: i16 = 1;
const SNAPSHOT_HEAD_BYTES: usize = 10;
const SNAPSHOT_ENTRY_BYTES: usize = 46;

/// One remembered batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KnownBatch {
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Records minus one.
    pub offset_delta: i32,
    /// Its largest timestamp, ms.
    pub timestamp: i64,
}

impl KnownBatch {
    /// Offset of its first record.
    pub fn base_offset(&self) -> Offset {
        Offset(self.last_offset.0 - i64::from(self.offset_delta))
    }

    fn first_sequence(&self) -> i32 {
        ((i64::from(self.last_sequence) - i64::from(self.offset_delta)) & i64::from(i32::MAX))
            as i32
    }
}

/// What is known of one producer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Producer {
    /// Epoch of its last batch.
    pub epoch: i16,
    /// Time of its last batch, ms.
    pub last_timestamp: i64,
    /// When that was appended; the very beginning if it was read back.
    heard: Moment,
    kept: u8,
    last: [KnownBatch; BATCHES_KEPT],
}

impl Producer {
    pub(super) fn new(epoch: i16, last_timestamp: i64) -> Self {
        Self { epoch, last_timestamp, ..Self::default() }
    }

    /// Its last batches, oldest first.
    pub fn batches(&self) -> &[KnownBatch] {
        &self.last[..usize::from(self.kept)]
    }

    /// Sequence of its last record; -1 before the first.
    pub fn last_sequence(&self) -> i32 {
        self.batches().last().map_or(-1, |b| b.last_sequence)
    }

    fn push(&mut self, batch: KnownBatch) {
        if usize::from(self.kept) == BATCHES_KEPT {
            self.last.copy_within(1.., 0);
            self.kept -= 1;
        }
        self.last[usize::from(self.kept)] = batch;
        self.kept += 1;
    }
}

/// How a batch stands to what its producer sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequence {
    /// The next one: append it.
    Next,
    /// Appended before: answer as the first time.
    Duplicate(KnownBatch),
}

/// The batch does not follow what its producer sent before. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// A newer instance of the producer has written already.
    #[error("producer epoch {epoch} is behind the current epoch {current}")]
    StaleEpoch {
        /// In the batch.
        epoch: i16,
        /// Of the producer's last batch.
        current: i16,
    },
    /// Some batches are missing in between.
    #[error("sequence {sequence} does not follow the last sequence {last}")]
    OutOfOrder {
        /// First sequence of the batch.
        sequence: i32,
        /// Last sequence that was appended.
        last: i32,
    },
}

/// The bytes are not a producer snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the producer snapshot is damaged: {0}")]
pub struct SnapshotError(&'static str);

/// Which producers are forgotten: those whose last timestamp is `expiration_ms` old, unless they were heard
/// of within the last 10 minutes.
///
/// Kafka looks at the timestamp alone. It is the client's, and the clock may jump: what a producer
/// sent a moment ago would be a day old, and its retry be appended again.
#[derive(Debug, Clone, Copy)]
pub struct Silent {
    /// The time.
    pub now: (Moment, WallMs),
    /// `producer.id.expiration.ms`.
    pub expiration_ms: i64,
}

impl Silent {
    /// How long since producers must have been silent, whatever their timestamps say.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.expiration_ms.cast_unsigned()).min(RETRIED_FOR)
    }

    fn is(&self, producer: &Producer) -> bool {
        let (now, wall) = self.now;
        wall.0.saturating_sub(producer.last_timestamp) >= self.expiration_ms
            && now.since(producer.heard) >= self.grace()
    }
}

/// All producers that one partition knows. A copy shares what neither changes.
#[derive(Debug, Clone, Default)]
pub struct Producers {
    known: Known,
}

impl PartialEq for Producers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Producers {
    /// Knows none.
    pub fn new() -> Self {
        Self::default()
    }

    /// Places a batch that has a producer id.
    ///
    /// # Errors
    /// [`ProducerError`].
    pub fn check(&self, batch: &BatchHeader) -> Result<Sequence, ProducerError> {
        let Some(producer) = self.known.find(batch.producer_id) else { return Ok(Sequence::Next) };
        let (epoch, current) = (batch.producer_epoch, producer.epoch);
        let (sequence, last) = (batch.base_sequence, producer.last_sequence());
        if epoch == current {
            let same = |b: &&KnownBatch| {
                b.first_sequence() == sequence && b.last_sequence == batch.last_sequence()
            };
            if let Some(known) = producer.batches().iter().find(same) {
                return Ok(Sequence::Duplicate(*known));
            }
        }
        if epoch < current {
            return Err(ProducerError::StaleEpoch { epoch, current });
        }
        let expected = if epoch > current || last == i32::MAX { 0 } else { last + 1 };
        let begins = epoch == current && producer.batches().is_empty();
        if sequence == expected || begins {
            return Ok(Sequence::Next);
        }
        Err(ProducerError::OutOfOrder { sequence, last })
    }

    /// A batch with a producer id was appended now, or read back in recovery (`None`).
    pub fn on_append(&mut self, batch: &BatchHeader, now: Option<Moment>) {
        let fresh = || Producer::new(batch.producer_epoch, batch.max_timestamp);
        let producer = self.known.entry(batch.producer_id, fresh);
        if producer.epoch != batch.producer_epoch {
            *producer = fresh();
        }
        producer.last_timestamp = batch.max_timestamp;
        producer.heard = now.unwrap_or_default();
        producer.push(KnownBatch {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
    }

    /// Forgets producers that are `silent`, among those from id `from` on: as many as there is `room` to
    /// look at, but for a few. Where to go on when there is none left.
    pub fn expire(&mut self, silent: Silent, from: i64, room: &mut usize) -> Option<i64> {
        self.known.sweep(from, room, |producer| silent.is(producer))
    }

    /// All producers, by id.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.known.iter()
    }

    /// Number of producers.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.known.len() == 0
    }

    /// The `.snapshot` file.
    pub fn snapshot(&self) -> Vec<u8> {
        let entries: usize = self.iter().map(|(_, p)| p.batches().len()).sum();
        let mut out = Vec::with_capacity(SNAPSHOT_HEAD_BYTES + entries * SNAPSHOT_ENTRY_BYTES);
        out.resize(SNAPSHOT_HEAD_BYTES, 0);
        for (id, producer) in self.iter() {
            for batch in producer.batches() {
                out.extend_from_slice(&id.to_be_bytes());
                out.extend_from_slice(&producer.epoch.to_be_bytes());
                out.extend_from_slice(&batch.last_sequence.to_be_bytes());
                out.extend_from_slice(&batch.last_offset.0.to_be_bytes());
                out.extend_from_slice(&batch.offset_delta.to_be_bytes());
                out.extend_from_slice(&batch.timestamp.to_be_bytes());
                out.extend_from_slice(&(-1_i32).to_be_bytes());
                out.extend_from_slice(&(-1_i64).to_be_bytes());
            }
        }
        out[0..2].copy_from_slice(&SNAPSHOT_VERSION.to_be_bytes());
        out[6..10].copy_from_slice(&(entries as i32).to_be_bytes());
        let crc = crc32c::crc32c(&out[6..]);
        out[2..6].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads a `.snapshot` file.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (head, entries) =
            bytes.split_first_chunk::<SNAPSHOT_HEAD_BYTES>().ok_or(SnapshotError("it is cut"))?;
        if head[0..2] != SNAPSHOT_VERSION.to_be_bytes() {
            return Err(SnapshotError("its version is not 1"));
        }
        if head[2..6] != crc32c::crc32c(&bytes[6..]).to_be_bytes() {
            return Err(SnapshotError("its checksum does not match"));
        }
        let count = i32::from_be_bytes([head[6], head[7], head[8], head[9]]);
        if entries.len() != usize::try_from(count).unwrap_or(0) * SNAPSHOT_ENTRY_BYTES {
            return Err(SnapshotError("its size does not match its count"));
        }
        let mut known = Known::default();
        for e in entries.chunks_exact(SNAPSHOT_ENTRY_BYTES) {
            let i32_at = |at: usize| i32::from_be_bytes([e[at], e[at + 1], e[at + 2], e[at + 3]]);
            let i64_at = |at: usize| {
                (i64::from(i32_at(at)) << 32) | i64::from(i32_at(at + 4).cast_unsigned())
            };
            let epoch = i16::from_be_bytes([e[8], e[9]]);
            let batch = KnownBatch {
                last_sequence: i32_at(10),
                last_offset: Offset(i64_at(14)),
                offset_delta: i32_at(22),
                timestamp: i64_at(26),
            };
            let producer = known.entry(i64_at(0), || Producer::new(epoch, 0));
            producer.last_timestamp = batch.timestamp;
            if batch.last_offset.0 >= 0 {
                producer.push(batch);
            }
        }
        Ok(Self { known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::{BatchBuilder, ProducerStamp};
    use crate::wire::{batch, codec::Codec};
    use expect_test::{Expect, expect};
    use std::fmt::Write as _;

    fn header(id: i64, epoch: i16, sequence: i32, records: i32, base: i64) -> BatchHeader {
        let mut builder = BatchBuilder::default();
        for _ in 0..records {
            builder.push(1000, None, None, &[]);
        }
        let stamp = ProducerStamp { id, epoch, sequence, transactional: false };
        let mut bytes = builder.build(Codec::None, stamp).unwrap().to_vec();
        batch::set_base_offset(&mut bytes, Offset(base));
        BatchHeader::parse(&bytes).unwrap()
    }

    /// Sends batches of two records, `epoch sequence` a line, of one producer.
    #[track_caller]
    fn check(script: &str, expect: &Expect) {
        let (mut producers, mut end, mut trace) = (Producers::new(), 0, String::new());
        for line in script.lines().map(str::trim) {
            let (epoch, sequence) = line.split_once(' ').unwrap();
            let batch = header(9, epoch.parse().unwrap(), sequence.parse().unwrap(), 2, end);
            match producers.check(&batch) {
                Ok(Sequence::Next) => {
                    writeln!(trace, "{line} -> at {end}").unwrap();
                    producers.on_append(&batch, None);
                    end += 2;
                }
                Ok(Sequence::Duplicate(b)) => {
                    writeln!(trace, "{line} -> was at {}", b.base_offset()).unwrap();
                }
                Err(e) => writeln!(trace, "{line} -> refused: {e}").unwrap(),
            }
        }
        expect.assert_eq(&trace);
    }

    #[test]
    fn a_retry_of_one_of_the_last_five_batches_is_answered_as_the_first_time() {
        check(
            "0 0\n0 2\n0 4\n0 6\n0 8\n0 10\n0 2\n0 10\n0 0",
            &expect![[r"
                0 0 -> at 0
                0 2 -> at 2
                0 4 -> at 4
                0 6 -> at 6
                0 8 -> at 8
                0 10 -> at 10
                0 2 -> was at 2
                0 10 -> was at 10
                0 0 -> refused: sequence 0 does not follow the last sequence 11
            "]],
        );
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_an_old_one_is_refused() {
        check(
            "0 5\n0 9\n1 1\n1 0\n0 7\n1 1",
            &expect![[r"
                0 5 -> at 0
                0 9 -> refused: sequence 9 does not follow the last sequence 6
                1 1 -> refused: sequence 1 does not follow the last sequence 6
                1 0 -> at 2
                0 7 -> refused: producer epoch 0 is behind the current epoch 1
                1 1 -> refused: sequence 1 does not follow the last sequence 1
            "]],
        );
    }

    #[test]
    fn sequences_wrap_to_zero() {
        check(
            "0 2147483646\n0 0\n0 2147483646",
            &expect![[r"
                0 2147483646 -> at 0
                0 0 -> at 2
                0 2147483646 -> was at 0
            "]],
        );
    }

    #[test]
    fn a_snapshot_reads_back_with_all_that_is_remembered_of_each_producer() {
        let mut producers = Producers::new();
        producers.on_append(&header(7, 3, 0, 2, 10), None);
        producers.on_append(&header(7, 3, 2, 1, 12), None);
        producers.on_append(&header(4, 0, 5, 1, 13), None);
        let bytes = producers.snapshot();
        let read = Producers::from_snapshot(&bytes).unwrap();
        assert_eq!(read, producers);
        assert_eq!(read.snapshot(), bytes);
        for cut in 0..bytes.len() {
            assert!(Producers::from_snapshot(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn a_producer_that_is_silent_by_its_timestamp_and_by_the_steady_clock_is_forgotten() {
        const DAY: i64 = 86_400_000;
        let minutes = |n: u64| Moment(n * 60_000_000_000);
        let mut producers = Producers::new();
        producers.on_append(&header(7, 3, 0, 2, 10), Some(minutes(100)));
        producers.on_append(&header(8, 0, 0, 2, 12), None);
        let mut left = |now, wall, expiration_ms| {
            producers.expire(Silent { now: (now, WallMs(wall)), expiration_ms }, i64::MIN, &mut 9);
            producers.iter().map(|(id, _)| id).collect::<Vec<_>>()
        };
        assert_eq!(left(minutes(200), 1000 + DAY - 1, DAY), [7, 8]);
        assert_eq!(left(minutes(109), 1000 + DAY, DAY), [7]);
        assert_eq!(left(minutes(110), 1000 + DAY - 1, DAY), [7]);
        assert_eq!(left(minutes(110), 1000 + DAY, DAY), [0; 0]);
    }
}
