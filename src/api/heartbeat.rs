//! Heartbeat (key 12): a member says that it is alive, and learns whether it must join again.

use crate::api::Outcome;
use crate::api::error::group_code;
use crate::coordinator::{At, Sender};
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::{HeartbeatRequest, HeartbeatResponse};

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: HeartbeatRequest) -> Outcome {
    let sender = Sender {
        group: &request.group_id,
        member: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    let at = At { now: shard.now, wall: shard.wall };
    let error_code = group_code(shard.groups.heartbeat(&sender, at));
    Outcome::answer(call, &msg!(HeartbeatResponse { error_code }))
}
