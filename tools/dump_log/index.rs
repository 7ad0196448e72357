//! Offset and time index of a segment, held against its log.

use std::fs;
use std::path::Path;

use super::log::{Batches, newest};
use super::{Findings, Options, base_offset, full, note};

/// Bytes of an entry: relative offset and position.
const OFFSET_ENTRY: usize = 8;
/// Bytes of an entry: timestamp and relative offset.
const TIME_ENTRY: usize = 12;

/// An offset index: entries of offset and position.
struct Offsets {
    base: i64,
    bytes: Vec<u8>,
}

impl Offsets {
    fn read(file: &Path) -> Result<Self, String> {
        let bytes = fs::read(file).map_err(|e| e.to_string())?;
        Ok(Self { base: base_offset(file)?, bytes })
    }

    fn entries(&self) -> impl DoubleEndedIterator<Item = (i64, u64)> + '_ {
        self.bytes.chunks_exact(OFFSET_ENTRY).map(|e| {
            let relative = i32::from_be_bytes([e[0], e[1], e[2], e[3]]);
            let position = u32::from_be_bytes([e[4], e[5], e[6], e[7]]);
            (self.base + i64::from(relative), u64::from(position))
        })
    }

    /// Entries up to the first of the empty ones that a crash leaves.
    fn used(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        let is_used = |&(at, (offset, _)): &(usize, (i64, u64))| at == 0 || offset != self.base;
        self.entries().enumerate().take_while(is_used).map(|(_, entry)| entry)
    }

    /// Where a search for `offset` begins.
    fn floor(&self, offset: i64) -> u64 {
        let at_or_below = self.used().take_while(|&(o, _)| o <= offset);
        at_or_below.last().map_or(0, |(_, position)| position)
    }
}

/// Prints an offset index.
pub(super) fn dump_offsets(
    file: &Path,
    options: &Options,
    findings: &mut Findings,
) -> Result<(), String> {
    let index = Offsets::read(file)?;
    if index.bytes.len() < OFFSET_ENTRY {
        println!("{} is empty.", file.display());
        return Ok(());
    }
    if options.index_sanity_check {
        let last = index.entries().next_back().map_or(index.base, |(offset, _)| offset);
        return sane(file, "index", (last, index.base), index.bytes.len(), OFFSET_ENTRY);
    }
    let log = file.with_extension("log");
    for (offset, position) in index.used() {
        let batch = Batches::open(&log, position, options.max_message_size.into())?.next();
        // No batch begins there: the log has no offset that the entry could mean.
        let last = batch.ok().flatten().map_or(-1, |(_, header, _)| header.last_offset().0);
        if last != offset {
            note(&mut findings.index, file, offset, last);
        }
        if !options.verify_index_only {
            println!("offset: {offset} position: {position}");
        }
    }
    Ok(())
}

/// Prints a time index.
pub(super) fn dump_times(
    file: &Path,
    options: &Options,
    findings: &mut Findings,
) -> Result<(), String> {
    let base = base_offset(file)?;
    let bytes = fs::read(file).map_err(|e| e.to_string())?;
    let entries: Vec<_> = bytes.chunks_exact(TIME_ENTRY).map(|e| time_entry(base, e)).collect();
    let (Some(&(first, _)), Some(&(newest_known, last))) = (entries.first(), entries.last()) else {
        println!("{} is empty.", file.display());
        return Ok(());
    };
    if options.index_sanity_check {
        if newest_known < first {
            return Err(format!(
                "Corrupt time index found, time index file ({}) has non-zero size but the last \
                 timestamp is {newest_known} which is less than the first timestamp {first}",
                full(file).display()
            ));
        }
        return sane(file, "time index", (last, base), bytes.len(), TIME_ENTRY);
    }
    let (log, offsets) =
        (file.with_extension("log"), Offsets::read(&file.with_extension("index"))?);
    let mut before = -1;
    for (at, (timestamp, offset)) in entries.into_iter().enumerate() {
        if offset == base && at > 0 {
            break;
        }
        let mut batches = Batches::open(&log, offsets.floor(offset), u64::MAX)?;
        let found = loop {
            match batches.next().unwrap_or_default() {
                Some((_, header, _)) if header.last_offset().0 < offset => {}
                found => break found.map(|(_, header, bytes)| (header, bytes)),
            }
        };
        match found {
            Some((header, bytes)) if header.last_offset().0 == offset => {
                let newest = newest(&header, &bytes)
                    .map_err(|what| format!("the batch of offset {offset} is damaged: {what}"))?;
                if newest != timestamp {
                    note(&mut findings.timestamps, file, timestamp, newest);
                }
                if before >= timestamp {
                    note(&mut findings.order, file, timestamp, before);
                }
            }
            found => {
                let last = found.map_or(-1, |(header, _)| header.last_offset().0);
                note(&mut findings.not_found, file, offset, last);
            }
        }
        if !options.verify_index_only {
            println!("timestamp: {timestamp} offset: {offset}");
        }
        before = timestamp;
    }
    Ok(())
}

fn time_entry(base: i64, e: &[u8]) -> (i64, i64) {
    let timestamp = i64::from_be_bytes([e[0], e[1], e[2], e[3], e[4], e[5], e[6], e[7]]);
    let relative = i32::from_be_bytes([e[8], e[9], e[10], e[11]]);
    (timestamp, base + i64::from(relative))
}

/// The check that decides at the start of a broker whether an index is built anew.
fn sane(
    file: &Path,
    kind: &str,
    (last, base): (i64, i64),
    bytes: usize,
    entry: usize,
) -> Result<(), String> {
    let path = full(file);
    if last < base {
        return Err(format!(
            "Corrupt {kind} found, {kind} file ({}) has non-zero size but the last offset is {last} \
             which is less than the base offset {base}",
            path.display()
        ));
    }
    if !bytes.is_multiple_of(entry) {
        return Err(format!(
            "The {kind} file {} is corrupt, found {bytes} bytes which is neither positive nor a \
             multiple of {entry}",
            path.display()
        ));
    }
    println!("{} passed sanity check.", file.display());
    Ok(())
}
