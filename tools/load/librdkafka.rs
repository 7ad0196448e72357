//! The same load on librdkafka, so that a broker is not measured with our own client alone. Only with
//! the cargo feature `librdkafka`.
//!
//! Each producer and each consumer is a librdkafka client with threads of its own. This thread keeps
//! the schedule and counts; what the others see comes to it through queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::Duration;

use crossbeam_queue::SegQueue;
use klamm::base::Moment;
use klamm::runtime::clock;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::tools::load::engine::{End, Plan};
use crate::tools::load::meter::Meter;
use crate::tools::load::payload::{Head, Payloads};
use crate::tools::load::progress::Progress;
use crate::tools::load::schedule::{Draining, HEAD_START, Schedule};

/// The schedule is looked at so often.
const STEP: Duration = Duration::from_micros(200);
const POLL: Duration = Duration::from_millis(100);
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// What a client saw.
enum Event {
    Acked(Moment, Moment),
    Failed(String),
    Read(Moment, Moment),
}

type Events = Arc<SegQueue<Event>>;

struct Acks(Events);

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<Moment>;

    fn delivery(&self, result: &DeliveryResult<'_>, intended: Box<Moment>) {
        self.0.push(match result {
            Ok(_) => Event::Acked(*intended, clock::now().0),
            Err((e, _)) => Event::Failed(e.to_string()),
        });
    }
}

/// The load of one run.
pub(crate) struct Engine {
    plan: Plan,
    producers: Vec<ThreadedProducer<Acks>>,
    consumers: Vec<JoinHandle<Result<(), String>>>,
    is_over: Arc<AtomicBool>,
    events: Events,
    payloads: Payloads,
    schedule: Schedule,
}

impl Engine {
    /// Makes the clients, and lets the consumers begin.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn new(plan: Plan, seed: u64) -> Result<Self, String> {
        let w = &plan.workload;
        if w.verify || w.backlog_bytes > 0 {
            return Err("--verify and backlogs need our own client (--client klamm)".to_owned());
        }
        let (events, is_over) = (Events::default(), Arc::new(AtomicBool::new(false)));
        let producer = |_| producer(&plan, &events).map_err(|e| e.to_string());
        let count = plan.topics.len() * w.producers as usize;
        let producers = (0..count).map(producer).collect::<Result<_, _>>()?;
        let mut consumers = Vec::new();
        for topic in &plan.topics {
            for at in 0..w.groups * w.consumers {
                let consumer = consumer(&plan, topic, at).map_err(|e| e.to_string())?;
                let (run, events, is_over) = (plan.run, Arc::clone(&events), Arc::clone(&is_over));
                let read = move || read(&consumer, run, &events, &is_over);
                consumers.push(Builder::new().spawn(read).map_err(|e| e.to_string())?);
            }
        }
        Ok(Self {
            payloads: Payloads::new(w, seed)?,
            schedule: Schedule::new(w, count > 0),
            producers,
            consumers,
            is_over,
            events,
            plan,
        })
    }

    /// Records whose time has come.
    pub(crate) fn due(&self) -> u64 {
        self.schedule.due
    }

    /// Runs the workload.
    pub(crate) fn run(&mut self, meter: &mut Meter, progress: &mut Progress) -> End {
        meter.begin(clock::now().0 + HEAD_START);
        let mut all = || {
            let end = self.send_all(meter, progress)?;
            self.drain(meter, progress)?;
            Ok(end)
        };
        let end = all().unwrap_or_else(End::Failed);
        self.is_over.store(true, Ordering::Relaxed);
        for consumer in self.consumers.drain(..) {
            if let Ok(Err(what)) = consumer.join() {
                return End::Failed(what);
            }
        }
        end
    }

    fn send_all(&mut self, meter: &mut Meter, progress: &mut Progress) -> Result<End, String> {
        loop {
            let now = clock::now().0;
            self.count(now, meter, progress)?;
            self.send_due(now, meter)?;
            if now >= meter.to {
                return Ok(End::Complete);
            }
            if self.plan.stop.load(Ordering::Relaxed) {
                return Ok(End::Stopped);
            }
            sleep(STEP.min(self.schedule.next(meter).since(now)));
        }
    }

    fn drain(&mut self, meter: &mut Meter, progress: &mut Progress) -> Result<(), String> {
        let groups = self.plan.workload.groups;
        let mut draining = Draining::new(groups, self.plan.give_up_after, clock::now().0);
        loop {
            let now = clock::now().0;
            self.count(now, meter, progress)?;
            if draining.is_over(meter, now)? {
                return Ok(());
            }
            sleep(STEP);
        }
    }

    /// Counts what the clients saw.
    fn count(
        &mut self,
        now: Moment,
        meter: &mut Meter,
        progress: &mut Progress,
    ) -> Result<(), String> {
        while let Some(event) = self.events.pop() {
            match event {
                Event::Acked(intended, at) => meter.acked(intended, at),
                Event::Read(intended, at) => meter.consumed(intended, at),
                Event::Failed(why) => meter.failed(1, &why),
            }
        }
        while now >= meter.second_ends_at() {
            meter.end_second(self.schedule.due).map_err(|e| e.to_string())?;
            progress.show(meter);
        }
        Ok(())
    }

    fn send_due(&mut self, now: Moment, meter: &mut Meter) -> Result<(), String> {
        while self.schedule.next(meter) <= now {
            let intended = self.schedule.next(meter);
            let at = (self.schedule.due % self.producers.len() as u64) as usize;
            let head = Head { intended_ns: intended.0, run: self.plan.run, producer: at as u32 };
            let topic = &self.plan.topics[at % self.plan.topics.len()];
            let drawn = self.payloads.next(head);
            let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, Box::new(intended))
                .payload(drawn.value);
            if let Some(key) = drawn.key {
                record = record.key(key);
            }
            match self.producers[at].send(record) {
                Ok(()) => meter.sent(now),
                // The schedule goes on when there is room; the record keeps its intended time.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                Err((e, _)) => return Err(e.to_string()),
            }
            self.schedule.due += 1;
        }
        Ok(())
    }
}

