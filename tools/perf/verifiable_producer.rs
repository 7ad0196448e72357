//! `klamm verifiable-producer` (kafka-verifiable-producer.sh): increasing numbers to a topic, and a JSON
//! line for each that says what became of it.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use klamm::base::Moment;
use klamm::runtime::clock;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::tools::cli::{Outcome, ToolError};
use crate::tools::kafka_text;
use crate::tools::perf::json::{Nothing, tell};
use crate::tools::perf::sending::{Item, Over, Sending, producer_options};
use crate::tools::properties::Properties;

/// One line of help.
pub(crate) const ABOUT: &str = "Send numbers to a topic, and tell of each as JSON";

/// A signal is seen within this time.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const PUSHED_AT_ONCE: u64 = 512;

#[derive(Debug, Parser)]
struct Options {
    /// REQUIRED: brokers to begin with
    #[arg(long, required = true, value_name = "HOST:PORT,...")]
    bootstrap_server: String,
    /// Topic to send to
    #[arg(long, required = true)]
    topic: String,
    /// Number of messages; -1 for no end
    #[arg(long, default_value_t = -1)]
    max_messages: i64,
    /// Messages each second; -1 for as many as go
    #[arg(long, default_value_t = -1)]
    throughput: i64,
    /// -1, 1 or 0
    #[arg(long, default_value = "-1")]
    acks: String,
    /// Property file of the producer
    #[arg(long = "producer.config", value_name = "FILE")]
    producer_config: Option<String>,
    /// Property file of the producer
    #[arg(long, value_name = "FILE")]
    command_config: Option<String>,
    /// Timestamp of the first message, which the others go on from; milliseconds since 1970
    #[arg(long, default_value_t = -1)]
    message_create_time: i64,
    /// Comes before each number, with a dot between
    #[arg(long)]
    value_prefix: Option<i64>,
    /// Keys count from 0 up to this, over and over
    #[arg(long)]
    repeating_keys: Option<u64>,
}

#[derive(Serialize)]
struct Success<'a> {
    key: Option<&'a str>,
    value: &'a str,
    partition: i32,
    offset: i64,
    topic: &'a str,
}

#[derive(Serialize)]
struct Failure<'a> {
    exception: String,
    message: String,
    topic: &'a str,
    key: Option<&'a str>,
    value: &'a str,
}

#[derive(Serialize)]
struct ToolData {
    sent: u64,
    acked: u64,
    target_throughput: i64,
    avg_throughput: f64,
}

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    super::run(("verifiable-producer", ABOUT), args, |options: Options| act(&options))
}

type Mark = (Option<String>, String);

struct Producing<'a> {
    options: &'a Options,
    sending: Sending<Mark>,
    sent: u64,
    acked: u64,
}

fn act(options: &Options) -> Outcome<ExitCode> {
    if options.throughput == 0 {
        return Err(ToolError::Failed("--throughput 0 sends nothing; -1 has no limit".to_owned()));
    }
    let are_given = [options.producer_config.is_some(), options.command_config.is_some()];
    super::one_config("producer.config", are_given)?;
    let config = options.command_config.as_deref().or(options.producer_config.as_deref());
    // As with Kafka's, where the file wins, and nothing is sent twice unless it says so.
    let mut properties = Properties::default();
    properties.set("bootstrap.servers", &options.bootstrap_server);
    properties.set("acks", &options.acks);
    properties.set("retries", "0");
    properties.extend(Properties::read(config, &[])?);
    let bootstrap = properties.get("bootstrap.servers").unwrap_or_default();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let set = signal_hook::flag::register(signal, Arc::clone(&stop));
        set.map_err(|e| ToolError::Failed(format!("signals: {e}")))?;
    }
    tell("startup_complete", Nothing {})?;
    let began = clock::now().0;
    let settings = ("verifiable-producer", producer_options(&properties)?);
    let topic = &options.topic;
    let sending = Sending::connect(bootstrap, topic, &properties, settings)?;
    let mut producing = Producing { options, sending, sent: 0, acked: 0 };
    producing.run(&stop)?;
    tell("shutdown_complete", Nothing {})?;
    let seconds = clock::now().0.since(began).as_secs_f64().max(1e-3);
    let (sent, acked) = (producing.sent, producing.acked);
    tell(
        "tool_data",
        ToolData {
            sent,
            acked,
            target_throughput: options.throughput,
            avg_throughput: acked as f64 / seconds,
        },
    )?;
    Ok(if sent == acked { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Producing<'_> {
    fn run(&mut self, stop: &AtomicBool) -> Outcome<()> {
        let (began, wall) = clock::now();
        let max = u64::try_from(self.options.max_messages).unwrap_or(u64::MAX);
        loop {
            let now = clock::now().0;
            let is_over = self.sent >= max || stop.load(Ordering::Relaxed);
            if is_over && self.sending.is_idle() {
                return Ok(());
            }
            let mut next = now + LOOK_EVERY;
            let mut pushed = 0;
            while !is_over && self.sent < max && pushed < PUSHED_AT_ONCE {
                let due = self.due(began, now);
                if due > now || !self.sending.has_room(64) {
                    next = next.min(due.max(now));
                    break;
                }
                self.push(wall.0, now.since(began).as_millis() as i64, now)?;
                pushed += 1;
            }
            if is_over || self.sent >= max {
                self.sending.flush();
            }
            let until = if pushed == PUSHED_AT_ONCE { now } else { next };
            let over: Vec<_> = self.sending.turn(until)?.collect();
            for record in over {
                self.end(&record)?;
            }
        }
    }

    fn due(&self, began: Moment, now: Moment) -> Moment {
        let each = self.options.throughput;
        if each <= 0 {
            return now;
        }
        Moment(began.0 + (self.sent as f64 * 1e9 / each as f64) as u64)
    }

    fn push(&mut self, wall: i64, passed_ms: i64, now: Moment) -> Outcome<()> {
        let number = self.sent;
        let value = match self.options.value_prefix {
            Some(prefix) => format!("{prefix}.{number}"),
            None => number.to_string(),
        };
        let key = self.options.repeating_keys.filter(|n| *n > 0).map(|n| (number % n).to_string());
        let first = self.options.message_create_time;
        let timestamp = if first < 0 { wall + passed_ms } else { first + passed_ms };
        let (key_bytes, value_bytes) = (key.clone(), value.clone());
        let item = Item {
            key: key_bytes.as_deref().map(str::as_bytes),
            value: value_bytes.as_bytes(),
            headers: &[],
            timestamp,
            mark: (key, value),
        };
        self.sending.push(item, now)?;
        self.sent += 1;
        Ok(())
    }

    fn end(&mut self, over: &Over<Mark>) -> Outcome<()> {
        let (key, value) = &over.mark;
        let (key, topic) = (key.as_deref(), self.options.topic.as_str());
        match &over.result {
            Ok(offset) => {
                self.acked += 1;
                let (partition, offset) = (over.partition, offset.0);
                tell("producer_send_success", Success { key, value, partition, offset, topic })
            }
            Err(e) => {
                let text = kafka_text::message(e);
                let (exception, message) =
                    text.split_once(": ").unwrap_or(("KafkaException", &text));
                let (exception, message) = (format!("class {exception}"), message.to_owned());
                tell("producer_send_error", Failure { exception, message, topic, key, value })
            }
        }
    }
}
