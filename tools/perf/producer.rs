//! `klamm producer-perf-test` (kafka-producer-perf-test.sh): how fast records are taken.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use fastrand::Rng;
use hdrhistogram::Histogram;
use klamm::base::Moment;
use klamm::runtime::clock;

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::perf::sending::{Item, Sending, producer_options};
use crate::tools::properties::Properties;

/// One line of help.
pub(crate) const ABOUT: &str = "Measure how fast a topic takes records";

const MB: f64 = 1024.0 * 1024.0;
const NS_PER_MS: f64 = 1e6;
/// Records that are pushed between two looks at the answers.
const PUSHED_AT_ONCE: u64 = 512;

#[derive(Debug, Parser)]
#[command(group(clap::ArgGroup::new("payload").required(true)))]
struct Options {
    /// Brokers to begin with
    #[arg(long, value_name = "HOST:PORT,...")]
    bootstrap_server: Option<String>,
    /// Topic to send to
    #[arg(long, required = true)]
    topic: String,
    /// Number of records to send
    #[arg(long, required = true)]
    num_records: u64,
    /// Records each second; -1 for as many as go
    #[arg(long, required = true)]
    throughput: f64,
    /// Bytes of a record
    #[arg(long, group = "payload")]
    record_size: Option<usize>,
    /// File of records to draw from
    #[arg(long, group = "payload")]
    payload_file: Option<PathBuf>,
    /// What stands between the records of the file
    #[arg(long, default_value = "\\n")]
    payload_delimiter: String,
    /// Records are increasing numbers
    #[arg(long, group = "payload")]
    payload_monotonic: bool,
    /// Producer properties
    #[arg(long, num_args = 0.., value_name = "KEY=VALUE")]
    producer_props: Vec<String>,
    /// Producer properties
    #[arg(long, num_args = 0.., value_name = "KEY=VALUE")]
    command_property: Vec<String>,
    /// Property file of the producer
    #[arg(long = "producer.config", value_name = "FILE")]
    producer_config: Option<String>,
    /// Property file of the producer
    #[arg(long, value_name = "FILE")]
    command_config: Option<String>,
    /// Not offered: this client keeps no such metrics
    #[arg(long)]
    print_metrics: bool,
    /// Not offered
    #[arg(long)]
    transactional_id: Option<String>,
    /// Not offered
    #[arg(long)]
    transaction_duration_ms: Option<u64>,
    /// Records before the steady state, which is told by itself
    #[arg(long, default_value_t = 0)]
    warmup_records: u64,
    /// Milliseconds between two lines
    #[arg(long, default_value_t = 5000)]
    reporting_interval: u64,
}

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    super::run(("producer-perf-test", ABOUT), args, |options: Options| act(&options))
}

enum Payload {
    Bytes(Vec<u8>),
    Lines(Vec<Vec<u8>>, Rng),
    Numbers(u64, String),
}

impl Payload {
    fn new(options: &Options) -> Outcome<Self> {
        let mut rng = Rng::with_seed(0);
        if options.payload_monotonic {
            return Ok(Self::Numbers(0, String::new()));
        }
        let Some(path) = &options.payload_file else {
            let size = options.record_size.unwrap_or(0);
            if size == 0 {
                return Err(ToolError::Failed("--record-size should be greater than zero.".into()));
            }
            return Ok(Self::Bytes((0..size).map(|_| rng.u8(b'A'..=b'Z')).collect()));
        };
        let named = |what: String| ToolError::Failed(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| named(e.to_string()))?;
        let delimiter = options.payload_delimiter.replace("\\n", "\n").replace("\\t", "\t");
        let lines: Vec<_> = text
            .trim_end_matches('\n')
            .split(&delimiter)
            .filter(|line| !line.is_empty())
            .map(|line| line.as_bytes().to_vec())
            .collect();
        if lines.is_empty() {
            return Err(named("it has no records".to_owned()));
        }
        Ok(Self::Lines(lines, rng))
    }

