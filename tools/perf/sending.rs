//! A producer on the ring for one topic: push, take turns, get deliveries.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use klamm::base::map::DetMap;
use klamm::base::{Moment, Offset};
use klamm::client::producer::{Delivery, NewRecord, Producer, ProducerOptions};
use klamm::client::{ClientError, Cluster, Endpoint};
use klamm::runtime::clock;
use klamm::wire::codec::Codec;
use klamm::wire::record::RecordHeader;

use crate::tools::cli::{Outcome, ToolError};
use crate::tools::load::ring::{Done, Ring};
use crate::tools::properties::Properties;
use crate::tools::session::{connection_options, refuse_security};

const METADATA_AGE: Duration = Duration::from_mins(5);
const BACKOFF: Duration = Duration::from_millis(100);
const CLUSTER: u32 = 0;
const PRODUCER: u32 = 1;
const MAX_BLOCK_MS: u64 = 60_000;
/// A topic that is being made is there before.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// What became of a record; `mark` is what it was pushed with.
#[derive(Debug)]
pub(super) struct Over<M> {
    pub(super) mark: M,
    pub(super) partition: i32,
    pub(super) result: Result<Offset, ClientError>,
}

/// A record to send.
pub(super) struct Item<'a, M> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: &'a [u8],
    pub(super) headers: &'a [RecordHeader<'a>],
    /// Milliseconds since 1970.
    pub(super) timestamp: i64,
    /// Comes back with the delivery.
    pub(super) mark: M,
}

/// A producer of one topic.
pub(super) struct Sending<M> {
    ring: Ring,
    cluster: Cluster,
    producer: Producer,
    topic: String,
    marks: DetMap<i32, VecDeque<M>>,
    answers: Vec<Done>,
    deliveries: Vec<Delivery>,
    over: Vec<Over<M>>,
    /// That the topic is missing, or a broker gone, was told.
    has_told: bool,
}

impl<M> Sending<M> {
    /// Connects, and waits for the topic, which is made where the broker allows it.
    pub(super) fn connect(
        bootstrap: &str,
        topic: &str,
        properties: &Properties,
        (client_id, options): (&str, ProducerOptions),
    ) -> Outcome<Self> {
        refuse_security(properties)?;
        let failed = |e: io::Error| ToolError::Failed(e.to_string());
        let bootstrap = Endpoint::parse_list(bootstrap)?;
        let connection = connection_options(properties, client_id);
        let mut cluster = Cluster::new(true, METADATA_AGE, BACKOFF);
        cluster.want(topic);
        let mut sending = Self {
            ring: Ring::new(bootstrap, connection).map_err(failed)?,
            cluster,
            producer: Producer::new(options),
            topic: topic.to_owned(),
            marks: DetMap::default(),
            answers: Vec::new(),
            deliveries: Vec::new(),
            over: Vec::new(),
            has_told: false,
        };
        let block_ms = properties.number("max.block.ms")?.unwrap_or(MAX_BLOCK_MS);
        let began = clock::now().0;
        let known_by = began + Duration::from_millis(block_ms);
        while sending.cluster.topic(topic).is_none() {
            sending.turn(known_by)?;
            if clock::now().0 >= known_by {
                let what = format!("Topic {topic} not present in metadata after {block_ms} ms.");
                return Err(ToolError::Failed(what));
            }
            let error = sending.cluster.topics().get(topic).map(|t| t.error);
            if let Some(error) = error.filter(|e| e.0 != 0 && !e.is_retriable()) {
                return Err(ToolError::Failed(format!("topic {topic}: {error}")));
            }
            let is_missing = sending.cluster.topic(topic).is_none();
            if is_missing && clock::now().0 >= began + TELL_AFTER {
                sending.tell_once(|| format!("topic {topic} does not exist; waiting for it"));
            }
        }
        sending.has_told = false;
        Ok(sending)
    }

