//! The command-line tools on one state: what Kafka's own tools printed against a real Kafka stands in
//! `tools.script`, and must be what ours print here.
//!
//! A line `$ TOOL ARGUMENTS [< LINE|LINE]` runs a tool; lines that begin with two blanks are what it
//! printed, and `= CODE` how it ended. Stack traces are left out.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use regex::Regex;

use crate::common::Server;
use crate::common::server::klamm;
use crate::{SETTINGS, folder, meant, oracle};

/// Kafka's tool of each name.
const CLASSES: [(&str, &str); 9] = [
    ("topics", "org.apache.kafka.tools.TopicCommand"),
    ("configs", "kafka.admin.ConfigCommand"),
    ("console-producer", "org.apache.kafka.tools.ConsoleProducer"),
    ("console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("consumer-groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("get-offsets", "org.apache.kafka.tools.GetOffsetShell"),
    ("delete-records", "org.apache.kafka.tools.DeleteRecordsCommand"),
    ("log-dirs", "org.apache.kafka.tools.LogDirsCommand"),
    ("broker-api-versions", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
];

/// Kafka's tool as a command.
fn kafkas(home: &Path, tool: &str) -> Command {
    let (_, class) = CLASSES.iter().find(|(name, _)| *name == tool).expect(tool);
    let mut command = Command::new(oracle());
    command.env("ORACLE_HOME", home).args(["run", class]);
    command
}

fn ours(tool: &str) -> Command {
    klamm(&[tool])
}

/// The script with what the tools print against the broker on `port`.
fn play(script: &str, port: u16, tool: impl Fn(&str) -> Command) -> String {
    let mut out = String::new();
    for line in script.lines().filter(|line| !line.starts_with("  ")) {
        let _ = writeln!(out, "{line}");
        let Some(command) = line.strip_prefix("$ ") else { continue };
        let (command, input) = command.split_once(" < ").unwrap_or((command, ""));
        let mut words = command.split_whitespace();
        let mut command = tool(words.next().unwrap());
        command.args(["--bootstrap-server", &format!("127.0.0.1:{port}")]).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A tool that has ended already does not read, which its result then shows.
        let _ = child.stdin.take().unwrap().write_all(input.replace('|', "\n").as_bytes());
        let ended = child.wait_with_output().unwrap();
        for text in [ended.stdout, ended.stderr] {
            for line in normal(&String::from_utf8(text).unwrap(), port).lines() {
                let _ = writeln!(out, "  {line}");
            }
        }
        let _ = writeln!(out, "  = {}", ended.status.code().unwrap());
    }
    out
}

/// What a tool printed, without ids, paths, log lines and stack traces.
fn normal(text: &str, port: u16) -> String {
    let parts = [
        (r"TopicId: [A-Za-z0-9_-]{22}", "TopicId: ID"),
        (r#""logDir":"[^"]*""#, r#""logDir":"DIR""#),
        (r"\(([0-9]{4}-[0-9]{2}-[0-9]{2}|adminclient)[^)]*\)", "()"),
        ("\u{1b}\\[0m", ""),
    ];
    let mut text = text.replace(&port.to_string(), "PORT");
    for (regex, with) in parts {
        text = Regex::new(regex).unwrap().replace_all(&text, with).into_owned();
    }
    let is_log = Regex::new(r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:,]+ (WARN|ERROR|INFO) ").unwrap();
    let traces = ["\tat ", "Caused by: ", " org.apache.kafka."];
    let is_trace = |l: &str| traces.iter().any(|begin| l.starts_with(begin));
    let lines = text.lines().filter(|l| !is_trace(l) && !is_log.is_match(l) && !l.is_empty());
    lines.map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[track_caller]
fn check(tool: impl Fn(&str) -> Command) {
    let mut settings = vec![("node.count", "1")];
    settings.extend_from_slice(SETTINGS);
    let server = Server::with(&settings);
    let recorded = fs::read_to_string(folder().join("tools.script")).unwrap();
    let played = play(&recorded, server.place.port, tool);
    let differences = crate::differences(&recorded, &played, &meant("tools"));
    assert!(differences.is_empty(), "tools: {}", differences.join("\n"));
}

#[test]
fn our_tools_print_what_kafkas_tools_print() {
    check(ours);
}

/// Runs Kafka's tools against the Kafka on `port` and writes the script anew.
pub fn record(home: &Path, port: u16) {
    let path = folder().join("tools.script");
    let script = fs::read_to_string(&path).unwrap();
    fs::write(path, play(&script, port, |tool| kafkas(home, tool))).unwrap();
}
