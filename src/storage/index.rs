//! Sparse indexes of one segment: offset to byte, timestamp to offset, as Kafka keeps them.
//!
//! `.index` has 8 bytes an entry (last offset of a batch relative to the segment's base, its first
//! byte), one for about every `index.interval.bytes`; `.timeindex` has 12 (largest timestamp so
//! far, relative offset of its batch). Big-endian. A search takes the last entry at or below its
//! target and looks at the batches from there on.
//!
//! Invariants:
//! - I1. Offsets, positions and timestamps grow from entry to entry.
//! - I2. Every record after a time entry's offset that has a smaller or equal timestamp may be
//!   skipped by a search for a greater one.

use crate::base::Offset;
use crate::wire::batch::{BatchHeader, NO_TIMESTAMP};

const OFFSET_ENTRY_BYTES: usize = 8;
const TIME_ENTRY_BYTES: usize = 12;

/// Where a batch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    /// Last offset of the batch, relative to the segment's base.
    pub(super) relative: u32,
    /// First byte of the batch.
    pub(super) at: u32,
}

/// How far time had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeEntry {
    /// Largest timestamp up to here, ms.
    pub(super) timestamp: i64,
    /// Last offset of the batch that has it, relative to the segment's base.
    pub(super) relative: u32,
}

/// Both indexes of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    base: Offset,
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
    /// Largest timestamp of the segment; [`NO_TIMESTAMP`] before the first.
    max: TimeEntry,
    since_entry_bytes: u64,
}

/// The entries that are not in the files yet.
pub(super) struct Tail {
    /// Entries that are.
    from: (usize, usize),
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
}

impl Tail {
    /// Byte of each file at which it goes on, and the bytes.
    pub(super) fn encode(&self) -> [(u64, Vec<u8>); 2] {
        let [offsets, times] = encode(&self.offsets, &self.times);
        let at = |entries, bytes| (entries * bytes) as u64;
        [(at(self.from.0, OFFSET_ENTRY_BYTES), offsets), (at(self.from.1, TIME_ENTRY_BYTES), times)]
    }
}

fn encode(offset_entries: &[OffsetEntry], time_entries: &[TimeEntry]) -> [Vec<u8>; 2] {
    let mut offsets = Vec::with_capacity(offset_entries.len() * OFFSET_ENTRY_BYTES);
    for e in offset_entries {
        offsets.extend_from_slice(&e.relative.to_be_bytes());
        offsets.extend_from_slice(&e.at.to_be_bytes());
    }
    let mut times = Vec::with_capacity(time_entries.len() * TIME_ENTRY_BYTES);
    for e in time_entries {
        times.extend_from_slice(&e.timestamp.to_be_bytes());
        times.extend_from_slice(&e.relative.to_be_bytes());
    }
    [offsets, times]
}

impl Index {
    /// Of an empty segment.
    pub(super) fn new(base: Offset) -> Self {
        let max = TimeEntry { timestamp: NO_TIMESTAMP, relative: 0 };
        Self { base, offsets: Vec::new(), times: Vec::new(), max, since_entry_bytes: 0 }
    }

    /// A batch was appended at byte `at`.
    pub(super) fn on_append(&mut self, batch: &BatchHeader, at: u64, interval_bytes: u32) {
        let relative = self.relative(batch.last_offset());
        if batch.max_timestamp > self.max.timestamp {
            self.max = TimeEntry { timestamp: batch.max_timestamp, relative };
        }
        if self.since_entry_bytes > u64::from(interval_bytes) {
            self.offsets.push(OffsetEntry { relative, at: at as u32 });
            self.push_time();
            self.since_entry_bytes = 0;
        }
        self.since_entry_bytes += batch.size_bytes as u64;
    }

    /// The segment gets no more batches: the last time entry has its largest timestamp.
    pub(super) fn seal(&mut self) {
        self.push_time();
    }

    fn push_time(&mut self) {
        let last = self.times.last().map_or(NO_TIMESTAMP, |t| t.timestamp);
        if self.max.timestamp > last {
            self.times.push(self.max);
        }
    }

    fn relative(&self, offset: Offset) -> u32 {
        (offset.0 - self.base.0).clamp(0, i64::from(i32::MAX)) as u32
    }

