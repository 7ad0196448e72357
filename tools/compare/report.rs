//! The report: findings with what they are of, as Markdown, JSON and a picture.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::brokers::{Broker, Durability};
use crate::findings::{Findings, Side};
use crate::machine::Machine;
use crate::process::Outcome;
use crate::workloads::{What, Workload};
use crate::{picture, table};

/// Version of the format of the JSON.
const FORMAT: u32 = 1;
/// Above this part of its core, in percent, others have disturbed the broker.
const DISTURBED: f64 = 10.0;

/// All that a comparison says.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Klamm first.
    pub(crate) brokers: Vec<Broker>,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) rounds: u32,
    /// Measured seconds of each run.
    pub(crate) seconds: u64,
    pub(crate) is_pinned: bool,
    /// Client of the load, when it is not Klamm's own.
    pub(crate) client: Option<String>,
    /// In place of the rates of the workloads.
    pub(crate) rate: Option<f64>,
    /// What was not run.
    pub(crate) missing: Vec<String>,
    /// What could not be had here, in sentences.
    pub(crate) absent: Vec<&'static str>,
    pub(crate) findings: Findings,
}

#[derive(Serialize)]
struct Json<'a> {
    format: u32,
    machine: &'a Machine,
    brokers: Vec<(&'a str, &'a str)>,
    workloads: Vec<(&'a str, &'a str)>,
    rounds: u32,
    seconds: u64,
    is_pinned: bool,
    missing: &'a [String],
    notes: Vec<String>,
    #[serde(flatten)]
    findings: &'a Findings,
}

impl Report {
    /// Writes `report.md`, `report.json` and `report.svg` into `dir`.
    pub(crate) fn write(&self, dir: &Path) -> Outcome<()> {
        let json = Json {
            format: FORMAT,
            machine: &self.machine,
            brokers: self.brokers.iter().map(|b| (b.name.as_str(), b.about.as_str())).collect(),
            workloads: self.workloads.iter().map(|w| (w.name, w.title)).collect(),
            rounds: self.rounds,
            seconds: self.seconds,
            is_pinned: self.is_pinned,
            missing: &self.missing,
            notes: self.head(),
            findings: &self.findings,
        };
        let json = serde_json::to_string_pretty(&json).map_err(|e| e.to_string())?;
        let files = [
            ("report.md", table::markdown(self)),
            ("report.json", json + "\n"),
            ("report.svg", picture::svg(self)),
        ];
        for (name, text) in files {
            let path = dir.join(name);
            fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(())
    }

    /// The sides of the table of `durability`: Klamm first; Kafka as it comes, unsynced, stands in
    /// the synced table too, named so.
    pub(crate) fn sides(&self, durability: Durability) -> Vec<Side<'_>> {
        let mut sides = Vec::new();
        for broker in &self.brokers {
            let name = broker.name.as_str();
            if broker.configs(durability).is_some() {
                sides.push((name, durability));
            }
            if broker.is_kafka() && durability == Durability::Synced {
                sides.push((name, Durability::Unsynced));
            }
        }
        sides
    }

    /// What the tables are of, and how they were made.
    pub(crate) fn head(&self) -> Vec<String> {
        let brokers = self.brokers.iter().map(|b| format!("{} ({})", b.name, b.about));
        let client = self.client.as_ref().map_or(String::new(), |c| format!(", client {c}"));
        let pinned = if self.is_pinned {
            format!("the broker alone on one core, the load (`klamm load`{client}) on another")
        } else {
            format!("not pinned: the machine has one core; `klamm load`{client}")
        };
        let (rounds, seconds) = (self.rounds, self.seconds);
        let rate =
            self.rate.map(|r| format!(" **Every load ran at {r}/s**, whatever its title says."));
        let rate = rate.unwrap_or_default();
        let mut head = vec![
            format!("Machine: {}.", self.machine.line()),
            format!("Brokers: {}.", brokers.collect::<Vec<_>>().join("; ")),
            format!(
                "Rounds: {rounds}, in turn (A B, B A), {seconds} s measured each; fresh data directories for \
                 each broker, workload and round; {pinned}; acks=all; one consumer group.{rate}"
            ),
            "Latency is counted from the intended send time of each record. A ratio is the median of \
             those of the rounds, with the lowest and the highest; below 1 Klamm needs less. MISSED: less than 99 % \
             of the offered rate was acknowledged in a round, so what stands beside it is of that lower rate."
                .to_owned(),
        ];
        head.extend(self.absent.iter().map(|&text| text.to_owned()));
        let of_rows = |key| self.findings.all(key);
        if let Some(longest) = of_rows("warm_up_seconds").max_by(f64::total_cmp) {
            let (settled, all) = (of_rows("settled").sum::<f64>(), of_rows("settled").count());
            head.push(format!(
                "A JVM was loaded before each measurement, on both cores, until its CPU per record fell no more \
                 and a core was not full, {longest:.0} s at most: {settled:.0} of {all} times it got there."
            ));
        }
        if !self.missing.is_empty() {
            let missing = self.missing.join("; ");
            head.push(format!("**The run was cut short.** Missing: {missing}."));
        }
        let others = self.largest("others_cpu_percent");
        let stolen = self.largest("stolen_cpu_percent");
        if let (Some(others), Some(stolen)) = (others, stolen) {
            let busy = others + stolen > DISTURBED;
            head.push(format!(
                "{}In the worst case the broker's core was in use by others for {others:.0} % of the time \
                 (the kernel's own threads and interrupts count), and taken by the host for {stolen:.0} %.",
                if busy { "**The machine was busy**, so tails are not the brokers' own. " } else { "" }
            ));
        }
        head
    }

    /// The largest median of a value over all loads, of either durability.
    fn largest(&self, key: &str) -> Option<f64> {
        let loads = self.workloads.iter().filter(|w| matches!(w.what, What::Load(_)));
        let medians = loads.flat_map(|w| {
            let all = Durability::BOTH.into_iter();
            let sides = all.flat_map(|durability| self.sides(durability));
            sides.filter_map(|side| self.findings.value(w.name, side, key))
        });
        medians.map(|s| s.median).max_by(f64::total_cmp)
    }
}
