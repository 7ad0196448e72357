//! Checkpoints: working journal chunks into segments so that they can be used again.
//!
//! For each log with bytes in the chunks: its whole blocks are written and synced, and the indexes of
//! a long active segment with them; bytes in its unfinished block are repeated in a later commit.
//! When no log needs the chunks any more, the node's checkpoint files are written, then
//! `journal/generation`, and the chunks are free. Commits go on meanwhile.
//!
//! A turn looks at few logs, however many there are ([`Store::step_checkpoint`]).
//!
//! A deletion that is not yet durable holds a checkpoint up: a crash would bring back a log that
//! lacks what the freed chunks had.
//!
//! Invariant K1: a chunk is freed only after the files that make it unnecessary are on disk.

use std::mem;
use std::sync::Arc;

use super::config::StoreConfig;
use super::jobs::{CheckpointWork, Job, LogLine, Work};
use super::log::{Log, Queue};
use super::store::{STEP_EVERY, Store};
use super::tail::block_floor;
use super::{LogId, StorageError};
use crate::base::Moment;

/// Until a checkpoint is tried again that found no chunk to free.
const RETRY_MS: i64 = 50;

/// A running checkpoint.
pub(super) struct Checkpoint {
    /// Newest chunk that is to be freed.
    upto: u64,
    /// Logs with something in these chunks that were not looked at; one may be there several times.
    unseen: Vec<LogId>,
    /// Logs that still need one of them.
    waiting: usize,
    stage: Stage,
    /// When the next logs are looked at.
    step_at: Moment,
}

enum Stage {
    /// Logs are on their way out of the chunks.
    Settling,
    /// None needs them any more. The lines of the files so far, of logs before this one.
    Listing(Vec<LogLine>, usize),
    /// The files are being written.
    Writing,
}

/// What a log needs before the chunks can go.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    /// A write job, with a sync.
    Write,
    /// To be repeated in the next commit.
    Repeat,
    /// Something that is on its way.
    Wait,
}

impl Store {
    /// Begins a checkpoint when the journal is half full or old; between commits only, since it
    /// has to see what logs have in each chunk.
    pub(super) fn start_checkpoint(&mut self, now: Moment) {
        let old = self.checkpoint_wanted && self.checkpoint_at <= now;
        let busy = self.checkpoint.is_some() || self.writer.is_none();
        if busy || self.failed || !(old || self.ring.is_half_full()) {
            return;
        }
        let Some(upto) = self.ring.close() else {
            self.checkpoint_at = now.plus_ms(RETRY_MS);
            return;
        };
        (self.checkpoint_wanted, self.checkpoint_bytes) = (false, 0);
        let freed = self.ring.live().filter(|l| l.number <= upto);
        let unseen = freed.flat_map(|l| l.logs.iter().copied()).collect();
        self.metrics.checkpoints += 1;
        let stage = Stage::Settling;
        self.checkpoint = Some(Checkpoint { upto, unseen, waiting: 0, stage, step_at: now });
        self.finish_checkpoint();
    }

    /// When [`Store::step_checkpoint`] has something to do.
    pub(super) fn checkpoint_step_at(&self) -> Moment {
        let goes_on =
            |c: &&Checkpoint| !c.unseen.is_empty() || matches!(c.stage, Stage::Listing(..));
        self.checkpoint.as_ref().filter(goes_on).map_or(Moment::NEVER, |c| c.step_at)
    }

    /// Goes on with the checkpoint that runs.
    pub(super) fn step_checkpoint(&mut self, now: Moment) {
        if self.checkpoint_step_at() > now {
            return;
        }
        let logs_max = self.config.checkpoint_step_logs;
        for _ in 0..logs_max {
            let Some(id) = self.checkpoint.as_mut().and_then(|c| c.unseen.pop()) else { break };
            if let Some(log) = self.log_mut(id)
                && !mem::replace(&mut log.in_checkpoint, true)
            {
                self.checkpoint.iter_mut().for_each(|c| c.waiting += 1);
                self.settle(id);
            }
        }
        let Some(checkpoint) = &mut self.checkpoint else { return };
        checkpoint.step_at = now + STEP_EVERY;
        let Stage::Listing(lines, at) = &mut checkpoint.stage else {
            return self.finish_checkpoint();
        };
        let logs = self.logs.iter().skip(*at).take(logs_max).flatten().map(|log| &**log);
        lines.extend(logs.filter_map(Log::checkpoint_line));
        *at += logs_max;
        if *at < self.logs.len() {
            return;
        }
        let work = CheckpointWork {
            dir: self.config.dir.clone(),
            logs: mem::take(lines),
            generation: self.generation,
            first_sequence: self.ring.first_sequence_after(checkpoint.upto),
            upto: checkpoint.upto,
        };
        checkpoint.stage = Stage::Writing;
        self.queues.urgent.push_back(Job { log: None, work: Work::Checkpoint(Box::new(work)) });
    }

