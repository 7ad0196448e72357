//! What a run measured: counts, two latencies as histograms, and both second by second.
//!
//! Latency counts from the intended send time: to the acknowledgement, and to the consumer. The part of
//! it before a producer took the record is told beside them: the load's own core was late, or no
//! producer had room. A record is measured when its intended time lies in the measured window; rates
//! count what happened in it. Records of a backlog have no intended time: they are counted, but have no
//! latency, and are not of the rate that was achieved.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};
use klamm::base::{Moment, WallMs};
use serde::Serialize;

/// Significant digits of a latency.
const DIGITS: u8 = 3;
const NS: f64 = 1e9;
/// Files of the histograms of each second: to the acknowledgement, and to the consumer.
pub(crate) const LOGS: [&str; 2] = ["ack.hdr", "e2e.hdr"];

/// Since the start of the run, warm-up included.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Records handed to a producer.
    pub(crate) sent: u64,
    /// Records that were acknowledged (with acks=0: written to the socket).
    pub(crate) acked: u64,
    /// Records that consumers read, of all groups.
    pub(crate) consumed: u64,
    /// Records that a producer gave up.
    pub(crate) failed: u64,
}

/// One second of a run; latencies in nanoseconds, those of records that were over in that second.
#[derive(Debug, Clone, Serialize)]
#[allow(clippy::struct_field_names, reason = "the name that result.json has")]
pub(crate) struct Second {
    pub(crate) second: u64,
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) consumed: u64,
    pub(crate) failed: u64,
    /// Records due and not acknowledged at the end of the second.
    pub(crate) behind: u64,
    pub(crate) ack_p50_ns: u64,
    pub(crate) ack_p99_ns: u64,
    pub(crate) ack_max_ns: u64,
    pub(crate) e2e_p50_ns: u64,
    pub(crate) e2e_p99_ns: u64,
    pub(crate) e2e_max_ns: u64,
}

/// What was sent before the schedule began.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Backlog {
    pub(crate) records: u64,
    pub(crate) build_seconds: f64,
    /// From the start of the schedule until the consumers had caught up.
    pub(crate) drain_seconds: Option<f64>,
}

/// One latency.
pub(crate) struct Latency {
    /// Of the measured window.
    pub(crate) all: Histogram<u64>,
    second: Histogram<u64>,
    log: Option<BufWriter<File>>,
}

/// Counts and latencies of a run.
pub(crate) struct Meter {
    warmup: Duration,
    duration: Duration,
    /// First intended send time, by both clocks.
    pub(crate) began: Moment,
    pub(crate) started: WallMs,
    /// The measured window.
    pub(crate) from: Moment,
    pub(crate) to: Moment,
    pub(crate) counts: Counts,
    /// What happened in the window; acknowledged are only records of the schedule.
    pub(crate) measured: Counts,
    /// From the intended send time until a producer took the record, of the measured window.
    pub(crate) late: Histogram<u64>,
    pub(crate) ack: Latency,
    pub(crate) e2e: Latency,
    pub(crate) series: Vec<Second>,
    pub(crate) backlog: Option<Backlog>,
    at_second: Counts,
    /// CPU seconds of this process at the start of the window, and then in it.
    cpu_seconds: (Option<f64>, f64),
    /// Why the first record failed.
    pub(crate) first_failure: Option<String>,
}

impl Meter {
    /// Nothing is measured before [`Self::begin`]; with `out`, the histograms of each second go to files there.
    ///
    /// # Errors
    /// A file cannot be made.
    pub(crate) fn new(
        (warmup, duration): (Duration, Duration),
        out: Option<&Path>,
    ) -> io::Result<Self> {
        let latency = |name: &str| Latency::new(out.map(|dir| dir.join(name)).as_deref());
        Ok(Self {
            warmup,
            duration,
            began: Moment::NEVER,
            started: WallMs::default(),
            from: Moment::NEVER,
            to: Moment::NEVER,
            counts: Counts::default(),
            measured: Counts::default(),
            late: histogram()?,
            ack: latency(LOGS[0])?,
            e2e: latency(LOGS[1])?,
            series: Vec::new(),
            backlog: None,
            at_second: Counts::default(),
            cpu_seconds: (None, 0.0),
            first_failure: None,
        })
    }

