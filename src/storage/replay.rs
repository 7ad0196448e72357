//! Recovery, first half: finding the commits of the journal and putting their bytes into segments.
//!
//! Two passes over the chunk files, one chunk in memory at a time; they are read through the page
//! cache, which has them for the second pass and reads ahead. The first finds the valid commits of the
//! generation; they are sorted by sequence, and a hole below the newest is damage, whose place is then looked
//! for (`missing`). A torn last commit was never acknowledged and counts as not there. The second writes
//! data entries to segment files and notes what was durable. Doing it twice does no harm.
//!
//! A journal whose very last commit rotted at rest looks like one whose last commit was torn: the
//! only damage to durable bytes that recovery cannot see.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::StorageError;
use super::files::{self, Make};
use super::journal::{Broken, Commit, Entry};
use super::missing::{Found, Hole};
use super::ring::chunk_path;
use super::segment::{Kind, file_path};
use crate::base::{BLOCK_BYTES, DetMap, Offset, TopicPartition};
use crate::runtime::disk::{Access, Disk, DiskFile};

/// Segment files that are open at a time.
const OPEN_FILES_MAX: usize = 256;

/// Place of an entry in the order of all: sequence of its commit, number in it.
type At = (u64, usize);

/// What the journal says of one log.
#[derive(Debug, Default, Clone)]
pub(super) struct Facts {
    /// Segment and byte up to which it was durable.
    pub(super) durable: Option<(Offset, u64)>,
    /// Its log start, and the base of its first segment.
    pub(super) start: Option<(Offset, Offset)>,
    /// Segments that were written to.
    pub(super) touched: BTreeSet<Offset>,
    /// It was created in this journal, so its directory has no checkpoint yet.
    pub(super) created: bool,
    /// Its last deletion; what came before does not count.
    deleted: Option<At>,
    /// All log starts, with the bases of first segments.
    starts: Vec<(At, (Offset, Offset))>,
}

/// A directory of the node, by the log in it.
#[derive(Debug, Clone)]
pub(super) struct LogDir {
    pub(super) path: PathBuf,
    pub(super) topic: String,
}

/// Replays the journal of one node.
pub(super) struct Replay<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    generation: u64,
    first_sequence: u64,
    /// The chunk that was read last.
    chunk: Option<(usize, Vec<u8>)>,
    open: DetMap<PathBuf, Arc<dyn DiskFile>>,
    /// Directories that are there.
    pub(super) dirs: DetMap<TopicPartition, LogDir>,
    /// What the journal says.
    pub(super) facts: DetMap<TopicPartition, Facts>,
}

impl<'a> Replay<'a> {
    /// Of the journal in `dir`, as `journal/generation` has it.
    pub(super) fn new(
        disk: &'a dyn Disk,
        dir: &'a Path,
        (generation, first_sequence): (u64, u64),
        dirs: DetMap<TopicPartition, LogDir>,
    ) -> Self {
        let (open, facts) = (DetMap::default(), DetMap::default());
        Self { disk, dir, generation, first_sequence, chunk: None, open, dirs, facts }
    }

    /// Does it all. The segment files are not synced.
    pub(super) fn run(&mut self) -> Result<(), StorageError> {
        let commits = self.find_commits()?;
        if let Some(hole) = Hole::find(&commits, self.first_sequence) {
            return Err(self.tell(&hole)?);
        }
        for facts in self.facts.values_mut() {
            let counts = facts.starts.iter().filter(|(at, _)| Some(*at) > facts.deleted);
            facts.start = counts.map(|(_, start)| *start).max();
        }
        for commit in &commits {
            self.apply(commit)?;
        }
        Ok(())
    }

    /// Says what is wrong where the first commit is missing.
    fn tell(&mut self, hole: &Hole<'_>) -> Result<StorageError, StorageError> {
        let (slots, mut broken) = (self.slots()?, Vec::new());
        for &slot in &slots {
            let chunk = self.load(slot)?;
            for at in (0..chunk.len()).step_by(BLOCK_BYTES) {
                let found = Broken::parse(&chunk[at..], self.generation);
                broken.extend(found.map(|found| ((slot, at), found)));
            }
            self.chunk = Some((slot, chunk));
        }
        let ((slot, at), fault) = hole.explain(&broken, &slots);
        let (at, missing, newest) = (at as u64, hole.missing, hole.newest);
        let file = chunk_path(&self.dir.join(files::JOURNAL), slot);
        Ok(StorageError::JournalDamaged { file, at, missing, fault, newest })
    }

    /// Numbers of the chunk files.
    fn slots(&self) -> Result<Vec<usize>, StorageError> {
        let journal = self.dir.join(files::JOURNAL);
        let names = self.disk.list(&journal).map_err(StorageError::disk("listing", &journal))?;
        Ok(names.iter().filter_map(|n| n.strip_suffix(".chunk")?.parse().ok()).collect())
    }

