//! DescribeClientQuotas (key 48): the quotas of users, clients and addresses. None can be set, but
//! a filter that makes no sense is an error as it would be with quotas.

use std::collections::BTreeSet;

use crate::api::Outcome;
use crate::api::change::Refused;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::describe_client_quotas_request::ComponentData;
use crate::wire::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";
/// Match types: a name, the default entity, any name.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

/// Serves the request.
pub fn handle(_: &mut Shard, call: &Call, request: DescribeClientQuotasRequest) -> Outcome {
    let response = match check(&request.components) {
        Ok(()) => msg!(DescribeClientQuotasResponse {
            error_message: Some("".into()),
            entries: Some(Vec::new()),
        }),
        Err(refused) => msg!(DescribeClientQuotasResponse {
            error_code: refused.code.0,
            error_message: refused.message,
            entries: None,
        }),
    };
    Outcome::answer(call, &response)
}

/// Whether the filter can match an entity at all.
fn check(components: &[ComponentData]) -> Result<(), Refused> {
    let invalid = |text: &str| Err(Refused::new(ErrorCode::INVALID_REQUEST, text));
    let mut types = BTreeSet::new();
    for component in components {
        let kind = &*component.entity_type;
        if kind.is_empty() {
            return invalid("Invalid empty entity type.");
        }
        if !types.insert(kind) {
            return invalid(&format!(
                "Entity type {kind} cannot appear more than once in the filter."
            ));
        }
        if ![USER, CLIENT_ID, IP].contains(&kind) {
            let text = format!("Unsupported entity type {kind}");
            return Err(Refused::new(ErrorCode::UNSUPPORTED_VERSION, &text));
        }
        match (component.match_type, component.match_.is_some()) {
            (EXACT, true) | (DEFAULT | SPECIFIED, false) => {}
            (EXACT, false) => return invalid("An exact match needs a name."),
            (DEFAULT | SPECIFIED, true) => return invalid("Only an exact match has a name."),
            (other, _) => return invalid(&format!("Unknown match type {other}")),
        }
    }
    if types.contains(IP) && types.len() > 1 {
        return invalid("An address cannot be filtered by together with a user or a client.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_refused_when_no_entity_could_match_it() {
        let code = |components: &[(&str, i8, Option<&str>)]| {
            let component = |&(kind, match_type, name): &(&str, i8, Option<&str>)| {
                msg!(ComponentData {
                    entity_type: kind.into(),
                    match_type,
                    match_: name.map(Into::into),
                })
            };
            let components: Vec<_> = components.iter().map(component).collect();
            check(&components).err().map_or(0, |refused| refused.code.0)
        };
        for good in [
            &[][..],
            &[(USER, EXACT, Some("a")), (CLIENT_ID, DEFAULT, None)],
            &[(IP, SPECIFIED, None)],
        ] {
            assert_eq!(code(good), 0, "{good:?}");
        }
        for bad in [
            &[("", EXACT, Some("a"))][..],
            &[(USER, EXACT, None)],
            &[(USER, DEFAULT, Some("a"))],
            &[(USER, SPECIFIED, Some("a"))],
            &[(USER, 7, None)],
            &[(USER, DEFAULT, None), (USER, DEFAULT, None)],
            &[(USER, DEFAULT, None), (IP, DEFAULT, None)],
        ] {
            assert_eq!(code(bad), ErrorCode::INVALID_REQUEST.0, "{bad:?}");
        }
        assert_eq!(code(&[("group", SPECIFIED, None)]), ErrorCode::UNSUPPORTED_VERSION.0);
    }
}
