//! Everything that a group request can be refused with, and what can go wrong beneath a group.

/// Why a group request was refused. No variant carries a Kafka error code: `api` maps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The group's partition is being read; the client asks again.
    #[error("the coordinator is loading the group: ask again")]
    LoadInProgress,
    /// Another node leads the group's partition; the client looks the coordinator up again.
    #[error("this node is not the coordinator of the group: look the coordinator up again")]
    NotCoordinator,
    /// The coordinator cannot do it at this moment; the client looks it up again.
    #[error("the coordinator is not available: look it up again")]
    NotAvailable,
    /// The group id is empty where it may not be.
    #[error("the group id is empty: name a group")]
    InvalidGroupId,
    /// A name does not fit the records that the group is kept in.
    #[error("a name of {bytes} B is over the limit of {limit_bytes} B")]
    NameTooLong {
        /// Length of the name.
        bytes: usize,
        /// Longest name that a record holds.
        limit_bytes: usize,
    },
    /// The session timeout is outside the broker's bounds.
    #[error("a session timeout of {asked_ms} ms is outside {min_ms}..={max_ms}")]
    InvalidSessionTimeout {
        /// What the client asked for.
        asked_ms: i32,
        /// `group.min.session.timeout.ms`.
        min_ms: i32,
        /// `group.max.session.timeout.ms`.
        max_ms: i32,
    },
    /// The member joins again with the id that came with this answer (KIP-394).
    #[error("join again with the member id in this answer")]
    MemberIdRequired,
    /// The member is not in the group; it joins as a new one.
    #[error("the member is not in the group: join as a new member")]
    UnknownMemberId,
    /// The member lives in another generation; it joins again.
    #[error("generation {asked} is not the current generation {current}: join again")]
    IllegalGeneration {
        /// Generation in the request.
        asked: i32,
        /// Generation of the group.
        current: i32,
    },
    /// The group waits for its members to join; this one joins again.
    #[error("the group is rebalancing: join again")]
    RebalanceInProgress,
    /// No protocol is common to the member and all others.
    #[error("the member has no protocol in common with the group")]
    InconsistentProtocol,
    /// The group has as many members as `group.max.size` allows.
    #[error("the group has {limit} members, as many as it may have")]
    GroupMaxSizeReached {
        /// `group.max.size`.
        limit: usize,
    },
    /// Another process has joined under the same instance id; this one stops.
    #[error("another member has taken over the instance id: stop this one")]
    FencedInstanceId,
    /// There is no such group.
    #[error("there is no such group")]
    GroupIdNotFound,
    /// The group has members; they must leave first.
    #[error("the group is not empty: stop its members first")]
    NonEmptyGroup,
    /// The metadata of a committed offset is too long.
    #[error("offset metadata of {chars} characters is over the limit of {limit}")]
    OffsetMetadataTooLarge {
        /// Length in UTF-16 units, as Kafka counts.
        chars: usize,
        /// `offset.metadata.max.bytes`.
        limit: usize,
    },
    /// Members read the topic, so its offsets stay.
    #[error("the group is subscribed to the topic: its offsets stay")]
    SubscribedToTopic,
    /// The records of the group do not fit the log.
    #[error("the group's records are larger than its log takes")]
    RecordTooLarge,
}

/// Why the shard could not append a group's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendFailure {
    /// The offsets topic or its partition is gone.
    NoSuchPartition,
    /// Fewer replicas are in sync than the topic asks for.
    NotEnoughReplicas,
    /// This node does not lead the partition any more.
    NotLeader,
    /// The log refused: the disk failed.
    Storage,
    /// The batch is over the partition's limit.
    TooLarge,
}

impl From<AppendFailure> for GroupError {
    fn from(failure: AppendFailure) -> Self {
        match failure {
            AppendFailure::NoSuchPartition | AppendFailure::NotEnoughReplicas => Self::NotAvailable,
            AppendFailure::NotLeader | AppendFailure::Storage => Self::NotCoordinator,
            AppendFailure::TooLarge => Self::RecordTooLarge,
        }
    }
}

/// A record of the offsets topic that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end early or hold no UTF-8.
    #[error("a {0} record is malformed")]
    Malformed(&'static str),
    /// A newer broker wrote it.
    #[error("a {what} record of version {version} is newer than {newest}, the newest known here")]
    UnknownVersion {
        /// Kind of record.
        what: &'static str,
        /// Version in the record.
        version: i16,
        /// Newest version known.
        newest: i16,
    },
}
