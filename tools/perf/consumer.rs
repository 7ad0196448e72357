//! `klamm consumer-perf-test` (kafka-consumer-perf-test.sh): how fast records are read.
//!
//! When no record comes for the time-out, a warning ends it, and the exit code is 0 as Kafka's is; unless
//! no broker can be reached then, which is an error here.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use klamm::base::{Moment, WallMs};
use klamm::client::blocking::Client;
use klamm::client::records::FetchedBatch;
use klamm::client::{ConnectionOptions, Endpoint};
use klamm::runtime::clock;

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::console_consumer::consumer::{Consumer, GroupEvent};

/// One line of help.
pub(crate) const ABOUT: &str = "Measure how fast records are read";

const MB: f64 = 1024.0 * 1024.0;
/// How long a broker may take to say that it is there.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
const COLUMNS: &str = "data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, \
                       rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec";

#[derive(Debug, Parser)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Options {
    /// REQUIRED: brokers to begin with
    #[arg(long, value_name = "HOST:PORT,...")]
    bootstrap_server: Option<String>,
    /// The topic to read
    #[arg(long)]
    topic: Option<String>,
    /// Topics to read, as a regular expression
    #[arg(long, value_name = "REGEX")]
    include: Option<String>,
    /// REQUIRED: number of records to read
    #[arg(long)]
    num_records: Option<u64>,
    /// Its old name
    #[arg(long)]
    messages: Option<u64>,
    /// The group; one of its own by default
    #[arg(long)]
    group: Option<String>,
    /// Bytes of a partition in one fetch
    #[arg(long, default_value_t = 1_048_576)]
    fetch_size: u32,
    /// Begin with the latest record, not with the earliest
    #[arg(long)]
    from_latest: bool,
    /// No effect: the system sizes the buffers
    #[arg(long)]
    socket_buffer_size: Option<u64>,
    /// End when no record has come for so long
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    timeout: u64,
    /// How times are written, with the letters y M d H m s S
    #[arg(long, default_value = "yyyy-MM-dd HH:mm:ss:SSS")]
    date_format: String,
    /// Milliseconds between two lines with --show-detailed-stats
    #[arg(long, default_value_t = 5000)]
    reporting_interval: u64,
    /// A line for each interval
    #[arg(long)]
    show_detailed_stats: bool,
    /// No line with the names of the columns
    #[arg(long)]
    hide_header: bool,
    /// Not offered: this client keeps no such metrics
    #[arg(long)]
    print_metrics: bool,
    /// A consumer property
    #[arg(long, value_name = "KEY=VALUE")]
    command_property: Vec<String>,
    /// Property file of the consumer; what is a flag here wins over properties
    #[arg(long, value_name = "FILE")]
    command_config: Option<String>,
    /// Its old name
    #[arg(long = "consumer.config", value_name = "FILE")]
    consumer_config: Option<String>,
}

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    super::run(("consumer-perf-test", ABOUT), args, |options: Options| act(&options))
}

impl Options {
    /// Number of records, when all goes together; in Kafka's words where it does not, or an old name is
    /// used.
    fn check(&self) -> Outcome<u64> {
        cli::required(self.bootstrap_server.as_ref(), "bootstrap-server")?;
        cli::one_of([("topic", self.topic.is_some()), ("include", self.include.is_some())])?;
        let (old, new) = (self.messages, self.num_records);
        cli::one_of([("messages", old.is_some()), ("num-records", new.is_some())])?;
        let is_old = self.consumer_config.is_some();
        let other = ("command-config", self.command_config.is_some());
        cli::exclude(("consumer.config", is_old), &[other])?;
        for (name, is_used, new) in [
            ("messages", old.is_some(), "num-records"),
            ("consumer.config", is_old, "command-config"),
        ] {
            if is_used {
                println!("Warning: --{name} is deprecated. Use --{new} instead.");
            }
        }
        cli::required(new.or(old), "num-records")
    }

