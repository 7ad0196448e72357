//! The tests that come with clients, run against the real binary: those of librdkafka, from the source in
//! the `rdkafka-sys` crate, and those of the `rdkafka` crate. `suites/*.tsv` names each test that does
//! not pass, or is left out, with its reason; every other one has to pass, and a named one that passes or is
//! no more has to be struck off. The README says how many pass. A fast part of librdkafka's runs with all
//! tests, the rest by `make suites`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use crate::common::Server;
use crate::common::program::{command, installed, must_end};

/// Tests that send nothing in the suite's quick mode.
const IN_FULL: &str = "0018,0019,0026,0045,0050,0061,0082,0089,0102,0122,0132,0137";
/// Tests whose connections go through a thread of the runner's that slows them down. They run one by
/// one: closing such a connection can lock the runner up (its thread waits in `accept` for a connection that
/// is gone, whoever closes it for the thread, and all others for the lock that this one has).
const SLOWED: &str = "0049,0075,0076,0086,0088,0094";
/// How the reason of a test begins that is not run.
const LEFT_OUT: &str = "left out: ";
/// Quick tests of every kind.
const FAST: &str = "0001,0002,0005,0007,0008,0011,0012,0013,0017,0021,0022,0029,0030,0031,0036,0039,\
    0040,0044,0048,0057,0060,0063,0064,0070,0073,0085,0099,0140";
/// Parts of 0081 that ask for no ACLs.
const ADMIN: [&str; 7] =
    ["Configs", "Offsets", "Topics", "Partitions", "Records", "Groups", "Cluster"];
const LIMIT: Duration = Duration::from_mins(30);

/// Status (PASSED, FAILED, SKIPPED) and remark by test.
type Results = BTreeMap<String, (String, String)>;

/// As librdkafka's suite expects it: one broker, topics of four partitions on demand.
fn server(rebalance_delay_ms: &str) -> Server {
    let delay = ("group.initial.rebalance.delay.ms", rebalance_delay_ms);
    Server::with(&[("node.count", "1"), ("num.partitions", "4"), delay])
}

/// Runs librdkafka's test runner and reads the table at the end of what it prints.
fn librdkafka(server: &Server, set: &[(&str, &str)], options: &[&str]) -> Results {
    let dir = installed("librdkafka");
    let work = &server.place.dir;
    fs::write(
        work.join("test.conf"),
        format!("bootstrap.servers={}\ntest.timeout.multiplier=5\n", server.bootstrap()),
    )
    .unwrap();
    // The runner calls Kafka's scripts by their names, which the binary answers to.
    fs::create_dir_all(work.join("bin")).unwrap();
    for script in ["kafka-topics.sh", "kafka-acls.sh"] {
        let _ = symlink(env!("CARGO_BIN_EXE_klamm"), work.join("bin").join(script));
    }
    let (path, runner) = (work.join("suite.log"), format!("{dir}/tests/test-runner"));
    let mut program = command("stdbuf", &["-oL", &runner, "-L"]);
    program.args(options).current_dir(format!("{dir}/tests"));
    program
        .env("KAFKA_PATH", work)
        .env("BROKERS", server.bootstrap())
        .env("TEST_KAFKA_VERSION", "4.0.0");
    program.env("RDKAFKA_TEST_CONF", work.join("test.conf")).envs(set.iter().copied());
    let log = File::create(&path).unwrap();
    program.stdout(log.try_clone().unwrap()).stderr(log);
    must_end(&mut program, LIMIT);
    let log = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
    let mut results: Results = log.lines().filter_map(row).collect();
    // Not asked for, local, or left to another run.
    results.retain(|_, (_, remark)| {
        !remark.starts_with("Filtered") && !remark.starts_with("included")
    });
    assert!(!results.is_empty(), "no results: {}", tail(&log));
    results
}

/// A row of the runner's table: `| 0001_multiobj | PASSED | 0.1s | remark`, with colours.
fn row(line: &str) -> Option<(String, (String, String))> {
    let colour = regex::Regex::new("\x1b\\[[0-9;]*m").unwrap();
    let line = colour.replace_all(line, "");
    let mut cells = line.strip_prefix("| ")?.splitn(4, '|').map(|cell| cell.trim().to_owned());
    let (name, status, _, remark) = (cells.next()?, cells.next()?, cells.next()?, cells.next());
    (name.starts_with(|c: char| c.is_ascii_digit()))
        .then(|| (name, (status, remark.unwrap_or_default())))
}

fn tail(log: &str) -> &str {
    &log[log.floor_char_boundary(log.len().saturating_sub(4000))..]
}

/// The tests that do not pass, with the reasons.
fn listed(list: &str) -> BTreeMap<String, String> {
    let list = fs::read_to_string(Path::new("tests/compat/suites").join(list)).unwrap();
    let pairs = list.lines().filter_map(|line| line.split_once('\t'));
    pairs.map(|(name, why)| (name.to_owned(), why.to_owned())).collect()
}

