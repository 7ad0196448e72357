//! What waits for room on a full file system: the next chunk of the journal, the files of a checkpoint,
//! and write jobs of segments. All of it is tried again every second, each job whole, so that what a
//! first try left in part is written over.
//!
//! The node goes on meanwhile, as far as the journal's chunks that are there go. When they are full and
//! what would free one waits, it stops; a restart writes again what only the journal has.
//!
//! A sync that fails is never tried again, whatever the reason (S2).

use std::{io, mem};

use super::jobs::{Job, Work, WriteWork};
use super::log::Log;
use super::store::Store;
use super::{LogId, StorageError, StoreEvent};
use crate::base::Moment;

/// Until what found no room is tried again.
const RETRY_MS: i64 = 1000;
/// Until the log says so again.
const TELL_MS: i64 = 60_000;

/// What waits.
pub(super) struct Room {
    /// When it is tried again.
    at: Moment,
    /// The journal's next chunk waits.
    chunk: bool,
    /// The running checkpoint's files wait.
    checkpoint: bool,
    writes: Vec<(LogId, Box<WriteWork>)>,
    /// Why.
    error: Option<StorageError>,
    /// Not to be told before.
    tell_at: Moment,
}

impl Room {
    pub(super) fn new() -> Self {
        let (at, tell_at) = (Moment::NEVER, Moment::default());
        Self { at, chunk: false, checkpoint: false, writes: Vec::new(), error: None, tell_at }
    }
}

impl Store {
    /// The journal's next chunk found no room.
    pub(super) fn chunk_waits(&mut self, error: StorageError, now: Moment) {
        self.room.chunk = true;
        // It may free a chunk.
        (self.checkpoint_wanted, self.checkpoint_at) = (true, now);
        self.wait_for_room(error, now);
    }

    /// The files of the running checkpoint found no room.
    pub(super) fn checkpoint_waits(&mut self, error: StorageError, now: Moment) {
        self.room.checkpoint = true;
        self.wait_for_room(error, now);
        self.list_again(self.room.at);
    }

    /// A write job found no room. No other one of the log goes out meanwhile, but what retention removes
    /// does, since it may make room; and checkpoints repeat in the journal what is not written, which is
    /// little: a log that has more is fenced, so that it does not fill the journal.
    pub(super) fn write_waits(
        &mut self,
        id: LogId,
        work: Box<WriteWork>,
        error: StorageError,
        now: Moment,
        out: &mut Vec<StoreEvent>,
    ) {
        let Some(log) = self.logs[id.0 as usize].as_deref_mut() else { return };
        if !log.fits_a_repeat(log.progress.journaled, &self.config) {
            return self.on_write(id, *work, Err(error), out);
        }
        log.disk.no_room = true;
        if log.segment_from(work.segment).is_some() {
            self.remove_files(id);
        }
        self.room.writes.push((id, work));
        self.wait_for_room(error, now);
        self.settle(id);
    }

    /// Fences a log that waits and has got more than can be repeated.
    pub(super) fn stop_waiting(&mut self, id: LogId) {
        let Some(log) = self.log_mut(id) else { return };
        let source = io::ErrorKind::StorageFull.into();
        let error = StorageError::Disk { doing: "writing", path: log.dir.clone(), source };
        (log.disk.writing, log.disk.writing_upto, log.disk.no_room) = (false, 0, false);
        let mut events = mem::take(&mut self.events);
        self.stick(id, error, &mut events);
        self.events = events;
    }

    fn wait_for_room(&mut self, error: StorageError, now: Moment) {
        if self.room.tell_at <= now {
            self.room.tell_at = now.plus_ms(TELL_MS);
            let remedy = "free space on that file system";
            tracing::warn!(%error, remedy, "no room; it is tried again");
        }
        self.room.error = Some(error);
        self.room.at = self.room.at.min(now.plus_ms(RETRY_MS));
    }

    /// When [`Self::try_again`] has something to do.
    pub(super) fn room_at(&self) -> Moment {
        self.room.at
    }

    /// Tries again what waits.
    pub(super) fn try_again(&mut self, now: Moment) {
        if self.room.at > now {
            return;
        }
        self.room.at = Moment::NEVER;
        self.room.checkpoint = false;
        if mem::take(&mut self.room.chunk) {
            self.ring.ask_again();
        }
        for (id, work) in mem::take(&mut self.room.writes) {
            let Some(log) = self.log_mut(id).filter(|log| log.disk.no_room) else { continue };
            if log.rejournal || log.repeating {
                self.room.writes.push((id, work));
                self.room.at = now.plus_ms(RETRY_MS);
                continue;
            }
            log.disk.no_room = false;
            self.queues.urgent.push_back(Job { log: Some(id), work: Work::Write(work) });
        }
    }

    /// Why nothing frees a chunk of the full journal, when that is for want of room.
    pub(super) fn held_by_room(&mut self) -> Option<StorageError> {
        let holds =
            |log: &Log| log.disk.no_room && log.in_checkpoint && !log.rejournal && !log.repeating;
        let mut logs = self.room.writes.iter().filter_map(|(id, _)| self.log(*id));
        let in_checkpoint = self.room.checkpoint || logs.any(holds);
        let waits = if self.checkpoint.is_some() { in_checkpoint } else { self.room.chunk };
        self.room.error.take_if(|_| waits)
    }
}
