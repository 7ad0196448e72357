//! How far the bytes of one log have come on their way to the disk.
//!
//! ```text
//! 0 ......... synced ...... written ...... durable ...... journaled ...... end
//!   in its segment |  in its segment  |  in the   |  in the commit   | in memory
//!   for good       |  but not synced  |  journal  |  in flight       | only
//! ```
//!
//! Positions are linear (see `segment`). A journal chunk is needed while a log has bytes in it at
//! or above `synced`; [`Progress::oldest_chunk`] says which is the oldest such chunk.
//!
//! Invariants:
//! - R1. `synced <= written`, `durable <= journaled <= end`.
//! - R2. Every byte in `synced..durable` is in a journal chunk that is not yet free, or in a
//!   segment range that was synced with its commit.

use std::collections::VecDeque;

use crate::base::Offset;

/// A range that was written to its segment and synced ahead of `written`.
#[derive(Debug, Clone, Copy)]
struct Direct {
    from: u64,
    upto: u64,
    /// Largest batch end at or below `upto`, as offset.
    boundary: Offset,
}

/// Bytes of a log in one journal chunk end at `end`.
#[derive(Debug, Clone, Copy)]
struct InChunk {
    chunk: u64,
    end: u64,
}

/// The positions of one log.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) end: u64,
    pub(super) journaled: u64,
    pub(super) durable: u64,
    pub(super) written: u64,
    pub(super) synced: u64,
    /// Records below this offset are in segments, synced.
    pub(super) recovery_point: Offset,
    /// Records below this offset are in segments.
    written_boundary: Offset,
    direct: VecDeque<Direct>,
    chunks: VecDeque<InChunk>,
}

impl Progress {
    /// All bytes up to `end` (offset `next`) are in segments, synced.
    pub(super) fn settled_at(end: u64, next: Offset) -> Self {
        Self {
            end,
            journaled: end,
            durable: end,
            written: end,
            synced: end,
            recovery_point: next,
            written_boundary: next,
            direct: VecDeque::new(),
            chunks: VecDeque::new(),
        }
    }

    /// A new segment begins at `at`. What had reached the end of the old one has reached this.
    pub(super) fn on_roll(&mut self, at: u64) {
        for p in [&mut self.journaled, &mut self.durable] {
            if *p == self.end {
                *p = at;
            }
        }
        self.end = at;
    }

    /// A commit made everything below `end` durable. It is in journal chunk `chunk`, where its
    /// bytes from `from` on lie.
    pub(super) fn on_commit(&mut self, end: u64, chunk: u64, from: Option<u64>) {
        assert!(end <= self.journaled, "R1: what is durable was journaled");
        self.durable = self.durable.max(end);
        let Some(from) = from else { return };
        if from <= self.synced {
            self.chunks.retain(|c| c.end > end);
        }
        match self.chunks.back_mut() {
            Some(last) if last.chunk == chunk => last.end = last.end.max(end),
            _ => self.chunks.push_back(InChunk { chunk, end }),
        }
    }

    /// `from..upto` is in the segment; `boundary` is the offset of the last batch end in it.
    pub(super) fn on_written(&mut self, from: u64, upto: u64, boundary: Offset) {
        self.direct.push_back(Direct { from, upto, boundary });
        while let Some(i) = self.direct.iter().position(|d| d.from <= self.written) {
            let Some(d) = self.direct.remove(i) else { break };
            self.written = self.written.max(d.upto);
            self.written_boundary = self.written_boundary.max(d.boundary);
        }
    }

    /// A sealed segment is complete: positions go on at `at`, where the next one begins at `base`.
    pub(super) fn on_sealed(&mut self, at: u64, base: Offset) {
        self.on_written(self.written, at, base);
        self.on_synced(at, base);
    }

    /// What is written now, as [`Self::on_synced`] takes it when the sync that begins now is over.
    pub(super) fn written_now(&self) -> (u64, Offset) {
        (self.written, self.written_boundary)
    }

    /// Everything below `upto` is synced.
    pub(super) fn on_synced(&mut self, upto: u64, boundary: Offset) {
        assert!(upto <= self.written, "R1: what is synced is written");
        self.synced = self.synced.max(upto);
        self.recovery_point = self.recovery_point.max(boundary);
        while self.chunks.front().is_some_and(|c| c.end <= self.synced) {
            self.chunks.pop_front();
        }
    }

    /// The oldest journal chunk that is needed.
    pub(super) fn oldest_chunk(&self) -> Option<u64> {
        self.chunks.front().map(|c| c.chunk)
    }

    /// The newest journal chunk that has bytes of this log.
    pub(super) fn newest_chunk(&self) -> Option<u64> {
        self.chunks.back().map(|c| c.chunk)
    }

    /// First position after all direct ranges and after `written`.
    pub(super) fn written_ahead(&self) -> u64 {
        self.direct.iter().map(|d| d.upto).fold(self.written, u64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(end: u64) -> Progress {
        let mut p = Progress::settled_at(0, Offset(0));
        (p.end, p.journaled) = (end, end);
        p
    }

    #[test]
    fn a_chunk_is_needed_until_its_bytes_are_synced_or_journaled_anew() {
        let mut p = progress(9000);
        p.on_commit(5000, 1, Some(0));
        p.on_commit(9000, 2, Some(5000));
        assert_eq!(p.oldest_chunk(), Some(1));
        p.on_written(0, 8192, Offset(80));
        assert_eq!(p.oldest_chunk(), Some(1));
        p.on_synced(8192, Offset(80));
        assert_eq!((p.oldest_chunk(), p.recovery_point), (Some(2), Offset(80)));
        p.on_commit(9000, 7, Some(8192));
        assert_eq!(p.oldest_chunk(), Some(7));
    }

    #[test]
    fn a_repeat_that_ends_earlier_does_not_replace_what_lies_behind_it() {
        let mut p = progress(9000);
        p.on_commit(9000, 1, Some(0));
        p.on_commit(5000, 2, Some(0));
        assert_eq!(p.oldest_chunk(), Some(1));
        p.on_written(0, 8192, Offset(80));
        p.on_synced(8192, Offset(80));
        assert_eq!(p.oldest_chunk(), Some(1));
    }

    #[test]
    fn direct_ranges_count_once_what_lies_before_is_written() {
        let mut p = progress(100_000);
        p.on_commit(100_000, 1, Some(98_304));
        p.on_written(40_960, 98_304, Offset(90));
        assert_eq!((p.written, p.written_ahead()), (0, 98_304));
        p.on_written(0, 40_960, Offset(40));
        assert_eq!(p.written_now(), (98_304, Offset(90)));
    }
}
