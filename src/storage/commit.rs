//! One group commit: what it holds, and how the committer carries it out.
//!
//! First the direct writes of logs with much to commit, each segment synced; then one journal
//! write and one sync. A log whose direct write failed is made void in the journal, so that the
//! others are not held up and the journal claims nothing that is not so.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::LogId;
use super::error::StorageError;
use super::journal::Writer;
use crate::base::{Moment, Offset};
use crate::runtime::disk::{DiskFile, ServantJob};

/// What one log has in a commit.
pub(super) struct LogCommit {
    pub(super) log: LogId,
    /// Bytes that it makes durable.
    pub(super) bytes: usize,
    /// Durable up to this position and offset when the commit is done.
    pub(super) end: u64,
    pub(super) end_offset: Offset,
    /// First position of its bytes in the journal.
    pub(super) data_from: Option<u64>,
    pub(super) directs: Vec<Direct>,
    /// Numbers of its entries in the journal buffer.
    pub(super) entries: Range<usize>,
    /// Why it was not written.
    pub(super) error: Option<StorageError>,
}

impl LogCommit {
    /// Nothing yet.
    pub(super) fn new(log: LogId) -> Self {
        Self {
            log,
            bytes: 0,
            end: 0,
            end_offset: Offset(0),
            data_from: None,
            directs: Vec::new(),
            entries: 0..0,
            error: None,
        }
    }
}

/// Whole blocks that go straight to a segment.
pub(super) struct Direct {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) path: PathBuf,
    /// Byte of the segment and bytes.
    pub(super) pieces: Vec<(u64, Bytes)>,
    /// Positions, and the last batch end in them.
    pub(super) from: u64,
    pub(super) upto: u64,
    pub(super) boundary: Offset,
    /// Everything below `upto` is synced with it.
    pub(super) completes: bool,
}

impl Direct {
    fn run(&self) -> io::Result<()> {
        for (at, bytes) in &self.pieces {
            self.file.write_at(bytes, *at)?;
        }
        self.file.sync()
    }
}

/// A log's part of a commit that concerns no bytes.
#[derive(Debug, Clone)]
pub(super) enum Meta {
    Create(LogId),
    /// The new start, and the base of the first segment that is left.
    LogStart(LogId, Offset, Offset),
    Delete(LogId),
}

/// A commit on its way through the committer.
pub struct Commit {
    pub(super) writer: Writer,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) path: Arc<Path>,
    pub(super) at: u64,
    pub(super) chunk: u64,
    pub(super) generation: u64,
    pub(super) sequence: u64,
    pub(super) logs: Vec<LogCommit>,
    pub(super) metas: Vec<Meta>,
    pub(super) started: Moment,
}

impl Commit {
    /// Bytes written to the journal, padding included.
    pub fn journal_bytes(&self) -> usize {
        self.writer.padded_len()
    }
}

/// A finished [`Commit`].
pub struct CommitDone {
    pub(super) commit: Commit,
    pub(super) result: Result<(), StorageError>,
}

impl ServantJob for Commit {
    type Done = CommitDone;

    fn run(mut self) -> CommitDone {
        for log in &mut self.logs {
            for direct in &log.directs {
                if let Err(source) = direct.run() {
                    let path = direct.path.clone();
                    log.error = Some(StorageError::Disk { doing: "writing", path, source });
                    break;
                }
            }
            if log.error.is_some() {
                for entry in log.entries.clone() {
                    self.writer.void(entry);
                }
            }
        }
        let bytes = self.writer.finish(self.generation, self.sequence);
        let written = self.file.write_at(bytes, self.at).and_then(|()| self.file.sync());
        let result = written.map_err(StorageError::disk("writing", &self.path));
        CommitDone { commit: self, result }
    }
}
