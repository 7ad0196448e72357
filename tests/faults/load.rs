//! Real clients at work: producers of several kinds, a group whose members come and go, a reader of
//! everything, and one that asks what the group has committed. All that they do is told to a [`Book`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::common::{Server, Wire, until};
use crate::record::{Book, Event, Record, Teller};
use crate::verify::{AUDITOR, MEMBERS, Run};

const TOPIC: &str = "load";
const GROUP: &str = "readers";
const PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_mins(2);
const WATCHER: u16 = 1;
/// Records between two commits of a member.
const COMMIT_EVERY: usize = 200;

/// Settings of each producer, and whether it may send a record twice. Idempotent ones do not give up: when
/// a record is too late, librdkafka goes on as another epoch, and what was under way may be there twice.
const PRODUCERS: &[(&[(&str, &str)], bool)] = &[
    (&[("enable.idempotence", "true"), ("message.timeout.ms", "0")], false),
    (
        &[
            ("enable.idempotence", "true"),
            ("message.timeout.ms", "0"),
            ("compression.type", "zstd"),
            ("linger.ms", "20"),
        ],
        false,
    ),
    (&[("acks", "all"), ("message.send.max.retries", "0")], false),
    (&[("acks", "1"), ("message.send.max.retries", "0")], false),
    (&[("acks", "all"), ("enable.idempotence", "false"), ("compression.type", "gzip")], true),
];

fn config(bootstrap: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "200");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

/// Tells what is acknowledged.
struct Acks(Teller);

impl ClientContext for Acks {}
impl ProducerContext for Acks {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Ok(m) = result
            && let Some(record) = m.payload().and_then(Record::of)
        {
            self.0.tell(Event::Acked(record, (m.partition(), m.offset())));
        }
    }
}

fn produce(bootstrap: &str, producer: u16, teller: &Teller, stop: &AtomicBool) {
    let config = config(bootstrap, PRODUCERS[usize::from(producer)].0);
    let client: ThreadedProducer<_> = config.create_with_context(Acks(teller.clone())).unwrap();
    let (mut number, mut told) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..4 {
            let record = Record { producer, number };
            if told <= number {
                teller.tell(Event::Sent(record));
                told = number + 1;
            }
            let (value, partition) = (record.value(), number.cast_signed() % PARTITIONS);
            let send = BaseRecord::<(), _>::to(TOPIC).partition(partition).payload(&value);
            // A full queue says no; the record is then sent later.
            number += u32::from(client.send(send).is_ok());
        }
        thread::sleep(Duration::from_millis(6));
        assert_eq!(client.client().fatal_error(), None, "producer {producer}");
    }
    client.flush(PATIENCE).unwrap();
}

/// A member of the group as the client sees it.
struct Member {
    reader: u16,
    teller: Teller,
    /// The partitions are others now.
    moved: AtomicBool,
}

impl ClientContext for Member {}
impl ConsumerContext for Member {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        self.moved.store(true, Ordering::Relaxed);
        if let Rebalance::Assign(partitions) = rebalance {
            for of in partitions.elements() {
                let (reader, partition) = (self.reader, of.partition());
                self.teller.tell(Event::Began { reader, partition });
            }
        }
    }
}

/// A member reads and commits until `stop`.
fn belong(bootstrap: &str, reader: u16, teller: &Teller, stop: impl Fn() -> bool) {
    let settings = [
        ("group.id", GROUP),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "500"),
        ("fetch.wait.max.ms", "100"),
    ];
    let moved = AtomicBool::new(false);
    let member = Member { reader, teller: teller.clone(), moved };
    let consumer: BaseConsumer<_> =
        config(bootstrap, &settings).create_with_context(member).unwrap();
    consumer.subscribe(&[TOPIC]).unwrap();
    let (mut ends, mut fresh) = (BTreeMap::new(), 0);
    while !stop() {
        let polled = consumer.poll(Duration::from_millis(50));
        if consumer.context().moved.swap(false, Ordering::Relaxed) {
            (ends, fresh) = (BTreeMap::new(), 0);
        }
        let is_quiet = polled.is_none();
        if let Some(Ok(m)) = polled {
            teller.polled(reader, (m.partition(), m.offset()), m.payload().unwrap_or_default());
            ends.insert(m.partition(), m.offset() + 1);
            fresh += 1;
        }
        if fresh >= COMMIT_EVERY || fresh > 0 && is_quiet {
            let mut offsets = TopicPartitionList::new();
            for (partition, end) in &ends {
                offsets.add_partition_offset(TOPIC, *partition, Offset::Offset(*end)).unwrap();
            }
            if consumer.commit(&offsets, CommitMode::Sync).is_ok() {
                for (&partition, &offset) in &ends {
                    teller.tell(Event::Committed { partition, offset });
                }
                fresh = 0;
            }
        }
    }
}

