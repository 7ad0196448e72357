//! What a comparison finds: named values of each visit, and their medians and ratios over the rounds.
//!
//! A ratio is made inside of a round, of two brokers that were measured one after the other, and only
//! then over the rounds: a machine that is slower for a while is slower for both.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::brokers::Durability;

/// What was measured of a broker in one round of one workload.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// Short name of the workload.
    pub(crate) workload: &'static str,
    /// Name of the broker.
    pub(crate) broker: String,
    /// How durable its records were.
    pub(crate) durability: Durability,
    /// Number of the round, from 1.
    pub(crate) round: u32,
    /// By name; the unit is the end of the name.
    pub(crate) values: BTreeMap<&'static str, f64>,
    /// Not all of the offered rate was acknowledged.
    pub(crate) missed: bool,
    /// Why there are no values.
    pub(crate) error: Option<String>,
}

/// The middle of several values and how far they spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Number of values.
    pub(crate) count: usize,
}

impl Spread {
    /// `None` of no values.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (count, half) = (values.len(), values.len() / 2);
        let upper = values[half];
        let median = if count % 2 == 1 { upper } else { values[half - 1].midpoint(upper) };
        Some(Self { median, min, max, count })
    }
}

/// A broker, as durable as this.
pub(crate) type Side<'a> = (&'a str, Durability);

/// All rows.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Findings {
    rows: Vec<Row>,
}

impl Findings {
    /// Adds a row.
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Rows of one side of one workload.
    pub(crate) fn rows(&self, workload: &str, side: Side<'_>) -> impl Iterator<Item = &Row> {
        let (broker, durability) = (side.0.to_owned(), side.1);
        let workload = workload.to_owned();
        self.rows.iter().filter(move |r| {
            r.workload == workload && r.broker == broker && r.durability == durability
        })
    }

    /// All errors, with what they are of.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (&Row, &str)> {
        self.rows.iter().filter_map(|r| r.error.as_deref().map(|e| (r, e)))
    }

    /// All values of this name.
    pub(crate) fn all(&self, name: &'static str) -> impl Iterator<Item = f64> {
        self.rows.iter().filter_map(move |r| r.values.get(name).copied())
    }

    /// A value over the rounds.
    pub(crate) fn value(&self, workload: &str, side: Side<'_>, name: &str) -> Option<Spread> {
        let values = self.rows(workload, side).filter_map(|r| r.values.get(name).copied());
        Spread::of(values.collect())
    }

    /// The ratio of a value of `side` to that of `other`, made in each round.
    pub(crate) fn ratio(
        &self,
        workload: &str,
        (side, other): (Side<'_>, Side<'_>),
        name: &str,
    ) -> Option<Spread> {
        let ratio = |r: &Row| {
            let beside = self.rows(workload, other).find(|o| o.round == r.round)?;
            let below = beside.values.get(name).copied().filter(|v| *v > 0.0)?;
            Some(r.values.get(name)? / below)
        };
        Spread::of(self.rows(workload, side).filter_map(ratio).collect())
    }

    /// Whether a side missed its rate in any round.
    pub(crate) fn missed(&self, workload: &str, side: Side<'_>) -> bool {
        self.rows(workload, side).any(|r| r.missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(broker: &str, round: u32, cost: f64) -> Row {
        Row {
            workload: "w",
            broker: broker.to_owned(),
            durability: Durability::Synced,
            round,
            values: BTreeMap::from([("cost", cost)]),
            missed: false,
            error: None,
        }
    }

    #[test]
    fn a_ratio_is_made_inside_of_a_round() {
        let mut findings = Findings::default();
        // The machine is ten times as slow in the second round, and `b` has no third one.
        for (round, a, b) in [(1, 1.0, 2.0), (2, 10.0, 40.0)] {
            findings.add(row("a", round, a));
            findings.add(row("b", round, b));
        }
        findings.add(row("a", 3, 1.0));
        let side = |name| (name, Durability::Synced);
        let ratio = findings.ratio("w", (side("a"), side("b")), "cost").unwrap();
        assert_eq!(ratio, Spread { median: 0.375, min: 0.25, max: 0.5, count: 2 });
        let cost = findings.value("w", side("a"), "cost");
        assert_eq!(cost, Some(Spread { median: 1.0, min: 1.0, max: 10.0, count: 3 }));
        assert_eq!(findings.ratio("w", (side("a"), side("c")), "cost"), None);
    }
}
