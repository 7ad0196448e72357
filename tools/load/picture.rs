//! The picture of a run: percentile curves, latency over time, achieved against offered rate.

use std::fmt::Write as _;

use crate::tools::load::meter::Second;
use crate::tools::load::plot::{Panel, Pen, Scale, label, text};
use crate::tools::load::result::RunResult;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 70.0;
const PANEL_WIDTH: f64 = WIDTH - LEFT - 40.0;
const PANEL_HEIGHT: f64 = 220.0;
const PANEL_EVERY: f64 = 300.0;
const FIRST_PANEL: f64 = 130.0;
const ACK: &str = "#2563eb";
const E2E: &str = "#ea580c";
const GREY: &str = "#6b7280";
const MS: f64 = 1e6;

/// The picture as SVG.
pub(crate) fn svg(r: &RunResult) -> String {
    let height = FIRST_PANEL + 3.0 * PANEL_EVERY - 30.0;
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="Helvetica, Arial, sans-serif">
<rect width="100%" height="100%" fill="white"/>"#
    );
    head(&mut svg, r);
    percentiles(&mut svg, r, FIRST_PANEL);
    latency(&mut svg, r, FIRST_PANEL + PANEL_EVERY);
    rate(&mut svg, r, FIRST_PANEL + 2.0 * PANEL_EVERY);
    svg + "</svg>\n"
}

fn head(svg: &mut String, r: &RunResult) {
    let w = &r.workload;
    text(svg, (LEFT, 34.0), "start", 20, &w.name);
    let what = format!(
        "{} B records, {} x {} partitions, {} producers, {} x {} consumers, acks={}, linger {} ms, \
         codec {}, client {}",
        w.record_bytes,
        w.topics,
        w.partitions,
        w.producers * w.topics,
        w.groups,
        w.consumers,
        w.acks,
        w.linger_ms,
        w.codec,
        r.about.client
    );
    text(svg, (LEFT, 56.0), "start", 12, &what);
    let missed = if r.missed { " (MISSED)" } else { "" };
    let failed = r.error.as_ref().map(|e| format!("  FAILED: {e}")).unwrap_or_default();
    let rates = format!(
        "offered {:.0}/s, acknowledged {:.0}/s{missed}, {} s measured{failed}",
        r.offered_rate, r.achieved_rate, r.duration_seconds
    );
    text(svg, (LEFT, 74.0), "start", 12, &rates);
}

const fn pen(colour: &'static str, width: f64, opacity: f64) -> Pen {
    Pen { colour, width, opacity, is_dashed: false }
}

fn percentiles(svg: &mut String, r: &RunResult, top: f64) {
    let curve = |p: &Option<crate::tools::load::result::Percentiles>| -> Vec<(f64, f64)> {
        let curve = p.as_ref().map_or(&[][..], |p| &p.curve);
        let shown = curve.iter().filter(|(q, _)| *q < 1.0);
        shown.map(|&(q, ns)| (1.0 / (1.0 - q), ns as f64 / MS)).collect()
    };
    let (ack, e2e) = (curve(&r.ack_ns), curve(&r.e2e_ns));
    let last = ack.iter().chain(&e2e).map(|p| p.0).fold(1e4, f64::max);
    let panel = Panel {
        left: LEFT,
        top,
        width: PANEL_WIDTH,
        height: PANEL_HEIGHT,
        x: Scale::Log(1.0, last),
        y: Scale::decades(ack.iter().chain(&e2e).map(|p| p.1)),
    };
    let ticks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999, 99.99999];
    let place = |percent: f64| 100.0 / (100.0 - percent);
    let ticks: Vec<_> = ticks
        .into_iter()
        .filter(|t| place(*t) <= last * 1.01)
        .map(|t| (place(t), format!("{t} %")))
        .collect();
    panel.frame(svg, "Latency by percentile, ms", &ticks);
    panel.line(svg, pen(ACK, 2.5, 1.0), &[ack]);
    panel.line(svg, pen(E2E, 2.5, 1.0), &[e2e]);
    panel.legend(svg, &[(pen(ACK, 2.5, 1.0), "ack"), (pen(E2E, 2.5, 1.0), "end to end")]);
}

fn seconds(r: &RunResult) -> f64 {
    (r.series.len() as f64).max(1.0)
}

fn time_panel(r: &RunResult, top: f64, y: Scale) -> Panel {
    Panel {
        left: LEFT,
        top,
        width: PANEL_WIDTH,
        height: PANEL_HEIGHT,
        x: Scale::Linear(0.0, seconds(r)),
        y,
    }
}

fn time_ticks(r: &RunResult) -> Vec<(f64, String)> {
    let ticks = Scale::from_zero(seconds(r)).ticks().into_iter();
    ticks.filter(|t| *t <= seconds(r)).map(|t| (t, label(t) + " s")).collect()
}

/// A line, in parts where it has gaps.
type Line = Vec<Vec<(f64, f64)>>;

