//! `klamm consumer-groups` (kafka-consumer-groups.sh): list, describe, delete and reset groups.
//!
//! As Kafka's tool, it exits with 0 unless the arguments are wrong: failures are told on standard
//! output, where scripts look for them.

mod group;
mod options;
mod plan;
mod reset;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use klamm::client::blocking::{Client, Topics};
use klamm::client::fetcher::LATEST;
use klamm::client::{ClientError, PartitionName, To, Typed, admin};
use klamm::msg;
use klamm::wire::ErrorCode;
use klamm::wire::messages::DeleteGroupsRequest;

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::{kafka_text, offsets, pattern};
use group::{Group, Member};
use options::{Action, Options};
use tables::OffsetRow;

/// One line of help.
pub(crate) const ABOUT: &str = "List, describe, delete and reset consumer groups";

/// States that a consumer group may be in.
const STATES: [&str; 7] = [
    "Assigning",
    "CompletingRebalance",
    "Dead",
    "Empty",
    "PreparingRebalance",
    "Reconciling",
    "Stable",
];
const TYPES: [&str; 2] = ["Classic", "Consumer"];

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    cli::end_on_closed_pipe();
    let options = match cli::parse::<Options>("consumer-groups", ABOUT, args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let text = match options.check().and_then(|action| act(&options, action)) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(ToolError::Usage(what)) => return cli::usage::<Options>("consumer-groups", &what),
        Err(ToolError::Failed(what)) => what,
        Err(ToolError::Client(e)) => kafka_text::exception_of(&e),
    };
    print_error(&format!("Executing consumer group command failed due to {text}"));
    ExitCode::SUCCESS
}

fn print_error(what: &str) {
    println!("\nError: {what}");
}

fn act(options: &Options, action: Action) -> Outcome<()> {
    if action == Action::ValidateRegex {
        let text = options.validate_regex.as_deref().unwrap_or_default();
        match pattern::compile(text) {
            Ok(_) => println!("The regular expression `{text}` is valid."),
            Err(e) => {
                let why = e.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                println!("The regular expression `{text}` is invalid: {why}.");
            }
        }
        return Ok(());
    }
    let states = names(options.state.as_deref(), &STATES, "state", "states")?;
    let types = names(options.types.as_deref(), &TYPES, "types", "types")?;
    let mut client = options.broker.connect("adminclient", Some(options.timeout))?;
    match action {
        Action::List => {
            let groups = group::list(&mut client, &states, &types)?;
            let (with_type, with_state) = (options.types.is_some(), options.state.is_some());
            print!("{}", tables::listed(&groups, with_type, with_state));
            Ok(())
        }
        Action::Describe => describe(&mut client, options),
        Action::Delete => delete(&mut client, options),
        Action::ResetOffsets => reset::run(&mut client, options),
        Action::DeleteOffsets => delete_offsets(&mut client, options),
        Action::ValidateRegex => Ok(()),
    }
}

/// Ids of all groups, sorted.
pub(crate) fn ids(client: &mut Client) -> Outcome<Vec<String>> {
    Ok(group::list(client, &[], &[])?.into_iter().map(|listed| listed.id).collect())
}

/// The names of a list such as `stable,empty`, each by its spelling in `valid`.
fn names(
    list: Option<&str>,
    valid: &[&'static str],
    one: &str,
    many: &str,
) -> Outcome<Vec<&'static str>> {
    let Some(list) = list.filter(|list| !list.is_empty()) else { return Ok(Vec::new()) };
    let find = |word: &str| valid.iter().copied().find(|v| v.eq_ignore_ascii_case(word.trim()));
    let found: Option<Vec<_>> = list.split(',').map(find).collect();
    found.ok_or_else(|| {
        let valid = valid.join(", ");
        ToolError::Usage(format!("Invalid {one} list '{list}'. Valid {many} are: {valid}"))
    })
}

/// The groups that are meant, sorted and each once.
fn chosen(client: &mut Client, options: &Options) -> Outcome<BTreeSet<String>> {
    if options.all_groups {
        return Ok(ids(client)?.into_iter().collect());
    }
    Ok(options.group.iter().cloned().collect())
}

fn describe(client: &mut Client, options: &Options) -> Outcome<()> {
    let ids = chosen(client, options)?;
    let groups = ids.iter().map(|id| group::describe(client, id));
    let groups = groups.collect::<Result<Vec<_>, ClientError>>()?;
    for group in &groups {
        if options.members {
            tell_state(group);
            print!("{}", tables::members(group, options.verbose));
        } else if options.state.is_some() {
            if tell_state(group) {
                print!("{}", tables::state(group, options.verbose));
            }
        } else {
            let committed = group::committed(client, &group.id)?;
            let rows = offset_rows(client, group, &committed)?;
            if tell_state(group) {
                print!("{}", tables::offsets(&group.id, &rows, options.verbose));
            }
        }
    }
    Ok(())
}

/// Says what is special about a group's state; `false` when there is nothing else to show.
fn tell_state(group: &Group) -> bool {
    let id = &group.id;
    match group.state.as_str() {
        "Dead" => print_error(&format!("Consumer group '{id}' does not exist.")),
        "Empty" => eprintln!("\nConsumer group '{id}' has no active members."),
        "Stable" => {}
        _ => eprintln!("\nWarning: Consumer group '{id}' is rebalancing."),
    }
    group.state != "Dead"
}

