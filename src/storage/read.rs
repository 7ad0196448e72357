//! Reads: from the tail when it has the offset, else from windows that the back fills.
//!
//! A read begins at the batch that holds the offset asked for and takes whole batches below a
//! bound. What is not in memory is asked for and the read is pending; `StoreEvent::Readable` says
//! when it is worth asking again. A reader that goes on from window to window gets the next one
//! read ahead.

use std::sync::Arc;

use bytes::Bytes;

use super::error::StorageError;
use super::index::Index;
use super::jobs::{IndexWork, Job, Loaded, ReadEnd, ReadWork, Work};
use super::log::Log;
use super::scan::Expect;
use super::segment::{Kind, file_path};
use super::store::Store;
use super::windows::Window;
use super::{LogId, StoreEvent};
use crate::base::{Moment, Offset};
use crate::wire::batch::{self, BatchHeader};

/// Indexes of sealed segments that are kept in memory.
const INDEXES_MAX: usize = 64;

/// The answer to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// What there is.
    Ready(Batches),
    /// It is being read; `StoreEvent::Readable` comes.
    Pending,
}

/// Batches as they lie, in order; the last one may be cut at the bound that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batches {
    /// The bytes, in pieces.
    pub parts: Vec<Bytes>,
    /// Bytes in all.
    pub bytes: usize,
    /// Offset at which to go on: after the last whole batch.
    pub next: Offset,
}

impl Batches {
    fn empty(next: Offset) -> Self {
        Self { parts: Vec::new(), bytes: 0, next }
    }

    fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.parts.push(bytes);
        }
    }
}

/// What a read may take.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    upto: Offset,
    max_bytes: usize,
    at_least_one: bool,
}

