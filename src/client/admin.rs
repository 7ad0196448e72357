//! Administration: requests as plain functions, their answers as plain values.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{NodeId, Offset, TopicId};
use crate::client::call::Typed;
use crate::client::cluster::PartitionName;
use crate::client::fetcher::by_topic;
use crate::msg;
use crate::wire::ErrorCode;
use crate::wire::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use crate::wire::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use crate::wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use crate::wire::messages::describe_configs_request::DescribeConfigsResource;
use crate::wire::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use crate::wire::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic;
use crate::wire::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use crate::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::wire::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use crate::wire::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeConfigsRequest, DescribeConfigsResponse, DescribeLogDirsRequest,
    DescribeTopicPartitionsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    ListOffsetsRequest, ListOffsetsResponse, ListPartitionReassignmentsRequest,
    OffsetDeleteRequest,
};

/// Topics go by name up to this version of DeleteTopics.
const DELETE_TOPICS_VERSION_MAX: i16 = 5;
/// DescribeConfigs: a topic.
const RESOURCE_TOPIC: i8 = 2;
/// IncrementalAlterConfigs: set a value.
const ALTER_SET: i8 = 0;
/// IncrementalAlterConfigs: take the default again.
const ALTER_DELETE: i8 = 1;
/// DescribeConfigs: the value is Kafka's default.
const SOURCE_DEFAULT: i8 = 5;

/// A topic to create.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions; `None` leaves it to the broker.
    pub partitions: Option<i32>,
    /// Number of replicas; `None` leaves it to the broker.
    pub replication_factor: Option<i16>,
    /// Brokers of each partition, in place of the two numbers.
    pub assignments: Vec<Vec<i32>>,
    /// Configs that are not the default.
    pub configs: Vec<(String, String)>,
}

/// Creates a topic.
pub fn create_topic(topic: &NewTopic, timeout_ms: i32) -> Typed<CreateTopicsRequest> {
    let assignment = |(at, brokers): (usize, &Vec<i32>)| {
        msg!(CreatableReplicaAssignment { partition_index: at as i32, broker_ids: brokers.clone() })
    };
    let config = |(name, value): &(String, String)| {
        msg!(CreatableTopicConfig {
            name: name.as_str().into(),
            value: Some(value.as_str().into()),
        })
    };
    let creatable = msg!(CreatableTopic {
        name: topic.name.as_str().into(),
        num_partitions: topic.partitions.unwrap_or(-1),
        replication_factor: topic.replication_factor.unwrap_or(-1),
        assignments: topic.assignments.iter().enumerate().map(assignment).collect(),
        configs: topic.configs.iter().map(config).collect(),
    });
    Typed::new(msg!(CreateTopicsRequest { topics: vec![creatable], timeout_ms }))
}

/// Deletes topics.
pub fn delete_topics(names: &[String], timeout_ms: i32) -> Typed<DeleteTopicsRequest> {
    let topic_names = names.iter().map(|n| n.as_str().into()).collect();
    let request = msg!(DeleteTopicsRequest { topic_names, timeout_ms });
    Typed::up_to(request, DELETE_TOPICS_VERSION_MAX)
}

/// Raises the number of partitions: (topic, new number, brokers of each new partition or empty).
pub fn create_partitions(
    topics: &[(String, i32, Vec<Vec<i32>>)],
    timeout_ms: i32,
) -> Typed<CreatePartitionsRequest> {
    let topic = |(name, count, assignments): &(String, i32, Vec<Vec<i32>>)| {
        let assignment =
            |ids: &Vec<i32>| msg!(CreatePartitionsAssignment { broker_ids: ids.clone() });
        let given = (!assignments.is_empty()).then(|| assignments.iter().map(assignment).collect());
        msg!(CreatePartitionsTopic {
            name: name.as_str().into(),
            count: *count,
            assignments: given,
        })
    };
    let topics = topics.iter().map(topic).collect();
    Typed::new(msg!(CreatePartitionsRequest { topics, timeout_ms }))
}

