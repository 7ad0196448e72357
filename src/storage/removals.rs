//! Deleted logs, until neither their directory nor the journal knows them any more. There may be
//! thousands at once, so nothing here looks at all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::LogId;
use crate::base::TopicPartition;

/// A deleted log whose directory is still there.
pub(super) struct Removal {
    pub(super) dir: PathBuf,
    pub(super) tp: TopicPartition,
    pub(super) log: LogId,
    /// Jobs of the log that are out.
    pub(super) jobs_out: u32,
    /// Journal chunk that says that the log is deleted, and the commit in it.
    pub(super) told: Option<(u64, u64)>,
    pub(super) started: bool,
}

/// All of them. Trees: a table that grows moves all of its entries in one turn.
#[derive(Default)]
pub(super) struct Removals {
    /// Whose directory is still there.
    pub(super) going: BTreeMap<LogId, Removal>,
    /// The same by directory.
    in_dir: BTreeMap<OsString, Vec<LogId>>,
    /// The same by the chunk that says so, first those of which none does yet.
    in_chunk: BTreeSet<(Option<u64>, LogId)>,
    /// Whose directory is gone: by chunk, with the newest commit.
    gone: BTreeMap<u64, BTreeMap<TopicPartition, u64>>,
}

impl Removals {
    /// A log was deleted.
    pub(super) fn push(&mut self, removal: Removal) {
        self.in_dir.entry(removal.dir.clone().into()).or_default().push(removal.log);
        self.in_chunk.insert((None, removal.log));
        self.going.insert(removal.log, removal);
    }

    /// A commit of this chunk says so, durably.
    pub(super) fn on_durable(&mut self, log: LogId, chunk: u64, sequence: u64) {
        if let Some(removal) = self.going.get_mut(&log) {
            removal.told = Some((chunk, sequence));
            self.in_chunk.remove(&(None, log));
            self.in_chunk.insert((Some(chunk), log));
        }
    }

    /// Whether this directory is one that is still to go.
    pub(super) fn has(&self, dir: &Path) -> bool {
        self.in_dir.contains_key(dir.as_os_str())
    }

    /// Whether one that is still to go needs a chunk up to this one, or has none yet.
    pub(super) fn needs(&self, upto: u64) -> bool {
        self.in_chunk.first().is_some_and(|(chunk, _)| *chunk <= Some(upto))
    }

    /// A directory was removed for those that were started.
    pub(super) fn on_removed(&mut self, dir: &Path) {
        let Some(logs) = self.in_dir.get_mut(dir.as_os_str()) else { return };
        let (going, in_chunk, gone) = (&mut self.going, &mut self.in_chunk, &mut self.gone);
        logs.retain(|id| {
            let Some(removal) = going.get(id).filter(|r| r.started) else { return true };
            if let Some((chunk, sequence)) = removal.told {
                in_chunk.remove(&(Some(chunk), *id));
                gone.entry(chunk).or_default().insert(removal.tp, sequence);
            }
            going.remove(id);
            false
        });
        if logs.is_empty() {
            self.in_dir.remove(dir.as_os_str());
        }
    }

    /// The newest commit that deleted a log of this partition whose directory is gone.
    pub(super) fn last_of(&self, tp: TopicPartition) -> Option<u64> {
        self.gone.values().filter_map(|gone| gone.get(&tp)).max().copied()
    }

    /// Chunks up to this one are free.
    pub(super) fn forget(&mut self, upto: u64) {
        while let Some(oldest) = self.gone.first_entry().filter(|oldest| *oldest.key() <= upto) {
            oldest.remove();
        }
    }
}
