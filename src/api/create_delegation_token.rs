//! CreateDelegationToken (key 38): a secret that stands for a login. Nobody has logged in on a
//! PLAINTEXT listener, so there is nothing that a token could stand for.

use crate::api::{Outcome, rights};
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};
use crate::wire::{ErrorCode, StrBytes};

/// First version in which a token can be asked for somebody else, and the answer tells both.
const OWNER_FROM: i16 = 3;

/// Serves the request: refused, with the names of those it would have been for.
pub fn handle(_: &mut Shard, call: &Call, request: CreateDelegationTokenRequest) -> Outcome {
    let (kind, name) = (StrBytes::from(rights::USER), StrBytes::from(rights::ANONYMOUS));
    let mut response = msg!(CreateDelegationTokenResponse {
        error_code: ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.0,
        principal_type: kind.clone(),
        principal_name: name.clone(),
        issue_timestamp_ms: -1,
        expiry_timestamp_ms: -1,
        max_timestamp_ms: -1,
    });
    if call.version >= OWNER_FROM {
        if let Some(owner) = request.owner_principal_name.filter(|owner| !owner.is_empty()) {
            response.principal_type = request.owner_principal_type.unwrap_or_default();
            response.principal_name = owner;
        }
        response.token_requester_principal_type = kind;
        response.token_requester_principal_name = name;
    }
    Outcome::answer(call, &response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;

    #[test]
    fn a_refusal_names_who_asked_and_for_whom() {
        let mut world = World::new(1, "");
        let mut ask = |version, owner: Option<&str>| {
            let mut request = CreateDelegationTokenRequest::default();
            if let Some(owner) = owner {
                request.owner_principal_type = Some("User".into());
                request.owner_principal_name = Some(owner.into());
            }
            let a: CreateDelegationTokenResponse = world.ask(0, version, &request);
            assert_eq!((a.error_code, a.expiry_timestamp_ms), (64, -1));
            (a.principal_name.to_string(), a.token_requester_principal_name.to_string())
        };
        let pair = |owner: &str, requester: &str| (owner.to_owned(), requester.to_owned());
        assert_eq!(ask(2, None), pair("ANONYMOUS", ""));
        assert_eq!(ask(3, None), pair("ANONYMOUS", "ANONYMOUS"));
        assert_eq!(ask(3, Some("")), pair("ANONYMOUS", "ANONYMOUS"));
        assert_eq!(ask(3, Some("alice")), pair("alice", "ANONYMOUS"));
    }
}
