//! One run of `klamm load` against a broker, and what the broker used in the measured time.
//!
//! The load says on its standard error when each second is over; the readings are taken at the lines
//! that begin and end the measured time.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{ChildStderr, Command};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use crate::brokers::{Configs, Running};
use crate::measure::{Counters, Reading, keep_to, resident_mb};
use crate::process::{Outcome, Process, Stop, now};
use crate::turns::Turns;

/// Connecting, making the topics and learning of them.
const PREPARE: Duration = Duration::from_mins(3);
/// What was sent may be acknowledged and read for so long after the measured time.
const DRAIN: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(100);

/// The tool and where it runs.
#[derive(Debug, Clone)]
pub(crate) struct Loader {
    /// The `klamm` binary.
    pub(crate) klamm: PathBuf,
    /// Core of the load.
    pub(crate) core: Option<usize>,
    /// Core of the broker.
    pub(crate) broker_core: Option<usize>,
    /// The client it uses, by the name of `--client`; without one Klamm's own.
    pub(crate) client: Option<String>,
    /// Whether instructions can be counted.
    pub(crate) counters: bool,
    /// Where the files of the runs go.
    pub(crate) dir: PathBuf,
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// Names its files.
    pub(crate) name: String,
    /// The keys of the workload's file.
    pub(crate) keys: String,
    /// Configs of its topics.
    pub(crate) configs: Configs,
    /// More arguments of the tool.
    pub(crate) arguments: Vec<String>,
    /// Whole seconds before and in the measured time, both at least 1.
    pub(crate) seconds: (u64, u64),
}

/// A latency in nanoseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

#[derive(Debug, Deserialize)]
struct Size {
    record_bytes: u64,
}

/// Counts of one second, or of the whole run.
#[derive(Debug, Deserialize)]
struct Counts {
    acked: u64,
}

/// The part of `result.json` that is read here.
#[derive(Debug, Deserialize)]
struct Results {
    workload: Size,
    offered_rate: f64,
    achieved_rate: f64,
    consumed_rate: f64,
    missed: bool,
    error: Option<String>,
    load_cpu_seconds: f64,
    ack_ns: Option<Latency>,
    e2e_ns: Option<Latency>,
    counts: Counts,
    series: Vec<Counts>,
}

/// What a run found.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) offered_rate: f64,
    pub(crate) achieved_rate: f64,
    pub(crate) consumed_rate: f64,
    /// Not all of the offered rate was acknowledged.
    pub(crate) missed: bool,
    /// Records acknowledged in the whole run.
    pub(crate) all_acked: f64,
    /// Records acknowledged in the measured time, and bytes of each.
    pub(crate) records: f64,
    pub(crate) record_bytes: f64,
    pub(crate) ack: Option<Latency>,
    pub(crate) e2e: Option<Latency>,
    pub(crate) load_cpu_seconds: f64,
    /// At both ends of the measured time.
    pub(crate) from: Reading,
    pub(crate) to: Reading,
    pub(crate) resident_mb: f64,
    /// User and kernel.
    pub(crate) instructions: Option<(f64, f64)>,
    /// Of Klamm, at both ends of the measured time.
    pub(crate) turns: Option<(Turns, Turns)>,
}

/// A line of the load on its standard error.
#[derive(Debug)]
enum Line {
    /// So many seconds are over, and so many records were acknowledged in the last one.
    Second(u64, f64),
    /// Anything else.
    Words(String),
}

impl Line {
    fn read(text: &str) -> Self {
        let words: Vec<&str> = text.split_whitespace().collect();
        let acked = words.iter().position(|w| *w == "acked").and_then(|at| words.get(at + 1));
        let acked = acked.and_then(|w| w.trim_end_matches("/s").parse().ok());
        match (words.first().and_then(|w| w.parse().ok()), words.get(1), acked) {
            (Some(second), Some(&"s"), Some(acked)) => Self::Second(second, acked),
            _ => Self::Words(text.trim().to_owned()),
        }
    }
}

/// A load that runs.
#[derive(Debug)]
pub(crate) struct Load {
    process: Process,
    lines: Receiver<Line>,
    /// What it said last that was not a second.
    words: String,
    /// It was told to stop early.
    is_cut: bool,
    out: PathBuf,
}

