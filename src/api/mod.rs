//! Kafka's APIs, one file each: a decoded request in, a response out or parked.
//!
//! Flow: `net` hands over one frame -> [`dispatch`] reads its header and finds its row in the table
//! -> the handler asks the shard. A handler decides nothing that a state machine below could decide;
//! it translates between Kafka's messages and their types, and their errors into Kafka's codes.
//!
//! A request that changes metadata runs on the shard that holds the controller: its frame is sent
//! there as it came ([`On::Controller`]), and its answer comes back to the connection by the
//! [`Slot`] in its [`Call`].

pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod alter_replica_log_dirs;
pub mod api_versions;
pub mod change;
pub mod consumer_group_describe;
pub mod create_acls;
pub mod create_delegation_token;
pub mod create_partitions;
pub mod create_topics;
mod cuts;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_delegation_token;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod error;
pub mod expire_delegation_token;
pub mod fetch;
mod fetch_answer;
pub mod find_coordinator;
#[cfg(test)]
mod fuzz;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
mod leaders;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
mod pieces;
pub mod produce;
pub mod renew_delegation_token;
mod resources;
mod rights;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod sync_group;
pub mod table;
#[cfg(test)]
mod testing;

use std::net::IpAddr;

use bytes::Bytes;

use crate::metrics::Refusal;
use crate::shard::opening::Chore;
use crate::shard::pieces::{How, Whole};
use crate::shard::{Call, Shard, Slot};
use crate::wire::codes::Coded;
use crate::wire::frame::{self, Answer, FrameError, RequestHeader};
use crate::wire::messages::KafkaMessage;

pub use table::{API_VERSIONS, Api, On, PRODUCE};

/// Partitions that one request of the hot path may name: what is kept of each is larger than its
/// few bytes in the request.
pub(crate) const PARTITIONS_MAX: usize = 200_000;

/// Items of a list that is decoded in a turn.
const ITEMS_PER_TURN: usize = 16_384;

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    /// Answered.
    Answer(Answer),
    /// The shard will answer to the call's slot later.
    Parked,
    /// The opener works on it: it is served when that is done, and nothing of its connection is
    /// served before.
    Opening,
    /// It names too many things for one turn. Only handlers say so; [`dispatch`] has it cut then.
    Large,
    /// Done, and the client expects no answer (acks=0).
    Silent,
    /// The connection must be closed: the client and the broker do not understand each other.
    Close(CloseReason),
}

/// Why a connection is closed, for the log.
#[derive(Debug, thiserror::Error)]
pub enum CloseReason {
    /// The frame cannot be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// No such API, or not in that version.
    #[error("API key {key} version {version} is not supported")]
    Unsupported {
        /// Numeric key.
        key: i16,
        /// Version in the request.
        version: i16,
    },
    /// The response could not be encoded; the log says which.
    #[error("the response could not be encoded")]
    Lost,
    /// A produce request with acks=0 failed; closing is the only way to tell.
    #[error("a produce request with acks=0 failed: {0}")]
    SilentFailure(String),
}

impl CloseReason {
    /// What it is counted as.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Frame(FrameError::Size { .. }) => Refusal::FrameSize,
            Self::Frame(_) => Refusal::Malformed,
            Self::Unsupported { .. } => Refusal::Unsupported,
            Self::Lost => Refusal::LostAnswer,
            Self::SilentFailure(_) => Refusal::SilentFailure,
        }
    }
}

impl Outcome {
    /// The response to `call`.
    pub fn answer<M: Coded>(call: &Call, response: &M) -> Self {
        Self::Answer(call.answer(response))
    }
}

/// The first two fields of a frame without its size field; -1 for what is not there.
pub fn key_and_version(bytes: &[u8]) -> (i16, i16) {
    let field = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk::<2>);
    let read = |at| field(at).map_or(-1, |two| i16::from_be_bytes(*two));
    (read(0), read(2))
}

/// Serves one request, or has it cut into pieces when it is large. `bytes` is the frame without its
/// size field.
pub fn dispatch(shard: &mut Shard, slot: Slot, peer: IpAddr, bytes: &[u8]) -> Outcome {
    serve(shard, slot, peer, bytes, true)
}

/// The same for one that is served as it is, such as a piece.
pub fn dispatch_piece(shard: &mut Shard, slot: Slot, peer: IpAddr, bytes: &[u8]) -> Outcome {
    serve(shard, slot, peer, bytes, false)
}

fn serve(shard: &mut Shard, slot: Slot, peer: IpAddr, bytes: &[u8], whole: bool) -> Outcome {
    let (header, body) = match RequestHeader::parse(bytes, table::is_flexible) {
        Ok(parts) => parts,
        Err(e) => return Outcome::Close(e.into()),
    };
    let call = Call::new(slot, peer, &header);
    let (key, version) = (header.api_key, header.version);
    let Some(api) = table::find(key) else {
        return Outcome::Close(CloseReason::Unsupported { key, version });
    };
    if !(api.min..=api.max).contains(&version) {
        if key == API_VERSIONS {
            return api_versions::unsupported(&call);
        }
        return Outcome::Close(CloseReason::Unsupported { key, version });
    }
    let (size_bytes, limit_bytes) = (body.len() as i32, api.body_bytes_max());
    if body.len() > limit_bytes {
        return Outcome::Close(FrameError::Size { size_bytes, limit_bytes }.into());
    }
    let how = api.pieces.as_ref().filter(|_| whole);
    if let Some(how) = how.filter(|how| body.len() >= how.large_bytes) {
        return cut(shard, call, bytes, body.len(), *how);
    }
    if api.on == On::Controller && !shard.holds_controller() {
        let frame = shard.keep(bytes);
        shard.forward(call, frame);
        return Outcome::Parked;
    }
    match ((api.handler)(shard, &call, body), how) {
        (Outcome::Large, Some(how)) => cut(shard, call, bytes, body.len(), *how),
        (outcome, _) => outcome,
    }
}

/// Hands a request to the opener.
fn cut(shard: &mut Shard, call: Call, bytes: &[u8], body_bytes: usize, how: How) -> Outcome {
    let (frame, header_bytes) = (shard.keep(bytes), bytes.len() - body_bytes);
    shard.openings.push(Chore::Cut(Whole { call, frame, header_bytes, how }));
    Outcome::Opening
}

/// Decodes the body of a request, copying it out of the connection's buffer. A request that names more
/// things is cut before, or makes no sense.
///
/// # Errors
/// [`CloseReason::Frame`].
pub(crate) fn decode<M: KafkaMessage>(call: &Call, body: &[u8]) -> Result<M, CloseReason> {
    Ok(frame::decode_request(Bytes::copy_from_slice(body), call.version, ITEMS_PER_TURN)?)
}
