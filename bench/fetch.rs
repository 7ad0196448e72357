//! Reading: the store's tail, and the whole Fetch handler without a socket.
//!
//! Question: what does a read of stored batches cost, and does an incremental fetch (KIP-227) of
//! thousands of partitions cost what has changed, or what there is?
//! Budget: a tail read < 500 ns whatever its size, since nothing is copied; an incremental fetch
//! with data in one partition < 5 us, and at 5,000 partitions < 1.5 x that of one.
//!
//! `named` is a request that names one partition in a session, which has data; `woken` one that
//! waits until one partition is appended to, the append and the answer. `full` names all partitions
//! in every request, as clients without sessions do. Topic ids throughout; nothing is random.

#![allow(missing_docs, reason = "criterion_group! generates an undocumented function")]
#![allow(clippy::unwrap_used, reason = "a benchmark stops at what it cannot do")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use klamm::api::{self, Outcome, table};
use klamm::base::{Moment, NodeId, Offset, TopicId};
use klamm::config::ServerConfig;
use klamm::image::Node;
use klamm::msg;
use klamm::runtime::clock;
use klamm::runtime::disk::{BackJob, ServantJob};
use klamm::runtime::files::Files;
use klamm::shard::append::Acks;
use klamm::shard::{Shard, ShardIndex, Slot, Start};
use klamm::storage::{LogId, Read, Store, StoreConfig};
use klamm::wire::ApiVersion;
use klamm::wire::batch::BatchHeader;
use klamm::wire::codec::Codec;
use klamm::wire::messages::KafkaRequest;
use klamm::wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use klamm::wire::messages::{self as m, CreateTopicsRequest, FetchRequest};
use klamm::wire::record::{BatchBuilder, ProducerStamp};

const PARTITIONS: [i32; 3] = [1, 100, 5_000];
const VERSION: i16 = 17;
/// Where the session id lies in an answer: size, correlation id, tags, throttle time, error code.
const SESSION_ID_AT: usize = 4 + 4 + 1 + 4 + 2;
const CLOSE: i32 = -1;
/// Appends after which a commit, which is not measured, makes room.
const COMMIT_EVERY: u64 = 256;

fn tail(c: &mut Criterion) {
    let mut bed = Bed::new("tail", 1);
    for _ in 0..2_000 {
        bed.append(0);
    }
    let (log, end) = (bed.log(0), Offset(2_000));
    let mut group = c.benchmark_group("fetch_tail");
    for bytes_max in [1 << 10, 1 << 20] {
        group.throughput(Throughput::Bytes(bytes_max as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes_max), |b| {
            b.iter(|| {
                let read = bed.shard.store.read(log, Offset(500), end, bytes_max, true);
                let Read::Ready(batches) = read.unwrap() else { unreachable!("in the tail") };
                assert!(batches.bytes.abs_diff(bytes_max) < 1 << 10);
                black_box(batches);
            });
        });
    }
    group.finish();
}

fn handler(c: &mut Criterion) {
    let mut group = c.benchmark_group("fetch_handler");
    for count in PARTITIONS {
        let mut bed = Bed::new("handler", count);
        for _ in 0..2 {
            bed.append(0);
        }
        bed.open_session();
        group.bench_function(BenchmarkId::new("named", count), |b| {
            b.iter_custom(|times| (0..times).map(|_| bed.read_again()).sum());
        });
        let mut next = 3;
        group.bench_function(BenchmarkId::new("woken", count), |b| {
            b.iter_custom(|times| {
                let cycle = |_| {
                    let spent = bed.wait_for_one(next);
                    next += 1;
                    if next.cast_unsigned().is_multiple_of(COMMIT_EVERY) {
                        bed.commit();
                    }
                    spent
                };
                (0..times).map(cycle).sum()
            });
        });
        bed.close_session();
        let all: Vec<(i32, i64)> =
            (0..count).map(|p| (p, if p == 0 { next - 1 } else { 0 })).collect();
        let full = bed.request(0, CLOSE, &all);
        group.bench_function(BenchmarkId::new("full", count), |b| {
            b.iter(|| assert!(bed.fetch(&full).unwrap() > 1_000));
        });
    }
    group.finish();
}