impl Loader {
    fn start(&self, job: &Job, bootstrap: &str) -> Outcome<Load> {
        let out = self.dir.join(&job.name);
        let named = |e: std::io::Error| format!("{}: {e}", out.display());
        let _ = fs::remove_dir_all(&out);
        fs::create_dir_all(&out).map_err(named)?;
        let file = out.join("workload.toml");
        fs::write(&file, workload_text(job)).map_err(named)?;
        let mut command = Command::new(&self.klamm);
        command.args(["load", "--progress", "--bootstrap-server", bootstrap, "--workload"]);
        command.arg(&file).arg("--out").arg(&out).args(&job.arguments);
        command.args(self.client.iter().flat_map(|client| ["--client", client]));
        let (process, pipe) =
            Process::start_piped("klamm load", &mut command, self.core, &out.join("load.log"))?;
        Ok(Load { process, lines: lines_of(pipe)?, words: String::new(), is_cut: false, out })
    }

    /// Loads `broker` and measures it.
    pub(crate) fn measure(
        &self,
        job: &Job,
        broker: &mut Running,
        stop: &Stop,
    ) -> Outcome<Measured> {
        self.measure_while(job, broker, stop, |load, broker| load.wait_for_end(job, broker, stop))
    }

    /// Loads `broker` and measures it as long as `beside` runs, which starts with the measured time.
    pub(crate) fn measure_beside(
        &self,
        job: &Job,
        mut beside: Command,
        broker: &mut Running,
        stop: &Stop,
    ) -> Outcome<(Measured, Duration)> {
        let log = self.dir.join(format!("{}.log", job.name));
        let _ = fs::remove_file(&log);
        let mut took = Duration::ZERO;
        let to_its_end = |load: &mut Load, broker: &mut Running| {
            let began = now();
            let mut process = Process::start_muted("the reader", &mut beside, self.core, &log)?;
            let status = loop {
                if let Some(status) = process.ended() {
                    break status;
                }
                load.look(broker)?;
                stop.check()?;
            };
            took = now().since(began);
            load.cut();
            if status.success() { Ok(()) } else { process.check() }
        };
        let measured = self.measure_while(job, broker, stop, to_its_end)?;
        Ok((measured, took))
    }

    /// Loads `broker` and measures it as long as `run` takes, which begins with the measured time.
    pub(crate) fn measure_while(
        &self,
        job: &Job,
        broker: &mut Running,
        stop: &Stop,
        run: impl FnOnce(&mut Load, &mut Running) -> Outcome<()>,
    ) -> Outcome<Measured> {
        let mut load = self.start(job, &broker.bootstrap())?;
        let (warm_up, length) = job.seconds;
        load.wait_for_second(warm_up, PREPARE, broker, stop)?;
        let counters = self.counters.then(|| Counters::start(broker.pid(), &load.out));
        let counters = counters.transpose()?;
        let turns = broker.turns()?;
        let from = Reading::take(broker.pid(), self.broker_core)?;
        run(&mut load, broker)?;
        let to = Reading::take(broker.pid(), self.broker_core)?;
        let turns = turns.zip(broker.turns()?);
        let instructions = counters.and_then(Counters::end);
        let resident_mb = resident_mb(broker.pid());
        let r = load.end(broker, stop)?;
        let seconds = to.at.since(from.at).as_secs_f64().round() as u64;
        let measured = r.series.iter().skip(warm_up as usize).take(length.min(seconds) as usize);
        Ok(Measured {
            offered_rate: r.offered_rate,
            achieved_rate: r.achieved_rate,
            consumed_rate: r.consumed_rate,
            missed: r.missed,
            all_acked: r.counts.acked as f64,
            records: measured.map(|s| s.acked as f64).sum(),
            record_bytes: r.workload.record_bytes as f64,
            ack: r.ack_ns,
            e2e: r.e2e_ns,
            load_cpu_seconds: r.load_cpu_seconds,
            from,
            to,
            resident_mb,
            instructions,
            turns,
        })
    }

