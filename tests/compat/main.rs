//! Clients that people have, each in its own language, against the real binary. A program prints one
//! line a check and exits non-zero when one fails. `make clients` installs what they need; a client
//! that is not there fails its test.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "tests of a real process live in real time")]

#[path = "../common/mod.rs"]
mod common;
mod librdkafka;

use std::time::Duration;

use common::Server;
use common::program::{command, installed, must_succeed};

/// A slow machine with both of its cores taken needs a part of this.
const LIMIT: Duration = Duration::from_mins(4);

/// Two nodes, so that clients have to follow metadata; topics that clients make have four partitions.
fn server() -> Server {
    Server::with(&[("node.count", "2"), ("num.partitions", "4")])
}

#[test]
fn kcat_produces_and_consumes() {
    let server = server();
    let mut kcat = command("bash", &["tests/compat/kcat.sh", &server.bootstrap()]);
    must_succeed(kcat.env("WORK", &server.place.dir), LIMIT);
}

#[test]
fn kafka_python_produces_and_consumes() {
    let server = server();
    let python = installed("python/bin/python");
    let program = ["-u", "tests/compat/kafka_python.py", &server.bootstrap()];
    must_succeed(&mut command(python, &program), LIMIT);
}

#[test]
fn the_java_client_produces_and_consumes() {
    let server = server();
    let jars = format!("{}/*", installed("java"));
    let program = "tests/compat/java/Compat.java";
    must_succeed(&mut command("java", &["-cp", &jars, program, &server.bootstrap()]), LIMIT);
}
