//! Produce.

use bytes::{Buf as _, Bytes};
use klamm::client::blocking::Clock;
use klamm::msg;
use klamm::wire::batch::{BatchHeader, HEADER_BYTES};
use klamm::wire::codec::Codec;
use klamm::wire::messages::metadata_request::MetadataRequestTopic;
use klamm::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm::wire::messages::{
    FindCoordinatorRequest, MetadataRequest, ProduceRequest, ProduceResponse,
};
use klamm::wire::record::{BatchBuilder, ProducerStamp};
use klamm::wire::{Uuid, frame};

use super::{broker, broker_with, name};
use crate::common::wire::{One as _, Produced, batch, batch_of, patched, produce_request, stamp};
use crate::common::{Server, Wire};

/// Where the fields of a batch header lie.
const LENGTH: usize = 8;
const LEADER_EPOCH: usize = 12;
const MAGIC: usize = 16;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const COUNT: usize = 57;

fn refused(wire: &mut Wire, records: Bytes) -> &'static str {
    let before = wire.fetch("t", 0, 0).high_watermark;
    let produced = wire.produce("t", 0, records);
    assert_eq!(produced.base_offset, -1);
    assert_eq!(wire.fetch("t", 0, 0).high_watermark, before, "something was appended");
    name(produced.error_code)
}

fn created_at(timestamp: i64, key: Option<&[u8]>) -> Bytes {
    let mut builder = BatchBuilder::default();
    builder.push(timestamp, key, Some(b"v"), &[]);
    builder.build(Codec::None, ProducerStamp::NONE).unwrap()
}

fn stored(wire: &mut Wire, offset: i64) -> (BatchHeader, Bytes) {
    let records = wire.fetch("t", 0, offset).records.unwrap();
    (BatchHeader::parse(&records).unwrap(), records)
}

#[test]
fn a_partition_takes_exactly_one_batch_of_format_2() {
    let (_server, mut wire) = broker();
    let two = [batch(&["a"]), batch(&["b"])].concat();
    assert_eq!(refused(&mut wire, two.into()), "INVALID_RECORD");
    assert_eq!(refused(&mut wire, Bytes::new()), "INVALID_RECORD");
    for magic in [0, 1, 3] {
        let old = patched(&batch(&["a"]), MAGIC, &[magic]);
        assert_ne!(refused(&mut wire, old), "NONE");
    }
    let nothing = msg!(PartitionProduceData { index: 0, records: None });
    let topic = msg!(TopicProduceData { name: "t".into(), partition_data: vec![nothing] });
    let request = msg!(ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic] });
    assert_eq!(name(wire.ask(&request, 9).one().error_code), "INVALID_RECORD");
}

#[test]
fn the_header_of_a_batch_must_fit_its_records() {
    let (_server, mut wire) = broker();
    let good = batch(&["a", "b"]);
    let mut refuse = |records| refused(&mut wire, records);
    assert_eq!(refuse(patched(&good, 0, &1_i64.to_be_bytes())), "INVALID_RECORD");
    assert_eq!(refuse(patched(&good, LAST_OFFSET_DELTA, &[0, 0, 0, 2])), "INVALID_RECORD");
    assert_eq!(refuse(patched(&good, COUNT, &[0, 0, 0, 0])), "INVALID_RECORD");
    assert_eq!(refuse(patched(&good, ATTRIBUTES, &[0, 0x20])), "INVALID_RECORD");
    assert_eq!(refuse(good.slice(..HEADER_BYTES - 1)), "INVALID_RECORD");
    assert_eq!(refuse(patched(&good, LENGTH, &[0, 0, 0, 10])), "CORRUPT_MESSAGE");
    let no_sequence = batch_of(&["a"], Codec::None, stamp(5, 0, -1));
    assert_eq!(refuse(no_sequence), "INVALID_RECORD");
}

#[test]
fn base_offset_and_leader_epoch_are_set_by_the_broker_and_all_else_is_kept() {
    let (_server, mut wire) = broker();
    let sent = batch_of(&["a", "b", "c"], Codec::Zstd, ProducerStamp::NONE);
    wire.produce("t", 0, sent.clone());
    assert_eq!(wire.produce("t", 0, sent.clone()).base_offset, 3);
    let (header, bytes) = stored(&mut wire, 3);
    assert_eq!((header.base_offset.0, header.leader_epoch.0), (3, 0));
    assert_eq!(bytes[MAGIC..], sent[MAGIC..]);
    assert_eq!(bytes[LENGTH..LEADER_EPOCH], sent[LENGTH..LEADER_EPOCH]);
}

