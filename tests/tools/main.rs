//! The tools as a user runs them: the built binary, its output and its exit codes.
//!
//! Against nodes of this build, or, with `KLAMM_TEST_BOOTSTRAP=HOST:PORT`, against any broker: on an
//! Apache Kafka the same tests hold, which is what makes them a comparison.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "a test of processes waits and measures")]

mod broker;
mod compare;
mod load;
mod perf;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use broker::Broker;
use expect_test::expect;

const KLAMM: &str = env!("CARGO_BIN_EXE_klamm");

#[test]
fn a_topic_is_created_described_altered_and_deleted() {
    let broker = Broker::get();
    let topic = broker.name("topic");
    let topics = |args: &str| broker.run("topics", &format!("--topic {topic} {args}"));
    let created = topics("--create --partitions 2 --config retention.ms=5000").ok();
    assert_eq!(created, format!("Created topic {topic}.\n"));

    let again = topics("--create");
    assert_eq!(again.code, Some(1));
    let wants = format!("Error while executing topic command : Topic '{topic}' already exists.\n");
    assert_eq!(again.out, wants);
    assert_eq!(topics("--create --if-not-exists").ok(), "");

    assert_eq!(topics("--list").ok(), format!("{topic}\n"));
    let all = broker.run("topics", "--list").ok();
    assert!(all.lines().any(|line| line == topic), "{all}");

    assert_eq!(topics("--alter --partitions 3").ok(), "");
    let described = topics("--describe").ok();
    let mut lines = described.lines();
    let first: Vec<_> = lines.next().unwrap().split('\t').collect();
    assert_eq!(first[0], format!("Topic: {topic}"));
    assert_eq!(first[1].len(), "TopicId: ".len() + 22);
    assert_eq!(first[2..4], ["PartitionCount: 3", "ReplicationFactor: 1"]);
    assert!(first[4].contains("retention.ms=5000"), "{described}");
    for (at, line) in lines.enumerate() {
        let wants = format!("\tTopic: {topic}\tPartition: {at}\tLeader: ");
        assert!(line.starts_with(&wants), "{line}");
    }
    let fewer = topics("--alter --partitions 1");
    assert_eq!(fewer.code, Some(1));
    let wants = format!(
        "Error while executing topic command : The topic {topic} currently has 3 partition(s); 1 \
         would not be an increase.\n"
    );
    assert_eq!(fewer.out, wants);

    assert_eq!(topics("--delete").ok(), "");
    let gone = topics("--delete");
    assert_eq!(gone.code, Some(1));
    let wants = format!(
        "Error while executing topic command : Topic '{topic}' does not exist as expected\n"
    );
    assert_eq!(gone.out, wants);
    assert_eq!(topics("--delete --if-exists").ok(), "");
}

#[test]
fn lines_become_records_and_come_back_whatever_the_codec() {
    let broker = Broker::get();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = broker.name(codec);
        broker.run("topics", &format!("--create --topic {topic} --partitions 3")).ok();
        let lines: Vec<_> = (0..500).map(|i| format!("h:{i}\tk{}\tv{i}", i % 7)).collect();
        let args = format!(
            "--topic {topic} --compression-codec {codec} --property parse.key=true --property \
             parse.headers=true"
        );
        let sent = broker.run_with_input("console-producer", &args, lines.join("\n").as_bytes());
        assert_eq!((sent.ok(), codec), (String::new(), codec));

        let args = format!(
            "--topic {topic} --from-beginning --max-messages 500 --property print.key=true \
             --property print.headers=true"
        );
        let read = broker.run("console-consumer", &args);
        assert_eq!(read.err, "Processed a total of 500 messages\n");
        let read = read.ok();
        let mut sorted: Vec<_> = read.lines().collect();
        sorted.sort_by_key(|line| number_of(line));
        assert_eq!(sorted, lines, "{codec}");
        for key in 0..7 {
            let tag = format!("\tk{key}\t");
            let own: Vec<_> = read.lines().filter(|l| l.contains(&tag)).map(number_of).collect();
            assert!(own.is_sorted(), "the order of key {key} with {codec}");
        }
        let ends = broker.run("get-offsets", &format!("--topic {topic}")).ok();
        let total: u32 =
            ends.lines().map(|l| l.rsplit(':').next().unwrap().parse::<u32>().unwrap()).sum();
        assert_eq!((ends.lines().count(), total), (3, 500), "{ends}");
    }
}

/// The number in a line `h:N...`.
fn number_of(line: &str) -> u32 {
    line[2..].split('\t').next().unwrap().parse().unwrap()
}

