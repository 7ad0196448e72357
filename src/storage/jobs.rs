//! Work for the back: what a store wants done that takes long, as values.
//!
//! A job holds all that it needs (views of tails keep their memory alive) and says in its result
//! what was done; it decides nothing. The order of jobs of one log is the store's business.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::LogId;
use super::error::{Fault, StorageError};
use super::fence::Fence;
use super::files::{self, Make};
use super::index::{Index, Tail};
use super::scan::{self, Expect};
use super::scrub::{Reached, ScrubWork};
use super::segment::{Kind, file_path};
use super::tail::block_floor;
use crate::base::{AlignedBuf, BLOCK_BYTES, Offset, TopicId};
use crate::partition::producers::Producers;
use crate::runtime::disk::{Access, BackJob, Disk, DiskFile, ReadSpec};
use crate::wire::batch::{BatchError, BatchHeader};

/// Most that is written at a time. A device serves its queue in order and a commit may stand behind this.
const SLICE_BYTES: usize = 256 << 10;

/// A piece of work, and whose it is.
pub struct Job {
    pub(super) log: Option<LogId>,
    pub(super) work: Work,
}

/// What came of a [`Job`].
pub struct JobDone {
    pub(super) log: Option<LogId>,
    pub(super) done: Done,
}

/// The kinds of work.
pub(super) enum Work {
    Read(ReadWork),
    Scrub(ScrubWork),
    LoadIndex(IndexWork),
    Write(Box<WriteWork>),
    /// Files that are needed no more.
    Remove(Vec<PathBuf>),
    /// The directory of a deleted log.
    RemoveLog(PathBuf),
    /// Marks the log in a directory as damaged.
    Fence(PathBuf, TopicId, Fence),
    MakeChunk(PathBuf, u64),
    Checkpoint(Box<CheckpointWork>),
}

/// The kinds of results.
pub(super) enum Done {
    Read(ReadWork, Result<ReadEnd, StorageError>),
    Scrubbed(ScrubWork, Result<Option<Reached>, StorageError>),
    Index(IndexWork, Result<Loaded, StorageError>),
    Write(Box<WriteWork>, Result<Arc<dyn DiskFile>, StorageError>),
    Removed(Result<(), StorageError>),
    LogRemoved(PathBuf, Result<(), StorageError>),
    Fenced(Result<(), StorageError>),
    Chunk(Result<Arc<dyn DiskFile>, StorageError>),
    Checkpoint(u64, Result<(), StorageError>),
}

/// Reads a window of old batches.
pub(super) struct ReadWork {
    pub(super) path: PathBuf,
    pub(super) segment: Offset,
    /// Byte of the first batch.
    pub(super) from: u64,
    /// Bytes from there on that the read before this one has brought; they end at a block.
    pub(super) head: Bytes,
    /// Bytes wanted after those.
    pub(super) len: usize,
    /// Bytes of the file that may be read.
    pub(super) limit: u64,
    /// Which one the first batch is.
    pub(super) first: Expect,
    /// The batches follow each other without a gap.
    pub(super) dense: bool,
}

/// What a read found.
pub(super) enum ReadEnd {
    /// Whole batches from `first` up to `next`, and what was read of the one after them, up to a block.
    Batches { first: Offset, next: Offset, bytes: Bytes, rest: Bytes },
    /// The first batch has this many bytes more than these.
    Longer { head: Bytes, len: usize },
}

impl ReadWork {
    fn spec(&self) -> ReadSpec {
        let known = self.from + self.head.len() as u64;
        let (at, upto) = (block_floor(known), (known + self.len as u64).min(self.limit));
        let len = ((upto - at) as usize).next_multiple_of(BLOCK_BYTES);
        ReadSpec { path: self.path.clone(), at, len, head: self.head.clone() }
    }

