//! Flags of `klamm topics`, and which of them go together, in Kafka's words.

use clap::Parser;

use klamm::client::admin::NewTopic;

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::session::BrokerArgs;

#[derive(Debug, Clone, Parser)]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    /// Create a topic
    #[arg(long, help_heading = "Actions")]
    create: bool,
    /// List topics
    #[arg(long, help_heading = "Actions")]
    list: bool,
    /// Show partitions, replicas and configs that are not the default
    #[arg(long, help_heading = "Actions")]
    describe: bool,
    /// Raise the number of partitions
    #[arg(long, help_heading = "Actions")]
    alter: bool,
    /// Delete topics
    #[arg(long, help_heading = "Actions")]
    delete: bool,
    /// The topic; a regular expression except with --create
    #[arg(long, value_name = "TOPIC")]
    pub(super) topic: Option<String>,
    /// The topic to describe, by its id
    #[arg(long, value_name = "ID")]
    pub(super) topic_id: Option<String>,
    /// Number of partitions (create: the broker's default; alter: the new number)
    #[arg(long, value_name = "N")]
    partitions: Option<i32>,
    /// Number of replicas of each partition (default: the broker's)
    #[arg(long, value_name = "N")]
    replication_factor: Option<i32>,
    /// Brokers of each partition, in place of the two numbers: 0:1,1:2,2:0
    #[arg(long, value_name = "IDS")]
    replica_assignment: Option<String>,
    /// A config of the new topic; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// Alter, delete, describe: do nothing when there is no such topic
    #[arg(long)]
    pub(super) if_exists: bool,
    /// Create: do nothing when the topic is there
    #[arg(long)]
    pub(super) if_not_exists: bool,
    /// List, describe: leave out Kafka's own topics
    #[arg(long)]
    pub(super) exclude_internal: bool,
    /// Describe: only topics with configs that are not the default
    #[arg(long)]
    pub(super) topics_with_overrides: bool,
    /// Describe: only partitions with fewer in-sync replicas than replicas
    #[arg(long)]
    pub(super) under_replicated_partitions: bool,
    /// Describe: only partitions without a leader that is alive
    #[arg(long)]
    pub(super) unavailable_partitions: bool,
    /// Describe: only partitions with fewer in-sync replicas than min.insync.replicas
    #[arg(long)]
    pub(super) under_min_isr_partitions: bool,
    /// Describe: only partitions with as many in-sync replicas as min.insync.replicas
    #[arg(long)]
    pub(super) at_min_isr_partitions: bool,
    /// Describe: partitions asked for in one request
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub(super) partition_size_limit_per_response: i32,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Create,
    List,
    Describe,
    Alter,
    Delete,
}

impl Options {
    /// The one action, when all flags go together.
    pub(super) fn check(&self) -> Result<Action, String> {
        let actions = [
            (self.create, Action::Create),
            (self.list, Action::List),
            (self.alter, Action::Alter),
            (self.describe, Action::Describe),
            (self.delete, Action::Delete),
        ];
        let mut asked = actions.into_iter().filter(|(is_asked, _)| *is_asked).map(|(_, a)| a);
        let (Some(action), None) = (asked.next(), asked.next()) else {
            return Err("Command must include exactly one action: --list, --describe, --create, \
                        --alter or --delete"
                .to_owned());
        };
        if self.broker.bootstrap_server.is_none() {
            return Err("--bootstrap-server must be specified".to_owned());
        }
        match self.check_together(action) {
            Err(ToolError::Usage(what)) => Err(what),
            _ => Ok(action),
        }
    }

