//! Requests that name very many things, over real sockets: what is served in pieces keeps its place
//! among the others, goes with its connection, and is finished before the server stops.

use std::io::Write as _;

use klamm::msg;
use klamm::wire::batch::{BatchHeader, crc};
use klamm::wire::codec::Codec;
use klamm::wire::messages::create_topics_request::CreatableTopic;
use klamm::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm::wire::messages::metadata_request::MetadataRequestTopic;
use klamm::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm::wire::messages::{
    ApiVersionsRequest, CreateTopicsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest,
    ProduceRequest,
};
use klamm::wire::record::ProducerStamp;

use crate::PATIENCE;
use crate::common::wire::{batch, batch_of, patched, stamp};
use crate::common::{Server, Wire, until};

const MANY: i32 = 20_000;

fn list_offsets() -> ListOffsetsRequest {
    let asked = |partition_index| msg!(ListOffsetsPartition { partition_index, timestamp: -1 });
    let topic =
        msg!(ListOffsetsTopic { name: "t".into(), partitions: (0..MANY).map(asked).collect() });
    msg!(ListOffsetsRequest { replica_id: -1, topics: vec![topic] })
}

fn fetch() -> FetchRequest {
    let asked = |partition| msg!(FetchPartition { partition, partition_max_bytes: 100 });
    let topic = msg!(FetchTopic { topic: "t".into(), partitions: (0..MANY).map(asked).collect() });
    msg!(FetchRequest { max_bytes: 1 << 20, topics: vec![topic] })
}

fn produce() -> ProduceRequest {
    let records = batch(&["x"]);
    let sent = |index| msg!(PartitionProduceData { index, records: Some(records.clone()) });
    let data =
        msg!(TopicProduceData { name: "t".into(), partition_data: (0..MANY).map(sent).collect() });
    msg!(ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![data] })
}

fn metadata() -> MetadataRequest {
    let name = |i: i32| msg!(MetadataRequestTopic { name: Some(format!("no-{i}").into()) });
    let topics = Some((0..MANY).map(name).collect());
    msg!(MetadataRequest { topics, allow_auto_topic_creation: false })
}

#[test]
fn what_is_pipelined_behind_a_large_request_is_answered_after_it() {
    let server = Server::with(&[("node.count", "1")]);
    let mut wire = Wire::connect(server.address(0));
    wire.create("t", 3, &[]);
    let small = ApiVersionsRequest::default();
    let mut bytes = wire.encode(&produce(), 9);
    bytes.unsplit(wire.encode(&small, 2));
    bytes.unsplit(wire.encode(&list_offsets(), 5));
    bytes.unsplit(wire.encode(&small, 2));
    bytes.unsplit(wire.encode(&fetch(), 11));
    bytes.unsplit(wire.encode(&metadata(), 8));
    bytes.unsplit(wire.encode(&small, 2));
    let mut socket = wire.socket.try_clone().unwrap();
    let sends = std::thread::Builder::new().spawn(move || socket.write_all(&bytes).unwrap());
    let mut answers = (0..7).map(|_| wire.frame().unwrap().expect("an answer"));
    let mut next = |id_after: i32| {
        let frame = answers.next().unwrap();
        (i32::from_be_bytes(*frame.first_chunk().unwrap()) - id_after, frame)
    };
    let (first, produced) = next(0);
    let tagged = klamm::wire::frame::decode::<klamm::wire::messages::ProduceResponse>;
    let produced = tagged(produced.slice(5..), 9).unwrap();
    let rows = &produced.responses[0].partition_responses;
    assert_eq!(rows.len(), MANY as usize);
    let codes: Vec<i16> = rows[..4].iter().map(|row| row.error_code).collect();
    assert_eq!(codes, [0, 0, 0, 3]);
    for at in 1..7 {
        let (id, frame) = next(first);
        assert_eq!(id, at, "answers keep the order of their requests");
        if at == 2 {
            let read = klamm::wire::frame::decode::<klamm::wire::messages::ListOffsetsResponse>;
            let listed = read(frame.slice(4..), 5).unwrap();
            let ends: Vec<i64> = listed.topics[0].partitions.iter().map(|p| p.offset).collect();
            assert_eq!((ends.len(), &ends[..4]), (MANY as usize, &[1, 1, 1, -1][..]));
        }
    }
    sends.unwrap().join().unwrap();
}

