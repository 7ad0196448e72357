//! A workload: what is sent, how it is spread, how fast, for how long. A TOML file and flags make it.
//!
//! Every key has a default, so a file names only what it cares about; a key that does not exist is
//! refused. Sizes are in bytes, times in the unit that the key ends with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use klamm::client::producer::ProducerOptions;
use klamm::config::nearest::nearest;
use klamm::wire::codec::Codec;

use crate::tools::cli::{Outcome, ToolError};
use crate::tools::load::payload::HEADER_BYTES;
use crate::tools::load::verify::PROVEN_BYTES;

/// How keys, and with them partitions, are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Keys {
    /// No keys: the client fills one partition after another.
    None,
    /// Each of `key_count` keys as often as another.
    Uniform,
    /// The n-th key 1/n as often as the first.
    Zipf,
    /// The keys in turn, over and over.
    RoundRobin,
}

/// What a run does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Workload {
    /// Name, for people.
    pub(crate) name: String,
    /// Number of topics.
    pub(crate) topics: u32,
    /// Partitions of each topic.
    pub(crate) partitions: u32,
    /// Replicas of each partition; -1 leaves it to the broker.
    pub(crate) replication_factor: i16,
    /// Configs of the topics.
    pub(crate) topic_configs: BTreeMap<String, String>,
    /// Producers of each topic.
    pub(crate) producers: u32,
    /// Groups of consumers that each read all of a topic.
    pub(crate) groups: u32,
    /// Consumers of each group, which share its partitions.
    pub(crate) consumers: u32,
    /// Records each second, over all producers.
    pub(crate) rate: f64,
    /// Bytes of a value.
    pub(crate) record_bytes: usize,
    /// How keys are chosen.
    pub(crate) keys: Keys,
    /// Number of different keys.
    pub(crate) key_count: u32,
    /// Part of a value that is random, from 0 to 1; the rest compresses to nothing.
    pub(crate) random_ratio: f64,
    /// Whether consumers check that each record comes once, whole and in order.
    pub(crate) verify: bool,
    /// Bytes to send as fast as they go before the schedule begins, and which the consumers have before
    /// them then.
    pub(crate) backlog_bytes: u64,
    /// What `--max` holds: a percentile and its bound, such as `p99=5ms` or `ack-p99.9=20ms`.
    pub(crate) slo: Option<String>,
    /// Records to send over and over in place of generated ones: lines of key, tab and value.
    pub(crate) payload_file: Option<PathBuf>,
    /// Cut off before the measured time.
    pub(crate) warmup_seconds: f64,
    /// Measured time.
    pub(crate) duration_seconds: f64,
    /// `acks`: all, 1 or 0.
    pub(crate) acks: String,
    /// `enable.idempotence`.
    pub(crate) idempotent: bool,
    /// `linger.ms`.
    pub(crate) linger_ms: f64,
    /// `batch.size`.
    pub(crate) batch_bytes: usize,
    /// `compression.type`.
    pub(crate) codec: String,
    /// `max.in.flight.requests.per.connection`.
    pub(crate) in_flight: usize,
    /// `buffer.memory` of each producer.
    pub(crate) buffer_bytes: usize,
    /// `max.request.size`.
    pub(crate) request_bytes_max: usize,
    /// `fetch.max.wait.ms`.
    pub(crate) fetch_wait_ms: i32,
    /// `fetch.min.bytes`.
    pub(crate) fetch_min_bytes: i32,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            name: "load".to_owned(),
            topics: 1,
            partitions: 1,
            replication_factor: -1,
            topic_configs: BTreeMap::new(),
            producers: 1,
            groups: 1,
            consumers: 1,
            rate: 1000.0,
            record_bytes: 1024,
            keys: Keys::None,
            key_count: 10_000,
            random_ratio: 0.5,
            verify: false,
            backlog_bytes: 0,
            slo: None,
            payload_file: None,
            warmup_seconds: 5.0,
            duration_seconds: 30.0,
            acks: "all".to_owned(),
            idempotent: true,
            linger_ms: 1.0,
            batch_bytes: 128 << 10,
            codec: "none".to_owned(),
            in_flight: 5,
            buffer_bytes: 32 << 20,
            request_bytes_max: 4 << 20,
            fetch_wait_ms: 500,
            fetch_min_bytes: 1,
        }
    }
}

