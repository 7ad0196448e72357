//! The effective settings of one topic, typed: worked out once per change, read on every batch.

use super::key::{Key, Value};
use super::layers::{Layers, Overrides};
use super::table;

/// How batches are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As the producer sent them.
    Producer,
    /// Not compressed.
    Uncompressed,
    /// gzip, with this level (-1 is the codec's own).
    Gzip(i32),
    /// Snappy.
    Snappy,
    /// LZ4, with this level.
    Lz4(i32),
    /// Zstandard, with this level.
    Zstd(i32),
}

/// Settings of a topic that have an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// Whether old segments are deleted (`cleanup.policy` has `delete`).
    pub deletes: bool,
    /// Whether only the last record of a key is kept (`cleanup.policy` has `compact`).
    pub compacts: bool,
    /// How batches are stored.
    pub compression: Compression,
    /// Records are deleted after this; -1 is never.
    pub retention_ms: i64,
    /// Bytes of a partition that are kept; -1 is all.
    pub retention_bytes: i64,
    /// A segment rolls at this size.
    pub segment_bytes: i32,
    /// A segment rolls after this time.
    pub segment_ms: i64,
    /// Random time that is taken off `segment_ms`.
    pub segment_jitter_ms: i64,
    /// Size at which an index is full.
    pub segment_index_bytes: i32,
    /// Bytes of batches between two index entries.
    pub index_interval_bytes: i32,
    /// Largest batch, header included.
    pub max_message_bytes: i32,
    /// Whether timestamps are the time of the append.
    pub log_append_time: bool,
    /// How far back a create time may lie.
    pub timestamp_before_max_ms: i64,
    /// How far ahead a create time may lie.
    pub timestamp_after_max_ms: i64,
    /// Records that may be acknowledged before they are synced; 1 is none.
    pub flush_messages: i64,
    /// Longest time that an acknowledged record may be unsynced.
    pub flush_ms: i64,
    /// In-sync replicas that acks=all needs.
    pub min_insync_replicas: i32,
}

impl TopicConfig {
    /// Works out what a topic with these overrides has on a broker with these layers.
    pub fn of(overrides: &Overrides, layers: &Layers<'_>) -> Self {
        let read = |name: &str| table::topic_key(name).and_then(|k| value(k, overrides, layers));
        let int = |name: &str| match read(name) {
            Some(Value::Int(v)) => v,
            other => panic!("C1: {name} has no whole number in the table: {other:?}"),
        };
        let text = |name: &str| read(name).map(|v| v.to_string()).unwrap_or_default();
        let int32 = |name: &str| int(name) as i32;
        let cleanup = text("cleanup.policy");
        Self {
            deletes: cleanup.contains("delete"),
            compacts: cleanup.contains("compact"),
            compression: match text("compression.type").as_str() {
                "uncompressed" => Compression::Uncompressed,
                "gzip" => Compression::Gzip(int32("compression.gzip.level")),
                "snappy" => Compression::Snappy,
                "lz4" => Compression::Lz4(int32("compression.lz4.level")),
                "zstd" => Compression::Zstd(int32("compression.zstd.level")),
                _ => Compression::Producer,
            },
            retention_ms: int("retention.ms").max(-1),
            retention_bytes: int("retention.bytes").max(-1),
            segment_bytes: match read("internal.segment.bytes") {
                Some(Value::Int(v)) => v as i32,
                _ => int32("segment.bytes"),
            },
            segment_ms: int("segment.ms"),
            segment_jitter_ms: int("segment.jitter.ms"),
            segment_index_bytes: int32("segment.index.bytes"),
            index_interval_bytes: int32("index.interval.bytes"),
            max_message_bytes: int32("max.message.bytes"),
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: int("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: int("message.timestamp.after.max.ms"),
            flush_messages: int("flush.messages"),
            flush_ms: int("flush.ms"),
            min_insync_replicas: int32("min.insync.replicas"),
        }
    }
}

/// The value of a topic or group key: its own, else that of its broker key, else the default.
pub(super) fn value(key: &Key, overrides: &Overrides, layers: &Layers<'_>) -> Option<Value> {
    let own = overrides.get(key.name).and_then(|text| key.parse(text).ok());
    let broker = || layers.value_or_stand_in(table::broker_key(key.broker?)?);
    own.or_else(broker).or_else(|| key.parse(key.default?).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerConfig;

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn defaults_are_kafkas_but_every_record_is_synced() {
        let server = ServerConfig::load("", &[]).unwrap();
        let topic = TopicConfig::of(&Overrides::new(), &Layers::of_server(&server));
        assert_eq!((topic.deletes, topic.compacts), (true, false));
        assert_eq!(topic.compression, Compression::Producer);
        assert_eq!((topic.retention_ms, topic.segment_ms), (604_800_000, 604_800_000));
        assert_eq!((topic.flush_messages, topic.flush_ms), (1, i64::MAX));
        assert_eq!((topic.segment_bytes, topic.max_message_bytes), (1 << 30, 1_048_588));
    }

    #[test]
    fn the_topic_counts_before_the_broker_the_cluster_and_the_file() {
        let file = "log.retention.hours=1\nlog.roll.ms=5000\nlog.retention.bytes=1\ncompression.type=gzip\ncompression.gzip.level=9";
        let server = ServerConfig::load(file, &[]).unwrap();
        let cluster = overrides(&[("log.retention.bytes", "2"), ("log.segment.bytes", "bad")]);
        let node = overrides(&[("log.retention.bytes", "3")]);
        let layers = Layers { node: Some(&node), cluster: Some(&cluster), server: &server };
        let own = overrides(&[("cleanup.policy", "compact,delete")]);
        let topic = TopicConfig::of(&own, &layers);
        assert_eq!((topic.retention_ms, topic.segment_ms), (3_600_000, 5000));
        assert_eq!(topic.retention_bytes, 3);
        assert_eq!(topic.compression, Compression::Gzip(9));
        assert_eq!((topic.deletes, topic.compacts), (true, true));
        assert_eq!(topic.segment_bytes, 1 << 30, "a broken dynamic value counts as not set");
        let own = overrides(&[("retention.bytes", "9"), ("compression.type", "snappy")]);
        let topic = TopicConfig::of(&own, &layers);
        assert_eq!((topic.retention_bytes, topic.compression), (9, Compression::Snappy));
    }
}
