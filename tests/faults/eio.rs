//! A write or a sync of the disk that fails with EIO, once, or takes its time, under the real binary: a small
//! library that is loaded before the C library stands between them (`preload.c`).

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use klamm::wire::messages::ProduceRequest;

use crate::common::wire::{batch, fetch_request, produce_request};
use crate::common::{Server, Wire, until};

const STORAGE_ERROR: i16 = 56;

/// A server whose disk and clock can be told to go wrong. The library is built with the compiler that the
/// build of the broker needs too.
pub fn preloaded(settings: &[(&str, &str)]) -> Server {
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
    server.start_again();
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

fn failed_once(server: &Server) -> String {
    assert!(!server.place.dir.join("eio").exists(), "nothing failed: {}", server.log());
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

#[test]
fn a_write_of_a_segment_that_fails_ends_one_partition_until_a_restart() {
    let mut server = server();
    let mut wire = Wire::connect(server.address(0));
    wire.create("large", 1, &[]);
    wire.create("other", 1, &[]);
    let large = batch(&["x".repeat(900_000).as_str()]);
    for i in 0..5 {
        assert_eq!(wire.produce("large", 0, large.clone()).base_offset, i);
    }
    fail(&server, "pwrite .log");
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
fn a_sync_that_takes_two_seconds_holds_up_what_waits_for_it_and_nothing_else() {
    let mut server = server();
    let mut wire = Wire::connect(server.address(0));
    wire.create("t", 1, &[]);
    assert_eq!(wire.produce("t", 0, batch(&["before"])).base_offset, 0);
    fail(&server, "fdatasync .chunk 2000");
    let since = Instant::now();
    wire.send(&produce_request("t", 0, -1, batch(&["slow"])), 9);
    let mut other = Wire::connect(server.address(0));
    until(Duration::from_secs(20), "the slow sync", || {
        (!server.place.dir.join("eio").exists()).then_some(())
    });
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
