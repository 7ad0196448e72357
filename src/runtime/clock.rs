//! The only place that reads a clock.

use std::time::Duration;

use crate::base::{Moment, WallMs};

/// Now, both ways.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> (Moment, WallMs) {
    let monotonic = nanoseconds(libc::CLOCK_MONOTONIC);
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    (Moment(monotonic), WallMs(wall.map_or(0, |d| d.as_millis() as i64)))
}

/// How long something takes.
pub fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let began = nanoseconds(libc::CLOCK_MONOTONIC);
    let done = run();
    (done, Duration::from_nanos(nanoseconds(libc::CLOCK_MONOTONIC) - began))
}

/// Processor time of the calling thread since it began.
pub fn thread_cpu() -> Duration {
    Duration::from_nanos(nanoseconds(libc::CLOCK_THREAD_CPUTIME_ID))
}

/// A counter that grows evenly, in a unit of its own; reading it is one instruction where there is one.
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction touches no memory, and every x86-64 has it.
    return unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    nanoseconds(libc::CLOCK_MONOTONIC)
}

fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid place for the answer, and every Linux has the clocks that are asked for.
    unsafe { libc::clock_gettime(clock, &raw mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}
