//! Times in fixed buckets, four to each doubling: recording is a shift and two adds.
//!
//! Values are nanoseconds from 0 to about two minutes; longer ones are counted in the last bucket.
//! A quantile is the upper bound of its bucket, so it is at most a quarter too high (below 1 us,
//! 256 ns too high).

use std::time::Duration;

use crate::base::Moment;

/// Width of the first buckets, as a power of two of nanoseconds.
const UNIT_SHIFT: u32 = 8;
const PER_DOUBLING: usize = 4;
const BUCKETS: usize = 112;

/// Counts of durations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    count: u64,
    sum_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], count: 0, sum_ns: 0 }
    }
}

/// The bucket of a time.
fn bucket(ns: u64) -> usize {
    let units = ns >> UNIT_SHIFT;
    if units < PER_DOUBLING as u64 {
        return units as usize;
    }
    let doubling = units.ilog2();
    let quarter = (units >> (doubling - 2)) as usize % PER_DOUBLING;
    (PER_DOUBLING * (doubling as usize - 1) + quarter).min(BUCKETS - 1)
}

/// The first nanosecond that is in no bucket up to this one.
fn end_ns(bucket: usize) -> u64 {
    let next = bucket + 1;
    let units = if next < PER_DOUBLING {
        next as u64
    } else {
        ((PER_DOUBLING + next % PER_DOUBLING) as u64) << (next / PER_DOUBLING - 1)
    };
    units << UNIT_SHIFT
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, time: Duration) {
        self.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts one from `from` to `to`.
    pub fn record_between(&mut self, from: Moment, to: Moment) {
        self.add(to.0.saturating_sub(from.0));
    }

    fn add(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    /// Counts a size instead; a histogram has sizes or times, not both. One byte is a whole bucket.
    pub fn record_bytes(&mut self, bytes: usize) {
        self.add((bytes as u64) << UNIT_SHIFT);
    }

    /// As [`Self::quantile_s`], for sizes, in bytes.
    pub fn quantile_bytes(&self, q: f64) -> f64 {
        self.quantile_s(q) * 1e9 / f64::from(1 << UNIT_SHIFT)
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All together, in seconds.
    pub fn sum_s(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// The time in seconds that the part `q` (0 to 1) stays below; 0 when there are none.
    pub fn quantile_s(&self, q: f64) -> f64 {
        let wanted = (q * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let reaches = self.counts.iter().position(|n| {
            seen += n;
            seen >= wanted
        });
        reaches.map_or(0.0, |bucket| end_ns(bucket) as f64 / 1e9)
    }

    /// For each doubling, its end in seconds and how many lie below it.
    pub fn doublings(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut below = 0;
        self.counts.chunks(PER_DOUBLING).enumerate().map(move |(i, counts)| {
            below += counts.iter().sum::<u64>();
            (end_ns(PER_DOUBLING * (i + 1) - 1) as f64 / 1e9, below)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_the_bucket_whose_ends_surround_it() {
        for bits in 0..37 {
            for ns in [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + (1 << bits) / 3] {
                let at = bucket(ns);
                let begin = if at == 0 { 0 } else { end_ns(at - 1) };
                assert!((begin..end_ns(at)).contains(&ns), "{ns} in {at}: {begin}..{}", end_ns(at));
                assert!(end_ns(at) - begin <= (begin / 4).max(256), "bucket {at} is too wide");
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_and_doublings_tell_what_was_recorded() {
        let mut h = Histogram::default();
        assert_eq!(h.quantile_s(0.99).to_bits(), 0_f64.to_bits());
        for ms in 1..=100 {
            h.record(Duration::from_millis(ms));
        }
        let within = |q: f64, s: f64| (s..s * 1.26).contains(&h.quantile_s(q));
        assert!(within(0.5, 0.050) && within(0.99, 0.099) && within(1.0, 0.1));
        assert!((h.sum_s() - 5.05).abs() < 1e-9);
        assert_eq!(h.doublings().last().map(|(_, n)| n), Some(100));
        let mut sizes = Histogram::default();
        for bytes in 1..=1000 {
            sizes.record_bytes(bytes);
        }
        assert!(
            (500.0..630.0).contains(&sizes.quantile_bytes(0.5)),
            "{}",
            sizes.quantile_bytes(0.5)
        );
        sizes.record_bytes(100 << 20);
        assert!((1e8..1.4e8).contains(&sizes.quantile_bytes(1.0)), "{}", sizes.quantile_bytes(1.0));
    }
}
