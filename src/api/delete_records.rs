//! DeleteRecords (key 21): moves the log start offset of partitions; -1 is the high watermark.
//!
//! It is answered when the new start is on disk: what was deleted does not come back. The timeout of
//! the request is for other replicas, as in Kafka, where a lone leader is done before it is asked for.

use crate::api::Outcome;
use crate::base::{Moment, Offset};
use crate::msg;
use crate::shard::park::{ParkedAck, WaitEnd};
use crate::shard::{Call, Shard, Slot};
use crate::storage::LogId;
use crate::wire::ErrorCode;
use crate::wire::frame::Answer;
use crate::wire::messages::delete_records_request::DeleteRecordsPartition as Asked;
use crate::wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult as Row, DeleteRecordsTopicResult as Topic,
};
use crate::wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

const HIGH_WATERMARK: i64 = -1;

/// An answer that waits until a crash cannot bring the records back.
struct Parked {
    call: Call,
    answer: DeleteRecordsResponse,
    /// Per wait, the topic and row of the answer; `None` once it is over.
    waits: Vec<Option<(usize, usize)>>,
}

impl Parked {
    fn fail(&mut self, index: usize, code: ErrorCode) {
        if let Some((topic, row)) = self.waits.get_mut(index).and_then(Option::take) {
            let row = &mut self.answer.topics[topic].partitions[row];
            (row.low_watermark, row.error_code) = (-1, code.0);
        }
    }
}

impl ParkedAck for Parked {
    fn ended(&mut self, index: u32, end: WaitEnd) {
        match end {
            WaitEnd::Safe | WaitEnd::TooFewInSync => self.waits[index as usize] = None,
            WaitEnd::Failed => self.fail(index as usize, ErrorCode::KAFKA_STORAGE_ERROR),
        }
    }

    fn finish(self: Box<Self>) -> (Slot, Answer) {
        (self.call.slot, self.call.answer(&self.answer))
    }
}

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: DeleteRecordsRequest) -> Outcome {
    let mut topics = Vec::with_capacity(request.topics.len());
    let (mut waits, mut places) = (Vec::new(), Vec::new());
    for (at, topic) in request.topics.into_iter().enumerate() {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (row, asked) in topic.partitions.iter().enumerate() {
            let deleted = delete(shard, &topic.name, asked);
            if let Ok((log, start)) = deleted
                && shard.partitions.get(log).is_some_and(|p| p.safe_start < start)
            {
                waits.push((log, start, waits.len() as u32));
                places.push(Some((at, row)));
            }
            partitions.push(msg!(Row {
                partition_index: asked.partition_index,
                low_watermark: deleted.as_ref().map_or(-1, |(_, start)| start.0),
                error_code: deleted.err().unwrap_or_default().0,
            }));
        }
        topics.push(msg!(Topic { name: topic.name, partitions }));
    }
    let answer = msg!(DeleteRecordsResponse { topics });
    if waits.is_empty() {
        return Outcome::answer(call, &answer);
    }
    let parked = Parked { call: call.clone(), answer, waits: places };
    shard.park_starts(Box::new(parked), &waits, Moment::NEVER);
    Outcome::Parked
}

fn delete(shard: &mut Shard, topic: &str, asked: &Asked) -> Result<(LogId, Offset), ErrorCode> {
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
    let start = shard.store.delete_records(log, to, now).map_err(|e| ErrorCode::from(&e))?;
    Ok((log, start))
}
