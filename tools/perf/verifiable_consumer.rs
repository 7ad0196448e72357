//! `klamm verifiable-consumer` (kafka-verifiable-consumer.sh): reads a topic in a group, and tells of
//! records, partitions and commits as JSON lines.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use klamm::client::PartitionName;
use klamm::client::records::FetchedBatch;
use serde::Serialize;

use crate::tools::cli::{Outcome, ToolError};
use crate::tools::console_consumer::consumer::{Consumer, GroupEvent};
use crate::tools::perf::json::{Nothing, tell};
use crate::tools::signals::Signals;

/// One line of help.
pub(crate) const ABOUT: &str = "Read a topic, and tell of what happens as JSON";

const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Parser)]
struct Options {
    /// REQUIRED: brokers to begin with
    #[arg(long, required = true, value_name = "HOST:PORT,...")]
    bootstrap_server: String,
    /// Topic to read
    #[arg(long, required = true)]
    topic: String,
    /// The group
    #[arg(long, required = true)]
    group_id: String,
    /// classic; the other protocol is not offered
    #[arg(long, default_value = "classic")]
    group_protocol: String,
    /// Only with the other protocol
    #[arg(long)]
    group_remote_assignor: Option<String>,
    /// Makes the member a static one
    #[arg(long)]
    group_instance_id: Option<String>,
    /// Number of messages; -1 for no end
    #[arg(long, default_value_t = -1)]
    max_messages: i64,
    /// Session time-out of the member
    #[arg(long, value_name = "MS")]
    session_timeout: Option<u32>,
    /// Tell of each record
    #[arg(long)]
    verbose: bool,
    /// Commit by time, not after each answer
    #[arg(long)]
    enable_autocommit: bool,
    /// earliest, latest or none
    #[arg(long, default_value = "earliest")]
    reset_policy: String,
    /// RangeAssignor; this client has no other
    #[arg(long)]
    assignment_strategy: Option<String>,
    /// Property file of the consumer; what is a flag here wins over it
    #[arg(long, value_name = "FILE")]
    command_config: Option<String>,
    /// Its old name
    #[arg(long = "consumer.config", value_name = "FILE")]
    consumer_config: Option<String>,
}

#[derive(Serialize)]
struct Named<'a> {
    topic: &'a str,
    partition: i32,
}

#[derive(Serialize)]
struct Partitions<'a> {
    partitions: Vec<Named<'a>>,
}

#[derive(Serialize)]
struct RecordData<'a> {
    key: Option<std::borrow::Cow<'a, str>>,
    value: Option<std::borrow::Cow<'a, str>>,
    topic: &'a str,
    partition: i32,
    offset: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    topic: String,
    partition: i32,
    count: u64,
    min_offset: i64,
    max_offset: i64,
}

#[derive(Serialize)]
struct Consumed {
    /// All that the answers held, also what is beyond the wanted number, as Kafka counts.
    count: u64,
    partitions: Vec<Summary>,
}

#[derive(Serialize)]
struct Committed<'a> {
    offsets: Vec<CommittedOffset<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    success: bool,
}

#[derive(Serialize)]
struct CommittedOffset<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
}

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    super::run(("verifiable-consumer", ABOUT), args, |options: Options| act(&options))
}

impl Options {
    /// As arguments of the console consumer.
    fn words(&self) -> Vec<String> {
        let mut words = vec![
            ("--bootstrap-server", self.bootstrap_server.clone()),
            ("--topic", self.topic.clone()),
            ("--group", self.group_id.clone()),
            ("--command-property", format!("auto.offset.reset={}", self.reset_policy)),
            ("--command-property", format!("enable.auto.commit={}", self.enable_autocommit)),
        ];
        let session = self.session_timeout.map(|ms| format!("session.timeout.ms={ms}"));
        let instance = self.group_instance_id.as_ref().map(|id| format!("group.instance.id={id}"));
        words.extend(session.into_iter().chain(instance).map(|p| ("--command-property", p)));
        let config = self.command_config.iter().chain(&self.consumer_config);
        words.extend(config.map(|file| ("--command-config", file.clone())));
        words.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }

    fn refuse(&self) -> Outcome<()> {
        let configs = [self.consumer_config.is_some(), self.command_config.is_some()];
        super::one_config("consumer.config", configs)?;
        let is_range = |s: &String| s.ends_with("RangeAssignor");
        let what = if !self.group_protocol.eq_ignore_ascii_case("classic") {
            "--group-protocol: this client speaks the classic protocol only"
        } else if self.group_remote_assignor.is_some() {
            "--group-remote-assignor goes with the consumer protocol, which is not offered"
        } else if !self.assignment_strategy.as_ref().is_none_or(is_range) {
            "--assignment-strategy: this client has the RangeAssignor only"
        } else {
            return Ok(());
        };
        Err(ToolError::Failed(what.to_owned()))
    }
}

