//! The back's work: which jobs are handed out, and what their ends mean.
//!
//! Flow: `commits`, `checkpoint`, `read`, `retention` ask -> **background** hands out jobs, a bounded
//! number at a time -> the back -> **background** again.
//!
//! Invariants:
//! - B1. One write job of a log is out at a time, and files of a log are removed only between them.
//! - B2. A write job takes only what is durable.
//! - B3. No directory is made for a log that the journal does not know yet. The directory of a deleted log is removed when no job of it is out. No new log of that name
//!   is written to before; one of that very partition is marked, so that a replay of the deletion
//!   can tell it from the old one.

use std::sync::Arc;

use super::config::StoreConfig;
use super::files::Make;
use super::jobs::{Done, Job, JobDone, Seal, Work, WriteWork};
use super::log::Log;
use super::ring::chunk_path;
use super::segment::Segment;
use super::store::Store;
use super::tail::block_floor;
use super::{LogId, StorageError, StoreEvent, files};
use crate::base::{Moment, Offset};
use crate::runtime::disk::DiskFile;

/// Reads that may be out at a time: a commit stands behind them in the device's queue.
const READS_MAX: usize = 2;
/// Bytes of a segment that may lie behind its index files, when its batches are large.
const INDEX_BYTES_MAX: u64 = 8 << 20;

impl Store {
    /// Jobs for the back, as many as may be out at a time.
    pub fn jobs(&mut self, out: &mut Vec<Job>) {
        if let Some(slot) = self.ring.wants_chunk() {
            let path = chunk_path(&self.config.dir.join(files::JOURNAL), slot);
            let work = Work::MakeChunk(path, self.config.journal_chunk_bytes);
            self.queues.urgent.push_back(Job { log: None, work });
        }
        while self.queues.out < self.config.jobs_max {
            let Some(job) = self.next_job() else { return };
            if let Some(id) = job.log {
                match self.log_mut(id) {
                    Some(log) => log.disk.jobs_out += 1,
                    None => continue,
                }
            }
            self.queues.out += 1;
            out.push(job);
        }
    }

    /// Urgent jobs first; then reads and writes by turns; last the scrub.
    fn next_job(&mut self) -> Option<Job> {
        if let Some(job) = self.queues.urgent.pop_front() {
            return Some(job);
        }
        self.queues.read_turn = !self.queues.read_turn;
        if self.queues.read_turn
            && let Some(job) = self.next_read()
        {
            return Some(job);
        }
        while let Some(id) = self.queues.writes.pop_front() {
            let Some(log) = self.logs[id.0 as usize].as_deref_mut() else { continue };
            log.disk.wanted = false;
            let unknown = !log.disk.made && log.disk.created_in.is_none();
            if unknown || self.removals.has(&log.dir) || log.stuck || log.disk.writing {
                continue;
            }
            let make = (!log.disk.made).then(|| {
                let after = self.removals.last_of(log.tp);
                Make { topic: log.tp.topic, after: after.map(|s| (self.generation, s)) }
            });
            if let Some(work) = build_write(log, make, &self.config) {
                log.disk.writing = true;
                log.disk.writing_upto = work.upto;
                return Some(Job { log: Some(id), work: Work::Write(Box::new(work)) });
            }
        }
        self.next_read().or_else(|| self.next_window())
    }

    fn next_read(&mut self) -> Option<Job> {
        while self.queues.reads_out < READS_MAX {
            let job = self.queues.reads.pop_front()?;
            if job.log.is_some_and(|id| self.log(id).is_some()) {
                self.queues.reads_out += 1;
                return Some(job);
            }
        }
        None
    }

    /// Puts a log in line for a write job; what it writes is decided when it is handed out.
    pub(super) fn want_write(&mut self, id: LogId) {
        if let Some(log) = self.log_mut(id)
            && !log.disk.wanted
            && !log.stuck
        {
            log.disk.wanted = true;
            self.queues.writes.push_back(id);
        }
    }

