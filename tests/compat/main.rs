//! Clients that people have, each in its own language, against the real binary. A program prints one
//! line a check and exits non-zero when one fails. `make clients` installs what they need; a client
//! that is not there fails its test.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "tests of a real process live in real time")]

#[path = "../common/mod.rs"]
mod common;
mod librdkafka;
mod matrix;
mod suites;

use std::process::Command;
use std::time::Duration;

use common::Server;
use common::program::{command, installed};

/// A slow machine with both of its cores taken needs a part of this.
const LIMIT: Duration = Duration::from_mins(4);

/// Two nodes, so that clients have to follow metadata; topics that clients make have four partitions.
fn server() -> Server {
    Server::with(&[("node.count", "2"), ("num.partitions", "4")])
}

/// Runs the program of a client with the address of a server of its own.
fn run(client: &str, mut program: Command) {
    let server = server();
    matrix::run(client, program.arg(server.bootstrap()).env("WORK", &server.place.dir));
}

fn python(client: &str, program: &str) {
    let mut python = command(installed("python/bin/python"), &["-u", program]);
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    run(client, python);
}

fn node(client: &str, program: &str) {
    let mut node = command(installed("node/node"), &[program]);
    node.env("NODE_PATH", installed("node/node_modules"));
    run(client, node);
}

#[test]
fn kcat_produces_and_consumes() {
    run("kcat", command("bash", &["tests/compat/kcat.sh"]));
}

#[test]
fn kafka_python_does_what_it_can() {
    python("kafka-python", "tests/compat/python/kafka_python.py");
}

#[test]
fn confluent_kafka_does_what_it_can() {
    python("confluent-kafka", "tests/compat/python/confluent.py");
}

#[test]
fn aiokafka_does_what_it_can() {
    python("aiokafka", "tests/compat/python/aio.py");
}

#[test]
fn the_java_client_does_what_it_can() {
    let jars = format!("{}/*", installed("java"));
    run("java", command("java", &["-cp", &jars, "tests/compat/java/Compat.java"]));
}

#[test]
fn franz_go_does_what_it_can() {
    run("franz-go", command(installed("go/franz"), &[]));
}

#[test]
fn sarama_does_what_it_can() {
    run("sarama", command(installed("go/sarama"), &[]));
}

#[test]
fn kafka_go_does_what_it_can() {
    run("kafka-go", command(installed("go/kafkago"), &[]));
}

#[test]
fn kafkajs_does_what_it_can() {
    node("kafkajs", "tests/compat/node/kafkajs.js");
}

#[test]
fn platformatic_kafka_does_what_it_can() {
    node("@platformatic/kafka", "tests/compat/node/platformatic.js");
}
