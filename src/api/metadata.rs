//! Metadata (key 3): nodes, topics and who leads them. A topic that is missing may be created.
//!
//! As in Kafka, the answer to the request that creates a topic still says that it is unknown; the
//! client asks again and finds it.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_wire::metadata_request::MetadataRequestTopic;
use kafka_wire::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use crate::api::change::auto_create;
use crate::api::pieces::{PIECE_MAX, answer_long};
use crate::api::{Outcome, rights};
use crate::base::{NodeId, TopicId};
use crate::controller::check_topic_name;
use crate::image::{Image, Node, Partition, Topic, is_internal_topic};
use crate::msg;
use crate::runtime::cpu;
use crate::shard::kept::Asked;
use crate::shard::{Call, Shard};
use crate::wire::frame::Answer;
use crate::wire::messages::{self as kafka_wire, MetadataRequest, MetadataResponse};
use crate::wire::{ErrorCode, StrBytes};

/// First version in which an empty list means none.
const EMPTY_IS_NONE_FROM: i16 = 1;
/// First version that says whether a missing topic may be created.
const AUTO_CREATE_FLAG_FROM: i16 = 4;
/// Versions that have topic ids in the request, and take none.
const ID_FIELD_WITHOUT_USE: std::ops::RangeInclusive<i16> = 10..=11;

/// Topics between two pauses of a long answer.
const TOPICS_PER_YIELD: usize = 64;

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: MetadataRequest) -> Outcome {
    let asked = request.topics.filter(|t| call.version >= EMPTY_IS_NONE_FROM || !t.is_empty());
    if let Some(refused) = asked.as_ref().and_then(|topics| refused(call.version, topics)) {
        return Outcome::answer(call, &refused);
    }
    let image = Arc::clone(&shard.image);
    let rights = Rights {
        topics: request.include_topic_authorized_operations,
        cluster: request.include_cluster_authorized_operations,
    };
    let Some(asked) = asked else {
        let size = image.topic_count() + image.partition_count();
        let all = move |call: &Call| {
            let topics = in_steps(image.topics(), |topic| describe(topic));
            call.answer(&respond(&image, topics, rights))
        };
        return answer_kept(shard, call, size, (rights, None), all);
    };
    let mut missing = Vec::new();
    let found = find(&image, asked, &mut missing);
    let asks = call.version < AUTO_CREATE_FLAG_FROM || request.allow_auto_topic_creation;
    if shard.config.auto_create_topics && asks {
        auto_create(shard, missing);
    }
    let size = found.iter().flatten().map(|topic| topic.partitions.len()).sum();
    let ids = (size > PIECE_MAX).then(|| ids_of(&found)).flatten();
    let named = move |call: &Call| {
        let row = |topic: Found| topic.map_or_else(|row| row, |topic| describe(&topic));
        call.answer(&respond(&image, in_steps(found, row), rights))
    };
    match ids {
        Some(ids) => answer_kept(shard, call, size, (rights, Some(ids)), named),
        None => answer_long(shard, call, size, named),
    }
}

/// Answers a request as `make` does, or as it did for the one before that was the same.
fn answer_kept(
    shard: &mut Shard,
    call: &Call,
    size: usize,
    (rights, topics): (Rights, Option<Vec<TopicId>>),
    make: impl FnOnce(&Call) -> Answer + Send + 'static,
) -> Outcome {
    if size <= PIECE_MAX {
        return answer_long(shard, call, size, make);
    }
    let rights = (rights.topics, rights.cluster);
    let kept = shard.kept.answer_to(Asked { version: call.version, rights, topics });
    if let Some(answer) = kept.get() {
        return Outcome::Answer(answer.again(call.correlation_id));
    }
    let once = move |call: &Call| kept.get_or_init(|| make(call)).again(call.correlation_id);
    answer_long(shard, call, size, once)
}

/// The ids of topics that are all there.
fn ids_of(found: &[Found]) -> Option<Vec<TopicId>> {
    found.iter().map(|topic| topic.as_ref().ok().map(|topic| topic.id)).collect()
}