    /// The whole, good batches of what was read. Damage counts only where a read begins: behind
    /// good batches it ends the window, and is found by the read that begins there.
    fn verify(&self, read: io::Result<Bytes>) -> Result<ReadEnd, StorageError> {
        let read = read.map_err(StorageError::disk("reading", &self.path))?;
        let spec = self.spec();
        let start = spec.at - spec.head.len() as u64;
        let upto = (self.limit - start).min((spec.head.len() + spec.len) as u64) as usize;
        let batches = read.slice((self.from - start) as usize..upto.min(read.len()));
        let (mut end, mut first, mut next) = (0, None, self.segment);
        let fault = loop {
            let checked = match BatchHeader::parse_whole(&batches[end..]) {
                Ok((header, batch)) => {
                    let expect =
                        if first.is_none() { self.first } else { scan::after(next, self.dense) };
                    scan::check(&header, batch, expect).map(|()| header)
                }
                Err(e) => Err(e.into()),
            };
            match checked {
                Ok(header) => {
                    first = first.or(Some(header.base_offset));
                    next = header.next_offset();
                    end += header.size_bytes;
                }
                Err(fault) => break fault,
            }
        };
        let need = match fault {
            Fault::Batch(BatchError::Short { need, .. }) if read.len() >= upto => Some(need),
            _ => None,
        };
        let blocks_end = block_floor(self.from + batches.len() as u64);
        let blocks_end = blocks_end.saturating_sub(self.from) as usize;
        let is_cut = need.is_some() && blocks_end > end;
        let rest = if is_cut { batches.slice(end..blocks_end) } else { Bytes::new() };
        match (first, need) {
            (Some(first), _) => {
                Ok(ReadEnd::Batches { first, next, bytes: batches.slice(..end), rest })
            }
            (None, Some(need)) if self.from + need as u64 <= self.limit => {
                Ok(ReadEnd::Longer { len: need - rest.len(), head: rest })
            }
            _ => {
                let (file, at) = (self.path.clone(), self.from);
                Err(StorageError::Corrupt { file, at, offset: next, fault })
            }
        }
    }
}

/// Loads the indexes of a segment, or makes them anew.
pub(super) struct IndexWork {
    pub(super) dir: PathBuf,
    pub(super) segment: Offset,
    /// Bytes of it; all of it when it is sealed.
    pub(super) size: u64,
    pub(super) sealed: bool,
    pub(super) interval_bytes: u32,
    /// A read found no batch at this byte: the index is wrong, or the segment damaged.
    pub(super) examine: Option<u64>,
    /// Base of the next segment, where this one has to end.
    pub(super) next: Option<Offset>,
    /// The batches follow each other without a gap.
    pub(super) dense: bool,
}

/// Indexes of the good bytes of a segment.
pub(super) struct Loaded {
    pub(super) index: Index,
    /// Bytes that they cover.
    pub(super) upto: u64,
    /// What follows those, when that is not the end.
    pub(super) damage: Option<StorageError>,
}

impl IndexWork {
    /// The indexes as they lie in their files.
    pub(super) fn load(&self, disk: &dyn Disk) -> Result<Option<Index>, StorageError> {
        let offsets = files::read(disk, &file_path(&self.dir, self.segment, Kind::Index))?;
        let times = files::read(disk, &file_path(&self.dir, self.segment, Kind::TimeIndex))?;
        let (Some(offsets), Some(times)) = (offsets, times) else { return Ok(None) };
        Ok(Index::decode(self.segment, self.size, &offsets, &times))
    }

    /// Two reads of the segment gave different bytes.
    pub(super) fn misread(&self) -> StorageError {
        let path = file_path(&self.dir, self.segment, Kind::Log);
        let source = io::Error::other("two reads of it differ");
        StorageError::Disk { doing: "reading", path, source }
    }

    fn run(&self, disk: &dyn Disk) -> Result<Loaded, StorageError> {
        if self.examine.is_none()
            && let Some(index) = self.load(disk)?
            && (index.max_timestamp().is_some() || self.size == 0)
        {
            return Ok(Loaded { index, upto: self.size, damage: None });
        }
        let path = file_path(&self.dir, self.segment, Kind::Log);
        let file =
            disk.open(&path, Access::ReadOnly).map_err(StorageError::disk("opening", &path))?;
        let mut index = Index::new(self.segment);
        let first = (scan::after(self.segment, self.dense), self.dense);
        let end = scan::scan(&*file, &path, (0, self.size), first, |header, at| {
            index.on_append(header, at, self.interval_bytes);
        })?;
        let (upto, offset) = (end.at, end.next);
        let gap = self.next.filter(|next| *next > offset).map(|next| Fault::Gap { next });
        let fault = end.fault.or(gap.filter(|_| self.examine.is_some()));
        // The last batch of a segment that is written to is cut where its file ends.
        let counts = self.sealed || self.examine.is_some_and(|from| upto <= from);
        let damage = fault.filter(|_| counts);
        let damage =
            damage.map(|fault| StorageError::Corrupt { file: path, at: upto, offset, fault });
        if self.sealed && damage.is_none() {
            index.seal();
            write_index(disk, &self.dir, self.segment, &index)?;
        }
        Ok(Loaded { index, upto, damage })
    }
}

