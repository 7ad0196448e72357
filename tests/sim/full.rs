//! A log whose segments take no writes, or which has very much to write, beside one that goes on: nothing
//! acknowledged is lost, and the journal comes around, or says why it cannot.

use std::path::Path;
use std::sync::Arc;

use klamm::base::{LeaderEpoch, Moment, Offset, TopicId, TopicPartition, WallMs};
use klamm::runtime::disk::{BackJob as _, ServantJob as _};
use klamm::sim::disk::SimDisk;
use klamm::storage::{
    Append, LogConfig, LogId, Read, StorageError, Store, StoreConfig, StoreEvent,
};
use klamm::wire::batch::{self, BatchHeader};
use klamm::wire::codec::Codec;
use klamm::wire::record::{BatchBuilder, ProducerStamp};

const TOPICS: [&str; 2] = ["stuck", "free"];

fn tp(i: usize) -> TopicPartition {
    TopicPartition { topic: TopicId([i as u8 + 1; 16]), partition: 0 }
}

struct Node {
    disk: SimDisk,
    store: Store,
    now: Moment,
    /// What each log acknowledged: its batches, in order.
    acked: [Vec<Vec<u8>>; 2],
    durable: [i64; 2],
    failures: Vec<(Option<LogId>, Arc<StorageError>)>,
}

fn config(chunks: u64) -> StoreConfig {
    StoreConfig {
        journal_bytes: chunks * (64 << 10),
        checkpoint_ms: 100,
        ..crate::small_store("/node-0")
    }
}

fn open(disk: &SimDisk, generation: u64, config: StoreConfig) -> Store {
    Store::open(Arc::new(disk.clone()), config, generation, WallMs(0)).unwrap()
}

impl Node {
    fn new(store_config: StoreConfig) -> Self {
        let disk = SimDisk::new(1);
        let mut store = open(&disk, 1, store_config);
        let config = LogConfig { segment_bytes: 100_000, ..LogConfig::default() };
        for (i, topic) in TOPICS.iter().enumerate() {
            store.create(tp(i), topic, config.clone(), Moment(0));
        }
        let (acked, durable) = ([Vec::new(), Vec::new()], [0, 0]);
        let mut node = Self { disk, store, now: Moment(0), acked, durable, failures: Vec::new() };
        node.rest();
        node
    }

    fn log(&self, i: usize) -> LogId {
        self.store.find(tp(i)).unwrap()
    }

    /// Appends a batch of about `size` bytes; the batch, and the offset of its last record.
    fn append(&mut self, i: usize, size: usize) -> Option<(Vec<u8>, Offset)> {
        let number = self.acked[i].len();
        let value: Vec<u8> = (0..size).map(|k| (k * 13 + number * 7 + i) as u8).collect();
        let mut builder = BatchBuilder::default();
        builder.push(1_700_000_000_000, None, Some(&value), &[]);
        let mut bytes = builder.build(Codec::None, ProducerStamp::NONE).unwrap().to_vec();
        let header = BatchHeader::parse(&bytes).unwrap();
        let how = Append { leader_epoch: LeaderEpoch(0), append_time: None };
        let (log, times) = (self.log(i), (self.now, WallMs(0)));
        let appended = self.store.append(log, &bytes, &header, how, times).ok()?;
        batch::set_base_offset(&mut bytes, appended.base_offset);
        batch::set_leader_epoch(&mut bytes, LeaderEpoch(0));
        Some((bytes, appended.last_offset))
    }

    /// The same, and lets all come to rest; whether it is acknowledged.
    fn produce(&mut self, i: usize, size: usize) -> bool {
        let Some((bytes, last)) = self.append(i, size) else { return false };
        self.rest();
        let is_acked = self.durable[i] > last.0;
        if is_acked {
            self.acked[i].push(bytes);
        }
        is_acked
    }

    /// Lets some time pass, with all that is to be done.
    fn rest(&mut self) {
        for _ in 0..3 {
            self.now = self.now.plus_ms(60);
            self.store.on_time(self.now, WallMs(0));
            self.work();
        }
    }

    /// Runs commits and jobs until none is left.
    fn work(&mut self) {
        let (mut events, mut jobs) = (Vec::new(), Vec::new());
        loop {
            let commit = self.store.commit(self.now);
            self.store.jobs(&mut jobs);
            self.store.take_events(&mut events);
            if commit.is_none() && jobs.is_empty() {
                break;
            }
            if let Some(commit) = commit {
                self.store.on_commit(commit.run(), self.now, &mut events);
            }
            for job in jobs.drain(..) {
                self.store.on_job(job.run(&self.disk), self.now, &mut events);
            }
        }
        for event in events {
            match event {
                StoreEvent::Durable { log, end } => {
                    let i = (0..2).find(|i| self.log(*i) == log).unwrap();
                    self.durable[i] = end.0;
                }
                StoreEvent::Failed { log, error } => self.failures.push((log, error)),
                _ => (),
            }
        }
    }

    fn stick(&self) {
        self.disk.set_full(Some(Path::new("/node-0/stuck-0")));
    }