#[test]
fn a_partition_is_read_from_an_offset_and_printed_in_parts() {
    let broker = Broker::get();
    let topic = broker.name("parts");
    broker.run("topics", &format!("--create --topic {topic} --partitions 1")).ok();
    for acks in ["all", "1", "0"] {
        let args = format!("--topic {topic} --acks {acks} --sync");
        broker.run_with_input("console-producer", &args, b"a\nb\n").ok();
    }
    let args = format!(
        "--topic {topic} --partition 0 --offset 4 --max-messages 2 --formatter-property \
         print.offset=true --formatter-property print.partition=true --formatter-property \
         print.key=true --formatter-property print.headers=true"
    );
    expect![[r"
        Partition:0	Offset:4	NO_HEADERS	null	a
        Partition:0	Offset:5	NO_HEADERS	null	b
    "]]
    .assert_eq(&broker.run("console-consumer", &args).ok());

    let offsets = |args: &str| broker.run("get-offsets", &format!("--topic {topic} {args}"));
    assert_eq!(offsets("--time latest").ok(), format!("{topic}:0:6\n"));
    assert_eq!(offsets("--time -2").ok(), format!("{topic}:0:0\n"));
    assert_eq!(offsets("--time 1").ok(), format!("{topic}:0:0\n"));
    assert_eq!(offsets("--time 4102444800000").ok(), "");
    let nothing = offsets("--partitions 7");
    assert_eq!(nothing.code, Some(1));
    assert_eq!(
        nothing.err,
        "Error occurred: Could not match any topic-partitions with the specified filters\n"
    );
}

#[test]
fn a_group_goes_on_where_it_stopped_and_can_be_reset_and_deleted() {
    let broker = Broker::get();
    let (topic, group) = (broker.name("t"), broker.name("g"));
    broker.run("topics", &format!("--create --topic {topic} --partitions 1")).ok();
    let send = |lines: &str| {
        let args = format!("--topic {topic}");
        broker.run_with_input("console-producer", &args, lines.as_bytes()).ok();
    };
    let read = |count: u32| {
        let args =
            format!("--topic {topic} --group {group} --from-beginning --max-messages {count}");
        broker.run("console-consumer", &args).ok()
    };
    let groups = |args: &str| broker.run("consumer-groups", args);
    send("a\nb\nc\n");
    assert_eq!(read(2), "a\nb\n");
    let described = groups(&format!("--describe --group {group}"));
    assert_eq!(described.err, format!("\nConsumer group '{group}' has no active members.\n"));
    let row: Vec<_> = described.out.lines().nth(2).unwrap().split_whitespace().collect();
    assert_eq!(row, [&group[..], &topic, "0", "2", "3", "1", "-", "-", "-"]);
    send("d\n");
    assert_eq!(read(2), "c\nd\n");

    let reset = format!("--reset-offsets --group {group} --topic {topic}");
    let moved = |args: &str, to: &str| {
        let out = groups(&format!("{reset} {args}")).ok();
        let row: Vec<_> = out.lines().nth(2).unwrap().split_whitespace().collect();
        assert_eq!(row, [&group[..], &topic, "0", to], "{args}");
    };
    moved("--to-earliest --dry-run", "0");
    moved("--to-latest --dry-run", "4");
    moved("--to-offset 99 --dry-run", "4");
    moved("--to-datetime 2000-01-01T00:00:00.000 --dry-run", "0");
    moved("--by-duration PT1H --dry-run", "0");
    moved("--to-current --dry-run", "4");
    moved("--shift-by -3 --execute", "1");
    assert_eq!(read(3), "b\nc\nd\n");
    let exported = groups(&format!("{reset} --to-offset 1 --dry-run --export")).ok();
    assert_eq!(exported, format!("{topic},0,1\n\n"));

    let deleted = groups(&format!("--delete-offsets --group {group} --topic {topic}:0")).ok();
    assert!(
        deleted.starts_with(&format!("Request succeeded for deleting offsets from group {group}."))
    );
    let listed = groups("--list").ok();
    assert!(listed.lines().any(|line| line == group), "{listed}");
    let deleted = groups(&format!("--delete --group {group}")).ok();
    let wants = format!("Deletion of requested consumer groups ('{group}') was successful.\n");
    assert_eq!(deleted, wants);
    let again = groups(&format!("--delete --group {group}")).ok();
    let wants =
        "could not be deleted due to: org.apache.kafka.common.errors.GroupIdNotFoundException";
    assert!(again.contains(wants), "{again}");
}

#[test]
fn members_share_partitions_and_ctrl_c_hands_them_over() {
    let broker = Broker::get();
    let (topic, group) = (broker.name("t"), broker.name("g"));
    broker.run("topics", &format!("--create --topic {topic} --partitions 4")).ok();
    let args = format!("--topic {topic} --group {group} --from-beginning");
    let (mut first, second) =
        (broker.start("console-consumer", &args), broker.start("console-consumer", &args));
    let members = |count: usize| {
        wait_for(|| {
            let args = format!("--describe --group {group} --members");
            let out = broker.run("consumer-groups", &args).out;
            let partitions: Vec<u32> = out
                .lines()
                .filter_map(|line| line.split_whitespace().last()?.parse().ok())
                .collect();
            partitions.len() == count && partitions.iter().all(|&p| p == 4 / count as u32)
        });
    };
    members(2);
    let lines: Vec<_> = (0..200).map(|i| format!("{i}:{i}")).collect();
    let keyed = format!("--topic {topic} --property parse.key=true --property key.separator=:");
    broker.run_with_input("console-producer", &keyed, lines.join("\n").as_bytes()).ok();
    let committed = |wants: u32| {
        wait_for(|| {
            let out = broker.run("consumer-groups", &format!("--describe --group {group}")).out;
            let current = |line: &str| line.split_whitespace().nth(3)?.parse::<u32>().ok();
            out.lines().filter_map(current).sum::<u32>() == wants
        });
    };
    // Everything is read; of the first member's part no more is committed than its timer did so far.
    let mut from_first = String::new();
    read_some(&mut first, &mut from_first);
    interrupt(&first);
    first.stdout.take().unwrap().read_to_string(&mut from_first).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(130));
    members(1);
    let more: Vec<_> = (200..300).map(|i| format!("{i}:{i}")).collect();
    broker.run_with_input("console-producer", &keyed, more.join("\n").as_bytes()).ok();
    committed(300);
    interrupt(&second);
    let from_second = second.wait_with_output().unwrap();
    assert_eq!(from_second.status.code(), Some(130));
    let from_second = String::from_utf8(from_second.stdout).unwrap();
    let mut all: Vec<u32> =
        from_first.lines().chain(from_second.lines()).map(|line| line.parse().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..300).collect::<Vec<_>>(), "each record once");
    assert!(!from_first.is_empty() && !from_second.is_empty());
}