/// Asks for the configs of topics.
pub fn describe_topic_configs(names: &[&str]) -> Typed<DescribeConfigsRequest> {
    let resource = |&name: &&str| {
        msg!(DescribeConfigsResource {
            resource_type: RESOURCE_TOPIC,
            resource_name: name.into(),
            configuration_keys: None,
        })
    };
    Typed::new(msg!(DescribeConfigsRequest { resources: names.iter().map(resource).collect() }))
}

/// Asks for all configs of a resource, with where each value comes from.
pub fn describe_configs(resource_type: i8, name: &str) -> Typed<DescribeConfigsRequest> {
    let resource = msg!(DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: None,
    });
    Typed::new(msg!(DescribeConfigsRequest { resources: vec![resource], include_synonyms: true }))
}

/// Sets configs of a resource, and takes those without a value back to their default.
pub fn alter_configs(
    resource_type: i8,
    name: &str,
    change: &BTreeMap<String, Option<String>>,
) -> Typed<IncrementalAlterConfigsRequest> {
    let config = |(name, value): (&String, &Option<String>)| {
        msg!(AlterableConfig {
            name: name.as_str().into(),
            config_operation: if value.is_some() { ALTER_SET } else { ALTER_DELETE },
            value: value.as_deref().map(Into::into),
        })
    };
    let resource = msg!(AlterConfigsResource {
        resource_type,
        resource_name: name.into(),
        configs: change.iter().map(config).collect(),
    });
    Typed::new(msg!(IncrementalAlterConfigsRequest { resources: vec![resource] }))
}

/// Asks which resources of these types have configs of their own.
pub fn list_config_resources(resource_types: Vec<i8>) -> Typed<ListConfigResourcesRequest> {
    Typed::new(msg!(ListConfigResourcesRequest { resource_types }))
}

/// Asks a broker for what its log directories hold: of all topics.
pub fn describe_log_dirs() -> Typed<DescribeLogDirsRequest> {
    Typed::new(msg!(DescribeLogDirsRequest { topics: None }))
}

/// Deletes the records of each partition (sorted) below an offset; -1 is its end.
pub fn delete_records(
    partitions: &[(PartitionName, i64)],
    timeout_ms: i32,
) -> Typed<DeleteRecordsRequest> {
    let topics = by_topic(partitions, |name, &offset| {
        msg!(DeleteRecordsPartition { partition_index: name.partition, offset })
    });
    let topic = |(name, partitions): (Arc<str>, _)| {
        msg!(DeleteRecordsTopic { name: (&*name).into(), partitions })
    };
    let topics = topics.into_iter().map(topic).collect();
    Typed::new(msg!(DeleteRecordsRequest { topics, timeout_ms }))
}

/// One config of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` when it is secret.
    pub value: Option<String>,
    /// Whether nobody has set it.
    pub is_default: bool,
}

/// The configs of each topic of an answer, in the broker's order.
pub fn topic_configs(answer: &DescribeConfigsResponse) -> BTreeMap<String, Vec<ConfigEntry>> {
    let entries = |r: &crate::wire::messages::describe_configs_response::DescribeConfigsResult| {
        let entry = |c: &crate::wire::messages::describe_configs_response::DescribeConfigsResourceResult| {
            ConfigEntry {
                name: c.name.as_str().to_owned(),
                value: c.value.as_ref().map(|v| v.as_str().to_owned()),
                is_default: c.config_source == SOURCE_DEFAULT,
            }
        };
        (r.resource_name.as_str().to_owned(), r.configs.iter().map(entry).collect())
    };
    answer.results.iter().map(entries).collect()
}

/// A partition in detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDetails {
    /// Partition index.
    pub partition: i32,
    /// The broker that leads it, when there is one.
    pub leader: Option<NodeId>,
    /// Brokers with a replica.
    pub replicas: Vec<i32>,
    /// Replicas in sync.
    pub in_sync: Vec<i32>,
    /// Eligible leader replicas (KIP-966), from brokers that say.
    pub eligible_leaders: Option<Vec<i32>>,
    /// The last known of them.
    pub last_known_eligible: Option<Vec<i32>>,
}

