//! The scrub, with a disk on which a bit rots: whoever reads the log or not, it is told, and what lies
//! before it is served.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use klamm::base::{LeaderEpoch, Moment, Offset, TopicId, TopicPartition, WallMs};
use klamm::runtime::disk::{BackJob as _, ServantJob as _};
use klamm::sim::Rng;
use klamm::sim::disk::SimDisk;
use klamm::storage::{
    Append, LogConfig, LogId, Read, StorageError, Store, StoreConfig, StoreEvent,
};
use klamm::wire::batch::BatchHeader;
use klamm::wire::codec::Codec;
use klamm::wire::record::{BatchBuilder, ProducerStamp};

const PER_SECOND: u64 = 1 << 20;
const DAY: Duration = Duration::from_hours(24);
const LOGS: u8 = 3;

struct Bed {
    disk: SimDisk,
    store: Store,
    now: Moment,
    events: Vec<StoreEvent>,
}

fn open(disk: &SimDisk, generation: u64, scrub_bytes_per_second: u64) -> Store {
    let config = StoreConfig { scrub_bytes_per_second, ..crate::small_store("/node-0") };
    Store::open(Arc::new(disk.clone()), config, generation, WallMs(0)).unwrap()
}

fn id(store: &Store, log: u8) -> LogId {
    store.find(TopicPartition { topic: TopicId([log + 1; 16]), partition: 0 }).unwrap()
}

impl Bed {
    /// Logs with some sealed segments each; not scrubbed yet.
    fn new(per_second: u64) -> Self {
        let disk = SimDisk::new(1);
        let store = open(&disk, 1, 0);
        let mut bed = Self { disk, store, now: Moment(0), events: Vec::new() };
        let config = LogConfig { segment_bytes: 50_000, ..LogConfig::default() };
        for log in 0..LOGS {
            let tp = TopicPartition { topic: TopicId([log + 1; 16]), partition: 0 };
            bed.store.create(tp, &format!("topic-{log}"), config.clone(), bed.now);
        }
        for _ in 0..100 {
            (0..LOGS).for_each(|log| bed.append(log));
            bed.live(Duration::from_millis(100));
        }
        bed.events.clear();
        bed.store.close().unwrap();
        bed.store = open(&bed.disk, 2, per_second);
        bed
    }

    fn append(&mut self, log: u8) {
        let mut builder = BatchBuilder::default();
        builder.push(0, None, Some(&[7; 1_000]), &[]);
        let batch = builder.build(Codec::None, ProducerStamp::NONE).unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        let how = Append { leader_epoch: LeaderEpoch(0), append_time: None };
        let (log, times) = (id(&self.store, log), (self.now, WallMs(0)));
        self.store.append(log, &batch, &header, how, times).unwrap();
    }

    /// Runs commits and jobs until none is left; how many jobs there were.
    fn work(&mut self) -> usize {
        let (mut jobs, mut count) = (Vec::new(), 0);
        loop {
            let commit = self.store.commit(self.now);
            self.store.jobs(&mut jobs);
            if commit.is_none() && jobs.is_empty() {
                self.store.take_events(&mut self.events);
                return count;
            }
            if let Some(commit) = commit {
                self.store.on_commit(commit.run(), self.now, &mut self.events);
            }
            count += jobs.len();
            for job in jobs.drain(..) {
                self.store.on_job(job.run(&self.disk), self.now, &mut self.events);
            }
        }
    }

    /// Lets the store do what is due, with whatever comes of it, for so long.
    fn live(&mut self, time: Duration) {
        let until = self.now + time;
        self.work();
        while self.store.next_deadline() <= until {
            self.now = self.now.max(self.store.next_deadline());
            self.store.on_time(self.now, WallMs(0));
            self.work();
        }
        self.now = until;
    }

    fn scrubbed(&self) -> u64 {
        self.store.metrics.scrubbed_bytes
    }

    /// Sealed segments.
    fn sealed(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for log in 0..LOGS {
            let dir = format!("/node-0/topic-{log}-0");
            let files = self.disk.files().into_iter().filter(|f| f.starts_with(&dir));
            let mut logs: Vec<_> =
                files.filter(|f| f.extension().is_some_and(|e| e == "log")).collect();
            logs.sort();
            logs.pop();
            found.append(&mut logs);
        }
        found
    }

    fn bytes(&self) -> u64 {
        self.sealed().iter().map(|path| self.disk.bytes(path).len() as u64).sum()
    }
}

