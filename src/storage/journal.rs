//! What a commit looks like in the journal, both ways.
//!
//! A commit is one aligned write: a header, entries, and whatever pads it to a block. Numbers are
//! little-endian.
//!
//! ```text
//! 0       8     12        16           24         32       36      40
//! | magic | crc | version | generation | sequence | length | count | entry | entry | ...
//!                 ^-- CRC-32C covers from here to `length`, which counts from 0
//!
//! entry: | kind u8 | topic id 16 | partition i32 | by kind: |
//!   1 create     name length u16, topic name
//!   2 data       segment base i64, byte u64, length u32, that many bytes of the log
//!   3 written    segment base i64, byte u64: the segment is synced up to there, whole blocks
//!   4 log start  offset i64, base of the first segment that is kept i64
//!   5 delete
//! ```
//!
//! A kind with its highest bit set is void: its log could not be written in the same commit.
//!
//! Invariants:
//! - J1. The data entries of a commit end at batch ends, so what a commit makes durable is whole.
//! - J2. Sequences grow by 1 inside a generation; a commit is valid only in its generation.

use super::error::CommitFault;
use crate::base::{AlignedBuf, BLOCK_BYTES, Offset, TopicId, TopicPartition};

/// Bytes of a commit's header.
pub(super) const HEADER_BYTES: usize = 40;
/// Bytes of an entry before what its kind adds.
const ENTRY_BYTES: usize = 21;
/// Bytes of a data entry before its data.
pub(super) const DATA_ENTRY_BYTES: usize = ENTRY_BYTES + 20;

const MAGIC: u64 = u64::from_le_bytes(*b"klammjnl");
const VERSION: u32 = 1;
const CRC_FROM: usize = 12;
const VOID_BIT: u8 = 0x80;

