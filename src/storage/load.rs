//! Recovery, second half: opening one log from its directory.
//!
//! Every batch from the recovery point on is checked; after a clean stop that is the log's end, so
//! only the end of the newest segment is looked at. After any other stop the journal has been
//! replayed into the files. A batch is checked for
//! size, checksum, offset. The first bad batch beyond what was durable is where the log ends; one
//! below is damage: the log is fenced, and served up to there. Indexes, leader epochs and producers
//! are made anew from where the scan begins. Segments below the recovery point are trusted unread, as in Kafka.
//!
//! Invariant O1: a log that is not fenced ends at or after everything that was durable.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{Fault, StorageError};
use super::fence::Fence;
use super::files;
use super::index::Index;
use super::jobs::{self, IndexWork};
use super::log::Log;
use super::progress::Progress;
use super::replay::Facts;
use super::scan::{self, Expect, ScanEnd};
use super::segment::{Kind, Segment, file_path, parse_name};
use super::tail::block_floor;
use crate::base::{Offset, TopicPartition, WallMs};
use crate::partition::epochs::Epochs;
use crate::partition::producers::Producers;
use crate::runtime::disk::{Access, Disk, DiskFile};
use crate::wire::batch::{BatchHeader, HEADER_BYTES};

/// The index interval of segments that are scanned; the topic's is not known yet.
const INTERVAL_BYTES: u32 = 4096;

const REWRITE_BYTES: usize = 256 << 10;

/// What is known of a log before its directory is looked at.
pub(super) struct Known<'a> {
    pub(super) tp: TopicPartition,
    pub(super) topic: &'a str,
    pub(super) dir: &'a Path,
    /// From the checkpoint; `None` for a directory that was put there by hand.
    pub(super) recovery_point: Option<Offset>,
    /// From the checkpoint.
    pub(super) log_start: Option<Offset>,
    pub(super) facts: Facts,
    pub(super) wall: WallMs,
}

/// A log directory being opened.
struct Loader<'a> {
    disk: &'a dyn Disk,
    known: &'a Known<'a>,
    log_start: Offset,
    bases: Vec<Offset>,
    snapshots: Vec<Offset>,
    segments: Vec<Segment>,
    epochs: Epochs,
    producers: Producers,
    /// Offset from which producers are not in the snapshot.
    producers_from: Offset,
    end: Offset,
    /// First segment that was scanned, by index.
    scanned: usize,
    /// A file was cut or removed.
    changed: bool,
    /// Batches have to follow each other without a gap.
    dense: bool,
    /// They do not.
    gaps: bool,
    /// Byte of each scanned segment that batches below the recovery point end at.
    settled: Vec<u64>,
}

/// Opens a log. Damage, and bytes that the disk does not give, come back as a log that has failed,
/// with the reason.
pub(super) fn load(
    disk: &dyn Disk,
    known: &Known<'_>,
) -> Result<(Log, Option<StorageError>), StorageError> {
    let start = known.log_start.max(known.facts.start.map(|(offset, _)| offset));
    let (topic, dir) = (known.topic.into(), known.dir.to_owned());
    let mut log = Log::empty(known.tp, topic, dir, start.unwrap_or_default(), known.wall);
    log.disk.made = true;
    if let Some(fence) = Fence::read(disk, known.dir)? {
        let error = fence.error(known.dir);
        return Loader::new(disk, known, start)?.damaged(log, &fence, error);
    }
    let mut loader = Loader::new(disk, known, start)?;
    match loader.run(start.is_some() || known.facts.created) {
        Ok(()) => loader.finish(log).map(|log| (log, None)),
        Err(error @ StorageError::Disk { doing: "reading", .. }) => {
            loader.sync_touched()?;
            log.failed = true;
            log.progress.recovery_point = known.recovery_point.unwrap_or_default();
            Ok((log, Some(error)))
        }
        Err(error) => match Fence::of(&error) {
            Some(fence) => {
                fence.write(disk, known.dir)?;
                Loader::new(disk, known, start)?.damaged(log, &fence, error)
            }
            None => Err(error),
        },
    }
}

