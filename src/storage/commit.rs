//! One group commit: what it holds, and how the committer carries it out.
//!
//! First the direct writes of logs with much to commit, each segment synced; then one journal
//! write and one sync. A log whose direct write failed is made void in the journal, so that the
//! others are not held up and the journal claims nothing that is not so.
//!
//! Of a log with very much to commit, parts go ahead in the commits before: direct writes that the
//! journal does not speak of, so after a crash they are what any bytes past the durable ones are. They
//! are synced with the last one.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::LogId;
use super::error::StorageError;
use super::journal::Writer;
use super::ring::Place;
use crate::base::{Moment, Offset};
use crate::runtime::clock;
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
    fn write(&self) -> Result<(), StorageError> {
        let write = |(at, bytes): &(u64, Bytes)| self.file.write_at(bytes, *at);
        let written = self.pieces.iter().try_for_each(write);
        written.map_err(StorageError::disk("writing", &self.path))
    }

    fn run(&self) -> Result<(), StorageError> {
        self.write()?;
        self.file.sync().map_err(StorageError::disk("syncing", &self.path))
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
    /// Where the journal's part goes; there is none when it only writes ahead.
    pub(super) place: Option<Place>,
    pub(super) generation: u64,
    pub(super) ahead: Vec<(LogId, Direct, Result<(), StorageError>)>,
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
    /// How long the journal's sync took.
    pub(super) result: Result<Duration, StorageError>,
}

impl ServantJob for Commit {
    type Done = CommitDone;

    fn run(mut self) -> CommitDone {
        for (_, direct, result) in &mut self.ahead {
            *result = direct.write();
        }
        for log in &mut self.logs {
            log.error = log.directs.iter().find_map(|direct| direct.run().err());
            if log.error.is_some() {
                for entry in log.entries.clone() {
                    self.writer.void(entry);
                }
            }
        }
        let result = self.place.as_ref().map_or(Ok(Duration::ZERO), |place| {
            let bytes = self.writer.finish(self.generation, place.sequence);
            let written = place.file.write_at(bytes, place.at);
            let synced = written.and_then(|()| {
                let (synced, took) = clock::timed(|| place.file.sync());
                synced.map(|()| took)
            });
            synced.map_err(StorageError::disk("writing", &place.path))
        });
        CommitDone { commit: self, result }
    }
}
