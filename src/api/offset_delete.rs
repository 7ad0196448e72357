//! OffsetDelete (key 47): offsets of topics that a group does not read are deleted.

use crate::api::Outcome;
use crate::api::error::group_code;
use crate::coordinator::Answer;
use crate::msg;
use crate::shard::{Call, GroupCall, Shard};
use crate::wire::ErrorCode;
use crate::wire::frame;
use crate::wire::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

/// What stands for "not decided yet" while the response is made.
const OPEN: i16 = i16::MAX;

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: OffsetDeleteRequest) -> Outcome {
    let image = shard.image.clone();
    let (mut response, mut offsets) = (OffsetDeleteResponse::default(), Vec::new());
    for topic in &request.topics {
        let count = image.topic(&topic.name).map_or(0, |t| t.partitions.len());
        let partitions = topic.partitions.iter().map(|p| {
            let exists = usize::try_from(p.partition_index).is_ok_and(|index| index < count);
            if exists {
                offsets.push((&*topic.name, p.partition_index));
            }
            msg!(OffsetDeleteResponsePartition {
                partition_index: p.partition_index,
                error_code: if exists { OPEN } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0 },
            })
        });
        let partitions = partitions.collect();
        response
            .topics
            .push(msg!(OffsetDeleteResponseTopic { name: topic.name.clone(), partitions }));
    }
    let to = GroupCall::new(call, move |call, answer| respond(call, response, answer));
    shard.ask_groups(|groups, at, out| {
        groups.delete_offsets(&request.group_id, &offsets, to, at, out);
    });
    Outcome::Parked
}

fn respond(call: &Call, mut response: OffsetDeleteResponse, answer: Answer) -> frame::Answer {
    match answer.each() {
        Err(error) => {
            let error_code = ErrorCode::from(error).0;
            call.answer(&msg!(OffsetDeleteResponse { error_code }))
        }
        Ok(outcomes) => {
            let open = response.topics.iter_mut().flat_map(|t| &mut t.partitions);
            for (partition, outcome) in open.filter(|p| p.error_code == OPEN).zip(outcomes) {
                partition.error_code = group_code(outcome);
            }
            call.answer(&response)
        }
    }
}