/// A node without sockets, with one topic, and one client.
struct Bed {
    shard: Shard,
    topic: TopicId,
    batch: Bytes,
    header: BatchHeader,
    session: i32,
    epoch: i32,
    sequence: u64,
    count: i32,
    dir: PathBuf,
}

impl Bed {
    fn new(name: &str, count: i32) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-data");
        let dir = root.join(format!("fetch-{name}-{}-{count}", std::process::id()));
        let (now, wall) = clock::now();
        let config = StoreConfig { checkpoint_ms: 1_000, ..StoreConfig::new(dir.join("node-0")) };
        let store = Store::open(Arc::new(Files), config, now.0, wall).unwrap();
        let config = Arc::new(ServerConfig::load("", &[]).unwrap());
        let mut shard = Shard::new(ShardIndex(0), config, store, 1);
        shard.begin_turn(now, wall);
        let host = "127.0.0.1".into();
        let node = Node { id: NodeId(0), host, port: 9092, rack: None };
        shard.start_controller(Start { cluster_id: "c".into(), nodes: vec![node], shards: 1 });
        while shard.load() {}
        let mut builder = BatchBuilder::default();
        builder.push(wall.0, None, Some(&[b'x'; 940]), &[]);
        let batch = builder.build(Codec::None, ProducerStamp::NONE).unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        let (topic, session, epoch, sequence) = (TopicId::ZERO, 0, 0, 0);
        let mut bed = Self { shard, topic, batch, header, session, epoch, sequence, count, dir };
        bed.commit();
        bed.create_topic();
        bed
    }

    /// Its batches are seen before they are synced, so that no disk is in what is measured.
    fn create_topic(&mut self) {
        let lazy = msg!(CreatableTopicConfig {
            name: "flush.messages".into(),
            value: Some("1000000".into()),
        });
        let topic = msg!(CreatableTopic {
            name: "topic".into(),
            num_partitions: self.count,
            replication_factor: 1,
            configs: vec![lazy],
        });
        let frame = frame(7, &msg!(CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000 }));
        assert!(matches!(self.dispatch(&frame), Outcome::Parked));
        self.commit();
        assert_eq!(self.shard.outbox.drain(..).count(), 1);
        self.topic = self.shard.partitions.topic("topic").unwrap().id;
    }

    fn log(&self, partition: i32) -> LogId {
        self.shard.partitions.find("topic", partition).unwrap()
    }

    fn append(&mut self, partition: i32) {
        let log = self.log(partition);
        self.shard.append_produced(log, self.header, &self.batch, None, Acks::Leader).unwrap();
    }

    /// Commits, and what the back does beside.
    fn commit(&mut self) {
        let (now, wall) = clock::now();
        self.shard.begin_turn(now, wall);
        self.shard.store.on_time(now, wall);
        let mut events = Vec::new();
        loop {
            // In this order: a commit may have to wait for a job.
            let commit = self.shard.store.commit(Moment(u64::MAX - 1));
            let mut jobs = Vec::new();
            self.shard.store.jobs(&mut jobs);
            if jobs.is_empty() && commit.is_none() {
                break;
            }
            if let Some(commit) = commit {
                self.shard.store.on_commit(commit.run(), now, &mut events);
            }
            for job in jobs {
                self.shard.store.on_job(job.run(&Files), now, &mut events);
            }
            for event in events.drain(..) {
                self.shard.on_store_event(&event);
            }
        }
        assert!(!self.shard.failed);
    }

    fn open_session(&mut self) {
        let all: Vec<(i32, i64)> =
            (0..self.count).map(|p| (p, if p == 0 { 2 } else { 0 })).collect();
        let request = self.request(0, 0, &all);
        assert!(self.fetch(&request).is_none(), "there is nothing to read");
        self.append(0);
        self.shard.answer_fetches();
        let (_, answer) = self.shard.outbox.pop().unwrap();
        let id = &answer.parts[0][SESSION_ID_AT..SESSION_ID_AT + 4];
        self.session = i32::from_be_bytes(id.try_into().unwrap());
        assert_ne!(self.session, 0);
        self.epoch = 1;
    }

    fn close_session(&mut self) {
        let request = self.request(self.session, CLOSE, &[]);
        assert!(self.fetch(&request).is_some());
    }

    /// The next request of the session, which names these partitions.
    fn incremental(&mut self, changed: &[(i32, i64)]) -> Vec<u8> {
        let request = self.request(self.session, self.epoch, changed);
        self.epoch += 1;
        request
    }

    fn request(&self, session_id: i32, session_epoch: i32, wanted: &[(i32, i64)]) -> Vec<u8> {
        let partition = |&(partition, fetch_offset): &(i32, i64)| {
            msg!(m::fetch_request::FetchPartition {
                partition,
                fetch_offset,
                current_leader_epoch: 0,
                partition_max_bytes: 1 << 20,
            })
        };
        let partitions: Vec<_> = wanted.iter().map(partition).collect();
        let topic_id = self.topic.into();
        let topic = msg!(m::fetch_request::FetchTopic { topic_id, partitions });
        let topics = if wanted.is_empty() { Vec::new() } else { vec![topic] };
        let (max_wait_ms, min_bytes, max_bytes) = (500, 1, 50 << 20);
        let (id, epoch) = (session_id, session_epoch);
        frame(
            VERSION,
            &msg!(FetchRequest {
                max_wait_ms,
                min_bytes,
                max_bytes,
                session_id: id,
                session_epoch: epoch,
                topics,
            }),
        )
    }

    /// Asks, and ends the turn. Size of the answer, if there is one.
    fn fetch(&mut self, frame: &[u8]) -> Option<usize> {
        match self.dispatch(frame) {
            Outcome::Parked => self.shard.answer_fetches(),
            other => unreachable!("a fetch waits for the end of its turn: {other:?}"),
        }
        let (_, answer) = self.shard.outbox.pop()?;
        Some(answer.parts.iter().map(Bytes::len).sum())
    }

    /// A fetch that names one partition, with one batch to read.
    fn read_again(&mut self) -> Duration {
        let request = self.incremental(&[(0, 1)]);
        let began = clock::now().0;
        let answer = self.fetch(&request).unwrap();
        let spent = clock::now().0.since(began);
        assert!(answer > 1_000, "{answer} B");
        spent
    }

    /// A fetch that finds nothing new from `offset` on, then an append, then its answer.
    fn wait_for_one(&mut self, offset: i64) -> Duration {
        let request = self.incremental(&[(0, offset)]);
        let began = clock::now().0;
        assert!(self.fetch(&request).is_none());
        self.append(0);
        self.shard.answer_fetches();
        let spent = clock::now().0.since(began);
        assert_eq!(self.shard.outbox.drain(..).count(), 1);
        spent
    }

    fn dispatch(&mut self, frame: &[u8]) -> Outcome {
        self.sequence += 1;
        let slot = Slot { shard: ShardIndex(0), connection: 1, sequence: self.sequence };
        api::dispatch(&mut self.shard, slot, IpAddr::V4(Ipv4Addr::LOCALHOST), frame)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A request as it comes from a connection.
fn frame<Q: KafkaRequest>(version: i16, request: &Q) -> Vec<u8> {
    let key = Q::API_KEY.value();
    assert!(table::is_flexible(key, version));
    let mut frame = Vec::new();
    frame.extend_from_slice(&key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&7_i32.to_be_bytes());
    frame.extend_from_slice(&[0, 5]);
    frame.extend_from_slice(b"bench");
    frame.push(0);
    let mut body = BytesMut::new();
    request.encode_into(&mut body, ApiVersion::new(version)).unwrap();
    frame.extend_from_slice(&body);
    frame
}

criterion_group!(benches, tail, handler);
criterion_main!(benches);
