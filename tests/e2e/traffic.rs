//! Producers and a consumer at work while a server is killed or stopped, and what must hold afterwards:
//! - K1. every acknowledged record lies at the offset that its producer was told;
//! - K2. everything that the consumer has seen is still there: an offset never changes its value;
//! - K3. in each partition, the records of a producer are in order and none is there twice;
//! - K4. nothing is there that was never sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::client;
use crate::common::{Server, Wire, until};

const TOPIC: &str = "survivors";
const PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_mins(1);

/// Name of a producer, and its settings. The plain ones do not retry: an attempt whose answer is
/// lost may lie in the log, but no record may lie there twice.
const PRODUCERS: &[(&str, &[(&str, &str)])] = &[
    ("all-idempotent", &[("enable.idempotence", "true")]),
    ("all-plain", &[("acks", "all"), ("message.send.max.retries", "0")]),
    ("one-plain", &[("acks", "1"), ("message.send.max.retries", "0")]),
];

/// Where a record lies.
type Place = (i32, i64);
type Log = BTreeMap<Place, String>;

/// Tells where each acknowledged record lies.
struct Acknowledged(Sender<(Place, String)>);

impl ClientContext for Acknowledged {}
impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Ok(m) = result {
            let _ = self.0.send(((m.partition(), m.offset()), text(m.payload())));
        }
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8(bytes.unwrap().to_vec()).unwrap()
}

/// Sends `name:0`, `name:1`, ... until `stop`; counts in `sent`.
fn produce(
    bootstrap: &str,
    (name, settings): (&str, &[(&str, &str)]),
    acknowledged: Sender<(Place, String)>,
    sent: &AtomicU64,
    stop: &AtomicBool,
) {
    let config = client(bootstrap, settings);
    let context = Acknowledged(acknowledged);
    let producer: ThreadedProducer<_> = config.create_with_context(context).unwrap();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..8 {
            let number = sent.load(Ordering::Relaxed);
            let value = format!("{name}:{number}");
            let partition = (number % PARTITIONS as u64) as i32;
            let record = BaseRecord::<(), _>::to(TOPIC).partition(partition).payload(&value);
            // A full queue says no; the number is then used again.
            if producer.send(record).is_ok() {
                sent.store(number + 1, Ordering::Relaxed);
            }
        }
        thread::sleep(Duration::from_millis(2));
        assert_eq!(producer.client().fatal_error(), None, "{name}");
    }
    producer.flush(PATIENCE).unwrap();
}

fn consumer(bootstrap: &str) -> BaseConsumer {
    let settings = [("group.id", "none"), ("auto.offset.reset", "error")];
    let consumer: BaseConsumer = client(bootstrap, &settings).create().unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    consumer
}

/// Reads until `done` says so of what was read; a lost broker is waited for, a lost offset is not.
fn read(bootstrap: &str, done: impl Fn(&Log) -> bool) -> Log {
    use rdkafka::error::RDKafkaErrorCode::{AutoOffsetReset, OffsetOutOfRange};
    let consumer = consumer(bootstrap);
    let mut log = Log::new();
    while !done(&log) {
        match consumer.poll(Duration::from_millis(50)) {
            None => {}
            Some(Err(e)) => {
                let code = e.rdkafka_error_code();
                let lost = [Some(AutoOffsetReset), Some(OffsetOutOfRange)].contains(&code);
                assert!(!lost, "what was visible is gone: {e}");
            }
            Some(Ok(m)) => {
                let old = log.insert((m.partition(), m.offset()), text(m.payload()));
                assert_eq!(old, None, "an offset came twice");
            }
        }
    }
    log
}

