//! The first records of a new cluster, and the topics that the brokers keep for themselves.

use std::sync::Arc;

use super::records::{Node, Record, Resource};

/// Committed offsets and classic groups.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// Transactions.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// State of share groups.
pub const SHARE_GROUP_STATE: &str = "__share_group_state";

/// Whether clients may not write to the topic, and are told so.
pub fn is_internal_topic(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE)
}

/// What a new cluster starts with. As in Kafka, the in-sync minimum is a setting of the cluster
/// from the first moment.
pub fn bootstrap(cluster_id: Arc<str>, nodes: impl IntoIterator<Item = Node>) -> Vec<Record> {
    let minimum = Record::Config {
        resource: Resource::cluster(),
        name: "min.insync.replicas".to_owned(),
        value: Some("1".to_owned()),
    };
    let first = [Record::Cluster { id: cluster_id }, minimum];
    first.into_iter().chain(nodes.into_iter().map(Record::Node)).collect()
}