    /// Byte from which a search for `offset` begins: of a batch at or before the one that holds it.
    pub(super) fn floor(&self, offset: Offset) -> u64 {
        self.floor_entry(offset).map_or(0, |(at, _)| at)
    }

    /// The same, when an entry says so, with the last offset of that batch.
    pub(super) fn floor_entry(&self, offset: Offset) -> Option<(u64, Offset)> {
        let relative = self.relative(offset);
        let after = self.offsets.partition_point(|e| e.relative <= relative);
        let entry = self.offsets[after.checked_sub(1)?];
        Some((u64::from(entry.at), Offset(self.base.0 + i64::from(entry.relative))))
    }

    /// The last entry whose batch begins at or before byte `at`.
    pub(super) fn entry_before(&self, at: u64) -> Option<OffsetEntry> {
        let after = self.offsets.partition_point(|e| u64::from(e.at) <= at);
        after.checked_sub(1).map(|i| self.offsets[i])
    }

    /// First byte of the last indexed batch that begins at or before byte `at`.
    pub(super) fn floor_byte(&self, at: u64) -> u64 {
        self.entry_before(at).map_or(0, |e| u64::from(e.at))
    }

    /// Offset from which a search for the first record at or after `timestamp` begins.
    pub(super) fn floor_time(&self, timestamp: i64) -> Offset {
        let after = self.times.partition_point(|e| e.timestamp <= timestamp);
        let relative = after.checked_sub(1).map_or(0, |i| self.times[i].relative);
        Offset(self.base.0 + i64::from(relative))
    }

    /// Largest timestamp, with the last offset of the batch that has it.
    pub(super) fn max_timestamp(&self) -> Option<(i64, Offset)> {
        (self.max.timestamp > NO_TIMESTAMP)
            .then(|| (self.max.timestamp, Offset(self.base.0 + i64::from(self.max.relative))))
    }

    /// Takes the entries of `fresh`, which covers the first `upto` bytes, for its own there.
    pub(super) fn replace_upto(&mut self, mut fresh: Self, upto: u64) {
        let covered = fresh.offsets.last().map_or(0, |e| e.relative).max(fresh.max.relative);
        fresh.offsets.extend(self.offsets.iter().filter(|e| u64::from(e.at) >= upto));
        let last = fresh.times.last().map_or(NO_TIMESTAMP, |t| t.timestamp);
        let later = |t: &&TimeEntry| t.relative > covered && t.timestamp > last;
        fresh.times.extend(self.times.iter().filter(later));
        if self.max.timestamp > fresh.max.timestamp {
            fresh.max = self.max;
        }
        fresh.since_entry_bytes = self.since_entry_bytes;
        *self = fresh;
    }

    /// Number of offset entries.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// First byte of the batch that the last of the first `count` entries points to.
    pub(super) fn end_of(&self, count: usize) -> u64 {
        let last = count.checked_sub(1).and_then(|i| self.offsets.get(i));
        last.map_or(0, |e| u64::from(e.at))
    }

    /// Last offset entry: where a scan of a trusted segment may begin.
    pub(super) fn last(&self) -> Option<OffsetEntry> {
        self.offsets.last().copied()
    }

    /// Forgets every entry whose batch ends after `offset`, or begins at or after byte `at`.
    pub(super) fn truncate(&mut self, offset: Offset, at: u64) {
        let relative = self.relative(offset);
        self.offsets.retain(|e| e.relative < relative && u64::from(e.at) < at);
        self.times.retain(|e| e.relative < relative);
        self.max = self
            .times
            .last()
            .copied()
            .unwrap_or(TimeEntry { timestamp: NO_TIMESTAMP, relative: 0 });
        self.since_entry_bytes = 0;
    }

    /// Its entries from `offsets` and `times` on, for whoever writes them: there may be too many to be
    /// encoded in a turn.
    pub(super) fn tail(&self, (offsets, times): (usize, usize)) -> Tail {
        let from = (offsets.min(self.offsets.len()), times.min(self.times.len()));
        Tail { from, offsets: self.offsets[from.0..].into(), times: self.times[from.1..].into() }
    }

    /// The two files.
    pub(super) fn encode(&self) -> [Vec<u8>; 2] {
        encode(&self.offsets, &self.times)
    }

