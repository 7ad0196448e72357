//! Why the controller refuses something. The texts are Kafka's where Kafka has one.

use crate::base::{NodeId, TopicId};
use crate::config::ConfigError;

/// A refused item; nothing of it was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each field is named in the text of its variant")]
pub enum ControllerError {
    /// Not a name that a topic can have.
    #[error("Topic name is invalid: {0}")]
    InvalidTopicName(String),
    /// A topic has a name that becomes the same in metrics.
    #[error("Topic '{name}' collides with existing topic: {existing}")]
    NameCollision { name: String, existing: String },
    /// The topic is there.
    #[error("Topic '{name}' already exists.")]
    TopicExists { name: String },
    /// The topic is not there.
    #[error("This server does not host this topic-partition.")]
    UnknownTopic,
    /// No topic has the id.
    #[error("This server does not host this topic ID.")]
    UnknownTopicId(TopicId),
    /// `delete.topic.enable` is false.
    #[error("Topic deletion is disabled.")]
    DeletionDisabled,
    /// A count of partitions that cannot be.
    #[error("{0}")]
    InvalidPartitions(String),
    /// A replication factor that cannot be.
    #[error("Replication factor must be larger than 0, or -1 to use the default value.")]
    NoReplicas,
    /// More replicas than nodes.
    #[error(
        "Unable to replicate the partition {wanted} time(s): The target replication factor of {wanted} cannot be reached because only {nodes} \
         broker(s) are registered or some brokers have all their log directories cordoned."
    )]
    TooFewNodes { wanted: usize, nodes: usize },
    /// More replicas than one, which is all there is for now.
    #[error(
        "Unable to replicate the partition {wanted} time(s): replication does not exist yet; use a replication factor of 1."
    )]
    NoReplicationYet { wanted: usize },
    /// An assignment that cannot be.
    #[error("{0}")]
    InvalidAssignment(String),
    /// No topic of this name has replicas to move.
    #[error("Unable to find a topic named {0}.")]
    NoTopicToReassign(String),
    /// The topic has no such partition.
    #[error("Unable to find partition {topic}:{index}.")]
    NoPartitionToReassign { topic: String, index: i32 },
    /// There is no move that could be cancelled.
    #[error("No reassignment of the partition is in progress.")]
    NotReassigning,
    /// Another number of replicas, where the client wants to keep it.
    #[error("The replication factor is changed from {from} to {to}")]
    ReplicationFactorChanged { from: usize, to: usize },
    /// More partitions than one request may create.
    #[error("Excessively large number of partitions per request.")]
    TooManyPartitions { wanted: usize, limit: usize },
    /// A setting that the resource cannot have.
    #[error("{0}")]
    InvalidConfig(ConfigError),
    /// A request that makes no sense.
    #[error("{0}")]
    InvalidRequest(String),
}

impl ControllerError {
    pub(super) fn request(text: &str) -> Self {
        Self::InvalidRequest(text.to_owned())
    }

    pub(super) fn unknown_broker(id: NodeId) -> Self {
        Self::InvalidAssignment(format!(
            "The manual partition assignment includes broker {id}, but no such broker is registered."
        ))
    }
}
