//! One log: its segments, its tail in memory, and what is known of its producers and leaders.
//!
//! Flow: `store` checks and finds room -> **log** appends -> `commit` makes it durable ->
//! `jobs` writes segments. Nothing here touches a disk.
//!
//! Invariants:
//! - L1. Offsets are dense: each batch begins where the one before ended.
//! - L2. `log_start <= durable_end <= log_end`; `segments` is never empty and its last is active.
//! - L3. What is not in a segment's file is in the tail.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::config::LogConfig;
use super::error::StorageError;
use super::progress::Progress;
use super::segment::Segment;
use super::tail::Tail;
use super::tail::block_floor;
use crate::base::{LeaderEpoch, Moment, Offset, TopicPartition, WallMs};
use crate::partition::epochs::Epochs;
use crate::partition::producers::Producers;
use crate::wire::batch::{self, BatchHeader};

/// How a batch is appended.
#[derive(Debug, Clone, Copy)]
pub struct Append {
    /// Epoch of the leader, which goes into the batch.
    pub leader_epoch: LeaderEpoch,
    /// Stamp the batch with this time (`message.timestamp.type=LogAppendTime`).
    pub append_time: Option<WallMs>,
}

/// Where a batch was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// It counts as stored only when `StoreEvent::Durable` has come past it; else at once.
    pub durable_wait: bool,
}

/// Which line of the committer a log stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    /// Nothing to commit.
    Idle,
    /// Rides along, or waits for its deadline.
    Lazy,
    /// In the next commit.
    Due,
}

/// One log of the store.
#[allow(
    clippy::struct_excessive_bools,
    clippy::struct_field_names,
    reason = "independent marks; log start and log end are Kafka's words"
)]
pub struct Log {
    pub(super) tp: TopicPartition,
    pub(super) topic: Arc<str>,
    pub(super) dir: PathBuf,
    pub(super) config: LogConfig,
    pub(super) segments: VecDeque<Segment>,
    pub(super) tail: Tail,
    pub(super) chunk_class: usize,
    pub(super) log_start: Offset,
    pub(super) log_end: Offset,
    pub(super) durable_end: Offset,
    pub(super) progress: Progress,
    pub(super) producers: Producers,
    pub(super) epochs: Epochs,
    pub(super) epochs_dirty: bool,
    /// Batches follow each other without a gap. They do not in a directory that was cleaned by
    /// another broker.
    pub(super) dense: bool,
    /// Takes no appends, and is read below `readable` only.
    pub(super) failed: bool,
    /// What may be read of a failed log ends here: where its damage begins.
    pub(super) readable: Offset,
    /// Its segments cannot be written: what is not synced there stays in the journal.
    pub(super) stuck: bool,
    pub(super) disk: OnDisk,
    pub(super) queue: Queue,
    pub(super) lazy_records: i64,
    /// The next commit repeats what is not yet synced in the segment.
    pub(super) rejournal: bool,
    /// The commit that is out does so.
    pub(super) repeating: bool,
    pub(super) in_checkpoint: bool,
    /// Something was appended or removed since the log was opened.
    pub(super) changed: bool,
    /// Bytes appended and not yet durable.
    pub(super) pending_bytes: usize,
}

/// State of the log's directory and of the background work on it.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "independent marks")]
pub(super) struct OnDisk {
    /// The directory and `partition.metadata` are there.
    pub(super) made: bool,
    /// No commit has taken its create entry yet.
    pub(super) unannounced: bool,
    /// Journal chunk with the create entry, while `made` is not set.
    pub(super) created_in: Option<u64>,
    /// Jobs that are out.
    pub(super) jobs_out: u32,
    /// A write job is out.
    pub(super) writing: bool,
    /// That job found no room, and is out no more until it is tried again.
    pub(super) no_room: bool,
    /// A write job is wanted; it is in the queue.
    pub(super) wanted: bool,
    /// The next write job ends with a sync.
    pub(super) want_sync: bool,
    /// The next write job opens the file of this segment for the committer.
    pub(super) want_file: Option<Offset>,
    /// Position up to which the job that is out writes.
    pub(super) writing_upto: u64,
    /// What went ahead of the commit that will make it durable.
    pub(super) ahead: Option<Ahead>,
    /// Entries of the active segment's indexes that are in their files already.
    pub(super) index_entries: (usize, usize),
    /// Snapshots taken by checkpoints, oldest first.
    pub(super) snapshots: Vec<Offset>,
    /// Segments that begin before this offset are to go.
    pub(super) first: Offset,
    /// Files to remove when no write job is out.
    pub(super) remove: Vec<PathBuf>,
    /// A job that removes some is out.
    pub(super) removing: bool,
}

