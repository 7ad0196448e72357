//! `klamm log-dirs` (kafka-log-dirs.sh): what lies in the log directories of brokers, as JSON.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;

use klamm::base::NodeId;
use klamm::client::blocking::{Client, Topics};
use klamm::client::{To, admin};
use klamm::wire::ErrorCode;
use klamm::wire::messages::DescribeLogDirsResponse;

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::kafka_text;
use crate::tools::session::BrokerArgs;

/// One line of help.
pub(crate) const ABOUT: &str =
    "Show the log directories of brokers, and the size of each partition";

#[derive(Debug, Clone, Parser)]
struct Options {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Show the log directories
    #[arg(long)]
    describe: bool,
    /// Only these topics: t1,t2
    #[arg(long, value_name = "TOPICS", default_value = "")]
    topic_list: String,
    /// Only these brokers: 0,1,2
    #[arg(long, value_name = "IDS", default_value = "")]
    broker_list: String,
}

#[derive(Serialize)]
struct Report {
    brokers: Vec<Broker>,
    version: i32,
}

#[derive(Serialize)]
struct Broker {
    broker: i32,
    #[serde(rename = "logDirs")]
    log_dirs: Vec<LogDir>,
}

#[derive(Serialize)]
struct LogDir {
    partitions: Vec<Partition>,
    error: Option<String>,
    #[serde(rename = "logDir")]
    path: String,
}

#[derive(Serialize)]
struct Partition {
    #[serde(rename = "partition")]
    name: String,
    size: i64,
    #[serde(rename = "offsetLag")]
    offset_lag: i64,
    #[serde(rename = "isFuture")]
    is_future: bool,
}

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    cli::end_on_closed_pipe();
    let options = match cli::parse::<Options>("log-dirs", ABOUT, args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    match act(&options) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(ToolError::Usage(what)) => return cli::usage::<Options>("log-dirs", &what),
        Err(ToolError::Failed(what)) => eprintln!("{what}"),
        Err(ToolError::Client(e)) => eprintln!("{}", kafka_text::message(&e)),
    }
    ExitCode::FAILURE
}

fn act(options: &Options) -> Outcome<()> {
    cli::required(options.describe.then_some(()), "describe")?;
    cli::required(options.broker.bootstrap_server.as_ref(), "bootstrap-server")?;
    let words = |list: &str| {
        let words = list.split(',').filter(|word| !word.is_empty());
        words.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let asked: BTreeSet<i32> =
        words(&options.broker_list).iter().map(|id| id.parse()).collect::<Result<_, _>>().map_err(
            |_| ToolError::Failed(format!("'{}' is not a list of broker ids", options.broker_list)),
        )?;
    let mut client = options.broker.connect("adminclient", None)?;
    let known: BTreeSet<i32> =
        client.refresh(Topics::Named(&[]))?.brokers().keys().map(|id| id.0).collect();
    let missing: Vec<_> = asked.difference(&known).collect();
    if !missing.is_empty() {
        return Err(ToolError::Failed(format!(
            "ERROR: The given brokers do not exist from --broker-list: {}. Current existent brokers: \
             {}",
            join(missing),
            join(&known)
        )));
    }
    let brokers = if asked.is_empty() { known } else { asked };
    println!("Querying brokers for log directories information");
    let report = report(&mut client, &brokers, &words(&options.topic_list))?;
    println!("Received log directory information from brokers {}", join(&brokers));
    let json = serde_json::to_string(&report).map_err(|e| ToolError::Failed(e.to_string()))?;
    println!("{json}");
    Ok(())
}

fn join<'a>(ids: impl IntoIterator<Item = &'a i32>) -> String {
    ids.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn report(
    client: &mut Client,
    brokers: &BTreeSet<i32>,
    topics: &BTreeSet<String>,
) -> Outcome<Report> {
    let mut all = Vec::new();
    for &broker in brokers {
        let answer = client.ask(To::Node(NodeId(broker)), admin::describe_log_dirs())?;
        all.push(Broker { broker, log_dirs: log_dirs(&answer, topics) });
    }
    Ok(Report { brokers: all, version: 1 })
}

/// Sorted by topic and partition; Kafka's tool has no order of its own.
fn log_dirs(answer: &DescribeLogDirsResponse, topics: &BTreeSet<String>) -> Vec<LogDir> {
    let is_asked = |topic: &str| topics.is_empty() || topics.contains(topic);
    let mut dirs = Vec::new();
    for dir in &answer.results {
        let mut partitions = Vec::new();
        let asked = dir.topics.iter().filter(|t| is_asked(&t.name));
        let rows = asked.flat_map(|t| t.partitions.iter().map(move |p| (t.name.as_str(), p)));
        for (topic, p) in rows {
            let row = Partition {
                name: format!("{topic}-{}", p.partition_index),
                size: p.partition_size,
                offset_lag: p.offset_lag,
                is_future: p.is_future_key,
            };
            partitions.push(((topic, p.partition_index), row));
        }
        partitions.sort_by_key(|(key, _)| *key);
        let code = ErrorCode(dir.error_code);
        dirs.push(LogDir {
            partitions: partitions.into_iter().map(|(_, row)| row).collect(),
            error: (code != ErrorCode::NONE).then(|| kafka_text::exception(code, None)),
            path: dir.log_dir.as_str().to_owned(),
        });
    }
    dirs
}
