//! ListGroups (key 16): the groups that this node coordinates, by state (v4) and type (v5).

use crate::api::Outcome;
use crate::coordinator::Listed;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::list_groups_response::ListedGroup;
use crate::wire::messages::{ListGroupsRequest, ListGroupsResponse};
use crate::wire::{ErrorCode, StrBytes};

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: ListGroupsRequest) -> Outcome {
    let states: Vec<_> = request.states_filter.iter().map(|s| &**s).collect();
    let types: Vec<_> = request.types_filter.iter().map(|t| &**t).collect();
    let row = |g: Listed| {
        msg!(ListedGroup {
            group_id: StrBytes::from(&*g.group),
            protocol_type: StrBytes::from(&*g.protocol_type),
            group_state: StrBytes::from(g.state),
            group_type: StrBytes::from(g.group_type),
        })
    };
    let response = match shard.groups.list(&states, &types) {
        Ok(groups) => msg!(ListGroupsResponse { groups: groups.into_iter().map(row).collect() }),
        Err(error) => msg!(ListGroupsResponse { error_code: ErrorCode::from(error).0 }),
    };
    Outcome::answer(call, &response)
}
