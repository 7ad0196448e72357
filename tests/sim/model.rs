//! What has to be true of a log: every batch that was sent, and how far it was acknowledged.

use klamm::base::{Offset, TopicPartition};
use klamm::partition::producers::Producers;
use klamm::storage::{Log, LogId};
use klamm::wire::batch;

/// A batch as it has to lie in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub base: i64,
    pub next: i64,
    pub bytes: Vec<u8>,
}

/// One log.
#[derive(Debug, Clone)]
pub(crate) struct ModelLog {
    pub tp: TopicPartition,
    pub topic: String,
    pub id: LogId,
    /// What the log may hold, in order. After a crash it is cut to what the log does hold.
    pub sent: Vec<Sent>,
    /// Reported durable.
    pub acked: i64,
    /// Log start that was asked for, or that retention may have reached.
    pub start_max: i64,
    /// Log start that was reported.
    pub start_acked: i64,
    /// The same partition was deleted before: until something of this one is acknowledged, a crash
    /// may bring the old one back.
    pub(crate) reborn: bool,
    /// Reported as failed, or damaged by the test.
    pub hurt: bool,
    /// Appends wait for syncs.
    pub waits: bool,
}

impl ModelLog {
    pub(crate) fn end(&self) -> i64 {
        self.sent.last().map_or(0, |b| b.next)
    }

    /// The batches from the one that holds `offset` on.
    pub(crate) fn from(&self, offset: i64) -> &[Sent] {
        &self.sent[self.sent.partition_point(|b| b.next <= offset)..]
    }

    /// The log came back: it may end earlier than what was sent, but not than what was
    /// acknowledged, and only where a batch ends.
    pub(crate) fn on_recovered(&mut self, start: Offset, end: Offset) {
        let name = format!("{}-{}", self.topic, self.tp.partition);
        assert!(end.0 >= self.acked, "{name}: acknowledged to {}, ends at {end}", self.acked);
        assert!(start.0 >= self.start_acked, "{name}: start {} was acknowledged", self.start_acked);
        assert!(start.0 <= self.start_max, "{name}: starts at {start}, not {}", self.start_max);
        let kept = self.sent.partition_point(|b| b.next <= end.0);
        self.sent.truncate(kept);
        let whole = self.end() == end.0 || end == start;
        assert!(whole, "{name}: ends at {end} inside a batch or past {}", self.end());
        self.acked = end.0;
        (self.start_acked, self.start_max) = (start.0, start.0);
    }

    /// Leader epochs and producers have to be those of the batches that are there.
    pub(crate) fn check_derived(&self, log: &Log) {
        let mut producers = Producers::new();
        for (header, _) in self.sent.iter().flat_map(|sent| batch::iter(&sent.bytes)) {
            if header.has_producer() {
                producers.on_append(&header, None);
            }
            if header.base_offset >= log.log_start() {
                let epoch = log.epochs().epoch_of(header.base_offset);
                assert_eq!(
                    epoch,
                    Some(header.leader_epoch),
                    "{} {}",
                    self.topic,
                    header.base_offset
                );
            }
        }
        for (id, producer) in producers.iter() {
            let known = log.producers().iter().find(|p| p.0 == id).map(|p| p.1.last_sequence());
            let there = producer.batches().last().is_some_and(|b| b.last_offset >= log.log_start());
            let same = known == Some(producer.last_sequence());
            assert!(same || !there, "{}: producer {id} at {known:?}", self.topic);
        }
    }
}