    /// There is room again, and the node starts: everything acknowledged is served.
    fn check_after_restart(mut self) {
        self.disk.set_full(None);
        self.store = open(&self.disk, 2, config(4));
        self.failures.clear();
        for (i, topic) in TOPICS.iter().enumerate() {
            let id = self.log(i);
            for (offset, batch) in self.acked[i].clone().iter().enumerate() {
                let at = Offset(offset as i64);
                let read = loop {
                    let end = self.store.log(id).unwrap().log_end();
                    match self.store.read(id, at, end, 1, true).unwrap() {
                        Read::Ready(read) => break read.parts.concat(),
                        Read::Pending => self.rest(),
                    }
                };
                assert!(read == *batch, "{topic} {offset}");
            }
            assert!(self.produce(i, 100), "it takes appends");
        }
        assert!(self.failures.is_empty(), "{:?}", self.failures);
    }
}

#[test]
fn a_log_that_cannot_be_written_keeps_its_journal_and_others_go_on_for_many_times_its_size() {
    let mut node = Node::new(config(4));
    assert!(node.produce(0, 2_000) && node.produce(1, 2_000));
    node.stick();
    while node.produce(0, 900) {
        assert!(node.acked[0].len() < 100, "the log never notices");
    }
    for i in 0..1_500 {
        assert!(node.produce(1, 2_000), "{i}: {:?}", node.failures);
    }
    let [(Some(log), error)] = &node.failures[..] else { panic!("{:?}", node.failures) };
    assert_eq!(*log, node.log(0));
    assert!(error.to_string().contains("/node-0/stuck-0"), "{error}");
    assert!(error.remedy().contains("free space"), "{}", error.remedy());
    node.check_after_restart();
}

#[test]
fn a_journal_that_is_full_of_what_cannot_be_written_stops_the_node_and_a_restart_has_it_all() {
    let mut node = Node::new(config(4));
    node.stick();
    // More at once than a commit repeats: it comes through the journal, and fails only when written.
    let mut more = true;
    while more {
        more = node.produce(0, 3_000);
    }
    let mut produced = 0;
    while node.produce(1, 2_000) {
        produced += 1;
        assert!(produced < 2_000, "the journal holds all of that?");
    }
    let held = |f: &(Option<LogId>, Arc<StorageError>)| {
        f.0.is_none() && matches!(*f.1, StorageError::JournalHeld { .. })
    };
    assert!(node.failures.iter().any(held), "{:?}", node.failures);
    node.check_after_restart();
}

#[test]
fn a_full_file_system_holds_no_log_up_while_the_journal_has_room_and_all_go_on_once_there_is_more()
{
    let mut node = Node::new(StoreConfig { commit_bytes_max: 40 << 10, ..config(32) });
    assert!(node.produce(0, 2_000) && node.produce(1, 2_000));
    node.disk.set_full(Some(Path::new("/node-0")));
    // The last ones are as large as goes to segments directly while there is room.
    for (i, size) in [2_000, 2_000, 2_000, 9_000].into_iter().enumerate() {
        for log in 0..2 {
            assert!(node.produce(log, size), "{i}: {:?}", node.failures);
        }
    }
    for _ in 0..100 {
        node.rest();
    }
    node.disk.set_full(None);
    for _ in 0..20 {
        node.rest();
    }
    for i in 0..1_500 {
        assert!(node.produce(i % 2, 2_000), "{i}: {:?}", node.failures);
    }
    assert!(node.failures.is_empty(), "{:?}", node.failures);
    node.disk.restart();
    node.check_after_restart();
}

#[test]
fn a_journal_that_is_full_and_finds_no_room_for_more_stops_the_node_and_a_restart_has_it_all() {
    let mut node = Node::new(config(16));
    node.disk.set_full(Some(Path::new("/node-0")));
    let mut produced = 0;
    while node.produce(produced % 2, 50) {
        produced += 1;
        assert!(produced < 200, "the journal holds all of that?");
    }
    assert!(produced > 10, "{produced}: {:?}", node.failures);
    let [(None, error)] = &node.failures[..] else { panic!("{:?}", node.failures) };
    assert!(error.remedy().contains("free space"), "{}", error.remedy());
    node.check_after_restart();
}

#[test]
fn a_journal_that_waited_for_its_next_file_takes_requests_again_once_that_is_there() {
    let mut node = Node::new(config(16));
    let batch = |number: u8| {
        let mut builder = BatchBuilder::default();
        builder.push(1_700_000_000_000, None, Some(&[number; 3_000]), &[]);
        builder.build(Codec::None, ProducerStamp::NONE).unwrap()
    };
    let (log, mut events) = (node.log(1), Vec::new());
    let how = Append { leader_epoch: LeaderEpoch(0), append_time: None };
    for number in 0..=100 {
        let bytes = batch(number);
        let header = BatchHeader::parse(&bytes).unwrap();
        node.store.append(log, &bytes, &header, how, (node.now, WallMs(0))).unwrap();
        let Some(commit) = node.store.commit(node.now) else { break };
        node.store.on_commit(commit.run(), node.now, &mut events);
        assert!(number < 100, "the journal has room though no file was made");
    }
    assert!(node.store.is_full());
    let mut jobs = Vec::new();
    node.store.jobs(&mut jobs);
    for job in jobs {
        node.store.on_job(job.run(&node.disk), node.now, &mut events);
    }
    let commit = node.store.commit(node.now).expect("there is room now");
    assert!(!node.store.is_full(), "requests are held though there is room");
    node.store.on_commit(commit.run(), node.now, &mut events);
}

