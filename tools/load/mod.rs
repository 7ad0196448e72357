//! `klamm load`: an open-loop load on any Kafka, and what it measured.
//!
//! ```text
//! workload (TOML, flags) -> setup: topics -> engine: ring of producers and consumers -> meter
//!                                                  table, result.json, *.hdr, picture.svg <-+
//! ```
//!
//! Each record's intended send time is fixed by the rate, and latency counts from there: a stall of
//! the broker is seen by every record that was due in it. The time travels in the record. A run whose
//! acknowledged rate is below 99 % of the offered one, or that had records left to send when its time
//! was over, is marked `missed`.
//!
//! `--verify` numbers and chains the records of each producer, and fails a run in which one is lost,
//! duplicated, reordered or changed. `--max --slo p99=5ms` looks for the highest rate that holds the bound.
//!
//! `--out DIR` writes
//! - `result.json`, an object (`--json` prints it):
//!   `format` 1; `client`, `bootstrap`; `started_ms` (since 1970): the first intended send time;
//!   `workload` with every key, `record_bytes` being the mean where a file has the payloads;
//!   `offered_rate`, `achieved_rate` (acknowledged, without a backlog) and `consumed_rate` (with it),
//!   records/s of the measured time;
//!   `missed`; `error`: null, or why the exit code is 1; `warmup_seconds`, `duration_seconds` (measured,
//!   less than planned when the run was cut short);
//!   `load_cpu_seconds`: run time of this process in the measured time;
//!   `counts` of the whole run: `due`, `sent`, `unsent` (due, and no producer had room until the end),
//!   `acked`, `consumed`, `failed`, and `lost`, `duplicated`, `reordered`, `corrupted`, which are null
//!   without `--verify`;
//!   `ack_ns`, `e2e_ns`, and `late_ns`, the part of them before a producer took the record (the load's
//!   own core was late, or no producer had room): null, or `count`, `min`, `mean`, `p50`, `p90`, `p95`,
//!   `p99`, `p999`, `p9999`, `max`, and `curve`, pairs of quantile and nanoseconds;
//!   `backlog`: null, or `records`, `build_seconds`, `drain_seconds`;
//!   `search`: null, or for each rate that `--max` tried `rate`, `achieved_rate`, `value_ns`, `meets`;
//!   `series`: for each second from the start of the warm-up on `second`, `sent`, `acked`, `consumed`,
//!   `failed`, `behind`, and `p50`, `p99`, `max` of both latencies as `ack_p50_ns` and so on.
//! - `ack.hdr`, `e2e.hdr`: HDR histogram logs (version 1.3) of nanoseconds, a line a second from
//!   `started_ms` on, and one for what came after the last whole second.
//! - `picture.svg`: the percentile curves, latency and rate over time.
//!
//! The exit code is 0 also for a run that missed its rate, and 1 when it failed or was interrupted; what
//! was measured until then is written all the same.

mod engine;
#[cfg(any(feature = "librdkafka", test))]
mod librdkafka;
mod meter;
mod options;
mod payload;
mod picture;
mod plot;
mod progress;
mod result;
pub(crate) mod ring;
mod schedule;
pub(crate) mod setup;
mod slo;
mod table;
mod verify;
mod workload;

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use klamm::client::Endpoint;
use klamm::runtime::{clock, cpu, random};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::tools::cli::{self, Outcome, ToolError};
use engine::{End, Engine, Plan};
use meter::{LOGS, Meter};
use options::{ClientName, Options};
use payload::Payloads;
use progress::Progress;
use result::{About, RunResult};
use slo::{Search, Slo};
use verify::Verdict;
use workload::Workload;

/// One line of help.
pub(crate) const ABOUT: &str = "Put a measured load on a cluster";

const NAME: &str = "load";
/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let options = match cli::parse_terse::<Options>(NAME, ABOUT, args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    match load(&options) {
        Ok(code) => return code,
        Err(ToolError::Usage(what)) => return cli::mistake(NAME, &what),
        Err(e) => eprintln!("klamm load: {}", words(e)),
    }
    ExitCode::FAILURE
}

