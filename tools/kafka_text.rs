//! Errors in the words of Kafka's tools, which scripts look for.

use klamm::client::ClientError;
use klamm::wire::ErrorCode;

/// What Kafka's client says of a code when the broker gave no words of its own.
fn default_message(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => "This server does not host this topic-partition.",
        ErrorCode::UNKNOWN_SERVER_ERROR => {
            "The server experienced an unexpected error when processing the request."
        }
        ErrorCode::OFFSET_OUT_OF_RANGE => {
            "The requested offset is not within the range of offsets maintained by the server."
        }
        ErrorCode::INVALID_GROUP_ID => "The group id is invalid.",
        ErrorCode::GROUP_ID_NOT_FOUND => "The group id does not exist.",
        ErrorCode::NON_EMPTY_GROUP => "The group is not empty.",
        ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC => {
            "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it."
        }
        ErrorCode::COORDINATOR_NOT_AVAILABLE => "The coordinator is not available.",
        ErrorCode::NOT_COORDINATOR => "This is not the correct coordinator.",
        ErrorCode::UNKNOWN_MEMBER_ID => "The coordinator is not aware of this member.",
        ErrorCode::REQUEST_TIMED_OUT => "The request timed out.",
        _ => return None,
    })
}

/// The message that Kafka's client would show for an error.
pub(crate) fn message(error: &ClientError) -> String {
    match error {
        ClientError::Refused { code, message, .. } => of_code(*code, message.as_deref()),
        other => other.to_string(),
    }
}

/// The message of a code, from the broker or by default.
pub(crate) fn of_code(code: ErrorCode, message: Option<&str>) -> String {
    let given = message.filter(|m| !m.is_empty());
    given.or_else(|| default_message(code)).map_or_else(|| code.to_string(), str::to_owned)
}

/// A code as Java prints its exception: class and message.
pub(crate) fn exception(code: ErrorCode, message: Option<&str>) -> String {
    format!("org.apache.kafka.common.errors.{}: {}", class(code), of_code(code, message))
}

/// An error as Java prints its exception, where a broker refused; else in our own words.
pub(crate) fn exception_of(error: &ClientError) -> String {
    match error {
        ClientError::Refused { code, message, .. } => exception(*code, message.as_deref()),
        other => other.to_string(),
    }
}

/// An error as Java prints one that came out of a future.
pub(crate) fn execution_exception(error: &ClientError) -> String {
    match error {
        ClientError::Refused { code, message: Some(words), .. } => format!(
            "java.util.concurrent.ExecutionException: org.apache.kafka.common.errors.{}: {words}",
            class(*code)
        ),
        ClientError::Refused { .. } => {
            format!("java.util.concurrent.ExecutionException: {}", exception_of(error))
        }
        ClientError::Unsupported { api, .. } => format!(
            "java.util.concurrent.ExecutionException: \
             org.apache.kafka.common.errors.UnsupportedVersionException: The node does not support {}",
            upper_snake(api)
        ),
        other => other.to_string(),
    }
}

/// The name of an API as Kafka's client prints it: `ListOffsets` is `LIST_OFFSETS`.
fn upper_snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

/// Kafka's exception class of a code: mostly its name in camel case.
fn class(code: ErrorCode) -> String {
    match code {
        ErrorCode::NON_EMPTY_GROUP => return "GroupNotEmptyException".to_owned(),
        ErrorCode::REQUEST_TIMED_OUT => return "TimeoutException".to_owned(),
        ErrorCode::TOPIC_ALREADY_EXISTS => return "TopicExistsException".to_owned(),
        ErrorCode::INVALID_CONFIG => return "InvalidConfigurationException".to_owned(),
        _ => {}
    }
    let name = code.name();
    let name = name.strip_suffix("_EXCEPTION").or_else(|| name.strip_suffix("_FAILED"));
    let words = name.unwrap_or(code.name()).split('_');
    let camel = words.map(|word| word[..1].to_owned() + &word[1..].to_ascii_lowercase());
    camel.collect::<String>() + "Exception"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_as_javas_exceptions() {
        let text = |code| exception(code, None);
        let prefix = "org.apache.kafka.common.errors.";
        assert_eq!(
            text(ErrorCode::NON_EMPTY_GROUP),
            format!("{prefix}GroupNotEmptyException: The group is not empty.")
        );
        assert_eq!(
            text(ErrorCode::GROUP_ID_NOT_FOUND),
            format!("{prefix}GroupIdNotFoundException: The group id does not exist.")
        );
        assert_eq!(
            exception(ErrorCode::GROUP_AUTHORIZATION_FAILED, Some("no")),
            format!("{prefix}GroupAuthorizationException: no")
        );
    }

    #[test]
    fn an_api_that_is_not_offered_is_named_as_by_kafkas_client() {
        let theirs = "does not offer it".to_owned();
        let e =
            ClientError::Unsupported { api: "AlterClientQuotas", ours_min: 0, ours_max: 1, theirs };
        let wants = "java.util.concurrent.ExecutionException: \
                     org.apache.kafka.common.errors.UnsupportedVersionException: The node does not \
                     support ALTER_CLIENT_QUOTAS";
        assert_eq!(execution_exception(&e), wants);
    }
}
