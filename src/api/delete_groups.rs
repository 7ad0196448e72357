//! DeleteGroups (key 42): groups without members go, with all their offsets.

use crate::api::Outcome;
use crate::api::error::group_code_at;
use crate::base::DetSet;
use crate::coordinator::Answer;
use crate::msg;
use crate::shard::{Call, GroupCall, Shard};
use crate::wire::StrBytes;
use crate::wire::frame;
use crate::wire::messages::delete_groups_response::DeletableGroupResult;
use crate::wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: DeleteGroupsRequest) -> Outcome {
    // A name that comes twice is answered once.
    let (mut seen, mut names) = (DetSet::default(), request.groups_names);
    names.retain(|name| seen.insert(name.clone()));
    let asked = names.clone();
    let groups: Vec<_> = asked.iter().map(|name| &**name).collect();
    let to = GroupCall::new(call, move |call, answer| respond(call, names, answer));
    shard.ask_groups(|coordinator, at, out| coordinator.delete_groups(&groups, to, at, out));
    Outcome::Parked
}

fn respond(call: &Call, names: Vec<StrBytes>, answer: Answer) -> frame::Answer {
    let outcomes = answer.each();
    let results = names.into_iter().enumerate().map(|(place, group_id)| {
        let error_code = group_code_at(&outcomes, place);
        msg!(DeletableGroupResult { group_id, error_code })
    });
    call.answer(&msg!(DeleteGroupsResponse { results: results.collect() }))
}
