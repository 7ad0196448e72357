//! `make compare`: Klamm beside a real Apache Kafka, on one machine, in one run, as one table.
//!
//! ```text
//! options -> brokers (Klamm, Kafka, a peer, the floor) --+
//!            workloads ----------------------------------+-> rounds: A B, B A ... -> findings -> report
//!                     each visit: start, warm up, `klamm load`, read what the broker used, stop
//! ```
//!
//! A broker runs alone, pinned to the first core, with an empty data directory for each workload and
//! round; the load runs on the second. Ratios are made inside of a round. What is synced and what is not stand in two tables.
//! Every process is a child that dies with this one, and listens on 127.0.0.1 only.
//!
//! `--profile` looks into Klamm alone instead, with `perf` ([`profile`]).
//!
//! `report.md`, `report.json` and `report.svg` come into the directory of `--out`, and the files of
//! each run of the load beside them.

mod brokers;
mod findings;
mod highest;
mod kafka;
mod load;
mod machine;
mod measure;
mod picture;
mod process;
mod profile;
mod report;
mod rounds;
mod start;
mod syncs;
mod table;
mod turns;
mod workloads;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use klamm::runtime::cpu;

use brokers::{Broker, Durability};
use findings::Findings;
use kafka::Kafka;
use load::Loader;
use machine::Machine;
use measure::Counters;
use process::{Outcome, Stop};
use profile::Profile;
use report::Report;
use rounds::Rounds;
use workloads::Workload;

const QUICK: Length = Length { rounds: 1, seconds: 5, warm_up_seconds: 15 };
const WHOLE: Length = Length { rounds: 2, seconds: 8, warm_up_seconds: 30 };
/// The counting of syncs, for each broker and durability.
const COUNTING_SECONDS: u64 = 10;

struct Length {
    rounds: u32,
    seconds: u64,
    warm_up_seconds: u64,
}

/// Klamm beside other brokers, under the same load on this machine.
#[derive(Debug, Parser)]
#[command(name = "klamm-compare", term_width = 100, args_override_self = true)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Options {
    /// A run of about five minutes: few workloads, one round, 5 s each
    #[arg(long)]
    quick: bool,
    /// Workloads by their names; by default all
    #[arg(long, value_name = "NAME,...")]
    workloads: Option<String>,
    /// Rounds: 2 are A B B A
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Measured seconds of each run
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: Option<u64>,
    /// A rate in place of those of the workloads, in records each second
    #[arg(long)]
    rate: Option<f64>,
    /// Client of the load; librdkafka where the binary was built with that feature
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// Another broker, as a file says it
    #[arg(long, value_name = "FILE.toml")]
    peer: Vec<PathBuf>,
    /// Leave Apache Kafka out
    #[arg(long)]
    no_kafka: bool,
    /// Source of the floor, the bare responder; without it there is no floor
    #[arg(long, value_name = "DIR")]
    floor: Option<PathBuf>,
    /// Do not count syncs with strace
    #[arg(long)]
    no_syncs: bool,
    /// Profile Klamm under this workload in place of a comparison
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Profile it on topics that do not sync
    #[arg(long, requires = "profile")]
    unsynced: bool,
    /// Where the report and the files of the runs go
    #[arg(long, default_value = "target/compare")]
    out: PathBuf,
    /// The `klamm` binary; by default the one beside this program
    #[arg(long, value_name = "FILE")]
    klamm: Option<PathBuf>,
}