impl<'a> Loader<'a> {
    fn new(
        disk: &'a dyn Disk,
        known: &'a Known<'a>,
        log_start: Option<Offset>,
    ) -> Result<Self, StorageError> {
        let sparse = files::read(disk, &known.dir.join(files::SPARSE))?.is_some();
        Ok(Self {
            disk,
            known,
            log_start: log_start.unwrap_or_default(),
            bases: Vec::new(),
            snapshots: Vec::new(),
            segments: Vec::new(),
            epochs: Epochs::new(),
            producers: Producers::new(),
            producers_from: Offset(0),
            end: Offset(0),
            scanned: 0,
            changed: false,
            settled: Vec::new(),
            dense: known.recovery_point.is_some() && !sparse,
            gaps: sparse,
        })
    }

    /// What the journal had is in the files, and is to stay there; some of them may be new.
    fn sync_touched(&self) -> Result<(), StorageError> {
        let (disk, dir) = (self.disk, self.known.dir);
        for &base in &self.known.facts.touched {
            self.open(base)?.sync().map_err(StorageError::disk("syncing", dir))?;
        }
        if self.known.facts.touched.is_empty() { Ok(()) } else { files::sync_dir(disk, dir) }
    }

    /// Makes a failed log of which is served what lies before the damage.
    fn damaged(
        mut self,
        mut log: Log,
        fence: &Fence,
        error: StorageError,
    ) -> Result<(Log, Option<StorageError>), StorageError> {
        self.sync_touched()?;
        self.list()?;
        self.bases.retain(|base| *base < fence.offset && *base <= fence.segment);
        self.open_segments()?;
        let reaches = self.bases.first().is_some_and(|base| *base <= self.log_start);
        let readable = if reaches { fence.offset.max(self.log_start) } else { self.log_start };
        if let Some(last) = self.segments.last_mut().filter(|s| s.base == fence.segment) {
            last.size = last.size.min(fence.at);
        }
        self.read_epochs(readable)?;
        let at = self.segments.last().map_or(0, Segment::next_at);
        log.segments = self.segments.into();
        log.segments.push_back(Segment::new(readable, at, self.known.wall));
        log.progress = Progress::settled_at(at, Offset(0));
        (log.log_end, log.durable_end, log.readable) = (readable, readable, readable);
        log.epochs = self.epochs;
        log.dense = self.dense;
        log.failed = true;
        Ok((log, Some(error)))
    }

    fn path(&self, base: Offset, kind: Kind) -> PathBuf {
        file_path(self.known.dir, base, kind)
    }

    fn open(&self, base: Offset) -> Result<Arc<dyn DiskFile>, StorageError> {
        let path = self.path(base, Kind::Log);
        self.disk.open(&path, Access::Buffered).map_err(StorageError::disk("opening", &path))
    }

    fn remove(&self, base: Offset, kinds: &[Kind]) -> Result<(), StorageError> {
        for &kind in kinds {
            let path = self.path(base, kind);
            self.disk.remove_file(&path).map_err(StorageError::disk("removing", &path))?;
        }
        Ok(())
    }

    fn run(&mut self, start_known: bool) -> Result<(), StorageError> {
        super::stray::clear(self.disk, self.known.dir)?;
        self.list()?;
        self.drop_below_start()?;
        if !start_known {
            self.log_start = self.bases.first().copied().unwrap_or_default();
        }
        self.open_segments()?;
        self.drop_unreachable()?;
        let scan_from = self.prepare()?;
        self.scan(scan_from)
    }

    fn list(&mut self) -> Result<(), StorageError> {
        let dir = self.known.dir;
        let names = self.disk.list(dir).map_err(StorageError::disk("listing", dir))?;
        let files: Vec<_> = names.iter().filter_map(|n| parse_name(n)).collect();
        let of = |kind| files.iter().filter(move |f| f.0 == kind).map(|f| f.1);
        self.bases = of(Kind::Log).collect();
        self.snapshots = of(Kind::Snapshot).collect();
        for kind in [Kind::Index, Kind::TimeIndex] {
            for base in of(kind).filter(|base| !self.bases.contains(base)) {
                self.remove(base, &[kind])?;
            }
        }
        Ok(())
    }

    /// Removes segments that lie wholly below the log start.
    fn drop_below_start(&mut self) -> Result<(), StorageError> {
        let first_segment = self.known.facts.start.map_or(Offset(0), |(_, segment)| segment);
        let below = self.bases.iter().skip(1).take_while(|next| **next <= self.log_start).count();
        let gone = below.max(self.bases.partition_point(|b| *b < first_segment));
        for base in self.bases.drain(..gone).collect::<Vec<_>>() {
            self.remove(base, &[Kind::Log, Kind::Index, Kind::TimeIndex])?;
        }
        Ok(())
    }

