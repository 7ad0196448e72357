//! A write, a sync or a read of the disk that fails with EIO, once, or takes its time, under the real binary:
//! a small library that is loaded before the C library stands between them (`preload.c`). It does not see the
//! reads of the back's ring, so for them the ring's own test of the disk fails first, and the back reads as
//! it does where there is no direct I/O.

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use klamm::wire::frame;
use klamm::wire::messages::{ProduceRequest, ProduceResponse};

use crate::common::wire::{One as _, batch, fetch_request, produce_request};
use crate::common::{Server, Wire, until};

const STORAGE_ERROR: i16 = 56;
const PATIENCE: Duration = Duration::from_secs(20);
/// Room for much more than makes a checkpoint due.
const RECORDS_MAX: i64 = 400;

/// A server whose disk and clock can be told to go wrong. The library is built with the compiler that the
/// build of the broker needs too.
pub fn preloaded(settings: &[(&str, &str)]) -> Server {
    let mut server = preloadable(settings);
    server.start_again();
    server
}

/// The same, not started yet.
fn preloadable(settings: &[(&str, &str)]) -> Server {
    let mut server = Server::stopped(settings);
    let place = |name: &str| server.place.dir.join(name).display().to_string();
    let (library, source) = (place("preload.so"), "tests/faults/preload.c");
    let mut cc = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", source, "-o", &library]);
    assert!(cc.status().unwrap().success());
    fs::write(place("clock"), 0_i64.to_ne_bytes()).unwrap();
    let places = [("EIO", place("eio")), ("CLOCK", place("clock"))];
    server.environment = places.map(|(key, path)| (key.to_owned(), path)).to_vec();
    server.environment.push(("LD_PRELOAD".into(), library));
    server
}

fn server() -> Server {
    preloaded(&[("node.count", "1")])
}

/// The next such call fails.
fn fail(server: &Server, call: &str) {
    let (file, whole) = (server.place.dir.join("eio"), server.place.dir.join("eio.new"));
    fs::write(&whole, call).unwrap();
    fs::rename(whole, file).unwrap();
}

/// Whether it is still to come.
fn is_armed(server: &Server) -> bool {
    server.place.dir.join("eio").exists()
}

fn failed_once(server: &Server) -> String {
    assert!(!is_armed(server), "nothing failed: {}", server.log());
    let log = server.log();
    let told: Vec<_> = log.lines().filter(|l| l.contains("storage failed")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("Input/output error") && told[0].contains("remedy"), "{log}");
    told[0].to_owned()
}

/// The journal takes no more: the node says so to whoever waits, and stops.
fn a_journal_that_fails(call: &str) {
    let mut server = server();
    let mut wire = Wire::connect(server.address(0));
    wire.create("t", 1, &[]);
    for i in 0..5 {
        assert_eq!(wire.produce("t", 0, batch(&["kept"])).base_offset, i);
    }
    fail(&server, call);
    let produced = wire.produce("t", 0, batch(&["lost or not"]));
    assert_eq!((produced.error_code, produced.base_offset), (STORAGE_ERROR, -1));
    let status = server.ended();
    assert!(!status.success(), "{status}");
    assert!(failed_once(&server).contains(".chunk"));
    assert!(server.log().contains("restart"), "{}", server.log());

    server.start_again();
    let mut wire = Wire::connect(server.address(0));
    let end = wire.produce("t", 0, batch(&["goes on"])).base_offset;
    assert!(end == 5 || end == 6, "{end}: what was acknowledged, and perhaps what was not");
    assert_eq!(wire.fetch("t", 0, 0).high_watermark, end + 1);
    assert!(server.signal(libc::SIGTERM).0.success());
}

#[test]
fn a_sync_of_the_journal_that_fails_stops_the_node_and_loses_nothing() {
    a_journal_that_fails("fdatasync .chunk");
}

#[test]
fn a_write_of_the_journal_that_fails_stops_the_node_and_loses_nothing() {
    a_journal_that_fails("pwrite .chunk");
}

