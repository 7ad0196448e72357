//! The outcome of a run for people: the table on standard output.

use std::fmt::Write as _;

use crate::tools::load::result::{Percentiles, RunResult};
use crate::tools::load::slo::Tried;

const MEGA: f64 = 1e6;

/// The table.
pub(crate) fn table(r: &RunResult) -> String {
    let w = &r.workload;
    let mut t = head(r);
    let counts = &r.counts;
    let _ = write!(
        t,
        "records  due {}   sent {}   unsent {}   acknowledged {}   read {}   failed {}",
        counts.due, counts.sent, counts.unsent, counts.acked, counts.consumed, counts.failed
    );
    if let (Some(lost), Some(dup), Some(re), Some(bad)) =
        (counts.lost, counts.duplicated, counts.reordered, counts.corrupted)
    {
        let _ = write!(t, "   lost {lost}   duplicated {dup}   reordered {re}   corrupted {bad}");
    }
    let _ = writeln!(
        t,
        "\ntime     {} s warm-up cut off, {} s measured, {:.2} s CPU of the load in it\n",
        r.warmup_seconds, r.duration_seconds, r.load_cpu_seconds
    );
    let _ = writeln!(
        t,
        "latency ms {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "p50", "p90", "p99", "p99.9", "p99.99", "max"
    );
    for (name, latency) in [("late", &r.late_ns), ("ack", &r.ack_ns), ("end to end", &r.e2e_ns)] {
        let Some(p) = latency else { continue };
        let _ = writeln!(t, "{name:<10} {}", row(p));
    }
    if r.ack_ns.is_none() && w.producers > 0 {
        let _ = writeln!(t, "none: no record of the measured time was acknowledged");
    }
    if let Some(backlog) = &r.backlog {
        let drained = backlog.drain_seconds.map_or("not read in the time".to_owned(), |s| {
            format!(
                "read up in {s:.2} s, {:.0}/s",
                (backlog.records as f64 + s * r.offered_rate) / s
            )
        });
        let _ = writeln!(
            t,
            "\nbacklog  {} records sent in {:.2} s, {drained}",
            backlog.records, backlog.build_seconds
        );
    }
    for tried in r.search.iter().flatten() {
        let _ = writeln!(t, "{}", search_line(tried));
    }
    if let Some(error) = &r.error {
        let _ = writeln!(t, "\nFAILED: {error}");
    }
    t
}

/// What was run, and how fast.
fn head(r: &RunResult) -> String {
    let w = &r.workload;
    let mut t = String::new();
    let mb = r.achieved_rate * w.record_bytes as f64 / MEGA;
    let _ = writeln!(
        t,
        "{}: {} topics x {} partitions, {} producers, {} x {} consumers, {} B, acks={}, linger {} ms, \
         codec {}, client {}",
        w.name,
        w.topics,
        w.partitions,
        w.producers * w.topics,
        w.groups,
        w.consumers,
        w.record_bytes,
        w.acks,
        w.linger_ms,
        w.codec,
        r.about.client
    );
    let missed = if r.missed { "   MISSED: not all of the offered rate" } else { "" };
    let _ = writeln!(
        t,
        "rate     offered {:.0}/s   acknowledged {:.0}/s ({mb:.1} MB/s)   read {:.0}/s{missed}",
        r.offered_rate, r.achieved_rate, r.consumed_rate
    );
    t
}

/// A line of the search for the highest rate.
pub(crate) fn search_line(tried: &Tried) -> String {
    let value = tried.value_ns.map_or("-".to_owned(), |ns| format!("{:.3}", ns as f64 / MEGA));
    let meets = if tried.meets { "meets" } else { "misses" };
    format!(
        "search   {:>10.0}/s offered {:>10.0}/s acknowledged {value:>10} ms   {meets}",
        tried.rate, tried.achieved_rate
    )
}

fn row(p: &Percentiles) -> String {
    let all = [p.p50, p.p90, p.p99, p.p999, p.p9999, p.max];
    all.map(|ns| format!("{:>10.3}", ns as f64 / MEGA)).join(" ")
}
