//! SyncGroup (key 14): a member asks for its assignment, which the leader brings.
//!
//! From v5 a member says which protocol it believes in; a request that does not is inconsistent.

use crate::api::Outcome;
use crate::coordinator::{Answer, GroupError, Sender, Sync};
use crate::msg;
use crate::shard::{Call, GroupCall, Shard};
use crate::wire::frame;
use crate::wire::messages::{SyncGroupRequest, SyncGroupResponse};
use crate::wire::{ErrorCode, StrBytes};

const PROTOCOL_FROM: i16 = 5;

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: SyncGroupRequest) -> Outcome {
    let named = request.protocol_type.is_some() && request.protocol_name.is_some();
    if call.version >= PROTOCOL_FROM && !named {
        return Outcome::answer(call, &failure(GroupError::InconsistentProtocol));
    }
    let assignments = request.assignments.iter().map(|a| (&*a.member_id, &*a.assignment));
    let sync = Sync {
        from: Sender {
            group: &request.group_id,
            member: &request.member_id,
            instance: request.group_instance_id.as_deref(),
            generation: request.generation_id,
        },
        protocol_type: request.protocol_type.as_deref(),
        protocol: request.protocol_name.as_deref(),
        assignments: assignments.collect(),
    };
    let to = GroupCall::new(call, respond);
    shard.ask_groups(|groups, at, out| groups.sync(&sync, to, at, out));
    Outcome::Parked
}

fn respond(call: &Call, answer: Answer) -> frame::Answer {
    let response = match answer.sync() {
        Ok(synced) => msg!(SyncGroupResponse {
            protocol_type: synced.protocol_type.as_deref().map(StrBytes::from),
            protocol_name: synced.protocol.as_deref().map(StrBytes::from),
            assignment: synced.assignment,
        }),
        Err(error) => failure(error),
    };
    call.answer(&response)
}

fn failure(error: GroupError) -> SyncGroupResponse {
    msg!(SyncGroupResponse { error_code: ErrorCode::from(error).0 })
}
