//! Fetch, without sessions.

use std::thread;
use std::time::{Duration, Instant};

use klamm::msg;
use klamm::wire::Uuid;
use klamm::wire::batch::BatchHeader;
use klamm::wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use klamm::wire::messages::fetch_request::FetchPartition;
use klamm::wire::messages::{DeleteRecordsRequest, FetchRequest};

use super::{broker, name};
use crate::common::Wire;
use crate::common::wire::{One as _, batch, fetch_request, produce_request};

fn first_offset(wire: &mut Wire, offset: i64) -> i64 {
    let records = wire.fetch("t", 0, offset).records.unwrap();
    BatchHeader::parse(&records).unwrap().base_offset.0
}

/// A request with one change to its only partition.
fn asking(offset: i64, change: impl FnOnce(&mut FetchPartition)) -> FetchRequest {
    let mut request = fetch_request("t", 0, offset);
    change(&mut request.topics[0].partitions[0]);
    request
}

#[test]
fn an_offset_inside_a_batch_brings_the_whole_batch() {
    let (_server, mut wire) = broker();
    wire.produce("t", 0, batch(&["a", "b", "c"]));
    wire.produce("t", 0, batch(&["d", "e"]));
    for (offset, first) in [(0, 0), (1, 0), (2, 0), (3, 3), (4, 3)] {
        assert_eq!(first_offset(&mut wire, offset), first);
    }
}

#[test]
fn the_end_is_empty_and_beyond_it_or_before_the_start_is_out_of_range() {
    let (_server, mut wire) = broker();
    wire.produce("t", 0, batch(&["a", "b", "c"]));
    let end = wire.fetch("t", 0, 3);
    assert_eq!((end.error_code, end.records.unwrap().len()), (0, 0));
    assert_eq!(name(wire.fetch("t", 0, 4).error_code), "OFFSET_OUT_OF_RANGE");
    assert_eq!(name(wire.fetch("t", 0, -1).error_code), "OFFSET_OUT_OF_RANGE");
    let partition = msg!(DeleteRecordsPartition { partition_index: 0, offset: 2 });
    let topic = msg!(DeleteRecordsTopic { name: "t".into(), partitions: vec![partition] });
    let deleted = msg!(DeleteRecordsRequest { topics: vec![topic], timeout_ms: 0 });
    assert_eq!(wire.ask(&deleted, 2).topics[0].partitions[0].low_watermark, 2);
    assert_eq!(name(wire.fetch("t", 0, 1).error_code), "OFFSET_OUT_OF_RANGE");
    let start = wire.fetch("t", 0, 2);
    assert_eq!((start.error_code, start.log_start_offset), (0, 2));
}

#[test]
fn the_first_partition_with_data_brings_a_batch_however_large_and_the_next_one_none() {
    let (_server, mut wire) = broker();
    wire.create("u", 1, &[]);
    wire.create("empty", 1, &[]);
    let large = "x".repeat(10_000);
    for topic in ["t", "u"] {
        wire.produce(topic, 0, batch(&[&large]));
        wire.produce(topic, 0, batch(&[&large]));
    }
    let mut request = fetch_request("empty", 0, 0);
    request.max_bytes = 1000;
    request.topics.extend(fetch_request("u", 0, 0).topics);
    request.topics.extend(fetch_request("t", 0, 0).topics);
    let answer = wire.ask(&request, 12);
    let sizes = answer.responses.iter().map(|t| {
        assert_eq!(t.partitions[0].error_code, 0);
        (t.topic.as_str(), t.partitions[0].records.as_ref().unwrap().len())
    });
    let whole = batch(&[&large]).len();
    assert_eq!(sizes.collect::<Vec<_>>(), [("empty", 0), ("u", whole), ("t", 0)]);
    let mut small = asking(0, |p| p.partition_max_bytes = 10);
    small.max_bytes = 1 << 20;
    let records = wire.ask(&small, 12).one().records.unwrap();
    assert_eq!(records.len(), whole, "the limit of the partition gives way too");
}

