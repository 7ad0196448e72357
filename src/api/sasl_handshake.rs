//! SaslHandshake (key 17): the mechanism that a client wants to authenticate with.
//!
//! Listeners are PLAINTEXT: every connection counts as authenticated from its start, so the
//! handshake comes too late. The connection goes on.

use crate::api::Outcome;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::{SaslHandshakeRequest, SaslHandshakeResponse};

/// Serves the request.
pub fn handle(_: &mut Shard, call: &Call, _: SaslHandshakeRequest) -> Outcome {
    let error_code = ErrorCode::ILLEGAL_SASL_STATE.0;
    Outcome::answer(call, &msg!(SaslHandshakeResponse { error_code }))
}
