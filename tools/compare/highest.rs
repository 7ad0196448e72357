//! The search for the highest rate that a broker keeps: doubling, then halving the gap.
//!
//! A rate may be lost to a bad moment of the machine. When all rates below it are kept, right up to it,
//! it is tried once more, and the doubling goes on if it is kept then.

/// Steps after the first rate that was not kept.
const STEPS: u32 = 3;
const FIRST: f64 = 10_000.0;
const LOWEST: f64 = 100.0;
const UPMOST: f64 = 2e6;

/// A search; rates in records per second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search {
    kept: Option<f64>,
    lost: Option<f64>,
    /// Since a rate was lost that has not been tried again.
    steps: u32,
    /// All of these steps were kept, and the lost rate has one more try.
    doubts: bool,
}

impl Search {
    /// Nothing is known.
    pub(crate) fn new() -> Self {
        Self { kept: None, lost: None, steps: 0, doubts: true }
    }

    /// The rate to try next; `None` once it is known well enough.
    pub(crate) fn next(&self) -> Option<f64> {
        match (self.kept, self.lost) {
            (None, None) => Some(FIRST),
            (Some(kept), None) => Some(kept * 2.0).filter(|r| *r <= UPMOST),
            (None, Some(lost)) => Some(lost / 2.0).filter(|r| *r >= LOWEST),
            (Some(kept), Some(lost)) if self.steps < STEPS => {
                Some(((kept * lost).sqrt() / 100.0).round() * 100.0)
            }
            (Some(_), Some(lost)) => Some(lost).filter(|_| self.doubts),
        }
    }

    /// Whether `rate` was kept.
    pub(crate) fn tried(&mut self, rate: f64, is_kept: bool) {
        let is_step = self.kept.is_some() && self.lost.is_some();
        self.steps += u32::from(is_step);
        self.doubts &= is_kept || !is_step;
        if is_kept {
            self.kept = Some(rate);
            if self.lost.is_some_and(|lost| rate >= lost) {
                (self.lost, self.steps) = (None, 0);
            }
        } else {
            self.lost = Some(rate);
        }
    }

    /// The highest rate that was kept; 0 when none was.
    pub(crate) fn highest(&self) -> f64 {
        self.kept.unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(limit: f64) -> (f64, usize) {
        let mut search = Search::new();
        let mut tries = 0;
        while let Some(rate) = search.next() {
            search.tried(rate, rate <= limit);
            tries += 1;
        }
        (search.highest(), tries)
    }

    #[test]
    fn a_rate_that_was_lost_to_a_bad_moment_is_tried_again() {
        let mut search = Search::new();
        let mut is_bad = true;
        while let Some(rate) = search.next() {
            search.tried(rate, !is_bad && rate <= 77_777.0);
            is_bad = false;
        }
        assert!(search.highest() > 70_000.0 && search.highest() <= 77_777.0, "{search:?}");
    }

    #[test]
    fn the_highest_rate_is_found_from_below_within_a_tenth() {
        for limit in [200.0, 9_000.0, 10_000.0, 77_777.0, 500_000.0] {
            let (found, tries) = search(limit);
            assert!(found <= limit && found > limit * 0.9, "{limit}: {found}");
            assert!(tries <= 12, "{limit}: {tries} tries");
        }
        assert!(search(1.0).0 < 1.0);
        assert!(search(1e9).0 > 1e6);
    }
}
