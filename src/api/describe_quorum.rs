//! DescribeQuorum (key 55): who votes on the metadata and how far they are. The metadata log of the
//! controller's shard is a quorum of one; the other nodes get its images, not its records.

use crate::api::Outcome;
use crate::base::LeaderEpoch;
use crate::msg;
use crate::shard::metadata::METADATA_TOPIC;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::describe_quorum_request::TopicData as Asked;
use crate::wire::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use crate::wire::messages::{DescribeQuorumRequest, DescribeQuorumResponse};

/// First version that tells when a voter was last heard of.
const TIMES_FROM: i16 = 1;
/// First version with messages and addresses.
const NODES_FROM: i16 = 2;

/// Serves the request: only the metadata log and nothing beside it can be asked for.
pub fn handle(shard: &mut Shard, call: &Call, request: DescribeQuorumRequest) -> Outcome {
    let quorum = match &request.topics[..] {
        [topic] if asks_for_metadata(topic) => quorum(shard, call.version),
        _ => None,
    };
    let found = quorum.is_some();
    let partition = |index| quorum.clone().unwrap_or_else(|| unknown(index, call.version));
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| partition(p.partition_index)).collect();
        msg!(TopicData { topic_name: topic.topic_name.clone(), partitions })
    });
    let mut response = msg!(DescribeQuorumResponse { topics: topics.collect() });
    if found && call.version >= NODES_FROM {
        response.nodes = voter(shard).into_iter().collect();
    }
    Outcome::answer(call, &response)
}

fn asks_for_metadata(topic: &Asked) -> bool {
    let indexes: Vec<i32> = topic.partitions.iter().map(|p| p.partition_index).collect();
    &*topic.topic_name == METADATA_TOPIC && indexes == [0]
}

fn unknown(partition_index: i32, version: i16) -> PartitionData {
    let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let mut row = msg!(PartitionData { partition_index, error_code: code.0 });
    if version >= NODES_FROM {
        row.error_message = Some("This server does not host this topic-partition.".into());
    }
    row
}

/// The one voter has all that is durable; what it appended since is on its way.
fn quorum(shard: &Shard, version: i16) -> Option<PartitionData> {
    let log = shard.store.log(shard.publisher.as_ref()?.log())?;
    let mut voter =
        msg!(ReplicaState { replica_id: shard.node.0, log_end_offset: log.log_end().0 });
    if version >= TIMES_FROM {
        (voter.last_fetch_timestamp, voter.last_caught_up_timestamp) = (shard.wall.0, shard.wall.0);
    }
    Some(msg!(PartitionData {
        leader_id: shard.node.0,
        leader_epoch: log.epochs().latest().unwrap_or(LeaderEpoch(0)).0,
        high_watermark: log.durable_end().0,
        current_voters: vec![voter],
    }))
}

/// The voter's address, which is the node's own.
fn voter(shard: &Shard) -> Option<Node> {
    let node = shard.image.node(shard.node)?;
    let name = shard.config.advertised(&node.host).first().map(|l| l.name.clone());
    let listener = msg!(Listener {
        name: name.unwrap_or_default().into(),
        host: (&*node.host).into(),
        port: node.port,
    });
    Some(msg!(Node { node_id: node.id.0, listeners: vec![listener] }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;
    use crate::wire::messages::describe_quorum_request::PartitionData as AskedPartition;

    fn ask(world: &mut World, version: i16, topics: &[(&str, &[i32])]) -> DescribeQuorumResponse {
        let topic = |&(name, indexes): &(&str, &[i32])| {
            let partition = |&partition_index: &i32| msg!(AskedPartition { partition_index });
            let partitions = indexes.iter().map(partition).collect();
            msg!(Asked { topic_name: name.into(), partitions })
        };
        let topics = topics.iter().map(topic).collect();
        world.ask(1, version, &msg!(DescribeQuorumRequest { topics }))
    }

    #[test]
    fn the_metadata_log_is_a_quorum_of_one_that_grows_with_each_change() {
        let mut world = World::new(2, "");
        let mut end = |version| {
            let answer = ask(&mut world, version, &[(METADATA_TOPIC, &[0])]);
            let row = &answer.topics[0].partitions[0];
            let voter = &row.current_voters[0];
            assert_eq!((row.error_code, row.leader_id, voter.replica_id), (0, 0, 0));
            assert_eq!((row.current_voters.len(), row.observers.len()), (1, 0));
            assert_eq!(voter.log_end_offset, row.high_watermark);
            let port = answer.nodes.first().map(|n| n.listeners[0].port);
            assert_eq!(port, (version == 2).then_some(9092));
            world.create(&format!("t{version}"), &[0]);
            row.high_watermark
        };
        let ends = [0, 1, 2].map(&mut end);
        assert!(ends[0] > 0 && ends[1] > ends[0] && ends[2] > ends[1], "{ends:?}");
    }

    #[test]
    fn nothing_but_the_metadata_log_has_a_quorum() {
        let mut world = World::new(2, "");
        world.create("t", &[0]);
        let both: &[(&str, &[i32])] = &[(METADATA_TOPIC, &[0]), ("t", &[0])];
        for version in 0..=2 {
            for topics in [&both[1..], both, &[(METADATA_TOPIC, &[0, 1])]] {
                let answer = ask(&mut world, version, topics);
                let rows = || answer.topics.iter().flat_map(|t| &t.partitions);
                assert!(rows().all(|p| p.error_code == 3 && p.current_voters.is_empty()));
                assert!(answer.error_code == 0 && answer.nodes.is_empty());
            }
        }
    }
}
