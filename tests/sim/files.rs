//! On a real file system: the files are Kafka's, a directory from Kafka opens, a killed process
//! loses nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use expect_test::{Expect, expect};
use klamm::base::{LeaderEpoch, Moment, Offset, TopicId, TopicPartition, WallMs};
use klamm::partition::producers::Producers;
use klamm::runtime::disk::{BackJob, ServantJob};
use klamm::runtime::files::Files;
use klamm::storage::{Append, Find, LogConfig, LogId, Read, Store, StoreConfig, StoreEvent};
use klamm::wire::batch::{self, BatchHeader};
use klamm::wire::codec::Codec;
use klamm::wire::record::{BatchBuilder, ProducerStamp};

const TP: TopicPartition = TopicPartition { topic: TopicId([7; 16]), partition: 3 };
const T0: i64 = 1_700_000_000_000;

struct Node {
    dir: PathBuf,
    store: Store,
    log: LogId,
    generation: u64,
    /// Bytes of segments that were read.
    read_bytes: usize,
}

/// A directory of its own, empty.
fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir.join("node-0")
}

fn open(dir: &Path, generation: u64) -> Store {
    let config = StoreConfig { journal_chunk_bytes: 8 << 20, ..StoreConfig::new(dir.to_owned()) };
    Store::open(Arc::new(Files), config, generation, WallMs(T0)).unwrap()
}

fn batch_of(records: usize, value: &[u8], at: i64, producer: ProducerStamp) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for i in 0..records {
        builder.push(at + i as i64, Some(b"k"), Some(value), &[]);
    }
    builder.build(Codec::Lz4, producer).unwrap().to_vec()
}

impl Node {
    fn new(name: &str, config: LogConfig) -> Self {
        let dir = scratch(name);
        let mut store = open(&dir, 1);
        let log = store.create(TP, "t", config, Moment(0));
        Self { dir, store, log, generation: 1, read_bytes: 0 }
    }

    /// Opens the directory again, without a clean stop when there was none.
    fn again(self) -> Self {
        let Self { dir, store, log, generation, .. } = self;
        drop(store);
        let store = open(&dir, generation + 1);
        assert_eq!(store.find(TP), Some(log));
        Self { dir, store, log, generation: generation + 1, read_bytes: 0 }
    }

    fn append(&mut self, batch: &[u8], epoch: i32) -> Offset {
        let header = BatchHeader::parse(batch).unwrap();
        let how = Append { leader_epoch: LeaderEpoch(epoch), append_time: None };
        let times = (Moment(0), WallMs(T0));
        self.store.append(self.log, batch, &header, how, times).unwrap().base_offset
    }

    /// Runs commits and jobs until none is left.
    fn rest(&mut self) -> Vec<StoreEvent> {
        let (mut events, mut jobs) = (Vec::new(), Vec::new());
        loop {
            let commit = self.store.commit(Moment(0));
            self.store.jobs(&mut jobs);
            let lookup = self.store.next_lookup();
            if commit.is_none() && jobs.is_empty() && lookup.is_none() {
                return events;
            }
            if let Some(lookup) = lookup {
                self.store.on_lookup(lookup.run(), &mut events);
            }
            if let Some(commit) = commit {
                self.store.on_commit(commit.run(), Moment(0), &mut events);
            }
            for job in jobs.drain(..) {
                self.read_bytes += job.as_read().map_or(0, |read| read.len);
                self.store.on_job(job.run(&Files), Moment(0), &mut events);
            }
        }
    }

    fn read_all(&mut self) -> Vec<u8> {
        let log = self.store.log(self.log).unwrap();
        let (mut at, end) = (log.log_start(), log.log_end());
        let mut bytes = Vec::new();
        while at < end {
            match self.store.read(self.log, at, end, 1 << 20, true).unwrap() {
                Read::Ready(batches) => {
                    bytes.extend_from_slice(&batches.parts.concat());
                    at = batches.next;
                }
                Read::Pending => drop(self.rest()),
            }
        }
        bytes
    }

    fn find(&mut self, timestamp: i64) -> Option<i64> {
        loop {
            let end = self.store.log(self.log).unwrap().log_end();
            match self.store.find_timestamp(self.log, timestamp, end).unwrap() {
                Find::Ready(found) => return found.map(|(offset, ..)| offset.0),
                Find::Pending => drop(self.rest()),
            }
        }
    }

    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.join("t-3").join(name)).unwrap()
    }
}

fn producer(sequence: i32) -> ProducerStamp {
    ProducerStamp { id: 77, epoch: 2, sequence, transactional: false }
}