    /// Takes the segments over with the sizes of their files.
    fn open_segments(&mut self) -> Result<(), StorageError> {
        let mut at = 0;
        for &base in &self.bases {
            let size = self.open(base)?.size();
            let mut segment = Segment::new(base, at, self.known.wall);
            segment.size = size.map_err(StorageError::disk("opening", self.known.dir))?;
            segment.index = None;
            segment.sealed = true;
            at = segment.next_at();
            self.segments.push(segment);
        }
        Ok(())
    }

    /// Removes segments after a hole at the log start: the file of the first one was never durable.
    fn drop_unreachable(&mut self) -> Result<(), StorageError> {
        self.end = self.log_start;
        let Some(next) = self.segments.first().map(|s| s.base) else { return Ok(()) };
        if next <= self.log_start {
            return Ok(());
        }
        if self.known.facts.durable.is_some() || self.is_below_point() {
            let (file, fault) = (self.path(next, Kind::Log), Fault::Gap { next });
            return Err(StorageError::Corrupt { file, at: 0, offset: self.log_start, fault });
        }
        for gone in std::mem::take(&mut self.segments) {
            self.remove(gone.base, &[Kind::Log, Kind::Index, Kind::TimeIndex])?;
            self.changed = true;
        }
        Ok(())
    }

    /// Reads epochs and the snapshot; the offset from which batches have to be scanned.
    fn prepare(&mut self) -> Result<Offset, StorageError> {
        let first = self.segments.first().map_or(self.log_start, |s| s.base);
        self.producers_from = first;
        let point = self.known.recovery_point.unwrap_or(first);
        let mut from = first;
        for &offset in self.snapshots.iter().rev().filter(|s| **s <= point) {
            let path = self.path(offset, Kind::Snapshot);
            let Some(bytes) = files::read(self.disk, &path)? else { continue };
            match Producers::from_snapshot(&bytes) {
                Ok(producers) => {
                    self.producers = producers;
                    self.producers_from = offset;
                    from = offset.max(first);
                    break;
                }
                Err(error) => made_anew(&path, &error),
            }
        }
        let from = from.min(point);
        if from > first && !self.read_epochs(from)? {
            self.changed = true;
            return Ok(first);
        }
        Ok(from)
    }

    /// Reads the leader epochs that began before `end`; whether the file has them.
    fn read_epochs(&mut self, end: Offset) -> Result<bool, StorageError> {
        let path = self.known.dir.join(files::EPOCHS);
        let Some(bytes) = files::read(self.disk, &path)? else { return Ok(false) };
        match Epochs::from_text(&String::from_utf8_lossy(&bytes)) {
            Ok(epochs) => self.epochs = epochs,
            Err(error) => {
                made_anew(&path, &error);
                return Ok(false);
            }
        }
        self.epochs.truncate_end(end);
        Ok(true)
    }

    /// Scans from `from` on, to the first bad batch.
    fn scan(&mut self, from: Offset) -> Result<(), StorageError> {
        self.end = self.log_start;
        self.scanned = self.segments.partition_point(|s| s.base <= from).saturating_sub(1);
        let mut i = self.scanned;
        while i < self.segments.len() {
            let index = if i == self.scanned { self.trusted_index(i, from)? } else { None };
            let begin = index.as_ref().and_then(Index::last).map_or(0, |e| u64::from(e.at));
            let mut end = self.scan_segment(i, index)?;
            if end.fault.is_some() && begin > 0 && end.at == begin {
                end = self.scan_segment(i, None)?;
            }
            self.end = end.next;
            if let Some(fault) = end.fault.or_else(|| self.gap(i)) {
                self.end_at(i, end.at, fault)?;
            }
            i += 1;
        }
        self.check_end()
    }

    /// The index of segment `i` as far as it covers trusted batches.
    fn trusted_index(&self, i: usize, from: Offset) -> Result<Option<Index>, StorageError> {
        let (segment, size) = (self.segments[i].base, self.segments[i].size);
        let dir = self.known.dir.to_owned();
        let interval_bytes = INTERVAL_BYTES;
        let (sealed, examine, next, dense) = (true, None, None, self.dense);
        let work = IndexWork { dir, segment, size, sealed, interval_bytes, examine, next, dense };
        let index = work.load(self.disk)?;
        Ok(index.map(|mut index| {
            index.truncate(from, size);
            index
        }))
    }