/// Those of them that are not run.
fn left_out(list: &str) -> impl Iterator<Item = String> {
    listed(list).into_iter().filter(|(_, why)| why.starts_with(LEFT_OUT)).map(|(name, _)| name)
}

/// Holds what ran to the list of what does not pass.
fn hold(results: &Results, list: &str) {
    let list = listed(list);
    let mut wrong = Vec::new();
    for (name, (status, remark)) in results {
        let passed = status == "PASSED";
        println!("{status} {name} {remark}");
        if passed == list.contains_key(name) {
            wrong.push(format!(
                "{name}: {status}, {}listed {remark}",
                if passed { "" } else { "not " }
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same of a whole suite: all that is listed is run, but what is left out, and the README says of it what
/// is told of the number of tests that passed and of all.
fn hold_whole(results: &Results, list: &str, told: impl Fn(usize, usize) -> String) {
    hold(results, list);
    let left_out: Vec<_> = left_out(list).collect();
    for name in listed(list).keys() {
        let ran = results.contains_key(name);
        assert_ne!(ran, left_out.contains(name), "{name}: listed in {list}; run: {ran}");
    }
    // A test that is run in parts counts once.
    let passed = results.iter().filter(|(_, (status, _))| status == "PASSED");
    let passed: BTreeSet<_> = passed.map(|(name, _)| name.split(' ').next()).collect();
    let readme = fs::read_to_string("README.md").unwrap();
    let (readme, told) = (readme.replace('\n', " "), told(passed.len(), results.len()));
    assert!(readme.contains(&told), "README.md does not say: {told}");
}

/// A line of the Rust test harness: `test name ... ok`.
fn line(line: &str) -> Option<(String, (String, String))> {
    let (name, status) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let status = match status {
        "ok" => "PASSED",
        "FAILED" => "FAILED",
        _ => return None,
    };
    Some((name.to_owned(), (status.to_owned(), String::new())))
}

#[test]
#[ignore = "takes many minutes: make suites"]
fn the_rdkafka_crates_tests_pass_but_for_those_that_are_listed() {
    // Some of them ask for this port, whatever they are told.
    let address = "127.0.0.1:9092";
    let listener = format!("PLAINTEXT://{address}");
    let server =
        Server::with(&[("node.count", "1"), ("num.partitions", "3"), ("listeners", &listener)]);
    let (dir, path) = (installed("rdkafka"), server.place.dir.join("suite.log"));
    let mut cargo = command("cargo", &["test", "--tests", "--no-fail-fast", "--"]);
    for name in left_out("rdkafka.tsv") {
        cargo.args(["--skip", &name]);
    }
    cargo.current_dir(&dir).env("CARGO_TARGET_DIR", format!("{dir}/target"));
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("KAFKA_HOST", address);
    cargo.stdout(File::create(&path).unwrap());
    must_end(&mut cargo, LIMIT);
    let log = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<_> = log.lines().filter_map(line).collect();
    // Of two tests of one name the one that failed counts.
    lines.sort_by(|(_, a), (_, b)| b.cmp(a));
    let said: Vec<_> = log.lines().collect();
    for why in said.windows(2).filter(|pair| pair[0].contains(" panicked at ")) {
        println!("{}", why.join(" "));
    }
    let results: Results = lines.into_iter().collect();
    hold_whole(&results, "rdkafka.tsv", |passed, all| {
        format!("of the rdkafka crate ({passed} of {all}, and one that is left out")
    });
}

#[test]
fn a_fast_part_of_librdkafkas_tests_passes() {
    let server = server("0");
    let results = librdkafka(&server, &[("TESTS", FAST)], &["-Q", "-p4"]);
    assert_eq!(results.len(), FAST.split(',').count(), "{results:?}");
    hold(&results, "librdkafka.tsv");
}

#[test]
#[ignore = "takes many minutes: make suites"]
fn librdkafkas_tests_pass_but_for_those_that_are_listed() {
    let quick = server("0");
    // By their numbers.
    let left_out: Vec<_> = left_out("librdkafka.tsv").map(|name| name[..4].to_owned()).collect();
    let skip = format!("{IN_FULL},{SLOWED},{}", left_out.join(","));
    let mut results = librdkafka(&quick, &[("TESTS_SKIP", &skip)], &["-Q", "-p2"]);
    results.extend(librdkafka(&quick, &[("TESTS", SLOWED)], &["-Q", "-p1"]));
    let full = server("3000");
    results.extend(librdkafka(&full, &[("TESTS", IN_FULL)], &["-p2"]));
    for part in ADMIN {
        let set = [("TESTS", "0081"), ("SUBTESTS", part)];
        let admin = librdkafka(&quick, &set, &["-Q", "-p1"]);
        results.extend(admin.into_iter().map(|(name, result)| (format!("{name} {part}"), result)));
    }
    hold_whole(&results, "librdkafka.tsv", |passed, _| {
        format!("librdkafka ({passed} of its tests pass)")
    });
}
