//! `klamm e2e-latency` (kafka-e2e-latency.sh): one record at a time, from the producer to a consumer.
//!
//! The lines are Kafka's, whose percentiles are whole milliseconds; one more, on the standard error,
//! has them in microseconds.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use fastrand::Rng;
use hdrhistogram::Histogram;
use klamm::base::Moment;
use klamm::client::admin::NewTopic;
use klamm::client::blocking::Client;
use klamm::client::fetcher::{Fetched, Fetcher, FetcherOptions, LATEST, Position};
use klamm::client::{Cluster, Endpoint, PartitionName};
use klamm::runtime::clock;

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::load::ring::{Done, Ring};
use crate::tools::load::setup;
use crate::tools::perf::sending::{Item, Sending, producer_options};
use crate::tools::properties::Properties;
use crate::tools::session::{connection_options, refuse_security};

/// One line of help.
pub(crate) const ABOUT: &str = "Measure the time from a producer to a consumer";

const TIMEOUT: Duration = Duration::from_mins(1);
const BACKOFF: Duration = Duration::from_millis(100);
const METADATA_AGE: Duration = Duration::from_mins(5);
const TOLD_EVERY: i64 = 1000;
const CLUSTER: u32 = 0;
const FETCHER: u32 = 1;

#[derive(Debug, Parser)]
struct Options {
    /// REQUIRED: brokers to begin with
    #[arg(long, value_name = "HOST:PORT,...")]
    bootstrap_server: Option<String>,
    /// REQUIRED: topic to use
    #[arg(long)]
    topic: Option<String>,
    /// REQUIRED: number of records
    #[arg(long)]
    num_records: Option<i64>,
    /// REQUIRED: 1 or all
    #[arg(long)]
    producer_acks: Option<String>,
    /// REQUIRED: bytes of a record's value
    #[arg(long)]
    record_size: Option<i32>,
    /// Bytes of a record's key; 0 for no key
    #[arg(long, default_value_t = 0)]
    record_key_size: i32,
    /// Headers of each record
    #[arg(long, default_value_t = 0)]
    num_headers: i32,
    /// Bytes of a header's key
    #[arg(long, default_value_t = 0)]
    record_header_key_size: i32,
    /// Bytes of a header's value; -1 for a null
    #[arg(long, default_value_t = 0)]
    record_header_size: i32,
    /// Property file of both clients
    #[arg(long, value_name = "FILE")]
    command_config: Option<String>,
    /// The old form: BOOTSTRAP TOPIC RECORDS ACKS BYTES [FILE]
    #[arg(hide = true)]
    positions: Vec<String>,
}

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    super::run(("e2e-latency", ABOUT), args, |options: Options| act(&options.named()?))
}

impl Options {
    /// The old form as the new one.
    fn named(self) -> Outcome<Self> {
        if self.positions.is_empty() {
            return Ok(self);
        }
        if let Some(flag) = self.positions.iter().find_map(|word| word.strip_prefix("--")) {
            return Err(ToolError::Usage(format!("{flag} is not a recognized option")));
        }
        let (5 | 6, positions) = (self.positions.len(), self.positions.as_slice()) else {
            return Err(ToolError::Failed(format!(
                "Invalid number of arguments. Expected 5 or 6 positional arguments, but got {}. \
                 Usage: bootstrap-server topic num-records producer-acks record-size [optional] \
                 command-config",
                self.positions.len()
            )));
        };
        println!(
            "WARNING: Positional argument usage is deprecated and will be removed in Apache Kafka \
             5.0. Please use named arguments instead: --bootstrap-server, --topic, --num-records, \
             --producer-acks, --record-size, --command-config"
        );
        let bad = |what: &str| ToolError::Failed(format!("'{what}' is not a number"));
        Ok(Self {
            bootstrap_server: Some(positions[0].clone()),
            topic: Some(positions[1].clone()),
            num_records: Some(positions[2].parse().map_err(|_| bad(&positions[2]))?),
            producer_acks: Some(positions[3].clone()),
            record_size: Some(positions[4].parse().map_err(|_| bad(&positions[4]))?),
            command_config: positions.get(5).cloned(),
            positions: Vec::new(),
            ..self
        })
    }

    /// Refuses numbers out of their ranges, by Kafka's words.
    fn sizes(&self) -> Outcome<Sizes> {
        let value = cli::required(self.record_size, "record-size")?;
        let range = |name: &str, what: &str| {
            ToolError::Usage(format!("Value for --{name} must be {what}."))
        };
        let size = |name: &str, n: i32| {
            usize::try_from(n).map_err(|_| range(name, "a non-negative integer"))
        };
        let header = match self.record_header_size {
            -1 => None,
            n => {
                let what = "a non-negative integer or -1 for null header value";
                Some(usize::try_from(n).map_err(|_| range("record-header-size", what))?)
            }
        };
        Ok(Sizes {
            value: size("record-size", value)?,
            key: size("record-key-size", self.record_key_size)?,
            headers: size("num-headers", self.num_headers)?,
            header_key: size("record-header-key-size", self.record_header_key_size)?,
            header,
        })
    }
}

