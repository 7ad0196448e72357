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
    num_records: i64,
    /// Records each second; -1 for as many as go
    #[arg(long, required = true)]
    throughput: f64,
    /// Bytes of a record
    #[arg(long, group = "payload")]
    record_size: Option<i32>,
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
    warmup_records: i64,
    /// Milliseconds between two lines
    #[arg(long, default_value_t = 5000)]
    reporting_interval: i64,
}

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    super::run(("producer-perf-test", ABOUT), args, |options: Options| act(&options))
}

impl Options {
    /// Refuses numbers that make no test, by Kafka's words.
    fn check(&self) -> Outcome<()> {
        let above_zero = [
            ("num-records", Some(self.num_records)),
            ("record-size", self.record_size.map(i64::from)),
            ("reporting-interval", Some(self.reporting_interval)),
        ];
        for (name, value) in above_zero {
            if value.is_some_and(|n| n <= 0) {
                return Err(ToolError::Usage(format!("--{name} should be greater than zero.")));
            }
        }
        if self.warmup_records >= self.num_records {
            let what = "The value for --warmup-records must be strictly fewer than the number of \
                        records in the test, --num-records.";
            return Err(ToolError::Usage(what.to_owned()));
        }
        if self.throughput == 0.0 {
            let what = "--throughput 0 sends nothing; -1 has no limit";
            return Err(ToolError::Usage(what.to_owned()));
        }
        let old = !self.producer_props.is_empty();
        cli::exclude(
            ("producer-props", old),
            &[("command-property", !self.command_property.is_empty())],
        )?;
        let old_config = self.producer_config.is_some();
        cli::exclude(
            ("producer.config", old_config),
            &[("command-config", self.command_config.is_some())],
        )?;
        for (name, is_used, new) in [
            ("producer-props", old, "command-property"),
            ("producer.config", old_config, "command-config"),
        ] {
            if is_used {
                println!(
                    "Option --{name} has been deprecated and will be removed in a future version. \
                     Use --{new} instead."
                );
            }
        }
        Ok(())
    }
}

enum Payload {
    /// Letters, others for each record.
    Letters(Vec<u8>, Rng),
    Lines(Vec<Vec<u8>>, Rng),
    Numbers(u64, String),
}

impl Payload {
    fn new(options: &Options) -> Outcome<Self> {
        let rng = Rng::with_seed(0);
        if options.payload_monotonic {
            return Ok(Self::Numbers(0, String::new()));
        }
        let Some(path) = &options.payload_file else {
            let size = usize::try_from(options.record_size.unwrap_or(0)).unwrap_or(0);
            return Ok(Self::Letters(vec![0; size], rng));
        };
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        println!("Reading payloads from: {}", absolute.display());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = split(&text, &options.payload_delimiter);
        if lines.is_empty() {
            let what = "File does not exist or empty file provided.";
            return Err(ToolError::Failed(what.to_owned()));
        }
        println!("Number of records read: {}", lines.len());
        Ok(Self::Lines(lines, rng))
    }

    /// Bytes of a record, at most.
    fn bytes_max(&self) -> usize {
        match self {
            Self::Letters(bytes, _) => bytes.len(),
            Self::Lines(lines, _) => lines.iter().map(Vec::len).max().unwrap_or(0),
            Self::Numbers(..) => u64::MAX.ilog10() as usize + 1,
        }
    }

    fn next(&mut self) -> &[u8] {
        match self {
            Self::Letters(bytes, rng) => {
                rng.fill(bytes);
                for byte in &mut *bytes {
                    *byte = b'A' + ((u16::from(*byte) * 26) >> 8) as u8;
                }
                bytes
            }
            Self::Lines(lines, rng) => &lines[rng.usize(..lines.len())],
            Self::Numbers(next, text) => {
                *text = next.to_string();
                *next += 1;
                text.as_bytes()
            }
        }
    }
}

/// The records of a file: what stands between the delimiters, without empty ones at the end.
fn split(text: &str, delimiter: &str) -> Vec<Vec<u8>> {
    let delimiter = delimiter.replace("\\n", "\n").replace("\\t", "\t");
    let mut lines: Vec<_> = text.split(&delimiter).map(|line| line.as_bytes().to_vec()).collect();
    while lines.pop_if(|line| line.is_empty()).is_some() {}
    lines
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
    /// As Kafka's, before the first line that is of it.
    has_told_steady: bool,
    interval_ns: Option<f64>,
    reporting: Duration,
    warmup: u64,
    failed: u64,
    /// What was told of failures.
    told: BTreeSet<String>,
}

fn act(options: &Options) -> Outcome<ExitCode> {
    options.check()?;
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
        has_told_steady: false,
        interval_ns: (options.throughput > 0.0).then(|| 1e9 / options.throughput),
        reporting: Duration::from_millis(options.reporting_interval.unsigned_abs()),
        warmup: u64::try_from(options.warmup_records).unwrap_or(0),
        failed: 0,
        told: BTreeSet::new(),
    };
    test.run(options.num_records.unsigned_abs(), &mut payload)?;
    Ok(if test.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Test {
    fn run(&mut self, records: u64, payload: &mut Payload) -> Outcome<()> {
        let mut sent = 0;
        let bytes_max = payload.bytes_max();
        while sent < records || !self.sending.is_idle() {
            let now = clock::now().0;
            let mut pushed = 0;
            let mut next = Moment::NEVER;
            while sent < records {
                let intended = self.intended(sent, now);
                let is_full = !self.sending.has_room(bytes_max);
                if intended > now || is_full || pushed == PUSHED_AT_ONCE {
                    next = if is_full { Moment::NEVER } else { intended };
                    break;
                }
                let value = payload.next();
                let mark = (sent, intended, value.len() as u64);
                let timestamp = clock::now().1.0;
                let item = Item { key: None, value, headers: &[], timestamp, mark };
                self.sending.push(item, now)?;
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
            if self.warmup > 0 && number >= self.warmup {
                if self.steady.is_none() {
                    self.steady = Some(Stats::new(intended)?);
                    self.window = Stats::new(now)?;
                }
                if let Some(steady) = &mut self.steady {
                    steady.add(ns, bytes);
                }
            }
            self.all.add(ns, bytes);
            self.window.add(ns, bytes);
        }
        Ok(())
    }

    fn report(&mut self) -> Outcome<()> {
        let now = clock::now().0;
        if now >= self.window.began + self.reporting {
            if self.steady.is_some() && !std::mem::replace(&mut self.has_told_steady, true) {
                println!("In steady state.");
            }
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
    fn each_record_has_letters_of_its_own() {
        let mut payload = Payload::Letters(vec![0; 100], Rng::with_seed(0));
        let [first, second] = [0, 1].map(|_| payload.next().to_vec());
        assert!(first != second && first.len() == 100);
        let mut seen: Vec<_> = first.into_iter().chain(second).collect();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 20 && seen.iter().all(u8::is_ascii_uppercase), "{seen:?}");
    }

    #[test]
    fn a_file_is_split_as_java_splits() {
        let of = |text, delimiter| split(text, delimiter).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(of("one\ntwo\n\nthree\n\n", "\\n"), [3, 3, 0, 5]);
        assert_eq!(of("a;bc", ";"), [1, 2]);
        assert!(of("", "\\n").is_empty());
    }

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
