//! `klamm topics --describe`: what the brokers say of topics, gathered and written line by line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use klamm::base::TopicId;
use klamm::client::admin::{self, ConfigEntry, PartitionDetails, TopicDetails};
use klamm::client::blocking::{Client, Topics};
use klamm::client::{ClientError, Cluster, PartitionName, To};

use crate::tools::cli::{Outcome, ToolError};
use crate::tools::topics::options::Options;

/// Replicas that a partition is getting and losing.
#[derive(Debug, Clone, Default)]
struct Reassignment {
    adding: Vec<i32>,
    removing: Vec<i32>,
}

/// What to leave out.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command line")]
struct Filter {
    only_overridden: bool,
    under_replicated: bool,
    unavailable: bool,
    under_min_isr: bool,
    at_min_isr: bool,
    live_brokers: BTreeSet<i32>,
}

pub(super) fn run(client: &mut Client, options: &Options) -> Outcome<()> {
    let names = chosen(client, options)?;
    if names.is_empty() {
        return Ok(());
    }
    let limit = options.partition_size_limit_per_response.max(1);
    let topics = details(client, &names, limit)?;
    let names: Vec<_> = topics.iter().map(|t| t.name.as_str()).collect();
    let answer = client.ask(To::Any, admin::describe_topic_configs(&names))?;
    for result in &answer.results {
        let message = result.error_message.as_deref();
        ClientError::check("DescribeConfigs", result.error_code, message)?;
    }
    let configs = admin::topic_configs(&answer);
    let moves = reassignments(client)?;
    let filter = Filter {
        only_overridden: options.topics_with_overrides,
        under_replicated: options.under_replicated_partitions,
        unavailable: options.unavailable_partitions,
        under_min_isr: options.under_min_isr_partitions,
        at_min_isr: options.at_min_isr_partitions,
        live_brokers: client.cluster().brokers().keys().map(|id| id.0).collect(),
    };
    for topic in &topics {
        let configs = configs.get(&topic.name).map_or(&[][..], Vec::as_slice);
        print!("{}", describe(topic, configs, &moves, &filter));
    }
    Ok(())
}

/// Names of the topics to describe, by `--topic-id` or `--topic`.
fn chosen(client: &mut Client, options: &Options) -> Outcome<Vec<String>> {
    let Some(text) = options.topic_id.as_deref() else { return super::existing(client, options) };
    if options.topic.is_some() && options.if_exists {
        println!(
            "Only topic id will be used when both --topic and --topic-id are specified and topicId \
             is not Uuid.ZERO_UUID"
        );
    }
    let bad = || ToolError::Failed(format!("Input string `{text}` is not a topic id"));
    let id = TopicId::parse(text).ok_or_else(bad)?;
    if id == TopicId::ZERO {
        return super::existing(client, options);
    }
    let cluster = client.refresh(Topics::All)?;
    let named = cluster.topics().iter().find(|(_, topic)| topic.id == id);
    match named {
        Some((name, _)) => Ok(vec![name.to_string()]),
        None if options.if_exists => Ok(Vec::new()),
        None => Err(ToolError::Failed(format!("TopicId '{text}' does not exist as expected"))),
    }
}

/// Asks for the details of topics, `limit` partitions at a time. A broker without that API still
/// gives all but the eligible leader replicas.
fn details(client: &mut Client, names: &[String], limit: i32) -> Outcome<Vec<TopicDetails>> {
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut topics = BTreeMap::<String, TopicDetails>::new();
    let mut cursor: Option<(String, i32)> = None;
    loop {
        let from = cursor.as_ref().map(|(topic, partition)| (topic.as_str(), *partition));
        let call = admin::describe_topics(&names, limit, from);
        let answer = match client.ask(To::Any, call) {
            Ok(answer) => answer,
            Err(ClientError::Unsupported { .. }) => {
                let cluster = client.refresh(Topics::Named(&names))?;
                return Ok(names.iter().filter_map(|name| from_metadata(cluster, name)).collect());
            }
            Err(e) => return Err(e.into()),
        };
        for topic in &answer.topics {
            let read = admin::topic_details(topic);
            ClientError::check("DescribeTopicPartitions", read.error.0, None)?;
            match topics.get_mut(&read.name) {
                Some(known) => known.partitions.extend(read.partitions),
                None => drop(topics.insert(read.name.clone(), read)),
            }
        }
        let next =
            answer.next_cursor.map(|c| (c.topic_name.as_str().to_owned(), c.partition_index));
        if next.is_none() || next == cursor {
            return Ok(topics.into_values().collect());
        }
        cursor = next;
    }
}