    fn check_together(&self, action: Action) -> Outcome<()> {
        use Action::{Alter, Create, Delete, Describe, List};
        if action == Describe && self.if_exists && self.topic.is_none() && self.topic_id.is_none() {
            let text = "--topic or --topic-id is required to describe a topic";
            return Err(ToolError::Usage(text.to_owned()));
        }
        if !matches!(action, List | Describe) {
            cli::required(self.topic.as_ref(), "topic")?;
        }
        if action == Alter {
            if !self.config.is_empty() {
                let text = "Option combination \"[[bootstrap-server], [config]]\" can't be used with \
                            option \"[alter]\" (To alter topic configurations, the kafka-configs \
                            tool can be used.)";
                return Err(ToolError::Usage(text.to_owned()));
            }
            cli::required(self.partitions, "partitions")?;
        }
        let assigned = self.replica_assignment.is_some();
        let (partitions, factor) = (self.partitions.is_some(), self.replication_factor.is_some());
        let only_with = [
            ("config", !self.config.is_empty(), &[Alter, Create][..]),
            ("partitions", partitions, &[Alter, Create]),
            ("replication-factor", factor, &[Create]),
            ("replica-assignment", assigned, &[Alter, Create]),
            ("under-replicated-partitions", self.under_replicated_partitions, &[Describe]),
            ("under-min-isr-partitions", self.under_min_isr_partitions, &[Describe]),
            ("at-min-isr-partitions", self.at_min_isr_partitions, &[Describe]),
            ("unavailable-partitions", self.unavailable_partitions, &[Describe]),
            ("topics-with-overrides", self.topics_with_overrides, &[Describe]),
            ("if-exists", self.if_exists, &[Alter, Delete, Describe]),
            ("if-not-exists", self.if_not_exists, &[Create]),
            ("exclude-internal", self.exclude_internal, &[List, Describe]),
        ];
        for (name, is_there, actions) in only_with {
            let wrong = !actions.contains(&action);
            cli::exclude((name, is_there), &[(action.name(), wrong)])?;
            if name.ends_with("-partitions") {
                let overrides = ("topics-with-overrides", self.topics_with_overrides);
                cli::exclude((name, is_there), &[overrides])?;
            }
        }
        if action == Create {
            let numbers = [("partitions", partitions), ("replication-factor", factor)];
            cli::exclude(("replica-assignment", assigned), &numbers)?;
        }
        Ok(())
    }

    /// The topic to create, or what to change.
    pub(super) fn new_topic(&self) -> Outcome<NewTopic> {
        Ok(NewTopic {
            name: self.topic.clone().unwrap_or_default(),
            partitions: self.partitions,
            replication_factor: self.replication_factor.map(|n| n as i16),
            assignments: self.replica_assignment.as_deref().map_or(Ok(Vec::new()), assignment)?,
            configs: self.config.iter().map(|c| config(c)).collect::<Outcome<_>>()?,
        })
    }

    /// Numbers that no broker would take.
    pub(super) fn check_numbers(&self) -> Outcome<()> {
        let max = i32::from(i16::MAX);
        if self.replication_factor.is_some_and(|n| !(1..=max).contains(&n)) {
            let text = format!("The replication factor must be between 1 and {max} inclusive");
            return Err(ToolError::Failed(text));
        }
        if self.partitions.is_some_and(|n| n < 1) {
            return Err(ToolError::Failed("The partitions must be greater than 0".to_owned()));
        }
        Ok(())
    }
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::List => "list",
            Self::Describe => "describe",
            Self::Alter => "alter",
            Self::Delete => "delete",
        }
    }
}

/// Reads `0:1,1:2`: brokers of each partition, equally many and none twice.
fn assignment(text: &str) -> Outcome<Vec<Vec<i32>>> {
    let mut partitions = Vec::<Vec<i32>>::new();
    for (at, list) in text.split(',').enumerate() {
        let bad = |word: &str| ToolError::Failed(format!("For input string: \"{word}\""));
        let brokers = list
            .split(':')
            .map(|id| id.trim().parse().map_err(|_| bad(id.trim())))
            .collect::<Outcome<Vec<i32>>>()?;
        let mut twice: Vec<_> =
            brokers.iter().filter(|b| brokers.iter().filter(|c| c == b).count() > 1).collect();
        twice.sort_unstable();
        twice.dedup();
        if !twice.is_empty() {
            let ids = twice.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            return Err(ToolError::Failed(format!(
                "Partition replica lists may not contain duplicate entries: {ids}"
            )));
        }
        if partitions.first().is_some_and(|first| first.len() != brokers.len()) {
            return Err(ToolError::Failed(format!(
                "Partition {at} has different replication factor: {brokers:?}"
            )));
        }
        partitions.push(brokers);
    }
    Ok(partitions)
}