/// The rows of an answer; a long one lets others go first now and then.
fn in_steps<T>(
    topics: impl IntoIterator<Item = T>,
    row: impl Fn(T) -> MetadataResponseTopic,
) -> Vec<MetadataResponseTopic> {
    let each = |(i, topic)| {
        if i % TOPICS_PER_YIELD == TOPICS_PER_YIELD - 1 {
            cpu::yield_now();
        }
        row(topic)
    };
    topics.into_iter().enumerate().map(each).collect()
}

/// Whether a client wants to hear what it may do.
#[derive(Clone, Copy)]
struct Rights {
    topics: bool,
    cluster: bool,
}

fn respond(image: &Image, topics: Vec<MetadataResponseTopic>, rights: Rights) -> MetadataResponse {
    let mut response = msg!(MetadataResponse {
        brokers: image.nodes().map(broker).collect(),
        cluster_id: Some(image.cluster_id().into()),
        controller_id: image.nodes().next().map_or(-1, |n| n.id.0),
        topics,
    });
    if rights.topics {
        let known = response.topics.iter_mut().filter(|t| t.error_code == ErrorCode::NONE.0);
        known.for_each(|t| t.topic_authorized_operations = rights::TOPIC);
    }
    if rights.cluster {
        response.cluster_authorized_operations = rights::CLUSTER;
    }
    response
}

/// A topic, or what is said of one that is not there.
type Found = Result<Arc<Topic>, MetadataResponseTopic>;

/// The topics that were asked for, each once; names that could be created go to `missing`.
fn find(image: &Image, asked: Vec<MetadataRequestTopic>, missing: &mut Vec<String>) -> Vec<Found> {
    let (ids, names) = each_once(asked);
    let by_id = ids.into_iter().map(|id| {
        let unknown = || failed(ErrorCode::UNKNOWN_TOPIC_ID, None, id);
        image.topic_by_id(id).cloned().ok_or_else(unknown)
    });
    let by_name = names.into_iter().map(|name| {
        if let Some(topic) = image.topic(&name) {
            return Ok(Arc::clone(topic));
        }
        let code = if check_topic_name(&name).is_ok() {
            missing.push(name.to_string());
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        } else {
            ErrorCode::INVALID_TOPIC_EXCEPTION
        };
        Err(failed(code, Some(name), TopicId::ZERO))
    });
    by_id.chain(by_name).collect()
}

/// The topics that are named by id, and those by name.
pub(super) fn each_once(
    asked: Vec<MetadataRequestTopic>,
) -> (BTreeSet<TopicId>, BTreeSet<StrBytes>) {
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    for topic in asked {
        match (TopicId::from(topic.topic_id), topic.name) {
            (TopicId::ZERO, name) => names.extend(name),
            (id, _) => {
                ids.insert(id);
            }
        }
    }
    (ids, names)
}

fn describe(topic: &Topic) -> MetadataResponseTopic {
    let partitions = (0..).zip(&topic.partitions).map(|(index, p)| partition(index, p));
    msg!(MetadataResponseTopic {
        name: Some((&*topic.name).into()),
        topic_id: topic.id.into(),
        is_internal: is_internal_topic(&topic.name),
        partitions: partitions.collect(),
    })
}

fn partition(partition_index: i32, state: &Partition) -> MetadataResponsePartition {
    msg!(MetadataResponsePartition {
        error_code: leader_error(state).0,
        partition_index,
        leader_id: state.leader.0,
        leader_epoch: state.leader_epoch.0,
        replica_nodes: node_ids(&state.replicas),
        isr_nodes: node_ids(&state.isr),
    })
}

/// Whether a partition has a leader, as Metadata and its kin tell it.
pub(super) fn leader_error(state: &Partition) -> ErrorCode {
    if state.leader.0 < 0 { ErrorCode::LEADER_NOT_AVAILABLE } else { ErrorCode::NONE }
}

pub(super) fn node_ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|n| n.0).collect()
}

fn failed(code: ErrorCode, name: Option<StrBytes>, id: TopicId) -> MetadataResponseTopic {
    msg!(MetadataResponseTopic { error_code: code.0, name, topic_id: id.into() })
}