    /// Loads `broker`, which may run on the core of the load too, until its CPU per record falls no more, or
    /// for `limit_seconds`; how long that took, and whether it settled.
    pub(crate) fn warm_up(
        &self,
        job: &Job,
        limit_seconds: u64,
        broker: &mut Running,
        stop: &Stop,
    ) -> Outcome<(u64, bool)> {
        let job = Job { seconds: (1, limit_seconds + 60), ..job.clone() };
        // Its compiler may have the other core too, or it would take minutes to be through.
        let all: Vec<usize> = self.broker_core.into_iter().chain(self.core).collect();
        if !all.is_empty() {
            keep_to(broker.pid(), &all);
        }
        let mut load = self.start(&job, &broker.bootstrap())?;
        let mut settling = Settling::new(limit_seconds);
        let (mut second, mut is_settled) = (0, false);
        while second < limit_seconds && !is_settled {
            let limit = if second == 0 { PREPARE } else { END };
            let (at, acked) = load.next_second(limit, broker, stop)?;
            second = at;
            let cpu = Reading::take(broker.pid(), self.broker_core)?.broker;
            is_settled = settling.is_settled(second, cpu, acked);
        }
        load.cut();
        load.process.wait(END);
        if let Some(core) = self.broker_core {
            keep_to(broker.pid(), &[core]);
        }
        Ok((second, is_settled))
    }
}

/// Decides when the CPU per record of a broker that warms up has settled.
#[derive(Debug)]
struct Settling {
    /// Before this second it has not: compilers wait for what is called often.
    least_seconds: u64,
    /// CPU seconds at the start of the window, and records acknowledged in it.
    from: Option<(u64, f64)>,
    acked: f64,
    last: Option<f64>,
}

impl Settling {
    /// Length of a window.
    const SECONDS: u64 = 3;
    /// It has settled when a window costs more than this part of the one before...
    const KEPT: f64 = 0.95;
    /// ...and the broker did not need more than this part of a core: while its compiler fills the core, each
    /// record costs the same part of it. A broker that always does is loaded for as long as may be.
    const BUSY: f64 = 0.8;

    /// Of a warm-up that may last `limit_seconds`.
    fn new(limit_seconds: u64) -> Self {
        Self { least_seconds: limit_seconds * 2 / 5, from: None, acked: 0.0, last: None }
    }

    fn is_settled(&mut self, second: u64, cpu: f64, acked: f64) -> bool {
        let Some((since, from)) = self.from else {
            self.from = Some((second, cpu));
            return false;
        };
        self.acked += acked;
        if second < since + Self::SECONDS {
            return false;
        }
        let cost = (cpu - from) / self.acked.max(1.0);
        let is_busy = cpu - from > Self::BUSY * (second - since) as f64;
        let is_flat = self.last.is_some_and(|last| cost > last * Self::KEPT);
        let settled = is_flat && !is_busy && second >= self.least_seconds;
        (self.from, self.acked, self.last) = (Some((second, cpu)), 0.0, Some(cost));
        settled
    }
}

impl Load {
    /// Waits for the line of a second at or after `second`.
    fn wait_for_second(
        &mut self,
        second: u64,
        limit: Duration,
        broker: &mut Running,
        stop: &Stop,
    ) -> Outcome<()> {
        let until = now() + limit;
        loop {
            let (at, _) = self.next_second(until.since(now()), broker, stop)?;
            if at >= second {
                return Ok(());
            }
        }
    }

    /// Waits for the end of the measured time.
    pub(crate) fn wait_for_end(
        &mut self,
        job: &Job,
        broker: &mut Running,
        stop: &Stop,
    ) -> Outcome<()> {
        let (warm_up, length) = job.seconds;
        let limit = Duration::from_secs(length) + END;
        self.wait_for_second(warm_up + length, limit, broker, stop)
    }

    fn next_second(
        &mut self,
        limit: Duration,
        broker: &mut Running,
        stop: &Stop,
    ) -> Outcome<(u64, f64)> {
        let until = now() + limit;
        loop {
            if let Some(second) = self.look(broker)? {
                return Ok(second);
            }
            stop.check()?;
            if now() >= until {
                return Err(format!("the load did not go on for {} s", limit.as_secs()));
            }
        }
    }

    /// Takes a line, if one comes soon; an error when the load or the broker is gone.
    fn look(&mut self, broker: &mut Running) -> Outcome<Option<(u64, f64)>> {
        match self.lines.recv_timeout(TICK) {
            Ok(Line::Second(second, acked)) => Ok(Some((second, acked))),
            Ok(Line::Words(words)) => {
                self.words = words;
                Ok(None)
            }
            Err(RecvTimeoutError::Timeout) => broker.check().map(|()| None),
            Err(RecvTimeoutError::Disconnected) => {
                broker.check()?;
                Err(format!("the load ended early: {}", self.said()))
            }
        }
    }

