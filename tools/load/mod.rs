//! `klamm load`: an open-loop load on any Kafka, and what it measured.
//!
//! ```text
//! workload (TOML, flags) -> setup: topics -> engine: ring of producers and consumers -> meter
//!                                                  table, result.json, *.hdr, picture.svg <-+
//! ```
//!
//! Each record's intended send time is fixed by the rate, and latency counts from there: a stall of
//! the broker is seen by every record that was due in it. The time travels in the record. A run whose
//! acknowledged rate is below 99 % of the offered one is marked `missed`.
//!
//! `--out DIR` writes
//! - `result.json`: `format` 1; `client`, `bootstrap`, `started_ms`; `workload` (every key);
//!   `offered_rate`, `achieved_rate` (acknowledged), `consumed_rate` (records/s in the measured time);
//!   `missed`; `error` (null, or why the exit code is not 0); `warmup_seconds`, `duration_seconds`
//!   (measured); `load_cpu_seconds` (of this process, in the measured time); `counts` of the whole run (`due`, `sent`, `acked`,
//!   `consumed`, `failed`; `lost`, `duplicated`, `reordered`, `corrupted` are null without `--verify`);
//!   `ack_ns` and `e2e_ns` (null, or `count`, `min`, `mean`, `p50`, `p90`, `p95`, `p99`, `p999`,
//!   `p9999`, `max` in nanoseconds, and `curve`: pairs of quantile and nanoseconds); `series`: an object
//!   for each second since the start of the warm-up.
//! - `ack.hdr`, `e2e.hdr`: HDR histogram logs (version 1.3) of nanoseconds, a line a second.
//! - `picture.svg`: the percentile curves, latency and rate over time.

mod engine;
mod meter;
mod options;
mod payload;
mod picture;
mod plot;
mod progress;
mod result;
mod ring;
mod setup;
mod table;
mod workload;

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use klamm::client::Endpoint;
use klamm::runtime::{clock, cpu, random};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::tools::cli::{self, Outcome, ToolError};
use engine::{End, Engine, Plan};
use meter::Meter;
use options::Options;
use progress::Progress;
use result::{About, RunResult};
use workload::Workload;

/// One line of help.
pub(crate) const ABOUT: &str = "Put a measured load on a cluster";

const NAME: &str = "load";
/// The first record is due so long after everything is ready.
const HEAD_START: Duration = Duration::from_millis(20);

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let options = match cli::parse::<Options>(NAME, ABOUT, args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let text = match load(&options) {
        Ok(code) => return code,
        Err(ToolError::Usage(what)) => return cli::usage::<Options>(NAME, &what),
        Err(ToolError::Failed(what)) => what,
        Err(ToolError::Client(e)) => e.to_string(),
    };
    eprintln!("klamm load: {text}");
    ExitCode::FAILURE
}

fn load(options: &Options) -> Outcome<ExitCode> {
    let bootstrap = cli::required(options.bootstrap_server.as_deref(), "bootstrap-server")?;
    let bootstrap = Endpoint::parse_list(bootstrap)?;
    let workload = Workload::read(options.workload.as_deref(), options.change.table()?)?;
    if let Some(core) = options.core {
        cpu::pin_to(core);
    }
    tighten_timers();
    if let Some(dir) = &options.out {
        fs::create_dir_all(dir).map_err(|e| named(dir, &e))?;
    }
    let result = run_once(options, bootstrap, workload)?;
    let json = || serde_json::to_string_pretty(&result).map_err(|e| e.to_string());
    if let Some(dir) = &options.out {
        for (name, text) in [("result.json", json()?), ("picture.svg", picture::svg(&result))] {
            let path = dir.join(name);
            fs::write(&path, text).map_err(|e| named(&path, &e))?;
        }
    }
    let text = if options.json { json()? + "\n" } else { table::table(&result) };
    io::stdout().write_all(text.as_bytes()).map_err(|e| format!("standard output: {e}"))?;
    match &result.error {
        None => Ok(ExitCode::SUCCESS),
        Some(what) => Err(ToolError::Failed(what.clone())),
    }
}

fn run_once(
    options: &Options,
    bootstrap: Vec<Endpoint>,
    mut workload: Workload,
) -> Outcome<RunResult> {
    let failed = |e: io::Error| ToolError::Failed(e.to_string());
    let seed = random::seed().map_err(failed)?;
    let run = seed as u32;
    let mut client = setup::connect(&bootstrap)?;
    let prepared = setup::prepare(&mut client, &workload, options.topic.as_deref(), run)?;
    workload.partitions = prepared.partitions;
    workload.topics = prepared.topics.len() as u32;
    let plan = Plan {
        workload: workload.clone(),
        bootstrap,
        topics: prepared.topics.clone(),
        is_foreign: prepared.is_foreign,
        run,
        give_up_after: Duration::from_secs_f64(options.give_up_after.clamp(0.1, 1e6)),
        stop: stop_on_signals().map_err(failed)?,
    };
    let mut engine = Engine::new(plan, seed)?;
    let (now, wall) = clock::now();
    let warmup = Duration::from_secs_f64(workload.warmup_seconds);
    let duration = Duration::from_secs_f64(workload.duration_seconds);
    let out = options.out.as_deref();
    let mut meter = Meter::new((now, wall), warmup, duration, out).map_err(failed)?;
    engine.prepare(&mut meter)?;
    meter.begin(clock::now().0 + HEAD_START);
    let mut progress = Progress::new(options.progress || io::stderr().is_terminal());
    let end = engine.run(&mut meter, &mut progress);
    if !prepared.is_foreign && !options.keep_topics && !matches!(end, End::Failed(_)) {
        let _ = setup::clean_up(&mut client, &prepared);
    }
    let about = About {
        client: "klamm",
        bootstrap: options.bootstrap_server.clone().unwrap_or_default(),
        started_ms: wall.0,
    };
    Ok(RunResult::new(about, &workload, &meter, engine.due(), &end))
}

/// Set once Ctrl-C or SIGTERM comes.
fn stop_on_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Lets the kernel wake this thread when it asked to be woken, not up to 50 us later.
fn tighten_timers() {
    // SAFETY: sets a number of the calling thread; failure changes nothing.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64, 0, 0, 0) };
}

fn named(path: &Path, e: &io::Error) -> ToolError {
    ToolError::Failed(format!("{}: {e}", path.display()))
}