/// Writes both index files of a segment that takes no more appends.
pub(super) fn write_index(
    disk: &dyn Disk,
    dir: &Path,
    segment: Offset,
    index: &Index,
) -> Result<(), StorageError> {
    let [offsets, times] = index.encode();
    files::write(disk, &file_path(dir, segment, Kind::Index), &offsets)?;
    files::write(disk, &file_path(dir, segment, Kind::TimeIndex), &times)
}

/// Writes blocks of a segment, and what belongs to it.
pub(super) struct WriteWork {
    pub(super) dir: PathBuf,
    /// The directory has to be made first.
    pub(super) make: Option<Make>,
    pub(super) segment: Offset,
    pub(super) file: Option<Arc<dyn DiskFile>>,
    /// Byte of the segment and bytes; all but the last are whole blocks.
    pub(super) pieces: Vec<(u64, Bytes)>,
    /// Positions that the pieces cover, and the last batch end in them.
    pub(super) from: u64,
    pub(super) upto: u64,
    pub(super) boundary: Offset,
    /// The file is synced, and then everything below this position and offset is.
    pub(super) sync: Option<(u64, Offset)>,
    pub(super) seal: Option<Seal>,
    /// What to append to the index files.
    pub(super) index_tail: Option<Tail>,
    /// Content of the leader epoch checkpoint.
    pub(super) epochs: Option<String>,
    /// Producer snapshot to write, by offset.
    pub(super) snapshot: Option<(Offset, Producers)>,
    /// Producer snapshots that newer ones replace.
    pub(super) stale_snapshots: Vec<Offset>,
}

/// What completes a segment.
pub(super) struct Seal {
    pub(super) size: u64,
    pub(super) index: Arc<Index>,
    /// Base of the next segment, with the producers there.
    pub(super) next: Offset,
    pub(super) snapshot: Option<Producers>,
}

impl WriteWork {
    pub(super) fn run(&self, disk: &dyn Disk) -> Result<Arc<dyn DiskFile>, StorageError> {
        if let Some(make) = &self.make {
            make.run(disk, &self.dir)?;
        }
        let path = file_path(&self.dir, self.segment, Kind::Log);
        let file = if let Some(file) = &self.file {
            Arc::clone(file)
        } else {
            let file =
                disk.open(&path, Access::Direct).map_err(StorageError::disk("opening", &path))?;
            files::sync_dir(disk, &self.dir)?;
            file
        };
        for (at, bytes) in &self.pieces {
            write_blocks(&*file, *at, bytes).map_err(StorageError::disk("writing", &path))?;
        }
        if let Some(seal) = &self.seal {
            file.set_size(seal.size).map_err(StorageError::disk("cutting", &path))?;
        }
        if self.sync.is_some() || self.seal.is_some() {
            file.sync().map_err(StorageError::disk("syncing", &path))?;
        }
        self.write_companions(disk)?;
        Ok(file)
    }