/// One row for each partition that a member has, the members with most first; then one for each
/// other partition with a committed offset.
fn offset_rows<'a>(
    client: &mut Client,
    group: &'a Group,
    committed: &BTreeMap<PartitionName, klamm::client::group::offsets::Committed>,
) -> Outcome<Vec<OffsetRow<'a>>> {
    let mut by_size: Vec<_> = group.members.iter().collect();
    by_size.sort_by_key(|m| std::cmp::Reverse(m.assigned.len()));
    let mut owned: Vec<(PartitionName, Option<&Member>)> = Vec::new();
    for member in by_size {
        owned.extend(member.assigned.iter().map(|p| (p.clone(), Some(member))));
    }
    let assigned: BTreeSet<_> = owned.iter().map(|(p, _)| p.clone()).collect();
    owned.extend(committed.keys().filter(|p| !assigned.contains(p)).map(|p| (p.clone(), None)));
    let ends = offsets::list_all(client, owned.iter().map(|(p, _)| p.clone()), LATEST)?;
    let row = |(partition, member): (PartitionName, Option<&'a Member>)| {
        let known = committed.get(&partition);
        OffsetRow {
            leader_epoch: known.map(|c| c.leader_epoch).filter(|&epoch| epoch >= 0),
            committed: known.map(|c| c.offset),
            end: ends.get(&partition).and_then(|end| end.ok()),
            partition,
            member,
        }
    };
    Ok(owned.into_iter().map(row).collect())
}

fn delete(client: &mut Client, options: &Options) -> Outcome<()> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for id in chosen(client, options)? {
        match delete_group(client, &id) {
            Ok(()) => done.push(format!("'{id}'")),
            Err(e) => failed.push((id, e)),
        }
    }
    let done = done.join(", ");
    if failed.is_empty() {
        println!("Deletion of requested consumer groups ({done}) was successful.");
        return Ok(());
    }
    print_error("Deletion of some consumer groups failed:");
    for (id, e) in failed {
        println!("* Group '{id}' could not be deleted due to: {}", kafka_text::exception_of(&e));
    }
    if !done.is_empty() {
        println!("\nThese consumer groups were deleted successfully: {done}");
    }
    Ok(())
}

fn delete_group(client: &mut Client, id: &str) -> Result<(), ClientError> {
    let node = client.coordinator(id)?;
    client.retry(|client| {
        let request = msg!(DeleteGroupsRequest { groups_names: vec![id.into()] });
        let answer = client.ask(To::Node(node), Typed::new(request))?;
        let mut results = answer.results.iter();
        results.try_for_each(|r| ClientError::check("DeleteGroups", r.error_code, None))
    })
}

fn delete_offsets(client: &mut Client, options: &Options) -> Outcome<()> {
    let [id] = &options.group[..] else {
        let text = "Found multiple arguments for option group, but you asked for only one";
        return Err(ToolError::Usage(text.to_owned()));
    };
    let mut partitions = BTreeSet::new();
    let mut rows = Vec::new();
    for topic in &options.topic {
        match plan::topic_arg(topic)? {
            (topic, Some(ids)) => {
                partitions.extend(ids.into_iter().map(|id| PartitionName::new(topic, id)));
            }
            (name, None) => {
                let cluster = client.refresh(Topics::Named(&[name]))?;
                if let Some(topic) = cluster.topic(name) {
                    let ids = topic.partitions.iter().map(|p| p.partition);
                    partitions.extend(ids.map(|id| PartitionName::new(name, id)));
                } else {
                    let why = kafka_text::exception(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None);
                    rows.push((PartitionName::new(name, -1), Some(why)));
                }
            }
        }
    }
    let codes = delete_partitions(client, id, partitions)?;
    let worst = codes.values().copied().find(|&c| c != ErrorCode::NONE).unwrap_or_default();
    match worst {
        ErrorCode::NONE => println!("Request succeeded for deleting offsets from group {id}."),
        ErrorCode::INVALID_GROUP_ID
        | ErrorCode::GROUP_ID_NOT_FOUND
        | ErrorCode::GROUP_AUTHORIZATION_FAILED
        | ErrorCode::NON_EMPTY_GROUP => print_error(&kafka_text::of_code(worst, None)),
        ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC
        | ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
            print_error("Encountered some partition-level error, see the follow-up details.");
        }
        other => print_error(&format!("Encountered some unknown error: {}", other.name())),
    }
    rows.extend(codes.into_iter().map(|(name, code)| {
        (name, (code != ErrorCode::NONE).then(|| kafka_text::exception(code, None)))
    }));
    rows.sort_by_key(|(name, _)| format!("{}{}", name.topic, name.partition));
    print!("{}", tables::deleted(&rows));
    Ok(())
}

/// The error code of each partition; that of the group, if there is one, for all of them.
fn delete_partitions(
    client: &mut Client,
    id: &str,
    partitions: BTreeSet<PartitionName>,
) -> Result<BTreeMap<PartitionName, ErrorCode>, ClientError> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let node = client.coordinator(id)?;
    let wanted: Vec<_> = partitions.into_iter().map(|name| (name, ())).collect();
    let answer = client.ask(To::Node(node), admin::delete_offsets(id, &wanted))?;
    let all = ErrorCode(answer.error_code);
    let mut codes: BTreeMap<_, _> = wanted.into_iter().map(|(name, ())| (name, all)).collect();
    for topic in &answer.topics {
        for p in topic.partitions.iter().filter(|_| all == ErrorCode::NONE) {
            codes.insert(
                PartitionName::new(&topic.name, p.partition_index),
                ErrorCode(p.error_code),
            );
        }
    }
    Ok(codes)
}