    /// As arguments of the console consumer.
    fn words(&self) -> Outcome<Vec<String>> {
        let bootstrap = cli::required(self.bootstrap_server.clone(), "bootstrap-server")?;
        let mut words = vec!["--bootstrap-server".to_owned(), bootstrap];
        let given = [("--topic", &self.topic), ("--include", &self.include)];
        let configs = [&self.command_config, &self.consumer_config];
        let given = given.into_iter().chain(configs.map(|file| ("--command-config", file)));
        for (flag, value) in given {
            words.extend(value.iter().flat_map(|v| [flag.to_owned(), v.clone()]));
        }
        let group = format!("perf-consumer-{}", clock::now().0.0 % 100_000);
        words.extend(["--group".to_owned(), self.group.clone().unwrap_or(group)]);
        let reset = if self.from_latest { "latest" } else { "earliest" };
        let own = [
            format!("max.partition.fetch.bytes={}", self.fetch_size),
            format!("auto.offset.reset={reset}"),
        ];
        for property in self.command_property.iter().chain(&own) {
            words.extend(["--command-property".to_owned(), property.clone()]);
        }
        Ok(words)
    }
}

/// What was read since some moment.
#[derive(Debug, Clone, Copy)]
struct Part {
    began: Moment,
    records: u64,
    bytes: u64,
    rebalance: Duration,
}

struct Test<'a> {
    options: &'a Options,
    consumer: Consumer,
    all: Part,
    part: Part,
    /// Since when no partition is assigned.
    waits_since: Option<Moment>,
    last_read: Moment,
}

fn act(options: &Options) -> Outcome<ExitCode> {
    let wanted = options.check()?;
    let consumer = super::consumer(&options.words()?)?;
    if options.print_metrics {
        eprintln!("--print-metrics: this client keeps no such metrics");
    }
    if !options.hide_header {
        let first =
            if options.show_detailed_stats { "time, threadId" } else { "start.time, end.time" };
        println!("{first}, {COLUMNS}");
    }
    if options.reporting_interval == 0 {
        return Err(ToolError::Failed("Reporting interval must be greater than 0.".to_owned()));
    }
    let (now, wall) = clock::now();
    let part = Part { began: now, records: 0, bytes: 0, rebalance: Duration::ZERO };
    let waits_since = Some(now);
    let mut test = Test { options, consumer, all: part, part, waits_since, last_read: now };
    let is_complete = test.run(wanted)?;
    if !is_complete {
        println!(
            "WARNING: Exiting before consuming the expected number of records: timeout ({} ms) \
             exceeded. You can use the --timeout option to increase the timeout.",
            options.timeout
        );
    }
    if !options.show_detailed_stats {
        let end = WallMs(wall.0 + test.last_read.since(now).as_millis() as i64);
        let format = &options.date_format;
        let times = format!("{}, {}", date(wall, format), date(end, format));
        println!("{times}, {}", row(&test.all, &test.all, test.last_read));
    }
    if !is_complete {
        let bootstrap = options.bootstrap_server.as_deref().unwrap_or_default();
        let bootstrap = Endpoint::parse_list(bootstrap)?;
        Client::connect(bootstrap, ConnectionOptions::default(), PROBE_TIMEOUT)?;
    }
    test.consumer.close();
    Ok(ExitCode::SUCCESS)
}

