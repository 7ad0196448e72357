//! `klamm get-offsets` (kafka-get-offsets.sh): `topic:partition:offset`, a line each.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use clap::Parser;

use klamm::client::blocking::{Client, Topics};
use klamm::client::{Endpoint, PartitionName};

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::pattern::{TopicPattern, is_internal};
use crate::tools::session::BrokerArgs;
use crate::tools::{kafka_text, offsets};

/// One line of help.
pub(crate) const ABOUT: &str = "Show offsets of partitions: their end, their start, or at a time";

/// Names of special times.
const TIMES: [(&str, i64); 6] = [
    ("latest", -1),
    ("earliest", -2),
    ("max-timestamp", -3),
    ("earliest-local", -4),
    ("latest-tiered", -5),
    ("earliest-pending-upload", -6),
];

#[derive(Debug, Clone, Parser)]
struct Options {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Topics, as a regular expression (default: all)
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Partitions of these topics: 0,2,5 (default: all)
    #[arg(long, value_name = "IDS")]
    partitions: Option<String>,
    /// Topics and partitions in one: t1:1,t2:0-3,t3,t4:5-,:0 (the end of a range is not in it)
    #[arg(long, value_name = "LIST")]
    topic_partitions: Option<String>,
    /// Milliseconds since 1970, or latest (-1), earliest (-2), max-timestamp (-3), earliest-local
    /// (-4), latest-tiered (-5), earliest-pending-upload (-6)
    #[arg(long, value_name = "TIME", default_value = "latest")]
    time: String,
    /// Leave out Kafka's own topics
    #[arg(long)]
    exclude_internal_topics: bool,
}

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    cli::end_on_closed_pipe();
    let options = match cli::parse::<Options>("get-offsets", ABOUT, args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let text = match act(&options) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(ToolError::Usage(what)) => return cli::usage::<Options>("get-offsets", &what),
        Err(ToolError::Failed(what)) => what,
        Err(ToolError::Client(e)) => kafka_text::message(&e),
    };
    eprintln!("Error occurred: {text}");
    ExitCode::FAILURE
}

fn act(options: &Options) -> Outcome<()> {
    let bootstrap = cli::required(options.broker.bootstrap_server.as_deref(), "bootstrap-server")?;
    if Endpoint::parse_list(bootstrap).is_err() {
        let text = "Please provide valid host:port like host1:9091,host2:9092";
        return Err(ToolError::Usage(text.to_owned()));
    }
    let rules = rules(options)?;
    let time = time(&options.time)?;
    let mut client = options.broker.connect("GetOffsetShell", None)?;
    let chosen = chosen(&mut client, &rules, options.exclude_internal_topics)?;
    if chosen.is_empty() {
        let text = "Could not match any topic-partitions with the specified filters";
        return Err(ToolError::Failed(text.to_owned()));
    }
    // Kafka sorts by the text `topic-partition`, so 10 comes before 2.
    let found: BTreeMap<_, _> = offsets::list_all(&mut client, chosen, time)?
        .into_iter()
        .map(|(name, offset)| (name.to_string(), (name, offset)))
        .collect();
    for (text, (_, offset)) in &found {
        if let Err(code) = offset {
            let why = kafka_text::exception(*code, None);
            eprintln!("Skip getting offsets for topic-partition {text} due to error: {why}");
        }
    }
    for (name, offset) in found.into_values() {
        if let Some(offset) = offset.ok().filter(|o| o.0 >= 0) {
            println!("{}:{}:{offset}", name.topic, name.partition);
        }
    }
    Ok(())
}

/// Which partitions of which topics.
#[derive(Debug)]
struct Rule {
    topics: TopicPattern,
    partitions: Partitions,
}

#[derive(Debug, PartialEq, Eq)]
enum Partitions {
    All,
    These(BTreeSet<i32>),
    Range(i32, i32),
}

impl Partitions {
    fn contains(&self, partition: i32) -> bool {
        match self {
            Self::All => true,
            Self::These(ids) => ids.contains(&partition),
            Self::Range(from, to) => (*from..*to).contains(&partition),
        }
    }
}

