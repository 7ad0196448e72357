//! Incremental fetch sessions.

use klamm::msg;
use klamm::wire::messages::fetch_request::ForgottenTopic;
use klamm::wire::messages::{FetchRequest, FetchResponse};

use super::{broker, name};
use crate::common::wire::{batch, fetch_request};

/// Goes on with a session, asking for nothing new.
fn incremental(session_id: i32, session_epoch: i32) -> FetchRequest {
    msg!(FetchRequest { session_id, session_epoch, max_bytes: 1 << 20 })
}

/// Topics of an answer, and how many bytes each brought.
fn told(answer: &FetchResponse) -> Vec<(&str, usize)> {
    assert_eq!(answer.error_code, 0, "{answer:?}");
    let part = |t: &klamm::wire::messages::fetch_response::FetchableTopicResponse| {
        t.partitions[0].records.as_ref().map_or(0, bytes::Bytes::len)
    };
    answer.responses.iter().map(|t| (t.topic.as_str(), part(t))).collect()
}

#[test]
fn a_session_tells_only_what_is_new_and_goes_on_by_its_epoch() {
    let (_server, mut wire) = broker();
    wire.create("u", 1, &[]);
    let mut open = fetch_request("t", 0, 0);
    open.topics.extend(fetch_request("u", 0, 0).topics);
    open.session_epoch = 0;
    let opened = wire.ask(&open, 12);
    assert_eq!(told(&opened), [("t", 0), ("u", 0)]);
    let id = opened.session_id;
    assert_ne!(id, 0);
    assert_eq!(told(&wire.ask(&incremental(id, 1), 12)), []);
    let records = batch(&["a"]);
    wire.produce("u", 0, records.clone());
    assert_eq!(told(&wire.ask(&incremental(id, 2), 12)), [("u", records.len())]);
    // The client now asks for what follows; that there is nothing is no news.
    let mut next = incremental(id, 3);
    next.topics = fetch_request("u", 0, 1).topics;
    assert_eq!(told(&wire.ask(&next, 12)), []);
    wire.produce("t", 0, records.clone());
    wire.produce("u", 0, records.clone());
    // The one that brought data the last time comes last.
    assert_eq!(
        told(&wire.ask(&incremental(id, 4), 12)),
        [("t", records.len()), ("u", records.len())]
    );
    let mut forget = incremental(id, 5);
    forget.forgotten_topics_data =
        vec![msg!(ForgottenTopic { topic: "u".into(), partitions: vec![0] })];
    assert_eq!(told(&wire.ask(&forget, 12)), [("t", records.len())]);
}

#[test]
fn a_session_that_is_not_there_or_not_at_this_epoch_is_refused_as_a_whole() {
    let (_server, mut wire) = broker();
    let missing = wire.ask(&incremental(123_456, 1), 12);
    assert_eq!(name(missing.error_code), "FETCH_SESSION_ID_NOT_FOUND");
    assert!(missing.responses.is_empty());
    let mut open = fetch_request("t", 0, 0);
    open.session_epoch = 0;
    let id = wire.ask(&open, 12).session_id;
    let ahead = wire.ask(&incremental(id, 2), 12);
    assert_eq!(name(ahead.error_code), "INVALID_FETCH_SESSION_EPOCH");
    assert_eq!(wire.ask(&incremental(id, 1), 12).error_code, 0);
    let by_id = wire.ask(&incremental(id, 2), 13);
    assert_eq!(name(by_id.error_code), "FETCH_SESSION_TOPIC_ID_ERROR");
}

#[test]
fn epoch_minus_1_closes_the_session_and_forgetting_everything_does_too() {
    let (_server, mut wire) = broker();
    let mut open = fetch_request("t", 0, 0);
    open.session_epoch = 0;
    let id = wire.ask(&open, 12).session_id;
    let mut close = fetch_request("t", 0, 0);
    (close.session_id, close.session_epoch) = (id, -1);
    let closed = wire.ask(&close, 12);
    assert_eq!((closed.session_id, told(&closed)), (0, vec![("t", 0)]));
    let gone = wire.ask(&incremental(id, 1), 12);
    assert_eq!(name(gone.error_code), "FETCH_SESSION_ID_NOT_FOUND");
    let id = wire.ask(&open, 12).session_id;
    let mut forget = incremental(id, 1);
    forget.forgotten_topics_data =
        vec![msg!(ForgottenTopic { topic: "t".into(), partitions: vec![0] })];
    assert_eq!(wire.ask(&forget, 12).session_id, 0);
    let gone = wire.ask(&incremental(id, 2), 12);
    assert_eq!(name(gone.error_code), "FETCH_SESSION_ID_NOT_FOUND");
}

#[test]
fn an_error_is_told_again_until_it_is_gone() {
    let (_server, mut wire) = broker();
    let mut open = fetch_request("t", 0, 99);
    open.session_epoch = 0;
    let id = wire.ask(&open, 12).session_id;
    for epoch in 1..3 {
        let answer = wire.ask(&incremental(id, epoch), 12);
        let code = answer.responses[0].partitions[0].error_code;
        assert_eq!(name(code), "OFFSET_OUT_OF_RANGE");
    }
    let mut good = incremental(id, 3);
    good.topics = fetch_request("t", 0, 0).topics;
    assert_eq!(told(&wire.ask(&good, 12)), [("t", 0)]);
    assert_eq!(told(&wire.ask(&incremental(id, 4), 12)), []);
}
