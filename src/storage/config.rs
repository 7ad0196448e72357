//! Settings of a store and of each log in it. Sizes are bytes, times milliseconds.

use std::path::PathBuf;

use super::error::StorageError;
use crate::base::BLOCK_BYTES;

/// Limits of one node's store.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `<log.dir>/node-<id>`.
    pub dir: PathBuf,
    /// Most space the journal takes.
    pub journal_bytes: u64,
    /// Size of one journal file.
    pub journal_chunk_bytes: u64,
    /// A commit that has this much takes no further log.
    pub commit_bytes_max: usize,
    /// Most that logs nobody waits for add to the journal's part of a commit, which is copied in a turn.
    pub commit_lazy_bytes_max: usize,
    /// Logs that one commit creates, deletes, or moves the start of: that is a turn's work too.
    pub commit_metas_max: usize,
    /// A segment with this much to commit gets its whole blocks directly, past the journal.
    pub direct_bytes_min: usize,
    /// With more than this, a part goes ahead in each commit: the other logs wait for no more.
    pub direct_bytes_max: usize,
    /// A segment with this much journaled and unwritten is written in the background.
    pub write_bytes_min: usize,
    /// Most that one background write takes.
    pub write_bytes_max: usize,
    /// Memory for the tails of the logs; the newest chunk of each log stays beyond it.
    pub cache_bytes: usize,
    /// Largest tail chunk (a larger batch gets a larger one).
    pub chunk_bytes_max: usize,
    /// First read of a reader that left the tail.
    pub read_bytes: usize,
    /// Further reads of a reader that goes on.
    pub read_ahead_bytes: usize,
    /// Memory for what such readers have read.
    pub window_bytes: usize,
    /// Background jobs handed out at a time.
    pub jobs_max: usize,
    /// Age at which the journal is worked into the segments.
    pub checkpoint_ms: i64,
    /// Bytes committed after which it is too: about what recovery reads in a second.
    pub checkpoint_bytes: u64,
    /// Logs that one step of that looks at.
    pub checkpoint_step_logs: usize,
    /// New index entries of a segment from which a checkpoint writes them: less is scanned in no
    /// time.
    pub index_entries_min: usize,
    /// Longest that a log which does not wait for syncs goes without one...
    pub lazy_flush_ms: i64,
    /// ...and most that it leaves unsynced; a quarter of it while a quarter of the cache is not durable.
    pub lazy_flush_bytes: u64,
    /// Bytes that the scrub reads in a second; 0 for no scrub.
    pub scrub_bytes_per_second: u64,
    /// `log.retention.check.interval.ms`.
    pub retention_check_ms: i64,
    /// `producer.id.expiration.ms`.
    pub producer_expiration_ms: i64,
}

impl StoreConfig {
    /// The defaults, in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            journal_bytes: 256 << 20,
            journal_chunk_bytes: 16 << 20,
            commit_bytes_max: 4 << 20,
            commit_lazy_bytes_max: 64 << 10,
            commit_metas_max: 128,
            direct_bytes_min: 256 << 10,
            direct_bytes_max: 512 << 10,
            write_bytes_min: 2 << 20,
            write_bytes_max: 4 << 20,
            cache_bytes: 64 << 20,
            chunk_bytes_max: 1 << 20,
            read_bytes: 256 << 10,
            read_ahead_bytes: 512 << 10,
            window_bytes: 16 << 20,
            jobs_max: 8,
            checkpoint_ms: 60_000,
            checkpoint_bytes: 128 << 20,
            checkpoint_step_logs: 64,
            index_entries_min: 256,
            lazy_flush_ms: 1_000,
            lazy_flush_bytes: 4 << 20,
            scrub_bytes_per_second: 1 << 20,
            retention_check_ms: 300_000,
            producer_expiration_ms: 86_400_000,
        }
    }

    /// Largest commit in bytes, padding included: a commit never straddles journal files.
    pub(super) fn commit_bytes_limit(&self) -> u64 {
        (self.commit_bytes_max + self.direct_bytes_min + 4 * BLOCK_BYTES) as u64
    }

    /// Journal files at most.
    pub(super) fn journal_chunks_max(&self) -> usize {
        (self.journal_bytes / self.journal_chunk_bytes) as usize
    }

    /// Checks the relations between the limits.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        let at_least = |what, actual, limit| {
            if actual >= limit { Ok(()) } else { Err(StorageError::Config { what, actual, limit }) }
        };
        let chunk = self.journal_chunk_bytes;
        at_least("journal.bytes", self.journal_bytes, 3 * chunk)?;
        at_least("journal.chunk.bytes", chunk, self.commit_bytes_limit())?;
        at_least("direct.bytes.min", self.direct_bytes_min as u64, 2 * BLOCK_BYTES as u64)?;
        at_least("direct.bytes.max", self.direct_bytes_max as u64, self.direct_bytes_min as u64)
    }
}

/// What a topic's configuration says to storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `segment.ms`, jitter taken off.
    pub segment_ms: i64,
    /// `retention.ms`; negative is for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; negative is no bound.
    pub retention_bytes: i64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `flush.messages`; 1 means that every batch waits for its sync.
    pub flush_messages: i64,
    /// `flush.ms`.
    pub flush_ms: i64,
    /// `cleanup.policy` has `delete`.
    pub delete: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 604_800_000,
            retention_ms: 604_800_000,
            retention_bytes: -1,
            index_interval_bytes: 4096,
            flush_messages: 1,
            flush_ms: i64::MAX,
            delete: true,
        }
    }
}