    fn scan_segment(&mut self, i: usize, index: Option<Index>) -> Result<ScanEnd, StorageError> {
        let (base, size) = (self.segments[i].base, self.segments[i].size);
        let mut index = index.unwrap_or_else(|| Index::new(base));
        let begin = index.last().map(|e| u64::from(e.at));
        let dense = self.dense;
        let first = match index.last() {
            Some(entry) if dense => Expect::EndsWith(Offset(base.0 + i64::from(entry.relative))),
            Some(_) => Expect::AtLeast(base),
            None => scan::after(base, dense),
        };
        let file = self.open(base)?;
        let path = self.path(base, Kind::Log);
        let (mut next, gaps) = (None, &mut self.gaps);
        let (epochs, producers) = (&mut self.epochs, &mut self.producers);
        let range = (begin.unwrap_or(0), size);
        let (point, mut settled) = (self.known.recovery_point, range.0);
        let end = scan::scan(&*file, &path, range, (first, dense), |header, at| {
            index.on_append(header, at, INTERVAL_BYTES);
            *gaps |= next.is_some_and(|next| next < header.base_offset);
            next = Some(header.next_offset());
            if point.is_none_or(|point| header.base_offset < point) {
                settled = at + header.size_bytes as u64;
            }
            epochs.on_append(header.leader_epoch, header.base_offset);
            if header.has_producer() && header.base_offset >= self.producers_from {
                producers.on_append(header, None);
            }
        })?;
        self.segments[i].index = Some(Arc::new(index));
        self.settled.truncate(i - self.scanned);
        self.settled.push(settled);
        Ok(end)
    }

    /// Whether segment `i` is not followed by the next one.
    fn gap(&mut self, i: usize) -> Option<Fault> {
        let next = self.segments.get(i + 1)?.base;
        self.gaps |= next > self.end && !self.dense;
        (next < self.end || (self.dense && next > self.end)).then_some(Fault::Gap { next })
    }

    /// Segment `i` ends at byte `at`, with offset `self.end`: it is cut there, unless more of it
    /// was durable.
    fn end_at(&mut self, i: usize, at: u64, fault: Fault) -> Result<(), StorageError> {
        let base = self.segments[i].base;
        let follows = self.segments.get(i + 1).is_some_and(|next| next.base == self.end);
        let durable = self.known.facts.durable > Some((base, at)) || self.is_below_point();
        if durable && !follows {
            let (file, offset) = (self.path(base, Kind::Log), self.end);
            return Err(StorageError::Corrupt { file, at, offset, fault });
        }
        if at < self.segments[i].size {
            let cut = self.open(base)?.set_size(at);
            cut.map_err(StorageError::disk("cutting", self.known.dir))?;
            self.segments[i].size = at;
            self.changed = true;
        }
        if !follows {
            for gone in self.segments.split_off(i + 1) {
                self.remove(gone.base, &[Kind::Log, Kind::Index, Kind::TimeIndex])?;
                self.changed = true;
            }
        }
        Ok(())
    }

    /// Whether the log ends before the recovery point, records that are deleted aside.
    fn is_below_point(&self) -> bool {
        self.known.recovery_point.is_some_and(|point| self.end < point && self.log_start < point)
    }

    /// O1, and what is left of a log whose records are all deleted.
    fn check_end(&mut self) -> Result<(), StorageError> {
        let last = self.segments.last().map(|s| (s.base, s.size));
        let durable = self.known.facts.durable;
        if durable > last || self.is_below_point() {
            let (base, at) = last.unwrap_or_default();
            let fault = Fault::Ends { durable: durable.map_or(at, |(_, end)| end) };
            let (file, offset) = (self.path(base, Kind::Log), self.end);
            return Err(StorageError::Corrupt { file, at, offset, fault });
        }
        if self.end < self.log_start {
            for gone in std::mem::take(&mut self.segments) {
                self.remove(gone.base, &[Kind::Log, Kind::Index, Kind::TimeIndex])?;
                self.changed = true;
            }
            self.end = self.log_start;
        }
        Ok(())
    }