/// Whether it says that there is no such offset.
pub fn is_loss(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode::{AutoOffsetReset, OffsetOutOfRange};
    matches!(error.rdkafka_error_code(), Some(AutoOffsetReset | OffsetOutOfRange))
}

/// Reads every partition from its start until `done` says so of the positions.
fn read(bootstrap: &str, reader: u16, teller: &Teller, done: impl Fn(&BTreeMap<i32, i64>) -> bool) {
    let settings = [("group.id", "none"), ("auto.offset.reset", "error")];
    let consumer: BaseConsumer = config(bootstrap, &settings).create().unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut ends = BTreeMap::new();
    while !done(&ends) {
        match consumer.poll(Duration::from_millis(50)) {
            None => {}
            Some(Err(e)) => assert!(!is_loss(&e), "what was visible is gone: {e}"),
            Some(Ok(m)) => {
                teller.polled(reader, (m.partition(), m.offset()), m.payload().unwrap_or_default());
                ends.insert(m.partition(), m.offset() + 1);
            }
        }
    }
}

/// Asks what the group has committed.
struct Observer {
    by: u16,
    consumer: BaseConsumer,
    teller: Teller,
}

impl Observer {
    fn new(by: u16, bootstrap: &str, teller: Teller) -> Self {
        Self { by, consumer: config(bootstrap, &[("group.id", GROUP)]).create().unwrap(), teller }
    }

    fn ask(&self) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition(TOPIC, partition);
            self.teller.tell(Event::Asked { by: self.by, partition });
        }
        let answer = self.consumer.committed_offsets(all, Duration::from_secs(2))?;
        let mut found = BTreeMap::new();
        for of in answer.elements() {
            of.error()?;
            let partition = of.partition();
            let offset = if let Offset::Offset(offset) = of.offset() { offset } else { 0 };
            self.teller.tell(Event::Answered { by: self.by, partition, offset });
            found.insert(partition, offset);
        }
        Ok(found)
    }
}

/// All of them at work.
pub struct Load {
    run: Run,
    bootstrap: String,
    teller: Teller,
    book: Book,
    producers_stop: Arc<AtomicBool>,
    readers_stop: Arc<AtomicBool>,
    producers: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
    downs: u32,
}