/// The answer to a request that names topics in a way that its version does not know.
pub(super) fn refused(version: i16, topics: &[MetadataRequestTopic]) -> Option<MetadataResponse> {
    let has_id = |t: &MetadataRequestTopic| TopicId::from(t.topic_id) != TopicId::ZERO;
    let ids = ID_FIELD_WITHOUT_USE.contains(&version)
        && topics.iter().any(|t| t.name.is_none() || has_id(t));
    let neither = |t: &MetadataRequestTopic| t.name.is_none() && !has_id(t);
    if !ids && !topics.iter().any(neither) {
        return None;
    }
    let row = |t: &MetadataRequestTopic| {
        failed(
            ErrorCode::INVALID_REQUEST,
            Some(t.name.clone().unwrap_or_default()),
            t.topic_id.into(),
        )
    };
    Some(msg!(MetadataResponse { topics: topics.iter().map(row).collect() }))
}

fn broker(node: &Node) -> MetadataResponseBroker {
    msg!(MetadataResponseBroker {
        node_id: node.id.0,
        host: (&*node.host).into(),
        port: i32::from(node.port),
        rack: node.rack.as_deref().map(Into::into),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;
    use crate::runtime::network::ConnectionId;
    use crate::shard::{ShardIndex, Slot};
    use std::net::{IpAddr, Ipv4Addr};

    fn ask(world: &mut World, at: u16, name: &str, create: bool) -> (i16, usize) {
        let topic = msg!(MetadataRequestTopic { name: Some(name.into()) });
        let request =
            msg!(MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: create });
        let response: MetadataResponse = world.ask(at, 9, &request);
        assert_eq!(response.brokers.len(), 2);
        (response.topics[0].error_code, response.topics[0].partitions.len())
    }

    #[test]
    fn a_missing_topic_is_unknown_at_first_and_there_when_the_client_asks_again() {
        let mut world = World::new(2, "num.partitions=3");
        let unknown = (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0, 0);
        assert_eq!(ask(&mut world, 1, "a", false), unknown);
        assert_eq!(ask(&mut world, 1, "a", false), unknown);
        assert_eq!(ask(&mut world, 1, "a", true), unknown);
        assert_eq!(ask(&mut world, 1, "a", true), (0, 3));
        assert_eq!(ask(&mut world, 0, "a", true), (0, 3));
        let invalid = (ErrorCode::INVALID_TOPIC_EXCEPTION.0, 0);
        assert_eq!(ask(&mut world, 0, "a b", true), invalid);
    }

    #[test]
    fn nothing_is_created_when_the_server_does_not_want_it() {
        let mut world = World::new(2, "auto.create.topics.enable=false");
        ask(&mut world, 0, "a", true);
        assert_eq!(world.shards[0].image.topic_count(), 0);
    }

    #[test]
    fn all_of_very_many_partitions_are_told_as_if_they_were_asked_for_by_name() {
        let mut world = World::new(2, "");
        let names = ["a", "b", "c"];
        for name in names {
            world.create(name, &[0, 1].repeat(200));
        }
        let topic = |name: &str| msg!(MetadataRequestTopic { name: Some(name.into()) });
        for version in 1..=13 {
            let mut request = msg!(MetadataRequest { topics: None });
            request.include_topic_authorized_operations = (8..).contains(&version);
            let slot = Slot { shard: ShardIndex(1), connection: 1, sequence: 0 };
            let shard = &mut world.shards[1];
            let (peer, client_id) = (IpAddr::V4(Ipv4Addr::LOCALHOST), "".into());
            let call = Call { slot, api_key: 3, version, correlation_id: 1, client_id, peer };
            let outcome = handle(shard, &call, request.clone());
            assert!(matches!(outcome, Outcome::Opening), "{outcome:?}");
            shard.openings.drop_connection(ConnectionId(1));
            let all: MetadataResponse = world.ask(1, version, &request);
            // Who asks for the same is answered at once, until something changes.
            let shard = &mut world.shards[1];
            let again = handle(shard, &call, request.clone());
            assert!(matches!(again, Outcome::Answer(_)), "{again:?}");
            assert_eq!(world.ask::<_, MetadataResponse>(1, version, &request), all);
            request.topics = Some(names.map(topic).to_vec());
            let named: MetadataResponse = world.ask(1, version, &request);
            assert_eq!((all.topics.len(), &all), (3, &named), "v{version}");
        }
        world.create("d", &[0]);
        let all: MetadataResponse = world.ask(1, 13, &msg!(MetadataRequest { topics: None }));
        assert_eq!(all.topics.len(), 4, "what changed is told");
    }
}