#[test]
fn large_requests_of_connections_that_go_away_leave_nothing_behind() {
    let server = Server::with(&[("node.count", "1")]);
    let mut wire = Wire::connect(server.address(0));
    wire.create("t", 3, &[]);
    for round in 0..20 {
        for large in 0..3 {
            let mut gone = Wire::connect(server.address(0));
            match large {
                0 => gone.send(&produce(), 9),
                1 => gone.send(&list_offsets(), 5),
                _ => gone.send(&fetch(), 11),
            }
            std::thread::sleep(std::time::Duration::from_millis(round));
        }
    }
    assert_eq!(wire.ask(&list_offsets(), 5).topics[0].partitions.len(), MANY as usize);
    assert_eq!(wire.ask(&fetch(), 11).responses[0].partitions.len(), MANY as usize);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn a_stop_waits_for_the_rest_of_a_request_in_pieces() {
    let mut server = Server::with(&[("node.count", "1")]);
    let name = |i: i32| format!("made-{i}");
    let topic =
        |i| msg!(CreatableTopic { name: name(i).into(), num_partitions: 1, replication_factor: 1 });
    let topics = (0..600).map(topic).collect();
    let mut wire = Wire::connect(server.address(0));
    wire.send(&msg!(CreateTopicsRequest { topics, timeout_ms: 20_000 }), 7);
    let mut other = Wire::connect(server.address(0));
    let asked = msg!(MetadataRequestTopic { name: Some(name(0).into()) });
    let asked =
        msg!(MetadataRequest { topics: Some(vec![asked]), allow_auto_topic_creation: false });
    until(PATIENCE, "the first topic", || {
        (other.ask(&asked, 12).topics[0].error_code == 0).then_some(())
    });
    let reads = move || wire.answer::<CreateTopicsRequest>(7);
    let reads = std::thread::Builder::new().spawn(reads).unwrap();
    let (status, _) = server.signal(libc::SIGTERM);
    assert!(status.success(), "{status}: {}", server.log());
    let answer = reads.join().unwrap();
    assert_eq!(answer.topics.len(), 600);
    assert!(answer.topics.iter().all(|t| t.error_code == 0), "{:?}", answer.topics[599]);
    server.start_again();
    let all = Wire::connect(server.address(0)).ask(&msg!(MetadataRequest { topics: None }), 12);
    assert_eq!(all.topics.len(), 600);
}

#[test]
fn who_was_told_of_a_thousand_topics_can_produce_to_the_last_of_them_at_once_on_each_node() {
    let server = Server::with(&[("node.count", "2")]);
    let mut wires: Vec<_> = (0..2).map(|node| Wire::connect(server.address(node))).collect();
    for (asked, other) in [(0, 1), (1, 0)] {
        let name = |i: i32| format!("of-{asked}-{i}");
        // The last is applied in several turns.
        let count = |i| if i == 999 { 300 } else { 2 };
        let topic = |i| {
            let (name, num_partitions) = (name(i).into(), count(i));
            msg!(CreatableTopic { name, num_partitions, replication_factor: 1 })
        };
        let topics = (0..1000).map(topic).collect();
        let request = msg!(CreateTopicsRequest { topics, timeout_ms: 20_000 });
        let created = wires[asked].ask(&request, 7);
        assert!(created.topics.iter().all(|t| t.error_code == 0));
        let topic = msg!(MetadataRequestTopic { name: Some(name(999).into()) });
        let request =
            msg!(MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: false });
        let told = wires[other].ask(&request, 12).topics.swap_remove(0);
        assert_eq!((told.error_code, told.partitions.len()), (0, 300));
        for partition in &told.partitions[298..] {
            let leader = &mut wires[partition.leader_id as usize];
            let produced = leader.produce(&name(999), partition.partition_index, batch(&["x"]));
            assert_eq!((produced.error_code, produced.base_offset), (0, 0));
        }
        assert_ne!(told.partitions[298].leader_id, told.partitions[299].leader_id);
    }
}

#[test]
fn large_batches_are_checked_and_kept_as_their_topics_say_beside_small_ones() {
    const LIMIT: (&str, &str) = ("max.message.bytes", "20000000");
    let server = Server::with(&[("node.count", "1")]);
    let mut wire = Wire::connect(server.address(0));
    wire.create("plain", 1, &[LIMIT]);
    wire.create("timed", 1, &[LIMIT, ("message.timestamp.type", "LogAppendTime")]);
    wire.create("packed", 1, &[LIMIT, ("compression.type", "lz4")]);
    let value = "0123456789abcdef".repeat(200_000);
    let large = batch_of(&[&value], Codec::None, ProducerStamp::NONE);
    for topic in ["plain", "timed", "packed"] {
        for round in 0..3 {
            let small = wire.produce(topic, 0, batch(&["small"]));
            assert_eq!((small.error_code, small.base_offset), (0, 2 * round), "{topic}");
            let produced = wire.produce(topic, 0, large.clone());
            assert_eq!((produced.error_code, produced.base_offset), (0, 2 * round + 1), "{topic}");
            assert_eq!(produced.log_append_time_ms > 0, topic == "timed");
        }
        for round in 0..3 {
            let records = wire.fetch(topic, 0, 2 * round + 1).records.unwrap();
            let (header, stored) = BatchHeader::parse_whole(&records).unwrap();
            assert_eq!((header.base_offset.0, header.crc), (2 * round + 1, crc(stored)), "{topic}");
            assert_eq!(header.is_append_time(), topic == "timed");
            let packed = topic == "packed";
            assert_eq!(header.codec_id(), if packed { Codec::Lz4 as u8 } else { 0 });
            assert!(packed || stored.windows(16).any(|w| w == b"0123456789abcdef"));
            assert_eq!(stored.len() < large.len(), packed, "{topic}");
        }
    }
    let mut corrupt = large.to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    assert_eq!(wire.produce("plain", 0, corrupt.into()).error_code, 2, "the checksum is wrong");
    let claims = patched(&large, 57, &2_i32.to_be_bytes());
    assert_eq!(wire.produce("plain", 0, claims).error_code, 87, "it claims one record too many");
    let once = batch_of(&[&value], Codec::None, stamp(77, 0, 0));
    for _ in 0..2 {
        let produced = wire.produce("plain", 0, once.clone());
        assert_eq!((produced.error_code, produced.base_offset), (0, 6), "the second is the first");
    }
    assert_eq!(wire.produce("plain", 0, batch(&["small"])).base_offset, 7);
}
