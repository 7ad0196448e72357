//! Files, behind the narrow interface that all storage code runs on.
//!
//! Every call blocks, so it is made where blocking is allowed: before the first turn, on the
//! committer, on the back. `sim::disk` is the other implementation: seeded, with faults.
//!
//! Contract of a write: until a sync of the file has returned, any part of it may or may not be
//! there after a crash, in any order. After a failed write or sync the content is unknown, and no later
//! sync of that open file succeeds: the kernel tells of lost writes once, whoever asks ([`Syncs`]).

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Past the page cache where the file system can: addresses, positions and lengths of reads
    /// and writes are multiples of [`crate::base::BLOCK_BYTES`]. Created when missing.
    Direct,
    /// Through the page cache, any position and length. Created when missing.
    Buffered,
    /// Through the page cache, reading only; must exist.
    ReadOnly,
}

/// A file system as far as storage needs one. Errors are what the file system said.
#[allow(clippy::missing_errors_doc, reason = "said once, above")]
pub trait Disk: Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;
    /// Names in a directory, sorted; a directory that is not there has none.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory and its parents.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Renames a file or directory, replacing a file that has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; one that is not there is no error.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all in it; one that is not there is no error.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Threads that it takes to keep it busy with calls that wait for it.
    fn threads(&self) -> usize;
}

/// An open file. Errors are what the file system said.
#[allow(clippy::missing_errors_doc, reason = "said once, above")]
pub trait DiskFile: Send + Sync {
    /// Size in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Reads up to `buf.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes all of `buf`.
    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<()>;
    /// Makes data and size durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
    /// Cuts or extends (with zeros).
    fn set_size(&self, size: u64) -> io::Result<()>;
}

/// The syncs of an open file that several threads use: one at a time, up to the first that fails.
///
/// The back and the committer write and sync the same segment. Were the failure told to the back alone, a
/// sync of the committer just after it would say that all is well, also of what is lost.
#[allow(clippy::disallowed_types, reason = "the kernel's state of a file, which threads share")]
#[derive(Debug, Default)]
pub struct Syncs(std::sync::Mutex<bool>);

impl Syncs {
    /// Runs `sync` if none has failed.
    ///
    /// # Errors
    /// That of `sync`; or that one has failed before.
    pub fn run(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut failed = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *failed {
            return Err(io::Error::other("a sync of it failed before"));
        }
        let synced = sync();
        *failed = synced.is_err();
        synced
    }
}

/// A read that the back may run on its own ring instead of by [`DiskFile::read_at`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadSpec {
    /// The file.
    pub path: std::path::PathBuf,
    /// First byte, a multiple of a block.
    pub at: u64,
    /// Bytes, a multiple of a block; the answer is shorter at the end of the file.
    pub len: usize,
    /// Bytes that are known and come before those that are read.
    pub head: Bytes,
}

impl ReadSpec {
    /// The answer: the known bytes and what was read.
    pub fn answer(&self, read: &[u8]) -> Bytes {
        let mut bytes = Vec::with_capacity(self.head.len() + read.len());
        bytes.extend_from_slice(&self.head);
        bytes.extend_from_slice(read);
        bytes.into()
    }
}

/// Work for the back: a plain value that blocks while it runs.
pub trait BackJob: Send + Sized + 'static {
    /// What comes back to the shard.
    type Done: Send + 'static;
    /// `Some` when the job is one direct read; the back then calls [`Self::finish_read`] with the
    /// answer, else [`Self::run`].
    fn as_read(&self) -> Option<ReadSpec>;
    /// Turns the answer to [`Self::as_read`] into the result.
    fn finish_read(self, read: io::Result<Bytes>) -> Self::Done;
    /// Does the work.
    fn run(self, disk: &dyn Disk) -> Self::Done;
}

/// Work for a servant, such as the committer's write and sync: one at a time, in the order given.
pub trait ServantJob: Send + Sized + 'static {
    /// What comes back to the shard.
    type Done: Send + 'static;
    /// Does the work.
    fn run(self) -> Self::Done;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_fails_is_the_last_that_may_succeed() {
        let syncs = Syncs::default();
        assert!(syncs.run(|| Ok(())).is_ok());
        let full = syncs.run(|| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert!(syncs.run(|| Ok(())).is_err());
    }
}