impl Store {
    /// Reads from the batch that holds `from`, nothing of batches with records at or past `upto`, up
    /// to `max_bytes`; a first batch above that comes whole when `at_least_one`, else not at all.
    ///
    /// # Errors
    /// [`StorageError::OffsetOutOfRange`], [`StorageError::Fenced`], [`StorageError::Deleted`].
    pub fn read(
        &mut self,
        id: LogId,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Read, StorageError> {
        let log = self.log(id).ok_or(StorageError::Deleted)?;
        if log.failed && from >= log.readable {
            return Err(log.fenced_error());
        }
        let upto = upto.min(log.readable_end());
        if from < log.log_start || from > log.log_end {
            let (first, next) = (log.log_start, log.log_end);
            return Err(StorageError::OffsetOutOfRange { asked: from, first, next });
        }
        if from >= upto || from == log.log_end {
            return Ok(Read::Ready(Batches::empty(from)));
        }
        let bounds = Bounds { upto, max_bytes, at_least_one };
        if let Some(k) = log.tail.chunk_of_offset(from) {
            let batches = log.read_tail(k, from, bounds);
            self.metrics.cache_hits += 1;
            return Ok(Read::Ready(batches));
        }
        self.read_windows(id, from, bounds)
    }

    fn read_windows(
        &mut self,
        id: LogId,
        from: Offset,
        bounds: Bounds,
    ) -> Result<Read, StorageError> {
        let Some(window) = self.windows.find_mut(id, from) else {
            self.metrics.cache_misses += 1;
            self.read_window(id, from, self.config.read_bytes);
            return Ok(Read::Pending);
        };
        if from >= window.last {
            // Compaction left a gap at the segment's end: the next segment has what comes after it.
            let from = window.next.min(bounds.upto);
            return self.read(id, from, bounds.upto, bounds.max_bytes, bounds.at_least_one);
        }
        let batches = take(&window.bytes, window.first, from, bounds);
        window.read_to = window.read_to.max(batches.next);
        let (next, goes_on) = (window.next, window.is_half_read());
        self.metrics.cache_hits += 1;
        if goes_on {
            self.read_ahead(id, next, self.windows.ahead());
        }
        Ok(Read::Ready(batches))
    }

    /// Asks for the first that is missing of the `count` windows from `next` on.
    fn read_ahead(&mut self, id: LogId, mut next: Offset, count: usize) {
        let Some(log) = self.log(id) else { return };
        let upto = log.tail.first_offset().unwrap_or(log.log_end).min(log.readable_end());
        for _ in 0..count {
            match self.windows.find(id, next) {
                Some(window) => next = window.next,
                None if next < upto => {
                    return self.read_window(id, next, self.config.read_ahead_bytes);
                }
                None => return,
            }
        }
    }

    /// Asks for the window that holds `from`, or for one that is nearer to it than what is known:
    /// the index and the windows before it tell where to begin.
    fn read_window(&mut self, id: LogId, from: Offset, len: usize) {
        let Some(log) = self.log(id) else { return };
        let i = log.segment_of(from);
        let segment = &log.segments[i];
        let before = self.windows.before(id, segment.base, from);
        let begin = (0, Expect::Exactly(segment.base), Bytes::new());
        let before = before.map(|w| (w.end(), Expect::Exactly(w.next), w.rest.clone()));
        let (at, first, head) = if from == segment.base {
            begin
        } else if let Some(index) = &segment.index {
            let indexed = index
                .floor_entry(from)
                .map_or(begin, |(at, last)| (at, Expect::EndsWith(last), Bytes::new()));
            before.filter(|known| known.0 >= indexed.0).unwrap_or(indexed)
        } else if let Some(before) = before.filter(|_| len > self.config.read_bytes) {
            before
        } else {
            return self.load_index(id, i);
        };
        let limit = log.in_file(i);
        if at < limit {
            let first = if log.dense { first } else { Expect::AtLeast(segment.base) };
            let leaves = |head: &Bytes| at + (head.len() as u64) < limit;
            let head = Some(head).filter(leaves).unwrap_or_default();
            self.ask_window(id, i, (at, len, limit), first, head);
        } else if segment.sealed {
            self.ask_index(id, i, Some(at));
        }
    }

    fn ask_window(
        &mut self,
        id: LogId,
        i: usize,
        (from, len, limit): (u64, usize, u64),
        first: Expect,
        head: Bytes,
    ) {
        let Some(log) = self.log(id) else { return };
        let segment = log.segments[i].base;
        let key = (id, segment, from);
        if self.queues.reading.contains(&key) {
            return;
        }
        let path = file_path(&log.dir, segment, Kind::Log);
        let dense = log.dense;
        let work = ReadWork { path, segment, from, head, len, limit, first, dense };
        self.queues.reading.push(key);
        self.queues.reads.push_back(Job { log: Some(id), work: Work::Read(work) });
    }

    pub(super) fn on_read(
        &mut self,
        id: LogId,
        work: &ReadWork,
        end: Result<ReadEnd, StorageError>,
        out: &mut Vec<StoreEvent>,
    ) {
        self.queues.reading.retain(|r| *r != (id, work.segment, work.from));
        let Some(log) = self.log(id) else { return };
        let Some(i) = log.segment_from(work.segment) else {
            out.push(StoreEvent::Readable { log: id });
            return;
        };
        match end {
            Ok(ReadEnd::Batches { first, next, bytes, rest }) => {
                let (segment, at, last) = (work.segment, work.from, next);
                let (mut first, mut next) = (first, last);
                if !log.dense {
                    let ends = at + bytes.len() as u64 == log.segments[i].size;
                    let following = log.segments.get(i + 1).filter(|_| ends).map(|s| s.base);
                    next = following.unwrap_or(last);
                    let gap = if at == 0 { Some(segment) } else { None };
                    let gap = gap.or_else(|| self.windows.last_before(id, segment, at));
                    first = gap.map_or(first, |gap| gap.min(first));
                }
                let (log, read_to) = (id, first);
                let window = Window { log, segment, at, first, last, next, bytes, rest, read_to };
                self.windows.insert(window);
                if self.windows.is_wanted(id, first) {
                    self.read_ahead(id, next, self.windows.ahead() - 1);
                }
                out.push(StoreEvent::Readable { log: id });
            }
            Ok(ReadEnd::Longer { head, len }) => {
                self.ask_window(id, i, (work.from, len, work.limit), work.first, head);
            }
            Err(StorageError::Corrupt { .. }) => self.ask_index(id, i, Some(work.from)),
            Err(error) => self.fail(id, error, out),
        }
    }

    /// Asks for the indexes of a sealed segment.
    pub(super) fn load_index(&mut self, id: LogId, i: usize) {
        if self.log(id).is_some_and(|log| log.segments[i].index.is_none()) {
            self.ask_index(id, i, None);
        }
    }

    /// Asks for the indexes of a segment; made anew when a read found no batch at byte `examine`.
    pub(super) fn ask_index(&mut self, id: LogId, i: usize, examine: Option<u64>) {
        let Some(log) = self.log(id) else { return };
        let segment = &log.segments[i];
        let key = (id, segment.base);
        if self.queues.loading.contains(&key) {
            return;
        }
        let work = IndexWork {
            dir: log.dir.clone(),
            segment: segment.base,
            size: log.in_file(i),
            sealed: segment.sealed,
            interval_bytes: log.config.index_interval_bytes,
            examine,
            next: log.segments.get(i + 1).map(|next| next.base).filter(|_| log.dense),
            dense: log.dense,
        };
        self.queues.loading.push(key);
        self.queues.reads.push_back(Job { log: Some(id), work: Work::LoadIndex(work) });
    }

    pub(super) fn on_index(
        &mut self,
        id: LogId,
        work: &IndexWork,
        loaded: Result<Loaded, StorageError>,
        now: Moment,
        out: &mut Vec<StoreEvent>,
    ) {
        self.queues.loading.retain(|l| *l != (id, work.segment));
        let Some(log) = self.log_mut(id) else { return };
        if let Some(i) = log.segment_from(work.segment) {
            let segment = &mut log.segments[i];
            let Loaded { index, upto, damage } = match loaded {
                Ok(loaded) => loaded,
                Err(error) => return self.fail(id, error, out),
            };
            // The index was right and the segment is good, and still a read met no batch.
            let same = |known: &Arc<Index>| {
                work.examine.is_some_and(|at| known.entry_before(at) == index.entry_before(at))
            };
            let misread = segment.index.as_ref().is_some_and(same).then(|| work.misread());
            match &mut segment.index {
                Some(known) if !work.sealed => Arc::make_mut(known).replace_upto(index, upto),
                known => *known = Some(Arc::new(index)),
            }
            if work.sealed {
                self.keep_index(id, work.segment);
            }
            if let Some(error) = damage.or(misread) {
                self.fail(id, error, out);
            }
        }
        out.push(StoreEvent::Readable { log: id });
        self.retain_log(id, now);
    }

    /// Keeps the index of a sealed segment, and lets go of the one that was kept longest.
    pub(super) fn keep_index(&mut self, id: LogId, base: Offset) {
        self.queues.loaded.push_back((id, base));
        if self.queues.loaded.len() <= INDEXES_MAX {
            return;
        }
        let Some((id, base)) = self.queues.loaded.pop_front() else { return };
        if let Some(log) = self.log_mut(id)
            && let Some(i) = log.segment_from(base).filter(|&i| log.segments[i].sealed)
        {
            log.segments[i].index = None;
        }
    }

    /// Bytes of the batches between two offsets: exact when both are in memory, else a number
    /// larger than any limit.
    pub fn bytes_between(&self, id: LogId, from: Offset, upto: Offset) -> usize {
        let Some(log) = self.log(id) else { return 0 };
        if from >= upto {
            return 0;
        }
        let place = |offset: Offset| {
            if offset >= log.log_end {
                return Some(log.progress.end);
            }
            let k = log.tail.chunk_of_offset(offset)?;
            Some(log.position_in_chunk(k, offset))
        };
        match (place(from), place(upto)) {
            (Some(from), Some(upto)) => log.bytes_in(from, upto) as usize,
            _ => usize::MAX / 2,
        }
    }
}

impl Log {
    /// Bytes of segment `i` that its file has.
    fn in_file(&self, i: usize) -> u64 {
        let segment = &self.segments[i];
        if segment.sealed {
            segment.size
        } else {
            self.progress.written.saturating_sub(segment.at).min(segment.size)
        }
    }

