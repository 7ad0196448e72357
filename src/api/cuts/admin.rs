//! Requests about partitions and members, each cut in a way of its own.

use std::collections::BTreeMap;
use std::mem;

use super::{INDEXES_BYTES, cut_list, cut_topics, join_topics, with};
use crate::api::describe_log_dirs;
use crate::api::pieces::{InPieces, PIECE_MAX, Uncut};
use crate::msg;
use crate::wire::StrBytes;
use crate::wire::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use crate::wire::messages::describe_log_dirs_request::DescribableLogDirTopic;
use crate::wire::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, DescribeLogDirsRequest,
    DescribeLogDirsResponse, ElectLeadersRequest, ElectLeadersResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

impl InPieces for LeaveGroupRequest {
    fn cut(mut self, _: i16) -> Result<Vec<(Self, bool)>, Uncut<LeaveGroupResponse>> {
        let members = cut_list(mem::take(&mut self.members), PIECE_MAX, |_| 1);
        Ok(members.into_iter().map(|part| (with(&self, |r| r.members = part), false)).collect())
    }

    fn join(all: &mut LeaveGroupResponse, more: LeaveGroupResponse, _: bool) {
        if all.error_code == 0 {
            all.error_code = more.error_code;
        }
        all.members.extend(more.members);
    }
}

impl InPieces for ElectLeadersRequest {
    const LARGE_BYTES: usize = INDEXES_BYTES;

    fn cut(mut self, _: i16) -> Result<Vec<(Self, bool)>, Uncut<ElectLeadersResponse>> {
        let Some(topics) = self.topic_partitions.take() else { return Ok(vec![(self, false)]) };
        let topics = topics.into_iter().map(|t| (t, false));
        let piece = |topics| with(&self, |r| r.topic_partitions = Some(topics));
        let pieces = cut_topics(topics, |t| &mut t.partitions).into_iter();
        Ok(pieces.map(|(topics, goes_on)| (piece(topics), goes_on)).collect())
    }

    fn join(all: &mut ElectLeadersResponse, more: ElectLeadersResponse, goes_on: bool) {
        let rows = &mut all.replica_election_results;
        join_topics(rows, more.replica_election_results, goes_on, |t| &mut t.partition_result);
    }
}

/// Nothing is being reassigned, whatever is named.
impl InPieces for ListPartitionReassignmentsRequest {
    const LARGE_BYTES: usize = INDEXES_BYTES;

    fn cut(
        mut self,
        _: i16,
    ) -> Result<Vec<(Self, bool)>, Uncut<ListPartitionReassignmentsResponse>> {
        self.topics = None;
        Ok(vec![(self, false)])
    }

    fn join(
        _: &mut ListPartitionReassignmentsResponse,
        _: ListPartitionReassignmentsResponse,
        _: bool,
    ) {
    }
}

/// A partition that is named twice is described once.
impl InPieces for DescribeLogDirsRequest {
    const LARGE_BYTES: usize = INDEXES_BYTES;

    fn cut(mut self, _: i16) -> Result<Vec<(Self, bool)>, Uncut<DescribeLogDirsResponse>> {
        let Some(topics) = self.topics.take() else { return Ok(vec![(self, false)]) };
        let once = describe_log_dirs::each_once(topics).into_iter().map(|(topic, partitions)| {
            let partitions = partitions.into_iter().collect();
            (msg!(DescribableLogDirTopic { topic: topic.into(), partitions }), false)
        });
        let pieces = cut_topics(once, |t| &mut t.partitions).into_iter();
        Ok(pieces.map(|(topics, _)| (with(&self, |r| r.topics = Some(topics)), false)).collect())
    }

    /// A topic of which a node has nothing is in no answer.
    fn join(all: &mut DescribeLogDirsResponse, more: DescribeLogDirsResponse, _: bool) {
        for (dir, more) in all.results.iter_mut().zip(more.results) {
            let last = dir.topics.last().map(|t| t.name.clone());
            let goes_on = last.is_some() && more.topics.first().map(|t| t.name.clone()) == last;
            join_topics(&mut dir.topics, more.topics, goes_on, |t| &mut t.partitions);
        }
    }
}

/// Of a partition that comes twice, the last directory counts; topics and partitions are answered in
/// order.
impl InPieces for AlterReplicaLogDirsRequest {
    const LARGE_BYTES: usize = INDEXES_BYTES;

    fn cut(self, _: i16) -> Result<Vec<(Self, bool)>, Uncut<AlterReplicaLogDirsResponse>> {
        let mut paths: BTreeMap<String, BTreeMap<i32, StrBytes>> = BTreeMap::new();
        for dir in self.dirs {
            for topic in dir.topics.into_iter().filter(|t| !t.partitions.is_empty()) {
                let named = topic.partitions.into_iter().map(|index| (index, dir.path.clone()));
                paths.entry(topic.name.to_string()).or_default().extend(named);
            }
        }
        let moves = paths.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(index, path)| (topic, *index, path))
        });
        let one = |(topic, index, path): &(&String, i32, &StrBytes)| {
            let partitions = vec![*index];
            let topics =
                vec![msg!(AlterReplicaLogDirTopic { name: topic.as_str().into(), partitions })];
            msg!(AlterReplicaLogDir { path: (*path).clone(), topics })
        };
        let piece = |moves: &[_]| {
            let dirs = moves.iter().map(one).collect();
            (msg!(AlterReplicaLogDirsRequest { dirs }), false)
        };
        let moves: Vec<_> = moves.collect();
        Ok(moves.chunks(PIECE_MAX).map(piece).collect())
    }

    fn join(all: &mut AlterReplicaLogDirsResponse, more: AlterReplicaLogDirsResponse, _: bool) {
        let last = all.results.last().map(|t| t.topic_name.clone());
        let goes_on = more.results.first().map(|t| t.topic_name.clone()) == last;
        join_topics(&mut all.results, more.results, goes_on, |t| &mut t.partitions);
    }
}
