//! Flags of `klamm console-producer`, and the producer they amount to.

use std::time::Duration;

use clap::{ArgAction, Parser};

use klamm::client::Endpoint;
use klamm::client::blocking::Clock;
use klamm::client::producer::ProducerOptions;
use klamm::wire::codec::Codec;

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::properties::Properties;
use crate::tools::session::refuse_security;

#[derive(Debug, Clone, Parser)]
pub(super) struct Options {
    /// REQUIRED: brokers to begin with
    #[arg(long, value_name = "HOST:PORT,...", alias = "broker-list")]
    bootstrap_server: Option<String>,
    /// REQUIRED: the topic to produce to
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// A property of the line reader: parse.key, key.separator, parse.headers, headers.delimiter,
    /// headers.separator, headers.key.separator, null.marker, ignore.error
    #[arg(long, alias = "property", value_name = "KEY=VALUE", action = ArgAction::Append)]
    reader_property: Vec<String>,
    /// Property file of the line reader
    #[arg(long, value_name = "FILE")]
    reader_config: Option<String>,
    /// A producer property: acks, batch.size, client.id, compression.type, linger.ms, ...
    #[arg(long, alias = "producer-property", value_name = "KEY=VALUE", action = ArgAction::Append)]
    command_property: Vec<String>,
    /// Producer property file
    #[arg(long, alias = "producer.config", value_name = "FILE")]
    command_config: Option<String>,
    /// Send each line by itself and wait for it
    #[arg(long)]
    pub(super) sync: bool,
    /// none, gzip, snappy, lz4 or zstd; gzip without a value
    #[arg(long, value_name = "CODEC", num_args = 0..=1, default_missing_value = "gzip")]
    compression_codec: Option<String>,
    /// acks: -1 (all), 1 or 0 [default: -1]
    #[arg(long, alias = "acks", value_name = "ACKS")]
    request_required_acks: Option<String>,
    /// batch.size [default: 16384]
    #[arg(long, alias = "max-partition-memory-bytes", value_name = "BYTES")]
    batch_size: Option<usize>,
    /// linger.ms: how long a line may wait for more [default: 1000]
    #[arg(long, value_name = "MS")]
    timeout: Option<u64>,
    /// request.timeout.ms [default: 1500]
    #[arg(long, value_name = "MS")]
    request_timeout_ms: Option<u64>,
    /// retries [default: 3]
    #[arg(long, value_name = "N")]
    message_send_max_retries: Option<u32>,
    /// retry.backoff.ms [default: 100]
    #[arg(long, value_name = "MS")]
    retry_backoff_ms: Option<u64>,
    /// buffer.memory [default: 33554432]
    #[arg(long, value_name = "BYTES")]
    max_memory_bytes: Option<usize>,
    /// max.block.ms: how long to wait for the topic's metadata [default: 60000]
    #[arg(long, value_name = "MS")]
    max_block_ms: Option<u64>,
    /// metadata.max.age.ms [default: 300000]
    #[arg(long, value_name = "MS")]
    metadata_expiry_ms: Option<u64>,
    /// Accepted and not heeded: the kernel sizes the buffer
    #[arg(long, value_name = "BYTES")]
    socket_buffer_size: Option<u32>,
    /// The line reader's class: only Kafka's own, org.apache.kafka.tools.LineMessageReader
    #[arg(long, value_name = "CLASS")]
    line_reader: Option<String>,
}

/// What the flags and properties amount to.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) bootstrap: Vec<Endpoint>,
    pub(super) topic: String,
    pub(super) reader: Properties,
    pub(super) properties: Properties,
    pub(super) producer: ProducerOptions,
    pub(super) max_block: Duration,
    pub(super) metadata_age: Duration,
}

impl Options {
    pub(super) fn config(&self) -> Outcome<Config> {
        let topic = cli::required(self.topic.clone(), "topic")?;
        let bootstrap = cli::required(self.bootstrap_server.as_deref(), "bootstrap-server")?;
        let properties = Properties::read(self.command_config.as_deref(), &self.command_property)?;
        refuse_security(&properties)?;
        if self.line_reader.as_ref().is_some_and(|class| !class.ends_with("LineMessageReader")) {
            let text = "--line-reader takes Kafka's own LineMessageReader only";
            return Err(ToolError::Failed(text.to_owned()));
        }
        Ok(Config {
            bootstrap: Endpoint::parse_list(bootstrap)?,
            topic,
            reader: Properties::read(self.reader_config.as_deref(), &self.reader_property)?,
            producer: self.producer(&properties)?,
            max_block: ms(&properties, self.max_block_ms, "max.block.ms", 60_000)?,
            metadata_age: ms(&properties, self.metadata_expiry_ms, "metadata.max.age.ms", 300_000)?,
            properties,
        })
    }

