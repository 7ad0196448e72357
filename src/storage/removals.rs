//! Deleted logs, until neither their directory nor the journal knows them any more.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::LogId;
use crate::base::TopicPartition;

/// A deleted log whose directory is still there, or whose deletion the journal still tells.
pub(super) struct Removal {
    pub(super) dir: PathBuf,
    pub(super) tp: TopicPartition,
    pub(super) log: LogId,
    /// Jobs of the log that are out.
    pub(super) jobs_out: u32,
    /// Journal chunk that says that the log is deleted, and the commit in it.
    pub(super) chunk: Option<u64>,
    pub(super) sequence: u64,
    pub(super) started: bool,
}

/// All of them; there may be thousands at once.
#[derive(Default)]
pub(super) struct Removals {
    /// Whose directory is still there.
    pub(super) going: BTreeMap<LogId, Removal>,
    /// The same by directory. A tree: a table that grows moves all of its entries in one turn.
    in_dir: BTreeMap<OsString, Vec<LogId>>,
    /// Whose directory is gone.
    pub(super) gone: Vec<Removal>,
}

impl Removals {
    /// A log was deleted.
    pub(super) fn push(&mut self, removal: Removal) {
        self.in_dir.entry(removal.dir.clone().into()).or_default().push(removal.log);
        self.going.insert(removal.log, removal);
    }

    /// Whether this directory is one that is still to go.
    pub(super) fn has(&self, dir: &Path) -> bool {
        self.in_dir.contains_key(dir.as_os_str())
    }

    /// A directory was removed for those that were started.
    pub(super) fn on_removed(&mut self, dir: &Path) {
        let Some(logs) = self.in_dir.get_mut(dir.as_os_str()) else { return };
        let (going, gone) = (&mut self.going, &mut self.gone);
        logs.retain(|id| {
            let removed = going.get(id).is_some_and(|r| r.started);
            // Later all of them are let go of in one turn.
            let light = |removal| Removal { dir: PathBuf::new(), ..removal };
            gone.extend(removed.then(|| going.remove(id)).flatten().map(light));
            !removed
        });
        if logs.is_empty() {
            self.in_dir.remove(dir.as_os_str());
        }
    }

    /// The newest commit that deleted a log of this partition.
    pub(super) fn last_of(&self, tp: TopicPartition) -> Option<u64> {
        let all = self.going.values().chain(&self.gone);
        all.filter(|r| r.tp == tp).map(|r| r.sequence).max()
    }
}