/// A segment takes no more: its partition says so, and all others go on.
fn a_segment_that_fails(call: &str) {
    let mut server = server();
    let mut wire = Wire::connect(server.address(0));
    wire.create("large", 1, &[]);
    wire.create("other", 1, &[]);
    let large = batch(&["x".repeat(900_000).as_str()]);
    for i in 0..5 {
        assert_eq!(wire.produce("large", 0, large.clone()).base_offset, i);
    }
    fail(&server, call);
    let produced = wire.produce("large", 0, large.clone());
    assert_eq!((produced.error_code, produced.base_offset), (STORAGE_ERROR, -1));
    assert!(failed_once(&server).contains("large-0"));
    let next = wire.ask(&produce_request("large", 0, -1, large.clone()), 9);
    assert_eq!(next.responses[0].partition_responses[0].error_code, STORAGE_ERROR);
    let read = wire.ask(&fetch_request("large", 0, 0), 12);
    assert_eq!(read.responses[0].partitions[0].error_code, STORAGE_ERROR);
    assert_eq!(wire.produce("other", 0, batch(&["goes on"])).error_code, 0);

    server.restart();
    let mut wire = Wire::connect(server.address(0));
    let end = wire.produce("large", 0, batch(&["goes on"])).base_offset;
    assert!(end == 5 || end == 6, "{end}: what was acknowledged, and perhaps what was not");
    let first = wire.fetch("large", 0, 0).records.unwrap();
    assert_eq!(first[61..large.len()], large[61..]);
    assert_eq!(wire.fetch("other", 0, 0).high_watermark, 1);
    assert!(server.signal(libc::SIGTERM).0.success());
}

#[test]
fn a_write_of_a_segment_that_fails_ends_one_partition_until_a_restart() {
    a_segment_that_fails("pwrite .log");
}

#[test]
fn a_sync_of_a_segment_that_fails_ends_one_partition_until_a_restart() {
    a_segment_that_fails("fdatasync .log");
}

/// A record that goes through the journal, so that its segment is written and synced for a checkpoint.
fn value(i: i64) -> String {
    char::from(b'a' + (i % 26) as u8).to_string().repeat(200_000)
}

/// Every record from the start is what was sent.
fn check(wire: &mut Wire, topic: &str, count: i64) {
    for i in 0..count {
        let read = until(PATIENCE, "the record", || {
            let data = wire.fetch(topic, 0, i);
            assert_eq!(data.error_code, 0, "{topic} {i}");
            data.records.filter(|records| !records.is_empty())
        });
        let sent = batch(&[value(i).as_str()]);
        assert_eq!(read[61..sent.len()], sent[61..], "{topic} {i}");
    }
}

/// A server with a small journal, and its answers to records until one fails or the call has failed; how
/// many were acknowledged.
fn produce_until_it_fails(call: &str) -> (Server, i64) {
    let server = preloaded(&[("node.count", "1"), ("journal.bytes", "50331648")]);
    let mut wire = Wire::connect(server.address(0));
    wire.create("hurt", 1, &[]);
    wire.create("well", 1, &[]);
    assert_eq!(wire.produce("well", 0, batch(&[value(0).as_str()])).error_code, 0);
    fail(&server, call);
    for i in 0..RECORDS_MAX {
        let bytes = wire.encode(&produce_request("hurt", 0, -1, batch(&[value(i).as_str()])), 9);
        let sent = wire.socket.write_all(&bytes);
        let Ok(Some(answer)) = sent.and_then(|()| wire.frame()) else { return (server, i) };
        let produced = frame::decode::<ProduceResponse>(answer.slice(5..), 9).unwrap().one();
        if produced.error_code != 0 {
            assert_eq!(produced.error_code, STORAGE_ERROR);
            return (server, i);
        }
        assert_eq!(produced.base_offset, i);
    }
    panic!("nothing failed: {}", server.log());
}

/// After a restart without the fault nothing that was acknowledged is missing.
fn check_restarted(mut server: Server, acked: i64) {
    server.start_again();
    let mut wire = Wire::connect(server.address(0));
    check(&mut wire, "hurt", acked);
    check(&mut wire, "well", 1);
    let end = wire.produce("hurt", 0, batch(&["goes on"])).base_offset;
    assert!(end == acked || end == acked + 1, "{end} of {acked}");
    assert!(server.signal(libc::SIGTERM).0.success());
}

#[test]
fn a_sync_of_a_segment_that_fails_in_a_checkpoint_ends_one_partition_until_a_restart() {
    let (mut server, acked) = produce_until_it_fails("fdatasync hurt-0/00000000000000000000.log");
    assert!(failed_once(&server).contains("hurt-0"));
    let mut wire = Wire::connect(server.address(0));
    assert_eq!(wire.fetch("hurt", 0, 0).error_code, STORAGE_ERROR);
    check(&mut wire, "well", 1);
    assert_eq!(wire.produce("well", 0, batch(&["goes on"])).base_offset, 1);
    assert!(server.is_running(), "{}", server.log());
    assert!(server.signal(libc::SIGTERM).0.success());
    assert!(server.log().contains("the next start recovers it"), "{}", server.log());
    check_restarted(server, acked);
}

