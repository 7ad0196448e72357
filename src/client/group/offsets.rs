//! Committed offsets: the requests that write and read them, and their answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::Offset;
use crate::client::cluster::PartitionName;
use crate::client::error::ClientError;
use crate::client::fetcher::by_topic;
use crate::msg;
use crate::wire::ErrorCode;
use crate::wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
use crate::wire::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};

/// Topics go by name up to this version of OffsetCommit.
pub const COMMIT_VERSION_MAX: i16 = 9;
/// One group, and topics by name, up to this version of OffsetFetch.
pub const FETCH_VERSION_MAX: i16 = 7;

/// A committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The next record to read.
    pub offset: Offset,
    /// Leader epoch of the last record read, or -1.
    pub leader_epoch: i32,
}

/// Who commits: a member of a generation, or nobody in particular.
#[derive(Debug, Clone, Copy)]
pub struct Committer<'a> {
    /// Member id; empty for nobody.
    pub member_id: &'a str,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<&'a str>,
    /// Generation; -1 for nobody.
    pub generation_id: i32,
}

impl Committer<'_> {
    /// Not a member. The broker takes this only while the group is empty.
    pub const NOBODY: Self = Self { member_id: "", instance_id: None, generation_id: -1 };
}

/// Commits `offsets` of a group.
pub fn commit(
    group_id: &str,
    committer: Committer<'_>,
    offsets: &BTreeMap<PartitionName, Committed>,
) -> OffsetCommitRequest {
    let offsets: Vec<_> = offsets.iter().map(|(name, c)| (name.clone(), *c)).collect();
    let topics = by_topic(&offsets, |name, committed: &Committed| {
        msg!(OffsetCommitRequestPartition {
            partition_index: name.partition,
            committed_offset: committed.offset.0,
            committed_leader_epoch: committed.leader_epoch,
            committed_metadata: Some("".into()),
        })
    });
    let topic = |(name, partitions): (Arc<str>, _)| {
        msg!(OffsetCommitRequestTopic { name: (&*name).into(), partitions })
    };
    msg!(OffsetCommitRequest {
        group_id: group_id.into(),
        generation_id_or_member_epoch: committer.generation_id,
        member_id: committer.member_id.into(),
        group_instance_id: committer.instance_id.map(Into::into),
        topics: topics.into_iter().map(topic).collect(),
    })
}

/// The error code of each partition that was committed.
pub fn committed(answer: &OffsetCommitResponse) -> BTreeMap<PartitionName, ErrorCode> {
    let topics = answer.topics.iter();
    let all = topics.flat_map(|t| t.partitions.iter().map(|p| (&t.name, p)));
    all.map(|(topic, p)| (PartitionName::new(topic, p.partition_index), ErrorCode(p.error_code)))
        .collect()
}

/// Asks for the committed offsets of `partitions`, which are sorted, or of all that there are.
pub fn fetch(group_id: &str, partitions: Option<&[PartitionName]>) -> OffsetFetchRequest {
    let topics = partitions.map(|partitions| {
        let named: Vec<_> = partitions.iter().map(|name| (name.clone(), ())).collect();
        let topic = |(name, partition_indexes): (Arc<str>, _)| {
            msg!(OffsetFetchRequestTopic { name: (&*name).into(), partition_indexes })
        };
        by_topic(&named, |name, ()| name.partition).into_iter().map(topic).collect()
    });
    msg!(OffsetFetchRequest { group_id: group_id.into(), topics })
}

/// The committed offsets of an answer; a partition without one is not in it.
///
/// # Errors
/// [`ClientError::Refused`] with the first error of the answer.
pub fn fetched(
    answer: &OffsetFetchResponse,
) -> Result<BTreeMap<PartitionName, Committed>, ClientError> {
    ClientError::check("OffsetFetch", answer.error_code, None)?;
    let mut found = BTreeMap::new();
    for topic in &answer.topics {
        for p in &topic.partitions {
            ClientError::check("OffsetFetch", p.error_code, None)?;
            if p.committed_offset >= 0 {
                let name = PartitionName::new(&topic.name, p.partition_index);
                let (offset, leader_epoch) = (Offset(p.committed_offset), p.committed_leader_epoch);
                found.insert(name, Committed { offset, leader_epoch });
            }
        }
    }
    Ok(found)
}