/// A log of two segments, closed.
fn two_segments(name: &str) -> (Node, Vec<u8>) {
    let config = LogConfig { segment_bytes: 9_000, ..LogConfig::default() };
    let mut node = Node::new(name, config);
    let mut expected = Vec::new();
    for i in 0..16 {
        let value: Vec<u8> =
            (0..1500_u32).map(|k| (k.wrapping_mul(0x9e37_79b1 ^ i) >> 13) as u8).collect();
        let mut batch = batch_of(2, &value, T0 + 10 * i64::from(i), producer(2 * i as i32));
        let base = node.append(&batch, (i / 5) as i32);
        batch::set_base_offset(&mut batch, base);
        batch::set_leader_epoch(&mut batch, LeaderEpoch((i / 5) as i32));
        expected.extend_from_slice(&batch);
    }
    node.rest();
    node.store.close().unwrap();
    (node, expected)
}

fn check(actual: &[String], expect: &Expect) {
    expect.assert_eq(&(actual.join("\n") + "\n"));
}

#[test]
fn the_files_of_a_log_are_kafkas() {
    let (node, expected) = two_segments("formats");
    let mut names: Vec<_> = fs::read_dir(node.dir.join("t-3"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    check(
        &names,
        &expect![[r"
            00000000000000000000.index
            00000000000000000000.log
            00000000000000000000.timeindex
            00000000000000000020.index
            00000000000000000020.log
            00000000000000000020.snapshot
            00000000000000000020.timeindex
            00000000000000000032.snapshot
            leader-epoch-checkpoint
            partition.metadata
        "]],
    );
    let bases: Vec<_> = names.iter().filter_map(|n| n.strip_suffix(".log")).collect();
    let logs: Vec<_> = bases.iter().flat_map(|b| node.file(&format!("{b}.log"))).collect();
    assert!(logs == expected, "segments hold the batches as they were sent");
    check_indexes(&node, &bases);
    check_checkpoints(&node);
}

fn check_indexes(node: &Node, bases: &[&str]) {
    let mut entries = Vec::new();
    for base in bases {
        for e in node.file(&format!("{base}.index")).chunks_exact(8) {
            let word = |at: usize| u32::from_be_bytes(e[at..at + 4].try_into().unwrap());
            entries.push(format!("{base} offset {} position {}", word(0), word(4)));
        }
        for e in node.file(&format!("{base}.timeindex")).chunks_exact(12) {
            let time = i64::from_be_bytes(e[..8].try_into().unwrap()) - T0;
            let offset = u32::from_be_bytes(e[8..].try_into().unwrap());
            entries.push(format!("{base} time {time} offset {offset}"));
        }
    }
    check(
        &entries,
        &expect![[r"
            00000000000000000000 offset 11 position 4296
            00000000000000000000 time 51 offset 11
            00000000000000000000 time 91 offset 19
            00000000000000000020 offset 9 position 5398
            00000000000000000020 time 141 offset 9
            00000000000000000020 time 151 offset 11
        "]],
    );
}

fn check_checkpoints(node: &Node) {
    let text = |path: &str| fs::read_to_string(node.dir.join(path)).unwrap();
    let texts = [
        "t-3/leader-epoch-checkpoint",
        "t-3/partition.metadata",
        "recovery-point-offset-checkpoint",
        "log-start-offset-checkpoint",
        "replication-offset-checkpoint",
        ".kafka_cleanshutdown",
    ]
    .map(|path| format!("{path}: {:?}", text(path)));
    check(
        &texts,
        &expect![[r#"
        t-3/leader-epoch-checkpoint: "0\n4\n0 0\n1 10\n2 20\n3 30\n"
        t-3/partition.metadata: "version: 0\ntopic_id: BwcHBwcHBwcHBwcHBwcHBw\ncrc: 94acaaa3\n"
        recovery-point-offset-checkpoint: "0\n1\nt 3 32\n"
        log-start-offset-checkpoint: "0\n1\nt 3 0\n"
        replication-offset-checkpoint: "0\n1\nt 3 32\n"
        .kafka_cleanshutdown: "{\"version\":0,\"brokerEpoch\":-1}"
    "#]],
    );
    let snapshot = node.file("00000000000000000032.snapshot");
    assert_eq!(snapshot[..2], [0, 1]);
    assert_eq!(snapshot[10..18], 77_i64.to_be_bytes());
    let producers = Producers::from_snapshot(&snapshot).unwrap();
    assert_eq!(producers.iter().next().unwrap().1.last_sequence(), 31);
}

#[test]
fn a_clean_stop_and_a_start_keep_everything() {
    let (node, expected) = two_segments("clean");
    let mut node = node.again();
    assert!(node.read_all() == expected);
    let log = node.store.log(node.log).unwrap();
    assert_eq!(
        (log.log_start(), log.log_end(), log.durable_end()),
        (Offset(0), Offset(32), Offset(32))
    );
    assert_eq!(log.epochs().to_text(), "0\n4\n0 0\n1 10\n2 20\n3 30\n");
    assert_eq!(log.producers().iter().next().unwrap().1.last_sequence(), 31);
    assert_eq!(node.find(T0 + 71), Some(15), "in a sealed segment");
    assert_eq!(node.find(T0 + 150), Some(30), "in the active one");
    assert_eq!(node.find(T0 + 152), None);
    let batch = batch_of(1, b"more", T0 + 500, ProducerStamp::NONE);
    assert_eq!(node.append(&batch, 4), Offset(32));
    node.rest();
    assert_eq!(node.find(T0 + 152), Some(32));
}

#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    let mut node = Node::new("killed", LogConfig::default());
    let mut durable = Offset(0);
    for round in 0..4 {
        for i in 0..50 {
            let value = vec![i as u8; [100, 40_000, 900_000][i % 3]];
            let mut builder = BatchBuilder::default();
            builder.push(T0, None, Some(&value), &[]);
            let batch = builder.build(Codec::None, ProducerStamp::NONE).unwrap();
            node.append(&batch, round);
            if i % 7 == 0 {
                node.rest();
                durable = node.store.log(node.log).unwrap().log_end();
            }
        }
        node = node.again();
        let end = node.store.log(node.log).unwrap().log_end();
        assert!(end >= durable, "{end} is below {durable}");
        let bytes = node.read_all();
        let next = batch::iter(&bytes).fold(0, |next, (header, batch)| {
            header.check_crc(batch).unwrap();
            assert_eq!(header.base_offset.0, next);
            header.next_offset().0
        });
        assert_eq!(next, end.0);
    }
}

#[test]
fn large_batches_are_read_back_without_reading_a_byte_twice() {
    let mut node = Node::new("large", LogConfig::default());
    let sizes = [350_000, 700_000, 20_000, 500_000];
    for size in sizes.into_iter().cycle().take(40) {
        let mut builder = BatchBuilder::default();
        builder.push(T0, None, Some(&vec![7; size]), &[]);
        node.append(&builder.build(Codec::None, ProducerStamp::NONE).unwrap(), 0);
        node.rest();
    }
    node.store.close().unwrap();
    let mut node = node.again();
    let bytes = node.read_all();
    let batches = batch::iter(&bytes);
    assert_eq!(batches.inspect(|(h, batch)| h.check_crc(batch).unwrap()).count(), 40);
    let twice = node.read_bytes - bytes.len();
    assert!(twice < bytes.len() / 50, "{twice} of {} bytes again", bytes.len());
}

#[test]
fn a_directory_from_kafka_opens() {
    let dir = scratch("copied");
    let log = dir.join("t-3");
    fs::create_dir_all(&log).unwrap();
    let mut batch = batch_of(5, b"from Kafka", T0, producer(0));
    batch::set_leader_epoch(&mut batch, LeaderEpoch(9));
    let mut second = batch_of(2, b"too", T0 + 50, producer(5));
    batch::set_base_offset(&mut second, Offset(5));
    batch::set_leader_epoch(&mut second, LeaderEpoch(9));
    let expected = [batch, second].concat();
    fs::write(log.join("00000000000000000000.log"), &expected).unwrap();
    fs::write(log.join("00000000000000000000.index"), vec![0; 1 << 20]).unwrap();
    fs::write(log.join("00000000000000000000.timeindex"), vec![0; 1 << 20]).unwrap();
    fs::write(log.join("00000000000000000009.index"), b"stray").unwrap();
    fs::write(log.join("00000000000000000002.log.deleted"), b"stray").unwrap();
    fs::write(log.join("partition.metadata"), format!("version: 0\ntopic_id: {}\n", TP.topic))
        .unwrap();
    let store = open(&dir, 1);
    let id = store.find(TP).unwrap();
    let mut node = Node { dir, store, log: id, generation: 1, read_bytes: 0 };
    assert!(node.read_all() == expected);
    assert_eq!(node.find(T0 + 50), Some(5));
    let state = node.store.log(id).unwrap();
    assert_eq!(state.epochs().latest(), Some(LeaderEpoch(9)));
    assert_eq!(state.producers().iter().next().unwrap().1.last_sequence(), 6);
    assert!(!log.join("00000000000000000009.index").exists());
    assert!(!log.join("00000000000000000002.log.deleted").exists());
}
