//! Instructions of whole turns: what a node executes for a request, from the bytes that a client sent
//! to the bytes that it gets back, commits included.
//!
//! Question: did a change make the path of a produce or a fetch request longer?
//! Budget: the counts in `bench/instructions-ARCH.tsv`; more than 3 % above one of them fails.
//!
//! The node runs as it stands, on real files and on the sockets and the clock of the simulator, whose own
//! instructions are part of each count; the kernel's are not. Valgrind's callgrind counts them; a stage is
//! run twice, for more and for fewer rounds, and the difference is what a round takes. So the figure depends neither on the speed
//! of the machine nor on what else it does, but on the compiler: a new one needs new counts.
//!
//! `make bench-check` compares, `make bench-baseline` writes the counts anew.

#![allow(clippy::print_stdout, reason = "the result is a table on standard output")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark stops at what it cannot do"
)]
#![allow(missing_docs, reason = "not a library")]

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use klamm::api::table;
use klamm::base::{Moment, NodeId, WallMs};
use klamm::config::ServerConfig;
use klamm::image;
use klamm::msg;
use klamm::runtime::files::Files;
use klamm::runtime::network::ConnectionId;
use klamm::server::turn::{NetLimits, Node};
use klamm::shard::{CONTROLLER, Shard, Start};
use klamm::sim::net::SimNet;
use klamm::sim::outside::SimOutside;
use klamm::storage::{Store, StoreConfig};
use klamm::wire::ApiVersion;
use klamm::wire::codec::Codec;
use klamm::wire::messages::create_topics_request::CreatableTopic;
use klamm::wire::messages::{self as m, KafkaRequest};
use klamm::wire::record::{BatchBuilder, ProducerStamp};

/// A count may be so much above its baseline.
const SLACK: f64 = 0.03;
/// Rounds of the shorter and of the longer run.
const ROUNDS: (u64, u64) = (200, 600);
const TOPIC: &str = "topic";
const PRODUCE_VERSION: i16 = 9;
/// A version without topic ids, as librdkafka sends it.
const FETCH_VERSION: i16 = 11;
const SOCKET_BYTES: usize = 4 << 20;
/// Where the first partition's offset lies in a fetch request: behind the frame's size, the header, seven
/// fields of the request, the topic's name and the partition's index and epoch.
const FIRST_OFFSET_AT: usize = 4 + (2 + 2 + 4 + 7) + (4 * 4 + 1 + 8 + 4) + (2 + 5 + 4) + (4 + 4);
/// Where the session id lies in an answer: size, correlation id, throttle time, error code.
const SESSION_ID_AT: usize = 4 + 4 + 4 + 2;

/// What is counted.
struct Stage {
    name: &'static str,
    about: &'static str,
    partitions: i32,
    run: fn(&mut Bed, rounds: u64),
}