fn act(options: &Options) -> Outcome<ExitCode> {
    options.refuse()?;
    let mut signals = Signals::catch().map_err(|e| ToolError::Failed(format!("signals: {e}")))?;
    let mut consumer = super::consumer(&options.words())?;
    tell("startup_complete", Nothing {})?;
    let mut left = u64::try_from(options.max_messages).unwrap_or(u64::MAX);
    let mut read_by = Vec::new();
    let mut is_asked = false;
    while left > 0 {
        let batches = consumer.poll(None, &signals.watch())?;
        tell_events(options, &mut consumer, &mut read_by)?;
        if signals.came().is_some() {
            is_asked = true;
            tell("shutdown_requested", Nothing {})?;
            break;
        }
        let consumed = take(options, &batches, &mut consumer, &mut left)?;
        if consumed.partitions.is_empty() {
            continue;
        }
        tell("records_consumed", consumed)?;
        if !options.enable_autocommit {
            consumer.commit_now();
            wait_for_commits(options, &mut consumer, &mut read_by)?;
        }
    }
    consumer.close();
    tell_events(options, &mut consumer, &mut read_by)?;
    if !read_by.is_empty() {
        tell("partitions_revoked", Partitions { partitions: named(&read_by) })?;
    }
    tell("shutdown_complete", Nothing {})?;
    if !is_asked {
        // Kafka's tells it at the exit, whatever led to it.
        tell("shutdown_requested", Nothing {})?;
    }
    Ok(ExitCode::SUCCESS)
}

fn wait_for_commits(
    options: &Options,
    consumer: &mut Consumer,
    read_by: &mut Vec<PartitionName>,
) -> Outcome<()> {
    let until = consumer.now() + CLOSE_TIMEOUT;
    while consumer.commits_under_way() > 0 && consumer.now() < until {
        consumer.wait(until)?;
        tell_events(options, consumer, read_by)?;
    }
    Ok(())
}

/// Counts records, up to those that are left to read.
fn take(
    options: &Options,
    batches: &[FetchedBatch],
    consumer: &mut Consumer,
    left: &mut u64,
) -> Outcome<Consumed> {
    let mut found = BTreeMap::<PartitionName, Summary>::new();
    let mut count = 0;
    for batch in batches {
        for record in batch.records().filter_map(Result::ok) {
            count += 1;
            if *left == 0 {
                continue;
            }
            *left -= 1;
            let (offset, name) = (record.offset.0, &batch.partition);
            let summary = found.entry(name.clone()).or_insert_with(|| Summary {
                topic: name.topic.to_string(),
                partition: name.partition,
                count: 0,
                min_offset: offset,
                max_offset: offset,
            });
            summary.count += 1;
            summary.max_offset = offset;
            consumer.consumed(batch, record.offset);
            if options.verbose {
                let data = RecordData {
                    key: record.record.key.map(String::from_utf8_lossy),
                    value: record.record.value.map(String::from_utf8_lossy),
                    topic: &name.topic,
                    partition: name.partition,
                    offset,
                };
                tell("record_data", data)?;
            }
        }
    }
    Ok(Consumed { count, partitions: found.into_values().collect() })
}

fn tell_events(
    options: &Options,
    consumer: &mut Consumer,
    read_by: &mut Vec<PartitionName>,
) -> Outcome<()> {
    for event in consumer.take_events() {
        match event {
            GroupEvent::Assigned(names) => {
                tell("partitions_assigned", Partitions { partitions: named(&names) })?;
                *read_by = names;
            }
            GroupEvent::Revoked(names) => {
                tell("partitions_revoked", Partitions { partitions: named(&names) })?;
                read_by.clear();
            }
            // Those by time are the consumer's own, of which Kafka's does not tell.
            GroupEvent::Committed(..) if options.enable_autocommit => {}
            GroupEvent::Committed(offsets, result) => {
                let offset =
                    |(name, at): (&PartitionName, &klamm::client::group::offsets::Committed)| {
                        (name.topic.to_string(), name.partition, at.offset.0)
                    };
                let offsets: Vec<_> = offsets.iter().map(offset).collect();
                let offsets = offsets.iter().map(|(topic, partition, offset)| CommittedOffset {
                    topic,
                    partition: *partition,
                    offset: *offset,
                });
                let error = result.err().map(|e| e.to_string());
                let success = error.is_none();
                tell(
                    "offsets_committed",
                    Committed { offsets: offsets.collect(), error, success },
                )?;
            }
        }
    }
    Ok(())
}

fn named(names: &[PartitionName]) -> Vec<Named<'_>> {
    names.iter().map(|n| Named { topic: &n.topic, partition: n.partition }).collect()
}
