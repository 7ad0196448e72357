//! Requests that change topics, groups and settings. Handlers of these drop or refuse what is named
//! twice, so that is done here before; a piece is small, because what it changes goes through the image
//! of every node.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use super::{LARGE_CHANGE_BYTES, RESOURCES_PER_TURN, cut_list, cut_topics, join_topics, with};
use crate::api::change::{CREATED_PER_TURN, DELETED_PER_TURN};
use crate::api::create_topics::{self, partitions_of};
use crate::api::pieces::{InPieces, PIECE_MAX, Uncut};
use crate::api::resources;
use crate::base::TopicId;
use crate::controller::PARTITIONS_PER_REQUEST_MAX;
use crate::msg;
use crate::wire::StrBytes;
use crate::wire::messages::create_topics_request::CreatableTopic;
use crate::wire::messages::delete_topics_request::DeleteTopicState;
use crate::wire::messages::{
    AlterConfigsRequest, AlterConfigsResponse, CreatePartitionsRequest, CreatePartitionsResponse,
    CreateTopicsRequest, CreateTopicsResponse, DeleteGroupsRequest, DeleteGroupsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, OffsetDeleteRequest, OffsetDeleteResponse,
};

/// Requests that change the settings of resources. One that is named twice is refused each time, so its
/// namings stay together; they come after all others.
macro_rules! by_resource {
    ($($request:ident $response:ident),* $(,)?) => {$(
        impl InPieces for $request {
            const LARGE_BYTES: usize = LARGE_CHANGE_BYTES;

            fn cut(mut self, _: i16) -> Result<Vec<(Self, bool)>, Uncut<$response>> {
                let mut by_name: BTreeMap<_, Vec<_>> = BTreeMap::new();
                let mut order = Vec::new();
                for item in mem::take(&mut self.resources) {
                    // `+1` and `1` are the same broker.
                    let known = resources::resource(item.resource_type, &item.resource_name);
                    let key = known.map_err(|_| (item.resource_type, item.resource_name.clone()));
                    let same = by_name.entry(key.clone()).or_default();
                    order.extend(same.is_empty().then_some(key));
                    same.push(item);
                }
                let named = order.iter().filter_map(|key| by_name.remove(key));
                let (once, twice): (Vec<_>, Vec<_>) = named.partition(|same| same.len() == 1);
                let once = cut_list(once.concat(), RESOURCES_PER_TURN, |_| 1);
                let all = once.into_iter().chain(twice.into_iter().flat_map(in_twos));
                let pieces: Vec<_> = all
                    .filter(|part| !part.is_empty())
                    .map(|part| (with(&self, |r| r.resources = part), false))
                    .collect();
                Ok(or_whole(self, pieces))
            }

            fn join(all: &mut $response, more: $response, _: bool) {
                all.responses.extend(more.responses);
            }
        }
    )*};
}

by_resource! {
    AlterConfigsRequest AlterConfigsResponse,
    IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse,
}

/// The pieces of a request; one that has none is its own.
fn or_whole<Q>(whole: Q, pieces: Vec<(Q, bool)>) -> Vec<(Q, bool)> {
    if pieces.is_empty() { vec![(whole, false)] } else { pieces }
}

/// Two or more items in parts of at least two.
fn in_twos<T>(mut list: Vec<T>) -> Vec<Vec<T>> {
    let mut parts = Vec::new();
    while list.len() > PIECE_MAX + 1 {
        parts.push(list.split_off(list.len() - PIECE_MAX));
    }
    parts.push(list);
    parts
}

impl InPieces for CreatePartitionsRequest {
    const LARGE_BYTES: usize = LARGE_CHANGE_BYTES;

    fn cut(mut self, _: i16) -> Result<Vec<(Self, bool)>, Uncut<CreatePartitionsResponse>> {
        let mut times: BTreeMap<StrBytes, usize> = BTreeMap::new();
        for topic in &self.topics {
            *times.entry(topic.name.clone()).or_default() += 1;
        }
        // Those that are named twice are refused, once and before all others.
        let mut topics = mem::take(&mut self.topics);
        let once = topics.extract_if(.., |topic| times.get(&topic.name) == Some(&1)).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        let twice = topics.chunk_by(|a, b| a.name == b.name).map(|same| same[..2].to_vec());
        let twice = cut_list(twice.collect(), DELETED_PER_TURN, |_| 1).into_iter();
        let once = cut_list(once, CREATED_PER_TURN, |_| 1);
        let all = twice.map(|part| part.concat()).chain(once).filter(|part| !part.is_empty());
        let pieces: Vec<_> =
            all.map(|topics| (with(&self, |r| r.topics = topics), false)).collect();
        Ok(or_whole(self, pieces))
    }

    fn join(all: &mut CreatePartitionsResponse, more: CreatePartitionsResponse, _: bool) {
        all.results.extend(more.results);
    }
}

impl InPieces for DeleteGroupsRequest {
    const LARGE_BYTES: usize = LARGE_CHANGE_BYTES;

