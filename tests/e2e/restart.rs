//! What a clean stop and start keeps: topics, settings, groups, offsets, the state of producers.

use bytes::Bytes;
use klamm::msg;
use klamm::wire::codec::Codec;
use klamm::wire::messages::describe_configs_request::DescribeConfigsResource;
use klamm::wire::messages::describe_groups_response::DescribedGroup;
use klamm::wire::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use klamm::wire::messages::join_group_request::JoinGroupRequestProtocol;
use klamm::wire::messages::metadata_request::MetadataRequestTopic;
use klamm::wire::messages::metadata_response::MetadataResponseTopic;
use klamm::wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use klamm::wire::messages::{
    DescribeConfigsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, JoinGroupResponse,
    MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};

use crate::PATIENCE;
use crate::common::wire::{batch, batch_of, stamp};
use crate::common::{Server, Wire, until};

const TOPIC_RESOURCE: i8 = 2;
const BROKER_RESOURCE: i8 = 4;
const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
const INVALID_PRODUCER_EPOCH: i16 = 47;

fn connect(server: &Server) -> Wire {
    Wire::connect(server.address(0))
}

fn metadata(wire: &mut Wire, topic: &str) -> (Option<String>, MetadataResponseTopic) {
    let named = msg!(MetadataRequestTopic { name: Some(topic.into()) });
    let answer = wire.ask(
        &msg!(MetadataRequest { topics: Some(vec![named]), allow_auto_topic_creation: false }),
        12,
    );
    let cluster = answer.cluster_id.map(|id| id.as_str().to_owned());
    (cluster, answer.topics.into_iter().next().unwrap())
}

fn alter(wire: &mut Wire, resource_type: i8, resource: &str, name: &str, value: &str) {
    let config = msg!(AlterableConfig { name: name.into(), value: Some(value.into()) });
    let resource_name = resource.into();
    let resource =
        msg!(AlterConfigsResource { resource_type, resource_name, configs: vec![config] });
    let request = msg!(IncrementalAlterConfigsRequest { resources: vec![resource] });
    let answer = wire.ask(&request, 1);
    assert_eq!(answer.responses[0].error_code, 0, "{answer:?}");
}

fn config(wire: &mut Wire, resource_type: i8, resource: &str, name: &str) -> String {
    let resource = msg!(DescribeConfigsResource {
        resource_type,
        resource_name: resource.into(),
        configuration_keys: Some(vec![name.into()]),
    });
    let answer = wire.ask(&msg!(DescribeConfigsRequest { resources: vec![resource] }), 4);
    answer.results[0].configs[0].value.as_ref().unwrap().as_str().to_owned()
}

#[test]
fn topics_settings_and_records_are_the_same_after_a_restart() {
    let mut server = Server::start();
    let mut wire = connect(&server);
    wire.create("kept", 3, &[("retention.ms", "123456789")]);
    wire.create("gone", 1, &[]);
    alter(&mut wire, TOPIC_RESOURCE, "kept", "max.message.bytes", "54321");
    alter(&mut wire, BROKER_RESOURCE, "0", "log.cleaner.threads", "2");
    for round in 0..5 {
        for partition in 0..3 {
            let value = format!("{partition}-{round}");
            let produced = wire.produce("kept", partition, batch(&[&value, &value]));
            assert_eq!((produced.error_code, produced.base_offset), (0, round * 2));
        }
    }
    let deleted = msg!(klamm::wire::messages::DeleteTopicsRequest {
        topic_names: vec!["gone".into()],
        timeout_ms: 10_000,
    });
    assert_eq!(wire.ask(&deleted, 5).responses[0].error_code, 0);
    let see = |wire: &mut Wire| {
        let records: Vec<_> = (0..3).map(|p| wire.fetch("kept", p, 0)).collect();
        let settings = [
            config(wire, TOPIC_RESOURCE, "kept", "retention.ms"),
            config(wire, TOPIC_RESOURCE, "kept", "max.message.bytes"),
            config(wire, BROKER_RESOURCE, "0", "log.cleaner.threads"),
        ];
        (metadata(wire, "kept"), records, settings)
    };
    let before = see(&mut wire);
    assert_eq!(before.2, ["123456789", "54321", "2"]);
    for _ in 0..2 {
        server.restart();
        let mut wire = connect(&server);
        assert_eq!(see(&mut wire), before);
        assert_eq!(metadata(&mut wire, "gone").1.error_code, 3);
        wire.create("gone", 1, &[]);
        assert_eq!(wire.fetch("gone", 0, 0).high_watermark, 0, "the old topic came back");
        assert_eq!(wire.ask(&deleted, 5).responses[0].error_code, 0);
    }
}

