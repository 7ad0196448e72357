//! DeleteRecords (key 21): moves the log start offset of partitions; -1 is the high watermark.

use crate::api::Outcome;
use crate::base::Offset;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::delete_records_request::DeleteRecordsPartition as Asked;
use crate::wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult as Row, DeleteRecordsTopicResult as Topic,
};
use crate::wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

const HIGH_WATERMARK: i64 = -1;

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: DeleteRecordsRequest) -> Outcome {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let deleted = delete(shard, &topic.name, asked);
            partitions.push(msg!(Row {
                partition_index: asked.partition_index,
                low_watermark: deleted.as_ref().map_or(-1, |start| start.0),
                error_code: deleted.err().unwrap_or_default().0,
            }));
        }
        topics.push(msg!(Topic { name: topic.name, partitions }));
    }
    Outcome::answer(call, &msg!(DeleteRecordsResponse { topics }))
}

fn delete(shard: &mut Shard, topic: &str, asked: &Asked) -> Result<Offset, ErrorCode> {
    let log = shard.partitions.find(topic, asked.partition_index)?;
    let partition = shard.partitions.get(log).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    if partition.internal {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    if partition.compact_only {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let high_watermark = partition.leader.high_watermark();
    let to = if asked.offset == HIGH_WATERMARK { high_watermark } else { Offset(asked.offset) };
    if to < Offset(0) || to > high_watermark {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    let now = shard.now;
    shard.store.delete_records(log, to, now).map_err(|e| (&e).into())
}