    /// A job came back.
    pub fn on_job(&mut self, done: JobDone, now: Moment, out: &mut Vec<StoreEvent>) {
        self.queues.out -= 1;
        out.append(&mut self.events);
        let JobDone { log, done } = done;
        if matches!(done, Done::Read(..) | Done::Index(..)) {
            self.queues.reads_out -= 1;
        }
        if let Some(id) = log {
            if let Some(log) = self.log_mut(id) {
                log.disk.jobs_out -= 1;
            } else if let Some(removal) = self.removals.going.get_mut(&id) {
                removal.jobs_out -= 1;
                self.start_removal(id);
            }
        }
        match (done, log) {
            (Done::Read(work, end), Some(id)) => self.on_read(id, &work, end, out),
            (Done::Scrubbed(work, good), Some(id)) => self.on_scrubbed(id, &work, good, now, out),
            (Done::Index(work, index), Some(id)) => self.on_index(id, &work, index, now, out),
            (Done::Write(work, Err(error)), Some(id)) if error.is_want_of_room() => {
                self.write_waits(id, work, error, now, out);
            }
            (Done::Write(work, file), Some(id)) => self.on_write(id, *work, file, out),
            // Without the mark the damage is found again.
            (Done::Fenced(Err(error)), _) => tracing::warn!(%error, "damage could not be noted"),
            (Done::Removed(removed), Some(id)) => self.on_removed(id, removed, out),
            (Done::LogRemoved(dir, result), _) => self.on_log_removed(&dir, result, out),
            (Done::Chunk(Ok(file)), _) => self.ring.on_chunk(file),
            (Done::Checkpoint(upto, Ok(())), _) => self.on_checkpoint(upto, now),
            (Done::Chunk(Err(error)), _) if error.is_want_of_room() => self.chunk_waits(error, now),
            (Done::Checkpoint(_, Err(error)), _) if error.is_want_of_room() => {
                self.checkpoint_waits(error, now);
            }
            (Done::Chunk(Err(error)) | Done::Checkpoint(_, Err(error)), _) => {
                self.fail_all(error, out);
            }
            _ => (),
        }
        self.start_checkpoint(now);
    }

    pub(super) fn on_write(
        &mut self,
        id: LogId,
        work: WriteWork,
        file: Result<Arc<dyn DiskFile>, StorageError>,
        out: &mut Vec<StoreEvent>,
    ) {
        let write_bytes_min = self.config.write_bytes_min as u64;
        let Some(log) = self.log_mut(id) else { return };
        log.disk.writing = false;
        log.disk.writing_upto = 0;
        let sealed = work.seal.is_some().then_some(work.segment);
        match file {
            Ok(file) => log.on_write(work, file),
            Err(error) => return self.stick(id, error, out),
        }
        let unwritten = log.progress.durable.saturating_sub(log.progress.written);
        if unwritten >= write_bytes_min || log.wants_seal() || log.disk.want_file.is_some() {
            self.want_write(id);
        }
        if let Some(base) = sealed {
            self.keep_index(id, base);
        }
        self.start_removing_files(id);
        self.settle(id);
        self.evict();
    }

    /// Starts to remove the files that a log needs no more.
    pub(super) fn start_removing_files(&mut self, id: LogId) {
        if self.log(id).is_some_and(|log| !log.disk.writing) {
            self.remove_files(id);
        }
    }

    /// The same, when no write job is out.
    pub(super) fn remove_files(&mut self, id: LogId) {
        let Some(log) = self.log_mut(id) else { return };
        if !log.disk.remove.is_empty() {
            log.disk.removing = true;
            let work = Work::Remove(std::mem::take(&mut log.disk.remove));
            self.queues.urgent.push_back(Job { log: Some(id), work });
        }
    }

    fn on_removed(
        &mut self,
        id: LogId,
        removed: Result<(), StorageError>,
        out: &mut Vec<StoreEvent>,
    ) {
        if let Some(log) = self.log_mut(id) {
            log.disk.removing = false;
        }
        match removed {
            Ok(()) => self.drop_some(id),
            Err(error) => self.fail(id, error, out),
        }
    }

    /// Starts to remove the directory of a deleted log, if that may begin.
    pub(super) fn start_removal(&mut self, id: LogId) {
        let Some(removal) = self.removals.going.get_mut(&id) else { return };
        if removal.told.is_some() && removal.jobs_out == 0 && !removal.started {
            removal.started = true;
            let work = Work::RemoveLog(removal.dir.clone());
            self.queues.urgent.push_back(Job { log: None, work });
        }
    }

    fn on_log_removed(
        &mut self,
        dir: &std::path::Path,
        result: Result<(), StorageError>,
        out: &mut Vec<StoreEvent>,
    ) {
        if let Err(error) = result {
            return self.fail_all(error, out);
        }
        self.removals.on_removed(dir);
        if let Some(&id) = self.by_dir.get(dir.as_os_str()) {
            self.want_write(id);
        }
        self.finish_checkpoint();
    }
}

