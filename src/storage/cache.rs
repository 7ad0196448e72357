//! Memory for tails: a budget over all logs, and buffers that are used again.
//!
//! A chunk that is no longer the newest of its log may go once its bytes are in a segment; the one
//! sealed first goes first. Reads of old records do not touch this: see `windows`.

use std::collections::VecDeque;
use std::mem;

use super::LogId;
use crate::base::AlignedBuf;

const POOL_BUFFERS_MAX: usize = 16;

/// Smallest chunk.
pub(super) const CHUNK_BYTES_MIN: usize = 16 << 10;
const MAPPED_FROM: usize = 128 << 10;

/// The budget of the tails.
pub(super) struct Memory {
    budget_bytes: usize,
    chunk_bytes_max: usize,
    used_bytes: usize,
    /// Logs in the order in which they sealed chunks, one entry a chunk.
    sealed: VecDeque<LogId>,
    /// Logs that have a tail.
    tails: usize,
    /// Buffers of the largest class.
    pool: Vec<AlignedBuf>,
    gone: Vec<AlignedBuf>,
}

impl Memory {
    /// Nothing is used.
    pub(super) fn new(budget_bytes: usize, chunk_bytes_max: usize) -> Self {
        Self {
            budget_bytes,
            chunk_bytes_max: chunk_bytes_max.max(CHUNK_BYTES_MIN),
            used_bytes: 0,
            sealed: VecDeque::new(),
            tails: 0,
            pool: Vec::new(),
            gone: Vec::new(),
        }
    }

    /// Size of the next chunk of a log whose last one had `last_bytes` (0: none): twice that, but
    /// less when many logs share the budget.
    pub(super) fn class_after(&self, last_bytes: usize) -> usize {
        let share = self.budget_bytes / (4 * self.tails.max(1));
        let most = share.clamp(CHUNK_BYTES_MIN, self.chunk_bytes_max);
        (2 * last_bytes).clamp(CHUNK_BYTES_MIN, 1 << most.ilog2())
    }

    /// A buffer of at least `bytes` for `log`, whose newest chunk it replaces, or which had none.
    pub(super) fn take(&mut self, bytes: usize, log: LogId, replaces: bool) -> AlignedBuf {
        let at = self.pool.iter().position(|buf| buf.len() == bytes);
        let pooled = at.map(|at| self.pool.remove(at));
        // The pages of a mapped one come one by one as they are used; the allocator would fill it at once.
        let fresh = if bytes < MAPPED_FROM { AlignedBuf::zeroed } else { AlignedBuf::mapped };
        let buf = pooled.unwrap_or_else(|| fresh(bytes));
        self.add(buf.len(), log, replaces);
        buf
    }

    /// The same for a buffer of `bytes` that is there.
    pub(super) fn add(&mut self, bytes: usize, log: LogId, replaces: bool) {
        if replaces {
            self.sealed.push_back(log);
        } else {
            self.tails += 1;
        }
        self.used_bytes += bytes;
    }

    /// Whether some chunk has to go.
    pub(super) fn is_over(&self) -> bool {
        self.used_bytes > self.budget_bytes
    }

    /// Bytes over the budget.
    pub(super) fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// The log whose oldest chunk was sealed first.
    pub(super) fn oldest(&mut self) -> Option<LogId> {
        self.sealed.pop_front()
    }

    /// That chunk cannot go yet.
    pub(super) fn put_back(&mut self, log: LogId) {
        self.sealed.push_back(log);
    }

    /// Chunks that may go once they are written.
    pub(super) fn sealed_len(&self) -> usize {
        self.sealed.len()
    }

    /// A chunk of `capacity` bytes is gone; `buf` is its memory when nobody reads it any more.
    pub(super) fn give_back(&mut self, capacity: usize, buf: Option<AlignedBuf>) {
        self.used_bytes -= capacity;
        let Some(buf) = buf else { return };
        if !(MAPPED_FROM..=self.chunk_bytes_max).contains(&buf.len()) {
            return self.let_go(buf);
        }
        self.pool.push(buf);
        if self.pool.len() > POOL_BUFFERS_MAX {
            // The one that nobody has wanted for the longest time.
            let unwanted = self.pool.remove(0);
            self.let_go(unwanted);
        }
    }

    /// Nobody uses `buf` any more.
    pub(super) fn let_go(&mut self, buf: AlignedBuf) {
        if buf.len() >= MAPPED_FROM {
            self.gone.push(buf);
        }
    }

    /// Large buffers that nobody uses any more: it takes long to give them back to the system.
    pub(super) fn gone(&mut self) -> Vec<AlignedBuf> {
        mem::take(&mut self.gone)
    }

    /// A log lost its whole tail.
    pub(super) fn tail_gone(&mut self) {
        self.tails -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_is_given_back_is_the_next_one_of_its_size() {
        let mut memory = Memory::new(64 << 20, 1 << 20);
        let bufs = [256 << 10, 512 << 10].map(|size| memory.take(size, LogId(0), true));
        let places = bufs.each_ref().map(AlignedBuf::as_ptr);
        for buf in bufs {
            memory.give_back(buf.len(), Some(buf));
        }
        let again = [512 << 10, 256 << 10].map(|size| memory.take(size, LogId(0), true));
        assert_eq!(again.each_ref().map(AlignedBuf::as_ptr), [places[1], places[0]]);
        for n in 0..=POOL_BUFFERS_MAX {
            let buf = AlignedBuf::mapped(512 << 10);
            memory.used_bytes += buf.len();
            memory.give_back(buf.len(), Some(buf));
            assert_eq!(memory.gone().len(), usize::from(n == POOL_BUFFERS_MAX));
        }
    }

    #[test]
    fn chunks_double_until_the_shares_get_small() {
        let mut memory = Memory::new(64 << 20, 1 << 20);
        assert_eq!(memory.class_after(0), 16 << 10);
        assert_eq!(memory.class_after(512 << 10), 1 << 20);
        assert_eq!(memory.class_after(1 << 20), 1 << 20);
        for log in 0..500 {
            memory.take(16 << 10, LogId(log), false);
        }
        assert_eq!(memory.class_after(1 << 20), 32 << 10);
    }
}
