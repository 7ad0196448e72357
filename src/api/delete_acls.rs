//! DeleteAcls (key 31): rules that match a filter go. Without an authorizer each filter is refused.

use crate::api::{Outcome, rights};
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::delete_acls_response::DeleteAclsFilterResult;
use crate::wire::messages::{DeleteAclsRequest, DeleteAclsResponse};

/// Serves the request.
pub fn handle(_: &mut Shard, call: &Call, request: DeleteAclsRequest) -> Outcome {
    let refused = msg!(DeleteAclsFilterResult {
        error_code: ErrorCode::SECURITY_DISABLED.0,
        error_message: Some(rights::NO_AUTHORIZER.into()),
    });
    let filter_results = vec![refused; request.filters.len()];
    Outcome::answer(call, &msg!(DeleteAclsResponse { filter_results }))
}