    /// Number of time entries.
    pub(super) fn times_len(&self) -> usize {
        self.times.len()
    }

    /// Reads the two files of a segment of `size` bytes. Zeroed entries at the end (a file that was
    /// preallocated) are left out; `None` when the rest is not an index of it.
    pub(super) fn decode(base: Offset, size: u64, offsets: &[u8], times: &[u8]) -> Option<Self> {
        let mut index = Self::new(base);
        for e in offsets.chunks_exact(OFFSET_ENTRY_BYTES) {
            let (relative, at) = (u32_at(e, 0), u32_at(e, 4));
            if relative == 0 && at == 0 {
                break;
            }
            let grows = index.offsets.last().is_none_or(|l| l.relative < relative && l.at < at);
            if !grows || u64::from(at) >= size || relative > i32::MAX as u32 {
                return None;
            }
            index.offsets.push(OffsetEntry { relative, at });
        }
        for e in times.chunks_exact(TIME_ENTRY_BYTES) {
            let timestamp = (i64::from(u32_at(e, 0)) << 32) | i64::from(u32_at(e, 4));
            let relative = u32_at(e, 8);
            if timestamp == 0 && relative == 0 {
                break;
            }
            let last = index.times.last();
            if last.is_some_and(|l| l.timestamp >= timestamp || l.relative > relative) {
                return None;
            }
            index.times.push(TimeEntry { timestamp, relative });
        }
        if let Some(&last) = index.times.last() {
            index.max = last;
        }
        let whole = offsets.len().is_multiple_of(OFFSET_ENTRY_BYTES)
            && times.len().is_multiple_of(TIME_ENTRY_BYTES);
        whole.then_some(index)
    }
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Codec;
    use crate::wire::record::{BatchBuilder, ProducerStamp};

    fn filled() -> (Index, u64) {
        let (mut index, mut at) = (Index::new(Offset(100)), 0);
        for i in 0..10 {
            let mut builder = BatchBuilder::default();
            builder.push(5000 - i, None, Some(&[0; 1500]), &[]);
            builder.push(5000 + i % 7, None, None, &[]);
            let bytes = builder.build(Codec::None, ProducerStamp::NONE).unwrap();
            let mut header = BatchHeader::parse(&bytes).unwrap();
            header.base_offset = Offset(100 + 2 * i);
            index.on_append(&header, at, 4096);
            at += header.size_bytes as u64;
        }
        (index, at)
    }

    #[test]
    fn an_entry_follows_every_interval_and_search_starts_at_or_below() {
        let (index, _) = filled();
        let entries: Vec<_> = index.offsets.iter().map(|e| (e.relative, e.at)).collect();
        assert_eq!(entries, [(7, 4731), (13, 9462), (19, 14193)]);
        assert_eq!(index.floor(Offset(106)), 0);
        assert_eq!(index.floor(Offset(107)), 4731);
        assert_eq!(index.floor_byte(9461), 4731);
        assert_eq!(index.floor_time(5002), Offset(100));
        assert_eq!(index.floor_time(5003), Offset(107));
        assert_eq!(index.max_timestamp(), Some((5006, Offset(113))));
    }

    #[test]
    fn the_files_read_back_and_damage_is_seen() {
        let (mut index, size) = filled();
        index.seal();
        let [offsets, mut times] = index.encode();
        let [(offsets_at, offsets_tail), (times_at, times_tail)] = index.tail((1, 1)).encode();
        assert_eq!((offsets_at, &*offsets_tail), (8, &offsets[8..]));
        assert_eq!((times_at, &*times_tail), (12, &times[12..]));
        times.extend_from_slice(&[0; 24]);
        let mut read = Index::decode(Offset(100), size, &offsets, &times).unwrap();
        read.since_entry_bytes = index.since_entry_bytes;
        assert_eq!(read, index);
        let swapped = [&offsets[8..16], &offsets[0..8]].concat();
        assert_eq!(Index::decode(Offset(100), size, &swapped, &[]), None);
        assert_eq!(Index::decode(Offset(100), 9000, &offsets, &[]), None);
        assert_eq!(Index::decode(Offset(100), size, &offsets[..9], &[]), None);
    }
}