#[test]
fn a_batch_above_max_message_bytes_is_too_large() {
    let (_server, mut wire) = broker_with(&[("max.message.bytes", "1000")]);
    let values = |n: usize| batch(&["x".repeat(n).as_str()]);
    let over = values(1000).len() - 1000;
    assert_eq!(refused(&mut wire, values(1001 - over)), "MESSAGE_TOO_LARGE");
    assert_eq!(wire.produce("t", 0, values(1000 - over)).error_code, 0);
}

#[test]
fn a_batch_above_segment_bytes_is_too_large() {
    let settings = [("segment.bytes", "1048576"), ("max.message.bytes", "4000000")];
    let (_server, mut wire) = broker_with(&settings);
    let large = batch(&["x".repeat(1_100_000).as_str()]);
    assert_eq!(refused(&mut wire, large), "RECORD_LIST_TOO_LARGE");
    assert_eq!(wire.produce("t", 0, batch(&["x".repeat(900_000).as_str()])).error_code, 0);
}

#[test]
fn zstd_needs_version_7() {
    let (_server, mut wire) = broker();
    let packed = batch_of(&["a"], Codec::Zstd, ProducerStamp::NONE);
    let old = wire.produce_at(6, "t", 0, packed.clone());
    assert_eq!(name(old.error_code), "UNSUPPORTED_COMPRESSION_TYPE");
    assert_eq!(wire.produce_at(7, "t", 0, packed).error_code, 0);
}

#[test]
fn acks_other_than_0_1_and_all_are_refused() {
    let (_server, mut wire) = broker();
    for acks in [2, -2, i16::MAX] {
        let answer = wire.ask(&produce_request("t", 0, acks, batch(&["a"])), 9).one();
        assert_eq!(name(answer.error_code), "INVALID_REQUIRED_ACKS");
    }
}

#[test]
fn a_time_out_is_for_other_replicas_and_not_for_the_disk() {
    let (_server, mut wire) = broker();
    let mut request = produce_request("t", 0, -1, batch(&["a"]));
    request.timeout_ms = 0;
    for offset in 0..20 {
        let answer = wire.ask(&request, 9).one();
        assert_eq!((name(answer.error_code), answer.base_offset), ("NONE", offset));
    }
}

#[test]
fn acks_0_gets_no_answer_and_an_error_closes_the_connection() {
    let (server, mut wire) = broker();
    wire.send(&produce_request("t", 0, 0, batch(&["a"])), 9);
    assert_eq!(
        wire.produce("t", 0, batch(&["b"])).base_offset,
        1,
        "the next answer is the second's"
    );
    let mut other = Wire::connect(server.address(0));
    other.send(&produce_request("missing", 0, 0, batch(&["a"])), 9);
    assert!(other.is_closed());
}

#[test]
fn requests_that_are_sent_together_are_answered_in_their_order() {
    let (_server, mut wire) = broker();
    for _ in 0..50 {
        wire.send(&produce_request("t", 0, -1, batch(&["a"])), 9);
    }
    let mut first = None;
    for offset in 0..50 {
        let answer = wire.frame().unwrap().unwrap();
        let correlation = i32::from_be_bytes(answer[..4].try_into().unwrap());
        let produced: ProduceResponse = frame::decode(answer.slice(5..), 9).unwrap();
        assert_eq!(produced.one().base_offset, offset);
        assert_eq!(correlation - *first.get_or_insert(correlation), offset as i32);
    }
}

#[test]
fn unknown_topics_and_partitions_are_told_by_name_and_by_id() {
    let (_server, mut wire) = broker();
    for (topic, partition) in [("missing", 0), ("t", 1), ("t", -1)] {
        let answer = wire.produce(topic, partition, batch(&["a"]));
        assert_eq!(name(answer.error_code), "UNKNOWN_TOPIC_OR_PARTITION");
    }
    let data = msg!(PartitionProduceData { index: 0, records: Some(batch(&["a"])) });
    let topic_id = Uuid::from_bytes([7; 16]);
    let topic = msg!(TopicProduceData { topic_id, partition_data: vec![data] });
    let request = msg!(ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic] });
    assert_eq!(name(wire.ask(&request, 13).one().error_code), "UNKNOWN_TOPIC_ID");
}

#[test]
fn a_node_that_does_not_lead_names_the_leader_and_its_endpoint() {
    let server = Server::with(&[("node.count", "2")]);
    let mut wire = Wire::connect(server.address(0));
    wire.create("two", 2, &[]);
    let named = msg!(MetadataRequestTopic { name: Some("two".into()) });
    let metadata = wire.ask(&msg!(MetadataRequest { topics: Some(vec![named]) }), 12);
    let elsewhere = metadata.topics[0].partitions.iter().find(|p| p.leader_id == 1).unwrap();
    let request = produce_request("two", elsewhere.partition_index, -1, batch(&["a"]));
    let answer = wire.ask(&request, 10);
    let endpoint = &answer.node_endpoints[0];
    assert_eq!((endpoint.node_id, endpoint.port), (1, i32::from(server.address(1).1)));
    let part = answer.one();
    assert_eq!(name(part.error_code), "NOT_LEADER_OR_FOLLOWER");
    assert_eq!(part.current_leader.leader_id, 1);
}

