//! How large requests are cut into pieces, and the answers joined: what `shard::pieces` needs of each
//! API whose requests may name very many things.
//!
//! All of this runs on the opener. A piece is a request like any other, so its handler does not know
//! about it; only what a handler does with all of a request at once is done here before: dropping or
//! refusing what is named twice.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use bytes::{Bytes, BytesMut};

use crate::api::{PARTITIONS_MAX, metadata};
use crate::msg;
use crate::shard::Call;
use crate::shard::pieces::{Answered, How, Piece, Start};
use crate::wire::frame::{self, Answer, FrameError, SIZE_BYTES};
use crate::wire::messages::list_offsets_request::ListOffsetsTopic;
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::{
    ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse, ProduceRequest,
    ProduceResponse, RequestResponsePair,
};
use crate::wire::{ApiVersion, StrBytes};

/// Partitions, or topics without, that one piece names: tens of microseconds of a turn.
pub(super) const PIECE_MAX: usize = 512;
/// A body from which on it is worth a look whether it names more.
const LARGE_BYTES: usize = 16 << 10;

/// A request that can be cut.
pub(super) trait InPieces: RequestResponsePair + Sized {
    /// See [`How`].
    const LARGE_BYTES: usize = LARGE_BYTES;

    /// Cuts it; with each piece, whether it begins with the rest of what the one before ends with.
    ///
    /// # Errors
    /// See [`Uncut`].
    fn cut(self, version: i16) -> Result<Vec<(Self, bool)>, Uncut<Self::Response>>;

    /// Appends the answer to a piece to those before.
    fn join(all: &mut Self::Response, more: Self::Response, goes_on: bool);
}

/// Why there is nothing to cut.
pub(super) enum Uncut<A> {
    /// It names more than any request may.
    TooMany,
    /// This is the answer to all of it.
    Answered(A),
}

/// How requests of this kind are cut.
pub(super) const fn how<Q: InPieces>() -> How {
    How { large_bytes: Q::LARGE_BYTES, cut: cut::<Q>, join: join::<Q> }
}

fn cut<Q: InPieces>(call: &Call, body: Bytes) -> Result<Start, FrameError> {
    let version = call.version;
    let request: Q = frame::decode_request(body, version)?;
    let piece = |(piece, goes_on)| Ok(Piece { body: encode(&piece, version)?, goes_on });
    match request.cut(version) {
        Ok(pieces) => pieces.into_iter().map(piece).collect::<Result<_, _>>().map(Start::Pieces),
        Err(Uncut::Answered(answer)) => Ok(Start::Answered(call.answer(&answer))),
        Err(Uncut::TooMany) => Err(FrameError::TooMany { limit: PARTITIONS_MAX }),
    }
}

/// What was decoded in a version fits it.
fn encode<Q: InPieces>(request: &Q, version: i16) -> Result<Bytes, FrameError> {
    let mut body = BytesMut::new();
    request.encode_into(&mut body, ApiVersion::new(version)).map_err(|_| FrameError::Header)?;
    Ok(body.freeze())
}

fn join<Q: InPieces>(call: &Call, answered: Vec<Answered>) -> Answer {
    let mut all: Option<Q::Response> = None;
    for (answer, goes_on) in answered {
        let Some(more) = read::<Q>(&answer, call.version) else {
            return Answer { parts: Vec::new(), is_lost: true };
        };
        match &mut all {
            None => all = Some(more),
            Some(all) => Q::join(all, more, goes_on),
        }
    }
    all.map_or_else(Answer::default, |all| call.answer(&all))
}

