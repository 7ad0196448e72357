//! DescribeTransactions (key 65): the state of transactional ids. None is known, since there are no
//! transactions; whoever would be its coordinator says so.

use crate::api::Outcome;
use crate::api::find_coordinator::{TRANSACTION, find};
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::describe_transactions_response::TransactionState;
use crate::wire::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use crate::wire::{ErrorCode, StrBytes};

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: DescribeTransactionsRequest) -> Outcome {
    let row = |transactional_id: StrBytes| {
        let error_code = code(shard, &transactional_id).0;
        msg!(TransactionState { transactional_id, error_code })
    };
    let transaction_states = request.transactional_ids.into_iter().map(row).collect();
    Outcome::answer(call, &msg!(DescribeTransactionsResponse { transaction_states }))
}

fn code(shard: &Shard, id: &str) -> ErrorCode {
    match find(shard, TRANSACTION, id) {
        _ if id.is_empty() => ErrorCode::INVALID_REQUEST,
        Ok(node) if node.id == shard.node => ErrorCode::TRANSACTIONAL_ID_NOT_FOUND,
        Ok(_) => ErrorCode::NOT_COORDINATOR,
        Err(code) => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;

    #[test]
    fn an_id_is_unknown_where_it_is_coordinated_and_sent_away_elsewhere() {
        let mut world = World::new(2, "");
        let mut codes = |at| {
            let transactional_ids = ["x", "y", ""].map(StrBytes::from).to_vec();
            let request = msg!(DescribeTransactionsRequest { transactional_ids });
            let answer: DescribeTransactionsResponse = world.ask(at, 0, &request);
            answer.transaction_states.iter().map(|s| s.error_code).collect::<Vec<_>>()
        };
        assert_eq!(codes(0), [105, 16, 42]);
        assert_eq!(codes(1), [16, 105, 42]);
    }
}