#[test]
fn internal_topics_take_no_records_from_clients() {
    let (_server, mut wire) = broker();
    let request = msg!(FindCoordinatorRequest { key: "g".into() });
    crate::common::until(crate::PATIENCE, "the offsets topic", || {
        (wire.ask(&request, 3).error_code == 0).then_some(())
    });
    let answer = wire.produce("__consumer_offsets", 0, batch(&["a"]));
    assert_eq!(name(answer.error_code), "INVALID_TOPIC_EXCEPTION");
}

#[test]
fn a_record_without_a_key_is_refused_by_a_compacted_topic_and_named() {
    let (_server, mut wire) = broker_with(&[("cleanup.policy", "compact")]);
    let mut builder = BatchBuilder::default();
    for key in [Some(&b"k"[..]), None, Some(b"l"), None] {
        builder.push(Clock::wall().0, key, Some(b"v"), &[]);
    }
    let records = builder.build(Codec::Lz4, ProducerStamp::NONE).unwrap();
    let answer = wire.produce("t", 0, records);
    assert_eq!(name(answer.error_code), "INVALID_RECORD");
    let named: Vec<_> = answer.record_errors.iter().map(|e| e.batch_index).collect();
    assert_eq!(named, [1, 3]);
    assert_eq!(wire.fetch("t", 0, 0).high_watermark, 0);
}

#[test]
fn a_create_time_more_than_an_hour_ahead_is_refused_and_any_in_the_past_is_taken() {
    let (_server, mut wire) = broker();
    let now = Clock::wall().0;
    assert_eq!(refused(&mut wire, created_at(now + 3_700_000, None)), "INVALID_TIMESTAMP");
    for timestamp in [now + 3_500_000, 0, 1] {
        assert_eq!(wire.produce("t", 0, created_at(timestamp, None)).error_code, 0);
    }
}

#[test]
fn log_append_time_is_stamped_and_told() {
    let (_server, mut wire) = broker_with(&[("message.timestamp.type", "LogAppendTime")]);
    let before = Clock::wall().0;
    let answer = wire.produce("t", 0, created_at(1, None));
    assert!((before..=Clock::wall().0).contains(&answer.log_append_time_ms));
    let (header, bytes) = stored(&mut wire, 0);
    assert!(header.is_append_time());
    assert_eq!(header.max_timestamp, answer.log_append_time_ms);
    header.check_crc(&bytes[..header.size_bytes]).unwrap();
    let claims = patched(&batch(&["a"]), ATTRIBUTES, &[0, 0x08]);
    assert_eq!(refused(&mut wire, claims), "INVALID_TIMESTAMP", "it is not the producer's to say");
}

#[test]
fn the_topic_decides_the_codec_unless_it_leaves_that_to_the_producer() {
    for (setting, sent, stored_as) in [
        ("producer", Codec::Snappy, Codec::Snappy),
        ("zstd", Codec::None, Codec::Zstd),
        ("zstd", Codec::Gzip, Codec::Zstd),
        ("uncompressed", Codec::Lz4, Codec::None),
    ] {
        let (_server, mut wire) = broker_with(&[("compression.type", setting)]);
        let values = ["same same same same same", "same same same same"];
        let produced = wire.produce("t", 0, batch_of(&values, sent, ProducerStamp::NONE));
        assert_eq!(produced.error_code, 0);
        let (header, bytes) = stored(&mut wire, 0);
        assert_eq!(Codec::from_id(header.codec_id()), Some(stored_as), "{setting}");
        header.check_crc(&bytes[..header.size_bytes]).unwrap();
        assert_eq!(header.count, 2);
    }
}