impl Workload {
    /// Reads `file`, if there is one, and puts `overrides` over it.
    pub(crate) fn read(file: Option<&Path>, overrides: toml::Table) -> Outcome<Self> {
        let mut table = toml::Table::new();
        if let Some(path) = file {
            let named = |e: &dyn std::fmt::Display| {
                ToolError::Failed(format!("{}: {}", path.display(), one_line(&e.to_string())))
            };
            let text = fs::read_to_string(path).map_err(|e| named(&e))?;
            table = toml::from_str(&text).map_err(|e| named(&e))?;
            if let Some(what) = unknown_key(&table) {
                return Err(named(&what));
            }
            // The file is checked by itself, so that a mistake is told of the file.
            let read: Self = table.clone().try_into().map_err(|e: toml::de::Error| named(&e))?;
            if let (Some(payloads), Some(dir)) = (read.payload_file, path.parent()) {
                let found = dir.join(payloads).to_string_lossy().into_owned();
                table.insert("payload_file".to_owned(), found.into());
            }
            if !table.contains_key("name")
                && let Some(stem) = path.file_stem()
            {
                table.insert("name".to_owned(), stem.to_string_lossy().into_owned().into());
            }
        }
        table.extend(overrides);
        let bad = |e: toml::de::Error| ToolError::Failed(one_line(&e.to_string()));
        let workload: Self = table.try_into().map_err(bad)?;
        workload.check().map_err(ToolError::Failed)?;
        Ok(workload)
    }

    /// What is wrong with the values, the limits named.
    fn check(&self) -> Result<(), String> {
        let at_least_one = [
            ("topics", self.topics),
            ("partitions", self.partitions),
            ("consumers", self.consumers),
            ("key_count", self.key_count),
        ];
        if let Some((name, _)) = at_least_one.iter().find(|(_, n)| *n == 0) {
            return Err(format!("{name} is 0; at least 1 is needed"));
        }
        if !(self.rate > 0.0 && self.rate <= 1e9) {
            return Err(format!("rate is {}; records per second, above 0 to 1e9", self.rate));
        }
        let least = self.head_bytes();
        if !(least..=1 << 30).contains(&self.record_bytes) {
            return Err(format!(
                "record_bytes is {}; {least} (the clock and what verifies) to 1 GiB",
                self.record_bytes
            ));
        }
        if self.record_bytes + 1024 > self.request_bytes_max {
            return Err(format!(
                "record_bytes is {}, which does not fit into request_bytes_max, {}",
                self.record_bytes, self.request_bytes_max
            ));
        }
        if !(0.0..=1.0).contains(&self.random_ratio) {
            return Err(format!("random_ratio is {}; 0 to 1", self.random_ratio));
        }
        let seconds = [
            ("warmup_seconds", self.warmup_seconds, 0.0),
            ("duration_seconds", self.duration_seconds, 1.0),
            ("linger_ms", self.linger_ms, 0.0),
        ];
        for (name, value, least) in seconds {
            if !(least..=1e7).contains(&value) {
                return Err(format!("{name} is {value}; {least} to 1e7"));
            }
        }
        self.acks()?;
        self.codec().map(|_| ())
    }

    /// Bytes that a value has before its payload.
    pub(crate) fn head_bytes(&self) -> usize {
        if self.verify { PROVEN_BYTES } else { HEADER_BYTES }
    }

    fn acks(&self) -> Result<i16, String> {
        match self.acks.as_str() {
            "all" | "-1" => Ok(-1),
            "1" => Ok(1),
            "0" => Ok(0),
            other => Err(format!("acks is {other}; all, 1 or 0")),
        }
    }

    fn codec(&self) -> Result<Codec, String> {
        let bad = || format!("codec is {}; none, gzip, snappy, lz4 or zstd", self.codec);
        Codec::from_name(&self.codec).ok_or_else(bad)
    }

    /// Settings of one producer.
    pub(crate) fn producer_options(&self, seed: u64) -> Result<ProducerOptions, String> {
        let acks = self.acks()?;
        Ok(ProducerOptions {
            acks,
            codec: self.codec()?,
            idempotent: self.idempotent && acks == -1,
            batch_bytes: self.batch_bytes,
            request_bytes_max: self.request_bytes_max,
            buffer_bytes_max: self.buffer_bytes,
            linger: std::time::Duration::from_secs_f64(self.linger_ms / 1e3),
            in_flight_max: self.in_flight,
            seed,
            ..ProducerOptions::default()
        })
    }
}

/// A key that no workload has, and the one that is meant.
fn unknown_key(table: &toml::Table) -> Option<String> {
    let all = toml::Table::try_from(Workload::default()).ok()?;
    // Those without a default stand in no table.
    let known: Vec<_> = all.keys().map(String::as_str).chain(["slo", "payload_file"]).collect();
    let unknown = table.keys().find(|key| !known.contains(&key.as_str()))?;
    let meant = nearest(unknown, known.into_iter());
    Some(format!("there is no key {unknown}; did you mean {meant}?"))
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ")
}
