//! OffsetCommit (key 8): offsets are kept for a group, and answered for when they are committed.
//!
//! Partitions that do not exist are refused here, the others are the coordinator's to judge. Up to
//! v4 a client may say how long its offsets are kept; from v9 an unknown group is reported as such;
//! from v10 topics go by id.

use crate::api::Outcome;
use crate::api::error::group_code_at;
use crate::base::TopicId;
use crate::coordinator::{Answer, Commit, CommitOffset, Sender};
use crate::image::Topic;
use crate::msg;
use crate::shard::{Call, GroupCall, Shard};
use crate::wire::ErrorCode;
use crate::wire::frame;
use crate::wire::messages::offset_commit_request::OffsetCommitRequestTopic;
use crate::wire::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::wire::messages::{OffsetCommitRequest, OffsetCommitResponse};

const UNKNOWN_GROUP_FROM: i16 = 9;
const TOPIC_ID_FROM: i16 = 10;
/// "The broker's retention" in v2 to v4.
const NO_RETENTION: i64 = -1;
/// What stands for "not decided yet" while the response is made.
const OPEN: i16 = i16::MAX;

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: OffsetCommitRequest) -> Outcome {
    let image = shard.image.clone();
    let by_id = call.version >= TOPIC_ID_FROM;
    let (mut response, mut offsets) = (OffsetCommitResponse::default(), Vec::new());
    for topic in request.topics.iter().filter(|t| !t.partitions.is_empty()) {
        let known = if by_id {
            image.topic_by_id(topic.topic_id.into()).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)
        } else {
            image.topic(&topic.name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        };
        response.topics.push(sort_out(topic, known.map(|t| &**t), &mut offsets));
    }
    if offsets.is_empty() {
        return Outcome::answer(call, &response);
    }
    let commit = Commit {
        from: Sender {
            group: &request.group_id,
            member: &request.member_id,
            instance: request.group_instance_id.as_deref(),
            generation: request.generation_id_or_member_epoch,
        },
        retention_ms: Some(request.retention_time_ms).filter(|&ms| ms != NO_RETENTION),
        reports_unknown_group: call.version >= UNKNOWN_GROUP_FROM,
        offsets,
    };
    let to = GroupCall::new(call, move |call, answer| respond(call, response, answer));
    shard.ask_groups(|groups, at, out| groups.commit_offsets(&commit, to, at, out));
    Outcome::Parked
}

/// Answers for the partitions that do not exist, and leaves the others open.
fn sort_out<'a>(
    topic: &'a OffsetCommitRequestTopic,
    known: Result<&'a Topic, ErrorCode>,
    offsets: &mut Vec<CommitOffset<'a>>,
) -> OffsetCommitResponseTopic {
    let partitions = topic.partitions.iter().map(|p| {
        let exists = |t: &&Topic| {
            usize::try_from(p.partition_index).is_ok_and(|index| index < t.partitions.len())
        };
        let error_code = match known {
            Ok(known) if exists(&known) => {
                offsets.push(CommitOffset {
                    topic: &known.name,
                    topic_id: known.id,
                    partition: p.partition_index,
                    offset: p.committed_offset,
                    leader_epoch: p.committed_leader_epoch,
                    metadata: p.committed_metadata.as_deref().unwrap_or_default(),
                });
                OPEN
            }
            Ok(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0,
            Err(code) => code.0,
        };
        msg!(OffsetCommitResponsePartition { partition_index: p.partition_index, error_code })
    });
    msg!(OffsetCommitResponseTopic {
        partitions: partitions.collect(),
        name: topic.name.clone(),
        topic_id: TopicId::from(topic.topic_id).into(),
    })
}

fn respond(call: &Call, mut response: OffsetCommitResponse, answer: Answer) -> frame::Answer {
    let outcomes = answer.each();
    let open = response.topics.iter_mut().flat_map(|t| &mut t.partitions);
    for (place, partition) in open.filter(|p| p.error_code == OPEN).enumerate() {
        partition.error_code = group_code_at(&outcomes, place);
    }
    call.answer(&response)
}
