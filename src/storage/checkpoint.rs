//! Checkpoints: working journal chunks into segments so that they can be used again.
//!
//! For each log with bytes in the chunks: its whole blocks are written and synced, and the indexes of
//! a long active segment with them; bytes in its unfinished block are repeated in a later commit.
//! When no log needs the chunks any more, the node's checkpoint files are written, then
//! `journal/generation`, and the chunks are free. Commits go on meanwhile.
//!
//! A deletion that is not yet durable holds a checkpoint up: a crash would bring back a log that
//! lacks what the freed chunks had.
//!
//! Invariant K1: a chunk is freed only after the files that make it unnecessary are on disk.

use super::config::StoreConfig;
use super::jobs::{CheckpointWork, Job, LogLine, Work};
use super::log::{Log, Queue};
use super::store::Store;
use super::tail::block_floor;
use super::{LogId, StorageError};
use crate::base::Moment;

/// Until a checkpoint is tried again that found no chunk to free.
const RETRY_MS: i64 = 50;

/// A running checkpoint.
pub(super) struct Checkpoint {
    /// Newest chunk that is to be freed.
    upto: u64,
    /// Logs that still need one of them.
    waiting: usize,
    /// The checkpoint files are being written.
    writing: bool,
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
        let mut ids: Vec<_> =
            self.ring.live().filter(|l| l.number <= upto).flat_map(|l| l.logs.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut waiting = Vec::new();
        for id in ids {
            if let Some(log) = self.log_mut(id) {
                log.in_checkpoint = true;
                waiting.push(id);
            }
        }
        self.metrics.checkpoints += 1;
        self.checkpoint = Some(Checkpoint { upto, waiting: waiting.len() + 1, writing: false });
        for id in waiting {
            self.settle(id);
        }
        self.checkpoint_log_settled();
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

    /// Writes the checkpoint files once nothing needs the chunks any more.
    pub(super) fn finish_checkpoint(&mut self) {
        let Some(checkpoint) = &mut self.checkpoint else { return };
        if checkpoint.waiting > 0 || checkpoint.writing {
            return;
        }
        let upto = checkpoint.upto;
        if self.removals.going.values().any(|r| r.chunk <= Some(upto)) {
            return;
        }
        checkpoint.writing = true;
        let work = CheckpointWork {
            dir: self.config.dir.clone(),
            logs: self.checkpoint_lines(),
            generation: self.generation,
            first_sequence: self.ring.first_sequence_after(upto),
            upto,
        };
        self.queues.urgent.push_back(Job { log: None, work: Work::Checkpoint(Box::new(work)) });
    }

    /// Per log: recovery point, log start, high watermark.
    pub(super) fn checkpoint_lines(&self) -> Vec<LogLine> {
        let logs = self.logs.iter().flatten().map(|log| &**log);
        let line = |l: &Log| {
            let offsets = [l.progress.recovery_point, l.log_start, l.durable_end];
            (std::sync::Arc::clone(&l.topic), l.tp.partition, offsets)
        };
        logs.filter(|l| l.disk.made).map(line).collect()
    }

    /// The journal is full. When that is since a log's segments cannot be written, nothing frees
    /// it: the node stops, and a restart writes again what only the journal has.
    pub(super) fn check_held(&mut self) {
        let held = |log: &&Log| {
            let comes = log.rejournal || log.repeating || log.disk.writing;
            log.stuck && log.in_checkpoint && !comes
        };
        let by = self.logs.iter().flatten().map(|l| &**l).find(held).map(|log| log.dir.clone());
        if let Some(dir) = by {
            let mut events = std::mem::take(&mut self.events);
            self.fail_all(StorageError::JournalHeld { dir }, &mut events);
            self.events = events;
        }
    }

    pub(super) fn on_checkpoint(&mut self, upto: u64, now: Moment) {
        self.ring.free_upto(upto);
        self.checkpoint = None;
        self.removals.gone.retain(|r| r.chunk > Some(upto));
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
    /// What this log needs before chunks up to `upto` can go.
    fn need(&self, upto: u64, config: &StoreConfig) -> Need {
        let created = self.disk.created_in.is_some_and(|c| c <= upto);
        let pinned = self.progress.oldest_chunk().is_some_and(|c| c <= upto);
        let behind = !self.failed && self.is_index_behind(config);
        if !created && !pinned && !behind {
            return Need::Nothing;
        }
        if self.disk.writing || self.repeating {
            return Need::Wait;
        }
        if self.stuck {
            let p = &self.progress;
            let small = self.bytes_in(p.synced, p.durable) <= config.commit_bytes_max as u64 / 2;
            let repeats = small && !created && self.is_repeatable();
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