/// One entry of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// The log exists from here on.
    Create { topic: &'a str },
    /// Bytes of the log from byte `at` of segment `base`.
    Data { base: Offset, at: u64, bytes: &'a [u8] },
    /// Segment `base` is synced up to byte `upto`.
    Written { base: Offset, upto: u64 },
    /// The log starts at `offset`; segments below `segment` are gone.
    LogStart { offset: Offset, segment: Offset },
    /// The log is gone.
    Delete,
}

/// A commit under construction, in a buffer that is used again and again.
pub(super) struct Writer {
    buf: AlignedBuf,
    len: usize,
    /// Where its entries begin.
    entries: Vec<usize>,
}

impl Writer {
    /// With room for `capacity` bytes to begin with.
    pub(super) fn new(capacity: usize) -> Self {
        Self { buf: AlignedBuf::zeroed(capacity), len: HEADER_BYTES, entries: Vec::new() }
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        self.len = HEADER_BYTES;
        self.entries.clear();
    }

    /// Whether it has no entry.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries so far.
    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes with padding: what is written.
    pub(super) fn padded_len(&self) -> usize {
        self.len.next_multiple_of(BLOCK_BYTES)
    }

    /// Appends an entry.
    pub(super) fn push(&mut self, tp: TopicPartition, entry: &Entry<'_>) {
        let kind = match entry {
            Entry::Create { .. } => 1,
            Entry::Data { .. } => 2,
            Entry::Written { .. } => 3,
            Entry::LogStart { .. } => 4,
            Entry::Delete => 5,
        };
        self.entries.push(self.len);
        self.put(&[kind]);
        self.put(&tp.topic.0);
        self.put(&tp.partition.to_le_bytes());
        match *entry {
            Entry::Create { topic } => {
                self.put(&(topic.len() as u16).to_le_bytes());
                self.put(topic.as_bytes());
            }
            Entry::Data { base, at, bytes } => {
                self.put(&base.0.to_le_bytes());
                self.put(&at.to_le_bytes());
                self.put(&(bytes.len() as u32).to_le_bytes());
                self.put(bytes);
            }
            Entry::Written { base, upto } => {
                self.put(&base.0.to_le_bytes());
                self.put(&upto.to_le_bytes());
            }
            Entry::LogStart { offset, segment } => {
                self.put(&offset.0.to_le_bytes());
                self.put(&segment.0.to_le_bytes());
            }
            Entry::Delete => (),
        }
    }

    /// Makes the entry with this number void.
    pub(super) fn void(&mut self, entry: usize) {
        self.buf[self.entries[entry]] |= VOID_BIT;
    }

    /// Writes the header, checksum last; the padded bytes are ready to be written.
    pub(super) fn finish(&mut self, generation: u64, sequence: u64) -> &[u8] {
        let head = &mut self.buf[..HEADER_BYTES];
        head[0..8].copy_from_slice(&MAGIC.to_le_bytes());
        head[12..16].copy_from_slice(&VERSION.to_le_bytes());
        head[16..24].copy_from_slice(&generation.to_le_bytes());
        head[24..32].copy_from_slice(&sequence.to_le_bytes());
        head[32..36].copy_from_slice(&(self.len as u32).to_le_bytes());
        head[36..40].copy_from_slice(&(self.entries.len() as u32).to_le_bytes());
        let crc = crc32c::crc32c(&self.buf[CRC_FROM..self.len]);
        self.buf[8..12].copy_from_slice(&crc.to_le_bytes());
        &self.buf[..self.len.next_multiple_of(BLOCK_BYTES)]
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if end > self.buf.len() {
            let mut grown = AlignedBuf::zeroed(end.max(2 * self.buf.len()));
            grown[..self.len].copy_from_slice(&self.buf[..self.len]);
            self.buf = grown;
        }
        self.buf[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }
}

/// A valid commit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Commit<'a> {
    /// Its place in the order of commits.
    pub(super) sequence: u64,
    /// Bytes without padding.
    pub(super) length: usize,
    count: u32,
    entries: &'a [u8],
}

impl<'a> Commit<'a> {
    /// Reads the commit at the start of `bytes`; `None` when there is no valid one of `generation`.
    pub(super) fn parse(bytes: &'a [u8], generation: u64) -> Option<Self> {
        let head = bytes.get(..HEADER_BYTES)?;
        let length = u32_at(head, 32) as usize;
        if marks(head, generation) != [true; 3] || length < HEADER_BYTES {
            return None;
        }
        let covered = bytes.get(CRC_FROM..length)?;
        let valid = u32_at(head, 8) == crc32c::crc32c(covered);
        valid.then(|| Self {
            sequence: u64_at(head, 24),
            length,
            count: u32_at(head, 36),
            entries: &bytes[HEADER_BYTES..length],
        })
    }

    /// Its entries without void ones; `Err` ends them when one is not understood.
    pub(super) fn entries(&self) -> impl Iterator<Item = Result<(TopicPartition, Entry<'a>), ()>> {
        let (mut rest, mut left) = (self.entries, self.count);
        std::iter::from_fn(move || {
            while left > 0 {
                left -= 1;
                match parse_entry(&mut rest) {
                    Some((true, ..)) => (),
                    Some((false, tp, entry)) => return Some(Ok((tp, entry))),
                    None => {
                        left = 0;
                        return Some(Err(()));
                    }
                }
            }
            None
        })
    }
}

/// What begins like a commit and is no valid one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken {
    /// As its header says.
    pub(super) sequence: u64,
    pub(super) fault: CommitFault,
}

impl Broken {
    /// Looks again at the start of `bytes`, where [`Commit::parse`] found none; `None` when it does not
    /// begin like a commit of `generation`, of whose three marks one may be damaged, or is one of another.
    pub(super) fn parse(bytes: &[u8], generation: u64) -> Option<Self> {
        let head = bytes.get(..HEADER_BYTES)?;
        let marks = marks(head, generation);
        if marks.iter().filter(|is_right| **is_right).count() < 2 {
            return None;
        }
        let (length, left) = (u32_at(head, 32), bytes.len());
        let fault = if (HEADER_BYTES..=left).contains(&(length as usize)) {
            let computed = crc32c::crc32c(&bytes[CRC_FROM..length as usize]);
            match u32_at(head, 8) {
                stored if stored != computed => CommitFault::Checksum { stored, computed },
                _ if marks[0] => return None,
                _ => CommitFault::Absent,
            }
        } else {
            CommitFault::Length { length, left }
        };
        Some(Self { sequence: u64_at(head, 24), fault })
    }
}

/// Whether a commit of any generation begins here.
pub(super) fn is_commit(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_le_bytes())
}

/// Whether a header has the magic number, the version and the generation.
fn marks(head: &[u8], generation: u64) -> [bool; 3] {
    [is_commit(head), u32_at(head, 12) == VERSION, u64_at(head, 16) == generation]
}

