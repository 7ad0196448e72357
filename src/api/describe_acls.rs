//! DescribeAcls (key 29): who may do what. Without an authorizer there are no rules to tell.

use crate::api::{Outcome, rights};
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::{DescribeAclsRequest, DescribeAclsResponse};

/// Serves the request, whatever it filters by.
pub fn handle(_: &mut Shard, call: &Call, _: DescribeAclsRequest) -> Outcome {
    let response = msg!(DescribeAclsResponse {
        error_code: ErrorCode::SECURITY_DISABLED.0,
        error_message: Some(rights::NO_AUTHORIZER.into()),
    });
    Outcome::answer(call, &response)
}
