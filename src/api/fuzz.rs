//! Every request decoder and handler against damaged requests, over a real shard: each is answered
//! or closes its connection, and the next client is served as ever.

use std::cell::{Cell, RefCell};

use bytes::{Bytes, BytesMut};

use super::table::{self, APIS};
use super::testing::{World, samples};
use crate::base::fuzzing::{corpus, fuzz};
use crate::msg;
use crate::wire::ApiVersion;
use crate::wire::codec::Codec;
use crate::wire::messages::{self as m, KafkaRequest};
use crate::wire::record::{BatchBuilder, ProducerStamp};

/// Key, version and what it is, of each valid request.
type Input = ((i16, i16), Vec<u8>);

/// The request in each version that has its fields.
fn versions<Q: KafkaRequest>(request: &Q, out: &mut Vec<Input>) {
    let api = table::find(Q::API_KEY.value()).unwrap();
    for version in api.min..=api.max {
        let mut body = BytesMut::new();
        if request.encode_into(&mut body, ApiVersion::new(version)).is_ok() {
            out.push(((api.key, version), body.to_vec()));
        }
    }
}

fn hot_path() -> Vec<Input> {
    let mut builder = BatchBuilder::default();
    builder.push(0, Some(b"k"), Some(b"value"), &[]);
    let records = builder.build(Codec::Zstd, ProducerStamp::NONE).unwrap();
    let produced = msg!(m::produce_request::PartitionProduceData { records: Some(records) });
    let by_name = msg!(m::produce_request::TopicProduceData {
        name: "a".into(),
        partition_data: vec![produced.clone()],
    });
    let by_id = msg!(m::produce_request::TopicProduceData { partition_data: vec![produced] });
    let partition = msg!(m::fetch_request::FetchPartition { partition_max_bytes: 1 << 20 });
    let named = msg!(m::fetch_request::FetchTopic {
        topic: "a".into(),
        partitions: vec![partition.clone()],
    });
    let with_id = msg!(m::fetch_request::FetchTopic { partitions: vec![partition] });
    let forgotten =
        msg!(m::fetch_request::ForgottenTopic { topic: "a".into(), partitions: vec![0] });
    let mut out = Vec::new();
    for topic in [by_name, by_id] {
        versions(
            &msg!(m::ProduceRequest { acks: 1, timeout_ms: 9, topic_data: vec![topic] }),
            &mut out,
        );
    }
    for topic in [named, with_id] {
        let fetch = msg!(m::FetchRequest { max_bytes: 1 << 20, topics: vec![topic] });
        versions(&fetch, &mut out);
        let goes_on = msg!(m::FetchRequest {
            session_id: 1,
            session_epoch: 1,
            topics: fetch.topics,
            forgotten_topics_data: vec![forgotten.clone()],
        });
        versions(&goes_on, &mut out);
    }
    let asked = msg!(m::list_offsets_request::ListOffsetsPartition { timestamp: -1 });
    let topic = msg!(m::list_offsets_request::ListOffsetsTopic {
        name: "a".into(),
        partitions: vec![asked],
    });
    versions(&msg!(m::ListOffsetsRequest { topics: vec![topic] }), &mut out);
    let asked = msg!(m::offset_for_leader_epoch_request::OffsetForLeaderPartition {});
    let topic = msg!(m::offset_for_leader_epoch_request::OffsetForLeaderTopic {
        topic: "a".into(),
        partitions: vec![asked],
    });
    versions(&msg!(m::OffsetForLeaderEpochRequest { topics: vec![topic] }), &mut out);
    let asked = msg!(m::delete_records_request::DeleteRecordsPartition { offset: -1 });
    let topic = msg!(m::delete_records_request::DeleteRecordsTopic {
        name: "a".into(),
        partitions: vec![asked],
    });
    versions(&msg!(m::DeleteRecordsRequest { topics: vec![topic], timeout_ms: 9 }), &mut out);
    out
}

fn groups() -> Vec<Input> {
    let mut out = Vec::new();
    let protocol = msg!(m::join_group_request::JoinGroupRequestProtocol {
        name: "range".into(),
        metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x01a\0\0\0\0"),
    });
    versions(
        &msg!(m::JoinGroupRequest {
            group_id: "g".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
        }),
        &mut out,
    );
    let assignment = msg!(m::sync_group_request::SyncGroupRequestAssignment {
        member_id: "m".into(),
        assignment: Bytes::from_static(b"\0\0"),
    });
    versions(
        &msg!(m::SyncGroupRequest {
            group_id: "g".into(),
            member_id: "m".into(),
            assignments: vec![assignment],
        }),
        &mut out,
    );
    versions(&msg!(m::HeartbeatRequest { group_id: "g".into(), member_id: "m".into() }), &mut out);
    let leaver = msg!(m::leave_group_request::MemberIdentity { member_id: "m".into() });
    versions(&msg!(m::LeaveGroupRequest { group_id: "g".into(), members: vec![leaver] }), &mut out);
    let offset = msg!(m::offset_commit_request::OffsetCommitRequestPartition {
        committed_offset: 5,
        committed_metadata: Some("x".into()),
    });
    let topic = msg!(m::offset_commit_request::OffsetCommitRequestTopic {
        name: "a".into(),
        partitions: vec![offset],
    });
    versions(&msg!(m::OffsetCommitRequest { group_id: "g".into(), topics: vec![topic] }), &mut out);
    let topic = msg!(m::offset_fetch_request::OffsetFetchRequestTopic {
        name: "a".into(),
        partition_indexes: vec![0],
    });
    versions(
        &msg!(m::OffsetFetchRequest { group_id: "g".into(), topics: Some(vec![topic]) }),
        &mut out,
    );
    versions(&msg!(m::DescribeGroupsRequest { groups: vec!["g".into()] }), &mut out);
    versions(&msg!(m::ListGroupsRequest { states_filter: vec!["Stable".into()] }), &mut out);
    versions(&msg!(m::DeleteGroupsRequest { groups_names: vec!["g".into()] }), &mut out);
    out
}

#[test]
fn damaged_requests_of_every_api_are_answered_or_close_the_connection() {
    let mut valid = [hot_path(), groups()].concat();
    for (key, encode) in samples() {
        let api = table::find(key).unwrap();
        let bodies = (api.min..=api.max).filter_map(|v| Some((v, encode(ApiVersion::new(v))?)));
        valid.extend(bodies.map(|(version, body)| ((key, version), body.to_vec())));
    }
    for api in APIS {
        valid.extend(
            (api.min..=api.max).map(|v| ((api.key, v), table::defaults(api.key, v).0.to_vec())),
        );
    }
    for (name, body) in corpus("requests.txt") {
        let (key, version) = name.split_once(' ').unwrap();
        valid.push(((key.parse().unwrap(), version.parse().unwrap()), body));
    }
    let mut world = World::new(2, "auto.create.topics.enable=false");
    world.create("a", &[0, 1]);
    let world = RefCell::new(world);
    let (answered, closed, at) = (Cell::new(0), Cell::new(0), Cell::new(0));
    fuzz(&valid, |&(key, version), body| {
        let mut world = world.borrow_mut();
        at.set(1 - at.get());
        let answer = world.ask_bytes(at.get(), key, version, body);
        let count = if answer.is_some() { &answered } else { &closed };
        count.set(count.get() + 1);
        let api_versions = world.ask_bytes(at.get(), table::API_VERSIONS, 0, &[]);
        assert!(api_versions.is_some(), "the next client is served");
    });
    println!("{} answered, {} closed or waiting", answered.get(), closed.get());
    assert!(answered.get() > 0 && closed.get() > 0);
}