#[test]
fn a_server_that_moves_to_other_ports_keeps_serving_its_topics_on_every_node() {
    let mut server = Server::with(&[("node.count", "2")]);
    let topics: Vec<_> = (0..4).map(|i| format!("moves-{i}")).collect();
    let node_of = |wire: &mut Wire, topic: &str| {
        let leader = metadata(wire, topic).1.partitions[0].leader_id;
        u16::try_from(leader).unwrap()
    };
    let mut wire = connect(&server);
    for topic in &topics {
        wire.create(topic, 1, &[]);
        let node = node_of(&mut wire, topic);
        let mut leader = Wire::connect(server.address(node));
        assert_eq!(leader.produce(topic, 0, batch(&["a"])).error_code, 0);
    }
    server.signal(libc::SIGTERM);
    server.place.port += 2;
    server.start_again();
    let mut wire = connect(&server);
    for topic in &topics {
        let node = node_of(&mut wire, topic);
        let mut leader = Wire::connect(server.address(node));
        assert_eq!(leader.fetch(topic, 0, 0).high_watermark, 1, "{topic}");
        assert_eq!(leader.produce(topic, 0, batch(&["b"])).base_offset, 1, "{topic}");
    }
    server.place.port -= 2;
}

#[test]
fn a_stop_after_a_start_without_a_change_is_quick() {
    let mut server = Server::with(&[("node.count", "2")]);
    for _ in 0..2 {
        let (status, took) = server.signal(libc::SIGTERM);
        assert!(status.success() && took < crate::common::server::STOP, "{took:?}");
        server.start_again();
    }
}

#[test]
fn the_state_of_an_idempotent_producer_outlives_a_stop_and_a_crash() {
    let mut server = Server::start();
    let mut wire = connect(&server);
    wire.create("once", 1, &[]);
    let id = wire.ask(&msg!(InitProducerIdRequest { transactional_id: None }), 4);
    assert_eq!(id.error_code, 0);
    let (id, epoch) = (id.producer_id, id.producer_epoch);
    let make = |sequence, epoch| {
        let value = format!("sequence {sequence}");
        batch_of(&[&value, &value], Codec::None, stamp(id, epoch, sequence))
    };
    let mut last = Bytes::new();
    for i in 0..6 {
        last = make(i * 2, epoch);
        assert_eq!(wire.produce("once", 0, last.clone()).base_offset, i64::from(i) * 2);
    }
    // A snapshot of producers holds the last batch of each.
    let mut end = 12;
    for crash in [false, true, false] {
        if crash {
            server.kill();
            server.start_again();
        } else {
            server.restart();
        }
        let mut wire = connect(&server);
        let again = wire.produce("once", 0, last.clone());
        assert_eq!((again.error_code, again.base_offset), (0, end - 2), "{again:?}");
        assert_eq!(wire.fetch("once", 0, 0).high_watermark, end, "a duplicate was appended");
        let gap = wire.produce("once", 0, make(end as i32 + 2, epoch));
        assert_eq!(gap.error_code, OUT_OF_ORDER_SEQUENCE_NUMBER);
        last = make(end as i32, epoch);
        for _ in 0..2 {
            assert_eq!(wire.produce("once", 0, last.clone()).base_offset, end);
        }
        end += 2;
        let other = wire.ask(&msg!(InitProducerIdRequest { transactional_id: None }), 4);
        assert!(other.producer_id > id, "a producer id was given twice");
    }
    assert_eq!(produce_once(&server, make(0, epoch + 1)), 0);
    assert_eq!(produce_once(&server, make(end as i32, epoch)), INVALID_PRODUCER_EPOCH);
}