const STAGES: &[Stage] = &[
    Stage {
        name: "produce",
        about: "a request of one 1 KiB batch, its commit, its answer",
        partitions: 1,
        run: |bed, rounds| bed.produce_often(1, rounds),
    },
    Stage {
        name: "produce_16",
        about: "the same with batches for 16 partitions",
        partitions: 16,
        run: |bed, rounds| bed.produce_often(16, rounds),
    },
    Stage {
        name: "produce_fetch",
        about: "a 1 KiB batch, and a waiting fetch that gets it and waits again",
        partitions: 1,
        run: |bed, rounds| bed.produce_and_fetch(1, rounds),
    },
    Stage {
        name: "produce_fetch_500",
        about: "the same; the fetch names 500 partitions, without a session",
        partitions: 500,
        run: |bed, rounds| bed.produce_and_fetch(500, rounds),
    },
    Stage {
        name: "session_5000",
        about: "the same; the fetch has a session of 5,000 partitions",
        partitions: 5_000,
        run: |bed, rounds| bed.produce_and_fetch_by_session(5_000, rounds),
    },
    Stage {
        name: "metadata",
        about: "the metadata of a topic of 16 partitions",
        partitions: 16,
        run: |bed, rounds| (0..rounds).for_each(|_| bed.ask_metadata()),
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [word, name, rounds] = &args[..]
        && word == "--stage"
    {
        run(name, rounds.parse().expect("a number of rounds"));
        return ExitCode::SUCCESS;
    }
    if !args.iter().any(|a| a == "--bench") {
        for stage in STAGES {
            run(stage.name, 2);
        }
        return ExitCode::SUCCESS;
    }
    let file = format!("bench/instructions-{}.tsv", env::consts::ARCH);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(&file);
    if args.iter().any(|a| a == "--save") {
        let mut text = String::from("# Instructions a round; see bench/instructions.rs.\n");
        for stage in STAGES {
            let _ = writeln!(text, "{}\t{}", stage.name, count(stage));
        }
        print!("{text}");
        fs::write(path, text).unwrap();
        return ExitCode::SUCCESS;
    }
    let Ok(baseline) = fs::read_to_string(path) else {
        println!("there is no {file}: nothing to compare with");
        return ExitCode::SUCCESS;
    };
    let rows = baseline.lines().filter_map(|line| line.split_once('\t'));
    compare(&rows.map(|(name, count)| (name, count.parse().unwrap())).collect())
}

fn compare(baseline: &BTreeMap<&str, u64>) -> ExitCode {
    let mut longer = 0;
    println!("| stage | instructions | baseline | | |\n|---|---|---|---|---|");
    for stage in STAGES {
        let (now, before) = (count(stage), baseline.get(stage.name).copied().unwrap_or(0));
        let ratio = now as f64 / before as f64 - 1.0;
        longer += usize::from(ratio > SLACK);
        let Stage { name, about, .. } = stage;
        println!("| {name} | {now} | {before} | {:+.1} % | {about} |", 100.0 * ratio);
    }
    if longer > 0 {
        println!(
            "{longer} stages are more than 3 % longer than before; `make bench-baseline` if that is meant"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Instructions of one round.
fn count(stage: &Stage) -> u64 {
    let (few, many) = (collected(stage, ROUNDS.0), collected(stage, ROUNDS.1));
    (many - few) / (ROUNDS.1 - ROUNDS.0)
}

fn collected(stage: &Stage, rounds: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().unwrap())
        .args(["--stage", stage.name, &rounds.to_string()])
        .output()
        .expect("valgrind is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let line = said.lines().find_map(|l| l.split_once("Collected : "));
    line.and_then(|(_, count)| count.trim().parse().ok()).expect("callgrind tells its count")
}

fn run(name: &str, rounds: u64) {
    let stage = STAGES.iter().find(|s| s.name == name).expect("a stage");
    (stage.run)(&mut Bed::new(stage.partitions), rounds);
}

/// A node with one topic, a connection that produces and one that fetches.
struct Bed {
    node: Node,
    outside: SimOutside,
    dir: PathBuf,
    producer: ConnectionId,
    consumer: ConnectionId,
    batch: Bytes,
}

impl Bed {
    fn new(partitions: i32) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-data");
        let dir = root.join(format!("instructions-{}", process::id()));
        let (now, wall) = (Moment(1), WallMs(1_700_000_000_000));
        let store = StoreConfig::new(dir.join("node-0"));
        let store = Store::open(Arc::new(Files), store, 1, wall).unwrap();
        let config = Arc::new(ServerConfig::load("", &[]).unwrap());
        let mut shard = Shard::new(CONTROLLER, config, store, 1);
        shard.begin_turn(now, wall);
        let node = image::Node { id: NodeId(0), host: "127.0.0.1".into(), port: 9092, rack: None };
        shard.start_controller(Start { cluster_id: "c".into(), nodes: vec![node], shards: 1 });
        let limits = NetLimits {
            frame_bytes_max: 1 << 20,
            idle_max: Duration::from_hours(1),
            memory_bytes: 256 << 20,
            set_aside_bytes: 0,
            queued_bytes_max: None,
            waiting_max: 50,
        };
        let mut outside = SimOutside::new(SimNet::new(SOCKET_BYTES), 64);
        outside.clock = (now, wall);
        let mut builder = BatchBuilder::default();
        builder.push(wall.0, None, Some(&[b'x'; 950]), &[]);
        let batch = builder.build(Codec::None, ProducerStamp::NONE).unwrap();
        let nobody = ConnectionId(u64::MAX);
        let mut bed = Self {
            node: Node::new(shard, limits),
            outside,
            dir,
            producer: nobody,
            consumer: nobody,
            batch,
        };
        bed.settle();
        bed.producer = bed.outside.net.connect().unwrap();
        bed.consumer = bed.outside.net.connect().unwrap();
        let topic = msg!(CreatableTopic {
            name: TOPIC.into(),
            num_partitions: partitions,
            replication_factor: 1,
        });
        let request = msg!(m::CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000 });
        bed.ask(bed.producer, &frame(7, &request));
        bed
    }

    /// Turns until there is nothing to do but wait for a client.
    fn settle(&mut self) {
        loop {
            self.node.turn(&mut self.outside).unwrap();
            let arrived = [self.producer, self.consumer]
                .map(|id| self.outside.net.deliver(id, usize::MAX))
                .iter()
                .any(|&bytes| bytes > 0);
            if let Some(done) = self.outside.run_commit() {
                self.outside.tell_commit(done);
            }
            while let Some(done) = self.outside.run_job(0, &Files) {
                self.outside.tell_job(done);
            }
            if let Some(done) = self.outside.run_opening() {
                self.outside.tell_opening(done);
            }
            if !arrived && self.outside.is_idle() {
                // A large request goes on after a pause, and time does not pass by itself here.
                match self.node.timeout(self.outside.clock.0) {
                    Some(pause) if pause < Duration::from_millis(1) => {
                        self.outside.clock.0 = self.outside.clock.0 + pause;
                    }
                    _ => return,
                }
            }
        }
    }

    /// Sends a request and settles; what came back by then.
    fn ask(&mut self, id: ConnectionId, frame: &[u8]) -> Vec<u8> {
        self.outside.net.write(id, frame);
        self.settle();
        self.outside.net.read(id, usize::MAX)
    }

    /// A request with a batch for each of the first `partitions`.
    fn batches(&self, partitions: i32) -> Vec<u8> {
        let partition = |index| {
            let records = Some(self.batch.clone());
            msg!(m::produce_request::PartitionProduceData { index, records })
        };
        let partition_data = (0..partitions).map(partition).collect();
        let topic =
            msg!(m::produce_request::TopicProduceData { name: TOPIC.into(), partition_data });
        let topic_data = vec![topic];
        frame(PRODUCE_VERSION, &msg!(m::ProduceRequest { acks: -1, timeout_ms: 1_000, topic_data }))
    }

    fn produce(&mut self, batches: &[u8]) {
        assert!(self.ask(self.producer, batches).len() > 30, "an answer");
    }

    fn produce_often(&mut self, partitions: i32, rounds: u64) {
        let batches = self.batches(partitions);
        for _ in 0..rounds {
            self.produce(&batches);
        }
    }

    fn fetch(session: (i32, i32), partitions: std::ops::Range<i32>) -> Vec<u8> {
        let partition = |partition| {
            let partition_max_bytes = 1 << 20;
            msg!(m::fetch_request::FetchPartition { partition, partition_max_bytes })
        };
        let partitions: Vec<_> = partitions.map(partition).collect();
        let topics = vec![msg!(m::fetch_request::FetchTopic { topic: TOPIC.into(), partitions })];
        let mut request = msg!(m::FetchRequest { topics, max_wait_ms: 500, min_bytes: 1 });
        request.max_bytes = 50 << 20;
        (request.session_id, request.session_epoch) = session;
        frame(FETCH_VERSION, &request)
    }

    /// Fetches from `offset` of the first partition on, waits, and gets a batch.
    fn wait_for_batch(&mut self, fetch: &mut [u8], offset: i64, batches: &[u8]) -> Vec<u8> {
        fetch[FIRST_OFFSET_AT..FIRST_OFFSET_AT + 8].copy_from_slice(&offset.to_be_bytes());
        let early = self.ask(self.consumer, fetch);
        assert!(early.is_empty(), "there is nothing to read: {early:?}");
        self.produce(batches);
        let answer = self.outside.net.read(self.consumer, usize::MAX);
        assert!(answer.len() > 1_000, "the batch");
        answer
    }

    fn produce_and_fetch(&mut self, partitions: i32, rounds: u64) {
        let (mut fetch, batches) = (Self::fetch((0, -1), 0..partitions), self.batches(1));
        for offset in 0..rounds {
            self.wait_for_batch(&mut fetch, offset as i64, &batches);
        }
    }

    fn produce_and_fetch_by_session(&mut self, partitions: i32, rounds: u64) {
        let (mut fetch, batches) = (Self::fetch((0, 0), 0..partitions), self.batches(1));
        let mut id = 0;
        for epoch in 1..=rounds as i32 {
            let answer = self.wait_for_batch(&mut fetch, i64::from(epoch) - 1, &batches);
            if id == 0 {
                let said = answer[SESSION_ID_AT..SESSION_ID_AT + 4].try_into().unwrap();
                id = i32::from_be_bytes(said);
            }
            fetch = Self::fetch((id, epoch), 0..1);
        }
    }

    fn ask_metadata(&mut self) {
        let topic = msg!(m::metadata_request::MetadataRequestTopic { name: Some(TOPIC.into()) });
        let request = msg!(m::MetadataRequest { topics: Some(vec![topic]) });
        assert!(self.ask(self.consumer, &frame(9, &request)).len() > 16 * 20);
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A request as it is sent.
fn frame<Q: KafkaRequest>(version: i16, request: &Q) -> Vec<u8> {
    let key = Q::API_KEY.value();
    let mut body = BytesMut::new();
    request.encode_into(&mut body, ApiVersion::new(version)).unwrap();
    let is_flexible = table::is_flexible(key, version);
    let size = 2 + 2 + 4 + 2 + 5 + usize::from(is_flexible) + body.len();
    let mut frame = Vec::with_capacity(4 + size);
    frame.extend_from_slice(&(size as i32).to_be_bytes());
    frame.extend_from_slice(&key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&7_i32.to_be_bytes());
    frame.extend_from_slice(&[0, 5]);
    frame.extend_from_slice(b"bench");
    frame.extend_from_slice(if is_flexible { &[0] } else { &[] });
    frame.extend_from_slice(&body);
    frame
}
