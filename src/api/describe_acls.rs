//! DescribeAcls (key 29): who may do what. Without an authorizer there are no rules to tell.

use crate::api::Outcome;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::{DescribeAclsRequest, DescribeAclsResponse};

/// Serves the request, whatever it filters by.
pub fn handle(_: &mut Shard, call: &Call, _: DescribeAclsRequest) -> Outcome {
    let response = msg!(DescribeAclsResponse {
        error_code: ErrorCode::SECURITY_DISABLED.0,
        error_message: Some("No Authorizer is configured on the broker".into()),
    });
    Outcome::answer(call, &response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;

    #[test]
    fn the_refusal_is_in_kafkas_words() {
        let answer: DescribeAclsResponse =
            World::new(1, "").ask(0, 3, &DescribeAclsRequest::default());
        assert_eq!(answer.error_code, 54);
        let message = answer.error_message.as_deref();
        assert_eq!(message, Some("No Authorizer is configured on the broker"));
    }
}
