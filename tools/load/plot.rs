//! Axes and lines as SVG text: the few shapes that the picture is made of.

use std::fmt::Write as _;

const GRID: &str = "#e5e7eb";
const INK: &str = "#374151";
/// Room of a panel's title above it.
const TITLE_DY: f64 = 14.0;

/// How values of one axis become places.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scale {
    /// Evenly from the first value to the second.
    Linear(f64, f64),
    /// By the logarithm; both values are above 0.
    Log(f64, f64),
}

impl Scale {
    /// A logarithmic scale over whole decades around `values`.
    pub(crate) fn decades(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .filter(|v| *v > 0.0)
            .fold((f64::MAX, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
        if high <= 0.0 {
            return Self::Log(0.1, 10.0);
        }
        let (low, high) = (low.log10().floor(), high.log10().ceil());
        Self::Log(10_f64.powf(low), 10_f64.powf(high.max(low + 1.0)))
    }

    /// From 0 to the next round number above `high`.
    pub(crate) fn from_zero(high: f64) -> Self {
        let step = step(high.max(1e-9));
        Self::Linear(0.0, (high / step).ceil() * step)
    }

    /// Where `v` lies, from 0 to 1.
    fn place(self, v: f64) -> f64 {
        let at = match self {
            Self::Linear(low, high) => (v - low) / (high - low).max(1e-12),
            Self::Log(low, high) => (v.max(low) / low).ln() / (high / low).ln(),
        };
        at.clamp(0.0, 1.0)
    }

    /// Values to mark.
    pub(crate) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear(low, high) => {
                let step = step(high - low);
                let count = ((high - low) / step).round() as u32;
                (0..=count).map(|i| low + step * f64::from(i)).collect()
            }
            Self::Log(low, high) => {
                let (first, last) = (low.log10().round() as i32, high.log10().round() as i32);
                (first..=last).map(|e| 10_f64.powi(e)).collect()
            }
        }
    }
}

/// A round step that cuts `span` into about five.
fn step(span: f64) -> f64 {
    let raw = span / 5.0;
    let ten = 10_f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(|f| f * ten >= raw * 0.999);
    factor.unwrap_or(10.0) * ten
}

/// A number as people write it.
pub(crate) fn label(v: f64) -> String {
    let short = |v: f64| {
        let text = format!("{v:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match v {
        v if v >= 1e6 => short(v / 1e6) + " M",
        v if v >= 1e4 => short(v / 1e3) + " k",
        v => short(v),
    }
}

/// A rectangle with two axes.
pub(crate) struct Panel {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) x: Scale,
    pub(crate) y: Scale,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pen {
    pub(crate) colour: &'static str,
    pub(crate) width: f64,
    pub(crate) opacity: f64,
    pub(crate) is_dashed: bool,
}

impl Panel {
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let px = self.left + self.width * self.x.place(x);
        (px, self.top + self.height * (1.0 - self.y.place(y)))
    }

    /// Title, grid and labels; `x_ticks` are values with their labels.
    pub(crate) fn frame(&self, svg: &mut String, title: &str, x_ticks: &[(f64, String)]) {
        let (bottom, right) = (self.top + self.height, self.left + self.width);
        text(svg, (self.left, self.top - TITLE_DY), "start", 15, title);
        for tick in self.y.ticks() {
            let (_, y) = self.at(0.0, tick);
            line(svg, (self.left, y), (right, y));
            text(svg, (self.left - 8.0, y + 4.0), "end", 12, &label(tick));
        }
        for (value, name) in x_ticks {
            let (x, _) = self.at(*value, 0.0);
            line(svg, (x, self.top), (x, bottom));
            text(svg, (x, bottom + 18.0), "middle", 12, name);
        }
    }

    /// Shades what lies left of `x`.
    pub(crate) fn shade(&self, svg: &mut String, x: f64, name: &str) {
        let width = self.width * self.x.place(x);
        if width > 0.0 {
            let _ = writeln!(
                svg,
                r##"<rect x="{:.1}" y="{:.1}" width="{width:.1}" height="{:.1}" fill="#f3f4f6"/>"##,
                self.left, self.top, self.height
            );
            text(svg, (self.left + 6.0, self.top + 16.0), "start", 11, name);
        }
    }

    /// A line through points, in parts with a gap between them. A point by itself is a dot.
    pub(crate) fn line(&self, svg: &mut String, pen: Pen, parts: &[Vec<(f64, f64)>]) {
        let mut path = String::new();
        for (part, first) in parts.iter().filter_map(|part| Some((part, part.first()?))) {
            let (x, y) = self.at(first.0, first.1);
            let _ = write!(path, "M{x:.1},{y:.1}");
            for point in part {
                let (x, y) = self.at(point.0, point.1);
                let _ = write!(path, "L{x:.1},{y:.1}");
            }
        }
        let dash = if pen.is_dashed { r#" stroke-dasharray="6 4""# } else { "" };
        let _ = writeln!(
            svg,
            r#"<path d="{path}" fill="none" stroke="{}" stroke-width="{}" stroke-opacity="{}" stroke-linejoin="round" stroke-linecap="round"{dash}/>"#,
            pen.colour, pen.width, pen.opacity
        );
    }

    /// Names of lines, from right to left above the panel.
    pub(crate) fn legend(&self, svg: &mut String, names: &[(Pen, &str)]) {
        let mut x = self.left + self.width;
        for (pen, name) in names.iter().rev() {
            let y = self.top - TITLE_DY;
            text(svg, (x, y), "end", 12, name);
            x -= 7.0 * name.len() as f64 + 8.0;
            let dash = if pen.is_dashed { r#" stroke-dasharray="6 4""# } else { "" };
            let _ = writeln!(
                svg,
                r#"<line x1="{:.1}" y1="{:.1}" x2="{x:.1}" y2="{:.1}" stroke="{}" stroke-width="{}" stroke-opacity="{}"{dash}/>"#,
                x - 22.0,
                y - 4.0,
                y - 4.0,
                pen.colour,
                pen.width,
                pen.opacity
            );
            x -= 22.0 + 16.0;
        }
    }
}

/// A line of text; `size` in pixels.
pub(crate) fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, size: u32, what: &str) {
    let what = what.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let weight = if size > 13 { r#" font-weight="600""# } else { "" };
    let _ = writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}" fill="{INK}"{weight}>{what}</text>"#
    );
}

fn line(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = writeln!(
        svg,
        r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{GRID}"/>"#
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_on_round_numbers() {
        assert_eq!(Scale::from_zero(19_300.0).ticks().last(), Some(&20_000.0));
        assert_eq!(Scale::decades([0.7, 42.0].into_iter()).ticks(), [0.1, 1.0, 10.0, 100.0]);
        assert_eq!(Scale::decades([1.0].into_iter()).ticks(), [1.0, 10.0]);
        let labels: Vec<_> = [0.1, 2.5, 5_000.0, 25_000.0, 1.5e6].map(label).into();
        assert_eq!(labels, ["0.1", "2.5", "5000", "25 k", "1.5 M"]);
    }

    #[test]
    fn what_is_outside_of_a_scale_lies_on_its_edge() {
        let places = [-1.0, 5.0, 11.0].map(|v| Scale::Linear(0.0, 10.0).place(v));
        assert!(places.iter().zip([0.0, 0.5, 1.0]).all(|(a, b)| (a - b).abs() < 1e-9));
        let places = [0.0, 10.0, 1e9].map(|v| Scale::Log(1.0, 100.0).place(v));
        assert!(places.iter().zip([0.0, 0.5, 1.0]).all(|(a, b)| (a - b).abs() < 1e-9));
    }
}
