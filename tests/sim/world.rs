//! One seeded world: a store on a simulated disk, a model of what it must hold, and a driver that
//! does things to both in random order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm::base::{LeaderEpoch, Moment, Offset, TopicId, TopicPartition, WallMs};
use klamm::runtime::disk::{BackJob, ServantJob};
use klamm::sim::Rng;
use klamm::sim::disk::{Faults, SimDisk};
use klamm::storage::{
    Append, Commit, Job, LogConfig, LogId, Read, StorageError, Store, StoreConfig, StoreEvent,
};
use klamm::wire::batch::{self, BatchHeader};
use klamm::wire::codec::Codec;
use klamm::wire::record::{BatchBuilder, ProducerStamp};

use crate::model::{ModelLog, Sent};
use crate::small_store;

const STEPS: usize = 260;

/// What goes wrong in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Crashes only.
    Crashes,
    /// Crashes, and writes, syncs and reads that fail.
    Faults,
    /// Bits that flip at rest.
    Rot,
}

pub(crate) struct World {
    kind: Kind,
    rng: Rng,
    disk: SimDisk,
    store: Option<Store>,
    commit: Option<Commit>,
    jobs: Vec<Job>,
    logs: Vec<ModelLog>,
    deleted: Vec<TopicPartition>,
    now: Moment,
    wall: WallMs,
    counter: u64,
    faults: Faults,
    /// A bit of the journal that was flipped: file, byte.
    journal_rot: Option<(PathBuf, usize)>,
    trace: u64,
}

fn config(rng: &mut Rng) -> StoreConfig {
    StoreConfig {
        journal_bytes: (64 << 10) * (3 + rng.below(3) as u64),
        cache_bytes: (64 << 10) << rng.below(3),
        jobs_max: 3,
        checkpoint_ms: 3_000,
        checkpoint_bytes: 256 << 10,
        index_entries_min: 4,
        retention_check_ms: 5_000,
        ..small_store("/node-0")
    }
}

fn log_config(rng: &mut Rng) -> LogConfig {
    let (flush_messages, flush_ms) = if rng.chance(70) { (1, i64::MAX) } else { (20, 500) };
    LogConfig {
        segment_bytes: (20 << 10) + rng.below(60 << 10) as u64,
        segment_ms: if rng.chance(80) { i64::MAX } else { 2_000 },
        retention_ms: if rng.chance(80) { -1 } else { 20_000 },
        retention_bytes: if rng.chance(80) { -1 } else { 64 << 10 },
        index_interval_bytes: 1024,
        flush_messages,
        flush_ms,
        delete: true,
    }
}

