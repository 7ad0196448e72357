//! DescribeUserScramCredentials (key 50): which users have a SCRAM password. Nobody has.

use std::collections::BTreeMap;

use crate::api::Outcome;
use crate::api::change::clipped;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult as Row;
use crate::wire::messages::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};

/// Serves the request; a null list asks for all, and so does an empty one.
pub fn handle(_: &mut Shard, call: &Call, request: DescribeUserScramCredentialsRequest) -> Outcome {
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    for user in request.users.iter().flatten() {
        *users.entry(&*user.name).or_default() += 1;
    }
    let rows = users.iter().map(|(&name, &times)| {
        let (code, text) = if times > 1 {
            (ErrorCode::DUPLICATE_RESOURCE, format!("The request names the user {name} twice."))
        } else {
            (ErrorCode::RESOURCE_NOT_FOUND, format!("The user {name} has no SCRAM credential."))
        };
        msg!(Row { user: name.into(), error_code: code.0, error_message: Some(clipped(&text)) })
    });
    let response = msg!(DescribeUserScramCredentialsResponse {
        error_message: Some("".into()),
        results: rows.collect(),
    });
    Outcome::answer(call, &response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;
    use crate::wire::messages::describe_user_scram_credentials_request::UserName;

    #[test]
    fn a_user_has_no_credential_and_is_named_once() {
        let mut world = World::new(1, "");
        let mut ask = |names: Option<&[&str]>| {
            let name = |n: &&str| msg!(UserName { name: (*n).into() });
            let users = names.map(|names| names.iter().map(name).collect());
            let request = msg!(DescribeUserScramCredentialsRequest { users });
            let answer: DescribeUserScramCredentialsResponse = world.ask(0, 0, &request);
            assert_eq!(answer.error_code, 0);
            let rows = answer.results.into_iter();
            rows.map(|r| (r.user.to_string(), r.error_code)).collect::<Vec<_>>()
        };
        assert_eq!(ask(None), []);
        assert_eq!(ask(Some(&[])), []);
        let rows = [("a".to_owned(), 91), ("b".to_owned(), 92)];
        assert_eq!(ask(Some(&["b", "a", "b"])), rows);
    }
}
