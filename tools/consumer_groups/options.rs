//! Flags of `klamm consumer-groups`, and which of them go together, in Kafka's words.

use clap::{ArgAction, Parser};

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::session::BrokerArgs;

#[derive(Debug, Clone, Parser)]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    /// List groups
    #[arg(long, help_heading = "Actions")]
    list: bool,
    /// Show offsets and lag of groups, or their members or state
    #[arg(long, help_heading = "Actions")]
    describe: bool,
    /// Delete groups that have no members
    #[arg(long, help_heading = "Actions")]
    delete: bool,
    /// Set the offsets of groups that have no members
    #[arg(long, help_heading = "Actions")]
    reset_offsets: bool,
    /// Delete the offsets of topics that the group is not subscribed to
    #[arg(long, help_heading = "Actions")]
    delete_offsets: bool,
    /// Say whether a regular expression is valid
    #[arg(long, value_name = "REGEX", help_heading = "Actions")]
    pub(super) validate_regex: Option<String>,
    /// The group; may be repeated
    #[arg(long, value_name = "GROUP", action = ArgAction::Append)]
    pub(super) group: Vec<String>,
    /// All groups
    #[arg(long)]
    pub(super) all_groups: bool,
    /// A topic, or some of its partitions: topic:0,1,2; may be repeated
    #[arg(long, value_name = "TOPIC", action = ArgAction::Append)]
    pub(super) topic: Vec<String>,
    /// All topics that the group has offsets of
    #[arg(long)]
    pub(super) all_topics: bool,
    /// Describe: offsets and lag (what --describe does without this)
    #[arg(long)]
    pub(super) offsets: bool,
    /// Describe: members
    #[arg(long)]
    pub(super) members: bool,
    /// Describe: the state of the group. List: show states, or only groups in these: stable,empty
    #[arg(long, value_name = "STATES", num_args = 0..=1, default_missing_value = "")]
    pub(super) state: Option<String>,
    /// List: show types, or only groups of these: classic,consumer
    #[arg(long = "type", value_name = "TYPES", num_args = 0..=1, default_missing_value = "")]
    pub(super) types: Option<String>,
    /// Describe: more columns
    #[arg(long)]
    pub(super) verbose: bool,
    /// Reset: only show what would be set
    #[arg(long)]
    dry_run: bool,
    /// Reset: set the offsets
    #[arg(long)]
    pub(super) execute: bool,
    /// Reset: show the offsets as CSV
    #[arg(long)]
    pub(super) export: bool,
    /// Reset to this offset
    #[arg(long, value_name = "OFFSET", help_heading = "Reset to")]
    pub(super) to_offset: Option<i64>,
    /// Reset by so many records, forward or back
    #[arg(long, value_name = "N", help_heading = "Reset to")]
    pub(super) shift_by: Option<i64>,
    /// Reset to a time: YYYY-MM-DDThh:mm:ss.sss, in UTC or with a zone
    #[arg(long, value_name = "TIME", help_heading = "Reset to")]
    pub(super) to_datetime: Option<String>,
    /// Reset to so long ago: PnDTnHnMnS
    #[arg(long, value_name = "DURATION", help_heading = "Reset to")]
    pub(super) by_duration: Option<String>,
    /// Reset to the start
    #[arg(long, help_heading = "Reset to")]
    pub(super) to_earliest: bool,
    /// Reset to the end
    #[arg(long, help_heading = "Reset to")]
    pub(super) to_latest: bool,
    /// Reset to the committed offset, or the end where there is none
    #[arg(long, help_heading = "Reset to")]
    pub(super) to_current: bool,
    /// Reset to what a CSV file says, as --export wrote it
    #[arg(long, value_name = "FILE", help_heading = "Reset to")]
    pub(super) from_file: Option<String>,
    /// How long to wait for brokers, ms
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    pub(super) timeout: u64,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    List,
    Describe,
    Delete,
    ResetOffsets,
    DeleteOffsets,
    ValidateRegex,
}

