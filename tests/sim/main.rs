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
mod retention;
mod scrub;
mod seeds;
mod world;

/// A store so small that everything happens often: rolls, checkpoints, a full journal, reads from disk.
fn small_store(dir: &str) -> klamm::storage::StoreConfig {
    klamm::storage::StoreConfig {
        journal_bytes: 4 * (64 << 10),
        journal_chunk_bytes: 64 << 10,
        commit_bytes_max: 16 << 10,
        commit_lazy_bytes_max: 4 << 10,
        commit_metas_max: 1,
        direct_bytes_min: 8 << 10,
        direct_bytes_max: 12 << 10,
        write_bytes_min: 8 << 10,
        write_bytes_max: 16 << 10,
        checkpoint_step_logs: 1,
        cache_bytes: 64 << 10,
        chunk_bytes_max: 32 << 10,
        read_bytes: 8 << 10,
        read_ahead_bytes: 16 << 10,
        window_bytes: 32 << 10,
        ..klamm::storage::StoreConfig::new(dir.into())
    }
}
