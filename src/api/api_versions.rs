//! ApiVersions (key 18): which APIs and versions this broker speaks, before anything else is asked.
//!
//! Its response header never has tags, whatever the version, because a client that does not know
//! the broker yet must be able to read it (KIP-511). A version that is not known is answered in v0
//! with UNSUPPORTED_VERSION and the one row of this API, so that the client can ask again.

use kafka_wire::api_versions_response::ApiVersion as Row;

use crate::api::Outcome;
use crate::api::table::{API_VERSIONS, APIS, Api};
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::frame::Answer;
use crate::wire::messages::{self as kafka_wire, ApiVersionsRequest, ApiVersionsResponse};
use crate::wire::{ApiVersion, ErrorCode};

/// First version in which clients name themselves (KIP-511).
const NAMED_FROM: i16 = 3;

/// Serves a version that is known.
pub fn handle(_: &mut Shard, call: &Call, request: ApiVersionsRequest) -> Outcome {
    let named = [&request.client_software_name, &request.client_software_version];
    if call.version >= NAMED_FROM && !named.iter().all(|name| is_software_name(name)) {
        return answer(
            call,
            &msg!(ApiVersionsResponse { error_code: ErrorCode::INVALID_REQUEST.0 }),
        );
    }
    answer(call, &msg!(ApiVersionsResponse { api_keys: APIS.iter().map(row).collect() }))
}

/// Answers a version that is not known.
pub fn unsupported(call: &Call) -> Outcome {
    let own = APIS.iter().filter(|api| api.key == API_VERSIONS).map(row).collect();
    let error_code = ErrorCode::UNSUPPORTED_VERSION.0;
    let response = msg!(ApiVersionsResponse { error_code, api_keys: own });
    let v0 = ApiVersion::new(0);
    Outcome::Answer(Answer::with_header(call.correlation_id, false, &response, v0))
}

fn answer(call: &Call, response: &ApiVersionsResponse) -> Outcome {
    let version = ApiVersion::new(call.version);
    Outcome::Answer(Answer::with_header(call.correlation_id, false, response, version))
}

fn row(api: &Api) -> Row {
    msg!(Row { api_key: api.key, min_version: api.advertised_min, max_version: api.max })
}

/// Letters, digits, `-` and `.`, neither at the start nor at the end (KIP-511).
fn is_software_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let outer = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    outer(bytes.first()) && outer(bytes.last()) && bytes.iter().all(|&b| inner(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_words_of_letters_digits_dashes_and_dots() {
        for good in ["librdkafka", "apache-kafka-java", "4.3.1", "x"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "a b", "-x", "x-", ".", "\u{e4}"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