fn main() -> ExitCode {
    match compare(&Options::parse()) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("compare: {e}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Outcome<ExitCode> {
    let stop = Stop::on_signals()?;
    let names = options.profile.as_deref().or(options.workloads.as_deref());
    let workloads = workloads::chosen(names, options.quick)?;
    let make = |dir: PathBuf| {
        fs::create_dir_all(&dir)
            .and_then(|()| fs::canonicalize(&options.out))
            .map_err(|e| format!("{}: {e}", options.out.display()))
    };
    if options.profile.is_some() {
        profile::check_perf()?;
        return profiled(options, &workloads, make(options.out.clone())?, stop);
    }
    within(options, workloads, &make(options.out.join("runs"))?, stop)
}

fn profiled(
    options: &Options,
    workloads: &[Workload],
    out: PathBuf,
    stop: Stop,
) -> Outcome<ExitCode> {
    let klamm = klamm(options)?;
    let profile = Profile {
        broker: Broker::klamm(klamm.clone())?,
        loader: loader(klamm, options.client.clone(), out),
        durability: if options.unsynced { Durability::Unsynced } else { Durability::Synced },
        seconds: options.seconds.unwrap_or(QUICK.seconds),
        rate: options.rate,
        stop,
    };
    for workload in workloads {
        println!("{}", profile.run(workload)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn within(
    options: &Options,
    workloads: Vec<Workload>,
    out: &Path,
    stop: Stop,
) -> Outcome<ExitCode> {
    let machine = Machine::here(out);
    let rounds = rounds(options, out, stop)?;
    let (is_pinned, seconds) = (rounds.loader.core.is_some(), rounds.seconds);
    let can_count = options.no_syncs || syncs::can_count();
    let counts_syncs = !options.no_syncs && can_count;
    let absent = absent(&rounds, can_count);
    let counting = rounds.brokers.len() as u64 * 2 * COUNTING_SECONDS * u64::from(counts_syncs);
    eprintln!("{}", machine.line());
    if !is_pinned {
        eprintln!("only one core: broker and load share it, so nothing here compares");
    }
    let minutes = (rounds.estimate(&workloads) + counting).div_ceil(60);
    eprintln!("about {minutes} minutes; the report comes into {}", out.display());
    let mut findings = Findings::default();
    let mut done = rounds.run(&workloads, &mut findings);
    if done.is_ok() && counts_syncs {
        done = rounds.count_syncs(&mut findings);
    }
    let mut missing = rounds.missing(&workloads, &findings);
    if done.is_err() && counts_syncs {
        missing.push("the syncs, or some of them".to_owned());
    }
    let _ = fs::remove_dir_all(&rounds.data);
    let (count, brokers) = (rounds.count, rounds.brokers);
    let report = Report {
        machine,
        brokers,
        workloads,
        rounds: count,
        seconds,
        is_pinned,
        client: options.client.clone(),
        rate: options.rate,
        missing,
        absent,
        findings,
    };
    report.write(out)?;
    println!("{}", table::markdown(&report));
    done?;
    let failed = report.findings.errors().count();
    if failed > 0 {
        return Err(format!("runs that failed: {failed}; the report names them"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What the report has not, and why.
fn absent(rounds: &Rounds, can_count: bool) -> Vec<&'static str> {
    let is_absent = [
        (
            !rounds.loader.counters,
            "Instructions were not counted: there are no hardware counters here, or no `perf` to read them.",
        ),
        (
            !rounds.brokers.iter().any(Broker::is_floor),
            "There was no floor to run: what kernel and disk alone cost is not shown.",
        ),
        (!can_count, "Syncs were not counted: `strace` is not here, or may not trace."),
    ];
    is_absent.into_iter().filter(|(is_it, _)| *is_it).map(|(_, text)| text).collect()
}

fn rounds(options: &Options, out: &Path, stop: Stop) -> Outcome<Rounds> {
    let klamm = klamm(options)?;
    // Beside the directory of the build: target/release/klamm-compare -> target.
    let cache = program()?.ancestors().nth(2).unwrap_or(out).join("compare-cache");
    let mut brokers = vec![Broker::klamm(klamm.clone())?];
    if !options.no_kafka {
        brokers.push(Broker::kafka(Kafka::fetch(&cache, &stop)?));
    }
    for peer in &options.peer {
        brokers.push(Broker::peer(peer)?);
    }
    if let Some(source) = &options.floor {
        if source.join("Cargo.toml").exists() {
            brokers.push(Broker::floor(source, &cache, &stop)?);
        } else {
            eprintln!("no floor: there is no {}", source.join("Cargo.toml").display());
        }
    }
    let length = if options.quick { QUICK } else { WHOLE };
    Ok(Rounds {
        brokers,
        loader: loader(klamm, options.client.clone(), out.join("runs")),
        stop,
        count: options.rounds.unwrap_or(length.rounds),
        seconds: options.seconds.unwrap_or(length.seconds),
        warm_up_seconds: length.warm_up_seconds,
        rate: options.rate,
        data: out.join("data"),
    })
}

fn program() -> Outcome<PathBuf> {
    std::env::current_exe().map_err(|e| format!("this program: {e}"))
}

fn klamm(options: &Options) -> Outcome<PathBuf> {
    let beside = || program().map(|p| p.with_file_name("klamm"));
    options.klamm.clone().map_or_else(beside, Ok)
}

/// Broker and load each have a core, where there are two; this process keeps to that of the load.
fn loader(klamm: PathBuf, client: Option<String>, dir: PathBuf) -> Loader {
    let (broker_core, core) = match cpu::allowed()[..] {
        [broker, load, ..] => (Some(broker), Some(load)),
        _ => (None, None),
    };
    if let Some(core) = core {
        cpu::pin_to(core);
    }
    Loader { klamm, core, broker_core, client, counters: Counters::are_there(), dir }
}
