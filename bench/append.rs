//! Appending and committing on the real disk, without a shard around it.
//!
//! Question: what does an append cost, and does a commit stay one write and one sync however many
//! partitions are in it? `append` is the time per append; `commit` the time per commit: taking it,
//! the committer's write and sync in place, and hearing of it.
//! Budget: append < 1 us; a commit of 1,000 partitions < 5 x one of a single partition (it writes
//! 1 MiB instead of 4 KiB), of 64 partitions < 1.5 x.
//! Batches of 1 KiB, one per partition and commit; the store lies under target/ and goes at the end.

#![allow(missing_docs, reason = "criterion_group! generates an undocumented function")]
#![allow(clippy::unwrap_used, reason = "a benchmark stops at what it cannot do")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use klamm::base::{LeaderEpoch, Moment, TopicId, TopicPartition};
use klamm::runtime::clock;
use klamm::runtime::disk::{BackJob, ServantJob};
use klamm::runtime::files::Files;
use klamm::storage::{Append, LogConfig, LogId, Store, StoreConfig, StoreEvent};
use klamm::wire::batch::BatchHeader;
use klamm::wire::codec::Codec;
use klamm::wire::record::{BatchBuilder, ProducerStamp};

const DIRTY: [usize; 3] = [1, 64, 1000];
const HOW: Append = Append { leader_epoch: LeaderEpoch(0), append_time: None };

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for dirty in DIRTY {
        let mut bed = Bed::new(dirty);
        group.bench_function(BenchmarkId::new("append", dirty), |b| {
            b.iter_custom(|appends| {
                let rounds = appends.div_ceil(dirty as u64);
                let spent: Duration = (0..rounds).map(|_| bed.round().0).sum();
                spent.mul_f64(appends as f64 / (rounds * dirty as u64) as f64)
            });
        });
        group.bench_function(BenchmarkId::new("commit", dirty), |b| {
            b.iter_custom(|commits| (0..commits).map(|_| bed.round().1).sum());
        });
    }
    group.finish();
}

/// A store with logs.
struct Bed {
    store: Store,
    logs: Vec<LogId>,
    batch: Bytes,
    header: BatchHeader,
    events: Vec<StoreEvent>,
    dir: PathBuf,
}

impl Bed {
    fn new(logs: usize) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-data");
        let dir = root.join(format!("append-{}-{logs}", std::process::id()));
        let (now, wall) = clock::now();
        let config = StoreConfig { checkpoint_ms: 1_000, ..StoreConfig::new(dir.join("node-0")) };
        let mut store = Store::open(Arc::new(Files), config, now.0, wall).unwrap();
        let mut create = |i| {
            let tp = TopicPartition { topic: TopicId([1; 16]), partition: i };
            store.create(tp, "t", LogConfig::default(), now)
        };
        let logs = (0..logs as i32).map(&mut create).collect();
        let mut builder = BatchBuilder::default();
        builder.push(wall.0, None, Some(&[b'x'; 950]), &[]);
        let batch = builder.build(Codec::None, ProducerStamp::NONE).unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        Self { store, logs, batch, header, events: Vec::new(), dir }
    }

    /// An append to every log, then a commit of them all: how long the appends took, and the commit.
    fn round(&mut self) -> (Duration, Duration) {
        self.back();
        let (began, wall) = clock::now();
        for &log in &self.logs {
            let times = (began, wall);
            self.store.append(log, &self.batch, &self.header, HOW, times).unwrap();
        }
        let appended = clock::now().0;
        let commit = self.store.commit(appended).unwrap();
        self.store.on_commit(commit.run(), clock::now().0, &mut self.events);
        let committed = clock::now().0;
        assert_eq!(self.store.dirty_bytes(), 0, "one commit takes them all");
        (appended.since(began), committed.since(appended))
    }

    /// What the back does beside: segments, checkpoints, room in the journal. Not measured.
    fn back(&mut self) {
        let (now, wall) = clock::now();
        self.store.on_time(now, wall);
        loop {
            let mut jobs = Vec::new();
            self.store.jobs(&mut jobs);
            if jobs.is_empty() {
                break;
            }
            for job in jobs {
                self.store.on_job(job.run(&Files), now, &mut self.events);
            }
        }
        // Checkpoints may have put something in line.
        while let Some(commit) = self.store.commit(Moment::default()) {
            self.store.on_commit(commit.run(), now, &mut self.events);
        }
        for event in self.events.drain(..) {
            assert!(!matches!(event, StoreEvent::Failed { .. }), "{event:?}");
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

criterion_group!(benches, append);
criterion_main!(benches);
