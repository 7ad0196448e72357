//! How the requests of each API are cut into pieces, and the answers joined.
//!
//! A piece is a request like any other, so its handler does not know about it. Only what a handler
//! does with all of a request at once is done here before: dropping or refusing what is named twice.

mod admin;
mod changes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use crate::api::offset_fetch::GROUPS_FROM;
use crate::api::pieces::{InPieces, PIECE_MAX, Uncut};
use crate::api::{PARTITIONS_MAX, metadata};
use crate::msg;
use crate::wire::StrBytes;
use crate::wire::messages::list_offsets_request::ListOffsetsTopic;
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, CreateAclsRequest,
    CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DeleteRecordsRequest,
    DeleteRecordsResponse, DescribeConfigsRequest, DescribeConfigsResponse, DescribeGroupsRequest,
    DescribeGroupsResponse, DescribeProducersRequest, DescribeProducersResponse,
    DescribeTransactionsRequest, DescribeTransactionsResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
    MetadataResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
    OffsetFetchResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest,
    ProduceResponse,
};

/// A request of this size may hold more numbers of partitions than a piece.
const INDEXES_BYTES: usize = PIECE_MAX * size_of::<i32>();
/// A request of this size may create, delete or describe more topics than a turn should.
const LARGE_CHANGE_BYTES: usize = 512;
/// Resources that one request may ask about: a few bytes in, some kilobytes out for each.
const RESOURCES_MAX: usize = 10_000;
/// Resources that one turn describes.
const RESOURCES_PER_TURN: usize = 16;

/// Cuts topics and their partitions. A topic that goes on is the rest of the one before, and begins a
/// new piece.
fn cut_topics<T: Clone, P>(
    topics: impl IntoIterator<Item = (T, bool)>,
    of: fn(&mut T) -> &mut Vec<P>,
) -> Vec<(Vec<T>, bool)> {
    let (mut pieces, mut piece, mut room) = (Vec::new(), (Vec::new(), false), PIECE_MAX);
    for (mut topic, mut goes_on) in topics {
        let mut partitions = mem::take(of(&mut topic)).into_iter();
        loop {
            if room == 0 || goes_on {
                pieces.push(mem::replace(&mut piece, (Vec::new(), goes_on)));
                room = PIECE_MAX;
            }
            let mut part = topic.clone();
            of(&mut part).extend(partitions.by_ref().take(room));
            room -= of(&mut part).len().max(1);
            piece.0.push(part);
            if partitions.len() == 0 {
                break;
            }
            goes_on = true;
        }
    }
    pieces.push(piece);
    pieces
}

/// Joins what [`cut_topics`] has cut.
fn join_topics<T, P>(all: &mut Vec<T>, more: Vec<T>, goes_on: bool, of: fn(&mut T) -> &mut Vec<P>) {
    let mut more = more.into_iter();
    if goes_on && let (Some(last), Some(mut rest)) = (all.last_mut(), more.next()) {
        of(last).append(of(&mut rest));
    }
    all.extend(more);
}

/// Cuts a list into parts of no more than this weight, or of one item.
fn cut_list<T>(list: Vec<T>, weight_max: usize, weight: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut parts, mut part, mut room) = (Vec::new(), Vec::new(), weight_max);
    for item in list {
        let takes = weight(&item);
        if takes > room && !part.is_empty() {
            parts.push(mem::take(&mut part));
            room = weight_max;
        }
        room = room.saturating_sub(takes);
        part.push(item);
    }
    parts.push(part);
    parts
}

/// A copy with a change.
fn with<Q: Clone>(request: &Q, change: impl FnOnce(&mut Q)) -> Q {
    let mut changed = request.clone();
    change(&mut changed);
    changed
}

impl InPieces for ProduceRequest {
    /// Its size says nothing; the handler counts.
    const LARGE_BYTES: usize = usize::MAX;

    fn cut(mut self, _: i16) -> Result<Vec<(Self, bool)>, Uncut<ProduceResponse>> {
        let topics = mem::take(&mut self.topic_data);
        if topics.iter().map(|t| t.partition_data.len()).sum::<usize>() > PARTITIONS_MAX {
            return Err(Uncut::TooMany);
        }
        let topics = topics.into_iter().map(|t| (t, false));
        Ok(cut_topics(topics, |t| &mut t.partition_data)
            .into_iter()
            .map(|(topics, goes_on)| (with(&self, |r| r.topic_data = topics), goes_on))
            .collect())
    }

