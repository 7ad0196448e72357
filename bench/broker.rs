//! The whole broker under an open-loop load: what a record costs, and how long an ack takes.
//!
//! Question: CPU seconds per GB and per record of the broker's threads, p50/p99/p99.9 of synced
//! acknowledgements at a fixed rate, start-up to the first acknowledged record, idle memory and CPU.
//! Budget: the design's targets, as ratios to a bare responder and to Apache Kafka in one run.
//!
//! The broker is the release binary, pinned to the first core; the load (librdkafka, acks=all, an
//! idle-waiting sender whose intended send times are fixed by the rate) runs on the second. With
//! `KLAMM_BENCH_PEER=host:port` and `KLAMM_BENCH_PID=pid` another broker is loaded instead, in the
//! same way; `KLAMM_BENCH_SECONDS` sets the length of each run (default 10).

#![allow(clippy::print_stdout, reason = "the result is a table on standard output")]
#![allow(clippy::disallowed_methods, reason = "a load generator reads the clock")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark stops at what it cannot do"
)]
#![allow(missing_docs, reason = "not a library")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

/// One workload of the design's table.
struct Workload {
    name: &'static str,
    record_bytes: usize,
    partitions: i32,
    producers: usize,
    per_second: u64,
    linger_ms: &'static str,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "1 KiB, 1 partition, 20,000/s, linger 1 ms",
        record_bytes: 1024,
        partitions: 1,
        producers: 1,
        per_second: 20_000,
        linger_ms: "1",
    },
    Workload {
        name: "1 KiB, 1 partition, 2,000/s, linger 0",
        record_bytes: 1024,
        partitions: 1,
        producers: 1,
        per_second: 2_000,
        linger_ms: "0",
    },
    Workload {
        name: "1 KiB, 16 partitions, 4 producers, 30,000/s",
        record_bytes: 1024,
        partitions: 16,
        producers: 4,
        per_second: 30_000,
        linger_ms: "1",
    },
    Workload {
        name: "64 KiB, 1 partition, 1,500/s",
        record_bytes: 64 << 10,
        partitions: 1,
        producers: 1,
        per_second: 1_500,
        linger_ms: "1",
    },
    Workload {
        name: "1 KiB, 500 partitions, 2,000/s, linger 0",
        record_bytes: 1024,
        partitions: 500,
        producers: 1,
        per_second: 2_000,
        linger_ms: "0",
    },
];

fn main() {
    if !std::env::args().any(|a| a == "--bench") {
        return; // `cargo test` builds it, which is enough: a run needs the machine for itself
    }
    pin_self(1);
    let seconds = std::env::var("KLAMM_BENCH_SECONDS").ok().and_then(|s| s.parse().ok());
    let seconds: u64 = seconds.unwrap_or(10);
    let peer = std::env::var("KLAMM_BENCH_PEER").ok();
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    println!(
        "| workload | CPU-s/GB | CPU us/record | acks/s | ack p50 / p99 / p99.9 ms | e2e p50 / p99 / p99.9 ms |"
    );
    println!("|---|---|---|---|---|---|");
    for (index, workload) in WORKLOADS.iter().enumerate() {
        if only.as_ref().is_some_and(|o| !workload.name.contains(o.as_str())) {
            continue;
        }
        let broker = match &peer {
            Some(address) => Broker::running(address),
            None => Broker::start(),
        };
        run(workload, &format!("load-{index}-{}", std::process::id()), &broker, seconds);
    }
    if peer.is_none() {
        start_and_idle();
    }
}

