//! The command line of `klamm load`: where, for how long, and what of the workload to change.

use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use serde::Serialize;

use crate::tools::cli::{Outcome, ToolError};
use crate::tools::load::workload::Keys;

/// Whose client makes the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientName {
    /// Our own, on one ring in one thread
    Klamm,
    /// librdkafka; only in a build with the cargo feature of that name
    Librdkafka,
}

/// The options.
#[derive(Debug, Clone, Parser)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Options {
    /// REQUIRED: brokers to begin with
    #[arg(long, value_name = "HOST:PORT,...")]
    pub(crate) bootstrap_server: Option<String>,
    /// The workload; every key may be changed by a flag
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) workload: Option<PathBuf>,
    /// The client that makes the load
    #[arg(long, value_enum, default_value_t = ClientName::Klamm)]
    pub(crate) client: ClientName,
    /// Use this topic, which exists; by default a run makes its own, and deletes it at the end
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Do not delete the topics of the run at its end
    #[arg(long)]
    pub(crate) keep_topics: bool,
    /// Write result.json, ack.hdr, e2e.hdr and picture.svg into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print result.json to standard output in place of the table
    #[arg(long)]
    pub(crate) json: bool,
    /// Show the line of each second though standard error is not a terminal
    #[arg(long)]
    pub(crate) progress: bool,
    /// End the run when brokers do nothing but fail for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub(crate) give_up_after: f64,
    /// Find the highest rate that holds --slo, from --rate on
    #[arg(long)]
    pub(crate) max: bool,
    /// Pin the load to this core
    #[arg(long, value_name = "CORE")]
    pub(crate) core: Option<usize>,
    #[command(flatten)]
    pub(crate) change: Changes,
}

/// Keys of the workload that have a flag of the same name.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "Workload")]
pub(crate) struct Changes {
    /// Name of the workload
    #[arg(long)]
    name: Option<String>,
    /// Records each second, over all producers
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Number of topics
    #[arg(long)]
    topics: Option<u32>,
    /// Partitions of each topic
    #[arg(long)]
    partitions: Option<u32>,
    /// Replicas of each partition
    #[arg(long)]
    replication_factor: Option<i16>,
    /// Producers of each topic
    #[arg(long)]
    producers: Option<u32>,
    /// Groups that each read everything; 0 reads nothing
    #[arg(long)]
    groups: Option<u32>,
    /// Consumers of each group
    #[arg(long)]
    consumers: Option<u32>,
    /// Bytes of a value
    #[arg(long)]
    record_bytes: Option<usize>,
    /// How keys are chosen: none, uniform, zipf, round-robin
    #[arg(long, value_parser = keys)]
    keys: Option<Keys>,
    /// Number of different keys
    #[arg(long)]
    key_count: Option<u32>,
    /// Part of a value that is random, 0 to 1
    #[arg(long)]
    random_ratio: Option<f64>,
    /// Send the records of this file (lines of key, tab, value; may be .zst) over and over
    #[arg(long)]
    payload_file: Option<PathBuf>,
    /// Check that each record is read once, whole and in order; the run fails when not
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    verify: bool,
    /// Bytes to send before the schedule begins, for the consumers to catch up with
    #[arg(long)]
    backlog_bytes: Option<u64>,
    /// What --max holds: a percentile and its bound, p99=5ms or ack-p99.9=20ms
    #[arg(long)]
    slo: Option<String>,
    /// Seconds before the measured time
    #[arg(long)]
    warmup_seconds: Option<f64>,
    /// Seconds of the measured time
    #[arg(long)]
    duration_seconds: Option<f64>,
    /// all, 1 or 0
    #[arg(long)]
    acks: Option<String>,
    /// Whether producers are idempotent
    #[arg(long)]
    idempotent: Option<bool>,
    /// linger.ms
    #[arg(long)]
    linger_ms: Option<f64>,
    /// batch.size
    #[arg(long)]
    batch_bytes: Option<usize>,
    /// none, gzip, snappy, lz4, zstd
    #[arg(long)]
    codec: Option<String>,
    /// max.in.flight.requests.per.connection
    #[arg(long)]
    in_flight: Option<usize>,
    /// buffer.memory of each producer
    #[arg(long)]
    buffer_bytes: Option<usize>,
    /// max.request.size
    #[arg(long)]
    request_bytes_max: Option<usize>,
    /// fetch.max.wait.ms
    #[arg(long)]
    fetch_wait_ms: Option<i32>,
    /// fetch.min.bytes
    #[arg(long)]
    fetch_min_bytes: Option<i32>,
}

impl Changes {
    /// The flags that were given, as keys of a workload.
    pub(crate) fn table(&self) -> Outcome<toml::Table> {
        toml::Table::try_from(self).map_err(|e| ToolError::Failed(e.to_string()))
    }
}

fn keys(text: &str) -> Result<Keys, String> {
    match text {
        "none" => Ok(Keys::None),
        "uniform" => Ok(Keys::Uniform),
        "zipf" => Ok(Keys::Zipf),
        "round-robin" => Ok(Keys::RoundRobin),
        _ => Err("none, uniform, zipf or round-robin".to_owned()),
    }
}