    /// Tells it to stop.
    fn cut(&mut self) {
        self.is_cut = true;
        self.process.signal(libc::SIGINT);
    }

    /// Waits for its end, and asks for it when that does not come by itself.
    fn end(mut self, broker: &mut Running, stop: &Stop) -> Outcome<Results> {
        let until = now() + DRAIN;
        while self.process.ended().is_none() {
            match self.lines.recv_timeout(TICK) {
                Ok(Line::Words(words)) => self.words = words,
                Ok(Line::Second(..)) | Err(_) => {}
            }
            stop.check()?;
            if now() >= until {
                self.cut();
                self.process.wait(END);
                break;
            }
        }
        broker.check()?;
        let path = self.out.join("result.json");
        let text =
            fs::read(&path).map_err(|_| format!("the load gave no result: {}", self.said()))?;
        let results: Results =
            serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        // A run that was too much for the broker is marked by its rate, and may have been cut.
        match &results.error {
            Some(what) if !results.missed && !self.is_cut => {
                Err(format!("the load failed: {what}"))
            }
            _ => Ok(results),
        }
    }

    fn said(&self) -> &str {
        let said = self.words.strip_prefix("klamm load: ").unwrap_or(&self.words);
        if said.is_empty() { "it said nothing" } else { said }
    }
}

fn workload_text(job: &Job) -> String {
    let (warm_up, length) = job.seconds;
    let mut text = format!(
        "{}warmup_seconds = {}\nduration_seconds = {length}\n[topic_configs]\n",
        job.keys, warm_up
    );
    for (key, value) in &job.configs {
        let _ = writeln!(text, "\"{key}\" = \"{value}\"");
    }
    text
}

/// Hands on each line as soon as it is there.
fn lines_of(pipe: ChildStderr) -> Outcome<Receiver<Line>> {
    let (sender, lines) = mpsc::channel();
    let read = move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(Line::read(&line)).is_err() {
                return;
            }
        }
    };
    let reader = thread::Builder::new().name("load-lines".to_owned()).spawn(read);
    reader.map(|_| lines).map_err(|e| format!("a thread: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::{WORKLOADS, What};

    #[test]
    fn the_lines_of_the_load_are_told_from_what_else_it_says() {
        let line =
            Line::read("   12 s  sent 2000/s  acked 1998/s  read 1/s  behind 2  ack ms p50 0.4");
        assert!(matches!(line, Line::Second(12, acked) if (acked - 1998.0).abs() < 0.1));
        assert!(matches!(Line::read("klamm load: 3 s acked"), Line::Words(_)));
    }

    #[test]
    fn every_file_takes_the_keys_of_a_comparison() {
        for workload in WORKLOADS {
            let What::Load(keys) = workload.what else { continue };
            let job = Job {
                name: workload.name.to_owned(),
                keys: keys.to_owned(),
                configs: Configs::from([("flush.messages".to_owned(), "1".to_owned())]),
                arguments: Vec::new(),
                seconds: (2, 10),
            };
            let table: toml::Table = toml::from_str(&workload_text(&job)).unwrap();
            assert_eq!(table["topic_configs"]["flush.messages"].as_str(), Some("1"));
            assert_eq!(table["duration_seconds"].as_integer(), Some(10));
        }
    }

    #[test]
    fn a_broker_has_settled_when_a_window_costs_what_the_last_one_did() {
        // CPU seconds in each second: seconds and what each of them took.
        let settled_at = |costs: &[(u64, f64)]| {
            let (mut settling, mut cpu, mut second) = (Settling::new(30), 0.0, 0);
            let mut each = costs.iter().flat_map(|&(n, cost)| (0..n).map(move |_| cost));
            each.find_map(|cost| {
                (cpu, second) = (cpu + cost, second + 1);
                settling.is_settled(second, cpu, 1000.0).then_some(second)
            })
        };
        assert_eq!(settled_at(&[(4, 0.7), (6, 0.5), (3, 0.4), (9, 0.3)]), Some(19));
        assert_eq!(settled_at(&[(100, 0.1)]), Some(13), "not at once");
        assert_eq!(settled_at(&[(13, 0.95), (9, 0.4)]), Some(19), "a full core says nothing");
        assert_eq!(settled_at(&[(100, 0.95)]), None);
    }
}