/// What says where recovery begins cannot be written: the journal could not be used again.
fn a_checkpoint_that_fails(call: &str) {
    let (mut server, acked) = produce_until_it_fails(call);
    let status = server.ended();
    assert!(!status.success(), "{status}");
    assert!(failed_once(&server).contains("offset-checkpoint"), "{}", server.log());
    assert!(server.log().contains("repair the disk, then restart"), "{}", server.log());
    check_restarted(server, acked);
}

#[test]
fn a_checkpoint_whose_write_fails_stops_the_node_and_loses_nothing() {
    a_checkpoint_that_fails("pwrite offset-checkpoint.tmp");
}

#[test]
fn a_checkpoint_whose_sync_fails_stops_the_node_and_loses_nothing() {
    a_checkpoint_that_fails("fdatasync offset-checkpoint.tmp");
}

#[test]
fn a_read_of_old_records_that_fails_ends_one_partition_until_a_restart() {
    let mut server = preloadable(&[("node.count", "1")]);
    fail(&server, "fsync .prime");
    server.start_again();
    let mut wire = Wire::connect(server.address(0));
    for topic in ["hurt", "well"] {
        wire.create(topic, 1, &[]);
        for i in 0..5 {
            assert_eq!(wire.produce(topic, 0, batch(&[value(i).as_str()])).base_offset, i);
        }
    }
    assert!(!is_armed(&server));
    assert!(server.signal(libc::SIGTERM).0.success());
    fail(&server, "fsync .prime");
    server.start_again();
    let mut wire = Wire::connect(server.address(0));
    until(PATIENCE, "the ring's test", || (!is_armed(&server)).then_some(()));
    fail(&server, "pread hurt-0/00000000000000000000.log");
    let code = until(PATIENCE, "the error", || {
        let data = wire.fetch("hurt", 0, 0);
        assert!(data.records.is_none_or(|records| records.is_empty()));
        (data.error_code != 0).then_some(data.error_code)
    });
    assert_eq!(code, STORAGE_ERROR);
    let line = failed_once(&server);
    assert!(line.contains("hurt-0") && line.contains("repair the disk, then restart"), "{line}");
    assert_eq!(wire.produce("hurt", 0, batch(&["no more"])).error_code, STORAGE_ERROR);
    check(&mut wire, "well", 5);
    assert_eq!(wire.produce("well", 0, batch(&["goes on"])).base_offset, 5);
    server.restart();
    let mut wire = Wire::connect(server.address(0));
    check(&mut wire, "hurt", 5);
    assert_eq!(wire.produce("hurt", 0, batch(&["goes on"])).base_offset, 5);
}

#[test]
fn a_sync_that_takes_two_seconds_holds_up_what_waits_for_it_and_nothing_else() {
    let mut server = server();
    let mut wire = Wire::connect(server.address(0));
    wire.create("t", 1, &[]);
    assert_eq!(wire.produce("t", 0, batch(&["before"])).base_offset, 0);
    fail(&server, "fdatasync .chunk 2000");
    let since = Instant::now();
    wire.send(&produce_request("t", 0, -1, batch(&["slow"])), 9);
    let mut other = Wire::connect(server.address(0));
    until(PATIENCE, "the slow sync", || (!is_armed(&server)).then_some(()));
    for _ in 0..20 {
        assert_eq!(other.fetch("t", 0, 0).high_watermark, 1, "not before it is synced");
    }
    let meanwhile = since.elapsed();
    let answer = wire.answer::<ProduceRequest>(9);
    let took = since.elapsed();
    let produced = &answer.responses[0].partition_responses[0];
    assert_eq!((produced.error_code, produced.base_offset), (0, 1));
    assert!(took >= Duration::from_secs(2) && meanwhile < took, "{took:?}, {meanwhile:?}");
    assert_eq!(other.fetch("t", 0, 0).high_watermark, 2);
    assert!(!server.log().contains("storage failed"), "{}", server.log());
    assert!(server.signal(libc::SIGTERM).0.success());
}
