//! Opening a store: a clean start, or recovery.
//!
//! Recovery ends in the state of a clean stop: everything in segments, synced, checkpoints written.
//! Then a new generation begins, which makes the old commits count no more; only after that is the
//! mark of the clean stop removed. A crash anywhere in between finds the same state again.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StoreEvent;
use super::cache::Memory;
use super::config::StoreConfig;
use super::error::StorageError;
use super::files::{self, OffsetLine};
use super::jobs;
use super::journal::{Writer, is_commit};
use super::load::{self, Known};
use super::lookups::Lookups;
use super::removals::Removals;
use super::replay::{LogDir, Replay};
use super::retention::Search;
use super::ring::{Ring, chunk_path};
use super::room::Room;
use super::scrub::Scrub;
use super::segment::{Kind, parse_name};
use super::store::{Metrics, Queues, Store};
use super::windows::Windows;
use crate::base::{BLOCK_BYTES, DetMap, Moment, Offset, TopicPartition, WallMs};
use crate::runtime::disk::{Access, Disk, DiskFile};
use crate::runtime::threads;

/// The buffer of a commit is filled in a turn, so its pages are there from the start; few commits have
/// more.
const COMMIT_BUFFER_BYTES: usize = 512 << 10;

impl Store {
    /// Opens the store in `config.dir`, or makes it. Blocks. `random` becomes the generation of the
    /// journal: it must differ from that of any earlier process. Logs that turn out damaged are
    /// there as failed, and come out as `StoreEvent::Failed` with the first events.
    ///
    /// # Errors
    /// [`StorageError::JournalDamaged`], [`StorageError::BadFile`], [`StorageError::Disk`],
    /// [`StorageError::Config`].
    pub fn open(
        disk: Arc<dyn Disk>,
        config: StoreConfig,
        random: u64,
        wall: WallMs,
    ) -> Result<Self, StorageError> {
        config.check()?;
        let dir = config.dir.clone();
        let journal = dir.join(files::JOURNAL);
        disk.create_dir_all(&journal).map_err(StorageError::disk("making", &journal))?;
        if let Some(parent) = dir.parent() {
            files::sync_dir(&*disk, parent)?;
        }
        files::sync_dir(&*disk, &dir)?;
        let marker = dir.join(files::CLEAN_SHUTDOWN);
        let clean = files::read(&*disk, &marker)?.is_some();
        let (dirs, mut strange) = log_dirs(&*disk, &dir)?;
        let generation = files::read_generation(&*disk, &journal.join(files::GENERATION))?;
        if generation.is_none() && !clean {
            check_unused(&*disk, &journal)?;
        }
        let generation = generation.filter(|_| !clean);
        let mut replay = Replay::new(&*disk, &dir, generation.unwrap_or_default(), dirs);
        if generation.is_some() {
            replay.run()?;
        }
        let (dirs, facts) = (replay.dirs, replay.facts);
        strange.retain(|path| dirs.values().all(|log| log.path != *path));
        let mut store = Self::empty(disk, config, random, wall);
        store.strange = strange;
        store.load_logs(dirs, facts)?;
        if !clean {
            store.write_checkpoints()?;
        }
        store.make_journal(&journal)?;
        jobs::write_generation(&*store.disk, &dir, random, 1)?;
        if clean {
            let fail = StorageError::disk("removing", &marker);
            store.disk.remove_file(&marker).map_err(fail)?;
            files::sync_dir(&*store.disk, &dir)?;
        }
        Ok(store)
    }

    fn empty(disk: Arc<dyn Disk>, config: StoreConfig, generation: u64, wall: WallMs) -> Self {
        Self {
            disk,
            generation,
            logs: Vec::new(),
            by_tp: BTreeMap::new(),
            by_dir: BTreeMap::new(),
            strange: Vec::new(),
            ring: Ring::new(
                PathBuf::new(),
                Vec::new(),
                config.journal_chunk_bytes,
                config.journal_chunks_max(),
            ),
            memory: Memory::new(config.cache_bytes, config.chunk_bytes_max),
            windows: Windows::new(config.window_bytes),
            lookups: Lookups::default(),
            writer: Some(Writer::new(COMMIT_BUFFER_BYTES)),
            taken: Vec::new(),
            due: VecDeque::new(),
            lazy: VecDeque::new(),
            lazy_deadline: Moment::NEVER,
            waiting_for_files: 0,
            metas: VecDeque::new(),
            metas_deadline: Moment::NEVER,
            queues: Queues::default(),
            removals: Removals::default(),
            scrub: Scrub::default(),
            checkpoint: None,
            checkpoint_at: Moment::NEVER,
            checkpoint_wanted: false,
            checkpoint_bytes: 0,
            began: Moment::NEVER,
            retention_at: Moment::default(),
            retention_next: Search::FIRST,
            wall,
            full: false,
            room: Room::new(),
            failed: false,
            dirty_bytes: 0,
            events: Vec::new(),
            metrics: Metrics::default(),
            config,
        }
    }

