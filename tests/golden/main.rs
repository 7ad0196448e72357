//! What a real Apache Kafka 4.3.1 answered, replayed against the binary: sequences over several
//! connections, waits, limits and defaults. Each scenario is a text beside this file with Kafka's
//! answers in it; `make golden` writes them anew. `play` says what the lines mean.
//!
//! Lines that are meant to differ stand in `differences.tsv`, under `golden/NAME`, each group with
//! its reason.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(unreachable_pub, reason = "modules of a test binary")]
#![allow(clippy::disallowed_methods, reason = "tests of a real process live in real time")]

#[path = "../common/mod.rs"]
mod common;

mod dump_log;
mod dumped;
mod java;
mod normal;
mod oracle;
mod play;
mod requests;
mod stored;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::Server;
use common::server::Place;
use oracle::Oracle;
use play::Stop;
use regex::Regex;

/// How long something may take that is not there at once.
const PATIENCE: Duration = Duration::from_mins(1);

/// What both brokers are started with, beside their own settings: waits that a test can afford, and
/// limits that it can reach.
const SETTINGS: &[(&str, &str)] = &[
    ("node.id", "1"),
    ("group.initial.rebalance.delay.ms", "2500"),
    ("group.min.session.timeout.ms", "1000"),
    ("group.max.session.timeout.ms", "60000"),
    ("group.max.size", "4"),
    ("log.retention.ms", "-1"),
    ("max.request.partition.size.limit", "5"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Names of the scenarios.
fn scenarios() -> Vec<String> {
    let names = fs::read_dir(folder()).unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".txt").map(str::to_owned)
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn text_of(name: &str) -> (PathBuf, String) {
    let path = folder().join(format!("{name}.txt"));
    let text = fs::read_to_string(&path).unwrap();
    (path, text)
}

/// Lines of a scenario that are meant to differ.
fn meant(name: &str) -> Vec<Regex> {
    let table = fs::read_to_string(folder().join("differences.tsv")).unwrap();
    let own = format!("golden/{name}\t");
    table.lines().filter_map(|l| l.strip_prefix(&own)).map(|l| Regex::new(l).unwrap()).collect()
}

#[track_caller]
fn replay(name: &str) {
    let mut settings = vec![("node.count", "1")];
    settings.extend_from_slice(SETTINGS);
    let mut server = Server::with(&settings);
    let (_, recorded) = text_of(name);
    let port = server.place.port;
    let played = play::play(&recorded, port, |stop| match stop {
        Stop::Clean => server.restart(),
        Stop::Kill => {
            server.kill();
            server.start_again();
        }
    });
    let differences = differences(&recorded, &played, &meant(name));
    assert!(differences.is_empty(), "{name}: {}", differences.join("\n"));
}

/// Lines of a recording that are not as they were, the first of them. Those that are meant to differ
/// count on neither side.
fn differences(recorded: &str, played: &str, meant: &[Regex]) -> Vec<String> {
    let counts = |line: &&str| !meant.iter().any(|regex| regex.is_match(line));
    let wants: Vec<_> = recorded.lines().filter(counts).collect();
    let has: Vec<_> = played.lines().filter(counts).collect();
    let mut differences = Vec::new();
    for at in 0..wants.len().max(has.len()) {
        // One line too many moves all others.
        if differences.len() == 20 {
            break;
        }
        let (wants, has) = (wants.get(at).unwrap_or(&""), has.get(at).unwrap_or(&""));
        if wants != has {
            differences.push(format!("line {}\n Kafka: {wants}\n Klamm: {has}", at + 1));
        }
    }
    differences
}

#[test]
fn members_join_and_leave_as_with_kafka() {
    replay("members");
}

#[test]
fn a_parked_fetch_wakes_as_with_kafka() {
    replay("fetch");
}

#[test]
fn a_retried_batch_is_answered_as_with_kafka_also_after_a_restart() {
    replay("retry");
}

#[test]
fn commits_during_a_rebalance_are_answered_as_with_kafka() {
    replay("commits");
}

#[test]
fn rebalances_and_sessions_take_their_time_as_with_kafka() {
    replay("timing");
}

#[test]
fn limits_lie_where_kafka_has_them() {
    replay("limits");
}

#[test]
fn defaults_are_kafkas() {
    replay("defaults");
}

#[test]
fn each_scenario_has_a_test() {
    let source = include_str!("main.rs");
    let replayed = |name: &String| source.contains(&format!("replay(\"{name}\")"));
    let missing: Vec<_> = scenarios().into_iter().filter(|name| !replayed(name)).collect();
    assert!(missing.is_empty(), "no test replays {missing:?}");
}

#[test]
#[ignore = "asks a real Apache Kafka and writes the scenarios anew: make golden"]
fn record() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let asked = |name: &str| only.is_empty() || only.split(',').any(|one| one == name);
    if asked("dumped") {
        println!("dumped");
        dumped::record();
    }
    let place = Place::take();
    let own = ["node.id", "offsets.topic", "transaction.state", "share.coordinator"];
    let is_own = |key: &str| own.iter().any(|o| key.starts_with(o));
    let kafka = Oracle::start(&place, SETTINGS.iter().filter(|(key, _)| !is_own(key)));
    // The tools list all that there is: they come first.
    for name in tools::SCRIPTS.into_iter().filter(|name| asked(name)) {
        println!("{name}");
        tools::record(name, place.port);
    }
    for name in scenarios().into_iter().filter(|name| asked(name)) {
        println!("{name}");
        let (path, text) = text_of(&name);
        let restart = |stop| match stop {
            Stop::Clean => kafka.restart(libc::SIGTERM),
            Stop::Kill => kafka.restart(libc::SIGKILL),
        };
        fs::write(path, play::play(&text, place.port, restart)).unwrap();
    }
}
