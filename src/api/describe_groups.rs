//! DescribeGroups (key 15): state, protocol and members of groups.
//!
//! A group that is not known is described as dead; from v6 it is an error as well.

use crate::api::Outcome;
use crate::api::change::clipped;
use crate::coordinator::{Described, DescribedMember, GroupError};
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use crate::wire::messages::{DescribeGroupsRequest, DescribeGroupsResponse};
use crate::wire::{ErrorCode, StrBytes};

const NOT_FOUND_FROM: i16 = 6;
const DEAD: &str = "Dead";
/// Read, Delete, Describe, DescribeConfigs, AlterConfigs: all that can be done to a group, as bits.
const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: DescribeGroupsRequest) -> Outcome {
    let operations = request.include_authorized_operations.then_some(ALL_OPERATIONS);
    let groups = request.groups.into_iter().map(|group_id| {
        let mut group = match shard.groups.describe(&group_id) {
            Ok(described) => success(described),
            Err(GroupError::GroupIdNotFound) if call.version < NOT_FOUND_FROM => {
                msg!(DescribedGroup { group_state: StrBytes::from(DEAD) })
            }
            Err(error) => failure(&group_id, error),
        };
        if let (Some(operations), 0) = (operations, group.error_code) {
            group.authorized_operations = operations;
        }
        group.group_id = group_id;
        group
    });
    let response = msg!(DescribeGroupsResponse { groups: groups.collect() });
    Outcome::answer(call, &response)
}

fn failure(group_id: &str, error: GroupError) -> DescribedGroup {
    let not_found = error == GroupError::GroupIdNotFound;
    msg!(DescribedGroup {
        error_code: ErrorCode::from(error).0,
        error_message: not_found.then(|| clipped(&format!("Group {group_id} not found."))),
        group_state: StrBytes::from(if not_found { DEAD } else { "" }),
    })
}

fn success(group: Described) -> DescribedGroup {
    let member = |m: DescribedMember| {
        msg!(DescribedGroupMember {
            member_id: StrBytes::from(&*m.member),
            group_instance_id: m.instance.as_deref().map(StrBytes::from),
            client_id: StrBytes::from(&*m.client_id),
            client_host: StrBytes::from(&*m.client_host),
            member_metadata: m.metadata,
            member_assignment: m.assignment,
        })
    };
    msg!(DescribedGroup {
        group_state: StrBytes::from(group.state),
        protocol_type: StrBytes::from(&*group.protocol_type),
        protocol_data: StrBytes::from(&*group.protocol),
        members: group.members.into_iter().map(member).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;
    use crate::wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

    #[test]
    fn a_group_that_is_not_there_is_dead_and_from_v6_an_error_in_kafkas_words() {
        let mut world = World::new(1, "");
        let find = msg!(FindCoordinatorRequest { coordinator_keys: vec!["a".into()] });
        let _: FindCoordinatorResponse = world.ask(0, 4, &find);
        let request = msg!(DescribeGroupsRequest { groups: vec!["a".into()] });
        for (version, code, message) in [(5, 0, None), (6, 69, Some("Group a not found."))] {
            let answer: DescribeGroupsResponse = world.ask(0, version, &request);
            let group = &answer.groups[0];
            assert_eq!((group.error_code, group.error_message.as_deref()), (code, message));
            assert_eq!(&*group.group_state, DEAD);
        }
    }
}
