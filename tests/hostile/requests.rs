//! Attacks with whole requests: each is well-formed, and far larger or more than anybody needs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use klamm::msg;
use klamm::wire::batch::set_crc;
use klamm::wire::codec::Codec;
use klamm::wire::messages::create_topics_request::CreatableTopic;
use klamm::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm::wire::messages::join_group_request::JoinGroupRequestProtocol;
use klamm::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm::wire::messages::metadata_request::MetadataRequestTopic;
use klamm::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm::wire::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, FindCoordinatorRequest,
    JoinGroupRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
};
use klamm::wire::record::{BatchBuilder, ProducerStamp};

use crate::common::wire::batch;
use crate::common::{Server, until};
use crate::{alone, connect, crowd, metric, server, survives};

const MESSAGE_TOO_LARGE: i16 = 10;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const INVALID_RECORD: i16 = 87;

/// A batch of one record whose value is `bytes` zeros.
fn bomb(bytes: usize, codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::default();
    builder.push(klamm::client::blocking::Clock::wall().0, None, Some(&vec![0; bytes]), &[]);
    builder.build(codec, ProducerStamp::NONE).unwrap()
}

#[test]
fn a_decompression_bomb_for_a_topic_that_recompresses() {
    let _alone = alone();
    let server = server(&[]);
    connect(&server).create("packed", 1, &[("compression.type", "lz4")]);
    let bomb = bomb(1 << 30, Codec::Zstd);
    assert!(bomb.len() < 200_000, "{} B", bomb.len());
    survives(server, |server, stop| {
        crowd(stop, 4, |_| {
            let produced = connect(server).produce("packed", 0, bomb.clone());
            let refused = [MESSAGE_TOO_LARGE, INVALID_RECORD, 2, 76].contains(&produced.error_code);
            assert!(refused, "{produced:?}");
        });
    });
}

#[test]
fn batches_of_a_million_tiny_records() {
    let _alone = alone();
    let server = server(&[]);
    let configs = [("max.message.bytes", "20000000"), ("cleanup.policy", "compact")];
    connect(&server).create("tiny", 1, &[("max.message.bytes", "20000000")]);
    connect(&server).create("opened", 1, &configs);
    let mut builder = BatchBuilder::default();
    let now = klamm::client::blocking::Clock::wall().0;
    for _ in 0..1_000_000 {
        builder.push(now, Some(b"k"), None, &[]);
    }
    let million = builder.build(Codec::None, ProducerStamp::NONE).unwrap();
    survives(server, |server, stop| {
        crowd(stop, 1, |_| {
            let mut wire = connect(server);
            for topic in ["tiny", "opened"] {
                let produced = wire.produce(topic, 0, million.clone());
                assert_eq!(produced.error_code, 0, "{produced:?}");
            }
            std::thread::sleep(Duration::from_millis(200));
        });
    });
}

#[test]
fn a_batch_that_claims_records_that_it_does_not_have() {
    let _alone = alone();
    let server = server(&[]);
    connect(&server).create("opened", 1, &[("cleanup.policy", "compact")]);
    let mut claims = batch(&["x"]).to_vec();
    claims[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    claims[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    set_crc(&mut claims);
    let claims = Bytes::from(claims);
    survives(server, |server, stop| {
        crowd(stop, 2, |_| {
            let produced = connect(server).produce("opened", 0, claims.clone());
            assert_ne!(produced.error_code, 0, "{produced:?}");
        });
    });
}

const MANY: i32 = 100_000;

#[test]
fn a_hundred_thousand_partitions_in_one_request() {
    let _alone = alone();
    let server = server(&[("auto.create.topics.enable", "false")]);
    let asked = |partition| msg!(FetchPartition { partition, partition_max_bytes: 1 });
    let topic = msg!(FetchTopic { topic: "no".into(), partitions: (0..MANY).map(asked).collect() });
    let fetch =
        msg!(FetchRequest { max_bytes: 1 << 20, max_wait_ms: 600_000, topics: vec![topic] });
    let asked =
        |index| msg!(PartitionProduceData { index, records: Some(Bytes::from_static(b"x")) });
    let topic = msg!(TopicProduceData {
        name: "no".into(),
        partition_data: (0..MANY).map(asked).collect()
    });
    let produce = msg!(ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic] });
    let asked = |partition_index| msg!(ListOffsetsPartition { partition_index, timestamp: -1 });
    let topic =
        msg!(ListOffsetsTopic { name: "no".into(), partitions: (0..MANY).map(asked).collect() });
    let list = msg!(ListOffsetsRequest { replica_id: -1, topics: vec![topic] });
    let name = |i: i32| msg!(MetadataRequestTopic { name: Some(format!("no-{i}").into()) });
    let metadata = msg!(MetadataRequest { topics: Some((0..MANY).map(name).collect()) });
    survives(server, |server, stop| {
        crowd(stop, 1, |_| {
            let mut wire = connect(server);
            assert_eq!(wire.ask(&fetch, 12).responses[0].partitions.len(), MANY as usize);
            let produced = wire.ask(&produce, 9);
            assert_eq!(produced.responses[0].partition_responses.len(), MANY as usize);
            assert_eq!(wire.ask(&list, 7).topics[0].partitions.len(), MANY as usize);
            assert_eq!(wire.ask(&metadata, 12).topics.len(), MANY as usize);
            std::thread::sleep(Duration::from_millis(200));
        });
    });
}

