//! DeleteTopics (key 20): by name, or from version 6 by id as well.

use kafka_wire::delete_topics_response::DeletableTopicResult;

use crate::api::Outcome;
use crate::api::change::{Refused, Result, decide, error_of, settle};
use crate::controller::TopicRef;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::{self as kafka_wire, DeleteTopicsRequest, DeleteTopicsResponse};
use crate::wire::{ErrorCode, StrBytes};

/// First version that names topics by id.
const TOPIC_ID_FROM: i16 = 6;
/// First version that knows TOPIC_DELETION_DISABLED.
const DISABLED_FROM: i16 = 3;

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: DeleteTopicsRequest) -> Outcome {
    let topics = if call.version >= TOPIC_ID_FROM {
        let topic = |name: Option<StrBytes>| name.map(|n| n.to_string());
        let states = request.topics.into_iter();
        states.map(|t| TopicRef { name: topic(t.name), id: t.topic_id.into() }).collect()
    } else {
        let list = request.topic_names.into_iter();
        let named = |n: StrBytes| TopicRef { name: Some(n.to_string()), ..TopicRef::default() };
        list.map(named).collect()
    };
    let (records, results) = decide(shard, |c| c.delete_topics(topics));
    let version = call.version;
    let refused = |e| {
        let mut refused = Refused::from(e);
        if refused.code == ErrorCode::TOPIC_DELETION_DISABLED && version < DISABLED_FROM {
            refused.code = ErrorCode::INVALID_REQUEST;
        }
        refused
    };
    let results = results.into_iter().map(|(topic, r)| (topic, r.map_err(refused))).collect();
    settle(shard, call, &records, results, |results| {
        msg!(DeleteTopicsResponse { responses: results.iter().map(row).collect() })
    })
}

fn row((topic, result): &(TopicRef, Result<()>)) -> DeletableTopicResult {
    let (error_code, error_message) = error_of(result);
    let (name, topic_id) = (topic.name.as_deref().map(Into::into), topic.id.into());
    msg!(DeletableTopicResult { name, topic_id, error_code, error_message })
}
