//! Producer snapshots and aborted transactions.

use std::fs;
use std::path::Path;

/// What a producer snapshot begins with: version, checksum, number of producers.
const SNAPSHOT_HEAD: usize = 10;
/// Where the bytes begin that the checksum covers.
const CRC_FROM: usize = 6;
/// Bytes of a producer: id, epoch, last sequence, last offset, offset delta, timestamp, coordinator
/// epoch, first offset of its open transaction.
const PRODUCER: usize = 46;
/// Bytes of an aborted transaction: version, producer id, first and last offset, last stable offset.
const ABORTED: usize = 34;

/// Prints a producer snapshot. One that is damaged is named, and is no failure, as with Kafka's tool.
pub(super) fn dump_producers(file: &Path) -> Result<(), String> {
    let bytes = fs::read(file).map_err(|e| e.to_string())?;
    match producers(&bytes) {
        Ok(lines) => lines.iter().for_each(|line| println!("{line}")),
        Err(what) => eprintln!("{what}"),
    }
    Ok(())
}

fn producers(bytes: &[u8]) -> Result<Vec<String>, String> {
    let (head, rest) = bytes
        .split_at_checked(SNAPSHOT_HEAD)
        .ok_or("Snapshot is corrupt: it is shorter than its head")?;
    let version = i16::from_be_bytes([head[0], head[1]]);
    if version != 1 {
        return Err(format!("Snapshot contained an unknown file version {version}"));
    }
    let stored = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
    let computed = crc32c::crc32c(&bytes[CRC_FROM..]);
    if stored != computed {
        return Err(format!(
            "Snapshot is corrupt (CRC is no longer valid). Stored crc: {stored}. Computed crc: {computed}"
        ));
    }
    let count = i32::from_be_bytes([head[6], head[7], head[8], head[9]]);
    if usize::try_from(count).ok().and_then(|n| n.checked_mul(PRODUCER)) != Some(rest.len()) {
        return Err(format!(
            "Snapshot is corrupt: {count} producers do not take {} bytes",
            rest.len()
        ));
    }
    Ok(rest.chunks_exact(PRODUCER).map(producer).collect())
}

fn producer(entry: &[u8]) -> String {
    let mut fields = Fields { rest: entry };
    let (id, epoch, sequence) = (fields.int(8), fields.int(2), fields.int(4));
    let (offset, delta, timestamp) = (fields.int(8), fields.int(4), fields.int(8));
    let (coordinator, first) = (fields.int(4), fields.int(8));
    let first =
        if first < 0 { "OptionalLong.empty".to_owned() } else { format!("OptionalLong[{first}]") };
    let head = format!(
        "producerId: {id} producerEpoch: {epoch} coordinatorEpoch: {coordinator} \
         currentTxnFirstOffset: {first} lastTimestamp: {timestamp}"
    );
    if offset < 0 {
        return head;
    }
    // Sequences go from 2^31-1 on to 0.
    let first = (sequence - delta) & i64::from(i32::MAX);
    head + &format!(
        " firstSequence: {first} lastSequence: {sequence} lastOffset: {offset} offsetDelta: {delta} \
         timestamp: {timestamp}"
    )
}

/// Prints a list of aborted transactions.
pub(super) fn dump_aborted(file: &Path) -> Result<(), String> {
    let bytes = fs::read(file).map_err(|e| e.to_string())?;
    for entry in bytes.chunks_exact(ABORTED) {
        let mut fields = Fields { rest: entry };
        let (version, id) = (fields.int(2), fields.int(8));
        let (first, last, stable) = (fields.int(8), fields.int(8), fields.int(8));
        println!(
            "version: {version} producerId: {id} firstOffset: {first} lastOffset: {last} \
             lastStableOffset: {stable}"
        );
    }
    match bytes.len() % ABORTED {
        0 => Ok(()),
        rest => Err(format!("the last {rest} bytes are not an entry of {ABORTED} bytes")),
    }
}

/// Signed big-endian numbers, one after another.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn int(&mut self, bytes: usize) -> i64 {
        let (number, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        let negative = number[0] & 0x80 != 0;
        let start = if negative { -1 } else { 0 };
        number.iter().fold(start, |n, &byte| (n << 8) | i64::from(byte))
    }
}
