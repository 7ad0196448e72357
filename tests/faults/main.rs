//! Faults, staged for real: a killed server, one that stands still, damaged files, a full disk, one that
//! fails, a power cut. `ROUNDS=n` sets how often the server is killed, `SEED=n` repeats the choices of a run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(unreachable_pub, missing_docs, reason = "modules of a test binary")]
#![allow(clippy::disallowed_methods, reason = "tests of a real process live in real time")]

#[path = "../common/mod.rs"]
mod common;

mod bulk;
mod clock;
mod damage;
mod eio;
mod full;
mod kill;
mod load;
mod own;
mod power;
mod record;
mod start;
mod verify;
mod volume;
mod xfs;

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}
