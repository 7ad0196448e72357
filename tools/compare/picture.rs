//! The picture of a report: for each workload where each broker stands, on logarithmic scales.
//!
//! Two parts, as the tables: synced, and neither synced. Each has three panels (CPU per record, end to
//! end p50 and p99) with a line for each workload and a mark for each broker; at the right end of a
//! line stands Klamm's value divided by that of the first broker beside it.

use std::fmt::Write as _;

use crate::brokers::Durability;
use crate::findings::Side;
use crate::report::Report;
use crate::table::{number, side_name, title};
use crate::workloads::{What, Workload};

const WIDTH: f64 = 1120.0;
const LEFT: f64 = 270.0;
const PANEL: f64 = 200.0;
const PANEL_EVERY: f64 = 280.0;
const ROW: f64 = 38.0;
const HEAD: f64 = 84.0;
const PART_HEAD: f64 = 84.0;
const PART_FOOT: f64 = 44.0;
const INK: &str = "#1f2937";
const GREY: &str = "#6b7280";
const FAINT: &str = "#e5e7eb";
const OURS: &str = "#2563eb";
const KAFKA: &str = "#ea580c";
const PEERS: [&str; 3] = ["#16a34a", "#9333ea", "#ca8a04"];

const PANELS: [(&str, &str); 3] = [
    ("cpu_us_per_record", "CPU of the broker, us per record"),
    ("e2e_p50_ms", "end to end p50, ms"),
    ("e2e_p99_ms", "end to end p99, ms"),
];

/// The picture as SVG.
pub(crate) fn svg(report: &Report) -> String {
    let mut body = String::new();
    let mut top = HEAD;
    for durability in Durability::BOTH {
        top = part(&mut body, report, durability, top);
    }
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" font-family="Helvetica, Arial, sans-serif">
<rect width="100%" height="100%" fill="white"/>"#
    );
    Text::new(22, INK).bold().put(&mut svg, (24.0, 38.0), "Klamm beside Apache Kafka");
    Text::new(12, GREY).put(&mut svg, (24.0, 60.0), &report.machine.line());
    svg + &body + "</svg>\n"
}

/// How text looks.
#[derive(Debug, Clone, Copy)]
struct Text {
    size: u32,
    colour: &'static str,
    anchor: &'static str,
    weight: u32,
}

impl Text {
    fn new(size: u32, colour: &'static str) -> Self {
        Self { size, colour, anchor: "start", weight: 400 }
    }

    fn bold(self) -> Self {
        Self { weight: 600, ..self }
    }

    fn at(self, anchor: &'static str) -> Self {
        Self { anchor, ..self }
    }

    fn put(self, svg: &mut String, (x, y): (f64, f64), what: &str) {
        let what = what.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let Self { size, colour, anchor, weight } = self;
        let _ = writeln!(
            svg,
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}">{what}</text>"#
        );
    }
}

fn line(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str, width: f64) {
    let _ = writeln!(
        svg,
        r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}" stroke-width="{width}"/>"#
    );
}

/// The mark of a side.
#[derive(Debug, Clone, Copy)]
enum Mark {
    Dot(&'static str),
    Ring(&'static str),
    Bar(&'static str),
}

impl Mark {
    fn of(report: &Report, side: Side<'_>, durability: Durability) -> Self {
        let at = report.brokers.iter().position(|b| b.name == side.0).unwrap_or(0);
        let broker = &report.brokers[at];
        match at {
            0 => Self::Dot(OURS),
            _ if broker.is_floor() => Self::Bar(GREY),
            _ if broker.is_kafka() && side.1 != durability => Self::Ring(KAFKA),
            _ if broker.is_kafka() => Self::Dot(KAFKA),
            _ => Self::Dot(PEERS[at % PEERS.len()]),
        }
    }

    fn put(self, svg: &mut String, (x, y): (f64, f64)) {
        let _ = match self {
            Self::Dot(c) => writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="6" fill="{c}"/>"#),
            Self::Ring(c) => writeln!(
                svg,
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="5" fill="white" stroke="{c}" stroke-width="2"/>"#
            ),
            Self::Bar(c) => writeln!(
                svg,
                r#"<rect x="{:.1}" y="{:.1}" width="3" height="16" fill="{c}"/>"#,
                x - 1.5,
                y - 8.0
            ),
        };
    }
}

/// A logarithmic scale over whole decades.
#[derive(Debug, Clone, Copy)]
struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .filter(|v| *v > 0.0)
            .fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), v| (low.min(v), high.max(v)));
        let low = low.min(high).log10().floor() as i32;
        Self { low, high: (high.log10().ceil() as i32).max(low + 1) }
    }

    fn x(self, left: f64, v: f64) -> f64 {
        let part = (v.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        left + PANEL * part.clamp(0.0, 1.0)
    }
}

