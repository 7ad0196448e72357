//! OffsetFetch (key 9): the offsets that groups keep.
//!
//! Up to v7 it is about one group, from v8 about several; from v10 topics go by id. Only committed
//! offsets are ever shown, which is what `require_stable` asks for as long as there are no
//! transactions. A group or a partition that is not known has offset -1, and that is no error.

use crate::api::Outcome;
use crate::base::TopicId;
use crate::coordinator::{CommittedOffset, FetchTopic, GroupError};
use crate::image::Image;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use crate::wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use crate::wire::messages::{OffsetFetchRequest, OffsetFetchResponse};
use crate::wire::{ErrorCode, StrBytes};

const TOP_ERROR_FROM: i16 = 2;
pub(super) const GROUPS_FROM: i16 = 8;
const TOPIC_ID_FROM: i16 = 10;

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: OffsetFetchRequest) -> Outcome {
    if call.version >= GROUPS_FROM {
        let groups = request.groups.iter().map(|group| fetch(shard, call.version, group));
        let response = msg!(OffsetFetchResponse { groups: groups.collect() });
        return Outcome::answer(call, &response);
    }
    let topics = request.topics.map(|topics| {
        let topic = topics.into_iter().map(|t| {
            msg!(OffsetFetchRequestTopics { name: t.name, partition_indexes: t.partition_indexes })
        });
        topic.collect()
    });
    let group = msg!(OffsetFetchRequestGroup { group_id: request.group_id, topics });
    let answer = fetch(shard, call.version, &group);
    Outcome::answer(call, &before_groups(call.version, answer))
}

/// The answer in the form for one group.
fn before_groups(version: i16, group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let partition = |p: OffsetFetchResponsePartitions| {
        msg!(OffsetFetchResponsePartition {
            partition_index: p.partition_index,
            committed_offset: p.committed_offset,
            committed_leader_epoch: p.committed_leader_epoch,
            metadata: p.metadata,
            error_code: p.error_code,
        })
    };
    let topics = group.topics.into_iter().map(|t| {
        let partitions = t.partitions.into_iter().map(partition).collect();
        msg!(OffsetFetchResponseTopic { name: t.name, partitions })
    });
    let error_code = if version >= TOP_ERROR_FROM { group.error_code } else { 0 };
    msg!(OffsetFetchResponse { topics: topics.collect(), error_code })
}

fn fetch(
    shard: &Shard,
    version: i16,
    request: &OffsetFetchRequestGroup,
) -> OffsetFetchResponseGroup {
    let topics = match &request.topics {
        None => fetch_all(shard, version, &request.group_id),
        Some(topics) => fetch_some(shard, version, &request.group_id, topics),
    };
    let group_id = request.group_id.clone();
    match topics {
        Ok(topics) => msg!(OffsetFetchResponseGroup { group_id, topics }),
        Err(error) => {
            let error_code = ErrorCode::from(error).0;
            // The oldest version has no place for an error but the partitions.
            let asked = request.topics.iter().flatten().filter(|_| version < TOP_ERROR_FROM);
            let topics = asked.map(|t| refused(t, error_code)).collect();
            msg!(OffsetFetchResponseGroup { group_id, topics, error_code })
        }
    }
}

/// Topics that have gone since have no id, so they cannot be in an answer that goes by id.
fn fetch_all(
    shard: &Shard,
    version: i16,
    group: &str,
) -> Result<Vec<OffsetFetchResponseTopics>, GroupError> {
    let mut answer = Vec::new();
    for (name, offsets) in shard.groups.fetch_offsets(group, None)? {
        let partitions = offsets.into_iter().map(|(p, offset)| partition(p, offset));
        let mut topic = msg!(OffsetFetchResponseTopics { partitions: partitions.collect() });
        if version < TOPIC_ID_FROM {
            topic.name = StrBytes::from(&*name);
        } else if let Some(known) = shard.image.topic(&name) {
            topic.topic_id = known.id.into();
        } else {
            continue;
        }
        answer.push(topic);
    }
    Ok(answer)
}

fn fetch_some(
    shard: &Shard,
    version: i16,
    group: &str,
    topics: &[OffsetFetchRequestTopics],
) -> Result<Vec<OffsetFetchResponseTopics>, GroupError> {
    let by_id = version >= TOPIC_ID_FROM;
    let asked: Vec<_> = topics.iter().map(|t| resolve(&shard.image, by_id, t)).collect();
    let known: Vec<_> = asked.iter().flatten().cloned().collect();
    let mut found = shard.groups.fetch_offsets(group, Some(&known))?.into_iter();
    let answers = topics.iter().zip(&asked).map(|(topic, asked)| {
        let offsets = asked.as_ref().and_then(|_| found.next());
        let Some((_, offsets)) = offsets else {
            return refused(topic, ErrorCode::UNKNOWN_TOPIC_ID.0);
        };
        msg!(OffsetFetchResponseTopics {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: offsets.into_iter().map(|(p, offset)| partition(p, offset)).collect(),
        })
    });
    Ok(answers.collect())
}

/// What to ask the coordinator for; `None` for an id that is not known. A name need not be known; if
/// it is, offsets of an older topic of that name are not shown.
fn resolve<'a>(
    image: &'a Image,
    by_id: bool,
    topic: &'a OffsetFetchRequestTopics,
) -> Option<FetchTopic<'a>> {
    let partitions = &topic.partition_indexes;
    if !by_id {
        let topic_id = image.topic(&topic.name).map_or(TopicId::ZERO, |known| known.id);
        return Some(FetchTopic { topic: &topic.name, topic_id, partitions });
    }
    let known = image.topic_by_id(topic.topic_id.into())?;
    Some(FetchTopic { topic: &known.name, topic_id: known.id, partitions })
}

fn refused(topic: &OffsetFetchRequestTopics, error_code: i16) -> OffsetFetchResponseTopics {
    let partitions = topic.partition_indexes.iter().map(|&p| {
        let mut partition = partition(p, None);
        partition.error_code = error_code;
        partition
    });
    msg!(OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
    })
}

fn partition(index: i32, offset: Option<&CommittedOffset>) -> OffsetFetchResponsePartitions {
    msg!(OffsetFetchResponsePartitions {
        partition_index: index,
        committed_offset: offset.map_or(-1, |o| o.offset),
        committed_leader_epoch: offset.map_or(-1, |o| o.leader_epoch),
        metadata: Some(StrBytes::from(offset.map_or("", |o| &o.metadata))),
    })
}
