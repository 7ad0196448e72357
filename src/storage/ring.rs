//! Space in the journal: a ring of preallocated chunk files.
//!
//! Commits fill one chunk after the other. A chunk is numbered anew each time it is taken into use;
//! it is free again when a checkpoint says that no log needs it, and only after
//! `journal/generation` says so too, since from then on its commits may be overwritten.
//!
//! Invariant N1: live chunks are freed oldest first, so the sequences of live commits have no gap.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LogId;
use crate::runtime::disk::DiskFile;

/// A chunk file.
struct Slot {
    file: Arc<dyn DiskFile>,
}

/// A chunk in use.
pub(super) struct Live {
    slot: usize,
    /// Number of this use.
    pub(super) number: u64,
    /// Sequence of its first commit.
    first_sequence: u64,
    /// Logs with entries in it; one may be named twice.
    pub(super) logs: Vec<LogId>,
}

/// Where a commit goes.
pub(super) struct Place {
    /// The chunk's file.
    pub(super) file: Arc<dyn DiskFile>,
    /// The file's number.
    pub(super) slot: usize,
    /// First byte.
    pub(super) at: u64,
    /// The chunk's number.
    pub(super) chunk: u64,
    /// The commit's sequence.
    pub(super) sequence: u64,
}

/// The chunks of the journal.
pub(super) struct Ring {
    chunk_bytes: u64,
    chunks_max: usize,
    slots: Vec<Slot>,
    free: VecDeque<usize>,
    live: VecDeque<Live>,
    /// Next byte in the newest live chunk.
    at: u64,
    next_sequence: u64,
    next_number: u64,
    making: bool,
}

/// `<dir>/journal/<number>`.
pub(super) fn chunk_path(journal: &Path, slot: usize) -> PathBuf {
    journal.join(format!("{slot:04}.chunk"))
}

impl Ring {
    /// All files are free.
    pub(super) fn new(files: Vec<Arc<dyn DiskFile>>, chunk_bytes: u64, chunks_max: usize) -> Self {
        let free = (0..files.len()).collect();
        let slots = files.into_iter().map(|file| Slot { file }).collect();
        Self {
            chunk_bytes,
            chunks_max,
            slots,
            free,
            live: VecDeque::new(),
            at: 0,
            next_sequence: 1,
            next_number: 1,
            making: false,
        }
    }

    /// Bytes that a commit may have now, at most `limit`. A commit that only repeats what the
    /// oldest chunks hold may use the last chunks too: it is what frees the oldest.
    pub(super) fn room(&self, limit: u64, repeats: bool) -> u64 {
        let free = self.free.len() + self.chunks_max.saturating_sub(self.slots.len());
        let reserve = if repeats { 0 } else { (self.chunks_max / 4).max(1) };
        let here = if self.live.is_empty() { 0 } else { self.chunk_bytes - self.at };
        if free > reserve && !self.free.is_empty() {
            limit
        } else if free >= reserve {
            here.min(limit)
        } else {
            0
        }
    }

    fn fits(&self, bytes: usize) -> bool {
        self.at + bytes as u64 <= self.chunk_bytes
    }

    /// Takes a place for a commit of `bytes` (padded); `None` when the journal is full.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Place> {
        if self.live.is_empty() || !self.fits(bytes) {
            let slot = self.free.pop_front()?;
            let number = self.next_number;
            self.next_number += 1;
            let first_sequence = self.next_sequence;
            self.live.push_back(Live { slot, number, first_sequence, logs: Vec::new() });
            self.at = 0;
        }
        let live = self.live.back()?;
        let place = Place {
            file: Arc::clone(&self.slots[live.slot].file),
            slot: live.slot,
            at: self.at,
            chunk: live.number,
            sequence: self.next_sequence,
        };
        self.at += bytes as u64;
        self.next_sequence += 1;
        Some(place)
    }

    /// The newest chunk that a checkpoint can free: the newest one, when further commits can go to
    /// a new one at once, else the one before.
    pub(super) fn close(&mut self) -> Option<u64> {
        let newest = self.live.back()?.number;
        if !self.free.is_empty() && !self.is_half_full() {
            self.at = self.chunk_bytes;
            return Some(newest);
        }
        (self.live.len() > 1).then(|| newest - 1)
    }

    /// The newest chunk in use.
    pub(super) fn newest_mut(&mut self) -> Option<&mut Live> {
        self.live.back_mut()
    }

    /// Chunks in use, oldest first.
    pub(super) fn live(&self) -> impl DoubleEndedIterator<Item = &Live> {
        self.live.iter()
    }

    /// The sequence that is the oldest live one when chunks up to `number` are free.
    pub(super) fn first_sequence_after(&self, number: u64) -> u64 {
        let after = self.live.iter().find(|l| l.number > number);
        after.map_or(self.next_sequence, |l| l.first_sequence)
    }

    /// Chunks up to `number` are needed no more.
    pub(super) fn free_upto(&mut self, number: u64) {
        while let Some(live) = self.live.pop_front_if(|l| l.number <= number) {
            self.free.push_back(live.slot);
        }
    }

    /// Live chunks take more than half of what the journal may have.
    pub(super) fn is_half_full(&self) -> bool {
        2 * self.live.len() > self.chunks_max
    }

    /// The slot of a chunk that ought to be made now, when there is one.
    pub(super) fn wants_chunk(&mut self) -> Option<usize> {
        let wants = !self.making && self.free.is_empty() && self.slots.len() < self.chunks_max;
        self.making |= wants;
        wants.then_some(self.slots.len())
    }

    /// The chunk that [`Self::wants_chunk`] asked for is there.
    pub(super) fn on_chunk(&mut self, file: Arc<dyn DiskFile>) {
        self.making = false;
        self.free.push_back(self.slots.len());
        self.slots.push(Slot { file });
    }
}