/// K3 and K4.
fn check_order(log: &Log, sent: &BTreeMap<&str, u64>) {
    let mut last: BTreeMap<(i32, &str), u64> = BTreeMap::new();
    for (&(partition, offset), value) in log {
        let (name, number) = value.split_once(':').unwrap();
        let number: u64 = number.parse().unwrap();
        assert!(number < sent[name], "K4: {value} at {partition}@{offset} was never sent");
        assert_eq!(number % PARTITIONS as u64, partition as u64, "K4: in the wrong partition");
        let last = last.insert((partition, name), number);
        assert!(
            last.is_none_or(|l| l < number),
            "K3: {value} at {partition}@{offset} after {last:?}"
        );
    }
}

/// A producer at work: its name, how many records it has handed over, its thread.
type Working = (&'static str, Arc<AtomicU64>, JoinHandle<()>);

/// All of them at work.
pub struct Traffic {
    bootstrap: String,
    stop: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
    producers: Vec<Working>,
    acknowledged: Receiver<(Place, String)>,
    watcher: JoinHandle<Log>,
}

impl Traffic {
    /// Makes the topic and starts.
    pub fn start(server: &Server) -> Self {
        Wire::connect(server.address(0)).create(TOPIC, PARTITIONS, &[]);
        let bootstrap = server.bootstrap();
        let (stop, stopped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (tell, acknowledged) = channel();
        let mut producers = Vec::new();
        for &producer in PRODUCERS {
            let (bootstrap, stop, tell) = (bootstrap.clone(), stop.clone(), tell.clone());
            let sent = Arc::new(AtomicU64::new(0));
            let counted = sent.clone();
            let run = move || produce(&bootstrap, producer, tell, &counted, &stop);
            producers.push((producer.0, sent, thread::spawn(run)));
        }
        let watcher = {
            let (bootstrap, stopped) = (bootstrap.clone(), stopped.clone());
            thread::spawn(move || read(&bootstrap, |_| stopped.load(Ordering::Relaxed)))
        };
        Self { bootstrap, stop, stopped, producers, acknowledged, watcher }
    }

    /// Panics when a producer or the consumer has given up.
    pub fn check(&self) {
        let alive = self.producers.iter().all(|p| !p.2.is_finished());
        assert!(alive && !self.watcher.is_finished(), "someone gave up");
    }

    /// Ends it, reads everything and checks K1 to K4. The server must run.
    pub fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let mut sent = BTreeMap::new();
        for (name, count, thread) in self.producers {
            thread.join().unwrap();
            sent.insert(name, count.load(Ordering::Relaxed));
        }
        let ends = ends(&self.bootstrap);
        let is_whole = |log: &Log, (p, &end): (usize, &i64)| {
            end == 0 || log.contains_key(&(p as i32, end - 1))
        };
        let log =
            read(&self.bootstrap, |log| ends.iter().enumerate().all(|end| is_whole(log, end)));
        self.stopped.store(true, Ordering::Relaxed);
        let watched = self.watcher.join().unwrap();
        let acknowledged: Vec<_> = self.acknowledged.iter().collect();
        let (said, seen, there) = (acknowledged.len(), watched.len(), log.len());
        println!("sent {sent:?}; {said} acknowledged, {seen} watched, {there} read");
        for (name, _) in PRODUCERS {
            let count = acknowledged.iter().filter(|(_, value)| value.starts_with(name)).count();
            assert!(count > 100, "{name} had only {count} records acknowledged");
        }
        for (place, value) in &acknowledged {
            assert_eq!(log.get(place), Some(value), "K1: {place:?}");
        }
        for (place, value) in &watched {
            assert_eq!(log.get(place), Some(value), "K2: {place:?}");
        }
        check_order(&log, &sent);
    }
}

/// The end of each partition, when all of them answer.
fn ends(bootstrap: &str) -> Vec<i64> {
    let config = client(bootstrap, &[("group.id", "none")]);
    let consumer: BaseConsumer = config.create().unwrap();
    let end = |p| consumer.fetch_watermarks(TOPIC, p, Duration::from_secs(5)).ok().map(|w| w.1);
    until(PATIENCE, "the ends of the partitions", || (0..PARTITIONS).map(end).collect())
}
