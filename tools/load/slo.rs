//! The bound that `--max` holds, and the search for the highest rate that meets it: doubling, then
//! halving the distance, with a run at each rate.

use serde::Serialize;

use crate::tools::load::result::{Percentiles, RunResult};

/// The search ends when the rates that meet and miss are this close, or one record a second apart.
const CLOSE: f64 = 1.05;
const RATE_MIN: f64 = 1.0;

/// A percentile of a latency, and its bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slo {
    is_ack: bool,
    percent: f64,
    bound_ns: f64,
}

/// One rate that was tried.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Tried {
    pub(crate) rate: f64,
    pub(crate) achieved_rate: f64,
    /// The latency that is bound.
    pub(crate) value_ns: Option<u64>,
    pub(crate) meets: bool,
}

impl Slo {
    /// Reads `p99=5ms`, `e2e-p99.9=800us`, `ack-p50=1s`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "slo is {text}; a percentile and its bound: p99=5ms, e2e-p99.9=800us, ack-p50=1s"
            )
        };
        let (what, bound) = text.split_once('=').ok_or_else(bad)?;
        let (is_ack, percent) = match what.split_once("-p") {
            Some(("ack", p)) => (true, p),
            Some(("e2e", p)) => (false, p),
            _ => (false, what.strip_prefix('p').ok_or_else(bad)?),
        };
        let percent: f64 = percent.parse().map_err(|_| bad())?;
        let units = [("us", 1e3), ("ms", 1e6), ("s", 1e9)];
        let unit = units.into_iter().find_map(|(u, ns)| Some((bound.strip_suffix(u)?, ns)));
        let (number, ns) = unit.ok_or_else(bad)?;
        let number: f64 = number.trim().parse().map_err(|_| bad())?;
        if !(percent > 0.0 && percent <= 100.0 && number > 0.0) {
            return Err(bad());
        }
        Ok(Self { is_ack, percent, bound_ns: number * ns })
    }

    /// How a run did.
    pub(crate) fn judge(self, run: &RunResult) -> Tried {
        let latency = if self.is_ack { &run.ack_ns } else { &run.e2e_ns };
        let value_ns = latency.as_ref().map(|p: &Percentiles| p.at(self.percent / 100.0));
        let holds = value_ns.is_some_and(|ns| ns as f64 <= self.bound_ns);
        Tried {
            rate: run.offered_rate,
            achieved_rate: run.achieved_rate,
            value_ns,
            meets: holds && !run.missed && run.error.is_none(),
        }
    }
}

/// The rates to try, one after another.
#[derive(Debug)]
pub(crate) struct Search {
    next: f64,
    meets: Option<f64>,
    misses: Option<f64>,
}

impl Search {
    /// Begins at `rate`.
    pub(crate) fn new(rate: f64) -> Self {
        Self { next: rate, meets: None, misses: None }
    }

    /// The rate to try; `None` when the search is over.
    pub(crate) fn next(&self) -> Option<f64> {
        let is_close = match (self.meets, self.misses) {
            (Some(meets), Some(misses)) => misses / meets <= CLOSE || misses - meets <= 1.0,
            (None, Some(misses)) => misses <= RATE_MIN,
            _ => false,
        };
        (!is_close).then_some(self.next)
    }

    /// The rate that [`Self::next`] said was tried.
    pub(crate) fn tried(&mut self, meets: bool) {
        let rate = self.next;
        *(if meets { &mut self.meets } else { &mut self.misses }) = Some(rate);
        self.next = match (self.meets, self.misses) {
            (Some(meets), Some(misses)) => f64::midpoint(meets, misses).round(),
            (Some(meets), None) => meets * 2.0,
            _ => (rate / 2.0).max(RATE_MIN),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_doubles_and_halves_until_it_is_close() {
        for (start, limit) in
            [(1000.0, 37_000.0), (1e6, 37_000.0), (2.0, 1e5), (2.0, 3.0), (0.7, 9.5)]
        {
            let mut search = Search::new(start);
            let mut tries = 0;
            while let Some(rate) = search.next() {
                search.tried(rate <= limit);
                tries += 1;
            }
            let found = search.meets.unwrap();
            assert!(found <= limit && limit <= (found * CLOSE).max(found + 1.0), "{found}");
            assert!(tries < 25, "{tries}");
        }
        let mut hopeless = Search::new(64.0);
        while hopeless.next().is_some() {
            hopeless.tried(false);
        }
        assert_eq!(hopeless.meets, None);
    }

    #[test]
    fn a_bound_is_a_percentile_and_a_time() {
        let slo = |text| Slo::parse(text).map(|s| (s.is_ack, s.percent, s.bound_ns));
        assert_eq!(slo("p99=5ms"), Ok((false, 99.0, 5e6)));
        assert_eq!(slo("ack-p99.9=800us"), Ok((true, 99.9, 8e5)));
        assert_eq!(slo("e2e-p50=1s"), Ok((false, 50.0, 1e9)));
        for bad in ["", "p99", "99=5ms", "p99=5", "p0=5ms", "p101=5ms", "p99=-5ms", "x-p9=1s"] {
            assert!(slo(bad).is_err(), "{bad}");
        }
    }
}
