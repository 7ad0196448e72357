//! The newest bytes of a log in memory: chunks that one writer fills and many readers view.
//!
//! A chunk is a block-aligned buffer that covers a range of positions beginning at a block, so
//! whole blocks of it go to the segment by direct writes without a copy. A batch never straddles
//! chunks: when it does not fit, a new chunk begins at the block at or below the end, with the
//! bytes of the unfinished block copied into it.
//!
//! ```text
//! chunk k      |####|####|##..|....|     start, len, capacity
//! chunk k+1              |##BB|BBBB|     start = block of the end; own = first byte of a new batch
//! ```
//!
//! Positions are linear over the segments of a log: see `segment`.
//!
//! Invariants:
//! - T1. Only the owner writes, and only at or beyond `len`; views lie below it.
//! - T2. `own` of a chunk is the end of the chunk before; batches are contiguous over chunks.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{AlignedBuf, BLOCK_BYTES, Offset};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// First position of the block that `at` lies in.
pub(super) fn block_floor(at: u64) -> u64 {
    at / BLOCK * BLOCK
}

/// First block boundary at or after `at`.
pub(super) fn block_ceil(at: u64) -> u64 {
    at.next_multiple_of(BLOCK)
}

/// One buffer with its place in the log.
#[derive(Debug)]
pub(super) struct Chunk {
    buf: Arc<AlignedBuf>,
    capacity: usize,
    len: usize,
    /// Position of the first byte of the buffer; at a block boundary.
    pub(super) start: u64,
    /// Position of the first batch that begins here.
    pub(super) own: u64,
    /// Base offset of that batch.
    pub(super) first_offset: Offset,
}

/// A view of bytes below `len` that keeps the buffer alive.
struct View {
    buf: Arc<AlignedBuf>,
    from: usize,
    len: usize,
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `from + len` was at most the chunk's `len` when the view was made, so these bytes
        // are inside the buffer and are never written again (T1).
        unsafe { std::slice::from_raw_parts(self.buf.as_ptr().add(self.from), self.len) }
    }
}

impl Chunk {
    fn new(buf: AlignedBuf, own: u64, head: &[u8], first_offset: Offset) -> Self {
        let mut buf = buf;
        buf[..head.len()].copy_from_slice(head);
        let start = own - head.len() as u64;
        let capacity = buf.len();
        Self { buf: Arc::new(buf), capacity, len: head.len(), start, own, first_offset }
    }

    /// Position after the last byte.
    pub(super) fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    /// Bytes of memory.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether `size` more bytes fit.
    pub(super) fn has_room(&self, size: usize) -> bool {
        self.len + size <= self.capacity
    }

    /// The bytes from position `from` on.
    pub(super) fn bytes_from(&self, from: u64) -> &[u8] {
        let from = (from - self.start) as usize;
        assert!(from <= self.len, "T1: readers stay below the chunk's end");
        // SAFETY: bytes below `len` are inside the buffer and are never written again (T1).
        unsafe { std::slice::from_raw_parts(self.buf.as_ptr().add(from), self.len - from) }
    }

    /// The bytes of positions `from..to`, shared. One small allocation.
    pub(super) fn view(&self, from: u64, to: u64) -> Bytes {
        assert!(
            self.start <= from && from <= to && to <= self.end(),
            "T1: a view of what is there"
        );
        let (from, len) = ((from - self.start) as usize, (to - from) as usize);
        Bytes::from_owner(View { buf: Arc::clone(&self.buf), from, len })
    }

    /// Lets `write` make the next `size` bytes before anyone sees them.
    pub(super) fn append(&mut self, size: usize, write: impl FnOnce(&mut [u8])) {
        assert!(self.has_room(size), "T1: the owner writes inside its buffer");
        // SAFETY: the range is inside the buffer and at or beyond `len`, where there is no view
        // and no other writer (T1); the pointer comes from the allocation, not from a reference.
        let room = unsafe {
            let at = self.buf.as_ptr().cast_mut().add(self.len);
            std::slice::from_raw_parts_mut(at, size)
        };
        write(room);
        self.len += size;
    }

    /// The buffer back, when no view is left.
    pub(super) fn into_buf(self) -> Option<AlignedBuf> {
        Arc::into_inner(self.buf)
    }
}

/// The chunks of one log, oldest first.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) chunks: VecDeque<Chunk>,
    /// Bytes of the unfinished block of a log that was opened and not yet appended to.
    pub(super) head: Box<[u8]>,
}

