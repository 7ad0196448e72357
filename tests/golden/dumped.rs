//! `klamm dump-log` over the logs that Kafka writes for itself, line by line what Kafka's own tool
//! printed: `dump.txt.zst` beside the files, which `make golden` writes anew.
//!
//! `tests/data/kafka` has directories of a real one, and logs with every kind of record in every
//! version, which `Records.java` makes from Kafka's classes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::server::klamm;
use crate::java;

/// Directories, and what their records are.
const LOGS: [(&str, &str); 8] = [
    ("__cluster_metadata-0", "--cluster-metadata-decoder"),
    ("__consumer_offsets-0", "--offsets-decoder"),
    ("__share_group_state-0", "--share-group-state-decoder"),
    ("__transaction_state-0", "--transaction-log-decoder"),
    ("every-kind/groups", "--offsets-decoder"),
    ("every-kind/metadata", "--cluster-metadata-decoder"),
    ("every-kind/shares", "--share-group-state-decoder"),
    ("every-kind/transactions", "--transaction-log-decoder"),
];
const RECORDED: &str = "dump.txt.zst";
const TOOL: &str = "org.apache.kafka.tools.DumpLogSegments";

fn data(dir: &str) -> PathBuf {
    crate::folder().join("../data/kafka").join(dir)
}

fn recorded(dir: &str) -> PathBuf {
    data(dir).join(RECORDED)
}

fn table() -> PathBuf {
    crate::folder().join("../../tools/dump_log/records.txt")
}

/// What a tool prints of a directory, from inside of it.
fn printed(tool: &mut Command, dir: &str, decoder: &str) -> String {
    let files = fs::read_dir(data(dir)).unwrap().map(|entry| entry.unwrap().file_name());
    let mut files: Vec<_> = files.map(|name| name.into_string().unwrap()).collect();
    files.retain(|name| name != RECORDED);
    files.sort();
    let tool = tool.args(["--files", &files.join(","), decoder]).current_dir(data(dir));
    // What is told at the end has full paths; `stored` looks at that.
    let ended = tool.stderr(Stdio::null()).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stdout).unwrap()
}

#[test]
fn the_logs_that_kafka_writes_for_itself_are_printed_as_its_own_tool_does() {
    for (dir, decoder) in LOGS {
        let wants = zstd::decode_all(&*fs::read(recorded(dir)).unwrap()).unwrap();
        let wants = String::from_utf8(wants).unwrap();
        let has = printed(&mut klamm(&["dump-log"]), dir, decoder);
        let differences = crate::differences(&wants, &has, &[]);
        assert!(differences.is_empty(), "{dir}: {}", differences.join("\n"));
        assert!(wants.lines().count() > 4, "{dir}: {wants}");
    }
}

#[test]
fn the_table_of_records_is_that_of_kafkas_classes() {
    let Some(jars) = java::jars() else { return };
    assert_eq!(fs::read_to_string(table()).unwrap(), asked(&jars));
}

/// The table with what stands above it.
fn asked(jars: &Path) -> String {
    let text = fs::read_to_string(table()).unwrap();
    let head: String = text.split_inclusive('\n').take_while(|l| l.starts_with('#')).collect();
    let ended = records(jars).arg("table").output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    head + &String::from_utf8(ended.stdout).unwrap()
}

fn records(jars: &Path) -> Command {
    let mut java = java(jars);
    java.arg(crate::folder().join("Records.java"));
    java
}

fn java(jars: &Path) -> Command {
    let mut java = Command::new("java");
    let logging = crate::folder().join("log4j2.yaml");
    java.arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
    java.args(["-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp"]);
    java.arg(format!("{}/*", jars.display()));
    java
}

/// Writes the table, the logs with every kind of record and what Kafka's tool prints.
pub fn record() {
    let jars = java::jars().unwrap();
    fs::write(table(), asked(&jars)).unwrap();
    assert!(records(&jars).arg("logs").arg(data("every-kind")).status().unwrap().success());
    for (dir, decoder) in LOGS {
        let text = printed(java(&jars).arg(TOOL), dir, decoder);
        fs::write(recorded(dir), zstd::encode_all(text.as_bytes(), 19).unwrap()).unwrap();
    }
}