#[test]
fn batches_of_one_producer_stay_in_order_whether_they_are_opened_or_not() {
    let (_server, mut wire) = broker_with(&[("compression.type", "zstd")]);
    let large = "so and so ".repeat(30_000);
    // As it is, opened in the turn, and opened beside it.
    let kinds = [(Codec::Zstd, "small"), (Codec::None, "small"), (Codec::Lz4, large.as_str())];
    let kind = |i: i32| kinds[i as usize * 7 % 5 % 3];
    for i in 0..30 {
        let (codec, value) = kind(i);
        let records = batch_of(&[value], codec, stamp(9, 0, i));
        wire.send(&produce_request("t", 0, -1, records), 9);
    }
    let mut correlation_id = None;
    for i in 0..30 {
        let frame = wire.frame().unwrap().unwrap();
        let id = frame.clone().get_i32();
        assert_eq!(id, *correlation_id.get_or_insert(id) + i, "answers keep their order");
        let answer: ProduceResponse = frame::decode(frame.slice(5..), 9).unwrap();
        let answer = answer.one();
        assert_eq!((name(answer.error_code), answer.base_offset), ("NONE", i64::from(i)));
    }
    for i in 0..30 {
        let (header, bytes) = stored(&mut wire, i64::from(i));
        assert_eq!((header.base_sequence, header.codec_id()), (i, Codec::Zstd as u8));
        let plain = Codec::Zstd.decompress(&bytes[HEADER_BYTES..header.size_bytes], 1 << 20);
        assert_eq!(plain.unwrap().len() > 1000, kind(i).1.len() > 1000);
    }
}

#[test]
fn a_request_with_a_batch_to_be_opened_is_served_as_a_whole() {
    let (server, mut wire) = broker_with(&[("cleanup.policy", "compact")]);
    wire.create("plain", 1, &[]);
    let keyless = batch(&["x".repeat(100_000).as_str()]);
    let part = |records: &Bytes| {
        vec![msg!(PartitionProduceData { index: 0, records: Some(records.clone()) })]
    };
    let topics = ["plain", "t", "nowhere", "plain"]
        .map(|name| msg!(TopicProduceData { name: name.into(), partition_data: part(&keyless) }));
    let request = |acks| msg!(ProduceRequest { acks, topic_data: topics.to_vec() });
    let answer = wire.ask(&request(-1), 9);
    let told: Vec<_> = answer
        .responses
        .iter()
        .map(|t| &t.partition_responses[0])
        .map(|p| (name(p.error_code), p.base_offset, p.record_errors.len()))
        .collect();
    let expected = [
        ("NONE", 0, 0),
        ("INVALID_RECORD", -1, 1),
        ("UNKNOWN_TOPIC_OR_PARTITION", -1, 0),
        ("NONE", 1, 0),
    ];
    assert_eq!(told, expected);
    // With acks=0 there is no answer, and the failure closes the connection.
    wire.send(&request(0), 9);
    assert!(wire.is_closed());
    let mut wire = Wire::connect(server.address(0));
    crate::common::until(crate::PATIENCE, "what was good of it", || {
        (wire.fetch("plain", 0, 0).high_watermark == 4).then_some(())
    });
}

fn once(wire: &mut Wire, producer: (i64, i16, i32)) -> Produced {
    let (id, epoch, sequence) = producer;
    wire.produce("t", 0, batch_of(&["a", "b"], Codec::None, stamp(id, epoch, sequence)))
}

#[test]
fn the_last_five_batches_of_a_producer_are_recognised_and_never_appended_again() {
    let (_server, mut wire) = broker();
    for i in 0..7 {
        assert_eq!(once(&mut wire, (9, 0, i * 2)).base_offset, i64::from(i) * 2);
    }
    for i in 2..7 {
        let again = once(&mut wire, (9, 0, i * 2));
        assert_eq!((again.error_code, again.base_offset), (0, i64::from(i) * 2));
        assert!(again.log_append_time_ms > 0, "a duplicate tells the time of its batch");
    }
    assert_eq!(name(once(&mut wire, (9, 0, 2)).error_code), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    assert_eq!(wire.fetch("t", 0, 0).high_watermark, 14);
}

#[test]
fn sequences_have_no_gaps_and_a_new_epoch_begins_at_0() {
    let (_server, mut wire) = broker();
    let mut ask = |producer| name(once(&mut wire, producer).error_code);
    assert_eq!(ask((9, 3, 0)), "NONE");
    assert_eq!(ask((9, 3, 3)), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    assert_eq!(ask((9, 3, 2)), "NONE");
    assert_eq!(ask((9, 4, 4)), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    assert_eq!(ask((9, 4, 0)), "NONE");
    assert_eq!(ask((9, 3, 4)), "INVALID_PRODUCER_EPOCH");
    assert_eq!(ask((9, 4, 2)), "NONE");
}

#[test]
fn a_producer_that_is_not_known_may_begin_anywhere_and_sequences_wrap() {
    let (_server, mut wire) = broker();
    let mut ask = |producer| name(once(&mut wire, producer).error_code);
    assert_eq!(ask((9, 0, i32::MAX - 1)), "NONE");
    assert_eq!(ask((9, 0, 0)), "NONE");
    assert_eq!(ask((9, 0, 2)), "NONE");
}
