//! Kafka's error codes for what the machines below refuse.

use crate::coordinator::{GroupError, Outcomes};
use crate::partition::append::{RecordRefusal, Refusal};
use crate::partition::leader::EpochError;
use crate::partition::producers::ProducerError;
use crate::shard::append::ProduceError;
use crate::shard::partition::Missing;
use crate::shard::sessions::SessionError;
use crate::storage::StorageError;
use crate::wire::ErrorCode;

/// What a partition's answer says of a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// The code.
    pub code: ErrorCode,
    /// For the client's log.
    pub message: Option<String>,
    /// The records to blame (KIP-467).
    pub records: Vec<RecordRefusal>,
    /// The log itself refused, so the answer tells its start offset.
    pub in_log: bool,
}

impl Failure {
    /// Just the code.
    pub fn of(code: ErrorCode) -> Self {
        Self { code, ..Self::default() }
    }

    fn in_log(code: ErrorCode) -> Self {
        Self { in_log: true, ..Self::of(code) }
    }
}

impl From<Missing> for Failure {
    fn from(missing: Missing) -> Self {
        Self::of(missing.into())
    }
}

impl From<Missing> for ErrorCode {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Topic | Missing::Partition => Self::UNKNOWN_TOPIC_OR_PARTITION,
            Missing::TopicId => Self::UNKNOWN_TOPIC_ID,
            Missing::NotLeader => Self::NOT_LEADER_OR_FOLLOWER,
        }
    }
}

impl From<ProduceError> for Failure {
    fn from(e: ProduceError) -> Self {
        match e {
            ProduceError::Refused(refusal) => refusal.into(),
            ProduceError::Producer(ProducerError::StaleEpoch { .. }) => {
                Self::in_log(ErrorCode::INVALID_PRODUCER_EPOCH)
            }
            ProduceError::Producer(ProducerError::OutOfOrder { .. }) => {
                Self::in_log(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
            }
            ProduceError::NotEnoughReplicas { .. } => Self::of(ErrorCode::NOT_ENOUGH_REPLICAS),
            ProduceError::Storage(e) => Self::of((&e).into()),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let message = Some(refusal.to_string());
        match refusal {
            Refusal::NotOneBatch | Refusal::Magic(0..2) => Self::of(ErrorCode::INVALID_RECORD),
            Refusal::Magic(_) | Refusal::Malformed(_) => {
                Self { message, ..Self::of(ErrorCode::CORRUPT_MESSAGE) }
            }
            Refusal::Corrupt(_) => Self::of(ErrorCode::CORRUPT_MESSAGE),
            Refusal::TooLarge { .. } => Self::of(ErrorCode::MESSAGE_TOO_LARGE),
            Refusal::OverSegment { .. } => Self::of(ErrorCode::RECORD_LIST_TOO_LARGE),
            Refusal::BadHeader(_) | Refusal::BadRecords(_) | Refusal::OverMemory { .. } => {
                Self::in_log(ErrorCode::INVALID_RECORD)
            }
            Refusal::UnknownCodec(_) => Self::in_log(ErrorCode::UNKNOWN_SERVER_ERROR),
            Refusal::NoKey(records) => {
                Self { message, records, ..Self::in_log(ErrorCode::INVALID_RECORD) }
            }
            Refusal::BadTimestamp(records) => {
                Self { message, records, ..Self::in_log(ErrorCode::INVALID_TIMESTAMP) }
            }
        }
    }
}

impl From<&StorageError> for ErrorCode {
    fn from(e: &StorageError) -> Self {
        match e {
            StorageError::OffsetOutOfRange { .. } => Self::OFFSET_OUT_OF_RANGE,
            StorageError::BatchTooLarge { .. } => Self::RECORD_LIST_TOO_LARGE,
            StorageError::Deleted => Self::NOT_LEADER_OR_FOLLOWER,
            _ => Self::KAFKA_STORAGE_ERROR,
        }
    }
}

impl From<GroupError> for ErrorCode {
    fn from(e: GroupError) -> Self {
        match e {
            GroupError::LoadInProgress => Self::COORDINATOR_LOAD_IN_PROGRESS,
            GroupError::NotCoordinator => Self::NOT_COORDINATOR,
            GroupError::NotAvailable => Self::COORDINATOR_NOT_AVAILABLE,
            GroupError::InvalidGroupId => Self::INVALID_GROUP_ID,
            GroupError::NameTooLong { .. } => Self::INVALID_REQUEST,
            GroupError::InvalidSessionTimeout { .. } => Self::INVALID_SESSION_TIMEOUT,
            GroupError::MemberIdRequired => Self::MEMBER_ID_REQUIRED,
            GroupError::UnknownMemberId => Self::UNKNOWN_MEMBER_ID,
            GroupError::IllegalGeneration { .. } => Self::ILLEGAL_GENERATION,
            GroupError::RebalanceInProgress => Self::REBALANCE_IN_PROGRESS,
            GroupError::InconsistentProtocol => Self::INCONSISTENT_GROUP_PROTOCOL,
            GroupError::GroupMaxSizeReached { .. } => Self::GROUP_MAX_SIZE_REACHED,
            GroupError::FencedInstanceId => Self::FENCED_INSTANCE_ID,
            GroupError::GroupIdNotFound => Self::GROUP_ID_NOT_FOUND,
            GroupError::NonEmptyGroup => Self::NON_EMPTY_GROUP,
            GroupError::OffsetMetadataTooLarge { .. } => Self::OFFSET_METADATA_TOO_LARGE,
            GroupError::SubscribedToTopic => Self::GROUP_SUBSCRIBED_TO_TOPIC,
            GroupError::RecordTooLarge => Self::UNKNOWN_SERVER_ERROR,
        }
    }
}

/// The code of an outcome, as messages have it.
pub(super) fn group_code(result: Result<(), GroupError>) -> i16 {
    result.map_or_else(ErrorCode::from, |()| ErrorCode::NONE).0
}

/// The code for one item of a request: its own, or the one for all.
pub(super) fn group_code_at(outcomes: &Outcomes, place: usize) -> i16 {
    match outcomes {
        Ok(each) => group_code(each.get(place).copied().unwrap_or(Ok(()))),
        Err(error) => group_code(Err(*error)),
    }
}

impl From<EpochError> for ErrorCode {
    fn from(e: EpochError) -> Self {
        match e {
            EpochError::Fenced { .. } => Self::FENCED_LEADER_EPOCH,
            EpochError::Unknown { .. } => Self::UNKNOWN_LEADER_EPOCH,
        }
    }
}

impl From<SessionError> for ErrorCode {
    fn from(e: SessionError) -> Self {
        match e {
            SessionError::NotFound(_) => Self::FETCH_SESSION_ID_NOT_FOUND,
            SessionError::BadEpoch { .. } => Self::INVALID_FETCH_SESSION_EPOCH,
            SessionError::TopicIds => Self::FETCH_SESSION_TOPIC_ID_ERROR,
        }
    }
}