/// One part from `top` on; returns where the next begins.
fn part(svg: &mut String, report: &Report, durability: Durability, top: f64) -> f64 {
    let f = &report.findings;
    let sides = report.sides(durability);
    let has_value = |w: &&Workload| {
        let any = |s: &Side<'_>| f.value(w.name, *s, PANELS[0].0).is_some();
        matches!(w.what, What::Load(_)) && sides.iter().any(any)
    };
    let workloads: Vec<_> = report.workloads.iter().filter(has_value).collect();
    if workloads.is_empty() {
        return top;
    }
    Text::new(16, INK).bold().put(svg, (24.0, top + 22.0), title(durability));
    legend(svg, report, &sides, durability, top + 46.0);
    let first = top + PART_HEAD;
    for (at, w) in workloads.iter().enumerate() {
        let y = first + ROW * (at as f64 + 0.5);
        let (name, what) = (Text::new(13, INK).bold(), Text::new(11, GREY));
        name.put(svg, (24.0, y - 2.0), w.name);
        what.put(svg, (24.0, y + 12.0), w.title);
    }
    let bottom = first + ROW * workloads.len() as f64;
    for (at, (key, name)) in PANELS.into_iter().enumerate() {
        let left = LEFT + PANEL_EVERY * at as f64;
        let value = |w: &Workload, s: Side<'_>| f.value(w.name, s, key).map(|v| v.median);
        let all = workloads.iter().flat_map(|w| sides.iter().filter_map(|s| value(w, *s)));
        let scale = Scale::of(all);
        Text::new(12, INK).bold().put(svg, (left, first - 8.0), name);
        for e in scale.low..=scale.high {
            let x = scale.x(left, 10_f64.powi(e));
            line(svg, (x, first), (x, bottom), FAINT, 1.0);
            Text::new(11, GREY).at("middle").put(svg, (x, bottom + 16.0), &decade(e));
        }
        for (at, w) in workloads.iter().enumerate() {
            let y = first + ROW * (at as f64 + 0.5);
            let marks = sides.iter().filter_map(|s| Some((*s, scale.x(left, value(w, *s)?))));
            row(svg, report, w, durability, &marks.collect::<Vec<_>>(), y);
            factor(svg, report, w, durability, key, (left + PANEL + 12.0, y + 4.0));
            if let Some(v) = value(w, sides[0]) {
                let place = (scale.x(left, v), y - 10.0);
                Text::new(10, OURS).at("middle").put(svg, place, &number(v));
            }
        }
    }
    bottom + PART_FOOT
}

fn legend(svg: &mut String, report: &Report, sides: &[Side<'_>], durability: Durability, y: f64) {
    let mut x = 30.0;
    for side in sides {
        let name = side_name(report, *side, durability).replace("**", "");
        Mark::of(report, *side, durability).put(svg, (x, y - 4.0));
        Text::new(12, INK).put(svg, (x + 12.0, y), &name);
        x += 12.0 + 6.5 * name.len() as f64 + 30.0;
    }
    if let Some(other) = sides.get(1) {
        let name = side_name(report, *other, durability).replace("**", "");
        let text = format!("x: Klamm / {name}, median of the rounds. Faint: missed the rate");
        Text::new(12, GREY).at("end").put(svg, (WIDTH - 24.0, y - 24.0), &text);
    }
}

/// The marks of one workload in one panel, Klamm's last and so on top.
fn row(
    svg: &mut String,
    report: &Report,
    w: &Workload,
    durability: Durability,
    marks: &[(Side<'_>, f64)],
    y: f64,
) {
    let places = || marks.iter().map(|m| m.1);
    let (low, high) = (places().fold(f64::MAX, f64::min), places().fold(0.0, f64::max));
    if low < high {
        line(svg, (low, y), (high, y), "#cbd5e1", 2.0);
    }
    for (side, x) in marks.iter().rev() {
        let missed = report.findings.missed(w.name, *side);
        let _ = writeln!(svg, r#"<g opacity="{}">"#, if missed { 0.35 } else { 1.0 });
        Mark::of(report, *side, durability).put(svg, (*x, y));
        svg.push_str("</g>\n");
    }
}

/// Klamm's value divided by that of the first side beside it.
fn factor(
    svg: &mut String,
    report: &Report,
    w: &Workload,
    durability: Durability,
    key: &str,
    at: (f64, f64),
) {
    let sides = report.sides(durability);
    let [ours, other, ..] = sides[..] else { return };
    if let Some(ratio) = report.findings.ratio(w.name, (ours, other), key) {
        let colour = if ratio.median <= 1.0 { OURS } else { KAFKA };
        let text = format!("x {}", number(ratio.median));
        Text::new(12, colour).bold().put(svg, at, &text);
    }
}

fn decade(e: i32) -> String {
    match e {
        0 => "1".to_owned(),
        1.. => number(10_f64.powi(e)),
        _ => format!("{:.*}", e.unsigned_abs() as usize, 10_f64.powi(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_on_decades_around_all_values() {
        let ends = |values: &[f64]| {
            let scale = Scale::of(values.iter().copied());
            (scale.low, scale.high)
        };
        assert_eq!(ends(&[0.3, 42.0]), (-1, 2));
        assert_eq!(ends(&[5.0]), (0, 1));
        assert_eq!(ends(&[10.0]), (1, 2));
        let scale = Scale::of([1.0, 100.0].into_iter());
        assert!((scale.x(0.0, 10.0) - PANEL / 2.0).abs() < 1e-9);
        assert_eq!([-2, -1, 0, 3].map(decade), ["0.01", "0.1", "1", "1,000"]);
    }
}