    fn join(all: &mut ProduceResponse, more: ProduceResponse, goes_on: bool) {
        join_topics(&mut all.responses, more.responses, goes_on, |t| &mut t.partition_responses);
        for node in more.node_endpoints {
            if all.node_endpoints.iter().all(|known| known.node_id != node.node_id) {
                all.node_endpoints.push(node);
            }
        }
    }
}

/// Requests that name topics and their partitions, whose answers have the same shape.
macro_rules! by_topic {
    ($($request:ident $response:ident: topics.$partitions:ident -> $rows:ident.partitions, from $large:expr;)*) => {$(
        impl InPieces for $request {
            const LARGE_BYTES: usize = $large;

            fn cut(mut self, _: i16) -> Result<Vec<(Self, bool)>, Uncut<$response>> {
                let topics = mem::take(&mut self.topics).into_iter().map(|t| (t, false));
                Ok(cut_topics(topics, |t| &mut t.$partitions)
                    .into_iter()
                    .map(|(topics, goes_on)| (with(&self, |r| r.topics = topics), goes_on))
                    .collect())
            }

            fn join(all: &mut $response, more: $response, goes_on: bool) {
                join_topics(&mut all.$rows, more.$rows, goes_on, |t| &mut t.partitions);
            }
        }
    )*};
}

by_topic! {
    OffsetCommitRequest OffsetCommitResponse:
        topics.partitions -> topics.partitions, from 16 << 10;
    DeleteRecordsRequest DeleteRecordsResponse:
        topics.partitions -> topics.partitions, from 16 << 10;
    OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse:
        topics.partitions -> topics.partitions, from 16 << 10;
    AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse:
        topics.partitions -> responses.partitions, from INDEXES_BYTES;
    DescribeProducersRequest DescribeProducersResponse:
        topics.partition_indexes -> topics.partitions, from INDEXES_BYTES;
}

/// Requests that are one list, whose answers are another.
macro_rules! by_item {
    ($($request:ident $response:ident: $list:ident -> $rows:ident, $of:expr, $all:expr, from $large:expr;)*) => {$(
        impl InPieces for $request {
            const LARGE_BYTES: usize = $large;

            fn cut(mut self, _: i16) -> Result<Vec<(Self, bool)>, Uncut<$response>> {
                let list = mem::take(&mut self.$list);
                if list.len() > $all {
                    return Err(Uncut::TooMany);
                }
                let piece = |part| (with(&self, |r| r.$list = part), false);
                Ok(cut_list(list, $of, |_| 1).into_iter().map(piece).collect())
            }

            fn join(all: &mut $response, more: $response, _: bool) {
                all.$rows.extend(more.$rows);
            }
        }
    )*};
}

by_item! {
    DescribeGroupsRequest DescribeGroupsResponse:
        groups -> groups, PIECE_MAX, usize::MAX, from 16 << 10;
    FindCoordinatorRequest FindCoordinatorResponse:
        coordinator_keys -> coordinators, PIECE_MAX, usize::MAX, from 16 << 10;
    ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse:
        group_ids -> groups, PIECE_MAX, usize::MAX, from 16 << 10;
    DescribeTransactionsRequest DescribeTransactionsResponse:
        transactional_ids -> transaction_states, PIECE_MAX, usize::MAX, from 16 << 10;
    CreateAclsRequest CreateAclsResponse: creations -> results, PIECE_MAX, usize::MAX, from 16 << 10;
    DeleteAclsRequest DeleteAclsResponse:
        filters -> filter_results, PIECE_MAX, usize::MAX, from 16 << 10;
    DescribeConfigsRequest DescribeConfigsResponse:
        resources -> results, RESOURCES_PER_TURN, RESOURCES_MAX, from LARGE_CHANGE_BYTES;
}