    fn write_companions(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        if let Some(tail) = &self.index_tail {
            for ((at, bytes), kind) in tail.encode().into_iter().zip([Kind::Index, Kind::TimeIndex])
            {
                let path = file_path(&self.dir, self.segment, kind);
                let file = disk.open(&path, Access::Buffered);
                file.and_then(|f| f.set_size(at).and_then(|()| f.write_at(&bytes, at)))
                    .map_err(StorageError::disk("writing", &path))?;
            }
        }
        if let Some(seal) = &self.seal {
            write_index(disk, &self.dir, self.segment, &seal.index)?;
            if let Some(producers) = &seal.snapshot {
                write_snapshot(disk, &self.dir, seal.next, producers)?;
            }
        }
        if let Some((offset, producers)) = &self.snapshot {
            write_snapshot(disk, &self.dir, *offset, producers)?;
        }
        if let Some(text) = &self.epochs {
            files::replace(disk, &self.dir.join(files::EPOCHS), text.as_bytes())?;
        }
        for &offset in &self.stale_snapshots {
            let path = file_path(&self.dir, offset, Kind::Snapshot);
            disk.remove_file(&path).map_err(StorageError::disk("removing", &path))?;
        }
        let named = self.seal.is_some() || self.snapshot.is_some() || self.epochs.is_some();
        if named { files::sync_dir(disk, &self.dir) } else { Ok(()) }
    }

    /// Gives back what only the job needs: there may be very many producers, too many for a turn.
    fn let_go(&mut self) {
        (self.snapshot, self.index_tail) = (None, None);
        if let Some(seal) = &mut self.seal {
            seal.snapshot = None;
        }
    }
}

fn write_snapshot(
    disk: &dyn Disk,
    dir: &Path,
    offset: Offset,
    producers: &Producers,
) -> Result<(), StorageError> {
    files::write(disk, &file_path(dir, offset, Kind::Snapshot), &producers.snapshot())
}

/// Writes whole blocks as they lie, and an unfinished one padded with zeros.
pub(super) fn write_blocks(file: &dyn DiskFile, at: u64, bytes: &[u8]) -> io::Result<()> {
    let (whole, rest) = bytes.split_at(bytes.len() / BLOCK_BYTES * BLOCK_BYTES);
    for (slice, from) in whole.chunks(SLICE_BYTES).zip((at..).step_by(SLICE_BYTES)) {
        file.write_at(slice, from)?;
    }
    if rest.is_empty() {
        return Ok(());
    }
    let mut block = AlignedBuf::zeroed(BLOCK_BYTES);
    block[..rest.len()].copy_from_slice(rest);
    file.write_at(&block, at + whole.len() as u64)
}

/// The checkpoints of the node directory; with them on disk, journal chunks are free.
pub(super) struct CheckpointWork {
    pub(super) dir: PathBuf,
    pub(super) logs: Vec<LogLine>,
    pub(super) generation: u64,
    /// Oldest commit that counts from then on.
    pub(super) first_sequence: u64,
    /// Newest chunk that is free then.
    pub(super) upto: u64,
}

/// Per log: topic, partition, then recovery point, log start and high watermark.
pub(super) type LogLine = (Arc<str>, i32, [Offset; 3]);

impl CheckpointWork {
    pub(super) fn run(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        write_checkpoints(disk, &self.dir, &self.logs)?;
        write_generation(disk, &self.dir, self.generation, self.first_sequence)
    }
}

/// Writes the three checkpoint files of a node, durably.
pub(super) fn write_checkpoints(
    disk: &dyn Disk,
    dir: &Path,
    logs: &[LogLine],
) -> Result<(), StorageError> {
    let names = [files::RECOVERY_POINT, files::LOG_START, files::HIGH_WATERMARK];
    for (i, name) in names.into_iter().enumerate() {
        let lines: Vec<_> = logs.iter().map(|(t, p, o)| (t, *p, o[i])).collect();
        let text = files::offsets_text(&lines);
        files::replace(disk, &dir.join(name), text.as_bytes())?;
    }
    files::sync_dir(disk, dir)
}

/// Makes `journal/generation` say which commits count.
pub(super) fn write_generation(
    disk: &dyn Disk,
    dir: &Path,
    generation: u64,
    first_sequence: u64,
) -> Result<(), StorageError> {
    let journal = dir.join(files::JOURNAL);
    let text = files::generation_text(generation, first_sequence);
    files::replace(disk, &journal.join(files::GENERATION), text.as_bytes())?;
    files::sync_dir(disk, &journal)
}

/// Makes a journal chunk that reads as zeros; its blocks are found when it is written to.
pub(super) fn reserve_chunk(
    disk: &dyn Disk,
    path: &Path,
    bytes: u64,
) -> Result<Arc<dyn DiskFile>, StorageError> {
    new_chunk(disk, path, |file| file.set_size(bytes))
}