impl Load {
    /// Makes the topic and starts. `name` is that of the log of events.
    pub fn start(server: &Server, name: &str) -> Self {
        // The smallest segments, so that they roll.
        Wire::connect(server.address(0)).create(TOPIC, PARTITIONS, &[("segment.bytes", "1048576")]);
        let (teller, book) = Book::new(name);
        let run = Run { partitions: PARTITIONS, repeats: PRODUCERS.iter().map(|p| p.1).collect() };
        let mut load = Self {
            run,
            bootstrap: server.bootstrap(),
            teller,
            book,
            producers_stop: Arc::default(),
            readers_stop: Arc::default(),
            producers: Vec::new(),
            readers: Vec::new(),
            downs: 0,
        };
        for producer in 0..PRODUCERS.len() as u16 {
            let (bootstrap, teller) = (load.bootstrap.clone(), load.teller.clone());
            let stop = Arc::clone(&load.producers_stop);
            let run = move || produce(&bootstrap, producer, &teller, &stop);
            load.producers.push(thread::spawn(run));
        }
        load.reader(|bootstrap, teller, stop| read(bootstrap, WATCHER, teller, |_| is(stop)));
        for i in 0..2 {
            load.reader(move |bootstrap, teller, stop| {
                belong(bootstrap, MEMBERS + i, teller, || is(stop));
            });
        }
        // One that comes and goes, each time as somebody else.
        let next = AtomicU16::new(MEMBERS + 2);
        load.reader(move |bootstrap, teller, stop| {
            while !is(stop) {
                let (reader, began) = (next.fetch_add(1, Ordering::Relaxed), Instant::now());
                let over = || is(stop) || began.elapsed() > Duration::from_secs(3);
                belong(bootstrap, reader, teller, over);
            }
        });
        load.reader(|bootstrap, teller, stop| {
            let observer = Observer::new(0, bootstrap, teller.clone());
            while !is(stop) {
                let _ = observer.ask();
                thread::sleep(Duration::from_millis(100));
            }
        });
        load
    }

    fn reader(&mut self, run: impl Fn(&str, &Teller, &AtomicBool) + Send + 'static) {
        let (bootstrap, teller) = (self.bootstrap.clone(), self.teller.clone());
        let stop = Arc::clone(&self.readers_stop);
        self.readers.push(thread::spawn(move || run(&bootstrap, &teller, &stop)));
    }

    /// The server goes down. Panics when a client has given up.
    pub fn down(&mut self) {
        self.downs += 1;
        self.teller.tell(Event::Down(self.downs));
        let ended = self.producers.iter().chain(&self.readers).any(JoinHandle::is_finished);
        assert!(!ended, "a client gave up");
        self.book.read();
    }

    /// How many records each producer was acknowledged so far.
    pub fn acked(&mut self) -> Vec<usize> {
        let mut counts = vec![0; PRODUCERS.len()];
        for event in self.book.read() {
            if let Event::Acked(record, _) = event {
                counts[usize::from(record.producer)] += 1;
            }
        }
        counts
    }

    /// Waits until every producer has had `count` more records acknowledged.
    pub fn await_acks(&mut self, count: usize) {
        let before = self.acked();
        until(PATIENCE, "acknowledgements", || {
            let now = self.acked();
            now.iter().zip(&before).all(|(now, before)| now - before >= count).then_some(())
        });
    }

    /// Lets the clients finish, reads everything, and checks all rules. The server must run.
    pub fn finish(mut self) {
        self.producers_stop.store(true, Ordering::Relaxed);
        for producer in self.producers.drain(..) {
            producer.join().unwrap();
        }
        let ends = ends(&self.bootstrap);
        let observer = Observer::new(1, &self.bootstrap, self.teller.clone());
        until(PATIENCE, "the group at the end", || {
            observer.ask().ok().filter(|committed| *committed == ends)
        });
        self.readers_stop.store(true, Ordering::Relaxed);
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        let is_whole = |at: &BTreeMap<i32, i64>| ends.iter().all(|(p, end)| at.get(p) >= Some(end));
        read(&self.bootstrap, AUDITOR, &self.teller, is_whole);
        let acked = self.acked();
        println!("{} times down; acknowledged {acked:?}; partitions end at {ends:?}", self.downs);
        let too_few = acked.iter().any(|count| *count < 50);
        assert!(!too_few, "a producer had too little acknowledged: {acked:?}");
        let found = self.run.violations(&self.book.events);
        assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
    }
}

fn is(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed)
}

/// The end of each partition that has one, when all of them answer.
fn ends(bootstrap: &str) -> BTreeMap<i32, i64> {
    let consumer: BaseConsumer = config(bootstrap, &[("group.id", "none")]).create().unwrap();
    let end = |p| {
        let watermarks = consumer.fetch_watermarks(TOPIC, p, Duration::from_secs(5));
        watermarks.ok().map(|w| (p, w.1))
    };
    until(PATIENCE, "the ends of the partitions", || (0..PARTITIONS).map(end).collect())
}