    /// Writes what recovery changed and makes the log.
    fn finish(mut self, mut log: Log) -> Result<Log, StorageError> {
        self.epochs.truncate_start(self.log_start);
        self.epochs.truncate_end(self.end);
        let point = self.known.recovery_point;
        if self.changed || !self.known.facts.touched.is_empty() || point != Some(self.end) {
            self.write_out()?;
        }
        let mut at = 0;
        for segment in &mut self.segments {
            segment.at = at;
            segment.sealed = true;
            at = segment.next_at();
        }
        let last = self.segments.len().saturating_sub(1);
        for segment in &mut self.segments[..last] {
            segment.index = None;
        }
        if self.segments.is_empty() {
            self.segments.push(Segment::new(self.end, 0, self.known.wall));
        }
        self.open_active(&mut log)?;
        log.log_start = self.log_start;
        (log.log_end, log.durable_end) = (self.end, self.end);
        log.progress = Progress::settled_at(self.segments[last].end(), self.end);
        log.segments = self.segments.into();
        log.dense = !self.gaps;
        (log.epochs, log.producers) = (self.epochs, self.producers);
        log.disk.snapshots = vec![self.end];
        Ok(log)
    }

    fn write_out(&self) -> Result<(), StorageError> {
        let (disk, dir) = (self.disk, self.known.dir);
        for (i, segment) in self.segments.iter().enumerate().skip(self.scanned) {
            let file = self.open(segment.base)?;
            let settled = self.settled[i - self.scanned].max(match self.known.facts.durable {
                Some((base, at)) if base == segment.base => at,
                Some((base, _)) if base > segment.base => segment.size,
                _ => 0,
            });
            rewrite(&*file, settled, segment.size)
                .and_then(|()| file.sync())
                .map_err(StorageError::disk("syncing", dir))?;
            if let Some(index) = &segment.index {
                let mut index = index.clone();
                if i + 1 < self.segments.len() {
                    Arc::make_mut(&mut index).seal();
                }
                jobs::write_index(disk, dir, segment.base, &index)?;
            }
        }
        for &stray in &self.snapshots {
            if stray > self.end || !self.segments.iter().any(|s| s.base == stray) {
                self.remove(stray, &[Kind::Snapshot])?;
            }
        }
        let snapshot = self.producers.snapshot();
        files::write(disk, &self.path(self.end, Kind::Snapshot), &snapshot)?;
        files::replace(disk, &dir.join(files::EPOCHS), self.epochs.to_text().as_bytes())?;
        if self.gaps {
            files::write(disk, &dir.join(files::SPARSE), b"0\n")?;
        }
        files::sync_dir(disk, dir)
    }

    /// The last segment takes appends: what lies in its unfinished block comes into memory.
    fn open_active(&mut self, log: &mut Log) -> Result<(), StorageError> {
        let last = self.segments.len() - 1;
        let (base, size) = (self.segments[last].base, self.segments[last].size);
        let segment = &mut self.segments[last];
        segment.sealed = false;
        if size == 0 {
            segment.index = Some(Arc::new(Index::new(base)));
            return Ok(());
        }
        let file = self.open(base)?;
        let fail = StorageError::disk("reading", self.known.dir);
        let read = |at: u64, len: u64| {
            let mut bytes = vec![0; len as usize];
            let read = file.read_at(&mut bytes, at)?;
            bytes.truncate(read);
            Ok(bytes)
        };
        let tail = block_floor(size);
        let bytes = read(0, HEADER_BYTES as u64).and_then(|h| Ok((h, read(tail, size - tail)?)));
        let (first, head) = bytes.map_err(fail)?;
        log.tail.head = head.into();
        let first = BatchHeader::parse(&first).map(|h| h.max_timestamp);
        self.segments[last].first_timestamp = first.ok().filter(|t| *t >= 0);
        Ok(())
    }
}

fn made_anew(file: &Path, error: &dyn fmt::Display) {
    let file = file.display();
    tracing::warn!(%file, %error, "a damaged file is made anew from the records");
}

/// Writes bytes again that were written but perhaps never synced, and the size: after a failed sync
/// reads may show what the disk does not have, and another sync would not bring it there.
fn rewrite(file: &dyn DiskFile, from: u64, to: u64) -> std::io::Result<()> {
    let left = to.saturating_sub(from) as usize;
    let (mut at, mut buf) = (from, vec![0; left.min(REWRITE_BYTES)]);
    while at < to {
        let len = (to - at).min(buf.len() as u64) as usize;
        let read = file.read_at(&mut buf[..len], at)?;
        if read == 0 {
            break;
        }
        file.write_at(&buf[..read], at)?;
        at += read as u64;
    }
    file.set_size(to)
}
