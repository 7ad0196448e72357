//! The findings as Markdown: two tables of durability that are never mixed, then what is beside them.

use std::fmt::Write as _;

use klamm::metrics::Step;

use crate::brokers::Durability;
use crate::findings::{Row, Side, Spread};
use crate::report::Report;
use crate::rounds::SYNCS;
use crate::turns::{DID, STEP};
use crate::workloads::What;

const COLUMNS: &str = "\
    | workload | broker | acks/s | CPU-s/GB | CPU us/record | ack ms p50 / p99 / p99.9 | end to end ms \
    p50 / p99 / p99.9 | RAM MB | Klamm / it: CPU | Klamm / it: e2e p50 | Klamm / it: e2e p99 |\n\
    |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";

/// The report as Markdown.
pub(crate) fn markdown(report: &Report) -> String {
    let mut t = String::new();
    let _ = writeln!(t, "# Klamm beside other brokers\n");
    for line in report.head() {
        let _ = writeln!(t, "- {line}");
    }
    for durability in Durability::BOTH {
        loads(&mut t, report, durability);
    }
    drained(&mut t, report);
    start_and_idle(&mut t, report);
    highest(&mut t, report);
    instructions(&mut t, report);
    longest_turns(&mut t, report);
    counted(&mut t, report);
    let mut errors = report.findings.errors().peekable();
    if errors.peek().is_some() {
        t += "\n## Failures\n\n";
    }
    for (row, error) in errors {
        let (w, broker, round) = (row.workload, &row.broker, row.round);
        let _ = writeln!(t, "- {w}, {broker} {:?}, round {round}: {error}", row.durability);
    }
    t
}

/// What a table is called.
pub(crate) fn title(durability: Durability) -> &'static str {
    match durability {
        Durability::Synced => "Klamm's default: synced before the acknowledgement",
        Durability::Unsynced => "Neither side synced",
    }
}

/// The name of a side in the table of `durability`.
pub(crate) fn side_name(report: &Report, side: Side<'_>, durability: Durability) -> String {
    let is_kafka = report.brokers.iter().any(|b| b.name == side.0 && b.is_kafka());
    let is_floor = report.brokers.iter().any(|b| b.name == side.0 && b.is_floor());
    match (side.1, durability) {
        (Durability::Synced, _) if is_kafka => "Kafka, flush.messages=1".to_owned(),
        (Durability::Unsynced, Durability::Synced) if is_kafka => {
            "Kafka's default, **not synced**".to_owned()
        }
        (Durability::Synced, _) if is_floor => "floor, journal".to_owned(),
        (Durability::Unsynced, _) if is_floor => "floor, memory".to_owned(),
        _ => side.0.to_owned(),
    }
}

fn loads(t: &mut String, report: &Report, durability: Durability) {
    let mut rows = String::new();
    for workload in report.workloads.iter().filter(|w| matches!(w.what, What::Load(_))) {
        for side in report.sides(durability) {
            load(&mut rows, report, (workload.name, workload.title), side, durability);
        }
    }
    if !rows.is_empty() {
        let _ = write!(t, "\n## {}\n\n{COLUMNS}{rows}", title(durability));
    }
}

fn load(
    t: &mut String,
    report: &Report,
    (name, title): (&str, &str),
    side: Side<'_>,
    durability: Durability,
) {
    let f = &report.findings;
    let value = |key: &str| f.value(name, side, key);
    let Some(rate) = value("achieved_rate") else { return };
    let ours = (report.brokers[0].name.as_str(), durability);
    let is_ours = side == ours;
    let (shown, title) = if is_ours { (format!("**{name}**"), title) } else { <_>::default() };
    let rate = number(rate.median) + &missed(report, name, side);
    let cell = |key: &str| value(key).map_or(String::new(), |s| number(s.median));
    let three = |of: &str| {
        let cells = ["p50", "p99", "p999"].map(|p| cell(&format!("{of}_{p}_ms")));
        if cells[0].is_empty() { String::new() } else { cells.join(" / ") }
    };
    let ratio = |key: &str| match f.ratio(name, (ours, side), key) {
        Some(s) if !is_ours => spread(s),
        _ => String::new(),
    };
    let broker = side_name(report, side, durability);
    let _ = writeln!(
        t,
        "| {shown} {title} | {broker} | {rate} | {} | {} | {} | {} | {} | {} | {} | {} |",
        cell("cpu_s_per_gb"),
        cell("cpu_us_per_record"),
        three("ack"),
        three("e2e"),
        cell("resident_mb"),
        ratio("cpu_us_per_record"),
        ratio("e2e_p50_ms"),
        ratio("e2e_p99_ms"),
    );
}

/// What stands behind a rate that was missed.
fn missed(report: &Report, workload: &str, side: Side<'_>) -> String {
    let f = &report.findings;
    let offered = f.value(workload, side, "offered_rate").filter(|_| f.missed(workload, side));
    offered.map_or(String::new(), |s| format!(" of {}, **MISSED**", number(s.median)))
}

