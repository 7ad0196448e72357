//! The mark of a damaged log: the file `fenced` in its directory.
//!
//! It says from where on nothing is served, for good: what lies behind damage is not looked at
//! again before somebody has put the directory in order and removed the file.
//!
//! ```text
//! 0
//! <first offset that is not there> <base of its segment> <byte in that segment>
//! <what was found>
//! ```

use std::path::Path;

use super::error::StorageError;
use super::files;
use super::segment::parse_name;
use crate::base::Offset;
use crate::runtime::disk::Disk;

/// Where a log is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fence {
    /// Records from here on are not served.
    pub(super) offset: Offset,
    /// The segment that would hold them.
    pub(super) segment: Offset,
    /// Bytes of it that are good.
    pub(super) at: u64,
    reason: String,
}

impl Fence {
    /// What an error says; `None` when it is not about damage.
    pub(super) fn of(error: &StorageError) -> Option<Self> {
        let StorageError::Corrupt { file, at, offset, .. } = error else { return None };
        let (_, segment) = parse_name(file.file_name()?.to_str()?)?;
        Some(Self { offset: *offset, segment, at: *at, reason: error.to_string() })
    }

    /// What a start says that finds the mark in `dir`.
    pub(super) fn error(&self, dir: &Path) -> StorageError {
        StorageError::Fenced { dir: dir.display().to_string(), reason: self.reason.clone() }
    }

    /// Writes the mark into the directory of the log.
    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
        files::replace(disk, &dir.join(files::FENCED), self.text().as_bytes())?;
        files::sync_dir(disk, dir)
    }

    pub(super) fn text(&self) -> String {
        format!("0\n{} {} {}\n{}\n", self.offset, self.segment.0, self.at, self.reason)
    }

    /// The mark in the directory of a log. Of one that is not understood nothing is served.
    pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, StorageError> {
        let Some(bytes) = files::read(disk, &dir.join(files::FENCED))? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        let whole = parse(&text).unwrap_or_else(|| Self {
            offset: Offset(0),
            segment: Offset(0),
            at: 0,
            reason: format!("the mark in it, {:?}, is not understood", text.trim()),
        });
        Ok(Some(whole))
    }
}

pub(super) fn parse(text: &str) -> Option<Fence> {
    let (place, reason) = text.strip_prefix("0\n")?.split_once('\n')?;
    let mut numbers = place.split(' ').map(str::parse::<i64>);
    let mut number = || numbers.next()?.ok();
    let (offset, segment, at) = (Offset(number()?), Offset(number()?), number()?);
    let at = u64::try_from(at).ok()?;
    Some(Fence { offset, segment, at, reason: reason.trim_end().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::disk::SimDisk;
    use crate::storage::error::Fault;
    use std::path::PathBuf;

    #[test]
    fn a_fence_reads_back_and_one_that_is_not_understood_serves_nothing() {
        let (disk, dir) = (SimDisk::new(1), Path::new("/t-0"));
        disk.create_dir_all(dir).unwrap();
        assert_eq!(Fence::read(&disk, dir).unwrap(), None);
        let file = PathBuf::from("/t-0/00000000000000000020.log");
        let fault = Fault::Gap { next: Offset(40) };
        let error = StorageError::Corrupt { file, at: 4096, offset: Offset(23), fault };
        let fence = Fence::of(&error).unwrap();
        assert_eq!((fence.offset, fence.segment, fence.at), (Offset(23), Offset(20), 4096));
        fence.write(&disk, dir).unwrap();
        assert_eq!(Fence::read(&disk, dir).unwrap(), Some(fence));
        files::write(&disk, &dir.join(files::FENCED), b"by hand").unwrap();
        assert_eq!(Fence::read(&disk, dir).unwrap().unwrap().offset, Offset(0));
    }
}