fn from_metadata(cluster: &Cluster, name: &str) -> Option<TopicDetails> {
    let topic = cluster.topic(name)?;
    let ids = |nodes: &[klamm::base::NodeId]| nodes.iter().map(|n| n.0).collect();
    let partition = |p: &klamm::client::cluster::Partition| PartitionDetails {
        partition: p.partition,
        leader: p.leader,
        replicas: ids(&p.replicas),
        in_sync: ids(&p.in_sync),
        eligible_leaders: None,
        last_known_eligible: None,
    };
    let partitions = topic.partitions.iter().map(partition).collect();
    Some(TopicDetails { name: name.to_owned(), id: topic.id, error: topic.error, partitions })
}

/// Reassignments under way; none from a broker that has no such API.
fn reassignments(client: &mut Client) -> Outcome<BTreeMap<PartitionName, Reassignment>> {
    let to = client.cluster().controller();
    let answer = match client.ask(to, admin::list_reassignments(60_000)) {
        Ok(answer) => answer,
        Err(ClientError::Unsupported { .. }) => return Ok(BTreeMap::new()),
        Err(e) => return Err(e.into()),
    };
    let all = answer.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (&t.name, p)));
    Ok(all
        .map(|(topic, p)| {
            let (adding, removing) = (p.adding_replicas.clone(), p.removing_replicas.clone());
            (PartitionName::new(topic, p.partition_index), Reassignment { adding, removing })
        })
        .collect())
}

/// The lines of one topic.
fn describe(
    topic: &TopicDetails,
    configs: &[ConfigEntry],
    moves: &BTreeMap<PartitionName, Reassignment>,
    filter: &Filter,
) -> String {
    let mut out = String::new();
    let move_of = |p: &PartitionDetails| moves.get(&PartitionName::new(&topic.name, p.partition));
    let overridden: Vec<_> = configs
        .iter()
        .filter(|c| !c.is_default)
        .map(|c| format!("{}={}", c.name, c.value.as_deref().unwrap_or("null")))
        .collect();
    let is_hidden = filter.only_overridden && overridden.is_empty();
    if !is_hidden && !filter.by_partition() {
        let _ = write!(out, "Topic: {}", topic.name);
        if topic.id != TopicId::ZERO {
            let _ = write!(out, "\tTopicId: {}", topic.id);
        }
        let factor = topic.partitions.first().map_or(0, |p| replicas(p, move_of(p)));
        let (count, configs) = (topic.partitions.len(), overridden.join(","));
        let _ = writeln!(
            out,
            "\tPartitionCount: {count}\tReplicationFactor: {factor}\tConfigs: {configs}"
        );
    }
    if filter.only_overridden {
        return out;
    }
    let min_isr = configs.iter().find(|c| c.name == "min.insync.replicas");
    let min_isr = min_isr.and_then(|c| c.value.as_deref()?.parse().ok()).unwrap_or(1);
    for partition in &topic.partitions {
        let moving = move_of(partition);
        if filter.shows(partition, moving, min_isr) {
            out.push_str(&line(&topic.name, partition, moving));
        }
    }
    out
}

fn line(topic: &str, p: &PartitionDetails, moving: Option<&Reassignment>) -> String {
    let leader = p.leader.map_or("none".to_owned(), |l| l.to_string());
    let (replicas, in_sync) = (join(&p.replicas), join(&p.in_sync));
    let mut out = format!(
        "\tTopic: {topic}\tPartition: {}\tLeader: {leader}\tReplicas: {replicas}\tIsr: {in_sync}",
        p.partition
    );
    if let Some(moving) = moving {
        let (adding, removing) = (join(&moving.adding), join(&moving.removing));
        let _ = write!(out, "\tAdding Replicas: {adding}\tRemoving Replicas: {removing}");
    }
    let or_none = |ids: &Option<Vec<i32>>| ids.as_ref().map_or("N/A".to_owned(), |ids| join(ids));
    let (elr, last) = (or_none(&p.eligible_leaders), or_none(&p.last_known_eligible));
    let _ = writeln!(out, "\tElr: {elr}\tLastKnownElr: {last}");
    out
}