    /// The first record is due at this moment.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn begin(&mut self, (began, started): (Moment, WallMs)) -> io::Result<()> {
        (self.began, self.from) = (began, began + self.warmup);
        self.to = self.from + self.duration;
        self.started = started;
        self.at_second = self.counts;
        self.ack.begin(started)?;
        self.e2e.begin(started)
    }

    /// The run is cut short: what comes from now on is not measured.
    pub(crate) fn cut(&mut self, now: Moment) {
        if now < self.to {
            self.to = now;
            if let Some(from) = self.cpu_seconds.0 {
                self.cpu_seconds.1 = cpu_seconds() - from;
            }
        }
    }

    /// The length of the measured window.
    pub(crate) fn window(&self) -> Duration {
        self.to.since(self.from)
    }

    fn is_scheduled(&self, intended: Moment) -> bool {
        intended >= self.began
    }

    /// Acknowledged records that have not been read by all of `groups`.
    pub(crate) fn unread(&self, groups: u32) -> u64 {
        (self.counts.acked * u64::from(groups)).saturating_sub(self.counts.consumed)
    }

    fn is_measured(&self, at: Moment) -> bool {
        (self.from..self.to).contains(&at)
    }

    /// A producer took a record.
    pub(crate) fn sent(&mut self, intended: Moment, now: Moment) {
        self.counts.sent += 1;
        self.measured.sent += u64::from(self.is_measured(now));
        if self.is_measured(intended) {
            record(&mut self.late, intended, now);
        }
    }

    /// A record was acknowledged.
    pub(crate) fn acked(&mut self, intended: Moment, now: Moment) {
        self.counts.acked += 1;
        if self.is_scheduled(intended) {
            self.measured.acked += u64::from(self.is_measured(now));
            let is_measured = self.is_measured(intended);
            self.ack.record(intended, now, is_measured);
        }
    }

    /// A consumer read a record.
    pub(crate) fn consumed(&mut self, intended: Moment, now: Moment) {
        self.counts.consumed += 1;
        self.measured.consumed += u64::from(self.is_measured(now));
        if self.is_scheduled(intended) {
            let is_measured = self.is_measured(intended);
            self.e2e.record(intended, now, is_measured);
        }
    }

    /// A producer gave up `count` records.
    pub(crate) fn failed(&mut self, count: u64, why: &dyn std::fmt::Display) {
        self.counts.failed += count;
        self.first_failure.get_or_insert_with(|| why.to_string());
    }

    /// Records that were sent before the schedule began.
    pub(crate) fn backlog_records(&self) -> u64 {
        self.backlog.as_ref().map_or(0, |b| b.records)
    }

    /// CPU seconds of this process in the measured window.
    pub(crate) fn load_cpu_seconds(&self) -> f64 {
        self.cpu_seconds.1
    }

    /// The moment at which the second that runs now is over.
    pub(crate) fn second_ends_at(&self) -> Moment {
        Moment(self.began.0.saturating_add((self.series.len() as u64 + 1) * NS as u64))
    }

    /// Ends the second that runs now. `due` is the number of records whose intended time has come.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn end_second(&mut self, due: u64) -> io::Result<()> {
        let (all, last) = (self.counts, self.at_second);
        let second = self.series.len() as u64;
        let ends_at = self.second_ends_at();
        match self.cpu_seconds.0 {
            None if ends_at > self.from => self.cpu_seconds.0 = Some(cpu_seconds()),
            Some(from) if ends_at <= self.to => self.cpu_seconds.1 = cpu_seconds() - from,
            _ => {}
        }
        self.series.push(Second {
            second,
            sent: all.sent - last.sent,
            acked: all.acked - last.acked,
            consumed: all.consumed - last.consumed,
            failed: all.failed - last.failed,
            behind: (due + self.backlog_records()).saturating_sub(all.acked + all.failed),
            ack_p50_ns: self.ack.second.value_at_quantile(0.5),
            ack_p99_ns: self.ack.second.value_at_quantile(0.99),
            ack_max_ns: self.ack.second.max(),
            e2e_p50_ns: self.e2e.second.value_at_quantile(0.5),
            e2e_p99_ns: self.e2e.second.value_at_quantile(0.99),
            e2e_max_ns: self.e2e.second.max(),
        });
        self.at_second = all;
        self.log_interval(second, 1.0)
    }

    /// The run is over: what came after its last whole second is logged too.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn end(&mut self, now: Moment) -> io::Result<()> {
        let second = self.series.len() as u64;
        let began = self.began.0.saturating_add(second * NS as u64);
        self.log_interval(second, now.0.saturating_sub(began) as f64 / NS)
    }

    fn log_interval(&mut self, second: u64, seconds: f64) -> io::Result<()> {
        self.ack.log_interval(second, seconds)?;
        self.e2e.log_interval(second, seconds)
    }
}

