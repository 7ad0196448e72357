//! The answers of a real Apache Kafka 4.3.1 to thousands of requests, where they lie beside the clone:
//! the same requests are sent to the binary and the answers compared. What is meant to differ stands in
//! `tests/golden/differences.tsv`.

use std::path::Path;
use std::time::Duration;

use crate::common::Server;
use crate::common::program::{command, installed, must_succeed};
use crate::shared;

/// Scenarios of what is not there yet.
const LATER: [&str; 2] = ["transactions", "consumer_groups_848"];
/// Percentage of equal answers below which the test fails.
const EQUAL_MIN: &str = "100";
const LIMIT: Duration = Duration::from_mins(5);

/// Copies a recording without the scenarios that are named.
const LEAVE_OUT: &str = "\
import json, sys, zstandard
source, target, *later = sys.argv[1:]
with zstandard.open(source) as f: recorded = json.load(f)
for name in later: del recorded[name]
with open(target, 'w') as f: json.dump(recorded, f)";

/// Settings that the recorded broker had, and what kdiff asks for.
const SETTINGS: &[(&str, &str)] = &[
    ("node.count", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
];

#[test]
fn requests_are_answered_as_apache_kafka_answers_them() {
    let (Some(kdiff), Some(recording)) =
        (shared("kdiff/kdiff.py"), shared("kdiff/kafka-4.3.1.json.zst"))
    else {
        println!("no recording of Apache Kafka beside the clone: nothing is compared");
        return;
    };
    let server = Server::with(SETTINGS);
    let (python, kdiff) = (installed("python/bin/python"), kdiff.to_str().unwrap());
    let jar = installed("java/kafka-clients-4.3.1.jar");
    let file = |name: &str| server.place.dir.join(name).to_str().unwrap().to_owned();
    let (ours, theirs) = (file("klamm.json"), file("kafka.json"));
    let run = |arguments: &[&str]| {
        must_succeed(command(&python, arguments).env("KAFKA_CLIENTS_JAR", &jar), LIMIT);
    };
    let leave_out = ["-c", LEAVE_OUT, recording.to_str().unwrap(), &theirs];
    run(&[&leave_out[..], &LATER].concat());
    run(&[kdiff, "record", &server.bootstrap(), &ours]);
    let meant = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/differences.tsv");
    let allow = ["--allow", meant.to_str().unwrap(), "--min", EQUAL_MIN];
    run(&[&[kdiff, "diff", &theirs, &ours, "--show", "3"], &allow[..]].concat());
}
