//! Flags of `klamm console-consumer`, and the consumer they amount to.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{ArgAction, Parser};

use klamm::base::Offset;
use klamm::client::Endpoint;
use klamm::client::fetcher::{EARLIEST, FetcherOptions, LATEST, Position};
use klamm::client::group::MemberOptions;

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::console_consumer::formatter::Formatter;
use crate::tools::pattern;
use crate::tools::properties::Properties;
use crate::tools::session::refuse_security;

#[derive(Debug, Clone, Parser)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(in crate::tools) struct Options {
    /// REQUIRED: brokers to begin with
    #[arg(long, value_name = "HOST:PORT,...")]
    bootstrap_server: Option<String>,
    /// The topic to read
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Topics to read, as a regular expression
    #[arg(long, value_name = "REGEX")]
    include: Option<String>,
    /// Read this partition only; from its end, unless --offset is given
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
    /// Where to begin in the partition: a number, earliest or latest
    #[arg(long, value_name = "OFFSET")]
    offset: Option<String>,
    /// Begin with the first record where the group has no committed offset
    #[arg(long)]
    from_beginning: bool,
    /// Read as a member of this group, and commit
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// End after so many records
    #[arg(long, value_name = "N", default_value_t = -1, hide_default_value = true)]
    pub(super) max_messages: i64,
    /// End when no record has come for so long
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<i64>,
    /// A property of the formatter: print.key, print.value, print.timestamp, print.partition,
    /// print.offset, print.epoch, print.headers, key.separator, line.separator, headers.separator,
    /// null.literal, key.deserializer, value.deserializer, headers.deserializer
    #[arg(long, alias = "property", value_name = "KEY=VALUE", action = ArgAction::Append)]
    formatter_property: Vec<String>,
    /// Property file of the formatter
    #[arg(long, value_name = "FILE")]
    formatter_config: Option<String>,
    /// The formatter's class: DefaultMessageFormatter or NoOpMessageFormatter
    #[arg(long, value_name = "CLASS", default_value = "DefaultMessageFormatter")]
    formatter: String,
    /// How keys are read: one of Kafka's own deserializers
    #[arg(long, value_name = "CLASS")]
    key_deserializer: Option<String>,
    /// How values are read
    #[arg(long, value_name = "CLASS")]
    value_deserializer: Option<String>,
    /// read_uncommitted or read_committed [default: read_uncommitted]
    #[arg(long, value_name = "LEVEL")]
    isolation_level: Option<String>,
    /// Go on after a record that cannot be printed
    #[arg(long)]
    pub(super) skip_message_on_error: bool,
    /// A consumer property: group.id, client.id, auto.offset.reset, isolation.level, ...
    #[arg(long, alias = "consumer-property", value_name = "KEY=VALUE", action = ArgAction::Append)]
    command_property: Vec<String>,
    /// Consumer property file
    #[arg(long, alias = "consumer.config", value_name = "FILE")]
    command_config: Option<String>,
    /// Print when the consumer has shut down
    #[arg(long)]
    pub(super) enable_systest_events: bool,
    /// Of the tools that build on this one: `--group` wins over properties.
    #[arg(skip)]
    pub(in crate::tools) flag_names_group: bool,
}

/// Which topics to read.
#[derive(Debug)]
pub(in crate::tools) enum Subscription {
    Topic(String),
    Pattern(regex::bytes::Regex),
    Partition(String, i32, Position),
}

/// What the flags and properties amount to.
#[derive(Debug)]
pub(in crate::tools) struct Config {
    pub(super) bootstrap: Vec<Endpoint>,
    pub(super) subscription: Subscription,
    pub(super) properties: Properties,
    pub(super) fetcher: FetcherOptions,
    pub(super) member: Option<MemberOptions>,
    /// Commit so often, when a member.
    pub(super) auto_commit: Option<Duration>,
    pub(super) formatter: Formatter,
    pub(super) timeout: Option<Duration>,
    pub(super) metadata_age: Duration,
    pub(super) auto_create: bool,
}

impl Options {
    pub(in crate::tools) fn config(&self) -> Outcome<Config> {
        self.check()?;
        let bootstrap = cli::required(self.bootstrap_server.as_deref(), "bootstrap-server")?;
        let file = Properties::read(self.command_config.as_deref(), &[])?;
        let given = Properties::read(None, &self.command_property)?;
        let properties = Properties::read(self.command_config.as_deref(), &self.command_property)?;
        refuse_security(&properties)?;
        let group = self.group(&file, &given)?;
        let fetcher = self.fetcher(&properties)?;
        let ms = |key: &str, default: u64| -> Outcome<Duration> {
            Ok(Duration::from_millis(properties.number(key)?.unwrap_or(default)))
        };
        let commits = properties.is_true("enable.auto.commit").unwrap_or(true);
        let interval = ms("auto.commit.interval.ms", 5000)?;
        Ok(Config {
            bootstrap: Endpoint::parse_list(bootstrap)?,
            subscription: self.subscription()?,
            member: group.map(|group| member(&group, &properties)).transpose()?,
            auto_commit: commits.then_some(interval),
            formatter: self.formatter()?,
            timeout: self
                .timeout_ms
                .and_then(|ms| u64::try_from(ms).ok())
                .map(Duration::from_millis),
            metadata_age: ms("metadata.max.age.ms", 300_000)?,
            auto_create: properties.is_true("allow.auto.create.topics").unwrap_or(true),
            fetcher,
            properties,
        })
    }

