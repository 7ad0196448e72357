//! Klamm: an Apache Kafka-compatible message broker. One core is one broker node.

pub mod api;
pub mod base;
pub mod coordinator;
pub mod partition;
pub mod runtime;
pub mod shard;
pub mod wire;
