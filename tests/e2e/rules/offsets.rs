//! ListOffsets and OffsetForLeaderEpoch.

use klamm::msg;
use klamm::wire::codec::Codec;
use klamm::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm::wire::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use klamm::wire::messages::{ListOffsetsRequest, OffsetForLeaderEpochRequest};
use klamm::wire::record::{BatchBuilder, ProducerStamp};

use super::{broker, name};
use crate::common::Wire;

const VERSION: i16 = 11;

/// (error, offset, timestamp, leader epoch)
type Listed = (&'static str, i64, i64, i32);

fn list(wire: &mut Wire, timestamp: i64, version: i16) -> Listed {
    let partition = msg!(ListOffsetsPartition { partition_index: 0, timestamp });
    let topic = msg!(ListOffsetsTopic { name: "t".into(), partitions: vec![partition] });
    let answer = wire.ask(&msg!(ListOffsetsRequest { topics: vec![topic] }), version);
    let p = &answer.topics[0].partitions[0];
    (name(p.error_code), p.offset, p.timestamp, p.leader_epoch)
}

fn produce_at_times(wire: &mut Wire, times: &[i64]) {
    let mut builder = BatchBuilder::default();
    for &time in times {
        builder.push(time, None, Some(b"v"), &[]);
    }
    let records = builder.build(Codec::Gzip, ProducerStamp::NONE).unwrap();
    assert_eq!(wire.produce("t", 0, records).error_code, 0);
}

#[test]
fn named_offsets_are_the_end_the_start_and_the_largest_timestamp() {
    let (_server, mut wire) = broker();
    assert_eq!(list(&mut wire, -1, VERSION), ("NONE", 0, -1, 0));
    assert_eq!(list(&mut wire, -3, VERSION), ("NONE", -1, -1, -1));
    produce_at_times(&mut wire, &[100, 300, 200]);
    produce_at_times(&mut wire, &[250, 260]);
    assert_eq!(list(&mut wire, -1, VERSION), ("NONE", 5, -1, 0));
    assert_eq!(list(&mut wire, -2, VERSION), ("NONE", 0, -1, 0));
    assert_eq!(list(&mut wire, -3, VERSION), ("NONE", 1, 300, 0));
    assert_eq!(list(&mut wire, -4, VERSION), ("NONE", 0, -1, 0));
    assert_eq!(list(&mut wire, -5, VERSION), ("NONE", -1, -1, -1));
}

#[test]
fn a_timestamp_finds_the_first_record_that_is_not_older() {
    let (_server, mut wire) = broker();
    produce_at_times(&mut wire, &[100, 300, 200]);
    produce_at_times(&mut wire, &[250, 260]);
    produce_at_times(&mut wire, &[400]);
    for (time, offset, found) in
        [(0, 0, 100), (100, 0, 100), (101, 1, 300), (300, 1, 300), (301, 5, 400), (400, 5, 400)]
    {
        assert_eq!(list(&mut wire, time, VERSION), ("NONE", offset, found, 0), "at {time}");
    }
    assert_eq!(list(&mut wire, 401, VERSION), ("NONE", -1, -1, -1), "nothing found is no error");
}

#[test]
fn a_record_in_a_batch_that_takes_long_to_open_is_found_as_well() {
    let (_server, mut wire) = broker();
    wire.create("large", 8, &[]);
    let mut builder = BatchBuilder::default();
    for time in 0..100_000 {
        builder.push(time, None, Some(&[0; 100]), &[]);
    }
    let records = builder.build(Codec::Zstd, ProducerStamp::NONE).unwrap();
    assert!(records.len() < 1 << 20, "{}", records.len());
    for at in 0..8 {
        assert_eq!(wire.produce("large", at, records.clone()).error_code, 0);
    }
    let partition =
        |at| msg!(ListOffsetsPartition { partition_index: at, timestamp: 70_000 + i64::from(at) });
    let partitions = (0..8).map(partition).collect();
    let topic = msg!(ListOffsetsTopic { name: "large".into(), partitions });
    let answer = wire.ask(&msg!(ListOffsetsRequest { topics: vec![topic] }), VERSION);
    for p in &answer.topics[0].partitions {
        let wants = 70_000 + i64::from(p.partition_index);
        assert_eq!((p.error_code, p.offset, p.timestamp), (0, wants, wants));
    }
}

#[test]
fn a_name_that_the_version_does_not_have_is_unsupported() {
    let (_server, mut wire) = broker();
    for (timestamp, since) in [(-3, 7), (-4, 8), (-5, 9), (-6, 11)] {
        assert_eq!(list(&mut wire, timestamp, since - 1).0, "UNSUPPORTED_VERSION", "{timestamp}");
        assert_eq!(list(&mut wire, timestamp, since).0, "NONE", "{timestamp}");
    }
    assert_eq!(list(&mut wire, -7, VERSION).0, "UNSUPPORTED_VERSION");
}

#[test]
fn a_partition_that_is_named_twice_is_an_invalid_request() {
    let (_server, mut wire) = broker();
    let partition = msg!(ListOffsetsPartition { partition_index: 0, timestamp: -1 });
    let partitions = vec![partition.clone(), partition];
    let topic = msg!(ListOffsetsTopic { name: "t".into(), partitions });
    let answer = wire.ask(&msg!(ListOffsetsRequest { topics: vec![topic] }), VERSION);
    let codes = answer.topics.iter().flat_map(|t| &t.partitions).map(|p| name(p.error_code));
    let codes: Vec<_> = codes.collect();
    assert!(!codes.is_empty() && codes.iter().all(|&c| c == "INVALID_REQUEST"), "{codes:?}");
}

#[test]
fn the_end_of_an_epoch_is_the_log_end_for_the_latest_and_unknown_for_a_later_one() {
    let (_server, mut wire) = broker();
    produce_at_times(&mut wire, &[1, 2, 3]);
    for (leader_epoch, found) in [(0, (0, 3)), (1, (-1, -1))] {
        let partition = msg!(OffsetForLeaderPartition { partition: 0, leader_epoch });
        let topic = msg!(OffsetForLeaderTopic { topic: "t".into(), partitions: vec![partition] });
        let request = msg!(OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic] });
        let answer = wire.ask(&request, 4);
        let p = &answer.topics[0].partitions[0];
        assert_eq!((p.error_code, (p.leader_epoch, p.end_offset)), (0, found));
    }
}
