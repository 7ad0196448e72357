//! Klamm: an Apache Kafka-compatible message broker. One core is one broker node.

pub mod api;
pub mod base;
pub mod client;
pub mod config;
pub mod controller;
pub mod coordinator;
pub mod image;
pub mod net;
pub mod partition;
pub mod purgatory;
pub mod runtime;
pub mod server;
pub mod shard;
pub mod sim;
pub mod storage;
pub mod wire;
