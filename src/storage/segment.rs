//! One segment of a log: a file of record batches, named by the offset of its first.
//!
//! Positions are linear: a segment begins at position `at`, a multiple of a block, and its byte `b`
//! has position `at + b`; the next segment begins at the first block boundary at or after its end.
//! So block arithmetic holds for positions as for bytes of the file, and one number says how far a
//! log is journaled, durable or written, over rolls. Positions live as long as the store is open.
//!
//! Invariant G1: while a segment takes appends its file holds whole blocks only; sealing writes the
//! last block and cuts the file to its true size.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index::Index;
use super::tail::block_ceil;
use crate::base::{Offset, WallMs};
use crate::partition::producers::Producers;
use crate::runtime::disk::DiskFile;

/// A segment as the store knows it.
pub(super) struct Segment {
    /// Offset of its first record.
    pub(super) base: Offset,
    /// Position of its first byte.
    pub(super) at: u64,
    /// Bytes appended.
    pub(super) size: u64,
    /// Its indexes; always there until it is sealed, then while they are wanted. Shared with the job that
    /// writes them: there may be megabytes.
    pub(super) index: Option<Arc<Index>>,
    /// Open while blocks are written to it.
    pub(super) file: Option<Arc<dyn DiskFile>>,
    /// All of it is in its file, indexes too.
    pub(super) sealed: bool,
    /// Timestamp of its first batch, ms, which `segment.ms` counts from.
    pub(super) first_timestamp: Option<i64>,
    /// When it was made or last appended to.
    pub(super) modified: WallMs,
    /// Producers as they were when the next segment began.
    pub(super) snapshot: Option<Producers>,
}

impl Segment {
    /// An empty segment that begins at `at`.
    pub(super) fn new(base: Offset, at: u64, now: WallMs) -> Self {
        Self {
            base,
            at,
            size: 0,
            index: Some(Arc::new(Index::new(base))),
            file: None,
            sealed: false,
            first_timestamp: None,
            modified: now,
            snapshot: None,
        }
    }

    /// Position after its last byte.
    pub(super) fn end(&self) -> u64 {
        self.at + self.size
    }

    /// Position where the next segment begins.
    pub(super) fn next_at(&self) -> u64 {
        block_ceil(self.end())
    }
}

/// Files of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Batches.
    Log,
    /// Offset index.
    Index,
    /// Time index.
    TimeIndex,
    /// Producer state.
    Snapshot,
}

impl Kind {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Log, ".log"),
        (Self::Index, ".index"),
        (Self::TimeIndex, ".timeindex"),
        (Self::Snapshot, ".snapshot"),
    ];

    fn suffix(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// `<dir>/<20 digits><suffix>`.
pub(super) fn file_path(dir: &Path, base: Offset, kind: Kind) -> PathBuf {
    dir.join(format!("{:020}{}", base.0, kind.suffix()))
}

/// Kind and base offset of a file name; `None` for any other file.
pub(super) fn parse_name(name: &str) -> Option<(Kind, Offset)> {
    let (kind, digits) =
        Kind::ALL.iter().find_map(|(k, suffix)| Some((*k, name.strip_suffix(suffix)?)))?;
    let valid = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    Some((kind, Offset(digits.parse().ok().filter(|_| valid)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas_and_read_back() {
        let path = file_path(Path::new("/d"), Offset(42), Kind::TimeIndex);
        assert_eq!(path, Path::new("/d/00000000000000000042.timeindex"));
        assert_eq!(
            parse_name("00000000000000000042.timeindex"),
            Some((Kind::TimeIndex, Offset(42)))
        );
        for other in ["42.log", "00000000000000000042.log.deleted", "x", "+0000000000000000042.log"]
        {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
