//! Requests that change metadata: decided here, answered when every shard has the change.

use std::sync::Arc;

use crate::api::Outcome;
use crate::controller::{Controller, ControllerError, split_random};
use crate::image::{Image, Record};
use crate::shard::metadata::{Decided, Ready};
use crate::shard::{CONTROLLER, Call, Mail, Post, Shard};
use crate::wire::codes::Coded;
use crate::wire::{ErrorCode, StrBytes};

/// Longest error message that is sent, in characters: client input is in it, and short strings of
/// old versions end at 32,767 bytes.
const MESSAGE_CHARS_MAX: usize = 1024;

/// Topics that one turn deletes: about 100 us.
pub(super) const DELETED_PER_TURN: usize = 32;
/// Topics that one turn creates, or partitions of these: as long, since the answer describes them.
pub(super) const CREATED_PER_TURN: usize = 8;

/// Partitions that a turn decides on.
const AT_ONCE_MAX: usize = 64;

/// What became of one item of a request.
pub(super) type Result<T> = std::result::Result<T, Refused>;

/// Why an item was refused, as the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// The code.
    pub(super) code: ErrorCode,
    /// For people.
    pub(super) message: Option<StrBytes>,
}

impl Refused {
    pub(super) fn new(code: ErrorCode, message: &str) -> Self {
        Self { code, message: Some(clipped(message)) }
    }
}

/// The start of a text, where it is too long for a response.
pub(super) fn clipped(text: &str) -> StrBytes {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => text[..end].into(),
        None => text.into(),
    }
}

impl From<ControllerError> for Refused {
    fn from(e: ControllerError) -> Self {
        use ControllerError as E;
        let code = match &e {
            E::InvalidTopicName(_) | E::NameCollision { .. } => ErrorCode::INVALID_TOPIC_EXCEPTION,
            E::TopicExists { .. } => ErrorCode::TOPIC_ALREADY_EXISTS,
            E::UnknownTopic => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            E::UnknownTopicId(_) => ErrorCode::UNKNOWN_TOPIC_ID,
            E::DeletionDisabled => ErrorCode::TOPIC_DELETION_DISABLED,
            E::InvalidPartitions(_) => ErrorCode::INVALID_PARTITIONS,
            E::NoTopicToReassign(_) | E::NoPartitionToReassign { .. } => {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            }
            E::NotReassigning => ErrorCode::NO_REASSIGNMENT_IN_PROGRESS,
            E::ReplicationFactorChanged { .. } => ErrorCode::INVALID_REPLICATION_FACTOR,
            E::NoReplicas | E::TooFewNodes { .. } | E::NoReplicationYet { .. } => {
                ErrorCode::INVALID_REPLICATION_FACTOR
            }
            E::InvalidAssignment(_) => ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            E::TooManyPartitions { .. } => ErrorCode::POLICY_VIOLATION,
            E::InvalidConfig(_) => ErrorCode::INVALID_CONFIG,
            E::InvalidRequest(_) => ErrorCode::INVALID_REQUEST,
        };
        Self::new(code, &e.to_string())
    }
}

/// Code and message of an item's result.
pub(super) fn error_of<T>(result: &Result<T>) -> (i16, Option<StrBytes>) {
    match result {
        Ok(_) => (ErrorCode::NONE.0, None),
        Err(refused) => (refused.code.0, refused.message.clone()),
    }
}

/// Lets the controller decide on the latest image.
pub(super) fn decide<R>(shard: &mut Shard, f: impl FnOnce(&mut Controller<'_>) -> R) -> R {
    let (image, config) = (Arc::clone(shard.latest()), Arc::clone(&shard.config));
    f(&mut Controller::new(&image, shard.node, &config, &mut shard.random))
}

/// Decides on a change of `size` partitions, at once or, when they are many, on the opener; writes the
/// records, and answers when they are applied.
pub(super) fn change<K: 'static, T: 'static, M: Coded>(
    shard: &mut Shard,
    call: &Call,
    size: usize,
    decide: impl Fn(&mut Controller<'_>) -> (Vec<Record>, Vec<(K, Result<T>)>) + Send + 'static,
    respond: impl Fn(&Image, &[(K, Result<T>)]) -> M + Send + 'static,
) -> Outcome {
    if size <= AT_ONCE_MAX {
        let image = Arc::clone(shard.latest());
        let (records, results) = self::decide(shard, decide);
        return settle(shard, call, &records, results, |results| respond(&image, results));
    }
    let (config, node, wall) = (Arc::clone(&shard.config), shard.node, shard.wall);
    let seed = split_random(&mut shard.random);
    let of = call.clone();
    shard.propose_long(call.slot, move |image| {
        let mut random = seed;
        let (records, mut results) =
            decide(&mut Controller::new(image, node, &config, &mut random));
        let answer = of.answer(&respond(image, &results));
        let ready = (!records.is_empty()).then(|| Ready::new(image, &records, wall));
        refuse_all(&mut results, "the metadata log failed");
        Decided { ready, answer, otherwise: of.answer(&respond(image, &results)) }
    });
    Outcome::Parked
}

/// Writes the records and answers when they are applied; at once when there are none. When they
/// cannot be written, every item that was decided on is refused instead.
pub(super) fn settle<K, T, M: Coded>(
    shard: &mut Shard,
    call: &Call,
    records: &[Record],
    mut results: Vec<(K, Result<T>)>,
    respond: impl Fn(&[(K, Result<T>)]) -> M,
) -> Outcome {
    let answer = call.answer(&respond(&results));
    if records.is_empty() {
        return Outcome::Answer(answer);
    }
    match shard.propose(records, Some((call.slot, answer))) {
        Ok(()) => Outcome::Parked,
        Err(e) => {
            tracing::error!(error = %e, "a metadata change could not be written");
            refuse_all(&mut results, &e.to_string());
            Outcome::answer(call, &respond(&results))
        }
    }
}

fn refuse_all<K, T>(results: &mut [(K, Result<T>)], why: &str) {
    let refused = Refused::new(ErrorCode::KAFKA_STORAGE_ERROR, why);
    for (_, result) in results.iter_mut().filter(|(_, r)| r.is_ok()) {
        *result = Err(refused.clone());
    }
}

/// Has topics created that a client misses, wherever the controller is. Nobody waits for it: the
/// client asks again.
pub(super) fn auto_create(shard: &mut Shard, names: Vec<String>) {
    if names.is_empty() {
        return;
    }
    if shard.holds_controller() {
        shard.miss(names);
    } else {
        shard.post.push(Post { to: CONTROLLER, mail: Mail::CreateMissing { names } });
    }
}

/// On the controller's shard: creates topics that are still missing, as many as one turn can.
pub fn create_missing(shard: &mut Shard) {
    if shard.missing.is_empty() {
        return;
    }
    let count = shard.missing.len().min(CREATED_PER_TURN);
    let names = shard.missing.drain(..count).collect();
    let records = decide(shard, |c| c.auto_create(names));
    if records.is_empty() {
        return;
    }
    if let Err(e) = shard.propose(&records, None) {
        tracing::error!(error = %e, "missing topics could not be created");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_client_input_in_it_fits_every_version() {
        let name = "\u{e4}".repeat(40_000);
        let refused = Refused::from(ControllerError::InvalidTopicName(name));
        assert_eq!(refused.code, ErrorCode::INVALID_TOPIC_EXCEPTION);
        assert_eq!(refused.message.unwrap().chars().count(), MESSAGE_CHARS_MAX);
    }
}