    fn load_logs(
        &mut self,
        dirs: DetMap<TopicPartition, LogDir>,
        mut facts: DetMap<TopicPartition, super::replay::Facts>,
    ) -> Result<(), StorageError> {
        let points =
            files::read_offsets(&*self.disk, &self.config.dir.join(files::RECOVERY_POINT))?;
        let starts = files::read_offsets(&*self.disk, &self.config.dir.join(files::LOG_START))?;
        let (points, starts) = (by_name(points), by_name(starts));
        let mut dirs: Vec<_> = dirs.into_iter().collect();
        dirs.sort_unstable_by(|a, b| a.1.path.cmp(&b.1.path));
        let mut known = Vec::new();
        for (tp, dir) in &dirs {
            let name = (dir.topic.clone(), tp.partition);
            let facts = facts.remove(tp).unwrap_or_default();
            // Lines of a checkpoint are by name: they may be of a deleted log of the same name.
            let (recovery_point, log_start) = if facts.created {
                (Some(Offset(0)), None)
            } else {
                (points.get(&name).copied(), starts.get(&name).copied())
            };
            let (tp, topic, dir, wall) = (*tp, &*dir.topic, &*dir.path, self.wall);
            known.push(Known { tp, topic, dir, recovery_point, log_start, facts, wall });
        }
        let disk = &*self.disk;
        let loaded = threads::map(disk.threads(), known, |known| load::load(disk, &known));
        for loaded in loaded {
            let (log, error) = loaded?;
            let id = self.insert(log);
            if let Some(error) = error {
                let error = Arc::new(error);
                self.events.push(StoreEvent::Failed { log: Some(id), error });
            }
        }
        Ok(())
    }

    /// Writes the node's checkpoint files, durably.
    pub(super) fn write_checkpoints(&self) -> Result<(), StorageError> {
        jobs::write_checkpoints(&*self.disk, &self.config.dir, &self.checkpoint_lines())
    }

    /// Takes over the chunk files that have the right size; makes the first when there is none.
    fn make_journal(&mut self, journal: &Path) -> Result<(), StorageError> {
        let bytes = self.config.journal_chunk_bytes;
        let mut chunks: Vec<Arc<dyn DiskFile>> = Vec::new();
        let names = self.disk.list(journal).map_err(StorageError::disk("listing", journal))?;
        for slot in 0..self.config.journal_chunks_max() {
            let path = chunk_path(journal, slot);
            if !path.file_name().is_some_and(|n| names.iter().any(|name| n == name.as_str())) {
                break;
            }
            let open = || {
                let file = self.disk.open(&path, Access::Direct)?;
                let size = file.size()?;
                Ok((file, size))
            };
            match open().map_err(StorageError::disk("opening", &path))? {
                (file, size) if size == bytes => chunks.push(file),
                _ => break,
            }
        }
        let is_new = chunks.is_empty();
        if is_new {
            chunks.push(jobs::reserve_chunk(&*self.disk, &chunk_path(journal, 0), bytes)?);
        }
        let spare = names.iter().filter_map(|n| n.strip_suffix(".chunk")?.parse::<usize>().ok());
        for slot in spare.filter(|slot| *slot >= chunks.len()) {
            let path = chunk_path(journal, slot);
            self.disk.remove_file(&path).map_err(StorageError::disk("removing", &path))?;
        }
        self.ring = Ring::new(journal.to_owned(), chunks, bytes, self.config.journal_chunks_max());
        if is_new {
            self.ring.note_unzeroed();
        }
        Ok(())
    }
}

/// A journal that nobody has begun has no commit: else the file is lost that says which of them count.
fn check_unused(disk: &dyn Disk, journal: &Path) -> Result<(), StorageError> {
    let names = disk.list(journal).map_err(StorageError::disk("listing", journal))?;
    for name in names.iter().filter(|name| name.strip_suffix(".chunk").is_some()) {
        let path = journal.join(name);
        let mut block = [0; BLOCK_BYTES];
        let read = disk.open(&path, Access::ReadOnly).and_then(|file| file.read_at(&mut block, 0));
        if is_commit(&block[..read.map_err(StorageError::disk("reading", &path))?]) {
            let what = format!("it is not there, but {name} has commits");
            return Err(StorageError::BadFile { file: journal.join(files::GENERATION), what });
        }
    }
    Ok(())
}

/// The log directories of a node, and those with segments whose `partition.metadata` is missing. Any
/// without that file is left alone: it is being made, and the journal says for whom, or was put there by
/// hand.
fn log_dirs(
    disk: &dyn Disk,
    dir: &Path,
) -> Result<(DetMap<TopicPartition, LogDir>, Vec<PathBuf>), StorageError> {
    let (mut dirs, mut strange) = (DetMap::default(), Vec::new());
    for name in disk.list(dir).map_err(StorageError::disk("listing", dir))? {
        let Some((topic, partition)) = files::parse_dir_name(&name) else { continue };
        let path = dir.join(&name);
        let file = path.join(files::METADATA);
        let Some(metadata) = files::read(disk, &file)? else {
            tracing::warn!(dir = %path.display(), "left alone: no partition.metadata");
            let names = disk.list(&path).map_err(StorageError::disk("listing", &path))?;
            if names.iter().any(|name| parse_name(name).is_some_and(|file| file.0 == Kind::Log)) {
                strange.push(path);
            }
            continue;
        };
        let id = files::parse_metadata(&metadata);
        let id = id.map_err(|what| StorageError::BadFile { file, what })?;
        let topic = topic.to_owned();
        dirs.insert(TopicPartition { topic: id, partition }, LogDir { path, topic });
    }
    Ok((dirs, strange))
}

fn by_name(lines: Vec<OffsetLine<String>>) -> DetMap<(String, i32), Offset> {
    lines.into_iter().map(|(topic, partition, offset)| ((topic, partition), offset)).collect()
}
