//! Metadata, topic names, automatic creation, coordinators, and ApiVersions.

use klamm::msg;
use klamm::wire::messages::metadata_request::MetadataRequestTopic;
use klamm::wire::messages::metadata_response::MetadataResponseTopic;
use klamm::wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FindCoordinatorRequest, MetadataRequest,
};
use klamm::wire::{Uuid, frame};
use std::io::Write as _;

use super::{broker, name};
use crate::PATIENCE;
use crate::common::{Server, Wire, until};

fn named(topic: &str) -> MetadataRequestTopic {
    msg!(MetadataRequestTopic { name: Some(topic.into()) })
}

fn ask(wire: &mut Wire, topic: &str, create: bool) -> MetadataResponseTopic {
    let topics = Some(vec![named(topic)]);
    let request = msg!(MetadataRequest { topics, allow_auto_topic_creation: create });
    wire.ask(&request, 9).topics.remove(0)
}

/// The id of a topic.
pub fn topic_id(wire: &mut Wire, topic: &str) -> Uuid {
    let request = msg!(MetadataRequest { topics: Some(vec![named(topic)]) });
    wire.ask(&request, 12).topics[0].topic_id
}

fn names(wire: &mut Wire, topics: Option<Vec<MetadataRequestTopic>>, version: i16) -> Vec<String> {
    let answer = wire.ask(&msg!(MetadataRequest { topics }), version);
    answer.topics.iter().map(|t| t.name.as_ref().unwrap().as_str().to_owned()).collect()
}

#[test]
fn an_empty_list_is_all_topics_in_version_0_and_none_later_where_null_is_all() {
    let (_server, mut wire) = broker();
    wire.create("u", 1, &[]);
    assert_eq!(names(&mut wire, Some(vec![]), 0), ["t", "u"]);
    for version in [1, 8, 9, 12, 13] {
        assert!(names(&mut wire, Some(vec![]), version).is_empty());
        assert_eq!(names(&mut wire, None, version), ["t", "u"]);
    }
}

#[test]
fn bytes_after_a_request_are_ignored() {
    let (_server, mut wire) = broker();
    let mut frame = wire.encode(&msg!(MetadataRequest { topics: None }), 13);
    frame.extend_from_slice(&[1, 0, 0]);
    let size = frame.len() as u32 - 4;
    frame[..4].copy_from_slice(&size.to_be_bytes());
    wire.socket.write_all(&frame).unwrap();
    assert_eq!(wire.answer::<MetadataRequest>(13).topics.len(), 1);
}

#[test]
fn a_topic_is_made_on_demand_and_first_answered_as_unknown() {
    let server = Server::with(&[("node.count", "1"), ("num.partitions", "4")]);
    let mut wire = Wire::connect(server.address(0));
    assert_eq!(name(ask(&mut wire, "new", false).error_code), "UNKNOWN_TOPIC_OR_PARTITION");
    assert_eq!(name(ask(&mut wire, "new", false).error_code), "UNKNOWN_TOPIC_OR_PARTITION");
    assert_eq!(name(ask(&mut wire, "new", true).error_code), "UNKNOWN_TOPIC_OR_PARTITION");
    let topic = until(PATIENCE, "the topic", || {
        Some(ask(&mut wire, "new", false)).filter(|t| t.error_code == 0)
    });
    assert_eq!(topic.partitions.len(), 4);
}

#[test]
fn no_topic_is_made_on_demand_where_that_is_switched_off() {
    let settings = [("node.count", "1"), ("auto.create.topics.enable", "false")];
    let server = Server::with(&settings);
    let mut wire = Wire::connect(server.address(0));
    for _ in 0..3 {
        assert_eq!(name(ask(&mut wire, "new", true).error_code), "UNKNOWN_TOPIC_OR_PARTITION");
    }
    assert!(names(&mut wire, None, 9).is_empty());
}

#[test]
fn a_bad_name_is_an_invalid_topic() {
    let (_server, mut wire) = broker();
    for bad in ["", ".", "..", "a/b", "a b", "\u{e9}", &"x".repeat(250)] {
        let code = ask(&mut wire, bad, true).error_code;
        assert_eq!(name(code), "INVALID_TOPIC_EXCEPTION", "{bad:?}");
    }
    assert_eq!(names(&mut wire, None, 9), ["t"]);
}

#[test]
fn topics_are_found_by_id_from_version_12_on_and_an_unknown_id_is_told() {
    let (_server, mut wire) = broker();
    let topic_id = topic_id(&mut wire, "t");
    let by_id = |topic_id| {
        let topic = msg!(MetadataRequestTopic { name: None, topic_id });
        msg!(MetadataRequest { topics: Some(vec![topic]) })
    };
    let found = wire.ask(&by_id(topic_id), 12).topics.remove(0);
    assert_eq!((found.error_code, found.name.unwrap().as_str()), (0, "t"));
    let missing = wire.ask(&by_id(Uuid::from_bytes([5; 16])), 12).topics.remove(0);
    assert_eq!(name(missing.error_code), "UNKNOWN_TOPIC_ID");
    let early = wire.ask(&by_id(topic_id), 10);
    assert!(early.topics.iter().all(|t| name(t.error_code) == "INVALID_REQUEST"), "{early:?}");
}

/// Java's `String.hashCode`.
fn java_hash(text: &str) -> i32 {
    text.bytes().fold(0, |hash: i32, b| hash.wrapping_mul(31).wrapping_add(i32::from(b)))
}

#[test]
fn a_coordinator_is_the_leader_of_the_partition_that_the_hash_of_the_group_names() {
    let server = Server::with(&[("node.count", "2")]);
    let mut wire = Wire::connect(server.address(0));
    for group in ["a", "group-1", "another group", "x".repeat(100).as_str()] {
        let request = msg!(FindCoordinatorRequest { key: group.into() });
        let found = until(PATIENCE, "a coordinator", || {
            Some(wire.ask(&request, 3)).filter(|a| a.error_code == 0)
        });
        let offsets = ask(&mut wire, "__consumer_offsets", false);
        assert_eq!((offsets.partitions.len(), offsets.is_internal), (50, true));
        let index = (java_hash(group) & i32::MAX) % 50;
        let leader = offsets.partitions.iter().find(|p| p.partition_index == index).unwrap();
        assert_eq!(found.node_id, leader.leader_id, "{group}");
        assert_eq!(found.port, i32::from(server.address(found.node_id as u16).1));
    }
}

#[test]
fn an_api_versions_request_of_an_unknown_version_is_answered_in_version_0() {
    let (_server, mut wire) = broker();
    let mut bytes = wire.encode(&ApiVersionsRequest::default(), 4);
    bytes[6..8].copy_from_slice(&99_i16.to_be_bytes());
    wire.socket.write_all(&bytes).unwrap();
    let answer = wire.frame().unwrap().unwrap();
    let answer: ApiVersionsResponse = frame::decode(answer.slice(4..), 0).unwrap();
    assert_eq!(name(answer.error_code), "UNSUPPORTED_VERSION");
    let keys: Vec<_> = answer.api_keys.iter().map(|k| (k.api_key, k.min_version)).collect();
    assert_eq!(keys, [(18, 0)]);
    let after = wire.ask(&ApiVersionsRequest::default(), 0);
    let produce = after.api_keys.iter().find(|k| k.api_key == 0).unwrap();
    assert_eq!(produce.min_version, 0, "old librdkafka stops compressing otherwise");
}
