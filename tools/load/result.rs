//! The outcome of a run as data: what `result.json` holds.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::tools::load::engine::End;
use crate::tools::load::meter::{Backlog, Meter, Second};
use crate::tools::load::slo::Tried;
use crate::tools::load::verify::Verdict;
use crate::tools::load::workload::Workload;

/// Version of the format.
const FORMAT: u32 = 1;
/// Below this part of the offered rate a run has missed it, as with any record that it could not send.
const RATE_KEPT: f64 = 0.99;
const STEPS_PER_HALF: u32 = 5;

/// What a run is about, beside its workload.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct About {
    pub(crate) client: &'static str,
    pub(crate) bootstrap: String,
}

/// Counts over the whole run, warm-up included. The last four are null unless `--verify` was given.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AllCounts {
    pub(crate) due: u64,
    pub(crate) sent: u64,
    /// Due, but no producer had room for them until the end. They are in no latency.
    pub(crate) unsent: u64,
    pub(crate) acked: u64,
    pub(crate) consumed: u64,
    pub(crate) failed: u64,
    pub(crate) lost: Option<u64>,
    pub(crate) duplicated: Option<u64>,
    pub(crate) reordered: Option<u64>,
    pub(crate) corrupted: Option<u64>,
}

/// A latency in nanoseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) min: u64,
    pub(crate) mean: f64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p95: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) p9999: u64,
    pub(crate) max: u64,
    /// (quantile, nanoseconds) along the whole curve.
    pub(crate) curve: Vec<(f64, u64)>,
}

/// The outcome of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunResult {
    pub(crate) format: u32,
    #[serde(flatten)]
    pub(crate) about: About,
    /// Wall clock of the first intended send time, milliseconds since 1970.
    pub(crate) started_ms: i64,
    pub(crate) workload: Workload,
    pub(crate) offered_rate: f64,
    pub(crate) achieved_rate: f64,
    pub(crate) consumed_rate: f64,
    pub(crate) missed: bool,
    pub(crate) error: Option<String>,
    pub(crate) warmup_seconds: f64,
    pub(crate) duration_seconds: f64,
    pub(crate) load_cpu_seconds: f64,
    pub(crate) counts: AllCounts,
    pub(crate) late_ns: Option<Percentiles>,
    pub(crate) ack_ns: Option<Percentiles>,
    pub(crate) e2e_ns: Option<Percentiles>,
    pub(crate) backlog: Option<Backlog>,
    /// The rates that `--max` tried; the rest is of the highest one that met the bound.
    pub(crate) search: Option<Vec<Tried>>,
    pub(crate) series: Vec<Second>,
    /// A signal ended it.
    #[serde(skip)]
    pub(crate) is_stopped: bool,
}

impl Percentiles {
    /// The latency at a quantile, in nanoseconds: the point of the curve at or above it.
    pub(crate) fn at(&self, quantile: f64) -> u64 {
        let known = [(0.5, self.p50), (0.9, self.p90), (0.95, self.p95), (0.99, self.p99)];
        let known = known.into_iter().chain([(0.999, self.p999), (0.9999, self.p9999)]);
        let exact = known.into_iter().find(|(q, _)| (q - quantile).abs() < 1e-9);
        let curve = || self.curve.iter().find(|(q, _)| *q >= quantile).copied();
        exact.or_else(curve).map_or(self.max, |(_, ns)| ns)
    }

    fn of(h: &Histogram<u64>) -> Option<Self> {
        let at = |q| h.value_at_quantile(q);
        let steps = h.iter_quantiles(STEPS_PER_HALF);
        (!h.is_empty()).then(|| Self {
            count: h.len(),
            min: h.min(),
            mean: h.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: h.max(),
            curve: steps.map(|s| (s.quantile_iterated_to(), s.value_iterated_to())).collect(),
        })
    }
}

impl RunResult {
    /// Puts together what a run found. `due` is the number of records whose time had come.
    pub(crate) fn new(
        about: About,
        workload: &Workload,
        meter: &Meter,
        due: u64,
        (end, verdict): (&End, Option<Verdict>),
    ) -> Self {
        let (counts, measured) = (meter.counts, meter.measured);
        let seconds = (meter.window().as_secs_f64() * 1e3).round() / 1e3;
        let unsent = due.saturating_sub(counts.sent - meter.backlog_records());
        let offered_rate = if workload.producers > 0 { workload.rate } else { 0.0 };
        let rate = |n: u64| if seconds > 0.0 { n as f64 / seconds } else { 0.0 };
        let achieved_rate = rate(measured.acked);
        Self {
            format: FORMAT,
            about,
            started_ms: meter.started.0,
            workload: workload.clone(),
            offered_rate,
            achieved_rate,
            consumed_rate: rate(measured.consumed),
            missed: achieved_rate < offered_rate * RATE_KEPT || unsent > 0,
            error: error(meter, workload, end, verdict),
            warmup_seconds: workload.warmup_seconds,
            duration_seconds: seconds,
            load_cpu_seconds: meter.load_cpu_seconds(),
            counts: AllCounts {
                due,
                sent: counts.sent,
                unsent,
                acked: counts.acked,
                consumed: counts.consumed,
                failed: counts.failed,
                lost: verdict.map(|v| v.lost),
                duplicated: verdict.map(|v| v.duplicated),
                reordered: verdict.map(|v| v.reordered),
                corrupted: verdict.map(|v| v.corrupted),
            },
            late_ns: Percentiles::of(&meter.late),
            ack_ns: Percentiles::of(&meter.ack.all),
            e2e_ns: Percentiles::of(&meter.e2e.all),
            backlog: meter.backlog.clone(),
            search: None,
            series: meter.series.clone(),
            is_stopped: *end == End::Stopped,
        }
    }
}

fn error(
    meter: &Meter,
    workload: &Workload,
    end: &End,
    verdict: Option<Verdict>,
) -> Option<String> {
    let unread = meter.unread(workload.groups);
    match (end, verdict) {
        (End::Failed(what), _) => Some(what.clone()),
        (End::Stopped, _) => Some("interrupted".to_owned()),
        (End::Complete, Some(v)) if !v.is_good() => Some(format!(
            "{} records lost, {} duplicated, {} reordered, {} corrupted",
            v.lost, v.duplicated, v.reordered, v.corrupted
        )),
        _ if meter.counts.failed > 0 => {
            let why = meter.first_failure.as_deref().unwrap_or("for no known reason");
            Some(format!("{} records failed, the first: {why}", meter.counts.failed))
        }
        _ if unread > 0 => Some(format!("{unread} acknowledged records were not read")),
        _ => None,
    }
}