/// What an answer says.
fn read<Q: InPieces>(answer: &Answer, version: i16) -> Option<Q::Response> {
    let bytes = match &answer.parts[..] {
        [one] => one.clone(),
        several => several.concat().into(),
    };
    let tags = usize::from(Q::is_flexible(ApiVersion::new(version)));
    let header_bytes = SIZE_BYTES + size_of::<i32>() + tags;
    let body = (bytes.len() >= header_bytes).then(|| bytes.slice(header_bytes..))?;
    frame::decode(body, version).ok()
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::table;
    use crate::api::testing::World;
    use crate::wire::codec::Codec;
    use crate::wire::messages::list_offsets_request::ListOffsetsPartition;
    use crate::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use crate::wire::record::{BatchBuilder, ProducerStamp};

    /// Two nodes with topics of 700 partitions, of which every second is led by the first.
    fn world() -> World {
        let mut world = World::new(2, "auto.create.topics.enable=false");
        let leaders: Vec<i32> = (0..700).map(|i| i % 2).collect();
        for topic in ["a", "b"] {
            world.create(topic, &leaders);
        }
        world
    }

    /// Asks the first node; the request is cut, and answered as it is when it is served whole.
    fn check<Q: InPieces>(world: &mut World, version: i16, request: &Q) -> Q::Response
    where
        Q::Response: PartialEq + std::fmt::Debug,
    {
        world.pieces = 0;
        let cut: Q::Response = world.ask(0, version, request);
        assert!(world.pieces > 1, "v{version}: {} pieces", world.pieces);
        world.whole = true;
        let whole: Q::Response = world.ask(0, version, request);
        world.whole = false;
        assert_eq!(cut, whole, "v{version}");
        cut
    }

    fn versions<Q: InPieces>() -> impl Iterator<Item = i16> {
        let api = table::find(Q::API_KEY.value()).unwrap();
        api.min..=api.max
    }

    #[test]
    fn list_offsets_in_pieces_answers_as_if_it_were_whole() {
        let mut world = world();
        let topic = |name: &str, indexes: Vec<i32>| {
            let asked =
                |partition_index| msg!(ListOffsetsPartition { partition_index, timestamp: -1 });
            let partitions = indexes.into_iter().map(asked).collect();
            msg!(ListOffsetsTopic { name: name.into(), partitions })
        };
        let twice = (0..800).chain([5, 5]).chain(600..720).collect();
        let topics = vec![
            topic("a", twice),
            topic("none", vec![]),
            topic("no", (0..513).collect()),
            topic("a", vec![1, 1]),
            topic("b", (-1..1600).collect()),
            topic("b", vec![3]),
        ];
        let request = msg!(ListOffsetsRequest { topics });
        for version in versions::<ListOffsetsRequest>() {
            check(&mut world, version, &request);
        }
    }

    #[test]
    fn metadata_in_pieces_answers_as_if_it_were_whole() {
        let mut world = world();
        let named = |name: String| msg!(MetadataRequestTopic { name: Some(name.into()) });
        let names = (0..3000).map(|i| format!("no-{}", i % 2000));
        let names = names.chain(["b".into(), "a".into(), "a b".into(), "b".into()]);
        let mut topics: Vec<_> = names.map(named).collect();
        for version in versions::<MetadataRequest>() {
            let request = msg!(MetadataRequest { topics: Some(topics.clone()) });
            assert_eq!(check(&mut world, version, &request).topics.len(), 2003);
        }
        let known = world.shards[0].image.topic("a").unwrap().id.into();
        for topic_id in [known, crate::wire::Uuid::from_bytes([9; 16])] {
            topics.push(msg!(MetadataRequestTopic { topic_id, name: None }));
        }
        let request = msg!(MetadataRequest { topics: Some(topics.clone()) });
        assert_eq!(check(&mut world, 12, &request).topics.len(), 2005);
        topics.push(msg!(MetadataRequestTopic { name: None }));
        let request = msg!(MetadataRequest { topics: Some(topics) });
        let refused: MetadataResponse = world.ask(0, 12, &request);
        assert_eq!((refused.topics.len(), refused.brokers.len()), (3007, 0));
        assert!(refused.topics.iter().all(|t| t.error_code == 42));
    }

    #[test]
    fn a_produce_request_in_pieces_goes_to_each_of_its_partitions_in_order() {
        let mut world = world();
        let mut builder = BatchBuilder::default();
        builder.push(0, None, Some(b"x"), &[]);
        let batch = builder.build(Codec::None, ProducerStamp::NONE).unwrap();
        let topic = |name: &str, indexes: Vec<i32>| {
            let data = |index| msg!(PartitionProduceData { index, records: Some(batch.clone()) });
            let partition_data = indexes.into_iter().map(data).collect();
            msg!(TopicProduceData { name: name.into(), partition_data })
        };
        let topics = vec![
            topic("a", (0..1300).collect()),
            topic("no", (0..600).collect()),
            topic("b", vec![]),
            topic("a", vec![0, 1, 2, 2]),
        ];
        let request = msg!(ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: topics });
        let answer: ProduceResponse = world.ask(0, 12, &request);
        assert_eq!(world.pieces, 4);
        let topics = &answer.responses;
        let shape: Vec<_> =
            topics.iter().map(|t| (&*t.name, t.partition_responses.len())).collect();
        assert_eq!(shape, [("a", 1300), ("no", 600), ("b", 0), ("a", 4)]);
        for (row, index) in topics[0].partition_responses.iter().zip(0..) {
            let code = if index >= 700 { 3 } else { [0, 6][index as usize % 2] };
            let offset = if code == 0 { 0 } else { -1 };
            assert_eq!((row.index, row.error_code, row.base_offset), (index, code, offset));
        }
        assert!(topics[1].partition_responses.iter().all(|row| row.error_code == 3));
        let again = &topics[3].partition_responses;
        let again: Vec<_> = again.iter().map(|row| (row.index, row.base_offset)).collect();
        assert_eq!(again, [(0, 1), (1, -1), (2, 1), (2, 2)]);
        assert_eq!(answer.node_endpoints.len(), 1, "where the others are led, once");
        let mut silent = request;
        silent.acks = 0;
        silent.topic_data = vec![topic("b", (0..1400).map(|i| i % 350 * 2).collect())];
        assert_eq!(world.ask_bytes(0, 0, 12, &encode(&silent, 12).unwrap()), None);
        let log = world.shards[0].partitions.find("b", 698).unwrap();
        assert_eq!(world.shards[0].store.log(log).unwrap().log_end().0, 4);
    }
}