impl Options {
    /// The one action, when all flags go together.
    pub(super) fn check(&self) -> Outcome<Action> {
        let actions = [
            (self.list, Action::List),
            (self.describe, Action::Describe),
            (self.delete, Action::Delete),
            (self.reset_offsets, Action::ResetOffsets),
            (self.delete_offsets, Action::DeleteOffsets),
            (self.validate_regex.is_some(), Action::ValidateRegex),
        ];
        if self.validate_regex.is_none() {
            cli::required(self.broker.bootstrap_server.as_ref(), "bootstrap-server")?;
        }
        self.check_scope()?;
        let mut asked = actions.into_iter().filter(|(is_asked, _)| *is_asked).map(|(_, a)| a);
        match (asked.next(), asked.next()) {
            (Some(action), None) => Ok(action),
            _ => wrong(
                "Command must include exactly one action: --list, --describe, --delete, \
                 --reset-offsets, --delete-offsets, --validate-regex",
            ),
        }
    }

    fn check_scope(&self) -> Outcome<()> {
        let has_group = !self.group.is_empty() || self.all_groups;
        if self.describe {
            if !has_group {
                return wrong(
                    "Option [describe] takes one of these options: [all-groups], [group]",
                );
            }
            let kinds = [self.members, self.offsets, self.state.is_some()];
            if kinds.into_iter().filter(|k| *k).count() > 1 {
                return wrong(
                    "Option [describe] takes at most one of these options: [members], [offsets], \
                     [state]",
                );
            }
            if self.state.as_ref().is_some_and(|state| !state.is_empty()) {
                return wrong("Option [describe] does not take a value for [state]");
            }
        }
        if self.delete {
            if !has_group {
                return wrong("Option [delete] takes one of these options: [all-groups], [group]");
            }
            if !self.topic.is_empty() {
                return wrong(
                    "The consumer does not support topic-specific offset deletion from a consumer \
                     group.",
                );
            }
        }
        if self.delete_offsets && (self.group.is_empty() || self.topic.is_empty()) {
            return wrong("Option [delete-offsets] takes the following options: [topic], [group]");
        }
        if self.reset_offsets {
            self.check_reset(has_group)?;
        }
        let has_group = ("group", !self.group.is_empty());
        cli::exclude(has_group, &[("all-groups", self.all_groups), ("list", self.list)])?;
        let has_topic = ("topic", !self.topic.is_empty());
        cli::exclude(has_topic, &[("list", self.list), ("describe", self.describe)])?;
        let only_described =
            [("members", self.members), ("offsets", self.offsets), ("verbose", self.verbose)];
        let unavailable =
            only_described.into_iter().find(|(_, is_there)| *is_there && !self.describe);
        if let Some((name, _)) = unavailable {
            return wrong(&format!(
                "Option(s) [{name}] are unavailable given other options on the command line"
            ));
        }
        Ok(())
    }

    fn check_reset(&self, has_group: bool) -> Outcome<()> {
        if self.dry_run && self.execute {
            return wrong("Option [reset-offsets] only accepts one of [execute] and [dry-run]");
        }
        if !self.dry_run && !self.execute {
            eprintln!(
                "WARN: No action will be performed as the --execute option is missing. In version \
                 5.0, this command will require either --dry-run or --execute to be specified. You \
                 should add the --dry-run option explicitly if you are scripting this command and \
                 want to keep the current default behavior without prompting."
            );
        }
        if !has_group {
            return wrong(
                "Option [reset-offsets] takes one of these options: [all-groups], [group]",
            );
        }
        let targets = [
            ("to-offset", self.to_offset.is_some()),
            ("to-datetime", self.to_datetime.is_some()),
            ("by-duration", self.by_duration.is_some()),
            ("to-earliest", self.to_earliest),
            ("to-latest", self.to_latest),
            ("to-current", self.to_current),
            ("shift-by", self.shift_by.is_some()),
            ("from-file", self.from_file.is_some()),
        ];
        for (at, target) in targets.into_iter().enumerate() {
            cli::exclude(target, &targets[at + 1..])?;
        }
        if !targets.iter().any(|(_, is_there)| *is_there) {
            return wrong(
                "Option '[reset-offsets]' requires one of the following scenarios: [[shift-by], \
                 [to-offset], [to-earliest], [to-current], [to-latest], [by-duration], \
                 [to-datetime], [from-file]]",
            );
        }
        if !self.all_topics && self.topic.is_empty() && self.from_file.is_none() {
            return wrong("One of the reset scopes should be defined: --all-topics, --topic.");
        }
        Ok(())
    }
}