impl Test<'_> {
    /// Reads until `wanted` records are there, or none came for the time-out.
    fn run(&mut self, wanted: u64) -> Outcome<bool> {
        let timeout = Duration::from_millis(self.options.timeout);
        let every = Duration::from_millis(self.options.reporting_interval);
        let mut idle_since = clock::now().0;
        while self.all.records < wanted {
            let reported_at = self.part.began + every;
            let until = (idle_since + timeout).min(reported_at);
            // The consumer's clock has a start of its own.
            let left = until.since(clock::now().0);
            let until = self.consumer.now() + left;
            let batches = self.consumer.poll(Some(until), &[])?;
            let now = clock::now().0;
            self.note_events(now);
            for batch in &batches {
                self.add(batch, wanted, now);
                idle_since = now;
            }
            if now >= reported_at {
                self.report(now);
            }
            if now >= idle_since + timeout {
                self.last_read = now;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn note_events(&mut self, now: Moment) {
        for event in self.consumer.take_events() {
            match event {
                GroupEvent::Assigned(_) => {
                    let since = self.waits_since.take().unwrap_or(now);
                    self.all.rebalance += now.since(since);
                    self.part.rebalance += now.since(since.max(self.part.began));
                }
                GroupEvent::Revoked(_) => self.waits_since = Some(now),
                GroupEvent::Committed(..) => {}
            }
        }
    }

    fn add(&mut self, batch: &FetchedBatch, wanted: u64, now: Moment) {
        for record in batch.records().filter_map(Result::ok) {
            if self.all.records == wanted {
                return;
            }
            let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len) as u64;
            let bytes = len(record.record.key) + len(record.record.value);
            for part in [&mut self.all, &mut self.part] {
                part.records += 1;
                part.bytes += bytes;
            }
            self.last_read = now;
            self.consumer.consumed(batch, record.offset);
        }
    }

    fn report(&mut self, now: Moment) {
        if self.options.show_detailed_stats {
            let time = date(clock::now().1, &self.options.date_format);
            println!("{time}, 0, {}", row(&self.all, &self.part, now));
        }
        self.part = Part { began: now, records: 0, bytes: 0, rebalance: Duration::ZERO };
    }
}

/// Totals of `all`, rates of `part`.
fn row(all: &Part, part: &Part, now: Moment) -> String {
    let took = now.since(part.began);
    let fetching = took.saturating_sub(part.rebalance);
    let per = |amount: f64, time: Duration| {
        let seconds = time.as_secs_f64();
        if seconds > 0.0 { amount / seconds } else { 0.0 }
    };
    let (mb, records) = (part.bytes as f64 / MB, part.records as f64);
    format!(
        "{:.4}, {:.4}, {}, {:.4}, {}, {}, {:.4}, {:.4}",
        all.bytes as f64 / MB,
        per(mb, took),
        all.records,
        per(records, took),
        part.rebalance.as_millis(),
        fetching.as_millis(),
        per(mb, fetching),
        per(records, fetching)
    )
}

/// A local time in a format of Java's letters y M d H m s S; what is no letter stays.
fn date(at: WallMs, format: &str) -> String {
    let seconds: libc::time_t = at.0.div_euclid(1000);
    // SAFETY: both pointers are to live values, and the call writes only the second.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const seconds, &raw mut tm);
        tm
    };
    let mut out = String::new();
    let mut rest = format.chars().peekable();
    while let Some(letter) = rest.next() {
        let mut width = 1;
        while rest.next_if_eq(&letter).is_some() {
            width += 1;
        }
        let value = match letter {
            'y' => i64::from(tm.tm_year) + 1900,
            'M' => i64::from(tm.tm_mon) + 1,
            'd' => i64::from(tm.tm_mday),
            'H' => i64::from(tm.tm_hour),
            'm' => i64::from(tm.tm_min),
            's' => i64::from(tm.tm_sec),
            'S' => at.0.rem_euclid(1000),
            other => {
                out.extend(std::iter::repeat_n(other, width));
                continue;
            }
        };
        // Writing to a string does not fail.
        let _ = write!(out, "{value:0width$}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_is_kafkas() {
        let part = Part {
            began: Moment(0),
            records: 1_000_000,
            bytes: 1_000_000_000,
            rebalance: Duration::from_millis(3021),
        };
        let now = Moment(10_000_000_000);
        let wants = "953.6743, 95.3674, 1000000, 100000.0000, 3021, 6979, 136.6491, 143287.0039";
        assert_eq!(row(&part, &part, now), wants);
    }

    #[test]
    fn a_date_follows_its_format() {
        let text = date(WallMs(1_700_000_000_123), "yyyy-MM-dd HH:mm:ss:SSS");
        assert_eq!((text.len(), &text[..4], &text[19..]), (23, "2023", ":123"));
        assert_eq!(date(WallMs(7), "SSS|S"), "007|7");
    }
}