/// A point in the middle of each second.
fn points<'a>(
    seconds: impl IntoIterator<Item = &'a Second>,
    value: impl Fn(&Second) -> f64,
) -> Vec<(f64, f64)> {
    seconds.into_iter().map(|s| (s.second as f64 + 0.5, value(s))).collect()
}

/// A latency over time: no line where a second has none.
fn latencies(r: &RunResult, ns: impl Fn(&Second) -> u64) -> Line {
    let parts = r.series.chunk_by(|a, b| (ns(a) > 0) == (ns(b) > 0));
    let parts = parts.filter(|part| ns(&part[0]) > 0);
    parts.map(|part| points(part, |s| ns(s) as f64 / MS)).collect()
}

fn latency(svg: &mut String, r: &RunResult, top: f64) {
    let lines = [
        (pen(ACK, 1.0, 0.35), "ack max", latencies(r, |s| s.ack_max_ns)),
        (pen(ACK, 2.0, 0.7), "ack p99", latencies(r, |s| s.ack_p99_ns)),
        (pen(ACK, 2.5, 1.0), "ack p50", latencies(r, |s| s.ack_p50_ns)),
        (pen(E2E, 1.0, 0.35), "e2e max", latencies(r, |s| s.e2e_max_ns)),
        (pen(E2E, 2.0, 0.7), "e2e p99", latencies(r, |s| s.e2e_p99_ns)),
        (pen(E2E, 2.5, 1.0), "e2e p50", latencies(r, |s| s.e2e_p50_ns)),
    ];
    let values = lines.iter().flat_map(|(_, _, line)| line.iter().flatten().map(|p| p.1));
    let panel = time_panel(r, top, Scale::decades(values));
    panel.shade(svg, r.warmup_seconds, "warm-up");
    panel.frame(svg, "Latency over time, ms", &time_ticks(r));
    for (pen, _, line) in &lines {
        panel.line(svg, *pen, line);
    }
    let names: Vec<_> = lines.iter().map(|(pen, name, _)| (*pen, *name)).collect();
    panel.legend(svg, &names);
}

fn rate(svg: &mut String, r: &RunResult, top: f64) {
    let acked = points(&r.series, |s| s.acked as f64);
    let read = points(&r.series, |s| s.consumed as f64);
    let high = acked.iter().chain(&read).map(|p| p.1).fold(r.offered_rate, f64::max);
    let panel = time_panel(r, top, Scale::from_zero(high * 1.02));
    let offered = Pen { is_dashed: true, ..pen(GREY, 2.0, 1.0) };
    panel.shade(svg, r.warmup_seconds, "warm-up");
    panel.frame(svg, "Records each second", &time_ticks(r));
    let until = r.warmup_seconds + r.duration_seconds;
    panel.line(svg, offered, &[vec![(0.0, r.offered_rate), (until, r.offered_rate)]]);
    panel.line(svg, pen(E2E, 2.0, 0.8), &[read]);
    panel.line(svg, pen(ACK, 2.0, 1.0), &[acked]);
    let names =
        [(offered, "offered"), (pen(ACK, 2.0, 1.0), "acknowledged"), (pen(E2E, 2.0, 0.8), "read")];
    panel.legend(svg, &names);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use klamm::base::{Moment, WallMs};

    use super::*;
    use crate::tools::load::engine::End;
    use crate::tools::load::meter::Meter;
    use crate::tools::load::result::About;
    use crate::tools::load::workload::Workload;

    #[test]
    fn a_second_without_an_acknowledgement_is_a_gap_and_a_rate_of_zero() {
        let workload =
            Workload { warmup_seconds: 0.0, duration_seconds: 4.0, ..Workload::default() };
        let length = Duration::from_secs(4);
        let mut meter = Meter::new((Duration::ZERO, length), None).unwrap();
        let at = |ms: u64| Moment(ms * 1_000_000);
        meter.begin((at(0), WallMs(0))).unwrap();
        for second in 0..4 {
            if second != 2 {
                meter.sent(at(second * 1000), at(second * 1000));
                meter.acked(at(second * 1000), at(second * 1010 + 10));
            }
            meter.end_second(second).unwrap();
        }
        let about = About { client: "klamm", bootstrap: String::new() };
        let result = RunResult::new(about, &workload, &meter, 3, (&End::Complete, None));
        let curve = &result.ack_ns.as_ref().unwrap().curve;
        let below_all = curve.iter().filter(|(quantile, _)| *quantile < 1.0).count();
        let svg = svg(&result);
        let lines: Vec<_> = svg.lines().filter(|l| l.starts_with("<path ")).collect();
        let count = |line: &str| {
            let path = line.split('"').nth(1).unwrap();
            (path.matches('M').count(), path.matches('L').count())
        };
        let counts: Vec<_> = lines.into_iter().map(count).collect();
        let (percentiles, rest) = counts.split_at(2);
        assert!(below_all > 1, "{curve:?}");
        assert_eq!(percentiles, [(1, below_all), (0, 0)]);
        let (latencies, rates) = rest.split_at(6);
        assert_eq!(latencies, [[(2, 3); 3], [(0, 0); 3]].concat());
        assert_eq!(rates, [(1, 2), (1, 4), (1, 4)]);
    }
}
