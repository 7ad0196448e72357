//! Retention: which old segments go, by time, by size and by DeleteRecords.
//!
//! Kafka's rules: whole segments, oldest first; a segment is as old as its largest timestamp; the
//! active one goes only after a roll, and only when it holds something. The log start moves at
//! once; the segments go when the new log start is in the journal, a few at a time, and so their files.

use super::LogId;
use super::commit::Meta;
use super::error::StorageError;
use super::log::Log;
use super::segment::{Kind, file_path};
use super::store::{LOGS_PER_STEP, STEP_EVERY, Store};
use crate::base::{Moment, Offset, WallMs};
use crate::partition::producers::Silent;

/// Producers that a step of the search looks at, about.
const PRODUCERS_PER_STEP: usize = 1024;
/// Segments that a log lets go of at a time: their files are named in a turn.
const SEGMENTS_PER_STEP: usize = 16;

/// Where the next step of a search goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search {
    /// Logs before this one are done.
    log: usize,
    /// Producers of that log before this one are.
    producer: i64,
}

impl Search {
    pub(super) const FIRST: Self = Self { log: 0, producer: i64::MIN };
}

impl Store {
    /// Time has passed: checkpoints by age, the scrub, retention, producers that fell silent.
    pub fn on_time(&mut self, now: Moment, wall: WallMs) {
        self.wall = wall;
        self.began = self.began.min(now);
        self.try_again(now);
        self.start_checkpoint(now);
        self.step_checkpoint(now);
        self.step_scrub(now);
        if self.retention_at > now {
            return;
        }
        self.retention_next = self.search(self.retention_next, now);
        self.retention_at = now + STEP_EVERY;
        if self.retention_next.log == self.logs.len() {
            self.retention_next = Search::FIRST;
            self.retention_at = now.plus_ms(self.config.retention_check_ms);
        }
    }

    /// One step of the search for what is too old.
    fn search(&mut self, from: Search, now: Moment) -> Search {
        let expiration_ms = self.config.producer_expiration_ms;
        let silent = Silent { now: (now, self.wall), expiration_ms };
        let forgets = now.since(self.began) >= silent.grace();
        let (mut producer, mut room) = (from.producer, PRODUCERS_PER_STEP);
        let upto = (from.log + LOGS_PER_STEP).min(self.logs.len());
        for i in from.log..upto {
            if let Some(log) = &mut self.logs[i] {
                if forgets && let Some(producer) = log.producers.expire(silent, producer, &mut room)
                {
                    return Search { log: i, producer };
                }
                self.retain_log(LogId(i as u32), now);
            }
            producer = i64::MIN;
        }
        Search { log: upto, ..Search::FIRST }
    }

    /// Applies the retention of one log; asks for the index of a segment whose age it tells.
    pub(super) fn retain_log(&mut self, id: LogId, now: Moment) {
        let wall = self.wall;
        let Some(log) = self.log_mut(id) else { return };
        if log.failed {
            return;
        }
        match log.expired(wall) {
            Expired::Segments(count) => self.drop_segments(id, count, now),
            Expired::Unknown(i) => {
                // Its index may push out those of the segments before it.
                self.drop_segments(id, i, now);
                self.load_index(id, i);
            }
        }
    }

    /// Drops the oldest `count` segments, the active one after a roll. No commit is made for it.
    fn drop_segments(&mut self, id: LogId, count: usize, now: Moment) {
        let wall = self.wall;
        let Some(log) = self.log_mut(id) else { return };
        if count == 0 {
            return;
        }
        if count == log.segments.len() {
            log.roll(wall);
        }
        let start = log.segments[count].base;
        if start > log.log_start {
            self.move_log_start(id, start);
            let deadline = now.plus_ms(self.config.lazy_flush_ms);
            self.metas_deadline = self.metas_deadline.min(deadline);
        }
    }

    /// Moves the log start to `to` (DeleteRecords); -1 in the request is the caller's to resolve.
    ///
    /// # Errors
    /// [`StorageError::OffsetOutOfRange`] above the log end, [`StorageError::Fenced`],
    /// [`StorageError::Deleted`].
    pub fn delete_records(
        &mut self,
        id: LogId,
        to: Offset,
        now: Moment,
    ) -> Result<Offset, StorageError> {
        let log = self.served(id)?;
        if to < Offset(0) || to > log.log_end {
            let (first, next) = (log.log_start, log.log_end);
            return Err(StorageError::OffsetOutOfRange { asked: to, first, next });
        }
        let start = log.log_start.max(to);
        if start > log.log_start {
            self.move_log_start(id, start);
            self.metas_deadline = self.metas_deadline.min(now);
        }
        Ok(start)
    }