/// What has become durable, and up to where.
fn durable(events: &mut Vec<StoreEvent>) -> Vec<(LogId, i64)> {
    let end = |e: StoreEvent| match e {
        StoreEvent::Durable { log, end } => Some((log, end.0)),
        _ => None,
    };
    events.drain(..).filter_map(end).collect()
}

#[test]
fn a_large_batch_is_written_in_parts_and_small_ones_are_durable_in_between() {
    let mut node = Node::new(config(16));
    assert!(node.produce(0, 9_000) && node.produce(1, 100));
    let (large, last) = node.append(0, 90_000).unwrap();
    let (mut events, mut small, mut ends) = (Vec::new(), 0, Vec::new());
    // However much more comes: it is not waited for.
    while !ends.contains(&(node.log(0), last.0 + 1)) {
        let (bytes, small_last) = node.append(1, 100).unwrap();
        node.append(0, 30_000).unwrap();
        for _ in 0..2 {
            let commit = node.store.commit(node.now).unwrap();
            node.store.on_commit(commit.run(), node.now, &mut events);
        }
        ends.extend(durable(&mut events));
        assert!(ends.contains(&(node.log(1), small_last.0 + 1)), "{ends:?}");
        node.acked[1].push(bytes);
        small += 1;
        assert!(small < 10, "{ends:?}");
    }
    assert!(small >= 2, "the large batch was not in parts");
    node.acked[0].push(large);
    node.disk.restart();
    node.check_after_restart();
}

#[test]
fn many_new_logs_do_not_hold_up_one_that_was_there_and_none_has_records_before_it_is_created() {
    let mut node = Node::new(config(16));
    assert!(node.produce(0, 100) && node.produce(1, 100));
    let of = |i: u8| TopicPartition { topic: TopicId([100 + i; 16]), partition: 0 };
    for i in 0..5 {
        node.store.create(of(i), &format!("new-{i}"), LogConfig::default(), node.now);
    }
    let (bytes, last) = node.append(0, 100).unwrap();
    let header = BatchHeader::parse(&bytes).unwrap();
    let how = Append { leader_epoch: LeaderEpoch(0), append_time: None };
    let newest = node.store.find(of(4)).unwrap();
    node.store.append(newest, &bytes, &header, how, (node.now, WallMs(0))).unwrap();
    let mut ends = Vec::new();
    for _ in 0..5 {
        let (commit, mut events) = (node.store.commit(node.now).unwrap(), Vec::new());
        node.store.on_commit(commit.run(), node.now, &mut events);
        ends.push(durable(&mut events));
    }
    let (old, new) = (vec![(node.log(0), last.0 + 1)], vec![(newest, 1)]);
    assert_eq!(ends, [old, vec![], vec![], vec![], new]);
    node.acked[0].push(bytes);
    node.disk.restart();
    node.check_after_restart();
}

#[test]
fn memory_of_what_commits_have_written_is_given_back_without_a_further_append() {
    let mut node = Node::new(config(16));
    node.store.configure(node.log(1), LogConfig::default());
    for _ in 0..20 {
        node.append(1, 8_000).unwrap();
        node.work();
    }
    for _ in 0..11 {
        node.append(1, 8_000).unwrap();
    }
    let before = node.store.cache_bytes();
    node.work();
    let after = node.store.cache_bytes();
    assert!(before > 96 << 10 && after <= 64 << 10, "{before} bytes, then {after}");
}

/// Bytes that are not durable, at most, of a log that nobody waits for while no time passes.
fn most_unsynced(cache_bytes: usize) -> usize {
    let few = StoreConfig { lazy_flush_bytes: 32 << 10, cache_bytes, ..config(4) };
    let mut node = Node::new(few);
    let lazy = LogConfig { flush_messages: i64::MAX, ..LogConfig::default() };
    node.store.configure(node.log(0), lazy);
    let mut most = 0;
    for _ in 0..60 {
        node.append(0, 1_000).unwrap();
        most = most.max(node.store.dirty_bytes());
        node.work();
    }
    most
}

#[test]
fn what_nobody_waits_for_is_committed_in_smaller_lots_while_much_of_the_cache_is_not_durable() {
    let (lot, batch) = (32 << 10, 1_100);
    assert!((lot..lot + batch).contains(&most_unsynced(1 << 20)));
    assert!((lot / 4..lot / 4 + batch).contains(&most_unsynced(32 << 10)));
    assert!((lot / 2..lot / 2 + batch).contains(&most_unsynced(64 << 10)));
}