/// What there is to write of a log: the blocks of its oldest open segment, up to the whole rest of
/// one that takes no more appends.
fn build_write(log: &mut Log, make: Option<Make>, config: &StoreConfig) -> Option<WriteWork> {
    let write_bytes_max = config.write_bytes_max as u64;
    let mut work = WriteWork {
        dir: log.dir.clone(),
        make,
        segment: Offset(0),
        file: None,
        pieces: Vec::new(),
        from: log.progress.written,
        upto: log.progress.written,
        boundary: Offset(0),
        sync: None,
        seal: None,
        index_tail: None,
        epochs: None,
        snapshot: None,
        stale_snapshots: Vec::new(),
    };
    if let Some(base) = log.disk.want_file.take()
        && log.segment_from(base).is_some_and(|i| log.segments[i].file.is_none())
    {
        work.segment = base;
        return Some(work);
    }
    let i = log.segments.partition_point(|s| s.sealed);
    let segment = &log.segments[i];
    let next = log.segments.get(i + 1);
    let written = log.progress.written.max(segment.at);
    let durable = log.progress.durable.min(segment.end());
    let from = block_floor(written).min(durable);
    let (at, next_base) = (segment.at, next.map(|n| n.base));
    let complete = next.is_some() && log.progress.durable >= segment.end();
    let seals = complete && durable - from <= write_bytes_max;
    work.segment = segment.base;
    work.file.clone_from(&segment.file);
    if seals {
        work.upto = durable;
        work.boundary = next_base.unwrap_or(log.log_end);
    } else {
        work.upto = block_floor(durable).min(from + write_bytes_max).max(written);
        work.boundary = log.boundary_at(work.upto).unwrap_or_default();
    }
    if work.upto > written {
        work.from = from;
        work.pieces = log.tail.pieces(from, work.upto);
        for piece in &mut work.pieces {
            piece.0 -= at;
        }
    } else {
        work.upto = work.upto.max(written);
        work.from = work.upto;
    }
    work.seal = next_base.filter(|_| seals).and_then(|next| seal(&mut log.segments[i], next));
    let syncs = log.disk.want_sync || log.in_checkpoint;
    let idle = work.pieces.is_empty() && work.seal.is_none();
    if idle && !syncs && make.is_none() {
        return None;
    }
    if syncs {
        log.disk.want_sync = false;
        let (written, boundary) = log.progress.written_now();
        work.sync = Some((written.max(work.upto), boundary.max(work.boundary)));
    }
    companions(log, i, config, &mut work);
    Some(work)
}

/// The segment is written to no more: should this fail, a restart makes anew what belongs to it.
fn seal(segment: &mut Segment, next: Offset) -> Option<Seal> {
    let index = segment.index.clone()?;
    let snapshot = segment.snapshot.take();
    Some(Seal { size: segment.size, index, next, snapshot })
}

/// Adds what is written beside the blocks when they are synced: new leader epochs, and of a long
/// active segment its indexes and the producers, so that recovery need not scan it all.
fn companions(log: &mut Log, i: usize, config: &StoreConfig, work: &mut WriteWork) {
    if work.sync.is_none() && work.seal.is_none() {
        return;
    }
    if log.epochs_dirty {
        work.epochs = Some(log.epochs.to_text());
    }
    let Some(index) = &log.segments[i].index else { return };
    if work.seal.is_some() {
        log.disk.index_entries = (0, 0);
    } else if log.is_index_behind(config) {
        work.index_tail = Some(index.tail(log.disk.index_entries));
        log.disk.index_entries = (index.len(), index.times_len());
        work.snapshot = Some((log.log_end, log.producers.clone()));
        // The checkpoint before last is what the recovery point on disk may go back to.
        let stale = log.disk.snapshots.len().saturating_sub(2);
        work.stale_snapshots = log.disk.snapshots.drain(..stale).collect();
        log.disk.snapshots.push(log.log_end);
    }
}

impl Log {
    /// Whether so much of the segment that is written to is not in its index files that recovery
    /// would notice.
    pub(super) fn is_index_behind(&self, config: &StoreConfig) -> bool {
        let open = &self.segments[self.segments.partition_point(|s| s.sealed)];
        let Some(index) = &open.index else { return false };
        let there = self.disk.index_entries.0;
        index.len() >= there + config.index_entries_min
            || index.len() > there && open.size >= index.end_of(there) + INDEX_BYTES_MAX
    }

    /// A write job is done.
    fn on_write(&mut self, work: WriteWork, file: Arc<dyn DiskFile>) {
        if work.make.is_some() {
            self.disk.made = true;
            self.disk.created_in = None;
        }
        if work.epochs.is_some_and(|text| text == self.epochs.to_text()) {
            self.epochs_dirty = false;
        }
        self.progress.on_written(work.from, work.upto, work.boundary);
        if let Some((upto, boundary)) = work.sync {
            self.progress.on_synced(upto, boundary);
        }
        let Some(i) = self.segment_from(work.segment) else { return };
        if let Some(seal) = work.seal {
            let at = self.segments[i].next_at();
            let segment = &mut self.segments[i];
            segment.sealed = true;
            segment.file = None;
            segment.snapshot = None;
            self.progress.on_sealed(at, seal.next);
        } else {
            self.segments[i].file = Some(file);
        }
    }
}