fn client(plan: &Plan) -> ClientConfig {
    let servers: Vec<_> = plan.bootstrap.iter().map(ToString::to_string).collect();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers.join(",")).set("client.id", "klamm-load");
    config
}

fn producer(plan: &Plan, events: &Events) -> Result<ThreadedProducer<Acks>, KafkaError> {
    let w = &plan.workload;
    let is_idempotent = w.idempotent && ["all", "-1"].contains(&w.acks.as_str());
    client(plan)
        .set("acks", &w.acks)
        .set("enable.idempotence", is_idempotent.to_string())
        .set("linger.ms", w.linger_ms.to_string())
        .set("batch.size", w.batch_bytes.to_string())
        .set("compression.type", &w.codec)
        .set("max.in.flight.requests.per.connection", w.in_flight.to_string())
        .set("message.max.bytes", w.request_bytes_max.to_string())
        .set("queue.buffering.max.kbytes", w.buffer_bytes.div_ceil(1024).to_string())
        .set("queue.buffering.max.messages", "10000000")
        .create_with_context(Acks(Arc::clone(events)))
}

fn consumer(plan: &Plan, topic: &str, at: u32) -> Result<BaseConsumer, KafkaError> {
    let w = &plan.workload;
    let consumer: BaseConsumer = client(plan)
        .set("group.id", format!("klamm-load-{:08x}", plan.run))
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", w.fetch_wait_ms.to_string())
        .set("fetch.min.bytes", w.fetch_min_bytes.to_string())
        .create()?;
    let mut assigned = TopicPartitionList::new();
    for partition in (0..w.partitions).filter(|p| p % w.consumers == at % w.consumers) {
        let end = if plan.is_foreign {
            consumer.fetch_watermarks(topic, partition as i32, METADATA_TIMEOUT)?.1
        } else {
            0
        };
        assigned.add_partition_offset(topic, partition as i32, Offset::Offset(end))?;
    }
    consumer.assign(&assigned)?;
    Ok(consumer)
}

fn read(
    consumer: &BaseConsumer,
    run: u32,
    events: &Events,
    is_over: &AtomicBool,
) -> Result<(), String> {
    while !is_over.load(Ordering::Relaxed) {
        let Some(polled) = consumer.poll(POLL) else { continue };
        let message = match polled {
            Ok(message) => message,
            // A broker that comes back is connected to again.
            Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            )) => continue,
            Err(e) => return Err(e.to_string()),
        };
        if let Some(head) = message.payload().and_then(Head::read).filter(|h| h.run == run) {
            events.push(Event::Read(Moment(head.intended_ns), clock::now().0));
        }
    }
    Ok(())
}

impl Drop for Engine {
    fn drop(&mut self) {
        // What is left in a queue is not waited for: it was counted as not acknowledged.
        for producer in &self.producers {
            producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
        }
    }
}
