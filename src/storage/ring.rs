//! Space in the journal: a ring of preallocated chunk files.
//!
//! Commits fill one chunk after the other. A chunk is numbered anew each time it is taken into use;
//! it is free again when a checkpoint says that no log needs it, and only after
//! `journal/generation` says so too, since from then on its commits may be overwritten.
//!
//! The very first chunk is not zeroed, so that a new node need not wait for that: commits go to it until
//! there is another one, and it is zeroed before it is used again.
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
    path: Arc<Path>,
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
    /// The file.
    pub(super) path: Arc<Path>,
    /// First byte.
    pub(super) at: u64,
    /// The chunk's number.
    pub(super) chunk: u64,
    /// The commit's sequence.
    pub(super) sequence: u64,
}

/// The chunks of the journal.
pub(super) struct Ring {
    dir: PathBuf,
    chunk_bytes: u64,
    chunks_max: usize,
    slots: Vec<Slot>,
    free: VecDeque<usize>,
    live: VecDeque<Live>,
    /// Next byte in the newest live chunk.
    at: u64,
    next_sequence: u64,
    next_number: u64,
    /// The slot whose file is being made.
    making: Option<usize>,
    /// The slot that is in use and was not zeroed.
    unzeroed: Option<usize>,
    /// The slot whose file has to be zeroed before it can be used again.
    unmade: Option<usize>,
}

/// `<dir>/journal/<number>`.
pub(super) fn chunk_path(journal: &Path, slot: usize) -> PathBuf {
    journal.join(format!("{slot:04}.chunk"))
}

impl Ring {
    /// All files are free.
    pub(super) fn new(
        dir: PathBuf,
        files: Vec<Arc<dyn DiskFile>>,
        chunk_bytes: u64,
        chunks_max: usize,
    ) -> Self {
        let mut ring = Self {
            dir,
            chunk_bytes,
            chunks_max,
            slots: Vec::new(),
            free: VecDeque::new(),
            live: VecDeque::new(),
            at: 0,
            next_sequence: 1,
            next_number: 1,
            making: None,
            unzeroed: None,
            unmade: None,
        };
        for file in files {
            ring.on_chunk(file);
        }
        ring
    }

    /// The first file, which is empty, was not zeroed.
    pub(super) fn note_unzeroed(&mut self) {
        self.unzeroed = Some(0);
    }

    /// Bytes that a commit may have now, at most `limit`. A commit that only repeats what the
    /// oldest chunks hold may use the last chunks too: it is what frees the oldest.
    pub(super) fn room(&self, limit: u64, repeats: bool) -> u64 {
        let (free, reserve) = (self.free_and_unmade(), if repeats { 0 } else { self.reserve() });
        let here = if self.live.is_empty() { 0 } else { self.chunk_bytes - self.at };
        if free > reserve && !self.free.is_empty() {
            limit
        } else if free >= reserve {
            here.min(limit)
        } else {
            0
        }
    }

    fn free_and_unmade(&self) -> usize {
        let unmade = self.chunks_max.saturating_sub(self.slots.len());
        self.free.len() + unmade + usize::from(self.unmade.is_some())
    }

    /// Chunks that only a commit may take that frees others.
    fn reserve(&self) -> usize {
        (self.chunks_max / 4).max(1)
    }

    /// Whether a commit of `bytes` goes to the newest chunk.
    fn fits(&self, bytes: usize) -> bool {
        let Some(live) = self.live.back() else { return false };
        let leaves = self.unzeroed == Some(live.slot)
            && !self.free.is_empty()
            && self.free_and_unmade() > self.reserve();
        !leaves && self.at + bytes as u64 <= self.chunk_bytes
    }

    /// Takes a place for a commit of `bytes` (padded); `None` when the journal is full.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Place> {
        if !self.fits(bytes) {
            let slot = self.free.pop_front()?;
            let number = self.next_number;
            self.next_number += 1;
            let first_sequence = self.next_sequence;
            self.live.push_back(Live { slot, number, first_sequence, logs: Vec::new() });
            self.at = 0;
        }
        let live = self.live.back()?;
        let slot = &self.slots[live.slot];
        let place = Place {
            file: Arc::clone(&slot.file),
            path: Arc::clone(&slot.path),
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
            match self.unzeroed.take_if(|slot| *slot == live.slot) {
                Some(slot) => self.unmade = Some(slot),
                None => self.free.push_back(live.slot),
            }
        }
    }

    /// Live chunks take more than half of what the journal may have.
    pub(super) fn is_half_full(&self) -> bool {
        2 * self.live.len() > self.chunks_max
    }

    /// The slot of a chunk that ought to be made now, when there is one.
    pub(super) fn wants_chunk(&mut self) -> Option<usize> {
        let new = (self.slots.len() < self.chunks_max).then_some(self.slots.len());
        let is_due = self.making.is_none() && self.free.is_empty();
        self.making = if is_due { self.unmade.or(new) } else { return None };
        self.making
    }

    /// The chunk that [`Self::wants_chunk`] asked for could not be made, and may be tried again.
    pub(super) fn ask_again(&mut self) {
        self.making = None;
    }

    /// The chunk that [`Self::wants_chunk`] asked for is there.
    pub(super) fn on_chunk(&mut self, file: Arc<dyn DiskFile>) {
        let slot = self.making.take().unwrap_or(self.slots.len());
        self.unmade.take_if(|unmade| *unmade == slot);
        self.free.push_back(slot);
        let made = Slot { file, path: chunk_path(&self.dir, slot).into() };
        match self.slots.get_mut(slot) {
            Some(old) => *old = made,
            None => self.slots.push(made),
        }
    }
}
