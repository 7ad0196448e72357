//! RenewDelegationToken (key 39): a token lives longer. Refused, as `create_delegation_token` says.

use crate::api::Outcome;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};

/// Serves the request.
pub fn handle(_: &mut Shard, call: &Call, _: RenewDelegationTokenRequest) -> Outcome {
    let response = msg!(RenewDelegationTokenResponse {
        error_code: ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.0,
        expiry_timestamp_ms: -1,
    });
    Outcome::answer(call, &response)
}
