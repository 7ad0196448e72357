//! ElectLeaders (key 43): partitions go back to their preferred leader, or get any leader at all.
//!
//! A partition has one replica, so no election can change anything: a partition is led as it
//! should be, or the node that could lead it is away.

use std::sync::Arc;

use crate::api::Outcome;
use crate::api::change::clipped;
use crate::api::pieces::answer_long;
use crate::image::{Image, Partition};
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::elect_leaders_request::TopicPartitions;
use crate::wire::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use crate::wire::messages::{ElectLeadersRequest, ElectLeadersResponse};
use crate::wire::{ErrorCode, StrBytes};

/// First version that has an error for the whole request.
const ERROR_FROM: i16 = 1;
const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

/// What became of one partition.
type Verdict = (ErrorCode, Option<StrBytes>);

/// Serves the request; a null list of topics asks for all, and then only failures are told.
pub fn handle(shard: &mut Shard, call: &Call, request: ElectLeadersRequest) -> Outcome {
    let image = Arc::clone(&shard.image);
    let size = match &request.topic_partitions {
        Some(topics) => topics.iter().map(|t| t.partitions.len()).sum(),
        None => image.topic_count() + image.partition_count(),
    };
    answer_long(shard, call, size, move |call| call.answer(&respond(&image, call, request)))
}

fn respond(image: &Image, call: &Call, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let (kind, refused) = (request.election_type, refusal(&request));
    let verdict = |topic: &str, i| refused.clone().unwrap_or_else(|| elect(image, topic, i, kind));
    let replica_election_results = match request.topic_partitions {
        Some(topics) => topics.into_iter().map(|t| named(t, verdict)).collect(),
        None if refused.is_some() => Vec::new(),
        None => every(image, kind),
    };
    let mut response = msg!(ElectLeadersResponse { replica_election_results });
    if let Some((code, _)) = refused.filter(|_| call.version >= ERROR_FROM) {
        response.error_code = code.0;
    }
    response
}

/// What speaks against the request as a whole. One that names nothing is always fine.
fn refusal(request: &ElectLeadersRequest) -> Option<Verdict> {
    if request.topic_partitions.as_ref().is_some_and(Vec::is_empty) {
        return None;
    }
    let kind = request.election_type;
    if kind != PREFERRED && kind != UNCLEAN {
        let message = format!("Unknown election type {kind}");
        return Some((ErrorCode::INVALID_REQUEST, Some(message.into())));
    }
    (request.timeout_ms <= 0).then_some((ErrorCode::REQUEST_TIMED_OUT, None))
}

fn named(topic: TopicPartitions, verdict: impl Fn(&str, i32) -> Verdict) -> ReplicaElectionResult {
    let rows = topic.partitions.iter().map(|&index| row(index, verdict(&topic.topic, index)));
    let partition_result = rows.collect();
    msg!(ReplicaElectionResult { topic: topic.topic, partition_result })
}

fn every(image: &Image, kind: i8) -> Vec<ReplicaElectionResult> {
    let topics = image.topics().map(|topic| {
        let partitions = (0_i32..).zip(&topic.partitions);
        let verdicts = partitions.map(|(index, p)| (index, elect_partition(p, kind)));
        let failed = verdicts.filter(|(_, (code, _))| *code != ErrorCode::ELECTION_NOT_NEEDED);
        let partition_result = failed.map(|(index, verdict)| row(index, verdict)).collect();
        msg!(ReplicaElectionResult { topic: (&*topic.name).into(), partition_result })
    });
    topics.collect()
}

fn row(index: i32, (code, error_message): Verdict) -> PartitionResult {
    msg!(PartitionResult { partition_id: index, error_code: code.0, error_message })
}

fn elect(image: &Image, topic: &str, index: i32, kind: i8) -> Verdict {
    let unknown = |text: String| (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Some(clipped(&text)));
    let Some(found) = image.topic(topic) else {
        return unknown(format!("No such topic as {topic}"));
    };
    match image.partition(found.id, index) {
        Some(partition) => elect_partition(partition, kind),
        None => unknown(format!("No such partition as {topic}-{index}")),
    }
}