    fn read_tail(&self, mut k: usize, from: Offset, bounds: Bounds) -> Batches {
        let mut batches = Batches::empty(from);
        let mut at = self.position_in_chunk(k, from);
        loop {
            let chunk = &self.tail.chunks[k];
            let following = self.tail.chunks.get(k + 1);
            let chunk_next = following.map_or(self.log_end, |c| c.first_offset);
            let end = if bounds.upto >= chunk_next {
                chunk.end()
            } else {
                self.position_in_chunk(k, bounds.upto)
            };
            let room = (bounds.max_bytes - batches.bytes.min(bounds.max_bytes)) as u64;
            let mut cut = end;
            if end - at > room {
                cut = at + bounds.cut(batches.bytes, chunk.bytes_from(at), room);
            }
            if cut > at {
                batches.push(chunk.view(at, cut));
            }
            if cut < chunk.end() {
                if cut > at || batches.bytes > 0 {
                    let whole = self.batch_end_in_chunk(k, at, cut);
                    let next = BatchHeader::parse(chunk.bytes_from(whole));
                    batches.next = next.map_or(chunk_next, |h| h.base_offset);
                }
                return batches;
            }
            batches.next = chunk_next;
            let Some(following) = following.filter(|_| bounds.upto > chunk_next) else {
                return batches;
            };
            (k, at) = (k + 1, following.own);
        }
    }
}

impl Bounds {
    /// How much of `bytes`, which begin at a batch and of which `room` fit, is taken when `taken`
    /// bytes came before: as Kafka does, the last batch may be cut, but never the first.
    fn cut(&self, taken: usize, bytes: &[u8], room: u64) -> u64 {
        if taken > 0 {
            return room;
        }
        let first = BatchHeader::parse(bytes).map_or(0, |h| h.size_bytes as u64);
        match room < first {
            false => room,
            true if self.at_least_one => first,
            true => 0,
        }
    }
}

/// Takes what the bounds allow out of a run of batches that begins at `first`.
fn take(bytes: &Bytes, first: Offset, from: Offset, bounds: Bounds) -> Batches {
    let (mut begin, mut end, mut next) = (0, 0, first);
    for (header, batch) in batch::iter(bytes) {
        if header.last_offset() < from {
            begin += batch.len();
            end = begin;
            next = header.next_offset();
            continue;
        }
        let left = bounds.max_bytes.saturating_sub(end - begin);
        if header.last_offset() >= bounds.upto || left == 0 && end > begin {
            break;
        }
        if batch.len() > left {
            let cut = bounds.cut(end - begin, batch, left as u64) as usize;
            end += cut;
            if cut == batch.len() {
                next = header.next_offset();
            }
            break;
        }
        end += batch.len();
        next = header.next_offset();
    }
    let mut batches = Batches::empty(if end > begin { next } else { from });
    batches.push(bytes.slice(begin..end));
    batches
}