/// Run time of this process so far.
fn cpu_seconds() -> f64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid place for the answer, and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut ts) };
    ts.tv_sec as f64 + ts.tv_nsec as f64 / NS
}

fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new(DIGITS).map_err(|e| io::Error::other(e.to_string()))
}

fn record(histogram: &mut Histogram<u64>, intended: Moment, now: Moment) {
    // It grows as it must, and fails only beyond what 64 bits hold.
    let _ = histogram.record(now.0.saturating_sub(intended.0));
}

impl Latency {
    fn new(log: Option<&Path>) -> io::Result<Self> {
        let log = log.map(File::create).transpose()?.map(BufWriter::new);
        Ok(Self { all: histogram()?, second: histogram()?, log })
    }

    /// Writes the head of the log.
    fn begin(&mut self, start: WallMs) -> io::Result<()> {
        if let Some(log) = &mut self.log {
            let seconds = start.0 as f64 / 1e3;
            writeln!(log, "#[Histogram log format version 1.3]")?;
            writeln!(log, "#[StartTime: {seconds:.3} (seconds since epoch)]")?;
            writeln!(
                log,
                r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#
            )?;
        }
        Ok(())
    }

    fn record(&mut self, intended: Moment, now: Moment, is_measured: bool) {
        record(&mut self.second, intended, now);
        if is_measured {
            record(&mut self.all, intended, now);
        }
    }

    /// A line of the log has the start in seconds, the length in seconds, the largest value in ms.
    fn log_interval(&mut self, second: u64, seconds: f64) -> io::Result<()> {
        if let Some(log) = &mut self.log
            && !self.second.is_empty()
        {
            let mut packed = Vec::new();
            V2DeflateSerializer::new()
                .serialize(&self.second, &mut packed)
                .map_err(|e| io::Error::other(e.to_string()))?;
            let max = self.second.max() as f64 / 1e6;
            writeln!(log, "{second}.000,{seconds:.3},{max:.3},{}", STANDARD.encode(packed))?;
            log.flush()?;
        }
        self.second.reset();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    #[test]
    fn a_backlog_is_counted_but_has_no_latency_and_is_not_of_the_rate() {
        let mut meter = Meter::new((Duration::ZERO, SECOND), None).unwrap();
        for ms in 0..10 {
            meter.sent(at(ms), at(ms));
            meter.acked(at(ms), at(ms + 1));
        }
        meter.begin((at(100), WallMs(5))).unwrap();
        for ms in 0..10 {
            meter.acked(at(ms), at(500));
            meter.consumed(at(ms), at(500));
        }
        meter.sent(at(100), at(300));
        meter.acked(at(100), at(600));
        meter.consumed(at(100), at(700));
        meter.end_second(1).unwrap();
        assert_eq!((meter.counts.acked, meter.counts.consumed), (21, 11));
        assert_eq!((meter.measured.acked, meter.measured.consumed), (1, 11));
        assert_eq!((meter.ack.all.len(), meter.e2e.all.len(), meter.late.len()), (1, 1, 1));
        assert_eq!(meter.late.max() / 1_000_000, 200);
        let second = &meter.series[0];
        assert!(second.ack_max_ns < 501_000_000 && second.e2e_p50_ns > 599_000_000, "{second:?}");
        assert_eq!(meter.started, WallMs(5));
    }

    #[test]
    fn what_comes_after_a_run_was_cut_short_is_not_measured() {
        let mut meter = Meter::new((SECOND, 10 * SECOND), None).unwrap();
        meter.begin((at(0), WallMs(0))).unwrap();
        meter.acked(at(900), at(1100));
        meter.cut(at(2500));
        meter.acked(at(2400), at(2600));
        assert_eq!((meter.measured.acked, meter.ack.all.len()), (1, 1));
        assert_eq!(meter.window(), Duration::from_millis(1500));
        meter.cut(at(9000));
        assert_eq!(meter.window(), Duration::from_millis(1500), "once is enough");
    }

    #[test]
    fn a_run_that_is_cut_in_its_warm_up_has_measured_nothing() {
        let mut meter = Meter::new((SECOND, SECOND), None).unwrap();
        meter.begin((at(0), WallMs(0))).unwrap();
        meter.cut(at(500));
        assert_eq!(meter.window(), Duration::ZERO);
    }
}
