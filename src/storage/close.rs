//! The clean stop: everything into segments, checkpoints, and last the mark that says so.

use std::sync::Arc;

use super::error::StorageError;
use super::files::{self, Make};
use super::index::Index;
use super::jobs::{Seal, WriteWork};
use super::log::Log;
use super::store::Store;
use super::tail::block_floor;
use crate::base::Offset;
use crate::runtime::disk::Disk;

impl Store {
    /// Writes all that is in memory, cuts files to their true size and marks the stop as clean.
    /// Blocks. Call it when no commit and no job is out; the store takes nothing after it.
    ///
    /// # Errors
    /// [`StorageError::Disk`], [`StorageError::JournalFailed`]: the next start recovers.
    pub fn close(&mut self) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::JournalFailed);
        }
        self.failed = true;
        let dir = self.config.dir.clone();
        for removal in self.removals.going.values() {
            files::remove_log(&*self.disk, &removal.dir)?;
        }
        files::sync_dir(&*self.disk, &dir)?;
        let disk = Arc::clone(&self.disk);
        let mut stuck = None;
        for log in self.logs.iter_mut().flatten() {
            if log.stuck {
                stuck = Some(log.dir.display().to_string());
            } else {
                log.close(&*disk)?;
            }
        }
        if let Some(dir) = stuck {
            tracing::warn!(dir, "a log could not be written; the next start recovers it");
            return Ok(());
        }
        self.write_checkpoints()?;
        let text = files::CLEAN_SHUTDOWN_TEXT;
        files::replace(&*disk, &dir.join(files::CLEAN_SHUTDOWN), text.as_bytes())?;
        files::sync_dir(&*disk, &dir)
    }
}

impl Log {
    fn close(&mut self, disk: &dyn Disk) -> Result<(), StorageError> {
        if !self.disk.made && !self.failed {
            Make::of(self.tp.topic).run(disk, &self.dir)?;
            self.disk.made = true;
        }
        if self.changed {
            let open = self.segments.partition_point(|s| s.sealed);
            for i in open..self.segments.len() {
                self.close_segment(disk, i)?;
            }
            let text = self.epochs.to_text();
            files::replace(disk, &self.dir.join(files::EPOCHS), text.as_bytes())?;
            files::sync_dir(disk, &self.dir)?;
        }
        if !self.failed {
            self.progress.recovery_point = self.log_end;
            self.durable_end = self.log_end;
        }
        Ok(())
    }

    fn close_segment(&mut self, disk: &dyn Disk, i: usize) -> Result<(), StorageError> {
        let segment = &self.segments[i];
        let written = self.progress.written.max(segment.at).min(segment.end());
        let from = if written < segment.end() { block_floor(written) } else { written };
        let mut pieces = self.tail.pieces(from, segment.end());
        for piece in &mut pieces {
            piece.0 -= segment.at;
        }
        let next = self.segments.get(i + 1);
        let mut index = segment.index.clone().unwrap_or_else(|| Arc::new(Index::new(segment.base)));
        Arc::make_mut(&mut index).seal();
        let newest = next.is_none().then(|| self.producers.clone());
        let work = WriteWork {
            dir: self.dir.clone(),
            make: None,
            segment: segment.base,
            file: segment.file.clone(),
            pieces,
            from,
            upto: segment.end(),
            boundary: Offset(0),
            sync: None,
            seal: Some(Seal {
                size: segment.size,
                index,
                next: next.map_or(self.log_end, |n| n.base),
                snapshot: segment.snapshot.clone().or(newest),
            }),
            index_tail: None,
            epochs: None,
            snapshot: None,
            stale_snapshots: Vec::new(),
        };
        work.run(disk).map(|_| ())
    }
}
