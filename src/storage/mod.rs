//! The logs of one node: record batches on disk in Kafka's formats, durable through one journal.
//!
//! ```text
//! append -> tail (memory) -> commit: journal, one write and one sync for all logs -> Durable
//!                 |                   \ whole blocks of a log with much pending go straight to
//!                 |                     its segment in the same commit
//!                 `-> write jobs: whole blocks to segments, in large pieces, later
//! checkpoint: sync segments, repeat unfinished blocks in the journal, free journal chunks
//! read: from the tail, else from windows that read jobs fill
//! ```
//!
//! [`Store`] is a pure state machine: what takes long leaves it as values ([`Commit`] for the
//! committer, [`Job`] for the back, [`Lookup`] for the opener) and comes back as values; what others must know comes out as
//! [`StoreEvent`]s. Files: [`store`] the logs and appends; `commits`, `commit`, `journal`, `ring`
//! group commit and its space; `background`, `jobs` the work of the back; `checkpoint`; `read`,
//! `lookup`, `lookups`, `windows` reads; `retention`; `open`, `replay`, `missing`, `load` recovery; `close` the clean
//! stop; `room` a full file system; `scrub` what nobody reads; `fence` the mark of a damaged log; `laid` large batches; `log`, `segment`, `tail`, `index`, `progress`, `cache` the
//! parts of a log.
//!
//! Invariants:
//! - S1. A batch is reported durable only after a sync that covers it has returned.
//! - S2. A failed write or sync is never tried again: the log is fenced, or the store fails. What
//!   the journal has of it stays there, and a restart writes it anew. A write that found no room (`room`)
//!   is: its file system refused it, and lost nothing.
//! - S3. What was durable is never cut: damage to it fences the log and is named, and what lies
//!   before it is served.
//! - S4. A journal chunk is used again only when nothing in it is needed for recovery.
//!
//! Deliberately absent: compaction, transactions' index, truncation by followers.
//! Tests: in each file; crashes and faults in `tests/sim`; real files in `tests/sim/files.rs`.

mod background;
mod cache;
mod checkpoint;
mod close;
mod commit;
mod commits;
pub mod config;
pub mod error;
mod fence;
mod files;
#[cfg(test)]
mod fuzz;
mod index;
mod jobs;
mod journal;
mod laid;
mod load;
mod log;
mod lookup;
mod lookups;
mod missing;
mod open;
mod progress;
mod read;
mod removals;
mod replay;
mod retention;
mod ring;
mod room;
mod scan;
mod scrub;
mod segment;
pub mod store;
mod stray;
mod tail;
mod windows;

use std::sync::Arc;

pub use commit::{Commit, CommitDone};
pub use config::{LogConfig, StoreConfig};
pub use error::{CommitFault, Response, StorageError};
pub use jobs::{Job, JobDone};
pub use laid::Laid;
pub use log::{Append, Appended, Log};
pub use lookup::{Find, Found};
pub use lookups::{Lookup, LookupDone};
pub use read::{Batches, Read};
pub use store::{Metrics, Store};

use crate::base::Offset;

/// A log of one store. Never used again for another log while the store is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u32);

/// What the shard has to know.
#[derive(Debug, Clone)]
pub enum StoreEvent {
    /// Records below `end` survive a crash from now on.
    Durable {
        /// The log.
        log: LogId,
        /// Exclusive.
        end: Offset,
    },
    /// A read or lookup that was pending is worth asking again.
    Readable {
        /// The log.
        log: LogId,
    },
    /// A log is fenced, or (`None`) the journal failed and with it the node.
    Failed {
        /// The log.
        log: Option<LogId>,
        /// Why.
        error: Arc<StorageError>,
    },
    /// Records below `start` are gone, durably.
    LogStartMoved {
        /// The log.
        log: LogId,
        /// Oldest offset that is left.
        start: Offset,
    },
}
