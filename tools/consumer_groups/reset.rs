//! `klamm consumer-groups --reset-offsets`: which partitions, to which offsets, and setting them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use klamm::base::Offset;
use klamm::client::blocking::{Client, Clock, Topics};
use klamm::client::fetcher::{EARLIEST, LATEST};
use klamm::client::group::offsets::{self as committing, Committed, Committer};
use klamm::client::{ClientError, PartitionName, To, Typed};
use klamm::wire::ErrorCode;

use crate::tools::cli::{Outcome, ToolError};
use crate::tools::consumer_groups::options::Options;
use crate::tools::consumer_groups::plan::{self, Plan};
use crate::tools::consumer_groups::{chosen, group, print_error, tables};
use crate::tools::offsets;
use crate::tools::time::{datetime_ms, duration_ms};

pub(super) fn run(client: &mut Client, options: &Options) -> Outcome<()> {
    let from_file = match &options.from_file {
        None => None,
        Some(path) => {
            let text =
                fs::read_to_string(path).map_err(|e| ToolError::Failed(format!("{path}: {e}")))?;
            let only = (options.group.len() == 1).then(|| options.group[0].as_str());
            Some(plan::parse_csv(&text, only)?)
        }
    };
    let mut planned = Plan::new();
    for id in chosen(client, options)? {
        let offsets = match state(client, &id)?.as_str() {
            "Empty" | "Dead" => plan_group(client, options, &id, from_file.as_ref())?,
            state => {
                print_error(&format!(
                    "Assignments can only be reset if the group '{id}' is inactive, but the current \
                     state is {state}."
                ));
                BTreeMap::new()
            }
        };
        if options.execute && !offsets.is_empty() {
            commit(client, &id, &offsets)?;
        }
        planned.insert(id, offsets);
    }
    if options.export {
        println!("{}", plan::to_csv(&planned, options.group.len() != 1));
        return Ok(());
    }
    let rows: Vec<_> = planned
        .iter()
        .flat_map(|(id, offsets)| offsets.iter().map(move |(name, at)| (id.as_str(), name, *at)))
        .collect();
    print!("{}", tables::reset(&rows));
    Ok(())
}

/// The state of a group; one that does not exist can be reset too.
fn state(client: &mut Client, id: &str) -> Result<String, ClientError> {
    match group::describe(client, id) {
        Ok(group) => Ok(group.state),
        Err(ClientError::Refused { code: ErrorCode::GROUP_ID_NOT_FOUND, .. }) => {
            Ok("Dead".to_owned())
        }
        Err(e) => Err(e),
    }
}

fn plan_group(
    client: &mut Client,
    options: &Options,
    id: &str,
    from_file: Option<&Plan>,
) -> Outcome<BTreeMap<PartitionName, Offset>> {
    let partitions = partitions(client, options, id)?;
    check_exist(client, &partitions)?;
    let constant = |offset| partitions.iter().map(|p| (p.clone(), Offset(offset))).collect();
    if let Some(offset) = options.to_offset {
        return within_log(client, constant(offset));
    }
    if let Some(plan) = from_file {
        let Some(wanted) = plan.get(id) else {
            print_error(&format!("No reset plan for group {id} found."));
            return Ok(BTreeMap::new());
        };
        check_exist(client, &wanted.keys().cloned().collect())?;
        return within_log(client, wanted.clone());
    }
    if options.to_earliest {
        return at_time(client, partitions, EARLIEST);
    }
    if options.to_latest {
        return at_time(client, partitions, LATEST);
    }
    if let Some(text) = &options.to_datetime {
        return at_time(client, partitions, datetime_ms(text).map_err(ToolError::Failed)?);
    }
    if let Some(text) = &options.by_duration {
        let ago = duration_ms(text).map_err(ToolError::Failed)?;
        return at_time(client, partitions, Clock::wall().0.saturating_sub(ago));
    }
    let committed = group::committed(client, id)?;
    if let Some(shift) = options.shift_by {
        let shifted = |name: &PartitionName| match committed.get(name) {
            Some(known) => Ok((name.clone(), Offset(known.offset.0.saturating_add(shift)))),
            None => Err(ToolError::Usage(format!(
                "Cannot shift offset for partition {name} since there is no current committed offset"
            ))),
        };
        let wanted = partitions.iter().map(shifted).collect::<Outcome<_>>()?;
        return within_log(client, wanted);
    }
    let is_known = |p: &&PartitionName| committed.contains_key(*p);
    let (known, unknown): (Vec<_>, Vec<_>) = partitions.iter().partition(is_known);
    let mut current = at_time(client, unknown.into_iter().cloned().collect(), LATEST)?;
    current.extend(known.into_iter().map(|p| (p.clone(), committed[p].offset)));
    Ok(current)
}

