//! The command-line tools on one state: what Kafka's own tools printed against a real Kafka stands in
//! `*.script`, and must be what they print here, and what ours print.
//!
//! A line `$ TOOL ARGUMENTS [< LINE|LINE]` runs a tool, with the address of the broker as its first
//! arguments or in the place of `BOOTSTRAP`; lines that begin with two blanks are what it printed, and
//! `= CODE` how it ended. With `$~` what it prints has no order, and is sorted. `& GROUP TOPIC` starts
//! a consumer and waits until it is the one member of its group; `& stop` stops it. Stack traces and
//! helps are left out.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use regex::Regex;

use crate::common::server::klamm;
use crate::common::{Server, until};
use crate::java::Java;
use crate::{PATIENCE, SETTINGS, folder, meant};

/// The scripts that are recorded, of which our tools print the first and the last as well. That one leaves
/// groups behind, which others would list.
pub const SCRIPTS: [&str; 3] = ["tools", "java", "perf"];
/// What Kafka's tools say here where a feature is missing; it has the reasons, and is not recorded.
const REFUSED: &str = "refused";

/// Kafka's tool of each name.
const CLASSES: [(&str, &str); 27] = [
    ("acls", "org.apache.kafka.tools.AclCommand"),
    ("broker-api-versions", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
    ("client-metrics", "org.apache.kafka.tools.ClientMetricsCommand"),
    ("cluster", "org.apache.kafka.tools.ClusterTool"),
    ("configs", "kafka.admin.ConfigCommand"),
    ("console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("console-producer", "org.apache.kafka.tools.ConsoleProducer"),
    ("consumer-groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("consumer-perf-test", "org.apache.kafka.tools.ConsumerPerformance"),
    ("delegation-tokens", "org.apache.kafka.tools.DelegationTokenCommand"),
    ("delete-records", "org.apache.kafka.tools.DeleteRecordsCommand"),
    ("e2e-latency", "org.apache.kafka.tools.EndToEndLatency"),
    ("features", "org.apache.kafka.tools.FeatureCommand"),
    ("get-offsets", "org.apache.kafka.tools.GetOffsetShell"),
    ("groups", "org.apache.kafka.tools.GroupsCommand"),
    ("leader-election", "org.apache.kafka.tools.LeaderElectionCommand"),
    ("log-dirs", "org.apache.kafka.tools.LogDirsCommand"),
    ("metadata-quorum", "org.apache.kafka.tools.MetadataQuorumCommand"),
    ("producer-perf-test", "org.apache.kafka.tools.ProducerPerformance"),
    ("reassign-partitions", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"),
    ("replica-verification", "org.apache.kafka.tools.ReplicaVerificationTool"),
    ("share-groups", "org.apache.kafka.tools.consumer.group.ShareGroupCommand"),
    ("topics", "org.apache.kafka.tools.TopicCommand"),
    ("transactions", "org.apache.kafka.tools.TransactionsCommand"),
    ("verifiable-consumer", "org.apache.kafka.tools.VerifiableConsumer"),
    ("verifiable-producer", "org.apache.kafka.tools.VerifiableProducer"),
    ("streams-groups", "org.apache.kafka.tools.streams.StreamsGroupCommand"),
];

/// What a tool printed, and its exit status.
pub struct Ended {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// A number, or why there is none.
    pub code: String,
}

/// Runs a tool by its name with arguments and input.
type Run<'a> = dyn FnMut(&str, &[&str], &str) -> Ended + 'a;

fn kafkas(java: &mut Java, tool: &str, arguments: &[&str], input: &str) -> Ended {
    let (_, class) = CLASSES.iter().find(|(name, _)| *name == tool).expect(tool);
    // This one never ends by itself.
    let limit = if tool == "replica-verification" { Duration::from_secs(8) } else { PATIENCE };
    java.run(class, arguments, input, limit)
}

fn ours(tool: &str, arguments: &[&str], input: &str) -> Ended {
    let mut command = klamm(&[tool]);
    command.args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A tool that has ended already does not read, which its result then shows.
    let _ = child.stdin.take().unwrap().write_all(input.replace('|', "\n").as_bytes());
    let ended = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = ended.status.code().unwrap().to_string();
    Ended { out: text(ended.stdout), err: text(ended.stderr), code }
}

/// The script with what the tools print against the broker on `port`.
fn play(script: &str, port: u16, run: &mut Run<'_>) -> String {
    let address = format!("127.0.0.1:{port}");
    let mut member = None;
    let mut out = String::new();
    for line in script.lines().filter(|line| !line.starts_with("  ")) {
        let _ = writeln!(out, "{line}");
        if let Some(words) = line.strip_prefix("& ") {
            drop(member.take());
            member = words.split_once(' ').map(|(group, topic)| join(&address, group, topic));
        }
        let Some((prompt @ ("$" | "$~"), command)) = line.split_once(' ') else { continue };
        let (command, input) = command.split_once(" < ").unwrap_or((command, ""));
        let mut words: Vec<_> = command.split_whitespace().collect();
        let tool = words.remove(0);
        match words.iter().position(|word| *word == "BOOTSTRAP") {
            Some(at) => words[at] = &address,
            None => drop(words.splice(0..0, ["--bootstrap-server", &address])),
        }
        let ended = run(tool, &words, input);
        let mut printed = normal(&ended.out, port);
        printed.extend(normal(&ended.err, port));
        if prompt == "$~" {
            printed.sort();
        }
        if ended.code == "running" {
            // It says the same again and again.
            printed.dedup();
        }
        for line in printed {
            let _ = writeln!(out, "  {line}");
        }
        let _ = writeln!(out, "  = {}", ended.code);
    }
    out
}

/// A consumer as the only member of a group.
pub fn join(address: &str, group: &str, topic: &str) -> BaseConsumer {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", address).set("group.id", group).set("client.id", "member");
    let consumer: BaseConsumer = config.set("enable.auto.commit", "false").create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    until(PATIENCE, "an assignment", || {
        consumer.poll(Duration::from_millis(50));
        (consumer.assignment().unwrap().count() > 0).then_some(())
    });
    consumer
}

/// What a tool printed, without ids, paths, measured numbers and stack traces.
fn normal(text: &str, port: u16) -> Vec<String> {
    let parts = [
        (r"(TopicId: |Cluster ID: |ClusterId: +|Member )[A-Za-z0-9_-]{22}", "${1}ID"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
        (r"(adminclient|perf-consumer|console-consumer|test-group|producer)-[0-9]+ *", "$1-N "),
        (r#"("logDir":|"log_dirs":\[)"/[^"]*""#, r#"$1"DIR""#),
        (r"\(([0-9]{4}-[0-9]{2}-[0-9]{2}|adminclient)[^)]*\)", "()"),
        (r#""timestamp":[0-9]+"#, r#""timestamp":TIME"#),
        (r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}[:,][0-9]{3}", "TIME"),
        (r"(?m)^[0-9]+ +(\t.*\t)[0-9]{13}(\t.*)$", "N${1}TIME$2"),
    ];
    let mut text = text.replace(&port.to_string(), "PORT");
    for (regex, with) in parts {
        text = Regex::new(regex).unwrap().replace_all(&text, with).into_owned();
    }
    let performance = r"records/sec|latency|^Percentiles|^TIME,|_throughput|^[0-9]+\t[0-9.]+$";
    let quorum = r"^LeaderEpoch|^HighWatermark|\tLeader$";
    let measured = Regex::new(&format!("{performance}|{quorum}")).unwrap();
    let number = Regex::new(r"[0-9]+(\.[0-9]+)?").unwrap();
    let padding = Regex::new(" +\t").unwrap();
    let without = |line: &str| {
        if !measured.is_match(line) {
            return line.to_owned();
        }
        padding.replace_all(&number.replace_all(line, "N"), "\t").into_owned()
    };
    let traces = ["\tat ", "\t... ", "Caused by: ", " org.apache.kafka."];
    let is_trace = |l: &str| traces.iter().any(|begin| l.starts_with(begin));
    // The help that comes after a mistake is each tool's own.
    let helps = ["Option  ", "Usage: ", "usage: "];
    let lines = text.lines().take_while(|l| helps.iter().all(|help| !l.starts_with(help)));
    let lines = lines.filter(|l| !is_trace(l) && !l.is_empty());
    lines.map(|line| without(line.trim_end())).collect()
}

/// What is not in a script as it is here.
fn differences(name: &str, run: &mut Run<'_>) -> String {
    let mut settings = vec![("node.count", "1")];
    settings.extend_from_slice(SETTINGS);
    let server = Server::with(&settings);
    let recorded = fs::read_to_string(folder().join(format!("{name}.script"))).unwrap();
    let played = play(&recorded, server.place.port, run);
    let differences = crate::differences(&recorded, &played, &meant(name));
    differences.iter().fold(String::new(), |all, one| format!("{all}{name}: {one}\n"))
}

#[test]
fn our_tools_print_what_kafkas_tools_print() {
    let all = ["tools", "perf"].map(|name| differences(name, &mut ours));
    assert_eq!(all.concat(), "");
}

#[test]
fn kafkas_tools_print_here_what_they_print_against_kafka() {
    let Some(mut java) = Java::start() else { return };
    let mut run =
        |tool: &str, arguments: &[&str], input: &str| kafkas(&mut java, tool, arguments, input);
    let all = SCRIPTS.into_iter().chain([REFUSED]).map(|name| differences(name, &mut run));
    assert_eq!(all.collect::<String>(), "");
}

/// Runs Kafka's tools against the Kafka on `port` and writes a script anew.
pub fn record(name: &str, port: u16) {
    let mut java = Java::start().expect("Apache Kafka");
    let path = folder().join(format!("{name}.script"));
    let script = fs::read_to_string(&path).unwrap();
    let played = play(&script, port, &mut |tool, arguments, input| {
        kafkas(&mut java, tool, arguments, input)
    });
    fs::write(path, played).unwrap();
}