    /// Whether a record of that size has room.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.producer.has_room(bytes)
    }

    /// Takes a record, for which there is room.
    pub(super) fn push(&mut self, item: Item<'_, M>, now: Moment) -> Outcome<()> {
        let record = NewRecord {
            topic: &self.topic,
            partition: None,
            timestamp: item.timestamp,
            key: item.key,
            value: Some(item.value),
            headers: item.headers,
        };
        let pushed = self.producer.push(&self.cluster, &record, now);
        let partition = pushed.map_err(|e| ToolError::Failed(e.to_string()))?;
        self.marks.entry(partition).or_default().push_back(item.mark);
        Ok(())
    }

    /// Whether every record is over.
    pub(super) fn is_idle(&self) -> bool {
        self.producer.is_idle()
    }

    /// Sends what lingers.
    pub(super) fn flush(&mut self) {
        self.producer.flush();
    }

    /// Sends, waits until something comes or `until`, and returns the records that are over.
    pub(super) fn turn(&mut self, until: Moment) -> Outcome<std::vec::Drain<'_, Over<M>>> {
        let now = clock::now().0;
        let mut out = Vec::new();
        self.cluster.poll(now, &mut out);
        for outgoing in out.drain(..) {
            self.ring.submit(CLUSTER, outgoing, now);
        }
        self.producer.poll(&mut self.cluster, now, &mut out, &mut self.deliveries);
        for outgoing in out {
            self.ring.submit(PRODUCER, outgoing, now);
        }
        let until = until.min(self.producer.deadline(now)).min(self.cluster.deadline());
        let turned = self.ring.turn(now, until, &mut self.answers);
        turned.map_err(|e| ToolError::Failed(e.to_string()))?;
        match self.ring.trouble().map(|(_, e)| e.to_string()) {
            // It ends below, and is told then.
            Some(_) if self.cluster.brokers().is_empty() => {}
            Some(e) => self.tell_once(|| format!("{e}; trying again")),
            None if self.cluster.topic(&self.topic).is_some() => self.has_told = false,
            None => {}
        }
        let now = clock::now().0;
        for Done { lane, id, result } in self.answers.drain(..) {
            if lane == PRODUCER {
                let done = &mut self.deliveries;
                self.producer.on_answer(id, result, &mut self.cluster, now, done)?;
                continue;
            }
            match self.cluster.on_answer(id, result, now) {
                // Without a first answer there is nobody to wait for.
                Err(e) if !e.is_retriable() || self.cluster.brokers().is_empty() => {
                    return Err(e.into());
                }
                _ => {}
            }
            for (&node, broker) in self.cluster.brokers() {
                self.ring.learn(node, &broker.endpoint);
            }
        }
        self.end();
        Ok(self.over.drain(..))
    }

    fn tell_once(&mut self, what: impl FnOnce() -> String) {
        if !std::mem::replace(&mut self.has_told, true) {
            eprintln!("{}", what());
        }
    }

    /// Gives each record of a delivery its mark.
    fn end(&mut self) {
        for delivery in self.deliveries.drain(..) {
            let partition = delivery.partition.partition;
            let Some(marks) = self.marks.get_mut(&partition) else { continue };
            let count = usize::try_from(delivery.count).unwrap_or(0).min(marks.len());
            for (at, mark) in marks.drain(..count).enumerate() {
                let offset = |first: &Offset| match first.0 {
                    -1 => *first,
                    first => Offset(first + at as i64),
                };
                let result = delivery.result.as_ref().map(offset).map_err(Clone::clone);
                self.over.push(Over { mark, partition, result });
            }
        }
    }
}

/// A producer's settings from its properties, with Kafka's defaults.
pub(super) fn producer_options(properties: &Properties) -> Outcome<ProducerOptions> {
    let bad = |key: &str, value: &str| {
        ToolError::Failed(format!(
            "org.apache.kafka.common.config.ConfigException: Invalid value {value} for \
             configuration {key}"
        ))
    };
    let defaults = ProducerOptions::default();
    let acks = match properties.get("acks").map_or("all", str::trim) {
        "all" | "-1" => -1,
        "1" => 1,
        "0" => 0,
        other => return Err(bad("acks", other)),
    };
    let retries_max = properties.number("retries")?.unwrap_or(defaults.retries_max);
    let idempotent = properties.is_true("enable.idempotence");
    if idempotent == Some(true) && retries_max == 0 {
        return Err(ToolError::Failed(
            "org.apache.kafka.common.config.ConfigException: Must set retries to non-zero when using \
             the idempotent producer."
                .to_owned(),
        ));
    }
    let codec = properties.get("compression.type").unwrap_or("none");
    let ms = |key: &str, default: Duration| -> Outcome<Duration> {
        Ok(properties.number(key)?.map_or(default, Duration::from_millis))
    };
    let timeout = Duration::from_millis(defaults.request_timeout_ms);
    Ok(ProducerOptions {
        acks,
        codec: Codec::from_name(codec).ok_or_else(|| bad("compression.type", codec))?,
        // Nothing is repeated without retries, so there is nothing to number for.
        idempotent: acks == -1 && retries_max > 0 && idempotent != Some(false),
        batch_bytes: properties.number("batch.size")?.unwrap_or(defaults.batch_bytes),
        request_bytes_max: properties
            .number("max.request.size")?
            .unwrap_or(defaults.request_bytes_max),
        buffer_bytes_max: properties.number("buffer.memory")?.unwrap_or(defaults.buffer_bytes_max),
        linger: ms("linger.ms", defaults.linger)?,
        request_timeout_ms: ms("request.timeout.ms", timeout)?.as_millis() as u64,
        retries_max,
        retry_backoff: ms("retry.backoff.ms", defaults.retry_backoff)?,
        delivery_timeout: ms("delivery.timeout.ms", defaults.delivery_timeout)?,
        in_flight_max: properties
            .number("max.in.flight.requests.per.connection")?
            .unwrap_or(defaults.in_flight_max),
        seed: clock::now().0.0,
    })
}