/// Makes a journal chunk of zeros that are written: a commit costs least there. One for which there is
/// no room takes none.
fn make_chunk(disk: &dyn Disk, path: &Path, bytes: u64) -> Result<Arc<dyn DiskFile>, StorageError> {
    new_chunk(disk, path, |file| {
        let zeros = AlignedBuf::zeroed(SLICE_BYTES);
        let mut writes = (0..bytes).step_by(SLICE_BYTES).map(|at| {
            let len = (bytes - at).min(zeros.len() as u64) as usize;
            file.write_at(&zeros[..len], at)
        });
        writes.try_for_each(|written| written).inspect_err(|_| _ = file.set_size(0))
    })
}

fn new_chunk(
    disk: &dyn Disk,
    path: &Path,
    fill: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
) -> Result<Arc<dyn DiskFile>, StorageError> {
    let file = disk.open(path, Access::Direct);
    let made = file.and_then(|file| fill(&*file).and_then(|()| file.sync()).map(|()| file));
    let file = made.map_err(StorageError::disk("making", path))?;
    path.parent().map_or(Ok(()), |dir| files::sync_dir(disk, dir))?;
    Ok(file)
}

impl BackJob for Job {
    type Done = JobDone;

    fn as_read(&self) -> Option<ReadSpec> {
        match &self.work {
            Work::Read(read) => Some(read.spec()),
            Work::Scrub(scrub) => Some(scrub.spec()),
            _ => None,
        }
    }

    fn finish_read(self, read: io::Result<Bytes>) -> JobDone {
        let log = self.log;
        match self.work {
            Work::Read(work) => {
                let end = work.verify(read);
                JobDone { log, done: Done::Read(work, end) }
            }
            Work::Scrub(work) => {
                let good = work.verify(read);
                JobDone { log, done: Done::Scrubbed(work, good) }
            }
            _ => JobDone { log, done: Done::Removed(Ok(())) },
        }
    }

    fn run(self, disk: &dyn Disk) -> JobDone {
        let log = self.log;
        let done = match self.work {
            Work::Read(work) => {
                let end = work.verify(read_spec(disk, &work.spec()));
                Done::Read(work, end)
            }
            Work::Scrub(work) => {
                let good = work.verify(read_spec(disk, &work.spec()));
                Done::Scrubbed(work, good)
            }
            Work::LoadIndex(work) => {
                let index = work.run(disk);
                Done::Index(work, index)
            }
            Work::Write(mut work) => {
                let file = work.run(disk);
                if !file.as_ref().is_err_and(StorageError::is_want_of_room) {
                    work.let_go();
                }
                Done::Write(work, file)
            }
            Work::Remove(paths) => Done::Removed(remove(disk, &paths)),
            Work::RemoveLog(dir) => {
                let removed = remove_log(disk, &dir);
                Done::LogRemoved(dir, removed)
            }
            Work::Fence(dir, topic, fence) => {
                Done::Fenced(Make::of(topic).run(disk, &dir).and_then(|()| fence.write(disk, &dir)))
            }
            Work::MakeChunk(path, bytes) => Done::Chunk(make_chunk(disk, &path, bytes)),
            Work::Checkpoint(work) => Done::Checkpoint(work.upto, work.run(disk)),
        };
        JobDone { log, done }
    }
}

fn read_spec(disk: &dyn Disk, spec: &ReadSpec) -> io::Result<Bytes> {
    let file = disk.open(&spec.path, Access::ReadOnly)?;
    let mut buf = AlignedBuf::zeroed(spec.len);
    let len = file.read_at(&mut buf, spec.at)?;
    Ok(spec.answer(&buf[..len]))
}

fn remove(disk: &dyn Disk, paths: &[PathBuf]) -> Result<(), StorageError> {
    for path in paths {
        disk.remove_file(path).map_err(StorageError::disk("removing", path))?;
    }
    Ok(())
}

fn remove_log(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    files::remove_log(disk, dir)?;
    dir.parent().map_or(Ok(()), |node| files::sync_dir(disk, node))
}