    /// Which flags go together, in Kafka's words.
    fn check(&self) -> Outcome<()> {
        let wrong = |text: &str| Err(ToolError::Usage(text.to_owned()));
        cli::one_of([("topic", self.topic.is_some()), ("include", self.include.is_some())])?;
        if self.partition.is_some() {
            if self.topic.is_none() {
                return wrong("The topic is required when partition is specified.");
            }
            if self.from_beginning && self.offset.is_some() {
                return wrong("Options from-beginning and offset cannot be specified together.");
            }
        } else if self.offset.is_some() {
            return wrong("The partition is required when offset is specified.");
        }
        Ok(())
    }

    /// The group, wherever it is named.
    fn group(&self, file: &Properties, given: &Properties) -> Outcome<Option<String>> {
        if self.flag_names_group {
            return Ok(self.group.clone());
        }
        let named = [self.group.as_deref(), file.get("group.id"), given.get("group.id")];
        let named: BTreeSet<&str> = named.into_iter().flatten().collect();
        if named.len() > 1 {
            let quoted: Vec<_> = named.iter().map(|group| format!("'{group}'")).collect();
            return Err(ToolError::Usage(format!(
                "The group ids provided in different places (directly using '--group', via \
                 '--consumer-property', or via '--consumer.config') do not match. Detected group \
                 ids: {}",
                quoted.join(", ")
            )));
        }
        if !named.is_empty() && self.partition.is_some() {
            let text = "Options group and partition cannot be specified together.";
            return Err(ToolError::Usage(text.to_owned()));
        }
        Ok(named.first().map(|&group| group.to_owned()))
    }

    fn subscription(&self) -> Outcome<Subscription> {
        match (&self.topic, &self.include, self.partition) {
            (Some(topic), _, Some(partition)) => {
                Ok(Subscription::Partition(topic.clone(), partition, self.position()?))
            }
            (Some(topic), _, None) => Ok(Subscription::Topic(topic.clone())),
            (None, include, _) => {
                let text = include.as_deref().unwrap_or_default();
                let bad = |e| ToolError::Usage(format!("--include {text} is not valid: {e}"));
                Ok(Subscription::Pattern(pattern::compile(text).map_err(bad)?))
            }
        }
    }

    fn position(&self) -> Outcome<Position> {
        let Some(text) = &self.offset else {
            return Ok(Position::Time(if self.from_beginning { EARLIEST } else { LATEST }));
        };
        match text.to_ascii_lowercase().as_str() {
            "earliest" => Ok(Position::Time(EARLIEST)),
            "latest" => Ok(Position::Time(LATEST)),
            number => match number.parse() {
                Ok(offset) if offset >= 0 => Ok(Position::At(Offset(offset))),
                _ => Err(ToolError::Usage(format!(
                    "The provided offset value '{text}' is incorrect. Valid values are 'earliest', \
                     'latest', or a non-negative long."
                ))),
            },
        }
    }

    fn fetcher(&self, properties: &Properties) -> Outcome<FetcherOptions> {
        let defaults = FetcherOptions::default();
        let reset = match (properties.get("auto.offset.reset"), self.from_beginning) {
            (Some("earliest"), _) | (None, true) => Some(EARLIEST),
            (Some(other), true) => {
                return Err(ToolError::Failed(format!(
                    "Can't simultaneously specify --from-beginning and \
                     'auto.offset.reset={other}', please remove one option"
                )));
            }
            (Some("none"), false) => None,
            (Some("latest") | None, false) => Some(LATEST),
            (Some(other), false) => return Err(invalid("auto.offset.reset", other)),
        };
        let level = self.isolation_level.as_deref().or(properties.get("isolation.level"));
        let read_committed = match level.unwrap_or("read_uncommitted") {
            "read_committed" => true,
            "read_uncommitted" => false,
            other => return Err(invalid("isolation.level", other)),
        };
        Ok(FetcherOptions {
            max_wait_ms: properties.number("fetch.max.wait.ms")?.unwrap_or(defaults.max_wait_ms),
            min_bytes: properties.number("fetch.min.bytes")?.unwrap_or(defaults.min_bytes),
            bytes_max: properties.number("fetch.max.bytes")?.unwrap_or(defaults.bytes_max),
            partition_bytes_max: properties
                .number("max.partition.fetch.bytes")?
                .unwrap_or(defaults.partition_bytes_max),
            read_committed,
            reset,
            ..defaults
        })
    }

