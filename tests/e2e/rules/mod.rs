//! What Kafka's clients rely on and brokers get wrong, seen from the socket: a test's name is the rule.

mod fetch;
mod groups;
mod metadata;
mod offsets;
mod produce;
mod sessions;

use klamm::wire::ErrorCode;

use crate::common::{Server, Wire};

/// Kafka's name of an error code.
fn name(code: i16) -> &'static str {
    ErrorCode(code).name()
}

/// A server of one node with a topic `t` of one partition, and a connection.
fn broker() -> (Server, Wire) {
    broker_with(&[])
}

/// The same, with topic settings.
fn broker_with(configs: &[(&str, &str)]) -> (Server, Wire) {
    let server = Server::start();
    let mut wire = Wire::connect(server.address(0));
    wire.create("t", 1, configs);
    (server, wire)
}