/// A topic in detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDetails {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: TopicId,
    /// Why it cannot be described, or no error.
    pub error: ErrorCode,
    /// Sorted by index.
    pub partitions: Vec<PartitionDetails>,
}

/// Asks for the details of topics, from `cursor` (topic, partition) on, at most `limit` partitions.
pub fn describe_topics(
    names: &[&str],
    limit: i32,
    cursor: Option<(&str, i32)>,
) -> Typed<DescribeTopicPartitionsRequest> {
    let topic = |&name: &&str| msg!(TopicRequest { name: name.into() });
    let cursor = cursor
        .map(|(topic, partition_index)| msg!(Cursor { topic_name: topic.into(), partition_index }));
    Typed::new(msg!(DescribeTopicPartitionsRequest {
        topics: names.iter().map(topic).collect(),
        response_partition_limit: limit,
        cursor,
    }))
}

/// One topic of an answer; a long one goes on in the next answer.
pub fn topic_details(topic: &DescribeTopicPartitionsResponseTopic) -> TopicDetails {
    let mut partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|p| PartitionDetails {
            partition: p.partition_index,
            leader: (p.leader_id >= 0).then_some(NodeId(p.leader_id)),
            replicas: p.replica_nodes.clone(),
            in_sync: p.isr_nodes.clone(),
            eligible_leaders: Some(p.eligible_leader_replicas.clone().unwrap_or_default()),
            last_known_eligible: Some(p.last_known_elr.clone().unwrap_or_default()),
        })
        .collect();
    partitions.sort_unstable_by_key(|p| p.partition);
    TopicDetails {
        name: topic.name.as_ref().map_or(String::new(), |n| n.as_str().to_owned()),
        id: topic.topic_id.into(),
        error: ErrorCode(topic.error_code),
        partitions,
    }
}

/// Asks for all reassignments under way.
pub fn list_reassignments(timeout_ms: i32) -> Typed<ListPartitionReassignmentsRequest> {
    Typed::new(msg!(ListPartitionReassignmentsRequest { timeout_ms, topics: None }))
}

/// Asks for the offset of each partition (sorted) at `timestamp`; see `fetcher` for special ones.
pub fn list_offsets(
    partitions: &[(PartitionName, i64)],
    timeout_ms: i32,
) -> Typed<ListOffsetsRequest> {
    let topics = by_topic(partitions, |name, &timestamp| {
        msg!(ListOffsetsPartition { partition_index: name.partition, timestamp })
    });
    let topic = |(name, partitions): (Arc<str>, _)| {
        msg!(ListOffsetsTopic { name: (&*name).into(), partitions })
    };
    let topics = topics.into_iter().map(topic).collect();
    Typed::new(msg!(ListOffsetsRequest { replica_id: -1, topics, timeout_ms }))
}

/// The offset of each partition of an answer; -1 when there is none for that time.
pub fn listed_offsets(
    answer: &ListOffsetsResponse,
) -> BTreeMap<PartitionName, Result<Offset, ErrorCode>> {
    let all = answer.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (&t.name, p)));
    all.map(|(topic, p)| {
        let found = match ErrorCode(p.error_code) {
            ErrorCode::NONE => Ok(Offset(p.offset)),
            code => Err(code),
        };
        (PartitionName::new(topic, p.partition_index), found)
    })
    .collect()
}

/// Deletes committed offsets of partitions, which are sorted.
pub fn delete_offsets(
    group_id: &str,
    partitions: &[(PartitionName, ())],
) -> Typed<OffsetDeleteRequest> {
    let topics = by_topic(partitions, |name, ()| {
        msg!(OffsetDeleteRequestPartition { partition_index: name.partition })
    });
    let topic = |(name, partitions): (Arc<str>, _)| {
        msg!(OffsetDeleteRequestTopic { name: (&*name).into(), partitions })
    };
    let topics = topics.into_iter().map(topic).collect();
    Typed::new(msg!(OffsetDeleteRequest { group_id: group_id.into(), topics }))
}