fn rules(options: &Options) -> Outcome<Vec<Rule>> {
    if let Some(list) = &options.topic_partitions {
        if options.topic.is_some() || options.partitions.is_some() {
            let text = "--topic-partitions cannot be used with --topic or --partitions";
            return Err(ToolError::Failed(text.to_owned()));
        }
        return list.split(',').map(rule).collect();
    }
    let topics = TopicPattern::new(options.topic.as_deref().unwrap_or(".*"))?;
    let partitions = match options.partitions.as_deref() {
        None | Some("") => Partitions::All,
        Some(list) => {
            let ids = list.split(',').map(str::parse).collect::<Result<_, _>>();
            Partitions::These(ids.map_err(|_| {
                ToolError::Failed(format!(
                    "--partitions expects a comma separated list of numeric partition ids, but \
                     received: {list}"
                ))
            })?)
        }
    };
    Ok(vec![Rule { topics, partitions }])
}

/// Reads `topic`, `topic:1`, `topic:1-3`, `topic:1-`, `topic:-3`, each also without the topic.
fn rule(text: &str) -> Outcome<Rule> {
    let bad = || ToolError::Failed(format!("Invalid rule specification: {text}"));
    let (topics, partitions) = text.split_once(':').unwrap_or((text, ""));
    let number = |digits: &str, empty: i32| match digits {
        "" => Ok(empty),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| bad()),
        _ => Err(bad()),
    };
    let partitions = match partitions.split_once('-') {
        Some((from, to)) => Partitions::Range(number(from, 0)?, number(to, i32::MAX)?),
        None if partitions.is_empty() => Partitions::All,
        None => Partitions::These(BTreeSet::from([number(partitions, 0)?])),
    };
    let topics = TopicPattern::new(if topics.is_empty() { ".*" } else { topics })?;
    Ok(Rule { topics, partitions })
}

fn time(text: &str) -> Outcome<i64> {
    let named = TIMES.iter().find(|(name, _)| *name == text).map(|(_, time)| *time);
    named.or_else(|| text.parse().ok()).ok_or_else(|| {
        ToolError::Failed(format!(
            "Malformed time argument {text}. Please use -1 or latest / -2 or earliest / -3 or \
             max-timestamp / -4 or earliest-local / -5 or latest-tiered / -6 or \
             earliest-pending-upload, or a specified long format timestamp"
        ))
    })
}

fn chosen(
    client: &mut Client,
    rules: &[Rule],
    exclude_internal: bool,
) -> Outcome<Vec<PartitionName>> {
    let cluster = client.refresh(Topics::All)?;
    let shown = cluster
        .topics()
        .iter()
        .filter(|(name, topic)| !(exclude_internal && (topic.is_internal || is_internal(name))));
    let mut chosen = Vec::new();
    for (name, topic) in shown {
        let rules: Vec<_> = rules.iter().filter(|r| r.topics.matches(name)).collect();
        let ids = topic.partitions.iter().map(|p| p.partition);
        let ids = ids.filter(|&id| rules.iter().any(|r| r.partitions.contains(id)));
        chosen.extend(ids.map(|id| PartitionName { topic: name.clone(), partition: id }));
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_topics_and_partitions() {
        let partitions = |text: &str| rule(text).unwrap().partitions;
        assert_eq!(partitions("t"), Partitions::All);
        assert_eq!(partitions("t:3"), Partitions::These(BTreeSet::from([3])));
        assert_eq!(partitions(":1-3"), Partitions::Range(1, 3));
        assert_eq!(partitions("t:5-"), Partitions::Range(5, i32::MAX));
        assert_eq!(partitions("t:-3"), Partitions::Range(0, 3));
        for bad in ["t:x", "t:1-x", "t:1:2", "t:+1"] {
            assert!(rule(bad).is_err(), "{bad}");
        }
        assert!(partitions("t:1-3").contains(1) && !partitions("t:1-3").contains(3));
    }

    #[test]
    fn times_have_names_and_numbers() {
        assert_eq!(time("earliest").ok(), Some(-2));
        assert_eq!(time("-5").ok(), Some(-5));
        assert_eq!(time("1700000000000").ok(), Some(1_700_000_000_000));
        assert!(
            matches!(time("abc"), Err(ToolError::Failed(text)) if text.starts_with("Malformed"))
        );
    }
}