    fn cut(mut self, _: i16) -> Result<Vec<(Self, bool)>, Uncut<DeleteGroupsResponse>> {
        // A name that comes twice is answered once.
        let mut seen = BTreeSet::new();
        let mut names = mem::take(&mut self.groups_names);
        names.retain(|name| seen.insert(name.clone()));
        let piece = |part| (with(&self, |r| r.groups_names = part), false);
        Ok(cut_list(names, DELETED_PER_TURN, |_| 1).into_iter().map(piece).collect())
    }

    fn join(all: &mut DeleteGroupsResponse, more: DeleteGroupsResponse, _: bool) {
        all.results.extend(more.results);
    }
}

impl InPieces for OffsetDeleteRequest {
    fn cut(mut self, _: i16) -> Result<Vec<(Self, bool)>, Uncut<OffsetDeleteResponse>> {
        let topics = mem::take(&mut self.topics).into_iter().map(|t| (t, false));
        Ok(cut_topics(topics, |t| &mut t.partitions)
            .into_iter()
            .map(|(topics, goes_on)| (with(&self, |r| r.topics = topics), goes_on))
            .collect())
    }

    /// When the group cannot be changed, that is all of the answer.
    fn join(all: &mut OffsetDeleteResponse, more: OffsetDeleteResponse, goes_on: bool) {
        all.error_code = all.error_code.max(more.error_code);
        join_topics(&mut all.topics, more.topics, goes_on, |t| &mut t.partitions);
        if all.error_code != 0 {
            all.topics.clear();
        }
    }
}

impl InPieces for CreateTopicsRequest {
    const LARGE_BYTES: usize = LARGE_CHANGE_BYTES;

    fn cut(mut self, _: i16) -> Result<Vec<(Self, bool)>, Uncut<CreateTopicsResponse>> {
        let partitions: usize = self.topics.iter().map(partitions_of).sum();
        if partitions > PARTITIONS_PER_REQUEST_MAX {
            return Err(Uncut::Answered(create_topics::too_many(&self, partitions)));
        }
        let mut times: BTreeMap<StrBytes, usize> = BTreeMap::new();
        for topic in &self.topics {
            *times.entry(topic.name.clone()).or_default() += 1;
        }
        let mut topics = mem::take(&mut self.topics);
        topics.retain(|topic| times.get(&topic.name) == Some(&1));
        // Those that are named twice are refused, once and before all others.
        times.retain(|_, n| *n > 1);
        let twice = cut_list(times.into_keys().collect(), CREATED_PER_TURN, |_| 1);
        let twice = twice.into_iter().map(|names| {
            let pair = |name: StrBytes| {
                [msg!(CreatableTopic { name: name.clone() }), msg!(CreatableTopic { name })]
            };
            names.into_iter().flat_map(pair).collect()
        });
        let once = cut_list(topics, CREATED_PER_TURN, partitions_of);
        let all = twice.chain(once).filter(|topics: &Vec<_>| !topics.is_empty());
        let pieces: Vec<_> =
            all.map(|topics| (with(&self, |r| r.topics = topics), false)).collect();
        Ok(or_whole(self, pieces))
    }

    fn join(all: &mut CreateTopicsResponse, more: CreateTopicsResponse, _: bool) {
        all.topics.extend(more.topics);
    }
}

impl InPieces for DeleteTopicsRequest {
    const LARGE_BYTES: usize = LARGE_CHANGE_BYTES;

    fn cut(mut self, _: i16) -> Result<Vec<(Self, bool)>, Uncut<DeleteTopicsResponse>> {
        let mut names: BTreeMap<StrBytes, usize> = BTreeMap::new();
        for name in mem::take(&mut self.topic_names) {
            *names.entry(name).or_default() += 1;
        }
        let mut states: BTreeMap<_, (DeleteTopicState, usize)> = BTreeMap::new();
        let has_ids = self.topics.iter().any(|t| TopicId::from(t.topic_id) != TopicId::ZERO);
        if has_ids && self.topics.iter().any(|t| t.name.is_some()) {
            // A topic may be there by name and by id, which only the controller sees.
            return Ok(vec![(self, false)]);
        }
        for topic in mem::take(&mut self.topics) {
            let key = (topic.name.clone(), TopicId::from(topic.topic_id));
            states.entry(key).or_insert((topic, 0)).1 += 1;
        }
        // What is there twice is refused, once.
        let names = cut_list(names.into_iter().collect(), DELETED_PER_TURN, |_| 1);
        let names = names.into_iter().filter(|part| !part.is_empty()).map(|part| {
            let named = part.into_iter().flat_map(|(name, n)| vec![name; n.min(2)]);
            with(&self, |r| r.topic_names = named.collect())
        });
        let states = cut_list(states.into_values().collect(), DELETED_PER_TURN, |_| 1);
        let states = states.into_iter().filter(|part| !part.is_empty()).map(|part| {
            let of = part.into_iter().flat_map(|(topic, n)| vec![topic; n.min(2)]);
            with(&self, |r| r.topics = of.collect())
        });
        let pieces: Vec<_> = names.chain(states).map(|piece| (piece, false)).collect();
        Ok(or_whole(self, pieces))
    }

    fn join(all: &mut DeleteTopicsResponse, more: DeleteTopicsResponse, _: bool) {
        all.responses.extend(more.responses);
    }
}
