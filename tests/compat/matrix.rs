//! What each client was seen to do: the lines of its program (`CLIENT: ok|FAILED|none: WHAT[: DETAIL]`),
//! kept in a file a client, and the table of the README made of them. A client has to say something of
//! every row, and of its version, and the table of the README has to say the same.

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::process::Command;

use crate::LIMIT;
use crate::common::program::must_succeed;

/// The columns.
const CLIENTS: [&str; 11] = [
    "kcat",
    "rdkafka",
    "confluent-kafka",
    "kafka-python",
    "aiokafka",
    "java",
    "franz-go",
    "sarama",
    "kafka-go",
    "kafkajs",
    "@platformatic/kafka",
];
/// The rows.
const ROWS: [&str; 26] = [
    "acks 0",
    "acks 1",
    "acks all",
    "keys and headers",
    "gzip",
    "snappy",
    "lz4",
    "zstd",
    "null values",
    "empty records",
    "900 kB records",
    "idempotent producer",
    "from the earliest",
    "from the latest",
    "from an offset",
    "by timestamp",
    "join",
    "rebalance",
    "leave",
    "commit and resume",
    "static member",
    "create topic",
    "describe",
    "alter configs",
    "list offsets",
    "delete topic",
];

/// Runs a program, keeps its lines, and holds them to the rows.
pub(crate) fn run(client: &str, program: &mut Command) {
    let path = path(client);
    program.stdout(File::create(&path).unwrap());
    let ended = catch_unwind(AssertUnwindSafe(|| must_succeed(program, LIMIT)));
    let lines = fs::read_to_string(&path).unwrap();
    print!("{lines}");
    ended.unwrap_or_else(|panic| resume_unwind(panic));
    hold(client, &lines);
}

/// Keeps the lines of a client that runs inside of the test, and holds them to the rows.
pub(crate) fn keep(client: &str, lines: &[String]) {
    let lines = lines.join("\n");
    fs::write(path(client), &lines).unwrap();
    hold(client, &lines);
}

fn path(client: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("facts");
    fs::create_dir_all(&dir).unwrap();
    dir.join(client.replace('/', "-"))
}

/// What the lines say of `row`: "yes" when all its checks passed, "-" when the client has no such thing.
fn cell(client: &str, lines: &str, row: &str) -> Option<&'static str> {
    let said = |word: &str| {
        let start = format!("{client}: {word}: {row}");
        let tail =
            |line: &str| line.strip_prefix(&start).map(|t| t.is_empty() || t.starts_with(": "));
        lines.lines().any(|line| tail(line) == Some(true))
    };
    match (said("ok"), said("FAILED"), said("none")) {
        (true, false, false) => Some("yes"),
        (false, false, true) => Some("-"),
        _ => None,
    }
}

/// The version that the lines tell.
fn version<'a>(client: &str, lines: &'a str) -> Option<&'a str> {
    let start = format!("{client}: version: ");
    lines.lines().find_map(|line| line.strip_prefix(&start))
}

fn hold(client: &str, lines: &str) {
    assert!(CLIENTS.contains(&client), "{client} has no column");
    let readme = fs::read_to_string("README.md").unwrap();
    let rows = ROWS.into_iter().map(|row| (row, cell(client, lines, row)));
    for (row, seen) in [("version", version(client, lines))].into_iter().chain(rows) {
        assert!(seen.is_some(), "{client} says nothing of \"{row}\", or two things");
        let told = told(&readme, client, row);
        assert_eq!(told, seen, "README (left), {client} (right): {row}");
    }
}

/// The cell of the README's table.
fn told<'a>(readme: &'a str, client: &str, row: &str) -> Option<&'a str> {
    let cells = |line: &'a str| line.trim_matches('|').split('|').map(str::trim);
    let mut table = readme.lines().skip_while(|line| !line.starts_with("| client |")).map(cells);
    let column = table.next()?.position(|name| name == client)?;
    table.find(|cells| cells.clone().next() == Some(row))?.nth(column)
}

#[test]
#[ignore = "prints the table of the README from the runs of the other tests"]
fn the_table() {
    let row = |first: &str, cell: &dyn Fn(&str) -> String| {
        let cells: Vec<_> = CLIENTS.iter().map(|client| cell(client)).collect();
        println!("| {first} | {} |", cells.join(" | "));
    };
    let lines = |client: &str| fs::read_to_string(path(client)).expect("run the other tests first");
    row("client", &|client| client.to_owned());
    println!("|---|{}", "---|".repeat(CLIENTS.len()));
    row("version", &|client| version(client, &lines(client)).expect("a version").to_owned());
    for name in ROWS {
        row(name, &|client| cell(client, &lines(client), name).expect("a fact").to_owned());
    }
}