fn produce_once(server: &Server, batch: Bytes) -> i16 {
    connect(server).produce("once", 0, batch).error_code
}

fn await_coordinator(wire: &mut Wire, group: &str) {
    let request = msg!(FindCoordinatorRequest { key: group.into() });
    until(PATIENCE, "a coordinator", || (wire.ask(&request, 3).error_code == 0).then_some(()));
}

fn commit(wire: &mut Wire, group: &str, offset: i64, metadata: &str) -> i16 {
    let partition = msg!(OffsetCommitRequestPartition {
        partition_index: 1,
        committed_offset: offset,
        committed_leader_epoch: 0,
        committed_metadata: Some(metadata.into()),
    });
    let topic =
        msg!(OffsetCommitRequestTopic { name: "grouped".into(), partitions: vec![partition] });
    let request = msg!(OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
    });
    until(PATIENCE, "the group is loaded", || {
        let code = wire.ask(&request, 8).topics[0].partitions[0].error_code;
        (![14, 15, 16].contains(&code)).then_some(code)
    })
}

fn committed(wire: &mut Wire, group: &str) -> (i64, i32, String) {
    let request = msg!(OffsetFetchRequest { group_id: group.into(), topics: None });
    until(PATIENCE, "the group is loaded", || {
        let answer = wire.ask(&request, 7);
        if [14, 15, 16].contains(&answer.error_code) {
            return None;
        }
        assert_eq!(answer.error_code, 0);
        let partition = &answer.topics[0].partitions[0];
        let metadata = partition.metadata.as_ref().unwrap().as_str().to_owned();
        Some((partition.committed_offset, partition.committed_leader_epoch, metadata))
    })
}

fn join(wire: &mut Wire, group: &str, member: &str) -> JoinGroupResponse {
    let protocol = msg!(JoinGroupRequestProtocol {
        name: "range".into(),
        metadata: Bytes::from_static(b"subscription"),
    });
    let request = msg!(JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member.into(),
        group_instance_id: Some("static-1".into()),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
    });
    wire.ask(&request, 7)
}

fn described(wire: &mut Wire, group: &str) -> DescribedGroup {
    let request = msg!(DescribeGroupsRequest { groups: vec![group.into()] });
    until(PATIENCE, "the group is loaded", || {
        let described = wire.ask(&request, 5).groups.remove(0);
        (described.error_code == 0).then_some(described)
    })
}

#[test]
fn groups_members_and_committed_offsets_are_the_same_after_a_restart() {
    let mut server = Server::start();
    let mut wire = connect(&server);
    wire.create("grouped", 2, &[]);
    await_coordinator(&mut wire, "simple");
    assert_eq!(commit(&mut wire, "simple", 42, "a note"), 0);
    let joined = join(&mut wire, "balanced", "");
    assert_eq!(joined.error_code, 0, "{joined:?}");
    let (member, generation) = (joined.member_id.clone(), joined.generation_id);
    let assignment = msg!(SyncGroupRequestAssignment {
        member_id: member.clone(),
        assignment: Bytes::from_static(b"all of it"),
    });
    let sync = msg!(SyncGroupRequest {
        group_id: "balanced".into(),
        generation_id: generation,
        member_id: member.clone(),
        group_instance_id: Some("static-1".into()),
        assignments: vec![assignment],
    });
    assert_eq!(wire.ask(&sync, 4).assignment, Bytes::from_static(b"all of it"));
    let before = described(&mut wire, "balanced");
    assert_eq!((before.group_state.as_str(), before.members.len()), ("Stable", 1));
    for round in 0..2 {
        server.restart();
        let mut wire = connect(&server);
        assert_eq!(committed(&mut wire, "simple"), (42 + round, 0, "a note".to_owned()));
        assert_eq!(described(&mut wire, "balanced"), before);
        let heartbeat = msg!(HeartbeatRequest {
            group_id: "balanced".into(),
            generation_id: generation,
            member_id: member.clone(),
            group_instance_id: Some("static-1".into()),
        });
        assert_eq!(wire.ask(&heartbeat, 4).error_code, 0);
        assert_eq!(commit(&mut wire, "simple", 43 + round, "a note"), 0);
    }
}
