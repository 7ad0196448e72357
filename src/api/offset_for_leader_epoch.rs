//! OffsetForLeaderEpoch (key 23): where an epoch ended, so that a client whose log went another way
//! finds the place to cut it (KIP-101, KIP-320).

use crate::api::Outcome;
use crate::base::LeaderEpoch;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition as Asked;
use crate::wire::messages::offset_for_leader_epoch_response::{
    EpochEndOffset as Row, OffsetForLeaderTopicResult as Topic,
};
use crate::wire::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: OffsetForLeaderEpochRequest) -> Outcome {
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let rows = topic.partitions.iter().map(|asked| {
                let (leader_epoch, end_offset, code) = match end_of(shard, &topic.topic, asked) {
                    Ok((epoch, end)) => (epoch, end, ErrorCode::NONE),
                    Err(code) => (-1, -1, code),
                };
                let (partition, error_code) = (asked.partition, code.0);
                msg!(Row { error_code, partition, leader_epoch, end_offset })
            });
            let partitions = rows.collect();
            msg!(Topic { topic: topic.topic, partitions })
        })
        .collect();
    Outcome::answer(call, &msg!(OffsetForLeaderEpochResponse { topics }))
}

fn end_of(shard: &Shard, topic: &str, asked: &Asked) -> Result<(i32, i64), ErrorCode> {
    let log = shard.partitions.find(topic, asked.partition)?;
    let partition = shard.partitions.get(log).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    partition.leader.check_epoch(LeaderEpoch(asked.current_leader_epoch))?;
    let state = shard.store.log(log).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    let epoch = LeaderEpoch(asked.leader_epoch);
    let end = state.epochs().end_offset_for(epoch, state.log_end());
    Ok(end.map_or((-1, -1), |(epoch, end)| (epoch.0, end.0)))
}
