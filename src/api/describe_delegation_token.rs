//! DescribeDelegationToken (key 41): the tokens of some owners. Refused, as
//! `create_delegation_token` says.

use crate::api::Outcome;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse};

/// Serves the request.
pub fn handle(_: &mut Shard, call: &Call, _: DescribeDelegationTokenRequest) -> Outcome {
    let error_code = ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.0;
    Outcome::answer(call, &msg!(DescribeDelegationTokenResponse { error_code }))
}
