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

/// The partition of an internal topic that a group or transactional id belongs to: the hash of
/// Java's `String`, without its sign.
pub fn coordinator_partition(id: &str, partitions: usize) -> usize {
    let step = |h: i32, unit: u16| h.wrapping_mul(31).wrapping_add(i32::from(unit));
    let hash = id.encode_utf16().fold(0, step);
    hash.checked_abs().unwrap_or(0) as usize % partitions.max(1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_belong_to_the_partitions_that_kafka_gives_them() {
        assert_eq!(coordinator_partition("", 50), 0);
        assert_eq!(coordinator_partition("a", 50), 97 % 50);
        assert_eq!(coordinator_partition("group", 50), 98_629_247 % 50);
        assert_eq!(coordinator_partition("polygenelubricants", 50), 0, "the hash is i32::MIN");
        assert_eq!(coordinator_partition("\u{1f600}", 1 << 20), 1_772_899 % (1 << 20));
    }
}
