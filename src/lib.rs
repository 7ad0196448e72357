//! Klamm: an Apache Kafka-compatible message broker. One core is one broker node.
//!
//! The map of the house, in the order a produce request meets it:
//!
//! | folder | what it does |
//! |---|---|
//! | [`server`] | boots one thread per node and runs **the turn**: collect, decide, answer, commit, send, wait |
//! | [`net`] | one client connection: frames out of bytes, answers in request order |
//! | [`wire`] | frames, headers, record batches as zero-copy views; `kafka-wire` for all other messages |
//! | [`api`] | one file per Kafka API: decoded request in, response out or parked |
//! | [`shard`] | what one core owns: partitions, groups, fetch sessions, the way of metadata, mail |
//! | [`partition`] | pure: may a batch be appended, retries, leader epochs, in-sync set and high watermark |
//! | [`storage`] | logs in Kafka's formats, one journal per node, cache, checkpoints, recovery |
//! | [`purgatory`] | pure: parked requests until their acks or their deadline |
//!
//! Beside the path: [`controller`] decides metadata changes, [`image`] is the metadata as an immutable
//! value, [`coordinator`] holds consumer groups; [`config`] is the one table of settings; [`client`] is
//! the broker's own Kafka client, which the tools use; [`admin`] serves metrics and health. Below:
//! [`runtime`] is everything that waits (the front's io_uring, the committer, the opener, the back on
//! glommio, files, mailboxes, the clock), [`base`] the ids, times and buffers, [`metrics`] what a node counts.
//!
//! A folder uses lower floors only (`tests/tidy.rs` holds that): `base` < `config` `metrics` `wire` <
//! `client` `partition` `purgatory` `runtime` < `image` `storage` < `controller` `coordinator` <
//! `shard` < `api` < `admin` `net` < `server`. What decides is synchronous and takes time as an
//! argument; what waits is a thin driver in `runtime`.

pub mod admin;
pub mod api;
pub mod base;
pub mod client;
pub mod config;
pub mod controller;
pub mod coordinator;
pub mod image;
pub mod metrics;
pub mod net;
pub mod partition;
pub mod purgatory;
pub mod runtime;
pub mod server;
pub mod shard;
pub mod sim;
pub mod storage;
pub mod wire;
