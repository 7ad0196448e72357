//! DescribeProducers (key 61): what a partition remembers of its idempotent producers.

use crate::api::Outcome;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::describe_producers_response::{
    PartitionResponse as Row, ProducerState, TopicResponse as Topic,
};
use crate::wire::messages::{DescribeProducersRequest, DescribeProducersResponse};

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: DescribeProducersRequest) -> Outcome {
    let topics = request.topics.into_iter().map(|topic| {
        let row = |&index: &i32| match producers(shard, &topic.name, index) {
            Ok(active_producers) => msg!(Row { partition_index: index, active_producers }),
            Err(code) => msg!(Row { partition_index: index, error_code: code.0 }),
        };
        let partitions = topic.partition_indexes.iter().map(row).collect();
        msg!(Topic { name: topic.name, partitions })
    });
    let topics = topics.collect();
    Outcome::answer(call, &msg!(DescribeProducersResponse { topics }))
}

fn producers(shard: &Shard, topic: &str, index: i32) -> Result<Vec<ProducerState>, ErrorCode> {
    let log = shard.partitions.find(topic, index)?;
    let state = shard.store.log(log).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    let row = |(producer_id, producer): (i64, &crate::partition::producers::Producer)| {
        msg!(ProducerState {
            producer_id,
            producer_epoch: i32::from(producer.epoch),
            last_sequence: producer.last_sequence(),
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: -1,
            current_txn_start_offset: -1,
        })
    };
    Ok(state.producers().iter().map(row).collect())
}
