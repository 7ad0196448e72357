//! The Prometheus text format, version 0.0.4: families of samples with labels.

use std::fmt::Write as _;

use super::Histogram;

/// Kind of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// A page under construction. All samples of a family are written one after another.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    family: String,
}

/// Labels: name and value.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    /// Begins a family.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        name.clone_into(&mut self.family);
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample of the family.
    pub fn sample(&mut self, labels: Labels<'_>, value: f64) {
        self.line("", labels, None, value);
    }

    /// A duration histogram of the family, in seconds.
    pub fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        for (end, below) in histogram.doublings() {
            self.line("_bucket", labels, Some(&end.to_string()), below as f64);
        }
        self.line("_bucket", labels, Some("+Inf"), histogram.count() as f64);
        self.line("_sum", labels, None, histogram.sum_s());
        self.line("_count", labels, None, histogram.count() as f64);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, le: Option<&str>, value: f64) {
        let out = &mut self.text;
        out.push_str(&self.family);
        out.push_str(suffix);
        let all = labels.iter().copied().chain(le.map(|le| ("le", le)));
        let mut open = '{';
        for (name, text) in all {
            let _ = write!(out, "{open}{name}=\"");
            for c in text.chars() {
                match c {
                    '\\' => out.push_str("\\\\"),
                    '"' => out.push_str("\\\""),
                    '\n' => out.push_str("\\n"),
                    c => out.push(c),
                }
            }
            out.push('"');
            open = ',';
        }
        if open == ',' {
            out.push('}');
        }
        let _ = writeln!(out, " {value}");
    }

    /// The page.
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::expect;

    use super::*;

    #[test]
    fn a_page_has_the_format_that_prometheus_reads() {
        let mut page = Page::default();
        page.family("a_total", Kind::Counter, "How many.");
        page.sample(&[], 3.0);
        page.sample(&[("topic", "a\"b\\c\nd"), ("node", "0")], 1.5);
        let mut h = Histogram::default();
        h.record(Duration::from_millis(1));
        page.family("b_seconds", Kind::Histogram, "How long.");
        page.histogram(&[("node", "0")], &h);
        let text = page.finish();
        let shown =
            |l: &&str| !l.contains("le=\"") || l.contains("le=\"0.001") || l.contains("Inf");
        let short: Vec<_> = text.lines().filter(shown).collect();
        expect![[r#"
            # HELP a_total How many.
            # TYPE a_total counter
            a_total 3
            a_total{topic="a\"b\\c\nd",node="0"} 1.5
            # HELP b_seconds How long.
            # TYPE b_seconds histogram
            b_seconds_bucket{node="0",le="0.001048576"} 1
            b_seconds_bucket{node="0",le="+Inf"} 1
            b_seconds_sum{node="0"} 0.001
            b_seconds_count{node="0"} 1"#]]
        .assert_eq(&short.join("\n"));
    }
}