impl Tail {
    /// Begins a chunk at position `end` in `buf`. `fresh` is set when `end` begins a segment.
    pub(super) fn begin(&mut self, buf: AlignedBuf, end: u64, fresh: bool, next: Offset) {
        let partial = end - block_floor(end);
        let chunk = if fresh || partial == 0 {
            Chunk::new(buf, end, &[], next)
        } else if let Some(last) = self.chunks.back() {
            Chunk::new(buf, end, last.bytes_from(end - partial), next)
        } else {
            assert_eq!(self.head.len() as u64, partial, "T2: the head is the unfinished block");
            Chunk::new(buf, end, &self.head, next)
        };
        self.head = Box::default();
        self.chunks.push_back(chunk);
    }

    /// Base offset of the oldest batch in memory.
    pub(super) fn first_offset(&self) -> Option<Offset> {
        self.chunks.front().map(|c| c.first_offset)
    }

    /// The chunk that owns the batch with `offset`, by index.
    pub(super) fn chunk_of_offset(&self, offset: Offset) -> Option<usize> {
        let last = self.chunks.back()?;
        if last.first_offset <= offset {
            return Some(self.chunks.len() - 1);
        }
        self.chunks.partition_point(|c| c.first_offset <= offset).checked_sub(1)
    }

    /// The chunk that owns position `at`, by index.
    pub(super) fn chunk_of(&self, at: u64) -> Option<usize> {
        self.chunks.partition_point(|c| c.own <= at).checked_sub(1)
    }

    /// Views of positions `from..to` of one segment. Pieces begin at block boundaries when `from`
    /// does: the unfinished block of a chunk is taken from the chunk that finished it.
    pub(super) fn pieces(&self, from: u64, to: u64) -> Vec<(u64, Bytes)> {
        let mut pieces = Vec::new();
        self.walk(from, to, |chunk, at, upto| pieces.push((at, chunk.view(at, upto))));
        pieces
    }

    /// The bytes of positions `from..to` of one segment, piece by piece.
    pub(super) fn each_slice(&self, from: u64, to: u64, mut each: impl FnMut(u64, &[u8])) {
        self.walk(from, to, |chunk, at, upto| {
            each(at, &chunk.bytes_from(at)[..(upto - at) as usize]);
        });
    }

    fn walk(&self, from: u64, to: u64, mut each: impl FnMut(&Chunk, u64, u64)) {
        let (mut at, mut k) = (from, self.chunk_start_of(from));
        while at < to && k < self.chunks.len() {
            let chunk = &self.chunks[k];
            let next = self.chunks.get(k + 1).map_or(u64::MAX, |c| c.start);
            let upto = to.min(chunk.end()).min(next);
            if upto > at && at >= chunk.start {
                each(chunk, at, upto);
                at = upto;
            }
            k += 1;
        }
        assert_eq!(at, to.max(from), "T2: what is not yet written is in memory");
    }

    /// The newest chunk whose buffer begins at or below `at`, by index.
    fn chunk_start_of(&self, at: u64) -> usize {
        self.chunks.partition_point(|c| c.start <= at).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_keeps_its_bytes_while_the_owner_writes_on() {
        let mut tail = Tail::default();
        tail.begin(AlignedBuf::zeroed(8192), 0, true, Offset(0));
        let chunk = tail.chunks.back_mut().unwrap();
        chunk.append(5000, |b| {
            b.fill(7);
            b[0] = 1;
        });
        let view = chunk.view(0, 5000);
        chunk.append(100, |b| b.fill(9));
        assert!(!chunk.has_room(3093));
        tail.begin(AlignedBuf::zeroed(8192), 5100, false, Offset(2));
        let second = tail.chunks.back_mut().unwrap();
        assert_eq!((second.start, second.own, second.end()), (4096, 5100, 5100));
        second.append(4000, |b| b.fill(3));
        let pieces = tail.pieces(0, 8192);
        drop(tail);
        assert_eq!((view[0], view[1], view.len()), (1, 7, 5000));
        assert_eq!(pieces.len(), 2);
        assert_eq!((pieces[1].0, pieces[1].1.len()), (4096, 4096));
        assert_eq!([pieces[1].1[0], pieces[1].1[5000 - 4096], pieces[1].1[4095]], [7, 9, 3]);
    }
}