#[test]
fn a_fetch_waits_for_min_bytes_and_a_produce_wakes_it() {
    let (server, mut wire) = broker();
    let mut request = fetch_request("t", 0, 0);
    (request.max_wait_ms, request.min_bytes) = (15_000, 1);
    let start = Instant::now();
    wire.send(&request, 12);
    thread::sleep(Duration::from_millis(300));
    let mut producer = Wire::connect(server.address(0));
    producer.produce("t", 0, batch(&["a"]));
    let answer = wire.answer::<FetchRequest>(12).one();
    let took = start.elapsed();
    assert!(!answer.records.unwrap().is_empty());
    assert!((Duration::from_millis(300)..Duration::from_secs(10)).contains(&took), "{took:?}");
}

#[test]
fn a_fetch_that_finds_too_little_ends_with_its_wait_and_brings_what_there_is() {
    let (_server, mut wire) = broker();
    wire.produce("t", 0, batch(&["a"]));
    let mut request = fetch_request("t", 0, 0);
    (request.max_wait_ms, request.min_bytes) = (400, 1 << 20);
    let start = Instant::now();
    let answer = wire.ask(&request, 12).one();
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
    assert!(!answer.records.unwrap().is_empty());
}

#[test]
fn an_error_ends_the_wait_at_once() {
    let (_server, mut wire) = broker();
    let mut request = fetch_request("t", 0, 0);
    request.topics.extend(fetch_request("missing", 0, 0).topics);
    (request.max_wait_ms, request.min_bytes) = (30_000, 1);
    let start = Instant::now();
    let answer = wire.ask(&request, 12);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(name(answer.responses[1].partitions[0].error_code), "UNKNOWN_TOPIC_OR_PARTITION");
}

#[test]
fn a_request_behind_a_waiting_fetch_is_answered_after_it() {
    let (server, mut wire) = broker();
    let mut request = fetch_request("t", 0, 0);
    (request.max_wait_ms, request.min_bytes) = (500, 1);
    wire.send(&request, 12);
    wire.send(&produce_request("t", 0, -1, batch(&["a"])), 9);
    let fetch = wire.frame().unwrap().unwrap();
    let produce = wire.frame().unwrap().unwrap();
    let correlation = |f: &[u8]| i32::from_be_bytes(f[..4].try_into().unwrap());
    assert_eq!(correlation(&fetch) + 1, correlation(&produce));
    drop(server);
}

#[test]
fn the_list_of_aborted_transactions_is_null_unless_only_committed_records_are_read() {
    let (_server, mut wire) = broker();
    wire.produce("t", 0, batch(&["a"]));
    let mut request = fetch_request("t", 0, 0);
    assert_eq!(wire.ask(&request, 12).one().aborted_transactions, None);
    request.isolation_level = 1;
    let committed = wire.ask(&request, 12).one();
    assert_eq!(committed.aborted_transactions, Some(vec![]));
    assert_eq!(committed.last_stable_offset, 1);
    assert!(!committed.records.unwrap().is_empty());
}

#[test]
fn leader_epochs_are_checked_from_version_9_on() {
    let (_server, mut wire) = broker();
    wire.produce("t", 0, batch(&["a"]));
    let ahead = asking(0, |p| p.current_leader_epoch = 1);
    assert_eq!(name(wire.ask(&ahead, 12).one().error_code), "UNKNOWN_LEADER_EPOCH");
    let current = asking(0, |p| p.current_leader_epoch = 0);
    assert_eq!(wire.ask(&current, 12).one().error_code, 0);
    let unknown = asking(0, |p| p.last_fetched_epoch = 7);
    assert_eq!(name(wire.ask(&unknown, 12).one().error_code), "OFFSET_OUT_OF_RANGE");
    let diverges = asking(3, |p| p.last_fetched_epoch = 0);
    assert_eq!(name(wire.ask(&diverges, 12).one().error_code), "OFFSET_OUT_OF_RANGE");
}

#[test]
fn from_version_13_on_topics_go_by_id() {
    let (_server, mut wire) = broker();
    wire.produce("t", 0, batch(&["a"]));
    let id = super::metadata::topic_id(&mut wire, "t");
    let mut request = fetch_request("t", 0, 0);
    request.topics[0].topic_id = id;
    let answer = wire.ask(&request, 16);
    assert_eq!(answer.responses[0].topic_id, id);
    assert!(!answer.one().records.unwrap().is_empty());
    request.topics[0].topic_id = Uuid::from_bytes([9; 16]);
    assert_eq!(name(wire.ask(&request, 16).one().error_code), "UNKNOWN_TOPIC_ID");
}