    fn next(&mut self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Lines(lines, rng) => &lines[rng.usize(..lines.len())],
            Self::Numbers(next, text) => {
                *text = next.to_string();
                *next += 1;
                text.as_bytes()
            }
        }
    }
}

/// Counts and latencies since a moment.
struct Stats {
    began: Moment,
    bytes: u64,
    sum_ns: f64,
    latency: Histogram<u64>,
}

impl Stats {
    fn new(began: Moment) -> Outcome<Self> {
        let latency = Histogram::new(3).map_err(|e| ToolError::Failed(e.to_string()))?;
        Ok(Self { began, bytes: 0, sum_ns: 0.0, latency })
    }

    fn add(&mut self, ns: u64, bytes: u64) {
        self.bytes += bytes;
        self.sum_ns += ns as f64;
        // Grows as it must; fails only beyond what 64 bits hold.
        let _ = self.latency.record(ns);
    }

    /// (records, records/s, MB/s, mean ms, greatest ms).
    fn rates(&self, now: Moment) -> (u64, f64, f64, f64, f64) {
        let (count, seconds) = (self.latency.len(), now.since(self.began).as_secs_f64().max(1e-3));
        let mean = if count == 0 { 0.0 } else { self.sum_ns / count as f64 / NS_PER_MS };
        let max = self.latency.max() as f64 / NS_PER_MS;
        (count, count as f64 / seconds, self.bytes as f64 / seconds / MB, mean, max)
    }

    fn window(&self, now: Moment) -> String {
        let (count, rate, mb, mean, max) = self.rates(now);
        format!(
            "{count} records sent, {rate:.1} records/sec ({mb:.2} MB/sec), {mean:.1} ms avg latency, \
             {max:.1} ms max latency."
        )
    }

    fn total(&self, now: Moment, what: &str) -> String {
        let (count, rate, mb, mean, max) = self.rates(now);
        let ms = |q| self.latency.value_at_quantile(q) / 1_000_000;
        format!(
            "{count}{what} records sent, {rate:.6} records/sec ({mb:.2} MB/sec), {mean:.2} ms avg \
             latency, {max:.2} ms max latency, {} ms 50th, {} ms 95th, {} ms 99th, {} ms 99.9th.",
            ms(0.5),
            ms(0.95),
            ms(0.99),
            ms(0.999)
        )
    }
}

/// Number in the schedule, intended time, bytes.
type Mark = (u64, Moment, u64);

struct Test {
    sending: Sending<Mark>,
    all: Stats,
    window: Stats,
    /// With `--warmup-records`.
    steady: Option<Stats>,
    interval_ns: Option<f64>,
    reporting: Duration,
    warmup: u64,
    failed: u64,
    /// What was told of failures.
    told: BTreeSet<String>,
}

