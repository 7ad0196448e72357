//! JoinGroup (key 11): a member joins a group, and is answered when the group has a new generation.
//!
//! | from | |
//! |---|---|
//! | v1 | has a rebalance timeout of its own; before, it is the session timeout |
//! | v4 | a new dynamic member is told its id first (KIP-394) |
//! | v5 | static members (KIP-345) |
//! | v7 | an answer names the protocol type, and no protocol is null |
//! | v9 | a leader can be told to skip the assignment |

use std::net::IpAddr;

use crate::api::Outcome;
use crate::coordinator::{Answer, Join, Joined};
use crate::msg;
use crate::shard::{Call, GroupCall, Shard};
use crate::wire::frame;
use crate::wire::messages::join_group_response::JoinGroupResponseMember;
use crate::wire::messages::{JoinGroupRequest, JoinGroupResponse};
use crate::wire::{ErrorCode, StrBytes};

const REBALANCE_TIMEOUT_FROM: i16 = 1;
const MEMBER_ID_REQUIRED_FROM: i16 = 4;
const NULL_PROTOCOL_FROM: i16 = 7;
const SKIP_ASSIGNMENT_FROM: i16 = 9;

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: JoinGroupRequest) -> Outcome {
    let host = client_host(call.peer);
    let join = Join {
        group: &request.group_id,
        member: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        client_id: &call.client_id,
        client_host: &host,
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if call.version < REBALANCE_TIMEOUT_FROM {
            request.session_timeout_ms
        } else {
            request.rebalance_timeout_ms
        },
        protocol_type: &request.protocol_type,
        protocols: request.protocols.iter().map(|p| (&*p.name, &*p.metadata)).collect(),
        member_id_required: call.version >= MEMBER_ID_REQUIRED_FROM,
        can_skip_assignment: call.version >= SKIP_ASSIGNMENT_FROM,
    };
    let to = GroupCall::new(call, respond);
    shard.ask_groups(|groups, at, out| groups.join(&join, to, at, out));
    Outcome::Parked
}

/// How Kafka writes a client's address down: Java's text of it, with a slash before.
fn client_host(peer: IpAddr) -> String {
    match peer.to_canonical() {
        IpAddr::V4(v4) => format!("/{v4}"),
        IpAddr::V6(v6) => {
            let segments = v6.segments().map(|segment| format!("{segment:x}"));
            format!("/{}", segments.join(":"))
        }
    }
}

fn respond(call: &Call, answer: Answer) -> frame::Answer {
    let (member, joined) = answer.join();
    let member_id = StrBytes::from(&*member);
    let response = match joined {
        Ok(joined) => success(member_id, joined),
        Err(error) => {
            let no_protocol = (call.version < NULL_PROTOCOL_FROM).then(StrBytes::default);
            msg!(JoinGroupResponse {
                error_code: ErrorCode::from(error).0,
                generation_id: -1,
                protocol_name: no_protocol,
                member_id,
            })
        }
    };
    call.answer(&response)
}

fn success(member_id: StrBytes, joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|m| {
        msg!(JoinGroupResponseMember {
            member_id: StrBytes::from(&*m.member),
            group_instance_id: m.instance.as_deref().map(StrBytes::from),
            metadata: m.metadata,
        })
    });
    msg!(JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.as_deref().map(StrBytes::from),
        protocol_name: Some(StrBytes::from(joined.protocol.as_deref().unwrap_or_default())),
        leader: StrBytes::from(&*joined.leader),
        skip_assignment: joined.skip_assignment,
        member_id,
        members: members.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_host_is_written_as_java_does() {
        let host = |text: &str| client_host(text.parse().unwrap());
        assert_eq!(host("127.0.0.1"), "/127.0.0.1");
        assert_eq!(host("::ffff:10.0.0.1"), "/10.0.0.1");
        assert_eq!(host("::1"), "/0:0:0:0:0:0:0:1");
    }
}