#[test]
fn all_sealed_segments_are_read_once_a_day_at_the_pace_that_is_set() {
    let mut bed = Bed::new(PER_SECOND / 10);
    let bytes = bed.bytes();
    assert!(bytes > 2 * PER_SECOND / 10, "{bytes}");
    bed.live(Duration::from_secs(1));
    let slack = 100_000;
    assert!((1..PER_SECOND / 10 + slack).contains(&bed.scrubbed()), "{}", bed.scrubbed());
    bed.live(Duration::from_hours(1));
    // A block is read twice where a window begins in it.
    assert!((bytes..bytes + 20_000).contains(&bed.scrubbed()), "{} of {bytes}", bed.scrubbed());
    let once = bed.scrubbed();
    bed.live(Duration::from_hours(22));
    assert_eq!(bed.scrubbed(), once);
    bed.live(Duration::from_hours(2));
    assert_eq!(bed.scrubbed(), 2 * once);
    assert!(bed.events.is_empty() && bed.store.metrics.scrub_damages == 0, "{:?}", bed.events);
}

#[test]
fn a_bit_that_rots_is_told_though_nobody_reads_and_all_before_it_is_served() {
    for seed in 0..20 {
        let mut bed = Bed::new(PER_SECOND);
        let mut rng = Rng::new(seed);
        let sealed = bed.sealed();
        let path = &sealed[rng.below(sealed.len())];
        let content = bed.disk.bytes(path);
        // Not the leader epoch, which no checksum covers.
        let byte = loop {
            let byte = rng.below(content.len());
            let mut at = 0;
            while let Ok(header) = BatchHeader::parse(&content[at..])
                && at + header.size_bytes <= byte
            {
                at += header.size_bytes;
            }
            if !(12..16).contains(&(byte - at)) {
                break byte;
            }
        };
        bed.disk.rot(path, byte, 3);
        bed.live(Duration::from_hours(1));
        let failed = bed.events.iter().filter_map(|event| match event {
            StoreEvent::Failed { log, error } => Some((*log, Arc::clone(error))),
            _ => None,
        });
        let failed: Vec<_> = failed.collect();
        let [(Some(log), error)] = &failed[..] else { panic!("{seed}: {failed:?}") };
        let StorageError::Corrupt { file, at, offset, .. } = &**error else { panic!("{error}") };
        assert_eq!(file, path);
        assert!((*at..at + 2_000).contains(&(byte as u64)), "{at}, not {byte}");
        assert_eq!(bed.store.metrics.scrub_damages, 1);
        // The others were read as well.
        assert!(bed.scrubbed() > bed.bytes() * 6 / 10, "{} of {}", bed.scrubbed(), bed.bytes());
        check_served(&mut bed, *log, *offset);
    }
}

/// What lies before `damaged` is served, and nothing from there on.
fn check_served(bed: &mut Bed, log: LogId, damaged: Offset) {
    let mut from = Offset(0);
    while from < damaged {
        match bed.store.read(log, from, Offset(100), 1 << 20, true).unwrap() {
            Read::Ready(batches) => from = batches.next,
            Read::Pending => assert!(bed.work() > 0),
        }
    }
    assert_eq!(from, damaged);
    let refused = bed.store.read(log, damaged, Offset(100), 1 << 20, true);
    assert!(matches!(refused, Err(StorageError::Fenced { .. })), "{refused:?}");
}

#[test]
fn a_busy_disk_puts_the_scrub_off_and_does_not_stop_it() {
    let mut bed = Bed::new(PER_SECOND);
    bed.append(0);
    let commit = bed.store.commit(bed.now).unwrap();
    let mut jobs = Vec::new();
    let (begin, limit) = (bed.now, Duration::from_secs(1));
    while jobs.is_empty() {
        bed.now = bed.now.max(bed.store.next_deadline());
        assert!(bed.now <= begin + limit + Duration::from_millis(10), "it waits for ever");
        bed.store.on_time(bed.now, WallMs(0));
        bed.store.jobs(&mut jobs);
    }
    assert!(bed.now >= begin + limit, "a commit is under way");
    assert_eq!(jobs.len(), 1);
    bed.store.on_commit(commit.run(), bed.now, &mut bed.events);
    let before = bed.scrubbed();
    for job in jobs {
        bed.store.on_job(job.run(&bed.disk), bed.now, &mut bed.events);
    }
    assert!(bed.scrubbed() > before);
}

#[test]
fn logs_that_go_while_they_are_read_are_left_alone_and_a_scrub_that_is_off_reads_nothing() {
    let mut bed = Bed::new(PER_SECOND);
    let mut jobs = Vec::new();
    bed.store.on_time(bed.now, WallMs(0));
    bed.store.jobs(&mut jobs);
    assert_eq!(jobs.len(), 1);
    let first = id(&bed.store, 0);
    let end = bed.store.log(first).unwrap().log_end();
    bed.store.delete_records(first, end, bed.now).unwrap();
    bed.store.delete(id(&bed.store, 1));
    bed.work();
    for job in jobs {
        bed.store.on_job(job.run(&bed.disk), bed.now, &mut bed.events);
    }
    bed.live(Duration::from_hours(1));
    let failed = bed.events.iter().any(|e| matches!(e, StoreEvent::Failed { .. }));
    assert!(!failed && bed.store.metrics.scrub_damages == 0, "{:?}", bed.events);
    let mut off = Bed::new(0);
    off.live(DAY);
    assert_eq!(off.scrubbed(), 0);
}
