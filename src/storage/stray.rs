//! What a broker that died may leave in a log's directory, and Kafka's rules for it.
//!
//! `.deleted` and `.cleaned` files go; `.swap` files are whole results of a cleaning that was about
//! to be put in place: those at or above the lowest `.cleaned` are not complete and go, the others
//! replace the segments that they cover. Files that were being replaced (`.tmp`) go.

use std::path::Path;

use super::error::StorageError;
use super::scan::{self, Expect};
use super::segment::{Kind, file_path, parse_name};
use crate::base::Offset;
use crate::runtime::disk::{Access, Disk};

/// Clears the directory of a log.
pub(super) fn clear(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    let names = disk.list(dir).map_err(StorageError::disk("listing", dir))?;
    let of = |suffix: &'static str| {
        names.iter().filter_map(move |n| Some((n, parse_name(n.strip_suffix(suffix)?))))
    };
    let cleaned = of(".cleaned").filter_map(|(_, file)| Some(file?.1)).min();
    for (name, _) in of(".deleted").chain(of(".cleaned")).chain(of(".tmp")) {
        remove(disk, dir, name)?;
    }
    let mut swaps = Vec::new();
    for (name, file) in of(".swap") {
        match file {
            Some((kind, base)) if cleaned.is_none_or(|lowest| base < lowest) => {
                swaps.push((name, kind, base));
            }
            _ => remove(disk, dir, name)?,
        }
    }
    for (name, _, base) in swaps.iter().filter(|s| s.1 == Kind::Log) {
        let end = end_of(disk, &dir.join(name), *base)?;
        for covered in names
            .iter()
            .filter(|n| parse_name(n).is_some_and(|(_, other)| other >= *base && other < end))
        {
            remove(disk, dir, covered)?;
        }
    }
    for (name, kind, base) in &swaps {
        let to = file_path(dir, *base, *kind);
        disk.rename(&dir.join(name), &to).map_err(StorageError::disk("renaming to", &to))?;
    }
    if swaps.is_empty() { Ok(()) } else { super::files::sync_dir(disk, dir) }
}

fn remove(disk: &dyn Disk, dir: &Path, name: &str) -> Result<(), StorageError> {
    let path = dir.join(name);
    disk.remove_file(&path).map_err(StorageError::disk("removing", &path))
}

/// Offset after the last batch of a segment.
fn end_of(disk: &dyn Disk, path: &Path, base: Offset) -> Result<Offset, StorageError> {
    let open = || {
        let file = disk.open(path, Access::ReadOnly)?;
        let size = file.size()?;
        Ok((file, size))
    };
    let (file, size) = open().map_err(StorageError::disk("opening", path))?;
    let first = (Expect::AtLeast(base), false);
    Ok(scan::scan(&*file, path, (0, size), first, |_, _| ())?.next)
}
