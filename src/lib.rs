//! Klamm: an Apache Kafka-compatible message broker. One core is one broker node.

pub mod base;
pub mod client;
pub mod runtime;
pub mod wire;