    fn find_commits(&mut self) -> Result<Vec<Found>, StorageError> {
        let slots = self.slots()?;
        // The first is made before the generation begins, and stays.
        if !slots.contains(&0) {
            let file = chunk_path(&self.dir.join(files::JOURNAL), 0);
            return Err(StorageError::BadFile { file, what: "it is not there".to_owned() });
        }
        let mut commits = Vec::new();
        for slot in slots {
            let chunk = self.load(slot)?;
            let mut at = 0;
            while at < chunk.len() {
                let Some(commit) = Commit::parse(&chunk[at..], self.generation) else {
                    at += BLOCK_BYTES;
                    continue;
                };
                let end = at + commit.length.next_multiple_of(BLOCK_BYTES);
                if commit.sequence >= self.first_sequence {
                    note(&mut self.facts, &commit)?;
                    commits.push(Found { sequence: commit.sequence, slot, at, end });
                }
                at = end;
            }
            self.chunk = Some((slot, chunk));
        }
        commits.sort_unstable_by_key(|c| c.sequence);
        Ok(commits)
    }

    /// A chunk's bytes, out of `self` so that entries can be applied while they are borrowed.
    fn load(&mut self, slot: usize) -> Result<Vec<u8>, StorageError> {
        let (have, mut chunk) = self.chunk.take().unwrap_or((usize::MAX, Vec::new()));
        if have == slot {
            return Ok(chunk);
        }
        let path = chunk_path(&self.dir.join(files::JOURNAL), slot);
        let mut run = || {
            let file = self.disk.open(&path, Access::ReadOnly)?;
            chunk.resize(file.size()? as usize, 0);
            let read = file.read_at(&mut chunk, 0)?;
            chunk.truncate(read);
            Ok(())
        };
        run().map_err(StorageError::disk("reading", &path))?;
        Ok(chunk)
    }

    fn apply(&mut self, found: &Found) -> Result<(), StorageError> {
        let chunk = self.load(found.slot)?;
        if let Some(commit) = Commit::parse(&chunk[found.at..], self.generation) {
            for (i, entry) in commit.entries().enumerate() {
                let (tp, entry) = entry.map_err(|()| not_understood(found.sequence))?;
                self.apply_entry(tp, &entry, (found.sequence, i))?;
            }
        }
        self.chunk = Some((found.slot, chunk));
        Ok(())
    }

    fn apply_entry(
        &mut self,
        tp: TopicPartition,
        entry: &Entry<'_>,
        at: At,
    ) -> Result<(), StorageError> {
        let facts = self.facts.entry(tp).or_default();
        if facts.deleted.is_some_and(|deleted| at < deleted) {
            return Ok(());
        }
        let first_segment = facts.start.map_or(Offset(0), |(_, segment)| segment);
        match *entry {
            Entry::Create { topic } => {
                facts.created = true;
                if !self.dirs.contains_key(&tp) {
                    let path = self.dir.join(format!("{topic}-{}", tp.partition));
                    Make::of(tp.topic).run(self.disk, &path)?;
                    self.dirs.insert(tp, LogDir { path, topic: topic.to_owned() });
                }
            }
            Entry::Delete => {
                let made_after = match self.dirs.get(&tp) {
                    Some(dir) => {
                        files::read_generation(self.disk, &dir.path.join(files::MADE_AFTER))?
                    }
                    None => None,
                };
                if made_after.is_some_and(|(g, s)| g == self.generation && s >= at.0) {
                    return Ok(());
                }
                if let Some(gone) = self.dirs.remove(&tp) {
                    self.open.clear();
                    files::remove_log(self.disk, &gone.path)?;
                    files::sync_dir(self.disk, self.dir)?;
                }
            }
            Entry::Data { base, at, bytes } if base >= first_segment => {
                facts.durable = facts.durable.max(Some((base, at + bytes.len() as u64)));
                facts.touched.insert(base);
                self.write(tp, base, at, bytes)?;
            }
            Entry::Written { base, upto } if base >= first_segment => {
                facts.durable = facts.durable.max(Some((base, upto)));
            }
            Entry::Data { .. } | Entry::Written { .. } | Entry::LogStart { .. } => (),
        }
        Ok(())
    }

    fn write(
        &mut self,
        tp: TopicPartition,
        base: Offset,
        at: u64,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let Some(dir) = self.dirs.get(&tp) else { return Ok(()) };
        let path = file_path(&dir.path, base, Kind::Log);
        if self.open.len() >= OPEN_FILES_MAX {
            self.open.clear();
        }
        let file = match self.open.entry(path.clone()) {
            std::collections::hash_map::Entry::Occupied(file) => file.into_mut(),
            std::collections::hash_map::Entry::Vacant(slot) => {
                let file = self.disk.open(&path, Access::Buffered);
                slot.insert(file.map_err(StorageError::disk("opening", &path))?)
            }
        };
        file.write_at(bytes, at).map_err(StorageError::disk("writing", &path))
    }
}

/// Notes what must be known before entries are applied: deletions and log starts.
fn note(
    facts: &mut DetMap<TopicPartition, Facts>,
    commit: &Commit<'_>,
) -> Result<(), StorageError> {
    for (i, entry) in commit.entries().enumerate() {
        match entry.map_err(|()| not_understood(commit.sequence))? {
            (tp, Entry::Delete) => {
                let facts = facts.entry(tp).or_default();
                facts.deleted = facts.deleted.max(Some((commit.sequence, i)));
            }
            (tp, Entry::LogStart { offset, segment }) => {
                let facts = facts.entry(tp).or_default();
                facts.starts.push(((commit.sequence, i), (offset, segment)));
            }
            _ => (),
        }
    }
    Ok(())
}

fn not_understood(sequence: u64) -> StorageError {
    let what =
        format!("commit {sequence} has an entry of an unknown kind; a newer version wrote it");
    StorageError::BadFile { file: PathBuf::from(files::JOURNAL), what }
}
