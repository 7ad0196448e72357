//! Simulation: the storage of a node, and the whole node with its clients, on a disk that loses,
//! tears, reorders, fails and rots.
//!
//! `SEEDS=n` runs so many seeds (from `SEED`, default 0); a failure names its seed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod damage;
mod files;
mod full;
mod model;
mod node;
mod seeds;
mod world;
