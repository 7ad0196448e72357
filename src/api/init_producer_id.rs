//! InitProducerId (key 22): an id for an idempotent producer, given out once and never again.
//!
//! Ids come from blocks that the metadata log reserves. Transactions do not exist yet, so a
//! transactional producer is refused, with a code that clients do not try again.

use crate::api::Outcome;
use crate::api::change::{Refused, Result, settle};
use crate::controller::next_producer_id;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::{InitProducerIdRequest, InitProducerIdResponse};

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: InitProducerIdRequest) -> Outcome {
    let half_known = (request.producer_id == -1) != (request.producer_epoch == -1);
    let code = match request.transactional_id.as_deref() {
        Some("") => Some(ErrorCode::INVALID_REQUEST),
        Some(_) => Some(ErrorCode::UNSUPPORTED_VERSION),
        None if half_known => Some(ErrorCode::INVALID_REQUEST),
        None => None,
    };
    if let Some(code) = code {
        return Outcome::answer(call, &response(&Err(Refused { code, message: None })));
    }
    let (latest, applied) = (shard.latest().clone(), shard.image.clone());
    let Some(publisher) = &mut shard.publisher else {
        let code = ErrorCode::COORDINATOR_NOT_AVAILABLE;
        return Outcome::answer(call, &response(&Err(Refused { code, message: None })));
    };
    let (records, id) = next_producer_id(&latest, &applied, &mut publisher.producer_ids);
    settle(shard, call, &records, vec![((), Ok(id))], |results| response(&results[0].1))
}

fn response(result: &Result<i64>) -> InitProducerIdResponse {
    match result {
        Ok(id) => msg!(InitProducerIdResponse { producer_id: *id, producer_epoch: 0 }),
        Err(refused) => msg!(InitProducerIdResponse {
            error_code: refused.code.0,
            producer_id: -1,
            producer_epoch: -1,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;

    #[test]
    fn no_two_producers_get_one_id_on_whichever_node_they_ask() {
        let mut world = World::new(2, "");
        let mut ask = |at, id: Option<&str>| -> InitProducerIdResponse {
            let request = msg!(InitProducerIdRequest { transactional_id: id.map(Into::into) });
            world.ask(at, 4, &request)
        };
        let ids: Vec<_> = (0..4).map(|at| ask(at % 2, None).producer_id).collect();
        assert_eq!(ids, [0, 1, 2, 3]);
        assert_eq!(ask(1, Some("")).error_code, ErrorCode::INVALID_REQUEST.0);
        assert_eq!(ask(1, Some("t")).error_code, ErrorCode::UNSUPPORTED_VERSION.0);
    }
}