/// Bytes of the parts of a record.
struct Sizes {
    value: usize,
    /// 0 for no key.
    key: usize,
    /// Number of headers.
    headers: usize,
    header_key: usize,
    /// `None` for a null.
    header: Option<usize>,
}

/// A record of random letters.
struct Letters {
    key: Option<String>,
    value: String,
    headers: Vec<(String, Option<String>)>,
}

impl Letters {
    fn draw(sizes: &Sizes, rng: &mut Rng) -> Self {
        let mut draw = |size: usize| (0..size).map(|_| char::from(rng.u8(b'A'..=b'Z'))).collect();
        Self {
            key: (sizes.key > 0).then(|| draw(sizes.key)),
            value: draw(sizes.value),
            headers: (0..sizes.headers)
                .map(|_| (draw(sizes.header_key), sizes.header.map(&mut draw)))
                .collect(),
        }
    }
}

/// A consumer of all partitions of one topic, from their ends on.
struct Reading {
    ring: Ring,
    cluster: Cluster,
    fetcher: Fetcher,
    topic: String,
    answers: Vec<Done>,
}

impl Reading {
    fn connect(bootstrap: &str, topic: &str, properties: &Properties) -> Outcome<Self> {
        let connection = connection_options(properties, "e2e-latency");
        let mut cluster = Cluster::new(false, METADATA_AGE, BACKOFF);
        cluster.want(topic);
        let ring = Ring::new(Endpoint::parse_list(bootstrap)?, connection);
        let mut reading = Self {
            ring: ring.map_err(|e| ToolError::Failed(e.to_string()))?,
            cluster,
            fetcher: Fetcher::new(FetcherOptions::default()),
            topic: topic.to_owned(),
            answers: Vec::new(),
        };
        let until = clock::now().0 + TIMEOUT;
        while !reading.is_ready() {
            reading.turn(until)?;
            if clock::now().0 >= until {
                return Err(ToolError::Failed(format!("topic {topic} cannot be read")));
            }
        }
        Ok(reading)
    }

    fn is_ready(&self) -> bool {
        let position = |p| self.fetcher.position(p);
        let mut assigned = self.fetcher.assigned().peekable();
        assigned.peek().is_some() && assigned.all(|p| matches!(position(p), Some(Position::At(_))))
    }

    /// Sends, waits until something comes or `until`, and returns the values that came.
    fn turn(&mut self, until: Moment) -> Outcome<Vec<Vec<u8>>> {
        let now = clock::now().0;
        let mut out = Vec::new();
        self.cluster.poll(now, &mut out);
        for outgoing in out.drain(..) {
            self.ring.submit(CLUSTER, outgoing, now);
        }
        self.fetcher.poll(&mut self.cluster, now, &mut out);
        for outgoing in out {
            self.ring.submit(FETCHER, outgoing, now);
        }
        let until = until.min(self.fetcher.deadline(now)).min(self.cluster.deadline());
        let turned = self.ring.turn(now, until, &mut self.answers);
        turned.map_err(|e| ToolError::Failed(e.to_string()))?;
        let now = clock::now().0;
        let mut fetched = Vec::new();
        for Done { lane, id, result } in self.answers.drain(..) {
            let cluster = &mut self.cluster;
            let read = match lane {
                CLUSTER => cluster.on_answer(id, result, now),
                _ => self.fetcher.on_answer(id, result, cluster, now, &mut fetched),
            };
            match read {
                Err(e) if !e.is_retriable() => return Err(e.into()),
                _ => {}
            }
            for (&node, broker) in self.cluster.brokers() {
                self.ring.learn(node, &broker.endpoint);
            }
            let partitions = self.cluster.topic(&self.topic).map_or(0, |t| t.partitions.len());
            for partition in self.fetcher.assigned().count()..partitions {
                let name = PartitionName::new(&self.topic, partition as i32);
                self.fetcher.assign(name, Position::Time(LATEST));
            }
        }
        let mut values = Vec::new();
        for found in fetched {
            match found {
                Fetched::Failed { error, .. } => return Err(error.into()),
                Fetched::Batch(batch) => {
                    let records = batch.records().filter_map(Result::ok);
                    values.extend(records.filter_map(|r| Some(r.record.value?.to_vec())));
                }
            }
        }
        Ok(values)
    }
}

