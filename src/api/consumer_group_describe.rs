//! ConsumerGroupDescribe (key 69): groups of the newer protocol (KIP-848). All groups here are
//! classic, so each is not found, and clients go on to ask DescribeGroups.

use crate::api::Outcome;
use crate::api::change::clipped;
use crate::coordinator::GroupError;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::consumer_group_describe_response::DescribedGroup;
use crate::wire::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use crate::wire::{ErrorCode, StrBytes};

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: ConsumerGroupDescribeRequest) -> Outcome {
    let groups = request.group_ids.into_iter().map(|id| describe(shard, id)).collect();
    Outcome::answer(call, &msg!(ConsumerGroupDescribeResponse { groups }))
}

fn describe(shard: &Shard, group_id: StrBytes) -> DescribedGroup {
    let (error, message) = match shard.groups.describe(&group_id) {
        _ if group_id.is_empty() => (GroupError::InvalidGroupId, None),
        Ok(_) => {
            let text = format!("Group {} is not a consumer group.", &*group_id);
            (GroupError::GroupIdNotFound, Some(text))
        }
        Err(GroupError::GroupIdNotFound) => {
            (GroupError::GroupIdNotFound, Some(format!("Group {} not found.", &*group_id)))
        }
        Err(error) => (error, None),
    };
    msg!(DescribedGroup {
        group_id,
        error_code: ErrorCode::from(error).0,
        error_message: message.as_deref().map(clipped),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;
    use crate::wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

    fn codes(world: &mut World, at: u16) -> Vec<i16> {
        let group_ids = ["a", "b", ""].map(StrBytes::from).to_vec();
        let request = msg!(ConsumerGroupDescribeRequest { group_ids });
        let answer: ConsumerGroupDescribeResponse = world.ask(at, 1, &request);
        answer.groups.iter().map(|g| g.error_code).collect()
    }

    #[test]
    fn no_group_is_of_the_newer_protocol_where_it_is_coordinated() {
        let mut world = World::new(2, "");
        assert_eq!(codes(&mut world, 0), [16, 16, 24]);
        let request = msg!(FindCoordinatorRequest { coordinator_keys: vec!["a".into()] });
        let _: FindCoordinatorResponse = world.ask(0, 4, &request);
        assert_eq!(codes(&mut world, 0), [16, 69, 24]);
        assert_eq!(codes(&mut world, 1), [69, 16, 24]);
    }
}