/// Waits for the first line of a tool.
fn read_some(child: &mut Child, text: &mut String) {
    let mut reader = BufReader::with_capacity(1, child.stdout.as_mut().unwrap());
    reader.read_line(text).unwrap();
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[track_caller]
fn wait_for(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "it did not come to be in 30 s");
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn topics_are_read_by_a_pattern_and_a_closed_pipe_ends_a_consumer() {
    let broker = Broker::get();
    let prefix = broker.name("p");
    for at in 0..2 {
        broker.run("topics", &format!("--create --topic {prefix}{at} --partitions 1")).ok();
        let args = format!("--topic {prefix}{at}");
        broker.run_with_input("console-producer", &args, b"x\ny\n").ok();
    }
    let args = format!("--include {prefix}.* --from-beginning --max-messages 4");
    let mut lines: Vec<_> =
        broker.run("console-consumer", &args).ok().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["x", "x", "y", "y"]);

    let args = format!("--topic {prefix}0");
    let mut endless = broker.start("console-consumer", &args);
    sleep(Duration::from_millis(500));
    drop(endless.stdout.take());
    broker.run_with_input("console-producer", &args, b"z\n").ok();
    wait_for(|| endless.try_wait().unwrap().is_some());
}

#[test]
fn a_link_named_like_kafkas_script_is_that_tool() {
    let broker = Broker::get();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(broker.name("links"));
    fs::create_dir_all(&dir).unwrap();
    for name in ["kafka-topics.sh", "kafka-get-offsets"] {
        let link = dir.join(name);
        symlink(KLAMM, &link).unwrap();
        let args = ["--bootstrap-server", &broker.bootstrap, "--topic", "none", "--list"];
        let args = if name == "kafka-topics.sh" { &args[..] } else { &args[..4] };
        let output = Command::new(link).args(args).output().unwrap();
        let wants = if name == "kafka-topics.sh" { Some(0) } else { Some(1) };
        assert_eq!(output.status.code(), wants, "{name}: {output:?}");
    }
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_broker_that_is_not_there_is_named_at_once() {
    let start = Instant::now();
    for (tool, args) in [
        ("topics", "--list"),
        ("get-offsets", ""),
        ("consumer-groups", "--list"),
        ("console-consumer", "--topic t"),
    ] {
        let output = Command::new(KLAMM)
            .arg(tool)
            .args(["--bootstrap-server", "127.0.0.1:1"])
            .args(args.split_whitespace())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("connecting to 127.0.0.1:1: Connection refused"), "{tool}: {text}");
        let wants = if tool == "consumer-groups" { Some(0) } else { Some(1) };
        assert_eq!(output.status.code(), wants, "{tool}");
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_tool_starts_in_milliseconds() {
    let run = || {
        let start = Instant::now();
        let output = Command::new(KLAMM).args(["topics", "--version"]).output().unwrap();
        assert!(output.status.success());
        start.elapsed()
    };
    let fastest = (0..5).map(|_| run()).min().unwrap();
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
}
