//! The pace of a load, whichever client makes it: when each record is due, and how long the last ones
//! are waited for.

use std::time::Duration;

use klamm::base::{Moment, WallMs};
use klamm::runtime::clock;

use crate::tools::load::meter::Meter;
use crate::tools::load::workload::Workload;

/// The first record is due so long after everything is ready.
const HEAD_START: Duration = Duration::from_millis(20);

/// When the first record of a run that is ready now is due, by both clocks.
pub(crate) fn first_due() -> (Moment, WallMs) {
    let (now, wall) = clock::now();
    (now + HEAD_START, WallMs(wall.0 + HEAD_START.as_millis() as i64))
}

/// When each record is to be sent: evenly, by the rate alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    interval_ns: f64,
    /// Records in all.
    count: u64,
}

impl Schedule {
    /// That of a workload.
    pub(crate) fn new(workload: &Workload) -> Self {
        let length = workload.warmup_seconds + workload.duration_seconds;
        let count = if workload.producers == 0 { 0 } else { (workload.rate * length) as u64 };
        Self { interval_ns: 1e9 / workload.rate, count }
    }

    /// When the record with this number, from 0, is to be sent in a run that began at `began`.
    pub(crate) fn intended(&self, number: u64, began: Moment) -> Moment {
        if number >= self.count {
            return Moment::NEVER;
        }
        Moment(began.0 + (number as f64 * self.interval_ns) as u64)
    }
}

/// Waits until all that was sent is acknowledged and read, as long as something moves.
#[derive(Debug)]
pub(crate) struct Drain {
    groups: u32,
    limit: Duration,
    /// Acknowledged and read, and since when it is no more.
    moved: (u64, u64),
    since: Moment,
}

impl Drain {
    /// Gives up when nothing has moved for `limit`.
    pub(crate) fn new(meter: &Meter, groups: u32, limit: Duration, now: Moment) -> Self {
        let moved = (meter.counts.acked, meter.counts.consumed);
        Self { groups, limit, moved, since: now }
    }

    /// Whether all has come.
    ///
    /// # Errors
    /// It will not.
    pub(crate) fn is_over(&mut self, meter: &Meter, now: Moment) -> Result<bool, String> {
        let counts = meter.counts;
        let missing = counts.sent - counts.acked - counts.failed;
        let unread = meter.unread(self.groups);
        if missing == 0 && unread == 0 {
            return Ok(true);
        }
        if (counts.acked, counts.consumed) != self.moved {
            (self.moved, self.since) = ((counts.acked, counts.consumed), now);
        } else if now >= self.since + self.limit {
            return Err(format!(
                "{missing} records were not acknowledged and {unread} not read within {} s after the \
                 last one",
                self.limit.as_secs()
            ));
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload() -> Workload {
        Workload { rate: 4.0, warmup_seconds: 0.5, duration_seconds: 1.0, ..Workload::default() }
    }

    #[test]
    fn records_are_due_evenly_until_the_time_is_over() {
        let schedule = Schedule::new(&workload());
        let due = |number| schedule.intended(number, Moment(7)).0;
        assert_eq!([due(0), due(1), due(5)], [7, 250_000_007, 1_250_000_007]);
        assert_eq!(schedule.intended(6, Moment(7)), Moment::NEVER);
        let idle = Workload { producers: 0, ..workload() };
        assert_eq!(Schedule::new(&idle).intended(0, Moment(7)), Moment::NEVER);
    }

    #[test]
    fn what_is_on_its_way_is_waited_for_as_long_as_something_comes() {
        let second = Duration::from_secs(1);
        let mut meter = Meter::new((Duration::ZERO, second), None).unwrap();
        let at = |s: u64| Moment(s * 1_000_000_000);
        let mut drain = Drain::new(&meter, 1, 2 * second, at(0));
        meter.sent(at(0), at(0));
        meter.sent(at(0), at(0));
        assert_eq!(drain.is_over(&meter, at(1)), Ok(false));
        meter.acked(at(0), at(1));
        assert_eq!(drain.is_over(&meter, at(2)), Ok(false));
        assert_eq!(drain.is_over(&meter, at(3)), Ok(false));
        let wants = "1 records were not acknowledged and 1 not read within 2 s after the last one";
        assert_eq!(drain.is_over(&meter, at(4)), Err(wants.to_owned()));
        meter.failed(1, &"gone");
        meter.consumed(at(0), at(4));
        assert_eq!(drain.is_over(&meter, at(5)), Ok(true));
    }
}
