//! All logs of one node: creating and deleting them, appending, and memory for their tails.
//!
//! Flow: `shard` -> **store** -> `commits` (durability), `background` (segments), `read`.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::cache::Memory;
use super::checkpoint::Checkpoint;
use super::commit::{LogCommit, Meta};
use super::config::{LogConfig, StoreConfig};
use super::error::StorageError;
use super::fence::Fence;
use super::files;
use super::jobs::{Job, Work};
use super::journal::Writer;
use super::laid::Laid;
use super::log::{Append, Appended, Log, Queue};
use super::lookups::Lookups;
use super::removals::{Removal, Removals};
use super::retention::Search;
use super::ring::Ring;
use super::room::Room;
use super::scrub::Scrub;
use super::windows::Windows;
use super::{LogId, StoreEvent};
use crate::base::{AlignedBuf, BLOCK_BYTES, LeaderEpoch, Moment, Offset, TopicPartition, WallMs};
use crate::metrics::Histogram;
use crate::runtime::disk::Disk;
use crate::wire::batch::BatchHeader;

/// Logs that a step of a look at all logs has, and the time to the next one: what it found to be done
/// goes out meanwhile.
pub(super) const LOGS_PER_STEP: usize = 64;
pub(super) const STEP_EVERY: Duration = Duration::from_micros(200);
/// Tries to free memory per append; the rest waits for the next one.
const EVICTIONS_MAX: usize = 8;

/// Counters since the store was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Commits.
    pub commits: u64,
    /// Bytes made durable, by whichever way.
    pub commit_bytes: u64,
    /// Bytes written to the journal, headers and padding included.
    pub journal_bytes: u64,
    /// Appended batches.
    pub commit_batches: u64,
    /// From taking a commit to its result: its writes, its sync and the way there and back.
    pub commit_time: Histogram,
    /// Of that, the sync of the journal.
    pub sync_time: Histogram,
    /// When the commit that is out was taken.
    pub commit_began: Option<Moment>,
    /// Reads served from memory.
    pub cache_hits: u64,
    /// Reads that had to wait for the disk.
    pub cache_misses: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Bytes of old segments that were read back and checked.
    pub scrubbed_bytes: u64,
    /// How often that met damage, or failed.
    pub scrub_damages: u64,
}

/// Work that waits for the back.
#[derive(Default)]
pub(super) struct Queues {
    pub(super) urgent: VecDeque<Job>,
    pub(super) reads: VecDeque<Job>,
    pub(super) writes: VecDeque<LogId>,
    pub(super) out: usize,
    pub(super) reads_out: usize,
    pub(super) read_turn: bool,
    /// Reads that are queued or out: log, segment, byte.
    pub(super) reading: Vec<(LogId, Offset, u64)>,
    /// Indexes that are being loaded, or were and are kept: log, segment.
    pub(super) loading: Vec<(LogId, Offset)>,
    pub(super) loaded: VecDeque<(LogId, Offset)>,
}

/// The store. See the folder's documentation.
pub struct Store {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) config: StoreConfig,
    pub(super) generation: u64,
    pub(super) logs: Vec<Option<Box<Log>>>,
    /// Trees: a table that grows moves all of its entries in one turn.
    pub(super) by_tp: BTreeMap<TopicPartition, LogId>,
    pub(super) by_dir: BTreeMap<OsString, LogId>,
    /// Directories with segments of which nobody says what log they are: none is made over them.
    pub(super) strange: Vec<PathBuf>,
    pub(super) ring: Ring,
    pub(super) memory: Memory,
    pub(super) windows: Windows,
    pub(super) lookups: Lookups,
    /// `None` while a commit is out.
    pub(super) writer: Option<Writer>,
    /// The emptied list of logs of the last commit.
    pub(super) taken: Vec<LogCommit>,
    pub(super) due: VecDeque<LogId>,
    pub(super) lazy: VecDeque<LogId>,
    pub(super) lazy_deadline: Moment,
    /// Logs in line that no commit can take until a file of theirs is open.
    pub(super) waiting_for_files: usize,
    pub(super) metas: VecDeque<(TopicPartition, Arc<str>, Meta)>,
    pub(super) metas_deadline: Moment,
    pub(super) queues: Queues,
    pub(super) removals: Removals,
    pub(super) scrub: Scrub,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) checkpoint_at: Moment,
    /// Something was committed that no checkpoint has seen: so many bytes.
    pub(super) checkpoint_wanted: bool,
    pub(super) checkpoint_bytes: u64,
    /// When it was first told the time.
    pub(super) began: Moment,
    pub(super) retention_at: Moment,
    /// Where the running search for what is too old goes on.
    pub(super) retention_next: Search,
    pub(super) wall: WallMs,
    pub(super) full: bool,
    pub(super) room: Room,
    pub(super) failed: bool,
    pub(super) dirty_bytes: usize,
    /// Failures found where there is no place for events.
    pub(super) events: Vec<StoreEvent>,
    /// Counters.
    pub metrics: Metrics,
}

