//! Tests of the whole coordinator.
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

mod durability;
mod expiry;
mod kafka_bytes;
mod looks;
mod membership;
mod offsets;
mod random;
mod rebalance;
mod static_members;
mod world;