    fn producer(&self, properties: &Properties) -> Outcome<ProducerOptions> {
        let acks = self.request_required_acks.as_deref().or(properties.get("acks"));
        let acks = match acks.unwrap_or("-1").trim() {
            "all" | "-1" => -1,
            "1" => 1,
            "0" => 0,
            other => return Err(invalid("acks", other, "all, -1, 0, 1")),
        };
        let codec = self.compression_codec.as_deref().or(properties.get("compression.type"));
        let codec = codec.filter(|c| !c.is_empty()).unwrap_or("none");
        let codec = Codec::from_name(codec)
            .filter(|_| codec != "uncompressed")
            .ok_or_else(|| invalid("compression.type", codec, "none, gzip, snappy, lz4, zstd"))?;
        let retries_max =
            self.message_send_max_retries.or(properties.number("retries")?).unwrap_or(3);
        let wanted = properties.is_true("enable.idempotence");
        if wanted == Some(true) && (acks != -1 || retries_max == 0) {
            let text = "enable.idempotence=true needs acks=all and retries above 0";
            return Err(ToolError::Failed(text.to_owned()));
        }
        let defaults = ProducerOptions::default();
        let request_timeout = ms(properties, self.request_timeout_ms, "request.timeout.ms", 1500)?;
        Ok(ProducerOptions {
            acks,
            codec,
            idempotent: wanted.unwrap_or(acks == -1 && retries_max > 0),
            batch_bytes: self
                .batch_size
                .or(properties.number("batch.size")?)
                .unwrap_or(defaults.batch_bytes),
            request_bytes_max: properties
                .number("max.request.size")?
                .unwrap_or(defaults.request_bytes_max),
            buffer_bytes_max: self
                .max_memory_bytes
                .or(properties.number("buffer.memory")?)
                .unwrap_or(defaults.buffer_bytes_max),
            linger: if self.sync {
                Duration::ZERO
            } else {
                ms(properties, self.timeout, "linger.ms", 1000)?
            },
            request_timeout_ms: request_timeout.as_millis() as u64,
            retries_max,
            retry_backoff: ms(properties, self.retry_backoff_ms, "retry.backoff.ms", 100)?,
            delivery_timeout: ms(properties, None, "delivery.timeout.ms", 120_000)?,
            in_flight_max: properties
                .number("max.in.flight.requests.per.connection")?
                .unwrap_or(defaults.in_flight_max),
            seed: Clock::wall().0.cast_unsigned(),
        })
    }
}

/// A time by its flag, else by its property, else by default.
fn ms(properties: &Properties, flag: Option<u64>, key: &str, default: u64) -> Outcome<Duration> {
    let from_file = properties.number(key)?;
    Ok(Duration::from_millis(flag.or(from_file).unwrap_or(default)))
}

fn invalid(key: &str, value: &str, allowed: &str) -> ToolError {
    ToolError::Failed(format!(
        "org.apache.kafka.common.config.ConfigException: Invalid value {value} for configuration \
         {key}: String must be one of: {allowed}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(line: &str) -> Outcome<Config> {
        let words = "--bootstrap-server h:1 --topic t".split(' ').chain(line.split_whitespace());
        cli::read::<Options>("p", "", words).unwrap().config()
    }

    #[test]
    fn a_flag_wins_over_a_property_and_a_property_over_the_default() {
        let linger = |line: &str| config(line).unwrap().producer.linger.as_millis();
        assert_eq!(linger(""), 1000);
        assert_eq!(linger("--producer-property linger.ms=7"), 7);
        assert_eq!(linger("--command-property linger.ms=7 --timeout 9"), 9);
        assert_eq!(linger("--sync"), 0);
    }

    #[test]
    fn idempotence_goes_with_all_acks_and_retries() {
        let idempotent = |line: &str| config(line).unwrap().producer.idempotent;
        assert!(idempotent("--acks all"));
        assert!(idempotent("--request-required-acks -1"));
        assert!(!idempotent("--request-required-acks 1"));
        assert!(!idempotent("--message-send-max-retries 0"));
        assert!(!idempotent("--producer-property enable.idempotence=false"));
        assert!(config("--acks=1 --producer-property enable.idempotence=true").is_err());
    }

    #[test]
    fn values_that_kafka_does_not_know_are_refused_in_its_words() {
        let text = |line: &str| match config(line) {
            Err(ToolError::Failed(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            text("--acks=7"),
            "org.apache.kafka.common.config.ConfigException: Invalid value 7 for configuration acks: \
             String must be one of: all, -1, 0, 1"
        );
        assert!(text("--compression-codec foo").ends_with("none, gzip, snappy, lz4, zstd"));
        assert_eq!(config("--compression-codec").unwrap().producer.codec, Codec::Gzip);
    }
}