impl World {
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        let mut world = Self {
            kind,
            rng: Rng::new(seed),
            disk: SimDisk::new(seed ^ 0xd15c),
            store: None,
            commit: None,
            jobs: Vec::new(),
            logs: Vec::new(),
            deleted: Vec::new(),
            now: Moment(1_000_000_000),
            wall: WallMs(1_700_000_000_000),
            counter: 0,
            faults: Faults::default(),
            journal_rot: None,
            trace: 0,
        };
        world.open();
        world
    }

    /// Runs the world to its end; the trace of all that the store said.
    pub(crate) fn run(mut self) -> u64 {
        for _ in 0..STEPS {
            self.step();
        }
        self.settle();
        self.check_all();
        if self.rng.chance(50) {
            self.close();
        } else {
            self.crash();
        }
        self.check_all();
        self.settle();
        self.trace
    }

    fn step(&mut self) {
        let tick = 1 + self.rng.below(200) as i64;
        self.now = self.now.plus_ms(tick);
        self.wall.0 += tick;
        match self.rng.below(100) {
            0..50 => self.append(),
            50..66 => self.run_commit(),
            66..82 => self.run_job(),
            82..88 => self.read(),
            88..92 => self.time(),
            92 => self.delete_records(),
            93 => self.create(),
            94 => self.delete(),
            95 => self.checkpoint(),
            96 if self.kind != Kind::Rot => self.disk.crash_in(self.rng.below(30) as u64),
            97 if self.kind != Kind::Rot => self.crash(),
            98 => {
                self.settle();
                self.close();
            }
            97 if self.kind == Kind::Rot => self.rot_journal(),
            99 if self.kind == Kind::Rot => self.rot(),
            _ => self.toggle_faults(),
        }
        self.take_commit();
        self.take_jobs();
        if self.disk.is_crashed() {
            self.crash();
        }
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("open")
    }

    /// Opens the store, through crashes and faults in recovery, and compares every log.
    fn open(&mut self) {
        loop {
            if self.kind != Kind::Rot && self.rng.chance(20) {
                self.disk.crash_in(self.rng.below(60) as u64);
            }
            let random = self.rng.next_u64();
            let config = config(&mut self.rng);
            let opened = Store::open(Arc::new(self.disk.clone()), config, random, self.wall);
            match opened {
                Ok(store) if !self.disk.is_crashed() => {
                    self.store = Some(store);
                    break;
                }
                Ok(_) => self.disk.restart(),
                Err(StorageError::JournalDamaged { .. }) if self.journal_rot.is_some() => {
                    // The operator restores the file from a backup.
                    let (path, at) = self.journal_rot.take().unwrap();
                    self.disk.rot(&path, at, 0);
                }
                Err(e) => {
                    let faulty = self.disk.is_crashed() || self.faults != Faults::default();
                    assert!(faulty, "recovery failed: {e}: {e:?}");
                    self.disk.set_faults(Faults::default());
                    self.faults = Faults::default();
                    self.disk.restart();
                }
            }
        }
        self.disk.crash_in(u64::MAX);
        self.journal_rot = None;
        self.on_opened();
    }

    fn on_opened(&mut self) {
        let found: Vec<_> = self.store().logs().map(|(id, tp, _)| (id, tp)).collect();
        for (id, tp) in found {
            let Some(i) = self.logs.iter().position(|l| l.tp == tp) else {
                assert!(self.deleted.contains(&tp), "a log that was never made: {tp:?}");
                self.store().delete(id);
                continue;
            };
            if self.logs[i].reborn && self.logs[i].acked == 0 {
                self.store().delete(id);
                continue;
            }
            let state = self.store.as_ref().unwrap().log(id).unwrap();
            let model = &mut self.logs[i];
            model.id = id;
            if state.is_failed() {
                // A disk that fails damages nothing: once it works again, so does every log.
                let may = match self.kind {
                    Kind::Crashes => false,
                    Kind::Faults => self.faults != Faults::default(),
                    Kind::Rot => model.hurt,
                };
                let why = self.disk.bytes(&state.dir().join("fenced"));
                assert!(may, "fenced for nothing: {}", String::from_utf8_lossy(&why));
                model.hurt = true;
                continue;
            }
            // What failed only since the disk did is whole after a restart.
            model.hurt &= self.kind != Kind::Faults;
            model.on_recovered(state.log_start(), state.log_end());
            model.check_derived(state);
            assert_eq!(state.durable_end(), state.log_end());
            let config = log_config(&mut self.rng);
            model.waits = config.flush_messages == 1;
            self.store().configure(id, config);
        }
        for i in 0..self.logs.len() {
            let model = &self.logs[i];
            if self.store.as_ref().unwrap().find(model.tp).is_none() {
                assert_eq!(model.acked, 0, "{} is gone", model.topic);
                self.create_again(i);
            }
        }
        while self.logs.len() < 3 {
            self.create();
        }
        self.check_all();
    }

    fn create(&mut self) {
        if self.logs.len() >= 6 {
            return;
        }
        self.counter += 1;
        let mut topic = [0; 16];
        topic[0] = self.rng.below(4) as u8;
        let partition = self.rng.below(2) as i32;
        let name = format!("t{}", topic[0]);
        let taken = |l: &ModelLog| l.topic == name && l.tp.partition == partition;
        if self.logs.iter().any(taken) {
            return;
        }
        // The same id again in half of the cases, as when a replica comes back to a node.
        topic[1] = if self.rng.chance(50) { 0 } else { self.counter as u8 };
        let tp = TopicPartition { topic: TopicId(topic), partition };
        self.logs.push(ModelLog {
            tp,
            topic: name,
            id: LogId(0),
            sent: Vec::new(),
            acked: 0,
            start_max: 0,
            start_acked: 0,
            reborn: self.deleted.contains(&tp),
            hurt: false,
            waits: true,
        });
        self.create_again(self.logs.len() - 1);
    }

    fn create_again(&mut self, i: usize) {
        let config = log_config(&mut self.rng);
        self.note(&format!("create {:?} {}", self.logs[i].tp, self.logs[i].topic));
        let now = self.now;
        let model = &mut self.logs[i];
        model.waits = config.flush_messages == 1;
        model.sent.clear();
        (model.start_max, model.start_acked, model.hurt) = (0, 0, false);
        let store = self.store.as_mut().unwrap();
        model.id = store.create(model.tp, &model.topic, config, now);
        let log = store.log(model.id).unwrap();
        assert_eq!(log.log_end(), Offset(0), "a new log is empty");
    }

    fn delete(&mut self) {
        if self.logs.len() < 3 {
            return;
        }
        let i = self.rng.below(self.logs.len());
        let model = self.logs.swap_remove(i);
        self.deleted.push(model.tp);
        self.store().delete(model.id);
    }

    /// The log of a random model that can be used.
    fn pick(&mut self) -> Option<usize> {
        let i = self.rng.below(self.logs.len());
        (!self.logs[i].hurt).then_some(i)
    }

    fn append(&mut self) {
        for _ in 0..=self.rng.below(3) {
            self.append_one();
        }
    }

    fn append_one(&mut self) {
        let Some(i) = self.pick() else { return };
        self.counter += 1;
        let size = match self.rng.below(20) {
            0 => 12_000 + self.rng.below(8_000),
            1..5 => 1_000 + self.rng.below(6_000),
            _ => self.rng.below(600),
        };
        let mut builder = BatchBuilder::default();
        let records = 1 + self.rng.below(4);
        for k in 0..records {
            let mut value = vec![0; size / records];
            value.extend_from_slice(&(self.counter * 4 + k as u64).to_le_bytes());
            let first = value.len() - 8;
            value.copy_within(first.., 0);
            let at = self.wall.0 - self.rng.below(100) as i64;
            builder.push(at, Some(b"key"), Some(&value), &[]);
        }
        let stamp = ProducerStamp {
            id: 7 + (i as i64 % 2),
            epoch: 0,
            sequence: self.counter as i32,
            transactional: false,
        };
        let producer = if self.rng.chance(50) { stamp } else { ProducerStamp::NONE };
        let mut bytes = builder.build(Codec::None, producer).unwrap().to_vec();
        let header = BatchHeader::parse(&bytes).unwrap();
        let leader_epoch = LeaderEpoch((self.now.0 / 10_000_000_000) as i32);
        let append_time = self.rng.chance(10).then_some(self.wall);
        let how = Append { leader_epoch, append_time };
        let (now, wall) = (self.now, self.wall);
        let model = &mut self.logs[i];
        let base = match self.store.as_mut().unwrap().log(model.id) {
            Some(log) => log.log_end(),
            None => return,
        };
        let appended =
            self.store.as_mut().unwrap().append(model.id, &bytes, &header, how, (now, wall));
        match appended {
            Ok(appended) => {
                assert_eq!(appended.base_offset, base);
                assert_eq!(appended.durable_wait, model.waits);
                batch::set_base_offset(&mut bytes, base);
                batch::set_leader_epoch(&mut bytes, leader_epoch);
                if let Some(time) = append_time {
                    batch::set_append_time(&mut bytes, time.0);
                }
                let next = appended.last_offset.0 + 1;
                model.sent.push(Sent { base: base.0, next, bytes });
            }
            Err(StorageError::JournalFailed) => assert_ne!(self.kind, Kind::Crashes),
            Err(e) => panic!("append: {e}"),
        }
    }

    fn take_commit(&mut self) {
        let now = self.now;
        if self.commit.is_none() {
            self.commit = self.store().commit(now);
            let mut events = Vec::new();
            self.store().take_events(&mut events);
            self.on_events(events);
        }
    }

    fn take_jobs(&mut self) {
        let mut jobs = std::mem::take(&mut self.jobs);
        self.store().jobs(&mut jobs);
        self.jobs = jobs;
    }

    fn run_commit(&mut self) {
        self.take_commit();
        let Some(commit) = self.commit.take() else { return };
        let done = commit.run();
        if self.disk.is_crashed() {
            return;
        }
        let (now, mut events) = (self.now, Vec::new());
        self.store().on_commit(done, now, &mut events);
        self.on_events(events);
    }

    fn run_job(&mut self) {
        self.take_jobs();
        if self.jobs.is_empty() {
            return;
        }
        let job = self.jobs.swap_remove(self.rng.below(self.jobs.len()));
        let done = job.run(&self.disk.clone());
        if self.disk.is_crashed() {
            return;
        }
        let (now, mut events) = (self.now, Vec::new());
        self.store().on_job(done, now, &mut events);
        self.on_events(events);
    }

    fn on_events(&mut self, events: Vec<StoreEvent>) {
        for event in events {
            self.note(&format!("{event:?}"));
            match event {
                StoreEvent::Durable { log, end } => {
                    if let Some(model) = self.logs.iter_mut().find(|l| l.id == log) {
                        assert!(end.0 > model.acked && end.0 <= model.end(), "durable {end}");
                        model.acked = end.0;
                    }
                }
                StoreEvent::LogStartMoved { log, start } => {
                    if let Some(model) = self.logs.iter_mut().find(|l| l.id == log) {
                        assert!(start.0 <= model.start_max, "log start {start}");
                        model.start_acked = model.start_acked.max(start.0);
                    }
                }
                StoreEvent::Failed { log: Some(log), error } => {
                    assert_ne!(self.kind, Kind::Crashes, "{error:?}");
                    for model in self.logs.iter_mut().filter(|l| l.id == log) {
                        let rot = matches!(*error, StorageError::Corrupt { .. });
                        assert!(model.hurt || !rot || self.kind == Kind::Faults, "{error}");
                        model.hurt = true;
                    }
                }
                StoreEvent::Failed { log: None, error } => {
                    assert_eq!(self.kind, Kind::Faults, "{error:?}");
                }
                StoreEvent::Readable { .. } => (),
            }
        }
        self.follow_starts();
    }

    /// Retention moves log starts by itself: never past what is durable.
    fn follow_starts(&mut self) {
        for model in &mut self.logs {
            if let Some(log) = self.store.as_ref().unwrap().log(model.id) {
                model.start_max = model.start_max.max(log.log_start().0);
            }
        }
    }

    fn note(&mut self, what: &str) {
        for byte in what.bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn time(&mut self) {
        let (now, wall) = (self.now, self.wall);
        self.store().on_time(now, wall);
        self.follow_starts();
    }

    fn checkpoint(&mut self) {
        let now = self.now;
        let _ = self.store().checkpoint(now);
    }

    fn delete_records(&mut self) {
        let Some(i) = self.pick() else { return };
        let (now, acked) = (self.now, self.logs[i].acked);
        let to = self.rng.below(acked as usize + 1) as i64;
        let model = &mut self.logs[i];
        match self.store.as_mut().unwrap().delete_records(model.id, Offset(to), now) {
            Ok(start) => model.start_max = model.start_max.max(start.0),
            Err(e) => panic!("delete_records to {to}: {e}"),
        }
    }

    /// Reads a piece somewhere, or asks for it.
    fn read(&mut self) {
        let Some(i) = self.pick() else { return };
        let (start, end) = (self.logs[i].start_max, self.logs[i].end());
        if start >= end {
            return;
        }
        let from = start + self.rng.below((end - start) as usize) as i64;
        let upto = from + 1 + self.rng.below((end - from) as usize) as i64;
        let max_bytes = self.rng.below(20_000);
        self.read_at(i, (from, upto), max_bytes, self.counter.is_multiple_of(2));
    }

    /// Reads; what comes has to be what was sent. The offset to go on at, when something came.
    fn read_at(
        &mut self,
        i: usize,
        (from, upto): (i64, i64),
        max_bytes: usize,
        one: bool,
    ) -> Option<i64> {
        let model = &self.logs[i];
        let store = self.store.as_mut().unwrap();
        let read = store.read(model.id, Offset(from), Offset(upto), max_bytes, one);
        let batches = match read {
            Ok(Read::Ready(batches)) => batches,
            Ok(Read::Pending) => return None,
            Err(StorageError::Fenced { .. }) if model.hurt => return None,
            Err(e) => panic!("read {from}..{upto} of {}: {e}", model.topic),
        };
        let bytes = batches.parts.concat();
        assert_eq!(bytes.len(), batches.bytes);
        let (mut left, mut next) = (&bytes[..], from);
        for sent in model.from(from).iter().take_while(|sent| sent.next <= upto) {
            let (here, rest) = left.split_at(left.len().min(sent.bytes.len()));
            assert!(here == &sent.bytes[..here.len()], "{}: other bytes", model.topic);
            next = if here.len() == sent.bytes.len() { sent.next } else { next };
            left = rest;
        }
        let first = model.from(from).first().map_or(0, |sent| sent.bytes.len());
        let bound = if one { max_bytes.max(first) } else { max_bytes };
        assert!(left.is_empty() && bytes.len() <= bound, "more than was asked for");
        assert_eq!(batches.next.0, next, "{} {from}..{upto}", model.topic);
        (batches.bytes > 0).then_some(next)
    }

    /// Reads every log from its start to its end, of one that has failed what is still served.
    fn check_all(&mut self) {
        if self.faults != Faults::default() {
            return;
        }
        for i in 0..self.logs.len() {
            let Some(log) = self.store.as_ref().unwrap().log(self.logs[i].id) else { continue };
            let (mut at, mut end) = (log.log_start().0, log.readable_end().0);
            let mut tries = 0;
            while at < end && !self.disk.is_crashed() {
                let log = self.store.as_ref().unwrap().log(self.logs[i].id).expect("still there");
                assert!(self.logs[i].hurt || !log.is_failed(), "{} failed", self.logs[i].topic);
                (at, end) = (at.max(log.log_start().0), end.min(log.readable_end().0));
                if at >= end {
                    break;
                }
                if let Some(next) = self.read_at(i, (at, end), 30_000, true) {
                    (at, tries) = (next, 0);
                } else {
                    tries += 1;
                    assert!(tries < 200, "{}: stuck reading {at}..{end}", self.logs[i].topic);
                    self.run_job();
                    self.run_commit();
                }
            }
        }
    }

    /// Lets everything come to rest: then all is durable, and nothing waits.
    fn settle(&mut self) {
        self.faults = Faults::default();
        self.disk.set_faults(self.faults);
        for _ in 0..400 {
            self.now = self.now.plus_ms(20);
            self.run_commit();
            self.run_job();
            if self.store().next_deadline() <= self.now {
                self.time();
            }
            if self.disk.is_crashed() {
                self.crash();
            }
        }
        let now = self.now;
        if self.kind == Kind::Faults && self.store().checkpoint(now).is_err() {
            return;
        }
        assert!(self.commit.is_none() && self.jobs.is_empty(), "still busy");
        assert!(!self.store().is_full(), "the journal stays full");
        for model in self.logs.iter().filter(|l| !l.hurt) {
            assert_eq!(model.acked, model.end(), "{} never got durable", model.topic);
        }
        let hurt = self.logs.iter().any(|l| l.hurt);
        assert!(hurt || self.store().dirty_bytes() == 0, "bytes are counted as dirty");
    }

    fn crash(&mut self) {
        self.forget();
        self.disk.restart();
        self.open();
    }

    fn forget(&mut self) {
        self.store = None;
        self.commit = None;
        self.jobs.clear();
        self.note("stop");
    }

    fn close(&mut self) {
        if self.commit.is_some() || !self.jobs.is_empty() {
            return;
        }
        let closed = self.store().close();
        if self.disk.is_crashed() {
            return self.crash();
        }
        match closed {
            Ok(()) => {
                for model in self.logs.iter_mut().filter(|l| !l.hurt) {
                    model.acked = model.end();
                }
            }
            Err(e) => assert_eq!(self.kind, Kind::Faults, "close: {e:?}"),
        }
        self.forget();
        if self.rng.chance(50) {
            self.disk.restart();
        }
        self.open();
    }

    fn toggle_faults(&mut self) {
        if self.kind == Kind::Faults && self.rng.chance(30) {
            let percent = [0, 0, 1, 3][self.rng.below(4)];
            let (write, sync) = (percent, percent);
            let read = if self.rng.chance(20) { percent } else { 0 };
            self.faults = Faults { write, sync, read };
            self.disk.set_faults(self.faults);
        }
    }

    /// Flips a bit of a commit in the journal, not of the last one: that one's loss looks like a
    /// commit that was torn.
    fn rot_journal(&mut self) {
        let generation = self.disk.bytes(Path::new("/node-0/journal/generation"));
        let text = String::from_utf8(generation).unwrap();
        let generation = text.lines().nth(1).and_then(|l| l.split(' ').next()).unwrap();
        let generation = u64::from_str_radix(generation, 16).unwrap();
        let mut commits = Vec::new();
        for path in self.disk.files().iter().filter(|f| f.extension().is_some_and(|e| e == "chunk"))
        {
            let bytes = self.disk.bytes(path);
            for (i, block) in bytes.chunks_exact(4096).enumerate() {
                let word = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().unwrap());
                if block.starts_with(b"klammjnl") && word(16) == generation {
                    commits.push((word(24), path.clone(), 4096 * i));
                }
            }
        }
        commits.sort();
        commits.pop();
        if commits.is_empty() {
            return;
        }
        let (_, path, at) = commits.swap_remove(self.rng.below(commits.len()));
        let at = at + self.rng.below(60);
        self.disk.rot(&path, at, 0);
        self.journal_rot = Some((path, at));
        self.crash();
    }

    /// Flips a bit of a batch in a segment file, where a checksum or an order covers it.
    fn rot(&mut self) {
        let files = self.disk.files();
        let segments: Vec<_> =
            files.iter().filter(|f| f.extension().is_some_and(|e| e == "log")).collect();
        if segments.is_empty() {
            return;
        }
        let path = segments[self.rng.below(segments.len())].clone();
        let name = path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let named = |l: &&mut ModelLog| format!("{}-{}", l.topic, l.tp.partition) == name;
        let Some(model) = self.logs.iter_mut().find(named) else { return };
        let bytes = self.disk.bytes(&path);
        let batches: Vec<_> = batch::iter(&bytes).map(|(_, b)| b.len()).collect();
        if batches.is_empty() {
            return;
        }
        let i = self.rng.below(batches.len());
        let at: usize = batches[..i].iter().sum();
        let within = 16 + self.rng.below(batches[i] - 16);
        model.hurt = true;
        self.disk.rot(&path, at + within, self.rng.below(8) as u8);
        self.crash();
    }
}