/// Takes one entry off `rest`, with whether it is void.
fn parse_entry<'a>(rest: &mut &'a [u8]) -> Option<(bool, TopicPartition, Entry<'a>)> {
    let head = take(rest, ENTRY_BYTES)?;
    let mut topic = [0; 16];
    topic.copy_from_slice(&head[1..17]);
    let tp = TopicPartition { topic: TopicId(topic), partition: u32_at(head, 17).cast_signed() };
    let mut i64_next = || take(rest, 8).map(|b| u64_at(b, 0).cast_signed());
    let entry = match head[0] & !VOID_BIT {
        1 => {
            let len = take(rest, 2).map(|b| u16::from_le_bytes([b[0], b[1]]))?;
            Entry::Create { topic: std::str::from_utf8(take(rest, usize::from(len))?).ok()? }
        }
        2 => {
            let (base, at) = (Offset(i64_next()?), i64_next()?.cast_unsigned());
            let len = u32_at(take(rest, 4)?, 0) as usize;
            Entry::Data { base, at, bytes: take(rest, len)? }
        }
        3 => Entry::Written { base: Offset(i64_next()?), upto: i64_next()?.cast_unsigned() },
        4 => Entry::LogStart { offset: Offset(i64_next()?), segment: Offset(i64_next()?) },
        5 => Entry::Delete,
        _ => return None,
    };
    Some((head[0] & VOID_BIT != 0, tp, entry))
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn u64_at(b: &[u8], at: usize) -> u64 {
    u64::from(u32_at(b, at)) | (u64::from(u32_at(b, at + 4)) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition { topic: TopicId([9; 16]), partition }
    }

    #[test]
    fn a_commit_reads_back_without_its_void_entries() {
        let entries = [
            Entry::Create { topic: "t" },
            Entry::Data { base: Offset(7), at: 4096, bytes: &[5; 5000] },
            Entry::Written { base: Offset(7), upto: 4096 },
            Entry::LogStart { offset: Offset(9), segment: Offset(7) },
            Entry::Delete,
        ];
        let mut writer = Writer::new(1);
        for (i, entry) in entries.iter().enumerate() {
            writer.push(tp(i as i32), entry);
        }
        writer.void(2);
        let bytes = writer.finish(77, 3).to_vec();
        assert_eq!(bytes.len(), 8192);
        let commit = Commit::parse(&bytes, 77).unwrap();
        assert_eq!(commit.sequence, 3);
        let read: Vec<_> = commit.entries().map(Result::unwrap).collect();
        let expected: Vec<_> = [0, 1, 3, 4].iter().map(|&i| (tp(i), entries[i as usize])).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn another_generation_a_flipped_bit_and_a_cut_commit_are_not_valid() {
        let mut writer = Writer::new(1);
        writer.push(tp(0), &Entry::Delete);
        let mut bytes = writer.finish(77, 3).to_vec();
        assert!(Commit::parse(&bytes, 78).is_none());
        assert!(Commit::parse(&bytes[..60], 77).is_none());
        bytes[50] ^= 1;
        assert!(Commit::parse(&bytes, 77).is_none());
    }

    #[test]
    fn what_is_no_valid_commit_says_why() {
        let mut writer = Writer::new(1);
        writer.push(tp(0), &Entry::Delete);
        let mut bytes = writer.finish(77, 3).to_vec();
        let [stored, length] = [8, 32].map(|at| u32_at(&bytes, at));
        assert_eq!(Broken::parse(&bytes, 78), None, "a good one of another generation");
        let cut = CommitFault::Length { length, left: 60 };
        assert_eq!(Broken::parse(&bytes[..60], 77), Some(Broken { sequence: 3, fault: cut }));
        bytes[50] ^= 1;
        let computed = crc32c::crc32c(&bytes[CRC_FROM..length as usize]);
        let flipped = CommitFault::Checksum { stored, computed };
        assert_eq!(Broken::parse(&bytes, 77), Some(Broken { sequence: 3, fault: flipped }));
        bytes[50] ^= 1;
        bytes[0] ^= 1;
        let no_magic = Broken { sequence: 3, fault: CommitFault::Absent };
        assert_eq!(Broken::parse(&bytes, 77), Some(no_magic));
        bytes[12] ^= 1;
        assert_eq!(Broken::parse(&bytes, 77), None, "hardly anything of it is left");
    }
}