/// Reads `key=value`, with blanks around the sign or not.
fn config(text: &str) -> Outcome<(String, String)> {
    let pair: Vec<_> = text.split('=').map(str::trim).collect();
    match pair[..] {
        [key, value] if !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(ToolError::Failed(
            "requirement failed: Invalid topic config: all configs to be added must be in the \
             format \"key=val\"."
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// One line of arguments each; what is wrong with it, or the action.
    #[track_caller]
    fn check(lines: &str, expect: &Expect) {
        let result = |line: &str| {
            let options = cli::read::<Options>("topics", "", line.split_whitespace()).unwrap();
            match options.check() {
                Err(what) => what,
                Ok(action) => match options.new_topic().and(options.check_numbers()) {
                    Err(ToolError::Failed(what)) => what,
                    _ => format!("{action:?}"),
                },
            }
        };
        let lines = lines.lines().map(str::trim);
        let text: Vec<_> = lines.map(|l| format!("{l}\n    {}\n", result(l))).collect();
        expect.assert_eq(&text.concat());
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused_in_kafkas_words() {
        check(
            "--list
             --list --create --bootstrap-server b
             --create --bootstrap-server b
             --alter --topic t --bootstrap-server b
             --alter --topic t --config a=b --partitions 2 --bootstrap-server b
             --list --partitions 3 --bootstrap-server b
             --create --topic t --replica-assignment 1 --partitions 1 --bootstrap-server b
             --describe --if-exists --bootstrap-server b
             --describe --under-replicated-partitions --topics-with-overrides --bootstrap-server b
             --create --topic t --if-exists --bootstrap-server b
             --delete --topic t --bootstrap-server b",
            &expect![[r#"
                --list
                    --bootstrap-server must be specified
                --list --create --bootstrap-server b
                    Command must include exactly one action: --list, --describe, --create, --alter or --delete
                --create --bootstrap-server b
                    Missing required argument "[topic]"
                --alter --topic t --bootstrap-server b
                    Missing required argument "[partitions]"
                --alter --topic t --config a=b --partitions 2 --bootstrap-server b
                    Option combination "[[bootstrap-server], [config]]" can't be used with option "[alter]" (To alter topic configurations, the kafka-configs tool can be used.)
                --list --partitions 3 --bootstrap-server b
                    Option "[partitions]" can't be used with option "[list]"
                --create --topic t --replica-assignment 1 --partitions 1 --bootstrap-server b
                    Option "[replica-assignment]" can't be used with option "[partitions]"
                --describe --if-exists --bootstrap-server b
                    --topic or --topic-id is required to describe a topic
                --describe --under-replicated-partitions --topics-with-overrides --bootstrap-server b
                    Option "[under-replicated-partitions]" can't be used with option "[topics-with-overrides]"
                --create --topic t --if-exists --bootstrap-server b
                    Option "[if-exists]" can't be used with option "[create]"
                --delete --topic t --bootstrap-server b
                    Delete
            "#]],
        );
    }

    #[test]
    fn values_that_no_broker_takes_are_refused_in_kafkas_words() {
        check(
            "--create --topic t --partitions 0 --bootstrap-server b
             --create --topic t --replication-factor 0 --bootstrap-server b
             --create --topic t --config retention.ms --bootstrap-server b
             --create --topic t --replica-assignment 1:1,2 --bootstrap-server b
             --create --topic t --replica-assignment 1:2,2 --bootstrap-server b
             --create --topic t --replica-assignment 1:x --bootstrap-server b
             --create --topic t --config a=b --bootstrap-server b",
            &expect![[r#"
                --create --topic t --partitions 0 --bootstrap-server b
                    The partitions must be greater than 0
                --create --topic t --replication-factor 0 --bootstrap-server b
                    The replication factor must be between 1 and 32767 inclusive
                --create --topic t --config retention.ms --bootstrap-server b
                    requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".
                --create --topic t --replica-assignment 1:1,2 --bootstrap-server b
                    Partition replica lists may not contain duplicate entries: 1
                --create --topic t --replica-assignment 1:2,2 --bootstrap-server b
                    Partition 1 has different replication factor: [2]
                --create --topic t --replica-assignment 1:x --bootstrap-server b
                    For input string: "x"
                --create --topic t --config a=b --bootstrap-server b
                    Create
            "#]],
        );
    }
}