fn run(workload: &Workload, topic: &str, broker: &Broker, seconds: u64) {
    create(&broker.address, topic, workload.partitions);
    let stop = Arc::new(AtomicU64::new(0));
    let reader = {
        let (address, topic, stop) = (broker.address.clone(), topic.to_owned(), Arc::clone(&stop));
        let partitions = workload.partitions;
        std::thread::Builder::new()
            .spawn(move || consume(&address, &topic, partitions, &stop))
            .unwrap()
    };
    let warm = Duration::from_secs(2);
    load(workload, &broker.address, topic, warm);
    let (cpu, began) = (broker.cpu_ns(), now_ns());
    stop.store(began, Ordering::Relaxed);
    let (acks, count) = load(workload, &broker.address, topic, Duration::from_secs(seconds));
    std::thread::sleep(Duration::from_millis(200));
    let cpu = broker.cpu_ns() - cpu;
    stop.store(u64::MAX, Ordering::Relaxed);
    let e2e = reader.join().unwrap();
    let gigabytes = (count * workload.record_bytes as u64) as f64 / 1e9;
    println!(
        "| {} | {:.1} | {:.1} | {:.0} | {} | {} |",
        workload.name,
        cpu as f64 / 1e9 / gigabytes,
        cpu as f64 / 1e3 / count as f64,
        count as f64 / seconds as f64,
        percentiles(&acks),
        percentiles(&e2e),
    );
}

fn percentiles(h: &Histogram<u64>) -> String {
    let ms = |q| h.value_at_quantile(q) as f64 / 1e6;
    format!("{:.2} / {:.2} / {:.2}", ms(0.5), ms(0.99), ms(0.999))
}