/// Columns of one value each, a row for each broker; nothing when nobody has a value.
fn simple(t: &mut String, report: &Report, heading: &str, columns: &[(&str, &str, &str)]) {
    let mut rows = String::new();
    let is_there = |c: &&(&str, &str, &str)| report.workloads.iter().any(|w| w.name == c.1);
    let columns: Vec<_> = columns.iter().filter(is_there).collect();
    for broker in &report.brokers {
        let cells = columns.iter().map(|(_, workload, key)| {
            let side = (broker.name.as_str(), broker.usual());
            let value = report.findings.value(workload, side, key).map_or(String::new(), spread);
            if *key == "achieved_rate" { value + &missed(report, workload, side) } else { value }
        });
        let cells: Vec<String> = cells.collect();
        if cells.iter().any(|c| !c.is_empty()) {
            let _ = writeln!(rows, "| {} | {} |", broker.name, cells.join(" | "));
        }
    }
    if !rows.is_empty() {
        let names: Vec<_> = columns.iter().map(|c| c.0).collect();
        let _ = writeln!(t, "\n## {heading}\n\n| broker | {} |", names.join(" | "));
        let _ = write!(t, "|---{}|\n{rows}", "|--:".repeat(columns.len()));
    }
}

fn start_and_idle(t: &mut String, report: &Report) {
    let columns = [
        ("w9: start to first acknowledged record, ms", "w9", "start_ms"),
        ("w9: the same after a clean stop, ms", "w9", "restart_ms"),
        ("w8, empty: RAM MB", "w8", "empty_resident_mb"),
        ("w8, empty: CPU %", "w8", "empty_cpu_percent"),
        ("w8, 1,000 partitions, 100 idle consumers: RAM MB", "w8", "idle_resident_mb"),
        ("w8, the same: CPU %", "w8", "idle_cpu_percent"),
    ];
    simple(t, report, "Start and idle (w9, w8)", &columns);
}

fn drained(t: &mut String, report: &Report) {
    let columns = [
        ("backlog GB", "w7", "backlog_gb"),
        ("read MB/s", "w7", "backlog_mb_per_s"),
        ("CPU-s per GB of it, load included", "w7", "backlog_cpu_s_per_gb"),
        ("load: acks/s", "w7", "achieved_rate"),
        ("end to end p50 ms", "w7", "e2e_p50_ms"),
        ("end to end p99 ms", "w7", "e2e_p99_ms"),
        ("end to end p99.9 ms", "w7", "e2e_p999_ms"),
        ("RAM MB", "w7", "resident_mb"),
    ];
    let heading =
        "A backlog of 4 GiB read under load (w7; each broker as it comes: Klamm synced, Kafka not)";
    simple(t, report, heading, &columns);
}

fn highest(t: &mut String, report: &Report) {
    let Some(workload) = report.workloads.iter().find(|w| matches!(w.what, What::Highest(_)))
    else {
        return;
    };
    let mut rows = String::new();
    for durability in Durability::BOTH {
        for broker in &report.brokers {
            let side = (broker.name.as_str(), durability);
            let value = |key| report.findings.value(workload.name, side, key);
            let Some(rate) = value("highest_rate") else { continue };
            let cell = |key| value(key).map_or(String::new(), |s| number(s.median));
            let ours = (report.brokers[0].name.as_str(), durability);
            let ratio = report.findings.ratio(workload.name, (ours, side), "highest_rate");
            let ratio = ratio.filter(|_| side != ours).map_or(String::new(), spread);
            let _ = writeln!(
                rows,
                "| {} | {durability:?} | {} | {} / {} | {} | {} / {} | {ratio} |",
                side_name(report, side, durability),
                spread(rate),
                cell("e2e_p50_ms"),
                cell("e2e_p99_ms"),
                cell("cpu_us_per_record"),
                cell("broker_cpu_percent"),
                cell("load_cpu_percent"),
            );
        }
    }
    if !rows.is_empty() {
        let head = "| broker | durability | records/s | end to end ms p50 / p99 there | CPU us/record | \
                    core of the broker / of the load, % | Klamm / it: records/s |\n\
                    |---|---|--:|--:|--:|--:|--:|\n";
        let _ = write!(t, "\n## {}\n\n{head}{rows}", workload.title);
    }
}

fn instructions(t: &mut String, report: &Report) {
    let mut rows = String::new();
    for durability in Durability::BOTH {
        for workload in &report.workloads {
            for broker in &report.brokers {
                let side = (broker.name.as_str(), durability);
                let value = |key| report.findings.value(workload.name, side, key);
                let both = ["user_instructions_per_record", "kernel_instructions_per_record"];
                let [Some(user), Some(kernel)] = both.map(value) else { continue };
                let (name, broker) = (workload.name, side_name(report, side, durability));
                let (user, kernel) = (spread(user), spread(kernel));
                let _ =
                    writeln!(rows, "| {name} | {broker} | {durability:?} | {user} | {kernel} |");
            }
        }
    }
    if !rows.is_empty() {
        let head = "| workload | broker | durability | user | kernel |\n|---|---|---|--:|--:|\n";
        let _ = write!(t, "\n## Instructions of the broker per record\n\n{head}{rows}");
    }
}

