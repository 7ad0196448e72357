//! Time as data. Only `runtime::clock` may read a real clock.

use std::ops::Add;
use std::time::Duration;

/// Monotonic nanoseconds since some start (the host's boot, or the beginning of a simulation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// Later than every real moment: the deadline of what has none.
    pub const NEVER: Self = Self(u64::MAX);

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `self` plus `ms` milliseconds. A negative count adds nothing; the sum saturates at `NEVER`.
    pub fn plus_ms(self, ms: i64) -> Self {
        let ms = u64::try_from(ms).unwrap_or(0);
        Self(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Wall-clock milliseconds since 1970-01-01 UTC, as record timestamps have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct WallMs(pub i64);
