//! The small files that Kafka keeps beside segments, and how a file is replaced as one.
//!
//! Text checkpoints are a version line `0`, the number of lines, then the lines: for a node
//! directory `topic partition offset`. `partition.metadata` is `version: 0` and `topic_id: <id>`; here it
//! has a third line, which Kafka does not look at, with the checksum of those two: a log of another id
//! than its topic's would be deleted.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::error::StorageError;
use crate::base::{Offset, TopicId};
use crate::runtime::disk::{Access, Disk};

/// Where recovery begins in each log.
pub(super) const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";
/// Log start offsets.
pub(super) const LOG_START: &str = "log-start-offset-checkpoint";
/// High watermarks.
pub(super) const HIGH_WATERMARK: &str = "replication-offset-checkpoint";
/// Leader epochs, in the directory of a log.
pub(super) const EPOCHS: &str = "leader-epoch-checkpoint";
/// Topic id, in the directory of a log.
pub(super) const METADATA: &str = "partition.metadata";
/// There after a clean stop only.
pub(super) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// In the directory of a log that failed, with the reason.
pub(super) const FENCED: &str = "fenced";
/// In the directory of a log that another broker has cleaned: there are gaps between batches.
pub(super) const SPARSE: &str = "sparse";
/// In the directory of a log whose partition was deleted before: by which commit.
pub(super) const MADE_AFTER: &str = "made-after";
/// Directory of the journal.
pub(super) const JOURNAL: &str = "journal";
/// In the journal: which commits count.
pub(super) const GENERATION: &str = "generation";

/// Content of [`CLEAN_SHUTDOWN`].
pub(super) const CLEAN_SHUTDOWN_TEXT: &str = "{\"version\":0,\"brokerEpoch\":-1}";

/// Writes a file beside, syncs it and renames it into place. The directory is not synced.
pub(super) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let tmp = PathBuf::from(name);
    write(disk, &tmp, bytes)?;
    disk.rename(&tmp, path).map_err(StorageError::disk("renaming to", path))
}

/// Writes a whole file and syncs it.
pub(super) fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let fail = StorageError::disk("writing", path);
    let run = || {
        let file = disk.open(path, Access::Buffered)?;
        file.set_size(0)?;
        file.write_at(bytes, 0)?;
        file.sync()
    };
    run().map_err(fail)
}

/// Makes names in `dir` durable.
pub(super) fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    disk.sync_dir(dir).map_err(StorageError::disk("syncing", dir))
}

/// Reads a whole file; `None` when it is not there.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    let run = || {
        let file = match disk.open(path, Access::ReadOnly) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut bytes = vec![0; file.size()? as usize];
        let len = file.read_at(&mut bytes, 0)?;
        bytes.truncate(len);
        Ok(Some(bytes))
    };
    run().map_err(StorageError::disk("reading", path))
}

/// Making the directory of a log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Make {
    /// The topic.
    pub(super) topic: TopicId,
    /// A log of the same partition was deleted before, by this commit: generation, sequence.
    pub(super) after: Option<(u64, u64)>,
}

impl Make {
    /// Of a log that was not here before.
    pub(super) fn of(topic: TopicId) -> Self {
        Self { topic, after: None }
    }

    /// Makes the directory with its `partition.metadata`, durably.
    pub(super) fn run(self, disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
        disk.create_dir_all(dir).map_err(StorageError::disk("making", dir))?;
        if let Some((generation, sequence)) = self.after {
            let text = generation_text(generation, sequence);
            write(disk, &dir.join(MADE_AFTER), text.as_bytes())?;
            sync_dir(disk, dir)?;
        }
        replace(disk, &dir.join(METADATA), metadata_text(self.topic).as_bytes())?;
        sync_dir(disk, dir)?;
        dir.parent().map_or(Ok(()), |node| sync_dir(disk, node))
    }
}

/// Removes the directory of a log, its `partition.metadata` last: what a crash leaves is still known for
/// what it is, and goes with the next start.
pub(super) fn remove_log(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    let names = disk.list(dir).map_err(StorageError::disk("listing", dir))?;
    for name in names.iter().filter(|name| *name != METADATA) {
        match disk.remove_file(&dir.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::IsADirectory => {
                return Err(StorageError::disk("removing", dir)(e));
            }
            _ => (),
        }
    }
    if !names.is_empty() {
        sync_dir(disk, dir)?;
    }
    disk.remove_dir_all(dir).map_err(StorageError::disk("removing", dir))
}

/// A file of a generation and a sequence: version, then both with their checksum.
pub(super) fn generation_text(generation: u64, sequence: u64) -> String {
    let line = format!("{generation:016x} {sequence}");
    format!("1\n{line} {:08x}\n", crc32c::crc32c(line.as_bytes()))
}

/// Reads a file of a generation and a sequence; `None` when it is not there.
pub(super) fn read_generation(
    disk: &dyn Disk,
    path: &Path,
) -> Result<Option<(u64, u64)>, StorageError> {
    let Some(bytes) = read(disk, path)? else { return Ok(None) };
    let parsed = parse_generation(&String::from_utf8_lossy(&bytes));
    parsed.map(Some).map_err(|what| StorageError::BadFile { file: path.to_owned(), what })
}

pub(super) fn parse_generation(text: &str) -> Result<(u64, u64), String> {
    let bad = || format!("text {text:?}");
    let split = || text.strip_prefix("1\n")?.strip_suffix('\n')?.rsplit_once(' ');
    let (line, stored) = split().ok_or_else(bad)?;
    check_sum(line, stored)?;
    let numbers = || {
        let (generation, sequence) = line.split_once(' ')?;
        Some((u64::from_str_radix(generation, 16).ok()?, sequence.parse().ok()?))
    };
    let found = numbers().filter(|(generation, sequence)| {
        // Nothing but what is written here.
        generation_text(*generation, *sequence) == text
    });
    found.ok_or_else(bad)
}