/// The partitions that are meant: all that have a committed offset, or those of `--topic`.
fn partitions(
    client: &mut Client,
    options: &Options,
    id: &str,
) -> Outcome<BTreeSet<PartitionName>> {
    if options.all_topics {
        return Ok(group::committed(client, id)?.into_keys().collect());
    }
    let mut partitions = BTreeSet::new();
    for text in &options.topic {
        match plan::topic_arg(text)? {
            (topic, Some(ids)) => {
                partitions.extend(ids.into_iter().map(|id| PartitionName::new(topic, id)));
            }
            (name, None) => {
                let cluster = client.refresh(Topics::Named(&[name]))?;
                let topic =
                    cluster.topic(name).ok_or_else(|| ToolError::Failed(no_such_topic()))?;
                let ids = topic.partitions.iter().map(|p| p.partition);
                partitions.extend(ids.map(|id| PartitionName::new(name, id)));
            }
        }
    }
    Ok(partitions)
}

fn no_such_topic() -> String {
    crate::tools::kafka_text::of_code(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None)
}

fn check_exist(client: &mut Client, partitions: &BTreeSet<PartitionName>) -> Outcome<()> {
    let mut topics: Vec<&str> = partitions.iter().map(|p| &*p.topic).collect();
    topics.dedup();
    let cluster = client.refresh(Topics::Named(&topics))?;
    if topics.iter().any(|topic| cluster.topic(topic).is_none()) {
        return Err(ToolError::Failed(no_such_topic()));
    }
    let names = |is_bad: &dyn Fn(&PartitionName) -> bool| {
        let bad = partitions.iter().filter(|p| is_bad(p)).map(ToString::to_string);
        bad.collect::<Vec<_>>().join(",")
    };
    let unknown = names(&|p| cluster.partition(&p.topic, p.partition).is_none());
    if !unknown.is_empty() {
        return Err(ToolError::Failed(format!("The partitions \"{unknown}\" do not exist")));
    }
    let leaderless = names(&|p| cluster.leader(p).is_none());
    if !leaderless.is_empty() {
        return Err(ToolError::Failed(format!("The partitions \"{leaderless}\" have no leader")));
    }
    Ok(())
}

/// The offset of each partition at a time; its end where no record is that late.
fn at_time(
    client: &mut Client,
    partitions: BTreeSet<PartitionName>,
    time: i64,
) -> Outcome<BTreeMap<PartitionName, Offset>> {
    let mut found = BTreeMap::new();
    let mut late = Vec::new();
    for (name, offset) in offsets::list_all(client, partitions, time)? {
        match offset {
            Ok(Offset(-1)) => late.push(name),
            Ok(offset) => drop(found.insert(name, offset)),
            Err(code) => return Err(refused(&name, code)),
        }
    }
    for name in &late {
        println!(
            "\nWarn: Partition {} from topic {} is empty. Falling back to latest known offset.",
            name.partition, name.topic
        );
    }
    for (name, end) in offsets::list_all(client, late, LATEST)? {
        let end = end.map_err(|code| refused(&name, code))?;
        found.insert(name, end);
    }
    Ok(found)
}

fn refused(name: &PartitionName, code: ErrorCode) -> ToolError {
    let message = Some(format!("ListOffsets of {name}: {code}"));
    ToolError::Client(ClientError::Refused { asked: "ListOffsets", code, message })
}

/// Moves each offset into its partition's log, and says so.
fn within_log(
    client: &mut Client,
    wanted: BTreeMap<PartitionName, Offset>,
) -> Outcome<BTreeMap<PartitionName, Offset>> {
    let names: BTreeSet<_> = wanted.keys().cloned().collect();
    let starts = at_time(client, names.clone(), EARLIEST)?;
    let ends = at_time(client, names, LATEST)?;
    let bounded = |(name, offset): (PartitionName, Offset)| {
        let (start, end) = (starts.get(&name).copied(), ends.get(&name).copied());
        let (start, end) = (start.unwrap_or(offset), end.unwrap_or(offset));
        let (moved, words) = match offset {
            _ if offset > end => (end, "higher than latest"),
            _ if offset < start => (start, "lower than earliest"),
            _ => return (name, offset),
        };
        eprintln!(
            "WARN New offset ({offset}) is {words} offset for topic partition {name}. Value will be \
             set to {moved}"
        );
        (name, moved)
    };
    Ok(wanted.into_iter().map(bounded).collect())
}

fn commit(
    client: &mut Client,
    id: &str,
    offsets: &BTreeMap<PartitionName, Offset>,
) -> Result<(), ClientError> {
    let node = client.coordinator(id)?;
    let set = |&offset| Committed { offset, leader_epoch: -1 };
    let offsets = offsets.iter().map(|(name, offset)| (name.clone(), set(offset))).collect();
    client.retry(|client| {
        let request = committing::commit(id, Committer::NOBODY, &offsets);
        let call = Typed::up_to(request, committing::COMMIT_VERSION_MAX);
        let answer = client.ask(To::Node(node), call)?;
        let mut codes = committing::committed(&answer).into_values();
        codes.try_for_each(|code| ClientError::check("OffsetCommit", code.0, None))
    })
}