    /// Moves the log start in memory and tells the journal.
    fn move_log_start(&mut self, id: LogId, start: Offset) {
        let Some(log) = self.logs[id.0 as usize].as_deref_mut() else { return };
        log.log_start = start;
        log.changed = true;
        let first = log.segments[log.segment_of(start.min(log.durable_end))].base;
        let (tp, topic) = (log.tp, std::sync::Arc::clone(&log.topic));
        // It takes the place of one that is behind it.
        self.metas.pop_back_if(|(.., meta)| matches!(meta, Meta::LogStart(of, ..) if *of == id));
        self.metas.push_back((tp, topic, Meta::LogStart(id, start, first)));
    }

    /// The journal knows that the log starts at `start`, its segments at `first`: what lies before
    /// goes.
    pub(super) fn on_log_start(&mut self, id: LogId, start: Offset, first: Offset) {
        let Some(log) = self.logs[id.0 as usize].as_deref_mut() else { return };
        log.epochs.truncate_start(start);
        log.epochs_dirty = true;
        log.disk.first = log.disk.first.max(first);
        self.windows.forget(id);
        self.drop_some(id);
    }

    /// Lets go of some of the segments that are to go; of more when the files of these are removed.
    pub(super) fn drop_some(&mut self, id: LogId) {
        let Some(log) = self.logs[id.0 as usize].as_deref_mut() else { return };
        if log.disk.removing || !log.disk.remove.is_empty() {
            return;
        }
        for _ in 0..SEGMENTS_PER_STEP {
            if log.segments.len() < 2 || log.segments[0].base >= log.disk.first {
                break;
            }
            let Some(gone) = log.segments.pop_front() else { break };
            let kinds = [Kind::Log, Kind::Index, Kind::TimeIndex, Kind::Snapshot];
            log.disk.remove.extend(kinds.map(|kind| file_path(&log.dir, gone.base, kind)));
        }
        let (base, at) = (log.segments[0].base, log.segments[0].at);
        if log.progress.written < at {
            log.progress.on_sealed(at, base);
        }
        let had = !log.tail.chunks.is_empty();
        while let Some(chunk) = log.tail.chunks.pop_front_if(|c| c.start < at) {
            self.memory.give_back(chunk.capacity(), chunk.into_buf());
        }
        if had && log.tail.chunks.is_empty() {
            self.memory.tail_gone();
        }
        self.start_removing_files(id);
    }
}

/// What retention finds.
#[derive(Debug, PartialEq, Eq)]
enum Expired {
    /// So many of the oldest segments go.
    Segments(usize),
    /// Those before this one go, and it depends on its index whether more do.
    Unknown(usize),
}

impl Log {
    fn expired(&self, wall: WallMs) -> Expired {
        let (config, last) = (&self.config, self.segments.len() - 1);
        // Those before the log start are on their way out.
        let first = self.segment_of(self.log_start);
        let by_size = config.delete && config.retention_bytes >= 0;
        let mut excess = 0;
        if by_size {
            let bytes: u64 = self.segments.range(first..).map(|s| s.size).sum();
            excess = bytes.cast_signed() - config.retention_bytes;
        }
        for (i, segment) in self.segments.iter().enumerate().skip(first) {
            let next = self.segments.get(i + 1).map_or(self.log_end, |s| s.base);
            if next > self.durable_end || (i == last && segment.size == 0) {
                return Expired::Segments(i);
            }
            let too_many = by_size && excess >= segment.size.cast_signed();
            excess -= segment.size.cast_signed();
            if too_many {
                continue;
            }
            if !config.delete || config.retention_ms < 0 {
                return Expired::Segments(i);
            }
            let Some(index) = &segment.index else { return Expired::Unknown(i) };
            let newest = index.max_timestamp().map_or(segment.modified.0, |(latest, _)| latest);
            if wall.0.saturating_sub(newest) <= config.retention_ms {
                return Expired::Segments(i);
            }
        }
        Expired::Segments(self.segments.len())
    }
}