fn elect_partition(partition: &Partition, kind: i8) -> Verdict {
    let preferred = partition.replicas.first() == Some(&partition.leader);
    let (code, text) = match kind {
        PREFERRED if !preferred => {
            (ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE, "The preferred leader is not available.")
        }
        UNCLEAN if partition.leader.0 < 0 => {
            (ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE, "No replica that could lead is available.")
        }
        _ => (ErrorCode::ELECTION_NOT_NEEDED, "Leader election not needed for topic partition."),
    };
    (code, Some(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;

    /// `topic: partition code, ...` per topic, after the code of the request.
    fn shown(answer: &ElectLeadersResponse) -> String {
        let row = |p: &PartitionResult| format!(" {} {}", p.partition_id, p.error_code);
        let topic = |t: &ReplicaElectionResult| {
            format!("; {}:{}", &*t.topic, t.partition_result.iter().map(row).collect::<String>())
        };
        let topics: String = answer.replica_election_results.iter().map(topic).collect();
        format!("{}{topics}", answer.error_code)
    }

    #[test]
    fn no_partition_needs_an_election_and_only_what_is_named_is_told() {
        let mut world = World::new(2, "");
        world.create("a", &[0, 1]);
        world.create("b", &[1]);
        let mut ask = |version, kind, timeout_ms, topics: Option<&[(&str, &[i32])]>| {
            let topic = |&(topic, partitions): &(&str, &[i32])| {
                let partitions = partitions.to_vec();
                msg!(TopicPartitions { topic: topic.into(), partitions })
            };
            let topic_partitions = topics.map(|topics| topics.iter().map(topic).collect());
            let mut request = msg!(ElectLeadersRequest { topic_partitions, timeout_ms });
            if version > 0 {
                request.election_type = kind;
            }
            shown(&world.ask(1, version, &request))
        };
        let some: Option<&[(&str, &[i32])]> = Some(&[("b", &[0]), ("a", &[1, 9]), ("x", &[0])]);
        for version in 0..=2 {
            assert_eq!(ask(version, PREFERRED, 1, some), "0; b: 0 84; a: 1 84 9 3; x: 0 3");
        }
        assert_eq!(ask(2, UNCLEAN, 1, some), "0; b: 0 84; a: 1 84 9 3; x: 0 3");
        assert_eq!(ask(2, PREFERRED, 1, None), "0; a:; b:");
        assert_eq!(ask(2, PREFERRED, 0, some), "7; b: 0 7; a: 1 7 9 7; x: 0 7");
        assert_eq!(ask(0, PREFERRED, 0, some), "0; b: 0 7; a: 1 7 9 7; x: 0 7");
        assert_eq!(ask(2, PREFERRED, 0, None), "7");
        assert_eq!(ask(2, 7, 1, some), "42; b: 0 42; a: 1 42 9 42; x: 0 42");
        assert_eq!(ask(2, 7, 0, Some(&[])), "0");
    }

    #[test]
    fn a_topic_name_as_long_as_it_can_be_is_refused_in_every_version() {
        let mut world = World::new(1, "");
        for version in 0..=2 {
            let topic = "x".repeat(32_767).into();
            let topic = msg!(TopicPartitions { topic, partitions: vec![0] });
            let topic_partitions = Some(vec![topic]);
            let request = msg!(ElectLeadersRequest { topic_partitions, timeout_ms: 1 });
            let answer: ElectLeadersResponse = world.ask(0, version, &request);
            assert_eq!(answer.replica_election_results[0].partition_result[0].error_code, 3);
        }
    }

    #[test]
    fn a_partition_that_its_preferred_leader_does_not_lead_waits_for_it() {
        let nodes = |ids: &[i32]| ids.iter().copied().map(crate::base::NodeId).collect::<Vec<_>>();
        let code = |leader, kind| {
            let partition = Partition {
                leader: crate::base::NodeId(leader),
                leader_epoch: crate::base::LeaderEpoch(0),
                replicas: nodes(&[1, 2]),
                isr: nodes(&[2]),
                partition_epoch: 0,
            };
            elect_partition(&partition, kind).0.name()
        };
        assert_eq!(code(1, PREFERRED), "ELECTION_NOT_NEEDED");
        assert_eq!(code(2, PREFERRED), "PREFERRED_LEADER_NOT_AVAILABLE");
        assert_eq!(code(2, UNCLEAN), "ELECTION_NOT_NEEDED");
        assert_eq!(code(-1, UNCLEAN), "ELIGIBLE_LEADERS_NOT_AVAILABLE");
    }
}