fn wrong<T>(what: &str) -> Outcome<T> {
    Err(ToolError::Usage(what.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[track_caller]
    fn check(lines: &str, expect: &Expect) {
        let result = |line: &str| {
            let words = "--bootstrap-server b".split(' ').chain(line.split_whitespace());
            match cli::read::<Options>("consumer-groups", "", words).unwrap().check() {
                Ok(action) => format!("{action:?}"),
                Err(ToolError::Usage(what)) => what,
                Err(other) => panic!("{other:?}"),
            }
        };
        let lines = lines.lines().map(str::trim);
        let text: Vec<_> = lines.map(|l| format!("{l}\n    {}\n", result(l))).collect();
        expect.assert_eq(&text.concat());
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused_in_kafkas_words() {
        check(
            "--list --state
             --list --describe --all-groups
             --list --group g
             --list --verbose
             --describe
             --describe --group g --state stable
             --describe --group g --all-groups
             --describe --group g --members --state
             --delete
             --delete --group g --topic t
             --delete-offsets --group g
             --reset-offsets --dry-run --topic t --to-earliest
             --reset-offsets --dry-run --group g --topic t
             --reset-offsets --dry-run --group g --to-latest
             --reset-offsets --dry-run --group g --topic t --to-earliest --to-latest
             --reset-offsets --dry-run --execute --group g --topic t --to-latest
             --reset-offsets --dry-run --group g --topic t --shift-by -5",
            &expect![[r#"
                --list --state
                    List
                --list --describe --all-groups
                    Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets, --validate-regex
                --list --group g
                    Option "[group]" can't be used with option "[list]"
                --list --verbose
                    Option(s) [verbose] are unavailable given other options on the command line
                --describe
                    Option [describe] takes one of these options: [all-groups], [group]
                --describe --group g --state stable
                    Option [describe] does not take a value for [state]
                --describe --group g --all-groups
                    Option "[group]" can't be used with option "[all-groups]"
                --describe --group g --members --state
                    Option [describe] takes at most one of these options: [members], [offsets], [state]
                --delete
                    Option [delete] takes one of these options: [all-groups], [group]
                --delete --group g --topic t
                    The consumer does not support topic-specific offset deletion from a consumer group.
                --delete-offsets --group g
                    Option [delete-offsets] takes the following options: [topic], [group]
                --reset-offsets --dry-run --topic t --to-earliest
                    Option [reset-offsets] takes one of these options: [all-groups], [group]
                --reset-offsets --dry-run --group g --topic t
                    Option '[reset-offsets]' requires one of the following scenarios: [[shift-by], [to-offset], [to-earliest], [to-current], [to-latest], [by-duration], [to-datetime], [from-file]]
                --reset-offsets --dry-run --group g --to-latest
                    One of the reset scopes should be defined: --all-topics, --topic.
                --reset-offsets --dry-run --group g --topic t --to-earliest --to-latest
                    Option "[to-earliest]" can't be used with option "[to-latest]"
                --reset-offsets --dry-run --execute --group g --topic t --to-latest
                    Option [reset-offsets] only accepts one of [execute] and [dry-run]
                --reset-offsets --dry-run --group g --topic t --shift-by -5
                    ResetOffsets
            "#]],
        );
    }
}