    /// Moves a log on its way out of the chunks that are to be freed.
    pub(super) fn settle(&mut self, id: LogId) {
        let Some(upto) = self.checkpoint.as_ref().map(|c| c.upto) else { return };
        let Some(log) = self.logs[id.0 as usize].as_deref_mut() else { return };
        if !log.in_checkpoint {
            return;
        }
        match log.need(upto, &self.config) {
            Need::Nothing => {
                log.in_checkpoint = false;
                self.checkpoint_log_settled();
            }
            Need::Write => {
                log.disk.want_sync = true;
                self.want_write(id);
            }
            Need::Repeat => {
                log.rejournal = true;
                if log.queue != Queue::Due {
                    log.queue = Queue::Due;
                    self.due.push_back(id);
                }
            }
            Need::Wait => (),
        }
    }

    pub(super) fn checkpoint_log_settled(&mut self) {
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.waiting -= 1;
        }
        self.finish_checkpoint();
    }

    /// Goes on to the checkpoint files once nothing needs the chunks any more.
    pub(super) fn finish_checkpoint(&mut self) {
        let Some(checkpoint) = &mut self.checkpoint else { return };
        let settles = matches!(checkpoint.stage, Stage::Settling);
        if !settles || checkpoint.waiting > 0 || !checkpoint.unseen.is_empty() {
            return;
        }
        let upto = checkpoint.upto;
        if self.removals.needs(upto) {
            return;
        }
        checkpoint.stage = Stage::Listing(Vec::with_capacity(self.logs.len()), 0);
    }

    /// A log is deleted: what was listed of it must not be written.
    pub(super) fn list_anew(&mut self) {
        if let Some(checkpoint) = &mut self.checkpoint
            && matches!(checkpoint.stage, Stage::Listing(..))
        {
            checkpoint.stage = Stage::Settling;
        }
    }

    /// The files could not be written: they are at `at`, with what is true then.
    pub(super) fn list_again(&mut self, at: Moment) {
        if let Some(checkpoint) = &mut self.checkpoint {
            (checkpoint.stage, checkpoint.step_at) = (Stage::Listing(Vec::new(), 0), at);
        }
    }

    /// Per log: recovery point, log start, high watermark.
    pub(super) fn checkpoint_lines(&self) -> Vec<LogLine> {
        self.logs.iter().flatten().filter_map(|log| log.checkpoint_line()).collect()
    }

    /// The journal is full. When that is since a log's segments cannot be written, or its own files for
    /// want of room, nothing frees it: the node stops, and a restart writes again what only the journal has.
    pub(super) fn check_held(&mut self) {
        let held = |log: &&Log| {
            let comes = log.rejournal || log.repeating || log.disk.writing;
            log.stuck && log.in_checkpoint && !comes
        };
        let no_room = self.held_by_room();
        let by_log = || {
            let log = self.logs.iter().flatten().map(|l| &**l).find(held)?;
            Some(StorageError::JournalHeld { dir: log.dir.clone() })
        };
        if let Some(error) = no_room.or_else(by_log) {
            let mut events = mem::take(&mut self.events);
            self.fail_all(error, &mut events);
            self.events = events;
        }
    }

    pub(super) fn on_checkpoint(&mut self, upto: u64, now: Moment) {
        self.ring.free_upto(upto);
        self.checkpoint = None;
        self.removals.forget(upto);
        self.full = false;
        self.checkpoint_at = now.plus_ms(self.config.checkpoint_ms);
    }

    /// Begins a checkpoint as soon as no commit is out, for a caller that wants the journal small.
    ///
    /// # Errors
    /// [`StorageError::JournalFailed`].
    pub fn checkpoint(&mut self, now: Moment) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::JournalFailed);
        }
        (self.checkpoint_wanted, self.checkpoint_at) = (true, now);
        self.start_checkpoint(now);
        Ok(())
    }
}

impl Log {
    fn checkpoint_line(&self) -> Option<LogLine> {
        let offsets = [self.progress.recovery_point, self.log_start, self.durable_end];
        let line = || (Arc::clone(&self.topic), self.tp.partition, offsets);
        self.disk.made.then(line)
    }

    /// Whether what is not synced in segments, up to there, is little enough to be repeated in a commit.
    pub(super) fn fits_a_repeat(&self, upto: u64, config: &StoreConfig) -> bool {
        self.bytes_in(self.progress.synced, upto) <= config.commit_bytes_max as u64 / 2
    }

    /// What this log needs before chunks up to `upto` can go.
    fn need(&self, upto: u64, config: &StoreConfig) -> Need {
        let created = self.disk.created_in.is_some_and(|c| c <= upto);
        let pinned = self.progress.oldest_chunk().is_some_and(|c| c <= upto);
        let behind = !self.failed && !self.disk.no_room && self.is_index_behind(config);
        if !created && !pinned && !behind {
            return Need::Nothing;
        }
        if self.disk.writing && !self.disk.no_room || self.repeating {
            return Need::Wait;
        }
        if self.stuck || self.disk.no_room {
            let repeats = self.fits_a_repeat(self.progress.durable, config)
                && !created
                && self.is_repeatable();
            return if repeats { Need::Repeat } else { Need::Wait };
        }
        let p = &self.progress;
        let open = &self.segments[self.segments.partition_point(|s| s.sealed)];
        let blocks = block_floor(p.durable.min(open.end())) > p.written;
        if created || behind || blocks || p.written > p.synced || self.wants_seal() {
            return Need::Write;
        }
        Need::Repeat
    }
}