fn act(options: &Options) -> Outcome<ExitCode> {
    let bootstrap = cli::required(options.bootstrap_server.as_ref(), "bootstrap-server")?;
    let topic = cli::required(options.topic.as_ref(), "topic")?;
    let records = cli::required(options.num_records, "num-records")?;
    let acks = cli::required(options.producer_acks.as_deref(), "producer-acks")?;
    let sizes = options.sizes()?;
    if records <= 0 {
        let what = "Value for --num-records must be a positive integer.";
        return Err(ToolError::Usage(what.to_owned()));
    }
    if !["1", "all"].contains(&acks) {
        let what = "Invalid value for --producer-acks. Latency testing requires synchronous \
                    acknowledgement. Please use '1' or 'all'.";
        return Err(ToolError::Usage(what.to_owned()));
    }
    let mut properties = Properties::read(options.command_config.as_deref(), &[])?;
    refuse_security(&properties)?;
    make_topic(bootstrap, topic, &properties)?;
    properties.set("acks", acks);
    properties.set("linger.ms", "0");
    let settings = ("e2e-latency", producer_options(&properties)?);
    let mut sending = Sending::<()>::connect(bootstrap, topic, &properties, settings)?;
    let mut reading = Reading::connect(bootstrap, topic, &properties)?;
    let mut latency = Histogram::<u64>::new(3).map_err(|e| ToolError::Failed(e.to_string()))?;
    let mut rng = Rng::new();
    let mut sum = 0.0;
    let mut failure = None;
    for at in 0..records {
        let letters = Letters::draw(&sizes, &mut rng);
        let ns = match one(&mut sending, &mut reading, &letters) {
            Ok(ns) => ns,
            Err(e) => {
                failure = Some(e);
                break;
            }
        };
        if at % TOLD_EVERY == 0 {
            println!("{at}\t{}", ns as f64 / 1e6);
        }
        sum += ns as f64;
        let _ = latency.record(ns);
    }
    // Also what was measured before a failure.
    if !latency.is_empty() {
        summary(&latency, sum);
    }
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Makes the topic when it is missing.
fn make_topic(bootstrap: &str, topic: &str, properties: &Properties) -> Outcome<()> {
    let options = connection_options(properties, "e2e-latency");
    let mut client = Client::connect(Endpoint::parse_list(bootstrap)?, options, TIMEOUT)?;
    if setup::exists(&mut client, topic)? {
        return Ok(());
    }
    println!(
        "Topic \"{topic}\" does not exist. Will create topic with 1 partition(s) and replication \
         factor = 1"
    );
    let topic = NewTopic {
        name: topic.to_owned(),
        partitions: Some(1),
        replication_factor: Some(1),
        ..NewTopic::default()
    };
    setup::create(&mut client, &topic)
}

fn summary(latency: &Histogram<u64>, sum_ns: f64) {
    println!("Avg latency: {:.4} ms", sum_ns / latency.len() as f64 / 1e6);
    let at = |q| latency.value_at_quantile(q);
    let ms = |q| at(q) / 1_000_000;
    println!("Percentiles: 50th = {}, 99th = {}, 99.9th = {}", ms(0.5), ms(0.99), ms(0.999));
    let us = |q| at(q) / 1000;
    let (p50, p99, p999) = (us(0.5), us(0.99), us(0.999));
    eprintln!("Percentiles in us: 50th = {p50}, 99th = {p99}, 99.9th = {p999}");
}

/// Sends one record and waits until it is read; how long that took, in nanoseconds.
fn one(sending: &mut Sending<()>, reading: &mut Reading, letters: &Letters) -> Outcome<u64> {
    let headers: Vec<_> = letters
        .headers
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_deref().map(str::as_bytes)))
        .collect();
    let (key, value) = (letters.key.as_deref().map(str::as_bytes), letters.value.as_bytes());
    // The fetch is at the broker before the record is.
    reading.turn(clock::now().0)?;
    let (began, wall) = clock::now();
    let item = Item { key, value, headers: &headers, timestamp: wall.0, mark: () };
    sending.push(item, began)?;
    sending.flush();
    let until = began + TIMEOUT;
    // It fails by itself after delivery.timeout.ms.
    while !sending.is_idle() {
        for over in sending.turn(Moment::NEVER)? {
            over.result?;
        }
    }
    loop {
        if reading.turn(until)?.iter().any(|read| read == value) {
            return Ok(clock::now().0.since(began).as_nanos() as u64);
        }
        if clock::now().0 >= until {
            return Err(ToolError::Failed("the record was not read within 60 s".to_owned()));
        }
    }
}