fn words(e: ToolError) -> String {
    match e {
        ToolError::Usage(what) | ToolError::Failed(what) => what,
        ToolError::Client(e) => e.to_string(),
    }
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
    let stop = stop_on_signals().map_err(|e| ToolError::Failed(e.to_string()))?;
    let run = if options.max { find_max } else { run_once };
    let result = run(options, &bootstrap, workload, &stop)?;
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

/// Runs at rate after rate; the result and the logs are those of the highest one that met the bound,
/// or of the last one. A search that cannot go on says so in the result.
fn find_max(
    options: &Options,
    bootstrap: &[Endpoint],
    workload: Workload,
    stop: &Arc<AtomicBool>,
) -> Outcome<RunResult> {
    let wanted = "--max needs a bound: --slo p99=5ms".to_owned();
    let bound = workload.slo.clone().ok_or(wanted)?;
    let slo = Slo::parse(&bound)?;
    let mut search = Search::new(workload.rate);
    let (mut all, mut best, mut last, mut error) = (Vec::new(), None, None, None);
    let trial = Trial::new(options)?;
    while let Some(rate) = search.next() {
        let workload = Workload { rate, ..workload.clone() };
        let run = match run_once(&trial.options, bootstrap, workload, stop) {
            Ok(run) => run,
            Err(e) if last.is_none() => return Err(e),
            Err(e) => {
                error = Some(words(e));
                break;
            }
        };
        let tried = slo.judge(&run);
        search.tried(tried.meets);
        if tried.meets || best.is_none() {
            trial.keep_logs()?;
        }
        eprintln!("{}", table::search_line(&tried));
        let is_stopped = run.is_stopped || stop.load(Ordering::Relaxed);
        best = if tried.meets { Some(run.clone()) } else { best };
        last = Some(run);
        all.push(tried);
        if is_stopped {
            error = Some("interrupted".to_owned());
            break;
        }
    }
    let none = format!("no rate meets {bound}");
    error = error.or_else(|| best.is_none().then(|| none.clone()));
    let run = best.or(last).ok_or(none)?;
    Ok(RunResult { search: Some(all), error, ..run })
}

/// The runs of a search write their logs into a directory of their own, from which those of the run
/// that counts are taken. It is gone when this is dropped.
struct Trial {
    options: Options,
    out: Option<PathBuf>,
}

impl Trial {
    fn new(options: &Options) -> Outcome<Self> {
        let dir = options.out.as_ref().map(|out| out.join("trial"));
        if let Some(dir) = &dir {
            fs::create_dir_all(dir).map_err(|e| named(dir, &e))?;
        }
        Ok(Self { options: Options { out: dir, ..options.clone() }, out: options.out.clone() })
    }

    fn keep_logs(&self) -> Outcome<()> {
        let (Some(from), Some(to)) = (&self.options.out, &self.out) else { return Ok(()) };
        for log in LOGS {
            fs::rename(from.join(log), to.join(log)).map_err(|e| named(&to.join(log), &e))?;
        }
        Ok(())
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(dir) = &self.options.out {
            // What is left there is of runs that do not count.
            let _ = fs::remove_dir_all(dir);
        }
    }
}

fn run_once(
    options: &Options,
    bootstrap: &[Endpoint],
    mut workload: Workload,
    stop: &Arc<AtomicBool>,
) -> Outcome<RunResult> {
    let failed = |e: io::Error| ToolError::Failed(e.to_string());
    let seed = random::seed().map_err(failed)?;
    let run = seed as u32;
    let mut client = setup::connect(bootstrap)?;
    let prepared = setup::prepare(&mut client, &workload, options.topic.as_deref(), run)?;
    workload.partitions = prepared.partitions;
    workload.topics = prepared.topics.len() as u32;
    let payloads = Payloads::new(&workload, seed)?;
    workload.record_bytes = payloads.value_bytes();
    let plan = Plan {
        workload: workload.clone(),
        bootstrap: bootstrap.to_vec(),
        topics: prepared.topics.clone(),
        is_foreign: prepared.is_foreign,
        run,
        give_up_after: Duration::from_secs_f64(options.give_up_after.clamp(0.1, 1e6)),
        stop: Arc::clone(stop),
    };
    let lengths = [workload.warmup_seconds, workload.duration_seconds];
    let [warmup, duration] = lengths.map(Duration::from_secs_f64);
    let mut meter = Meter::new((warmup, duration), options.out.as_deref()).map_err(failed)?;
    let mut progress = Progress::new(options.progress || io::stderr().is_terminal());
    let (due, end, verdict) = match options.client {
        ClientName::Klamm => {
            let mut engine = Engine::new(plan, payloads)?;
            engine.prepare(&mut meter)?;
            let end = engine.run(&mut meter, &mut progress);
            (engine.due(), end, engine.verdict())
        }
        ClientName::Librdkafka => with_librdkafka(plan, payloads, &mut meter, &mut progress)?,
    };
    meter.end(clock::now().0).map_err(failed)?;
    if !prepared.is_foreign && !options.keep_topics && !matches!(end, End::Failed(_)) {
        let _ = setup::clean_up(&mut client, &prepared);
    }
    let about = About {
        client: match options.client {
            ClientName::Klamm => "klamm",
            ClientName::Librdkafka => "librdkafka",
        },
        bootstrap: options.bootstrap_server.clone().unwrap_or_default(),
    };
    Ok(RunResult::new(about, &workload, &meter, due, (&end, verdict)))
}

#[cfg(any(feature = "librdkafka", test))]
fn with_librdkafka(
    plan: Plan,
    payloads: Payloads,
    meter: &mut Meter,
    progress: &mut Progress,
) -> Outcome<(u64, End, Option<Verdict>)> {
    let mut engine = librdkafka::Engine::new(plan, payloads)?;
    let end = engine.run(meter, progress);
    Ok((engine.due(), end, None))
}

#[cfg(not(any(feature = "librdkafka", test)))]
fn with_librdkafka(
    _: Plan,
    _: Payloads,
    _: &mut Meter,
    _: &mut Progress,
) -> Outcome<(u64, End, Option<Verdict>)> {
    let what = "this build has no librdkafka: build it with `cargo build --features librdkafka`";
    Err(ToolError::Failed(what.to_owned()))
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
