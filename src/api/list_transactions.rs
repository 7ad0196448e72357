//! ListTransactions (key 66): the transactions that this node coordinates. There are none, but a
//! filter that is not understood is told.

use std::collections::BTreeSet;

use regex::bytes::RegexBuilder;

use crate::api::Outcome;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::{ListTransactionsRequest, ListTransactionsResponse};
use crate::wire::{ErrorCode, StrBytes};

/// What Kafka calls the states of a transaction.
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];
/// What a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Serves the request.
pub fn handle(_: &mut Shard, call: &Call, request: ListTransactionsRequest) -> Outcome {
    if !request.transactional_id_pattern.is_none_or(|p| is_pattern(&p)) {
        let error_code = ErrorCode::INVALID_REGULAR_EXPRESSION.0;
        return Outcome::answer(call, &msg!(ListTransactionsResponse { error_code }));
    }
    let unknown = request.state_filters.iter().map(|s| &**s).filter(|s| !STATES.contains(s));
    let unknown: BTreeSet<&str> = unknown.collect();
    let unknown_state_filters = unknown.into_iter().map(StrBytes::from).collect();
    Outcome::answer(call, &msg!(ListTransactionsResponse { unknown_state_filters }))
}

fn is_pattern(text: &str) -> bool {
    RegexBuilder::new(text).unicode(false).size_limit(PATTERN_BYTES_MAX).build().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;

    #[test]
    fn filters_that_are_not_understood_are_told() {
        let mut world = World::new(1, "");
        let mut ask = |states: &[&str], pattern: Option<&str>| {
            let request = msg!(ListTransactionsRequest {
                state_filters: states.iter().map(|s| (*s).into()).collect(),
                transactional_id_pattern: pattern.map(Into::into),
            });
            let answer: ListTransactionsResponse = world.ask(0, 2, &request);
            let unknown = answer.unknown_state_filters.into_iter();
            (answer.error_code, unknown.map(|s| s.to_string()).collect::<Vec<_>>().join(","))
        };
        assert_eq!(ask(&["Ongoing", "z", "a", "z"], Some("")), (0, "a,z".to_owned()));
        assert_eq!(ask(&[], Some("\\d+.*|[a-c]{3}")), (0, String::new()));
        for bad in ["([", "(?:(?:\\w{99}){99}){99}"] {
            assert_eq!(ask(&["z"], Some(bad)), (128, String::new()), "{bad}");
        }
    }
}