/// Blocks that are in a segment and that no commit promises yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    /// Their first position, and the one after their last.
    pub(super) from: u64,
    pub(super) upto: u64,
    /// Position and offset up to which that commit goes, however much is appended meanwhile.
    pub(super) goal: (u64, Offset),
}

impl Log {
    /// A log without bytes whose first offset will be `start`.
    pub(super) fn empty(
        tp: TopicPartition,
        topic: Arc<str>,
        dir: PathBuf,
        start: Offset,
        wall: WallMs,
    ) -> Self {
        Self {
            tp,
            topic,
            dir,
            // Nothing may be deleted by age before the topic's configuration is known.
            config: LogConfig { delete: false, ..LogConfig::default() },
            segments: VecDeque::from([Segment::new(start, 0, wall)]),
            tail: Tail::default(),
            chunk_class: 0,
            log_start: start,
            log_end: start,
            durable_end: start,
            progress: Progress::settled_at(0, start),
            producers: Producers::new(),
            epochs: Epochs::new(),
            epochs_dirty: false,
            dense: true,
            failed: false,
            readable: start,
            stuck: false,
            disk: OnDisk::default(),
            queue: Queue::Idle,
            lazy_records: 0,
            rejournal: false,
            repeating: false,
            in_checkpoint: false,
            changed: false,
            pending_bytes: 0,
        }
    }

    /// Oldest offset that may be read.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// Offset that the next append will get.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Records below this offset survive a crash.
    pub fn durable_end(&self) -> Offset {
        self.durable_end
    }

