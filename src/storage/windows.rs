//! What readers of old records have read: runs of whole, verified batches from segment files.
//!
//! A window is read by a background job, which verifies it; it serves reads until others push it
//! out, those first that were read to their end. It does not compete with the tails for memory.

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
    /// What was read of the batch after them, up to a block.
    pub(super) rest: Bytes,
    /// Offset that readers have come to.
    pub(super) read_to: Offset,
}

impl Window {
    /// Memory that it takes.
    fn size_bytes(&self) -> usize {
        self.bytes.len() + self.rest.len()
    }

    /// Whether somebody reads in its second half, and will want what comes after it.
    pub(super) fn is_half_read(&self) -> bool {
        2 * (self.read_to.0 - self.first.0) >= self.last.0 - self.first.0
    }

    fn is_read(&self) -> bool {
        self.read_to >= self.last
    }

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

    /// Adds a window. When there is no room, those go that were read, then the oldest; the newest
    /// always stays.
    pub(super) fn insert(&mut self, window: Window) {
        self.used_bytes += window.size_bytes();
        self.kept.push_back(window);
        while self.used_bytes > self.budget_bytes && self.kept.len() > 1 {
            let mut older = self.kept.iter().take(self.kept.len() - 1);
            let goes = older.position(Window::is_read).unwrap_or(0);
            self.used_bytes -= self.kept.remove(goes).map_or(0, |w| w.size_bytes());
        }
    }

    /// How many windows after the one that is being read are worth having: two, so that the disk
    /// need not wait for the reader, or one when many are read.
    pub(super) fn ahead(&self) -> usize {
        let unread = self.kept.iter().filter(|w| !w.is_read()).map(Window::size_bytes);
        if unread.sum::<usize>() < self.budget_bytes / 2 { 2 } else { 1 }
    }

    /// Memory in use.
    pub(super) fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// The window with the batch that holds `offset`.
    pub(super) fn find(&self, log: LogId, offset: Offset) -> Option<&Window> {
        self.kept.iter().rev().find(|w| w.log == log && w.first <= offset && offset < w.next)
    }

    /// As [`Self::find`], for a reader.
    pub(super) fn find_mut(&mut self, log: LogId, offset: Offset) -> Option<&mut Window> {
        let mut newest = self.kept.iter_mut().rev();
        newest.find(|w| w.log == log && w.first <= offset && offset < w.next)
    }

    /// Whether the window that ends where one begins at `first` is half read.
    pub(super) fn is_wanted(&self, log: LogId, first: Offset) -> bool {
        self.kept.iter().any(|w| w.log == log && w.next == first && w.is_half_read())
    }

    /// The last window of a segment that lies before `offset`.
    pub(super) fn before(&self, log: LogId, segment: Offset, offset: Offset) -> Option<&Window> {
        let before = |w: &&Window| w.log == log && w.segment == segment && w.next <= offset;
        self.kept.iter().filter(before).max_by_key(|w| w.end())
    }

    /// Offset after the last batch that ends at byte `at` of a segment.
    pub(super) fn last_before(&self, log: LogId, segment: Offset, at: u64) -> Option<Offset> {
        let before = |w: &&Window| w.log == log && w.segment == segment && w.end() == at;
        self.kept.iter().rev().find(before).map(|w| w.last)
    }

    /// Forgets the windows of a log.
    pub(super) fn forget(&mut self, log: LogId) {
        self.kept.retain(|w| w.log != log);
        self.used_bytes = self.kept.iter().map(Window::size_bytes).sum();
    }
}
