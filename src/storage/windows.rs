//! What readers of old records have read: runs of whole, verified batches from segment files.
//!
//! A window is read by a background job, which verifies it; it serves reads until others push it
//! out. It does not compete with the tails for memory.

use std::collections::VecDeque;

use bytes::Bytes;

use super::LogId;
use crate::base::Offset;

/// Batches of one segment, from one read.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) log: LogId,
    /// Base offset of the segment.
    pub(super) segment: Offset,
    /// Byte of the segment where the first batch begins.
    pub(super) at: u64,
    /// First offset that is looked for here: of the first batch, or of the gap that compaction left
    /// before it.
    pub(super) first: Offset,
    /// Offset after the last batch.
    pub(super) last: Offset,
    /// Offset after the last one that is looked for here: `last`, or the next segment's base where
    /// the window ends its segment.
    pub(super) next: Offset,
    /// The batches.
    pub(super) bytes: Bytes,
}

impl Window {
    /// Byte of the segment after the last batch.
    pub(super) fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }
}

/// The windows of all logs, oldest first.
pub(super) struct Windows {
    budget_bytes: usize,
    used_bytes: usize,
    kept: VecDeque<Window>,
}

impl Windows {
    /// None yet.
    pub(super) fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, used_bytes: 0, kept: VecDeque::new() }
    }

    /// Adds a window; the oldest ones go when there is no room. The newest always stays.
    pub(super) fn insert(&mut self, window: Window) {
        self.used_bytes += window.bytes.len();
        self.kept.push_back(window);
        while self.used_bytes > self.budget_bytes && self.kept.len() > 1 {
            self.used_bytes -= self.kept.pop_front().map_or(0, |w| w.bytes.len());
        }
    }

    /// Memory in use.
    pub(super) fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// The window with the batch that holds `offset`.
    pub(super) fn find(&self, log: LogId, offset: Offset) -> Option<&Window> {
        self.kept.iter().rev().find(|w| w.log == log && w.first <= offset && offset < w.next)
    }

    /// Byte of the segment after the last batch that is known to lie before `offset`, and the
    /// offset there.
    pub(super) fn end_before(
        &self,
        log: LogId,
        segment: Offset,
        offset: Offset,
    ) -> Option<(u64, Offset)> {
        let before = |w: &&Window| w.log == log && w.segment == segment && w.next <= offset;
        self.kept.iter().filter(before).map(|w| (w.end(), w.next)).max()
    }

    /// Offset after the last batch that ends at byte `at` of a segment.
    pub(super) fn last_before(&self, log: LogId, segment: Offset, at: u64) -> Option<Offset> {
        let before = |w: &&Window| w.log == log && w.segment == segment && w.end() == at;
        self.kept.iter().rev().find(before).map(|w| w.last)
    }

    /// Forgets the windows of a log.
    pub(super) fn forget(&mut self, log: LogId) {
        self.kept.retain(|w| w.log != log);
        self.used_bytes = self.kept.iter().map(|w| w.bytes.len()).sum();
    }
}
