//! Very many segments that go at once: all of them, no others, and a few at a time.

use std::path::Path;
use std::sync::Arc;

use klamm::base::{LeaderEpoch, Moment, Offset, TopicId, TopicPartition, WallMs};
use klamm::runtime::disk::{BackJob as _, Disk as _, ServantJob as _};
use klamm::sim::disk::SimDisk;
use klamm::storage::{Append, Job, LogConfig, LogId, Store, StoreConfig, StoreEvent};
use klamm::wire::batch::BatchHeader;
use klamm::wire::codec::Codec;
use klamm::wire::record::{BatchBuilder, ProducerStamp};

const CHECK_MS: i64 = 10_000;
/// Of one batch, which fills a segment.
const BATCH_BYTES: i64 = 900;
const NEW: WallMs = WallMs(1_700_000_000_000);
const OLD: WallMs = WallMs(NEW.0 + 10_000_000);

struct Bed {
    disk: SimDisk,
    store: Store,
    now: Moment,
    wall: WallMs,
}

fn open(disk: &SimDisk, generation: u64) -> Store {
    let config = StoreConfig { retention_check_ms: CHECK_MS, ..crate::small_store("/node-0") };
    Store::open(Arc::new(disk.clone()), config, generation, NEW).unwrap()
}

fn config(retention_ms: i64, retention_bytes: i64) -> LogConfig {
    LogConfig { segment_bytes: 1_000, retention_ms, retention_bytes, ..LogConfig::default() }
}

impl Bed {
    /// So many logs with so many full segments each, of which only the last is new to the store.
    fn new(logs: u8, segments: usize) -> Self {
        let disk = SimDisk::new(1);
        let store = open(&disk, 1);
        let mut bed = Self { disk, store, now: Moment(0), wall: NEW };
        let mut builder = BatchBuilder::default();
        builder.push(NEW.0, None, Some(&vec![7; BATCH_BYTES as usize - 70]), &[]);
        let batch = builder.build(Codec::None, ProducerStamp::NONE).unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        let how = Append { leader_epoch: LeaderEpoch(0), append_time: None };
        for log in 0..logs {
            let tp = TopicPartition { topic: TopicId([log + 1; 16]), partition: 0 };
            let id = bed.store.create(tp, &format!("topic-{log}"), config(-1, -1), bed.now);
            for _ in 0..segments {
                bed.store.append(id, &batch, &header, how, (bed.now, NEW)).unwrap();
                bed.work();
            }
        }
        bed.store.close().unwrap();
        bed.store = open(&bed.disk, 2);
        for log in 0..logs {
            assert_eq!(bed.log(log).segment_count(), segments);
        }
        bed
    }

    fn id(&self, log: u8) -> LogId {
        let tp = TopicPartition { topic: TopicId([log + 1; 16]), partition: 0 };
        self.store.find(tp).unwrap()
    }

    fn log(&self, log: u8) -> &klamm::storage::Log {
        self.store.log(self.id(log)).unwrap()
    }

    /// The search for what is too old comes around.
    fn search(&mut self) {
        self.now = self.now.plus_ms(CHECK_MS);
        self.store.on_time(self.now, self.wall);
    }

    fn commit(&mut self, events: &mut Vec<StoreEvent>) -> bool {
        let Some(commit) = self.store.commit(self.now) else { return false };
        self.store.on_commit(commit.run(), self.now, events);
        true
    }

    fn jobs(&mut self) -> Vec<Job> {
        let mut jobs = Vec::new();
        self.store.jobs(&mut jobs);
        jobs
    }

    /// Runs commits and jobs, a millisecond each, until there was none for a while: a full journal waits
    /// for its checkpoint, and what nobody waits for is committed after a second.
    fn work(&mut self) {
        let (mut events, mut idle) = (Vec::new(), 0);
        for _ in 0..5_000 {
            self.now = self.now.plus_ms(1);
            self.store.on_time(self.now, self.wall);
            let committed = self.commit(&mut events);
            let jobs = self.jobs();
            idle = if committed || !jobs.is_empty() { 0 } else { idle + 1 };
            if idle > 1_100 {
                return;
            }
            for job in jobs {
                self.store.on_job(job.run(&self.disk), self.now, &mut events);
            }
        }
        panic!("the work never ends");
    }

