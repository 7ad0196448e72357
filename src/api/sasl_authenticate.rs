//! SaslAuthenticate (key 36): one step of a client's authentication; too late on a PLAINTEXT
//! listener, as in `sasl_handshake`.

use crate::api::Outcome;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};

/// Serves the request.
pub fn handle(_: &mut Shard, call: &Call, _: SaslAuthenticateRequest) -> Outcome {
    let response = msg!(SaslAuthenticateResponse {
        error_code: ErrorCode::ILLEGAL_SASL_STATE.0,
        error_message: Some("This listener has no SASL: the connection is open as it is.".into()),
    });
    Outcome::answer(call, &response)
}