impl Store {
    /// All logs, with topic names.
    pub fn logs(&self) -> impl Iterator<Item = (LogId, TopicPartition, &str)> {
        self.logs.iter().enumerate().filter_map(|(i, log)| {
            let log = log.as_ref()?;
            Some((LogId(i as u32), log.tp, &*log.topic))
        })
    }

    /// The log of a partition.
    pub fn find(&self, tp: TopicPartition) -> Option<LogId> {
        self.by_tp.get(&tp).copied()
    }

    /// A log; `None` when it is deleted.
    pub fn log(&self, id: LogId) -> Option<&Log> {
        self.logs.get(id.0 as usize)?.as_deref()
    }

    pub(super) fn log_mut(&mut self, id: LogId) -> Option<&mut Log> {
        self.logs.get_mut(id.0 as usize)?.as_deref_mut()
    }

    /// A log that may be used.
    pub(super) fn served(&self, id: LogId) -> Result<&Log, StorageError> {
        let log = self.log(id).ok_or(StorageError::Deleted)?;
        if log.failed { Err(log.fenced_error()) } else { Ok(log) }
    }

    pub(super) fn insert(&mut self, log: Log) -> LogId {
        let id = LogId(self.logs.len() as u32);
        self.by_tp.insert(log.tp, id);
        self.by_dir.insert(log.dir.clone().into(), id);
        self.logs.push(Some(Box::new(log)));
        id
    }

    /// Makes a log, or finds it. Costs no system call: its directory is made when blocks are
    /// written. A log of the same name but another topic id is deleted; where there are segments without
    /// `partition.metadata`, the log is there as failed, and that comes out as an event.
    pub fn create(
        &mut self,
        tp: TopicPartition,
        topic: &str,
        config: LogConfig,
        now: Moment,
    ) -> LogId {
        if let Some(id) = self.find(tp) {
            self.configure(id, config);
            return id;
        }
        let dir = self.config.dir.join(format!("{topic}-{}", tp.partition));
        if let Some(&old) = self.by_dir.get(dir.as_os_str()) {
            self.delete(old);
        }
        let topic: Arc<str> = topic.into();
        let strange = self.strange.contains(&dir).then(|| dir.join(files::METADATA));
        let mut log = Log::empty(tp, Arc::clone(&topic), dir, Offset(0), self.wall);
        log.config = config;
        if let Some(file) = strange {
            let what = "it is not there, but segments are".to_owned();
            let error = Arc::new(StorageError::BadFile { file, what });
            log.failed = true;
            let id = self.insert(log);
            self.events.push(StoreEvent::Failed { log: Some(id), error });
            return id;
        }
        log.disk.unannounced = true;
        let id = self.insert(log);
        self.metas.push_back((tp, topic, Meta::Create(id)));
        let deadline = now.plus_ms(self.config.lazy_flush_ms);
        self.metas_deadline = self.metas_deadline.min(deadline);
        id
    }

    /// Sets what the topic's configuration says.
    pub fn configure(&mut self, id: LogId, config: LogConfig) {
        if let Some(log) = self.log_mut(id) {
            log.config = config;
        }
    }

    /// Deletes a log. Its directory goes once the deletion is durable.
    pub fn delete(&mut self, id: LogId) {
        let Some(mut log) = self.logs.get_mut(id.0 as usize).and_then(Option::take) else { return };
        self.by_tp.remove(&log.tp);
        self.by_dir.remove(log.dir.as_os_str());
        self.strange.retain(|dir| *dir != log.dir);
        self.windows.forget(id);
        self.dirty_bytes -= log.pending_bytes;
        self.drop_tail(&mut log);
        self.removals.push(Removal {
            dir: log.dir.clone(),
            tp: log.tp,
            log: id,
            jobs_out: log.disk.jobs_out,
            told: None,
            started: false,
        });
        self.metas.push_back((log.tp, Arc::clone(&log.topic), Meta::Delete(id)));
        self.metas_deadline = Moment::default();
        self.list_anew();
        if log.in_checkpoint {
            self.checkpoint_log_settled();
        }
    }

    fn drop_tail(&mut self, log: &mut Log) {
        if log.tail.chunks.is_empty() {
            return;
        }
        self.memory.tail_gone();
        for chunk in log.tail.chunks.drain(..) {
            self.memory.give_back(chunk.capacity(), chunk.into_buf());
        }
    }

