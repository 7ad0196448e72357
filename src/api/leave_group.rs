//! LeaveGroup (key 13): members leave, or an administrator takes static members out.
//!
//! Up to v2 it is about one member, and its outcome is that of the request; from v3 (KIP-345) about
//! several, each with an outcome of its own.

use crate::api::Outcome;
use crate::api::error::group_code;
use crate::coordinator::{Answer, GroupError, Leaver};
use crate::msg;
use crate::shard::{Call, GroupCall, Shard};
use crate::wire::frame;
use crate::wire::messages::leave_group_request::MemberIdentity;
use crate::wire::messages::leave_group_response::MemberResponse;
use crate::wire::messages::{LeaveGroupRequest, LeaveGroupResponse};

const MEMBERS_FROM: i16 = 3;

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: LeaveGroupRequest) -> Outcome {
    let group = request.group_id;
    let members = if call.version >= MEMBERS_FROM {
        request.members
    } else {
        vec![msg!(MemberIdentity { member_id: request.member_id })]
    };
    let leaver = |m: &'_ MemberIdentity| (m.member_id.clone(), m.group_instance_id.clone());
    let named: Vec<_> = members.iter().map(leaver).collect();
    let leavers: Vec<_> = named
        .iter()
        .map(|(member, instance)| Leaver { member, instance: instance.as_deref() })
        .collect();
    let to = GroupCall::new(call, move |call, answer| respond(call, members, answer));
    shard.ask_groups(|groups, at, out| groups.leave(&group, &leavers, to, at, out));
    Outcome::Parked
}

fn respond(call: &Call, members: Vec<MemberIdentity>, answer: Answer) -> frame::Answer {
    let response = match answer.each() {
        Ok(outcomes) if call.version >= MEMBERS_FROM => {
            let each = members.into_iter().zip(outcomes);
            let members = each.map(|(m, outcome)| {
                msg!(MemberResponse {
                    member_id: m.member_id,
                    group_instance_id: m.group_instance_id,
                    error_code: group_code(outcome),
                })
            });
            msg!(LeaveGroupResponse { members: members.collect() })
        }
        Ok(outcomes) => top(outcomes.into_iter().next().unwrap_or(Ok(()))),
        Err(error) => top(Err(error)),
    };
    call.answer(&response)
}

fn top(outcome: Result<(), GroupError>) -> LeaveGroupResponse {
    msg!(LeaveGroupResponse { error_code: group_code(outcome) })
}