#[test]
fn a_thousand_topics_created_and_deleted_in_one_request() {
    let _alone = alone();
    let server = server(&[]);
    let round = AtomicUsize::new(0);
    survives(server, |server, stop| {
        crowd(stop, 1, |_| {
            let round = round.fetch_add(1, Ordering::Relaxed);
            let name = |i: usize| format!("many-{round}-{i}");
            let topic = |i| {
                let name = name(i).into();
                msg!(CreatableTopic { name, num_partitions: 1, replication_factor: 1 })
            };
            let topics = (0..1000).map(topic).collect();
            let mut wire = connect(server);
            let created = wire.ask(&msg!(CreateTopicsRequest { topics, timeout_ms: 20_000 }), 7);
            assert!(created.topics.iter().all(|t| t.error_code == 0));
            let topic_names = (0..1000).map(|i| name(i).into()).collect();
            let gone = wire.ask(&msg!(DeleteTopicsRequest { topic_names, timeout_ms: 20_000 }), 5);
            assert!(gone.responses.iter().all(|t| t.error_code == 0));
        });
    });
}

#[test]
fn fetch_sessions_opened_and_forgotten() {
    let _alone = alone();
    let server = server(&[]);
    connect(&server).create("watched", 1, &[]);
    let asked = |partition| msg!(FetchPartition { partition, partition_max_bytes: 1 });
    let topic =
        msg!(FetchTopic { topic: "watched".into(), partitions: (0..500).map(asked).collect() });
    let open = msg!(FetchRequest { max_bytes: 1 << 20, session_epoch: 0, topics: vec![topic] });
    survives(server, |server, stop| {
        crowd(stop, 2, |_| {
            let mut wire = connect(server);
            for _ in 0..5 {
                assert_eq!(wire.ask(&open, 12).error_code, 0);
            }
            std::thread::sleep(Duration::from_millis(10));
        });
        let held = metric(
            server,
            "kafka_server_fetchsessioncache_numincrementalfetchpartitionscached{node=\"0\"}",
        );
        assert!(held > 0.0 && held * 256.0 <= crate::MEMORY as f64 / 4.0, "{held} partitions");
    });
}

#[test]
fn group_members_that_join_and_never_sync() {
    let _alone = alone();
    let server = server(&[("group.initial.rebalance.delay.ms", "0")]);
    await_groups(&server);
    let (next, joined) = (AtomicUsize::new(0), AtomicUsize::new(0));
    survives(server, |server, stop| {
        crowd(stop, 4, |_| {
            let mut wire = connect(server);
            let metadata = vec![7; 10_000];
            for _ in 0..20 {
                let group = format!("g-{}", next.fetch_add(1, Ordering::Relaxed) % 500);
                wire.send(&join(group, &metadata), 2);
                let _ = wire.socket.set_read_timeout(Some(Duration::from_millis(20)));
                // The second member of a group waits for the first one, which never comes.
                if let Ok(Some(_)) = wire.frame() {
                    joined.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        assert!(groups_that_rebalance(server) > 0.0);
    });
    assert_ne!(joined.into_inner(), 0);
}

/// Groups whose members have not been told what is theirs.
fn groups_that_rebalance(server: &Server) -> f64 {
    let name = "kafka_coordinator_group_groupmetadatamanager_numgroups";
    ["preparingrebalance", "completingrebalance"]
        .map(|state| metric(server, &format!("{name}{state}{{node=\"0\"}}")))
        .iter()
        .sum()
}

/// The topic of committed offsets is there, and groups are served.
fn await_groups(server: &Server) {
    let mut wire = connect(server);
    until(Duration::from_mins(1), "a coordinator", || {
        wire.ask(&msg!(FindCoordinatorRequest { key: "first".into() }), 0);
        (wire.ask(&join("first".into(), &[]), 2).error_code == 0).then_some(())
    });
}

#[test]
fn group_members_that_say_very_much_of_themselves_are_refused_at_the_budget() {
    let _alone = alone();
    let server = server(&[("group.initial.rebalance.delay.ms", "0")]);
    await_groups(&server);
    let (next, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    survives(server, |server, stop| {
        crowd(stop, 2, |_| {
            let mut wire = connect(server);
            let metadata = vec![7; 2_000_000];
            for _ in 0..20 {
                let group = format!("large-{}", next.fetch_add(1, Ordering::Relaxed));
                let code = wire.ask(&join(group, &metadata), 2).error_code;
                assert!([0, COORDINATOR_NOT_AVAILABLE].contains(&code), "{code}");
                refused.fetch_add(usize::from(code != 0), Ordering::Relaxed);
            }
        });
    });
    assert_ne!(refused.into_inner(), 0);
}

/// A JoinGroup of a version that needs no second round.
fn join(group: String, metadata: &[u8]) -> JoinGroupRequest {
    let metadata = Bytes::copy_from_slice(metadata);
    let protocol = msg!(JoinGroupRequestProtocol { name: "range".into(), metadata });
    msg!(JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 6000,
        rebalance_timeout_ms: 6000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
    })
}