    fn formatter(&self) -> Outcome<Formatter> {
        let mut properties = Properties::read(self.formatter_config.as_deref(), &[])?;
        let readers = [
            ("key.deserializer", &self.key_deserializer),
            ("value.deserializer", &self.value_deserializer),
        ];
        for (key, class) in readers {
            if let Some(class) = class {
                properties.set(key, class);
            }
        }
        properties.add(&self.formatter_property);
        Formatter::new(&self.formatter, &properties)
    }
}

fn member(group_id: &str, properties: &Properties) -> Outcome<MemberOptions> {
    let defaults = MemberOptions::new(group_id);
    let heartbeat = properties.number("heartbeat.interval.ms")?;
    Ok(MemberOptions {
        instance_id: properties.get("group.instance.id").map(str::to_owned),
        session_timeout_ms: properties
            .number("session.timeout.ms")?
            .unwrap_or(defaults.session_timeout_ms),
        rebalance_timeout_ms: properties
            .number("max.poll.interval.ms")?
            .unwrap_or(defaults.rebalance_timeout_ms),
        heartbeat_interval: heartbeat.map_or(defaults.heartbeat_interval, Duration::from_millis),
        ..defaults
    })
}

fn invalid(key: &str, value: &str) -> ToolError {
    ToolError::Failed(format!(
        "org.apache.kafka.common.config.ConfigException: Invalid value {value} for configuration \
         {key}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[track_caller]
    fn check(lines: &str, expect: &Expect) {
        let result = |line: &str| {
            let words = "--bootstrap-server h:1".split(' ').chain(line.split_whitespace());
            match cli::read::<Options>("c", "", words).unwrap().config() {
                Err(ToolError::Usage(what) | ToolError::Failed(what)) => what,
                Err(ToolError::Client(e)) => e.to_string(),
                Ok(c) => format!("{:?} reset {:?}", c.subscription, c.fetcher.reset),
            }
        };
        let lines = lines.lines().map(str::trim);
        let text: Vec<_> = lines.map(|l| format!("{l}\n    {}\n", result(l))).collect();
        expect.assert_eq(&text.concat());
    }

    #[test]
    fn what_to_read_and_from_where() {
        check(
            "--topic t
             --topic t --from-beginning
             --topic t --partition 2
             --topic t --partition 2 --from-beginning
             --topic t --partition 2 --offset 17
             --topic t --consumer-property auto.offset.reset=none",
            &expect![[r#"
                --topic t
                    Topic("t") reset Some(-1)
                --topic t --from-beginning
                    Topic("t") reset Some(-2)
                --topic t --partition 2
                    Partition("t", 2, Time(-1)) reset Some(-1)
                --topic t --partition 2 --from-beginning
                    Partition("t", 2, Time(-2)) reset Some(-2)
                --topic t --partition 2 --offset 17
                    Partition("t", 2, At(Offset(17))) reset Some(-1)
                --topic t --consumer-property auto.offset.reset=none
                    Topic("t") reset None
            "#]],
        );
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused_in_kafkas_words() {
        check(
            "--group g
             --topic t --include u
             --include t --partition 1
             --topic t --offset 1
             --topic t --partition 1 --offset 1 --from-beginning
             --topic t --partition 1 --offset -5
             --topic t --partition 1 --group g
             --topic t --group g --consumer-property group.id=h
             --topic t --from-beginning --consumer-property auto.offset.reset=latest
             --topic t --isolation-level none",
            &expect![[r"
                --group g
                    Exactly one of the following arguments is required: [topic], [include]
                --topic t --include u
                    Exactly one of the following arguments is required: [topic], [include]
                --include t --partition 1
                    The topic is required when partition is specified.
                --topic t --offset 1
                    The partition is required when offset is specified.
                --topic t --partition 1 --offset 1 --from-beginning
                    Options from-beginning and offset cannot be specified together.
                --topic t --partition 1 --offset -5
                    The provided offset value '-5' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long.
                --topic t --partition 1 --group g
                    Options group and partition cannot be specified together.
                --topic t --group g --consumer-property group.id=h
                    The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer.config') do not match. Detected group ids: 'g', 'h'
                --topic t --from-beginning --consumer-property auto.offset.reset=latest
                    Can't simultaneously specify --from-beginning and 'auto.offset.reset=latest', please remove one option
                --topic t --isolation-level none
                    org.apache.kafka.common.config.ConfigException: Invalid value none for configuration isolation.level
            "]],
        );
    }
}
