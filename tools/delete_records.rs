//! `klamm delete-records` (kafka-delete-records.sh): deletes the records below an offset.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;

use klamm::base::NodeId;
use klamm::client::blocking::{Client, Topics};
use klamm::client::{PartitionName, To, admin};
use klamm::wire::ErrorCode;

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::kafka_text;
use crate::tools::session::BrokerArgs;

/// One line of help.
pub(crate) const ABOUT: &str = "Delete the records of partitions below an offset";

const TIMEOUT_MS: i32 = 60_000;

#[derive(Debug, Clone, Parser)]
struct Options {
    #[command(flatten)]
    broker: BrokerArgs,
    /// REQUIRED: a file such as {"partitions": [{"topic": "t", "partition": 1, "offset": 5}],
    /// "version": 1}; offset -1 is the end
    #[arg(long, value_name = "FILE")]
    offset_json_file: Option<String>,
}

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    cli::end_on_closed_pipe();
    let options = match cli::parse::<Options>("delete-records", ABOUT, args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    match act(&options) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(ToolError::Usage(what)) => return cli::usage::<Options>("delete-records", &what),
        Err(ToolError::Failed(what)) => eprintln!("{what}"),
        Err(ToolError::Client(e)) => eprintln!("{}", kafka_text::message(&e)),
    }
    ExitCode::FAILURE
}

fn act(options: &Options) -> Outcome<()> {
    let file = cli::required(options.offset_json_file.as_deref(), "offset-json-file")?;
    cli::required(options.broker.bootstrap_server.as_ref(), "bootstrap-server")?;
    let text = fs::read_to_string(file)
        .map_err(|_| ToolError::Failed(format!("Unable to read file {file}")))?;
    let wanted = parse(&text).map_err(ToolError::Failed)?;
    let mut client = options.broker.connect("adminclient", None)?;
    println!("Executing records delete operation");
    let done = delete(&mut client, wanted)?;
    println!("Records delete operation completed:");
    for (name, low) in done {
        match low {
            Ok(low) => println!("partition: {name}\tlow_watermark: {low}"),
            Err(code) => {
                println!("partition: {name}\terror: {}", kafka_text::exception(code, None));
            }
        }
    }
    Ok(())
}

/// Reads the file; the errors are Kafka's words.
fn parse(text: &str) -> Result<BTreeMap<PartitionName, i64>, String> {
    let json: Value =
        serde_json::from_str(text).map_err(|_| "The input string is not a valid JSON")?;
    let version = json.get("version").map_or(Some(1), Value::as_i64);
    if version != Some(1) {
        return Err(format!("Not supported version field value {}", json["version"]));
    }
    let partitions = json.get("partitions").and_then(Value::as_array);
    let mut wanted = BTreeMap::new();
    let mut twice = Vec::new();
    for entry in partitions.ok_or("Missing partitions field")? {
        let field = |name: &str| entry.get(name).ok_or(format!("No such field exists: `{name}`"));
        let number = |name: &str| {
            let value = field(name)?;
            value.as_i64().ok_or(format!("`{name}` is not a whole number: {value}"))
        };
        let topic = field("topic")?;
        let topic = topic.as_str().ok_or(format!("`topic` is not a text: {topic}"))?;
        let partition = i32::try_from(number("partition")?)
            .map_err(|_| format!("`partition` is out of its range: {entry}"))?;
        let name = PartitionName::new(topic, partition);
        if wanted.insert(name.clone(), number("offset")?).is_some() {
            twice.push(name.to_string());
        }
    }
    if twice.is_empty() {
        return Ok(wanted);
    }
    Err(format!("Offset json file contains duplicate topic partitions: {}", twice.join(",")))
}

type Deleted = BTreeMap<PartitionName, Result<i64, ErrorCode>>;

/// Asks each leader; the new first offset of each partition, or why there is none.
fn delete(client: &mut Client, wanted: BTreeMap<PartitionName, i64>) -> Outcome<Deleted> {
    let mut topics: Vec<&str> = wanted.keys().map(|p| &*p.topic).collect();
    topics.dedup();
    let cluster = client.refresh(Topics::Named(&topics))?;
    let mut by_leader = BTreeMap::<NodeId, Vec<(PartitionName, i64)>>::new();
    let mut done = Deleted::new();
    for (name, offset) in &wanted {
        match cluster.leader(name) {
            Some(leader) => by_leader.entry(leader).or_default().push((name.clone(), *offset)),
            None => {
                done.insert(name.clone(), Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
            }
        }
    }
    for (leader, partitions) in by_leader {
        let call = admin::delete_records(&partitions, TIMEOUT_MS);
        let answer = client.ask(To::Node(leader), call)?;
        for topic in &answer.topics {
            for p in &topic.partitions {
                let low = match ErrorCode(p.error_code) {
                    ErrorCode::NONE => Ok(p.low_watermark),
                    code => Err(code),
                };
                done.insert(PartitionName::new(&topic.name, p.partition_index), low);
            }
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_an_offset_for_each_partition() {
        let text = r#"{"partitions":[{"topic":"t","partition":1,"offset":-1}]}"#;
        let read = parse(text).unwrap();
        assert_eq!(read, BTreeMap::from([(PartitionName::new("t", 1), -1)]));
        for (text, wants) in [
            ("{", "The input string is not a valid JSON"),
            (r#"{"version":1}"#, "Missing partitions field"),
            (r#"{"version":2,"partitions":[]}"#, "Not supported version field value 2"),
            (r#"{"partitions":[{"topic":"t","partition":0}]}"#, "No such field exists: `offset`"),
            (
                r#"{"partitions":[{"topic":"t","partition":0,"offset":1},
                    {"topic":"t","partition":0,"offset":1}]}"#,
                "Offset json file contains duplicate topic partitions: t-0",
            ),
        ] {
            assert_eq!(parse(text), Err(wants.to_owned()), "{text}");
        }
    }
}
