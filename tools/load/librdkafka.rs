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
use crate::tools::load::schedule::{Drain, Schedule, first_due};

/// The schedule is looked at so often.
const STEP: Duration = Duration::from_micros(200);
const POLL: Duration = Duration::from_millis(100);
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// What a client saw.
enum Event {
    Acked(Moment, Moment),
    Failed(String),
    Read(Moment, Moment),
    /// No broker can be reached.
    Trouble(Moment, String),
}

type Events = Arc<SegQueue<Event>>;

struct Acks(Events);

impl ClientContext for Acks {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.0.push(Event::Trouble(clock::now().0, reason.to_owned()));
        }
    }
}

impl ProducerContext for Acks {
    /// The intended send time, in nanoseconds.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, intended: usize) {
        self.0.push(match result {
            Ok(_) => Event::Acked(Moment(intended as u64), clock::now().0),
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
    /// Records whose time has come.
    due: u64,
    /// Records that each producer took.
    taken: Vec<u64>,
    /// Since when no broker can be reached, and why.
    trouble: Option<(Moment, String)>,
}

impl Engine {
    /// Makes the clients, and lets the consumers begin.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn new(plan: Plan, payloads: Payloads) -> Result<Self, String> {
        let w = &plan.workload;
        if w.verify || w.backlog_bytes > 0 {
            return Err("--verify and backlogs need our own client (--client klamm)".to_owned());
        }
        let (events, is_over) = (Events::default(), Arc::new(AtomicBool::new(false)));
        let producer = |_| producer(&plan, &events).map_err(|e| e.to_string());
        let count = plan.topics.len() * w.producers as usize;
        let producers = (0..count).map(producer).collect::<Result<Vec<_>, _>>()?;
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
            payloads,
            schedule: Schedule::new(w),
            due: 0,
            taken: vec![0; producers.len()],
            trouble: None,
            producers,
            consumers,
            is_over,
            events,
            plan,
        })
    }

    /// Records whose time has come.
    pub(crate) fn due(&self) -> u64 {
        self.due
    }

    /// Runs the workload.
    pub(crate) fn run(&mut self, meter: &mut Meter, progress: &mut Progress) -> End {
        let mut all = || {
            meter.begin(first_due()).map_err(|e| e.to_string())?;
            let end = self.send_all(meter, progress)?;
            Ok(if self.drain(meter, progress)? { end } else { End::Stopped })
        };
        let end = all().unwrap_or_else(End::Failed);
        meter.cut(clock::now().0);
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
                meter.cut(now);
                return Ok(End::Stopped);
            }
            sleep(STEP.min(self.schedule.intended(self.due, meter.began).since(now)));
        }
    }

    /// As that of our own client.
    fn drain(&mut self, meter: &mut Meter, progress: &mut Progress) -> Result<bool, String> {
        self.plan.stop.store(false, Ordering::Relaxed);
        let (groups, limit) = (self.plan.workload.groups, self.plan.give_up_after);
        let mut drain = Drain::new(meter, groups, limit, clock::now().0);
        loop {
            let now = clock::now().0;
            self.count(now, meter, progress)?;
            if drain.is_over(meter, now)? {
                return Ok(true);
            }
            if self.plan.stop.load(Ordering::Relaxed) {
                return Ok(false);
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
                Event::Trouble(since, why) => {
                    self.trouble.get_or_insert((since, why));
                    continue;
                }
            }
            self.trouble = None;
        }
        if let Some((since, why)) = &self.trouble
            && now >= *since + self.plan.give_up_after
        {
            return Err(why.clone());
        }
        progress.end_seconds(now, self.due, meter)
    }

    fn send_due(&mut self, now: Moment, meter: &mut Meter) -> Result<(), String> {
        while self.schedule.intended(self.due, meter.began) <= now {
            self.due += 1;
        }
        for at in 0..self.producers.len() {
            while let Some(intended) = self.owed(at, meter) {
                // The others go on; the record keeps its intended time.
                if !self.send(at, intended)? {
                    break;
                }
                meter.sent(intended, now);
                self.taken[at] += 1;
            }
        }
        Ok(())
    }

    /// When the next record of a producer was to be sent, if its time has come.
    fn owed(&self, at: usize, meter: &Meter) -> Option<Moment> {
        let number = self.taken[at] * self.producers.len() as u64 + at as u64;
        (number < self.due).then(|| self.schedule.intended(number, meter.began))
    }

    /// Hands a producer its next record; says whether there was room for it.
    fn send(&mut self, at: usize, intended: Moment) -> Result<bool, String> {
        let head = Head { intended_ns: intended.0, run: self.plan.run, producer: at as u32 };
        let topic = &self.plan.topics[at % self.plan.topics.len()];
        let drawn = self.payloads.next(head);
        let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, intended.0 as usize)
            .payload(drawn.value);
        if let Some(key) = drawn.key {
            record = record.key(key);
        }
        match self.producers[at].send(record) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((e, _)) => Err(e.to_string()),
        }
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::path::PathBuf;

    use clap::Parser as _;
    use klamm::client::Endpoint;
    use klamm::config::server::ServerConfig;
    use klamm::server::boot::Server;

    use super::*;
    use crate::tools::load::options::Options;
    use crate::tools::load::result::RunResult;
    use crate::tools::load::run_once;
    use crate::tools::load::setup;
    use crate::tools::load::workload::Workload;

    /// A broker in this process, stopped when it is dropped.
    struct Broker {
        server: Server,
        address: String,
        dir: PathBuf,
    }

    impl Broker {
        fn start(name: &str, more: &[(&str, &str)]) -> Self {
            let dir =
                std::env::temp_dir().join(format!("klamm-load-{name}-{}", std::process::id()));
            // Somebody may take a port between its choice and its use.
            for _ in 0..10 {
                let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
                let overrides = [
                    ("node.count", "1".to_owned()),
                    ("listeners", format!("PLAINTEXT://{free}")),
                    ("log.dirs", dir.display().to_string()),
                ];
                let more = more.iter().map(|&(key, value)| (key, value.to_owned()));
                let overrides = overrides.into_iter().chain(more);
                let overrides: Vec<_> = overrides.map(|(k, v)| (k.to_owned(), v)).collect();
                let config = ServerConfig::load("", &overrides).unwrap();
                let Ok(mut server) = Server::start(&config) else { continue };
                server.wait_ready().unwrap();
                return Self { server, address: free.to_string(), dir };
            }
            panic!("no broker started");
        }

        fn load(&self, flags: &str, stop: &Arc<AtomicBool>) -> RunResult {
            let words = format!(
                "load --client librdkafka --bootstrap-server {} --warmup-seconds 0 {flags}",
                self.address
            );
            let options = Options::parse_from(words.split(' '));
            let bootstrap = Endpoint::parse_list(&self.address).unwrap();
            let workload = Workload::read(None, options.change.table().unwrap()).unwrap();
            run_once(&options, &bootstrap, workload, stop).unwrap()
        }
    }

    impl Drop for Broker {
        fn drop(&mut self) {
            self.server.stopper()();
            let _ = self.server.join();
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }

    #[test]
    fn a_load_of_librdkafka_is_sent_acknowledged_and_read_whole() {
        let broker = Broker::start("whole", &[]);
        let flags = "--rate 500 --duration-seconds 1 --partitions 3 --producers 2 --groups 2 \
                     --consumers 2 --keys uniform --codec zstd --linger-ms 0.5";
        let result = broker.load(flags, &Arc::default());
        assert_eq!(result.error, None);
        let counts = &result.counts;
        let seen = [counts.due, counts.sent, counts.acked, counts.consumed, counts.failed];
        assert_eq!(seen, [500, 500, 500, 1000, 0]);
        let ack = result.ack_ns.unwrap();
        assert!(ack.count == 500 && 0 < ack.p50 && ack.p50 <= ack.max, "{ack:?}");
    }

    #[test]
    fn a_producer_of_librdkafka_without_room_does_not_hold_up_the_others() {
        let broker = Broker::start("room", &[("auto.create.topics.enable", "false")]);
        let workload = Workload {
            topics: 2,
            groups: 0,
            rate: 200.0,
            warmup_seconds: 0.0,
            duration_seconds: 1.0,
            // Room for fewer records than a producer has to send.
            buffer_bytes: 16 << 10,
            ..Workload::default()
        };
        let bootstrap = Endpoint::parse_list(&broker.address).unwrap();
        let mut client = setup::connect(&bootstrap).unwrap();
        let one = Workload { topics: 1, ..workload.clone() };
        let there = setup::prepare(&mut client, &one, None, 7).unwrap().topics.remove(0);
        let second = Duration::from_secs(1);
        let mut meter = Meter::new((Duration::ZERO, second), None).unwrap();
        let payloads = Payloads::new(&workload, 7).unwrap();
        let plan = Plan {
            // What is to go to a topic that no broker has waits in its producer.
            topics: vec![there, Arc::from("missing")],
            is_foreign: false,
            run: 7,
            give_up_after: 5 * second,
            stop: Arc::default(),
            bootstrap,
            workload,
        };
        let mut engine = Engine::new(plan, payloads).unwrap();
        let end = engine.run(&mut meter, &mut Progress::new(false));
        assert!(matches!(end, End::Failed(_)), "{end:?}");
        let (free, full) = (engine.taken[0], engine.taken[1]);
        assert!(0 < full && full < 20 && free > 3 * full, "{:?}", engine.taken);
        assert_eq!((engine.due, meter.counts.acked), (200, free));
    }

    #[test]
    fn a_load_of_librdkafka_ends_when_the_broker_is_gone() {
        let broker = Broker::start("gone", &[]);
        let stopper = broker.server.stopper();
        let later = Builder::new().spawn(move || {
            sleep(Duration::from_secs(1));
            stopper();
        });
        let flags = "--rate 200 --duration-seconds 3600 --give-up-after 0.5";
        let result = broker.load(flags, &Arc::default());
        later.unwrap().join().unwrap();
        let why = result.error.unwrap();
        assert!(why.contains("brokers are down"), "{why}");
        assert!(result.counts.acked > 0, "what was measured is kept");
    }
}
