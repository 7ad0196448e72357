//! ListGroups (key 16): the groups that this node coordinates, by state (v4) and type (v5).

use crate::api::Outcome;
use crate::api::pieces::survey;
use crate::coordinator::{GroupError, Listed, Listing};
use crate::msg;
use crate::shard::survey::{SLICE, Survey};
use crate::shard::{Call, Shard};
use crate::wire::frame::Answer;
use crate::wire::messages::list_groups_response::ListedGroup;
use crate::wire::messages::{ListGroupsRequest, ListGroupsResponse};
use crate::wire::{ErrorCode, StrBytes};

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: ListGroupsRequest) -> Outcome {
    survey(shard, call, Ok(Listing::new(&request.states_filter, &request.types_filter)))
}

/// The groups, or why they cannot be told.
impl Survey for Result<Listing, GroupError> {
    fn look(&mut self, shard: &Shard) -> bool {
        let Ok(listing) = self else { return true };
        shard.groups.list(listing, SLICE).unwrap_or_else(|error| {
            *self = Err(error);
            true
        })
    }

    fn answer(self: Box<Self>, call: &Call) -> Answer {
        let row = |g: Listed| {
            msg!(ListedGroup {
                group_id: StrBytes::from(&*g.group),
                protocol_type: StrBytes::from(&*g.protocol_type),
                group_state: StrBytes::from(g.state),
                group_type: StrBytes::from(g.group_type),
            })
        };
        let response = match *self {
            Ok(Listing { mut found, .. }) => {
                found.sort_unstable_by(|a, b| a.group.cmp(&b.group));
                msg!(ListGroupsResponse { groups: found.into_iter().map(row).collect() })
            }
            Err(error) => msg!(ListGroupsResponse { error_code: ErrorCode::from(error).0 }),
        };
        call.answer(&response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;
    use crate::wire::messages::offset_commit_request::{
        OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    };
    use crate::wire::messages::{
        FindCoordinatorRequest, FindCoordinatorResponse, OffsetCommitRequest, OffsetCommitResponse,
    };

    #[test]
    fn more_groups_than_a_turn_looks_at_are_listed_whole_and_in_order() {
        let mut world = World::new(1, "offsets.topic.num.partitions=3");
        world.create("t", &[0]);
        // The first question makes the topic of all groups.
        let ask = msg!(FindCoordinatorRequest { key: "g".into() });
        let _: FindCoordinatorResponse = world.ask(0, 0, &ask);
        let names: Vec<String> = (0..SLICE + 20).map(|i| format!("g{i:03}")).collect();
        for name in names.iter().rev() {
            let partitions = vec![OffsetCommitRequestPartition::default()];
            let topics = vec![msg!(OffsetCommitRequestTopic { name: "t".into(), partitions })];
            let request = msg!(OffsetCommitRequest {
                group_id: name.as_str().into(),
                generation_id_or_member_epoch: -1,
                topics,
            });
            let _: OffsetCommitResponse = world.ask(0, 8, &request);
        }
        let mut list = |state: &str, kind: &str| {
            let only = |name: &str| vec![StrBytes::from(name); usize::from(!name.is_empty())];
            let (states_filter, types_filter) = (only(state), only(kind));
            let request = msg!(ListGroupsRequest { states_filter, types_filter });
            let answer: ListGroupsResponse = world.ask(0, 5, &request);
            answer.groups.iter().map(|g| g.group_id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(list("", ""), names);
        assert_eq!(list("eMPTY", "CLASSIC"), names);
        assert!(list("stable", "").is_empty() && list("", "consumer").is_empty());
    }
}
