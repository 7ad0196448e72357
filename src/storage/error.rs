//! Everything that can go wrong below a partition, sorted by what the caller must do.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::Offset;
use crate::wire::batch::BatchError;

/// A failed storage operation. No variant carries a Kafka error code: `api` maps them.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The batch does not fit into a segment. Nothing was written.
    #[error("a batch of {size_bytes} B is over segment.bytes, {limit_bytes} B")]
    BatchTooLarge {
        /// Encoded size, header included.
        size_bytes: usize,
        /// `segment.bytes` of the topic.
        limit_bytes: u64,
    },
    /// The offset was never written, or is deleted already.
    #[error("offset {asked} is outside {first}..={next}")]
    OffsetOutOfRange {
        /// Offset the caller asked for.
        asked: Offset,
        /// Log start offset.
        first: Offset,
        /// Offset that the next append will get.
        next: Offset,
    },
    /// The log was deleted while the caller still knew its id.
    #[error("the log is deleted")]
    Deleted,
    /// The log failed before: it takes no appends, and what lies behind damage is not served.
    #[error("{dir} is fenced since {reason}")]
    Fenced {
        /// Directory of the log.
        dir: String,
        /// What was found then.
        reason: String,
    },
    /// Bytes that were durable are not what was written. The log is fenced.
    #[error("{file} is damaged at byte {at}, offset {offset}: {fault}")]
    Corrupt {
        /// The segment.
        file: PathBuf,
        /// First byte of the bad batch.
        at: u64,
        /// Offset that is expected there.
        offset: Offset,
        /// What is wrong, with both checksums.
        fault: Fault,
    },
    /// The disk refused. Never tried again, but for want of room: after a failed sync the content is unknown.
    #[error("{doing} {path} failed: {source}")]
    Disk {
        /// Such as "writing".
        doing: &'static str,
        /// File or directory.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// Acknowledged commits are missing from the journal: restore the directory from a backup, or
    /// remove `journal` to go on with what the segments hold, and lose the rest.
    #[error(
        "{file} is damaged at byte {at}: commit {missing} {fault}, and commit {newest} is there; \
         acknowledged records are lost"
    )]
    JournalDamaged {
        /// The chunk of the journal.
        file: PathBuf,
        /// Byte where the commit begins, or has to begin.
        at: u64,
        /// First sequence that is missing.
        missing: u64,
        /// What is wrong there.
        fault: CommitFault,
        /// Newest sequence found.
        newest: u64,
    },
    /// A small file that storage keeps is not readable: restore it from a backup.
    #[error("{file} is not valid: {what}")]
    BadFile {
        /// The file.
        file: PathBuf,
        /// Line or field.
        what: String,
    },
    /// The journal is full of what the segments of a fenced log do not take.
    #[error("the journal is full: it has to keep what could not be written to {dir}")]
    JournalHeld {
        /// Directory of the log.
        dir: PathBuf,
    },
    /// Two settings do not go together.
    #[error("{what} is {actual} but has to be at least {limit}")]
    Config {
        /// Name of the setting.
        what: &'static str,
        /// As set.
        actual: u64,
        /// Smallest value that works.
        limit: u64,
    },
    /// The journal failed: the node takes no more writes. Stop the process and look at the disk.
    #[error("the journal failed; nothing can be written until a restart")]
    JournalFailed,
}

/// Why bytes in a log are not the batch that belongs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not a batch, or its checksum differs.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Format versions 0 and 1 are not stored since Kafka 4.0.
    #[error("format version {0} where 2 is stored")]
    Magic(i8),
    /// The offset does not follow the batch before.
    #[error("base offset {found} where {expected} belongs")]
    Offset {
        /// Follows from the batch before.
        expected: Offset,
        /// In the batch.
        found: Offset,
    },
    /// The file ends before what was made durable.
    #[error("the file ends here but was durable up to byte {durable}")]
    Ends {
        /// Where it should end at least.
        durable: u64,
    },
    /// A segment ends and the next one does not follow.
    #[error("the next segment begins at offset {next}")]
    Gap {
        /// Base offset of the next segment.
        next: Offset,
    },
}

/// Why bytes in the journal are not the commit that belongs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitFault {
    /// Its bytes are not those that were written.
    #[error("has checksum {computed:#010x} where {stored:#010x} is stored")]
    Checksum {
        /// In its header.
        stored: u32,
        /// Of its bytes.
        computed: u32,
    },
    /// It cannot have the length that its header says.
    #[error("says that it has {length} B, of {left} B that are left")]
    Length {
        /// In its header.
        length: u32,
        /// Bytes of the chunk from there on.
        left: usize,
    },
    /// Nothing begins as a commit does.
    #[error("does not begin there")]
    Absent,
}

/// What the caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// The request was wrong; answer it and go on.
    Reject,
    /// This replica is damaged; drop leadership and rebuild it from a peer.
    Fence,
    /// The node cannot keep its promises; stop the process.
    Crash,
}

impl StorageError {
    /// Sorts the error. Exhaustive on purpose: a new variant does not compile until it is placed.
    pub fn response(&self) -> Response {
        match self {
            Self::BatchTooLarge { .. } | Self::OffsetOutOfRange { .. } | Self::Deleted => {
                Response::Reject
            }
            Self::Fenced { .. } | Self::Corrupt { .. } | Self::Disk { .. } => Response::Fence,
            Self::JournalDamaged { .. }
            | Self::BadFile { .. }
            | Self::Config { .. }
            | Self::JournalHeld { .. }
            | Self::JournalFailed => Response::Crash,
        }
    }

    /// What to do about it, for whoever reads the server's log.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::BatchTooLarge { .. } | Self::OffsetOutOfRange { .. } | Self::Deleted => {
                "nothing: the client is told"
            }
            Self::Fenced { .. } | Self::Corrupt { .. } => {
                "records before the damage are served; restore the directory from a backup, remove \
                 the file `fenced` in it and restart, or delete the topic"
            }
            Self::Disk { source, .. } if is_full(source) => {
                "free space on that file system, then restart: nothing acknowledged is lost"
            }
            Self::Disk { .. } | Self::JournalHeld { .. } | Self::JournalFailed => {
                "repair the disk, then restart: nothing acknowledged is lost while it can be read"
            }
            Self::JournalDamaged { .. } => {
                "restore the node's directory from a backup; or remove `journal` in it to go on \
                 with what the segments hold, and lose the rest"
            }
            Self::BadFile { .. } => "restore the file from a backup",
            Self::Config { .. } => "change the setting",
        }
    }

    /// Whether it may be tried again once the file system has room: not a sync.
    pub(super) fn is_want_of_room(&self) -> bool {
        matches!(self, Self::Disk { source, doing, .. } if is_full(source) && *doing != "syncing")
    }

    /// For `map_err`: the disk refused `doing` to `path`.
    pub(super) fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { doing, path: path.to_owned(), source }
    }
}

fn is_full(e: &io::Error) -> bool {
    [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&e.kind())
}
