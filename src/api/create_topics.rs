//! CreateTopics (key 19): each topic by itself; the answer describes what was made.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_wire::create_topics_request::CreatableTopic;
use kafka_wire::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};

use crate::api::Outcome;
use crate::api::change::{Refused, Result, change, error_of};
use crate::base::NodeId;
use crate::config::{Overrides, describe};
use crate::controller::{
    Controller, ControllerError, CreatedTopic, NewTopic, PARTITIONS_PER_REQUEST_MAX,
};
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::{self as kafka_wire, CreateTopicsRequest, CreateTopicsResponse};

/// First version that tells what was made.
const DESCRIBED_FROM: i16 = 5;

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: CreateTopicsRequest) -> Outcome {
    let size = request.topics.iter().map(partitions_of).sum();
    let topics: Vec<_> = request.topics.into_iter().map(new_topic).collect();
    let validate_only = request.validate_only;
    let decide = move |c: &mut Controller<'_>| {
        let (records, results) = c.create_topics(topics.clone(), validate_only);
        (records, results.into_iter().map(|(name, r)| (name, r.map_err(Refused::from))).collect())
    };
    let (config, node) = (Arc::clone(&shard.config), shard.node);
    let described = call.version >= DESCRIBED_FROM;
    change(shard, call, size, decide, move |image, results: &[(String, Result<CreatedTopic>)]| {
        let layers = image.layers(node, &config);
        let of = |own: &Overrides| describe::topic(own, &layers).into_iter().map(entry).collect();
        // Most topics have no settings of their own, and describing them takes a while.
        let plain: Vec<_> = if described { of(&Overrides::new()) } else { Vec::new() };
        let row = |(name, result): &(String, Result<CreatedTopic>)| {
            row(name, result, |own| match own {
                own if own.is_empty() || !described => plain.clone(),
                own => of(own),
            })
        };
        msg!(CreateTopicsResponse { topics: results.iter().map(row).collect() })
    })
}

/// Partitions that a topic asks for, as far as it says.
pub(super) fn partitions_of(topic: &CreatableTopic) -> usize {
    usize::try_from(topic.num_partitions).unwrap_or(0).max(topic.assignments.len()).max(1)
}

/// The answer to a request for more partitions than one may create.
pub(super) fn too_many(request: &CreateTopicsRequest, wanted: usize) -> CreateTopicsResponse {
    let limit = PARTITIONS_PER_REQUEST_MAX;
    let refused = Err(Refused::from(ControllerError::TooManyPartitions { wanted, limit }));
    let names: BTreeSet<_> = request.topics.iter().map(|t| &t.name).collect();
    let rows = names.into_iter().map(|name| row(name, &refused, |_| Vec::new()));
    msg!(CreateTopicsResponse { topics: rows.collect() })
}

fn new_topic(topic: CreatableTopic) -> NewTopic {
    let nodes = |ids: Vec<i32>| ids.into_iter().map(NodeId).collect();
    NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .into_iter()
            .map(|a| (a.partition_index, nodes(a.broker_ids)))
            .collect(),
        configs: topic
            .configs
            .into_iter()
            .map(|c| (c.name.to_string(), c.value.map(|v| v.to_string())))
            .collect(),
    }
}

fn row(
    name: &str,
    result: &Result<CreatedTopic>,
    describe: impl Fn(&Overrides) -> Vec<CreatableTopicConfigs>,
) -> CreatableTopicResult {
    let (error_code, error_message) = error_of(result);
    let name = name.into();
    let mut row = msg!(CreatableTopicResult { name, error_code, error_message });
    row.configs = Some(Vec::new());
    let Ok(created) = result else { return row };
    row.topic_id = created.id.into();
    row.num_partitions = created.partitions;
    row.replication_factor = created.replication_factor;
    row.configs = Some(describe(&created.configs));
    row
}

fn entry(entry: describe::Entry) -> CreatableTopicConfigs {
    msg!(CreatableTopicConfigs {
        name: entry.name.into(),
        value: entry.value.map(Into::into),
        read_only: entry.read_only,
        config_source: entry.source as i8,
        is_sensitive: entry.sensitive,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;
    use crate::shard::{ShardIndex, Slot};
    use crate::wire::ErrorCode;
    use std::net::{IpAddr, Ipv4Addr};

    fn request(name: &str) -> CreateTopicsRequest {
        let topic =
            msg!(CreatableTopic { name: name.into(), num_partitions: 2, replication_factor: 1 });
        msg!(CreateTopicsRequest { topics: vec![topic] })
    }

    #[test]
    fn a_topic_is_on_every_node_when_the_answer_comes_whichever_was_asked() {
        let mut world = World::new(3, "");
        let response: CreateTopicsResponse = world.ask(2, 7, &request("a"));
        let created = &response.topics[0];
        assert_eq!((created.error_code, created.num_partitions), (0, 2));
        assert_eq!(created.configs.as_ref().unwrap().len(), 33);
        for shard in &world.shards {
            let topic = shard.image.topic("a").unwrap();
            assert_eq!(topic.id, created.topic_id.into());
            assert!(shard.partitions.topic("a").is_ok());
        }
    }

    #[test]
    fn a_large_topic_is_decided_beside_the_turn_and_anew_when_another_change_came_first() {
        let mut world = World::new(2, "");
        let mut large = request("large");
        large.topics[0].num_partitions = 200;
        let slot = Slot { shard: ShardIndex(0), connection: 9, sequence: 0 };
        let (peer, client_id) = (IpAddr::V4(Ipv4Addr::LOCALHOST), "".into());
        let call = Call { slot, api_key: 19, version: 7, correlation_id: 0, client_id, peer };
        let outcome = handle(&mut world.shards[0], &call, large.clone());
        assert!(matches!(outcome, Outcome::Parked), "{outcome:?}");
        let decided = world.shards[0].openings.next_change().unwrap().run();
        let small: CreateTopicsResponse = world.ask(1, 7, &request("small"));
        assert_eq!(small.topics[0].error_code, 0);
        world.shards[0].on_decided(decided);
        assert!(world.shards[0].latest().topic("large").is_none(), "that was too late");
        let again: CreateTopicsResponse = world.ask(1, 7, &large);
        assert_eq!(again.topics[0].error_code, ErrorCode::TOPIC_ALREADY_EXISTS.0);
        for shard in &world.shards {
            let partitions = |name| shard.image.topic(name).unwrap().partitions.len();
            assert_eq!((partitions("large"), partitions("small")), (200, 2));
        }
    }

    #[test]
    fn a_name_as_long_as_it_can_be_is_refused_in_every_version() {
        let mut world = World::new(1, "");
        for version in 2..=7 {
            let response: CreateTopicsResponse =
                world.ask(0, version, &request(&"x".repeat(32_767)));
            assert_eq!(response.topics[0].error_code, ErrorCode::INVALID_TOPIC_EXCEPTION.0);
        }
    }
}