fn act(options: &Options) -> Outcome<ExitCode> {
    let config = options.command_config.as_deref().or(options.producer_config.as_deref());
    let mut properties = Properties::read(config, &options.command_property)?;
    properties.add(&options.producer_props);
    let servers = options.bootstrap_server.as_deref().or(properties.get("bootstrap.servers"));
    let servers = cli::required(servers.map(str::to_owned), "bootstrap-server")?;
    let is_transactional = properties.get("transactional.id").is_some()
        || options.transactional_id.is_some()
        || options.transaction_duration_ms.is_some();
    if is_transactional {
        let what = "transactions are not offered by this client";
        return Err(ToolError::Failed(what.to_owned()));
    }
    if options.throughput == 0.0 {
        return Err(ToolError::Failed("--throughput 0 sends nothing; -1 has no limit".to_owned()));
    }
    let mut payload = Payload::new(options)?;
    let settings = ("perf-producer-client", producer_options(&properties)?);
    let sending = Sending::connect(&servers, &options.topic, &properties, settings)?;
    if options.print_metrics {
        eprintln!("--print-metrics: this client keeps no such metrics");
    }
    if options.warmup_records > 0 {
        println!(
            "Warmup first {} records. Steady state results will print after the complete test \
             summary.",
            options.warmup_records
        );
    }
    let now = clock::now().0;
    let mut test = Test {
        sending,
        all: Stats::new(now)?,
        window: Stats::new(now)?,
        steady: None,
        interval_ns: (options.throughput > 0.0).then(|| 1e9 / options.throughput),
        reporting: Duration::from_millis(options.reporting_interval.max(1)),
        warmup: options.warmup_records,
        failed: 0,
        told: BTreeSet::new(),
    };
    test.run(options.num_records, &mut payload)?;
    Ok(if test.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Test {
    fn run(&mut self, records: u64, payload: &mut Payload) -> Outcome<()> {
        let mut sent = 0;
        while sent < records || !self.sending.is_idle() {
            let now = clock::now().0;
            let mut pushed = 0;
            let mut next = Moment::NEVER;
            while sent < records {
                let intended = self.intended(sent, now);
                let value = payload.next();
                let is_full = !self.sending.has_room(value.len());
                if intended > now || is_full || pushed == PUSHED_AT_ONCE {
                    next = if is_full { Moment::NEVER } else { intended };
                    break;
                }
                let mark = (sent, intended, value.len() as u64);
                let timestamp = clock::now().1.0;
                self.sending.push(Item { key: None, value, timestamp, mark }, now)?;
                (sent, pushed) = (sent + 1, pushed + 1);
            }
            if sent == records {
                self.sending.flush();
            }
            let window_ends = self.window.began + self.reporting;
            self.take(next.min(window_ends))?;
            self.report()?;
        }
        let now = clock::now().0;
        println!("{}", self.all.total(now, ""));
        if self.failed > 0 {
            eprintln!("{} of {records} records failed", self.failed);
        }
        if let Some(steady) = &self.steady {
            println!("{}", steady.total(now, " steady state"));
        }
        Ok(())
    }

    fn intended(&self, number: u64, now: Moment) -> Moment {
        let since = |ns| Moment(self.all.began.0 + (number as f64 * ns) as u64);
        self.interval_ns.map_or(now, since)
    }

    fn take(&mut self, until: Moment) -> Outcome<()> {
        let over = self.sending.turn(until)?;
        let now = clock::now().0;
        for record in over {
            let (number, intended, bytes) = record.mark;
            if let Err(e) = record.result {
                self.failed += 1;
                // One line a kind of failure; the rest is counted.
                let what = e.to_string();
                if self.told.insert(what.clone()) {
                    eprintln!("{what}");
                }
                continue;
            }
            let ns = now.0.saturating_sub(intended.0);
            self.all.add(ns, bytes);
            self.window.add(ns, bytes);
            if self.warmup > 0 && number >= self.warmup {
                if self.steady.is_none() {
                    println!("In steady state.");
                    self.steady = Some(Stats::new(intended)?);
                }
                if let Some(steady) = &mut self.steady {
                    steady.add(ns, bytes);
                }
            }
        }
        Ok(())
    }

    fn report(&mut self) -> Outcome<()> {
        let now = clock::now().0;
        if now >= self.window.began + self.reporting {
            println!("{}", self.window.window(now));
            // A reader of the lines that has gone away ends the process by a signal.
            let _ = std::io::stdout().flush();
            self.window = Stats::new(now)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_kafkas() {
        let mut stats = Stats::new(Moment(0)).unwrap();
        for ms in [1, 2, 9] {
            stats.add(ms * 1_000_000, MB as u64);
        }
        let now = Moment(2_000_000_000);
        assert_eq!(
            stats.window(now),
            "3 records sent, 1.5 records/sec (1.50 MB/sec), 4.0 ms avg latency, 9.0 ms max latency."
        );
        assert_eq!(
            stats.total(now, " steady state"),
            "3 steady state records sent, 1.500000 records/sec (1.50 MB/sec), 4.00 ms avg latency, \
             9.00 ms max latency, 2 ms 50th, 9 ms 95th, 9 ms 99th, 9 ms 99.9th."
        );
    }
}
