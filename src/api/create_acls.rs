//! CreateAcls (key 30): new rules. Without an authorizer each of them is refused.

use crate::api::{Outcome, rights};
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::create_acls_response::AclCreationResult;
use crate::wire::messages::{CreateAclsRequest, CreateAclsResponse};

/// Serves the request.
pub fn handle(_: &mut Shard, call: &Call, request: CreateAclsRequest) -> Outcome {
    let refused = msg!(AclCreationResult {
        error_code: ErrorCode::SECURITY_DISABLED.0,
        error_message: Some(rights::NO_AUTHORIZER.into()),
    });
    let results = vec![refused; request.creations.len()];
    Outcome::answer(call, &msg!(CreateAclsResponse { results }))
}