/// Counts acknowledgements and their age since the intended send time.
struct Acks {
    sent: crossbeam_queue::SegQueue<u64>,
    failed: AtomicU64,
}

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, intended_ns: Box<u64>) {
        match result {
            Ok(_) => self.sent.push(now_ns().saturating_sub(*intended_ns)),
            Err(_) => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

fn load(w: &Workload, address: &str, topic: &str, length: Duration) -> (Histogram<u64>, u64) {
    let each = w.per_second / w.producers as u64;
    let run = |_| {
        let (address, topic) = (address.to_owned(), topic.to_owned());
        let (size, linger) = (w.record_bytes, w.linger_ms);
        let send = move || send(&address, &topic, size, linger, each, length);
        std::thread::Builder::new().spawn(send).unwrap()
    };
    let senders: Vec<_> = (0..w.producers).map(run).collect();
    let mut all = Histogram::new(3).unwrap();
    for sender in senders {
        all.add(sender.join().unwrap()).unwrap();
    }
    let count = all.len();
    (all, count)
}

fn send(
    address: &str,
    topic: &str,
    size: usize,
    linger: &str,
    per_second: u64,
    length: Duration,
) -> Histogram<u64> {
    let acks = Acks { sent: crossbeam_queue::SegQueue::new(), failed: AtomicU64::new(0) };
    let producer: ThreadedProducer<Acks> = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("acks", "all")
        .set("linger.ms", linger)
        .set("queue.buffering.max.kbytes", "2097151")
        .set("queue.buffering.max.messages", "10000000")
        .create_with_context(acks)
        .unwrap();
    let mut payload = vec![b'x'; size];
    let began = now_ns();
    let total = per_second * length.as_nanos() as u64 / 1_000_000_000;
    let mut sent = 0;
    while sent < total {
        let due = ((now_ns() - began) * per_second / 1_000_000_000).min(total);
        while sent < due {
            let intended = began + sent * 1_000_000_000 / per_second;
            payload[..8].copy_from_slice(&intended.to_be_bytes());
            let record = BaseRecord::<[u8], _, Box<u64>>::with_opaque_to(topic, Box::new(intended));
            producer.send(record.payload(&payload)).map_err(|(e, _)| e).unwrap();
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    producer.flush(Duration::from_mins(1)).unwrap();
    let context = producer.context();
    assert_eq!(context.failed.load(Ordering::Relaxed), 0, "records were refused");
    let mut ages = Histogram::new(3).unwrap();
    while let Some(age) = context.sent.pop() {
        ages.record(age).unwrap();
    }
    ages
}

/// Reads everything; ages of records that were meant to be sent after `from` (until it is MAX).
fn consume(address: &str, topic: &str, partitions: i32, from: &AtomicU64) -> Histogram<u64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "500")
        .create()
        .unwrap();
    let mut assigned = TopicPartitionList::new();
    for partition in 0..partitions {
        assigned.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assigned).unwrap();
    let mut ages = Histogram::new(3).unwrap();
    loop {
        let Some(polled) = consumer.poll(Duration::from_millis(100)) else {
            if from.load(Ordering::Relaxed) == u64::MAX {
                return ages;
            }
            continue;
        };
        let message = polled.unwrap();
        let intended = u64::from_be_bytes(message.payload().unwrap()[..8].try_into().unwrap());
        let from = from.load(Ordering::Relaxed);
        if from != 0 && from != u64::MAX && intended >= from {
            ages.record(now_ns().saturating_sub(intended)).unwrap();
        }
    }
}

fn create(address: &str, topic: &str, partitions: i32) {
    let admin: AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", address).create().unwrap();
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let created = futures_executor::block_on(admin.create_topics([&new], &AdminOptions::new()));
    created.unwrap().into_iter().for_each(|r| drop(r.unwrap()));
}

/// Start to the first acknowledged record, then memory and CPU with nothing to do.
fn start_and_idle() {
    let began = Instant::now();
    let broker = Broker::start();
    let ready = began.elapsed();
    let producer: ThreadedProducer<Acks> = ClientConfig::new()
        .set("bootstrap.servers", &broker.address)
        .create_with_context(Acks {
            sent: crossbeam_queue::SegQueue::new(),
            failed: AtomicU64::new(0),
        })
        .unwrap();
    let record = BaseRecord::<[u8], _, Box<u64>>::with_opaque_to("first", Box::new(now_ns()));
    producer.send(record.payload(b"x")).map_err(|(e, _)| e).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
    let first = began.elapsed();
    create(&broker.address, "idle", 1000);
    std::thread::sleep(Duration::from_secs(2));
    let cpu = broker.cpu_ns();
    std::thread::sleep(Duration::from_secs(10));
    let idle = (broker.cpu_ns() - cpu) as f64 / 1e10 * 100.0;
    println!();
    println!(
        "start to ready {ready:?}; to the first acknowledged record of a fresh client {first:?}; \
         idle with 1,000 partitions: {} kB resident, {idle:.2} % of a core",
        broker.resident_kb()
    );
}

struct Broker {
    address: String,
    pid: u32,
    child: Option<(Child, PathBuf)>,
}

impl Broker {
    fn running(address: &str) -> Self {
        let pid = std::env::var("KLAMM_BENCH_PID").expect("KLAMM_BENCH_PID names the peer");
        Self { address: address.to_owned(), pid: pid.parse().unwrap(), child: None }
    }

    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-data");
        let dir = root.join(now_ns().to_string());
        let mut child = Command::new("taskset")
            .args(["-c", "0", env!("CARGO_BIN_EXE_klamm"), "server"])
            .args(["--override", "node.count=1"])
            .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--override", &format!("log.dirs={}", dir.display())])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some((_, at)) = line.split_once("listens on ") {
                at.clone_into(&mut address);
            }
            if line.contains("ready") {
                break;
            }
        }
        assert!(!address.is_empty(), "the broker did not start");
        Self { address, pid: child.id(), child: Some((child, dir)) }
    }

    /// Run time of all threads of the broker, and of the kernel workers of its rings.
    fn cpu_ns(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).unwrap();
        let run_time = |task: PathBuf| {
            let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0)
        };
        tasks.map(|t| run_time(t.unwrap().path())).sum()
    }

    fn resident_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some((mut child, dir)) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            let _ = fs::remove_dir_all(dir);
        }
    }
}

fn now_ns() -> u64 {
    klamm::runtime::clock::now().0.0
}

fn pin_self(cpu: usize) {
    if klamm::runtime::cpu::allowed().len() > cpu {
        klamm::runtime::cpu::pin_to(klamm::runtime::cpu::allowed()[cpu]);
    }
}
