//! The only place that reads a clock.

use crate::base::{Moment, WallMs};

/// Now, both ways.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> (Moment, WallMs) {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid place for the answer, and CLOCK_MONOTONIC exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut ts) };
    let monotonic = ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64;
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    (Moment(monotonic), WallMs(wall.map_or(0, |d| d.as_millis() as i64)))
}
