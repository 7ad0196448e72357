//! Everything that can be wrong with a configuration. Nothing is ever half applied.

/// Why a configuration is refused. The texts are Kafka's where Kafka has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file is not in properties syntax.
    #[error("line {line} of the properties: {what}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// A key that the server does not have.
    #[error("unknown configuration key {name}; the nearest known key is {nearest}")]
    UnknownKey {
        /// The key.
        name: String,
        /// A key that exists.
        nearest: &'static str,
    },
    /// A value that its key does not take.
    #[error("Invalid value {value} for configuration {name}: {why}")]
    Invalid {
        /// The key.
        name: String,
        /// The value.
        value: String,
        /// What it has to be.
        why: String,
    },
    /// Two keys that contradict each other.
    #[error("{first} and {second} contradict each other: {why}")]
    Conflict {
        /// One key.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// What is expected of them.
        why: String,
    },
    /// A key that this kind of resource does not have.
    #[error("Unknown {level} config name: {name}")]
    UnknownAt {
        /// Kind of resource.
        level: &'static str,
        /// The key.
        name: String,
    },
    /// A value that a group may not have, by the limits of the brokers.
    #[error("{name} must be {relation} than or equal to {limit}")]
    GroupLimit {
        /// The key of the group.
        name: String,
        /// `less` or `greater`.
        relation: &'static str,
        /// The broker key that holds the limit.
        limit: String,
    },
    /// Broker keys that are only read at start.
    #[error("Cannot update these configs dynamically: [{0}]")]
    NotDynamic(String),
    /// Broker keys that cannot be set for all brokers at once.
    #[error(
        "Cannot update these configs at default cluster level, broker id must be specified: [{0}]"
    )]
    NodeOnly(String),
    /// Keys that are dynamic only with the prefix of a listener.
    #[error(
        "These security configs can be dynamically updated only per-listener using the listener prefix: [{0}]"
    )]
    ListenerOnly(String),
    /// The cluster-wide in-sync minimum always exists.
    #[error("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")]
    InSyncMinimumNeeded,
    /// The in-sync minimum is not a matter of one broker.
    #[error("Broker-level min.insync.replicas cannot be altered while ELR is enabled.")]
    InSyncMinimumAtNode,
    /// Append or subtract on a value that is no list.
    #[error("Config value append and subtract are not allowed for config key: {0}")]
    NotAList(String),
    /// A change without the value that it needs.
    #[error("Null value not supported for : {0}")]
    NullValue(String),
    /// One key in two changes of one request.
    #[error("Error due to duplicate config keys")]
    DuplicateKeys,
    /// A name or a value that older versions of the protocol cannot carry.
    #[error("a name or value of {actual} B; the limit is {limit} B: make it shorter")]
    TooLong {
        /// Its size.
        actual: usize,
        /// Size allowed.
        limit: usize,
    },
    /// More settings than one resource may have.
    #[error("{actual} settings on one resource; the limit is {limit}: remove some first")]
    TooMany {
        /// Settings after the change.
        actual: usize,
        /// Settings allowed.
        limit: usize,
    },
}