fn join(ids: &[i32]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Replicas that the partition is to have; those that are being added do not count yet.
fn replicas(p: &PartitionDetails, moving: Option<&Reassignment>) -> usize {
    let adding = moving.map_or(0, |m| m.adding.iter().filter(|a| p.replicas.contains(a)).count());
    p.replicas.len() - adding
}

impl Filter {
    /// Whether only some partitions are asked for.
    fn by_partition(&self) -> bool {
        self.under_replicated || self.unavailable || self.under_min_isr || self.at_min_isr
    }

    fn shows(&self, p: &PartitionDetails, moving: Option<&Reassignment>, min_isr: usize) -> bool {
        let in_sync = p.in_sync.len();
        let is_led = p.leader.is_some_and(|l| self.live_brokers.contains(&l.0));
        !self.by_partition()
            || (self.under_replicated && replicas(p, moving) > in_sync)
            || (self.unavailable && !is_led)
            || (self.under_min_isr && (p.leader.is_none() || in_sync < min_isr))
            || (self.at_min_isr && in_sync == min_isr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use klamm::base::NodeId;
    use klamm::wire::ErrorCode;

    fn partition(
        partition: i32,
        leader: i32,
        replicas: &[i32],
        in_sync: &[i32],
    ) -> PartitionDetails {
        PartitionDetails {
            partition,
            leader: (leader >= 0).then_some(NodeId(leader)),
            replicas: replicas.to_vec(),
            in_sync: in_sync.to_vec(),
            eligible_leaders: Some(Vec::new()),
            last_known_eligible: Some(Vec::new()),
        }
    }

    #[track_caller]
    fn check(filter: &Filter, expect: &Expect) {
        let mut old = partition(2, 1, &[1, 2], &[1, 2]);
        (old.eligible_leaders, old.last_known_eligible) = (None, None);
        let topic = TopicDetails {
            name: "t".to_owned(),
            id: TopicId([0xfb; 16]),
            error: ErrorCode::NONE,
            partitions: vec![partition(0, 1, &[1, 2], &[1]), partition(1, -1, &[2, 3], &[]), old],
        };
        let config = |name: &str, value: &str, is_default| ConfigEntry {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            is_default,
        };
        let configs = [
            config("min.insync.replicas", "1", true),
            config("retention.ms", "5", false),
            config("segment.bytes", "1048576", false),
        ];
        let moving = Reassignment { adding: vec![3], removing: vec![2] };
        let moves = BTreeMap::from([(PartitionName::new("t", 2), moving)]);
        let filter = Filter { live_brokers: BTreeSet::from([1, 2]), ..filter.clone() };
        let text = describe(&topic, &configs, &moves, &filter);
        expect.assert_eq(&text.replace('\t', "|"));
    }

    #[test]
    fn a_topic_is_described_as_kafka_describes_it() {
        check(
            &Filter::default(),
            &expect![[r"
                Topic: t|TopicId: -_v7-_v7-_v7-_v7-_v7-w|PartitionCount: 3|ReplicationFactor: 2|Configs: retention.ms=5,segment.bytes=1048576
                |Topic: t|Partition: 0|Leader: 1|Replicas: 1,2|Isr: 1|Elr: |LastKnownElr: 
                |Topic: t|Partition: 1|Leader: none|Replicas: 2,3|Isr: |Elr: |LastKnownElr: 
                |Topic: t|Partition: 2|Leader: 1|Replicas: 1,2|Isr: 1,2|Adding Replicas: 3|Removing Replicas: 2|Elr: N/A|LastKnownElr: N/A
            "]],
        );
        check(
            &Filter { only_overridden: true, ..Filter::default() },
            &expect![[r"
                Topic: t|TopicId: -_v7-_v7-_v7-_v7-_v7-w|PartitionCount: 3|ReplicationFactor: 2|Configs: retention.ms=5,segment.bytes=1048576
            "]],
        );
    }

    #[test]
    fn a_partition_filter_shows_these_partitions_and_no_topic_line() {
        check(
            &Filter { under_replicated: true, ..Filter::default() },
            &expect![[r"
                |Topic: t|Partition: 0|Leader: 1|Replicas: 1,2|Isr: 1|Elr: |LastKnownElr: 
                |Topic: t|Partition: 1|Leader: none|Replicas: 2,3|Isr: |Elr: |LastKnownElr: 
            "]],
        );
        check(
            &Filter { unavailable: true, ..Filter::default() },
            &expect![[r"
                |Topic: t|Partition: 1|Leader: none|Replicas: 2,3|Isr: |Elr: |LastKnownElr: 
            "]],
        );
        check(
            &Filter { at_min_isr: true, ..Filter::default() },
            &expect![[r"
                |Topic: t|Partition: 0|Leader: 1|Replicas: 1,2|Isr: 1|Elr: |LastKnownElr: 
            "]],
        );
    }
}