fn longest_turns(t: &mut String, report: &Report) {
    let mut rows = String::new();
    let broker = report.brokers[0].name.as_str();
    for workload in &report.workloads {
        for durability in Durability::BOTH {
            let of = |row: &Row, key| row.values.get(key).copied();
            let all = report.findings.rows(workload.name, (broker, durability));
            let timed = all.filter_map(|r| Some((of(r, "longest_turn_us")?, r)));
            let Some((longest, row)) = timed.max_by(|a, b| a.0.total_cmp(&b.0)) else { continue };
            let did = DID.iter().filter_map(|(what, key)| Some((what, of(row, key)?)));
            let did = did.filter(|(_, n)| *n > 0.0);
            let step = of(row, STEP).and_then(|step| Step::ALL.get(step as usize));
            let step = step.map(|step| format!("mostly {}", step.name()));
            let did = did.map(|(what, n)| format!("{what} {}", number(n)));
            let did: Vec<_> = step.into_iter().chain(did).collect();
            let cell = |key| of(row, key).map_or(String::new(), number);
            let _ = writeln!(
                rows,
                "| {} {} | {} | {} | {} | {} | {} |",
                workload.name,
                format!("{durability:?}").to_lowercase(),
                number(longest),
                did.join(", "),
                cell("turns"),
                cell("long_turns"),
                cell("run_queue_delay_ms"),
            );
        }
    }
    if !rows.is_empty() {
        t.push_str(
            "\n## The longest turn of Klamm in the measured time\n\nBy processor time, of the round with the \
             longest one. A turn with much to do takes long; one with little to do that takes more than 100 us \
             was delayed, by a slice of other work or by the machine.\n\n\
             | workload | us | what it did | turns | above 131 us | ready, without a core: ms |\n\
             |---|--:|---|--:|--:|--:|\n",
        );
        t.push_str(&rows);
    }
}

fn counted(t: &mut String, report: &Report) {
    let mut rows = String::new();
    for durability in Durability::BOTH {
        for broker in &report.brokers {
            let side = (broker.name.as_str(), durability);
            let value = |key| report.findings.value(SYNCS, side, key).map(|s| s.median);
            if let (Some(batches), Some(syncs)) = (value("batches"), value("syncs")) {
                let broker = side_name(report, side, durability);
                let own = ["committed_batches", "commits"];
                let [in_commits, commits] = own.map(|key| value(key).map_or(String::new(), number));
                let (batches, syncs) = (number(batches), number(syncs));
                let _ = writeln!(
                    rows,
                    "| {broker} | {durability:?} | {batches} | {in_commits} | {commits} | {syncs} |"
                );
            }
        }
    }
    if !rows.is_empty() {
        t.push_str(
            "\n## Syncs counted\n\nOne batch on its way at a time, counted with strace: a batch that is \
             synced before its acknowledgement has a sync of its own. Commits are one write and one sync each, \
             as Klamm's own metrics count them over the same time (`klamm_journal_batches_total`, \
             `klamm_journal_commits_total`); the topic and its metadata are in all of these numbers.\n\n\
             | broker | durability | sends acknowledged | batches in Klamm's commits | Klamm's commits | \
             fsync + fdatasync by strace |\n|---|---|--:|--:|--:|--:|\n",
        );
        t.push_str(&rows);
    }
}

/// The median, and the lowest and highest when there are several.
pub(crate) fn spread(s: Spread) -> String {
    match s.count {
        1 => number(s.median),
        _ => format!("{} ({} to {})", number(s.median), number(s.min), number(s.max)),
    }
}

/// A number with three digits that count, and commas between thousands.
pub(crate) fn number(v: f64) -> String {
    let digits = match v.abs() {
        a if a >= 99.95 || (a.fract() == 0.0 && (a == 0.0 || a >= 10.0)) => 0,
        a if a >= 9.995 => 1,
        a if a >= 0.9995 => 2,
        _ => 3,
    };
    if v > 0.0 && v < 0.0005 {
        return "< 0.001".to_owned();
    }
    let text = format!("{v:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(w, r)| (w, Some(r)));
    let mut out = String::new();
    for (at, c) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && out != "-" {
            out.push(',');
        }
        out.push(c);
    }
    rest.map_or(out.clone(), |rest| format!("{out}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_count() {
        let all = [0.0, 0.0001, 0.0123, 0.5, 1.0, 9.999, 42.0, 99.96, 1234.4, 1_000_000.0, 999.0];
        let wants = [
            "0",
            "< 0.001",
            "0.012",
            "0.500",
            "1.00",
            "10.0",
            "42",
            "100",
            "1,234",
            "1,000,000",
            "999",
        ];
        assert_eq!(all.map(number), wants);
    }
}