    /// Bytes in all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.size).sum()
    }

    /// Number of segments, the one that takes appends included.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// What is known of producers, up to the log end.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Which leader epoch began where.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Fenced after a failure or damage: kept, takes no appends.
    pub fn is_failed(&self) -> bool {
        self.failed
    }

    /// End of what may be read: the log end, or where the damage of a failed log begins.
    pub fn readable_end(&self) -> Offset {
        if self.failed { self.readable } else { self.log_end }
    }

    /// Directory of the log.
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    pub(super) fn fenced_error(&self) -> StorageError {
        let reason = "an earlier failure".to_owned();
        StorageError::Fenced { dir: self.dir.display().to_string(), reason }
    }

    /// Bytes that no commit has taken yet.
    pub(super) fn uncommitted(&self) -> u64 {
        self.progress.end - self.progress.journaled
    }

    /// Bytes of batches in positions `from..to`.
    pub(super) fn bytes_in(&self, from: u64, to: u64) -> u64 {
        let of = |s: &Segment| s.end().min(to).saturating_sub(s.at.max(from));
        self.segments.iter().rev().take_while(|s| s.end() > from).map(of).sum()
    }

    /// Whether all that is not synced in a segment is in memory.
    pub(super) fn is_repeatable(&self) -> bool {
        self.tail.chunks.front().is_some_and(|c| c.start <= self.progress.synced)
    }

    /// Whether the oldest segment that is not sealed takes no more appends and is durable.
    pub(super) fn wants_seal(&self) -> bool {
        let open = self.segments.partition_point(|s| s.sealed);
        open + 1 < self.segments.len() && self.progress.durable >= self.segments[open].end()
    }

    /// The segment that takes appends.
    pub(super) fn active(&self) -> &Segment {
        &self.segments[self.segments.len() - 1]
    }

    fn active_mut(&mut self) -> &mut Segment {
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    /// The segment that holds `offset`, by index; the first one for offsets before it.
    pub(super) fn segment_of(&self, offset: Offset) -> usize {
        self.segments.partition_point(|s| s.base <= offset).saturating_sub(1)
    }

    /// The segment that begins with `base`, by index.
    pub(super) fn segment_from(&self, base: Offset) -> Option<usize> {
        let i = self.segments.partition_point(|s| s.base < base);
        self.segments.get(i).filter(|s| s.base == base).map(|_| i)
    }

    /// The segment that position `at` lies in, by index.
    pub(super) fn segment_at(&self, at: u64) -> usize {
        self.segments.partition_point(|s| s.at <= at).saturating_sub(1)
    }

    /// Whether the batch has to begin a new segment (Kafka's rules, when it appends).
    pub(super) fn must_roll(&self, header: &BatchHeader, wall: WallMs) -> bool {
        let active = self.active();
        if active.size == 0 {
            return false;
        }
        let waited = match active.first_timestamp {
            Some(first) => header.max_timestamp.saturating_sub(first),
            None => wall.0.saturating_sub(active.modified.0),
        };
        let reach = self.log_end.0 + i64::from(header.last_offset_delta) - active.base.0;
        active.size + header.size_bytes as u64 > self.config.segment_bytes
            || waited > self.config.segment_ms
            || reach > i64::from(i32::MAX)
    }

    /// Begins a new segment at the log end.
    pub(super) fn roll(&mut self, wall: WallMs) {
        let snapshot = self.producers.clone();
        let base = self.log_end;
        let active = self.active_mut();
        active.snapshot = Some(snapshot);
        if let Some(index) = &mut active.index {
            Arc::make_mut(index).seal();
        }
        let at = active.next_at();
        self.segments.push_back(Segment::new(base, at, wall));
        self.progress.on_roll(at);
    }

    /// Whether the newest chunk takes `size` more bytes of the active segment.
    pub(super) fn has_room(&self, size: usize) -> bool {
        let active_at = self.active().at;
        self.tail.chunks.back().is_some_and(|c| c.start >= active_at && c.has_room(size))
    }

    /// Where in its chunk a batch begins that would begin a chunk at the log end.
    pub(super) fn lie(&self) -> usize {
        if self.active().size == 0 {
            return 0;
        }
        (self.progress.end - block_floor(self.progress.end)) as usize
    }

    /// Appends a batch for which there is room, where it lies already if it is `None`; sets its offset,
    /// epoch and time on the way.
    pub(super) fn append(
        &mut self,
        batch: Option<&[u8]>,
        header: &BatchHeader,
        how: Append,
        (now, wall): (Moment, WallMs),
    ) -> Appended {
        let mut header =
            BatchHeader { base_offset: self.log_end, leader_epoch: how.leader_epoch, ..*header };
        if let Some(chunk) = self.tail.chunks.back_mut() {
            chunk.append(header.size_bytes, |copy| {
                if let Some(batch) = batch {
                    copy.copy_from_slice(batch);
                }
                batch::set_base_offset(copy, header.base_offset);
                batch::set_leader_epoch(copy, how.leader_epoch);
                if let Some(time) = how.append_time {
                    batch::set_append_time(copy, time.0);
                    header.max_timestamp = time.0;
                }
            });
        }
        let interval_bytes = self.config.index_interval_bytes;
        let active = self.active_mut();
        if let Some(index) = &mut active.index {
            Arc::make_mut(index).on_append(&header, active.size, interval_bytes);
        }
        active.size += header.size_bytes as u64;
        active.modified = wall;
        if active.first_timestamp.is_none() && header.max_timestamp >= 0 {
            active.first_timestamp = Some(header.max_timestamp);
        }
        if header.has_producer() {
            self.producers.on_append(&header, Some(now));
        }
        if self.epochs.latest() != Some(how.leader_epoch) {
            self.epochs.on_append(how.leader_epoch, header.base_offset);
            self.epochs_dirty = true;
        }
        self.progress.end += header.size_bytes as u64;
        self.log_end = header.next_offset();
        self.changed = true;
        let last_offset = header.last_offset();
        let durable_wait = self.config.flush_messages == 1;
        Appended { base_offset: header.base_offset, last_offset, durable_wait }
    }

    /// Position of the batch that holds `offset`, which is in memory in chunk `k`.
    pub(super) fn position_in_chunk(&self, k: usize, offset: Offset) -> u64 {
        let chunk = &self.tail.chunks[k];
        let segment = &self.segments[self.segment_at(chunk.own)];
        let indexed = segment.index.as_ref().map_or(0, |i| i.floor(offset));
        let mut at = chunk.own.max(segment.at + indexed);
        while let Ok(header) = BatchHeader::parse(chunk.bytes_from(at)) {
            if header.last_offset() >= offset {
                break;
            }
            at += header.size_bytes as u64;
        }
        at
    }

    /// Last batch end in chunk `k` at or below position `upto`; at least `from`, a batch end.
    pub(super) fn batch_end_in_chunk(&self, k: usize, from: u64, upto: u64) -> u64 {
        let chunk = &self.tail.chunks[k];
        let segment = &self.segments[self.segment_at(chunk.own)];
        let byte = upto.saturating_sub(segment.at);
        let indexed = segment.index.as_ref().map_or(0, |i| i.floor_byte(byte));
        let mut at = from.max(segment.at + indexed);
        while let Ok(header) = BatchHeader::parse(chunk.bytes_from(at)) {
            let next = at + header.size_bytes as u64;
            if next > upto {
                break;
            }
            at = next;
        }
        at
    }

    /// The offset of the last batch end at or below position `upto`, when memory can tell.
    pub(super) fn boundary_at(&self, upto: u64) -> Option<Offset> {
        let k = self.tail.chunk_of(upto)?;
        let chunk = &self.tail.chunks[k];
        let end = self.batch_end_in_chunk(k, chunk.own, upto);
        match BatchHeader::parse(chunk.bytes_from(end)) {
            Ok(next) => Some(next.base_offset),
            Err(_) => {
                Some(self.tail.chunks.get(k + 1).map_or(self.log_end, |next| next.first_offset))
            }
        }
    }
}
