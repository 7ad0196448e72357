//! What the tests against the real binary share: a server in a directory of its own, a client of
//! raw frames, and a few waits.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "a module of several test binaries")]

pub mod http;
pub mod program;
pub mod server;
pub mod wire;

use std::time::{Duration, Instant};

pub use server::Server;
#[allow(unused_imports, reason = "each test binary uses its part")]
pub use wire::Wire;

/// Tries until `find` finds something; panics with `what` when that takes longer than `limit`.
pub fn until<T>(limit: Duration, what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A repeatable source of chance (`SplitMix64`).
pub struct Chance(pub u64);

impl Chance {
    /// Seeded by `SEED` where that is set, else by the time; printed, so that a run can be repeated.
    pub fn of_run() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok());
        let seed = seed.unwrap_or(since.as_nanos() as u64 % 1_000_000);
        println!("SEED={seed}");
        Self(seed)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// The one in the middle.
pub fn median(mut of: Vec<Duration>) -> Duration {
    of.sort_unstable();
    of[of.len() / 2]
}
