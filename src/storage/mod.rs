//! An in-memory log behind the store's interface, to bring up the path to it.
#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "temporary")]
use crate::base::*;
use crate::partition::{epochs::Epochs, producers::Producers};
use crate::runtime::disk::*;
use crate::wire::batch::{self, BatchHeader};
use bytes::Bytes;
use std::sync::Arc;
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u32);
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("out of range")]
    OffsetOutOfRange { asked: Offset, first: Offset, next: Offset },
    #[error("corrupt")]
    Corrupt,
    #[error("fenced")]
    Fenced,
    #[error("deleted")]
    Deleted,
    #[error("l")]
    BatchTooLarge { size_bytes: usize },
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    pub segment_bytes: u64,
    pub segment_ms: i64,
    pub retention_ms: i64,
    pub retention_bytes: i64,
    pub index_interval_bytes: u32,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub delete: bool,
}
pub struct Log {
    start: Offset,
    end: Offset,
    durable: Offset,
    batches: Vec<(BatchHeader, Bytes)>,
    producers: Producers,
    epochs: Epochs,
    tp: TopicPartition,
    topic: String,
}
impl Log {
    pub fn log_start(&self) -> Offset {
        self.start
    }
    pub fn log_end(&self) -> Offset {
        self.end
    }
    pub fn durable_end(&self) -> Offset {
        self.durable
    }
    pub fn size_bytes(&self) -> u64 {
        self.batches.iter().map(|b| b.1.len() as u64).sum()
    }
    pub fn producers(&self) -> &Producers {
        &self.producers
    }
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }
    pub fn is_failed(&self) -> bool {
        false
    }
}
pub struct Append {
    pub leader_epoch: LeaderEpoch,
    pub append_time: Option<WallMs>,
}
pub struct Appended {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub durable_wait: bool,
}
pub struct Batches {
    pub parts: Vec<Bytes>,
    pub bytes: usize,
    pub next: Offset,
}
pub enum Read {
    Ready(Batches),
    Pending,
}
pub enum Find {
    Ready(Option<(Offset, i64, LeaderEpoch)>),
    Pending,
}
#[derive(Debug)]
pub enum StoreEvent {
    Durable { log: LogId, end: Offset },
    Readable { log: LogId },
    Failed { log: Option<LogId>, error: Arc<StorageError> },
    LogStartMoved { log: LogId, start: Offset },
}
pub struct Commit(Vec<(LogId, Offset)>);
impl CommitJob for Commit {
    type Done = CommitDone;
    fn run(self) -> CommitDone {
        CommitDone(self.0)
    }
}
pub struct CommitDone(Vec<(LogId, Offset)>);
pub struct Job;
impl BackJob for Job {
    type Done = JobDone;
    fn as_read(&self) -> Option<ReadSpec> {
        None
    }
    fn finish_read(self, _: std::io::Result<Bytes>) -> JobDone {
        JobDone
    }
    fn run(self, _: &dyn Disk) -> JobDone {
        JobDone
    }
}
pub struct JobDone;
#[derive(Default)]
pub struct Store {
    logs: Vec<Log>,
    inflight: bool,
}
impl Store {
    pub fn logs(&self) -> impl Iterator<Item = (LogId, TopicPartition, &str)> {
        self.logs.iter().enumerate().map(|(i, l)| (LogId(i as u32), l.tp, &*l.topic))
    }
    pub fn log(&self, id: LogId) -> Option<&Log> {
        self.logs.get(id.0 as usize)
    }
    pub fn find(&self, tp: TopicPartition) -> Option<LogId> {
        self.logs.iter().position(|l| l.tp == tp).map(|i| LogId(i as u32))
    }
    pub fn create(&mut self, tp: TopicPartition, topic: &str, _: LogConfig, _: Moment) -> LogId {
        self.logs.push(Log {
            start: Offset(0),
            end: Offset(0),
            durable: Offset(0),
            batches: vec![],
            producers: Producers::new(),
            epochs: Epochs::new(),
            tp,
            topic: topic.into(),
        });
        LogId(self.logs.len() as u32 - 1)
    }
    pub fn configure(&mut self, _: LogId, _: LogConfig) {}
    pub fn delete(&mut self, _: LogId) {}
    pub fn append(
        &mut self,
        id: LogId,
        b: &[u8],
        h: &BatchHeader,
        a: Append,
        _: (Moment, WallMs),
    ) -> Result<Appended, StorageError> {
        let l = &mut self.logs[id.0 as usize];
        let mut v = b.to_vec();
        let base = l.end;
        batch::set_base_offset(&mut v, base);
        batch::set_leader_epoch(&mut v, a.leader_epoch);
        if let Some(t) = a.append_time {
            batch::set_append_time(&mut v, t.0)
        }
        let h2 = BatchHeader::parse(&v).unwrap_or(*h);
        l.end = h2.next_offset();
        if h2.has_producer() {
            l.producers.on_append(&h2)
        }
        l.epochs.on_append(a.leader_epoch, base);
        l.batches.push((h2, v.into()));
        let _ = h;
        Ok(Appended { base_offset: base, last_offset: h2.last_offset(), durable_wait: true })
    }
    pub fn commit(&mut self, _: Moment) -> Option<Commit> {
        if self.inflight {
            return None;
        }
        let d: Vec<_> = self
            .logs
            .iter()
            .enumerate()
            .filter(|(_, l)| l.end > l.durable)
            .map(|(i, l)| (LogId(i as u32), l.end))
            .collect();
        if d.is_empty() {
            None
        } else {
            self.inflight = true;
            Some(Commit(d))
        }
    }
    pub fn on_commit(&mut self, d: CommitDone, _: Moment, out: &mut Vec<StoreEvent>) {
        self.inflight = false;
        for (log, end) in d.0 {
            self.logs[log.0 as usize].durable = end;
            out.push(StoreEvent::Durable { log, end })
        }
    }
    pub fn jobs(&mut self, _: &mut Vec<Job>) {}
    pub fn on_job(&mut self, _: JobDone, _: Moment, _: &mut Vec<StoreEvent>) {}
    pub fn next_deadline(&self) -> Moment {
        Moment::NEVER
    }
    pub fn on_time(&mut self, _: Moment, _: WallMs) {}
    pub fn read(
        &mut self,
        id: LogId,
        from: Offset,
        upto: Offset,
        max: usize,
        one: bool,
    ) -> Result<Read, StorageError> {
        let l = &self.logs[id.0 as usize];
        if from < l.start || from > l.end {
            return Err(StorageError::OffsetOutOfRange {
                asked: from,
                first: l.start,
                next: l.end,
            });
        }
        let mut p = vec![];
        let mut n = 0;
        let mut next = from;
        for (h, b) in &l.batches {
            if h.next_offset() <= from {
                continue;
            }
            if h.base_offset >= upto {
                break;
            }
            if n + b.len() > max && !(one && n == 0) {
                break;
            }
            n += b.len();
            p.push(b.clone());
            next = h.next_offset();
        }
        Ok(Read::Ready(Batches { parts: p, bytes: n, next }))
    }
    pub fn bytes_between(&self, id: LogId, from: Offset, upto: Offset) -> usize {
        self.logs[id.0 as usize]
            .batches
            .iter()
            .filter(|(h, _)| h.next_offset() > from && h.base_offset < upto)
            .map(|b| b.1.len())
            .sum()
    }
    pub fn find_timestamp(&mut self, _: LogId, _: i64, _: Offset) -> Result<Find, StorageError> {
        Ok(Find::Ready(None))
    }
    pub fn max_timestamp(&mut self, _: LogId, _: Offset) -> Result<Find, StorageError> {
        Ok(Find::Ready(None))
    }
    pub fn delete_records(
        &mut self,
        id: LogId,
        to: Offset,
        _: Moment,
    ) -> Result<Offset, StorageError> {
        self.logs[id.0 as usize].start = to;
        Ok(to)
    }
    pub fn is_full(&self) -> bool {
        false
    }
    pub fn close(&mut self) -> Result<(), StorageError> {
        Ok(())
    }
}
