//! The open-loop schedule of a run, whichever client sends it: when each record is due, and when what
//! was sent is waited for no longer.

use std::time::Duration;

use klamm::base::Moment;

use crate::tools::load::meter::Meter;
use crate::tools::load::workload::Workload;

/// The first record is due so long after everything is ready.
pub(crate) const HEAD_START: Duration = Duration::from_millis(20);

/// The records of a run, counted.
pub(crate) struct Schedule {
    interval_ns: f64,
    /// Records whose time has come.
    pub(crate) due: u64,
    due_max: u64,
}

impl Schedule {
    /// Of a workload; without producers nothing is ever due.
    pub(crate) fn new(w: &Workload, has_producers: bool) -> Self {
        let records = (w.rate * (w.warmup_seconds + w.duration_seconds)) as u64;
        Self { interval_ns: 1e9 / w.rate, due: 0, due_max: if has_producers { records } else { 0 } }
    }

    /// When the record with this number is to be sent.
    pub(crate) fn intended(&self, number: u64, meter: &Meter) -> Moment {
        if number >= self.due_max {
            return Moment::NEVER;
        }
        Moment(meter.began.0 + (number as f64 * self.interval_ns) as u64)
    }

    /// When the next one is.
    pub(crate) fn next(&self, meter: &Meter) -> Moment {
        self.intended(self.due, meter)
    }
}

/// Waiting until all that was sent is acknowledged and read.
pub(crate) struct Draining {
    groups: u32,
    give_up_after: Duration,
    /// What was acknowledged and read when something moved last, and when that was.
    moved: (u64, u64, Moment),
}

impl Draining {
    /// Begins now.
    pub(crate) fn new(groups: u32, give_up_after: Duration, now: Moment) -> Self {
        Self { groups, give_up_after, moved: (0, 0, now) }
    }

    /// Whether nothing is missing any more.
    ///
    /// # Errors
    /// Nothing has moved for too long; what is missing, in words.
    pub(crate) fn is_over(&mut self, meter: &Meter, now: Moment) -> Result<bool, String> {
        let (counts, unread) = (meter.counts, meter.unread(self.groups));
        let missing = counts.sent - counts.acked - counts.failed;
        if missing == 0 && unread == 0 {
            return Ok(true);
        }
        if (counts.acked, counts.consumed) != (self.moved.0, self.moved.1) {
            self.moved = (counts.acked, counts.consumed, now);
        } else if now >= self.moved.2 + self.give_up_after {
            let seconds = self.give_up_after.as_secs();
            return Err(format!(
                "{missing} records were not acknowledged and {unread} not read within {seconds} s \
                 after the last one"
            ));
        }
        Ok(false)
    }
}