impl InPieces for OffsetFetchRequest {
    /// One group in a piece; before v8 there is but one.
    fn cut(mut self, version: i16) -> Result<Vec<(Self, bool)>, Uncut<OffsetFetchResponse>> {
        if version < GROUPS_FROM {
            let Some(topics) = self.topics.take() else { return Ok(vec![(self, false)]) };
            let parts =
                cut_topics(topics.into_iter().map(|t| (t, false)), |t| &mut t.partition_indexes);
            let piece = |(topics, on)| (with(&self, |r| r.topics = Some(topics)), on);
            return Ok(parts.into_iter().map(piece).collect());
        }
        let mut pieces = Vec::new();
        for mut group in mem::take(&mut self.groups) {
            let Some(topics) = group.topics.take() else {
                pieces.push((with(&self, |r| r.groups = vec![group]), false));
                continue;
            };
            let parts =
                cut_topics(topics.into_iter().map(|t| (t, false)), |t| &mut t.partition_indexes);
            for (at, (topics, _)) in parts.into_iter().enumerate() {
                let part = with(&group, |g| g.topics = Some(topics));
                pieces.push((with(&self, |r| r.groups = vec![part]), at > 0));
            }
        }
        if pieces.is_empty() {
            pieces.push((self, false));
        }
        Ok(pieces)
    }

    fn join(all: &mut OffsetFetchResponse, mut more: OffsetFetchResponse, goes_on: bool) {
        join_topics(&mut all.topics, more.topics, goes_on, |t| &mut t.partitions);
        all.error_code = all.error_code.max(more.error_code);
        match (all.groups.last_mut(), more.groups.first_mut()) {
            (Some(group), Some(rest)) if goes_on => {
                let mut topics = mem::take(&mut rest.topics);
                let is_same = group
                    .topics
                    .last()
                    .zip(topics.first())
                    .is_some_and(|(a, b)| (&a.name, a.topic_id) == (&b.name, b.topic_id));
                join_topics(&mut group.topics, mem::take(&mut topics), is_same, |t| {
                    &mut t.partitions
                });
                group.error_code = group.error_code.max(rest.error_code);
            }
            _ => all.groups.extend(more.groups),
        }
    }
}

impl InPieces for ListOffsetsRequest {
    fn cut(mut self, _: i16) -> Result<Vec<(Self, bool)>, Uncut<ListOffsetsResponse>> {
        let topics = mem::take(&mut self.topics).into_iter().flat_map(|topic| {
            let (once, twice) = without_doubles(topic);
            [(once, false)].into_iter().chain(twice.map(|twice| (twice, true)))
        });
        Ok(cut_topics(topics, |t| &mut t.partitions)
            .into_iter()
            .map(|(topics, goes_on)| (with(&self, |r| r.topics = topics), goes_on))
            .collect())
    }

    fn join(all: &mut ListOffsetsResponse, more: ListOffsetsResponse, goes_on: bool) {
        join_topics(&mut all.topics, more.topics, goes_on, |t| &mut t.partitions);
    }
}

/// A topic's partitions that are named once; and those that are not, in pairs, which a piece does not
/// break. They are refused, each once and after all others.
fn without_doubles(mut topic: ListOffsetsTopic) -> (ListOffsetsTopic, Option<ListOffsetsTopic>) {
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeMap::new());
    for asked in &topic.partitions {
        if !seen.insert(asked.partition_index) {
            twice.insert(asked.partition_index, asked.clone());
        }
    }
    if twice.is_empty() {
        return (topic, None);
    }
    topic.partitions.retain(|p| !twice.contains_key(&p.partition_index));
    let pairs = twice.into_values().flat_map(|p| [p.clone(), p]).collect();
    let twice = msg!(ListOffsetsTopic { name: topic.name.clone(), partitions: pairs });
    (topic, Some(twice))
}

impl InPieces for MetadataRequest {
    fn cut(mut self, version: i16) -> Result<Vec<(Self, bool)>, Uncut<MetadataResponse>> {
        let Some(asked) = self.topics.take_if(|asked| !asked.is_empty()) else {
            return Ok(vec![(self, false)]);
        };
        if let Some(refused) = metadata::refused(version, &asked) {
            return Err(Uncut::Answered(refused));
        }
        let (ids, names) = metadata::each_once(asked);
        let by_id = ids.into_iter().map(|id| msg!(MetadataRequestTopic { topic_id: id.into() }));
        let named = |name: StrBytes| msg!(MetadataRequestTopic { name: Some(name) });
        let topics: Vec<_> = by_id.chain(names.into_iter().map(named)).collect();
        let piece = |topics: &[MetadataRequestTopic]| {
            (with(&self, |r| r.topics = Some(topics.to_vec())), false)
        };
        Ok(topics.chunks(PIECE_MAX).map(piece).collect())
    }

    fn join(all: &mut MetadataResponse, more: MetadataResponse, _: bool) {
        all.topics.extend(more.topics);
    }
}