    /// Files of batches.
    fn files(&self, log: u8) -> usize {
        let names = self.disk.list(Path::new(&format!("/node-0/topic-{log}-0"))).unwrap();
        names.iter().filter(|name| name.strip_suffix(".log").is_some()).count()
    }
}

#[test]
fn all_that_is_too_old_goes_though_few_indexes_are_kept_in_memory() {
    for (logs, segments) in [(1, 150), (70, 3)] {
        let mut bed = Bed::new(logs, segments);
        for log in 0..logs {
            bed.store.configure(bed.id(log), config(1_000_000, -1));
        }
        bed.search();
        bed.work();
        assert_eq!(bed.log(0).log_start(), Offset(0), "none is old");
        bed.wall = OLD;
        for _ in 0..=logs / 64 {
            bed.search();
        }
        bed.work();
        for log in 0..logs {
            let state = bed.log(log);
            assert_eq!((state.log_start(), state.segment_count()), (state.log_end(), 1), "{log}");
            assert_eq!(bed.files(log), 0, "{log}");
        }
    }
}

#[test]
fn what_goes_by_size_counts_once_however_often_it_is_looked_for() {
    let mut bed = Bed::new(1, 50);
    let bytes = bed.log(0).size_bytes() as i64;
    bed.store.configure(bed.id(0), config(-1, bytes - 10 * BATCH_BYTES));
    bed.search();
    let start = bed.log(0).log_start();
    assert!((Offset(8)..=Offset(11)).contains(&start), "{start:?}");
    assert!(bed.store.commit(bed.now).is_none(), "it needs no sync of its own");
    bed.search();
    assert_eq!(bed.log(0).log_start(), start, "its end is not in the journal yet");
    let commit = bed.store.commit(bed.now).unwrap();
    bed.search();
    let mut events = Vec::new();
    bed.store.on_commit(commit.run(), bed.now, &mut events);
    bed.search();
    bed.work();
    bed.search();
    bed.work();
    assert_eq!(
        (bed.log(0).log_start(), bed.log(0).segment_count()),
        (start, 50 - start.0 as usize)
    );
}

#[test]
fn the_log_start_moves_at_once_and_the_files_go_a_few_at_a_time() {
    let mut bed = Bed::new(1, 200);
    let end = bed.log(0).log_end();
    bed.store.delete_records(bed.id(0), Offset(end.0 - 2), bed.now).unwrap();
    let mut events = Vec::new();
    while bed.commit(&mut events) {}
    let moved = |e: &StoreEvent| matches!(e, StoreEvent::LogStartMoved { start, .. } if start.0 == end.0 - 2);
    assert!(events.iter().any(moved), "{events:?}");
    let (mut left, mut steps) = (200_usize, 0);
    while left > 2 {
        let jobs = bed.jobs();
        assert_eq!(jobs.len(), 1, "{left} are left");
        for job in jobs {
            bed.store.on_job(job.run(&bed.disk), bed.now, &mut events);
        }
        let now = bed.files(0);
        assert!((left.saturating_sub(16)..left).contains(&now), "{left} files, then {now}");
        (left, steps) = (now, steps + 1);
    }
    assert_eq!((left, steps, bed.log(0).segment_count()), (2, 13, 2));
    bed.store.close().unwrap();
    bed.store = open(&bed.disk, 3);
    assert_eq!(bed.log(0).log_start(), Offset(end.0 - 2));
}

#[test]
fn a_crash_while_files_go_leaves_none_that_nobody_needs() {
    let mut bed = Bed::new(1, 100);
    let end = bed.log(0).log_end();
    bed.store.delete_records(bed.id(0), end, bed.now).unwrap();
    let mut events = Vec::new();
    while bed.commit(&mut events) {}
    for job in bed.jobs() {
        bed.store.on_job(job.run(&bed.disk), bed.now, &mut events);
    }
    assert!(bed.files(0) > 50);
    bed.disk.restart();
    bed.store = open(&bed.disk, 3);
    bed.work();
    assert_eq!((bed.log(0).log_start(), bed.log(0).log_end()), (end, end));
    assert!(bed.files(0) <= 1, "{}", bed.files(0));
}