/// Compares the checksum of `text` with the one that is stored as eight digits.
fn check_sum(text: &str, stored: &str) -> Result<(), String> {
    let computed = format!("{:08x}", crc32c::crc32c(text.as_bytes()));
    if computed == stored {
        return Ok(());
    }
    Err(format!("{text:?} has checksum {computed} where {stored} is stored"))
}

/// Text of a `partition.metadata`.
pub(super) fn metadata_text(topic: TopicId) -> String {
    let text = format!("version: 0\ntopic_id: {topic}\n");
    format!("{text}crc: {:08x}\n", crc32c::crc32c(text.as_bytes()))
}

/// Topic id of a `partition.metadata`. One that Kafka wrote has no checksum.
pub(super) fn parse_metadata(text: &[u8]) -> Result<TopicId, String> {
    let text = String::from_utf8_lossy(text);
    let id = text.lines().find_map(|l| TopicId::parse(l.strip_prefix("topic_id: ")?.trim()));
    let id = id.ok_or("it has no topic id")?;
    if let Some(line) = text.lines().nth(2) {
        let stored = line.strip_prefix("crc: ").ok_or("its third line is no checksum")?;
        check_sum(text.split_once("crc: ").map_or("", |(covered, _)| covered), stored)?;
    }
    Ok(id)
}

/// `<topic>-<partition>` of a directory name.
pub(super) fn parse_dir_name(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let digits = !partition.is_empty() && partition.bytes().all(|b| b.is_ascii_digit());
    let partition = partition.parse().ok().filter(|_| digits)?;
    (!topic.is_empty()).then_some((topic, partition))
}

/// One line of a node directory's checkpoint.
pub(super) type OffsetLine<T> = (T, i32, Offset);

/// Text of a node directory's checkpoint.
pub(super) fn offsets_text<T: AsRef<str>>(lines: &[OffsetLine<T>]) -> String {
    let mut text = format!("0\n{}\n", lines.len());
    for (topic, partition, offset) in lines {
        let _ = writeln!(text, "{} {partition} {offset}", topic.as_ref());
    }
    text
}

/// Reads a node directory's checkpoint; no lines when the file is not there.
pub(super) fn read_offsets(
    disk: &dyn Disk,
    path: &Path,
) -> Result<Vec<OffsetLine<String>>, StorageError> {
    let Some(bytes) = read(disk, path)? else { return Ok(Vec::new()) };
    let text = String::from_utf8_lossy(&bytes);
    parse_offsets(&text).map_err(|what| StorageError::BadFile { file: path.to_owned(), what })
}

pub(super) fn parse_offsets(text: &str) -> Result<Vec<OffsetLine<String>>, String> {
    let mut lines = text.lines();
    if lines.next() != Some("0") {
        return Err("line 1 is not version 0".to_owned());
    }
    let count: Option<usize> = lines.next().and_then(|l| l.parse().ok());
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let topic = words.next()?.to_owned();
        let line = (topic, words.next()?.parse().ok()?, Offset(words.next()?.parse().ok()?));
        words.next().is_none().then_some(line)
    };
    let parsed: Result<Vec<_>, _> =
        lines.map(|l| parse(l).ok_or_else(|| format!("line {l:?}"))).collect();
    let parsed = parsed?;
    if count == Some(parsed.len()) { Ok(parsed) } else { Err("line 2 is not the count".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_read_back_and_damage_is_named() {
        let lines = vec![("a-b".to_owned(), 3, Offset(7)), ("c".to_owned(), 0, Offset(0))];
        let text = offsets_text(&lines);
        assert_eq!(text, "0\n2\na-b 3 7\nc 0 0\n");
        assert_eq!(parse_offsets(&text), Ok(lines));
        assert_eq!(parse_offsets("0\n2\na 1 1\n"), Err("line 2 is not the count".to_owned()));
        assert_eq!(parse_offsets("0\n1\na 1\n"), Err("line \"a 1\"".to_owned()));
    }

    #[test]
    fn files_with_a_checksum_read_back_and_say_both_when_they_are_damaged() {
        let text = generation_text(77, 5);
        assert_eq!(parse_generation(&text), Ok((77, 5)));
        let stored = text.trim_end().rsplit_once(' ').unwrap().1;
        let damaged = text.replacen(" 5 ", " 4 ", 1);
        let line = "000000000000004d 4";
        let computed = crc32c::crc32c(line.as_bytes());
        let said = format!("{line:?} has checksum {computed:08x} where {stored} is stored");
        assert_eq!(parse_generation(&damaged), Err(said));

        let topic = TopicId([7; 16]);
        let text = metadata_text(topic);
        assert_eq!(parse_metadata(text.as_bytes()), Ok(topic));
        let kafkas = &text[..text.find("crc: ").unwrap()];
        assert_eq!(parse_metadata(kafkas.as_bytes()), Ok(topic));
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 4;
            assert!(parse_metadata(&damaged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn directory_names_are_topic_and_partition() {
        assert_eq!(parse_dir_name("a-b-12"), Some(("a-b", 12)));
        for other in ["journal", "a-", "-1", "a-b", "t-0.0123-delete", "t-+1"] {
            assert_eq!(parse_dir_name(other), None, "{other}");
        }
    }
}