    /// Appends a batch that the caller has checked; `header` is its header. The batch gets the
    /// log end as its base offset.
    ///
    /// # Errors
    /// [`StorageError::BatchTooLarge`], [`StorageError::Fenced`], [`StorageError::Deleted`],
    /// [`StorageError::JournalFailed`]. Nothing was appended.
    pub fn append(
        &mut self,
        id: LogId,
        batch: &[u8],
        header: &BatchHeader,
        how: Append,
        (now, wall): (Moment, WallMs),
    ) -> Result<Appended, StorageError> {
        self.appends(id, header.size_bytes as u64)?;
        let mut header = *header;
        if let Some(time) = how.append_time {
            header.max_timestamp = time.0;
        }
        self.put(id, &header, how, (now, wall), Put::Copy(batch))
    }

    /// Appends a batch that is laid out, with the time that is stamped on it.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_laid(
        &mut self,
        id: LogId,
        laid: Laid,
        leader_epoch: LeaderEpoch,
        times: (Moment, WallMs),
    ) -> Result<Appended, StorageError> {
        let header = *laid.header();
        self.appends(id, header.size_bytes as u64)?;
        let how = Append { leader_epoch, append_time: None };
        self.put(id, &header, how, times, Put::Laid(laid))
    }

    /// Where in its chunk the batch would lie if it were appended now; see [`Laid::new`].
    pub fn lie_of(&self, id: LogId, header: &BatchHeader) -> usize {
        self.log(id).filter(|log| !log.must_roll(header, self.wall)).map_or(0, Log::lie)
    }

    /// Whether a batch of `size_bytes` may be appended.
    fn appends(&self, id: LogId, size_bytes: u64) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::JournalFailed);
        }
        let limit_bytes = self.served(id)?.config.segment_bytes;
        if size_bytes > limit_bytes {
            let size_bytes = size_bytes as usize;
            return Err(StorageError::BatchTooLarge { size_bytes, limit_bytes });
        }
        Ok(())
    }

    fn put(
        &mut self,
        id: LogId,
        header: &BatchHeader,
        how: Append,
        (now, wall): (Moment, WallMs),
        put: Put<'_>,
    ) -> Result<Appended, StorageError> {
        self.wall = wall;
        let log = self.logs.get_mut(id.0 as usize).and_then(Option::as_deref_mut);
        let log = log.ok_or(StorageError::Deleted)?;
        if log.must_roll(header, wall) {
            log.roll(wall);
        }
        let size_bytes = header.size_bytes;
        let appended = match put {
            Put::Laid(laid) if laid.from == log.lie() => {
                take_over(&mut self.memory, id, log, laid.buf);
                log.append(None, header, how, (now, wall))
            }
            put => {
                if !log.has_room(size_bytes) {
                    make_room(&mut self.memory, id, log, size_bytes);
                }
                let appended = log.append(Some(put.batch()), header, how, (now, wall));
                if let Put::Laid(laid) = put {
                    self.memory.let_go(laid.buf);
                }
                appended
            }
        };
        log.pending_bytes += size_bytes;
        self.dirty_bytes += size_bytes;
        self.metrics.commit_batches += 1;
        self.enqueue(id, i64::from(header.last_offset_delta) + 1, now);
        if self.memory.is_over() {
            self.evict();
        }
        Ok(appended)
    }

    /// Puts a log that was appended to in line for a commit.
    fn enqueue(&mut self, id: LogId, records: i64, now: Moment) {
        let Some(log) = self.logs[id.0 as usize].as_deref_mut() else { return };
        if log.queue == Queue::Due {
            return;
        }
        log.lazy_records += records;
        let crowded = self.dirty_bytes >= self.config.cache_bytes / 4;
        let most = self.config.lazy_flush_bytes / if crowded { 4 } else { 1 };
        let due = log.lazy_records >= log.config.flush_messages || log.uncommitted() >= most;
        if due {
            log.queue = Queue::Due;
            self.due.push_back(id);
        } else if log.queue == Queue::Idle {
            log.queue = Queue::Lazy;
            self.lazy.push_back(id);
            let wait_ms = log.config.flush_ms.min(self.config.lazy_flush_ms);
            self.lazy_deadline = self.lazy_deadline.min(now.plus_ms(wait_ms));
        }
    }

    /// Frees tail chunks that are in segments, oldest first, while the budget is overdrawn.
    pub(super) fn evict(&mut self) {
        for _ in 0..EVICTIONS_MAX.min(self.memory.sealed_len()) {
            if !self.memory.is_over() {
                return;
            }
            let Some(id) = self.memory.oldest() else { return };
            let Some(log) = self.logs[id.0 as usize].as_deref_mut() else { continue };
            if log.tail.chunks.len() < 2 {
                continue;
            }
            let p = &log.progress;
            let there = if log.stuck { p.synced } else { p.written };
            if let Some(chunk) = log.tail.chunks.pop_front_if(|c| c.end() <= there) {
                self.memory.give_back(chunk.capacity(), chunk.into_buf());
            } else {
                self.memory.put_back(id);
                self.want_write(id);
            }
        }
    }

    /// The journal has no room until a checkpoint frees some: stop taking requests.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Bytes that are appended and not yet durable.
    pub fn dirty_bytes(&self) -> usize {
        self.dirty_bytes
    }

    /// Memory that is to be given back beside the turn.
    pub fn gone(&mut self) -> Vec<AlignedBuf> {
        self.memory.gone()
    }

    /// Bytes of memory that tails take.
    pub fn cache_bytes(&self) -> usize {
        self.memory.used_bytes()
    }

    /// Bytes of old records that were read and are kept for readers.
    pub fn window_bytes(&self) -> usize {
        self.windows.used_bytes()
    }

    /// The next time at which [`Store::on_time`] or [`Store::commit`] has something to do.
    pub fn next_deadline(&self) -> Moment {
        if !self.events.is_empty() {
            return Moment::default();
        }
        if self.failed {
            return Moment::NEVER;
        }
        let mut next = self.retention_at.min(self.checkpoint_step_at()).min(self.scrub_at());
        next = next.min(self.room_at());
        if self.writer.is_some() {
            if self.checkpoint_wanted && self.checkpoint.is_none() {
                next = next.min(self.checkpoint_at);
            }
            if !self.full {
                next = next.min(self.lazy_deadline).min(self.metas_deadline);
            }
        }
        next
    }

    /// What was found where there is no place for events.
    pub fn take_events(&mut self, out: &mut Vec<StoreEvent>) {
        out.append(&mut self.events);
    }

    /// Fences a log whose segments cannot be written any more. What the journal has of it stays
    /// there until a restart writes it again.
    pub(super) fn stick(&mut self, id: LogId, error: StorageError, out: &mut Vec<StoreEvent>) {
        if let Some(log) = self.log_mut(id) {
            log.stuck = true;
            self.fail(id, error, out);
            self.settle(id);
        }
    }

    /// Fences a log: it takes no appends, and of a damaged one is served what lies before the
    /// damage. Damage is remembered on disk; any other failure is over with a restart.
    pub(super) fn fail(&mut self, id: LogId, error: StorageError, out: &mut Vec<StoreEvent>) {
        let Some(log) = self.log_mut(id) else { return };
        if log.failed {
            if let Some(fence) = Fence::of(&error) {
                log.readable = log.readable.min(fence.offset);
            }
            out.push(StoreEvent::Readable { log: id });
            return;
        }
        log.failed = true;
        log.readable = log.log_start;
        let pending = std::mem::take(&mut log.pending_bytes);
        if let Some(fence) = Fence::of(&error) {
            log.readable = fence.offset.min(log.durable_end);
            let work = Work::Fence(log.dir.clone(), log.tp.topic, fence);
            self.queues.urgent.push_back(Job { log: Some(id), work });
        }
        self.dirty_bytes -= pending;
        out.push(StoreEvent::Failed { log: Some(id), error: Arc::new(error) });
    }

    /// Stops the store: its journal cannot be trusted any more.
    pub(super) fn fail_all(&mut self, error: StorageError, out: &mut Vec<StoreEvent>) {
        if !self.failed {
            self.failed = true;
            out.push(StoreEvent::Failed { log: None, error: Arc::new(error) });
        }
    }
}

/// Bytes to append.
enum Put<'a> {
    Copy(&'a [u8]),
    Laid(Laid),
}

impl Put<'_> {
    fn batch(&self) -> &[u8] {
        match self {
            Self::Copy(batch) => batch,
            Self::Laid(laid) => laid.batch(),
        }
    }
}

/// Begins a chunk of `log` with a buffer in which the next batch lies.
fn take_over(memory: &mut Memory, id: LogId, log: &mut Log, buf: AlignedBuf) {
    memory.add(buf.len(), id, !log.tail.chunks.is_empty());
    let fresh = log.active().size == 0;
    log.tail.begin(buf, log.progress.end, fresh, log.log_end);
}

/// Begins a chunk of `log` in which a batch of `size` fits.
fn make_room(memory: &mut Memory, id: LogId, log: &mut Log, size: usize) {
    let (end, fresh) = (log.progress.end, log.active().size == 0);
    let class = memory.class_after(log.chunk_class);
    let bytes = class.max((log.lie() + size).next_multiple_of(BLOCK_BYTES));
    let buf = memory.take(bytes, id, !log.tail.chunks.is_empty());
    log.chunk_class = class;
    log.tail.begin(buf, end, fresh, log.log_end);
}
