//! Batches of a log, one after another, and their records.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use klamm::wire::batch::{BatchHeader, HEADER_BYTES};
use klamm::wire::codec::Codec;
use klamm::wire::record::{self, Record};

use super::schema::Table;
use super::{Findings, MAX_BYTES, Options, base_offset, note};

/// Bytes up to the format version, without which nothing is known of a batch.
const UP_TO_MAGIC: u64 = 17;
/// What precedes the bytes that the length field counts.
const OVERHEAD: u64 = 12;
/// The shortest batch of any format.
const LENGTH_MIN: i32 = 14;
/// A batch's records may not take more than this when they are decompressed.
const RECORDS_BYTES_MAX: usize = 1 << 30;
/// Attribute of a batch whose base timestamp says when its tombstones may go.
const DELETE_HORIZON_BIT: i16 = 0x40;

/// The batches of a file, read one at a time.
pub(super) struct Batches {
    file: BufReader<File>,
    at: u64,
    size: u64,
}

impl Batches {
    /// From byte `at` of a log on.
    pub(super) fn open(log: &Path, at: u64, limit: u64) -> Result<Self, String> {
        let file = File::open(log).map_err(|e| format!("{}: {e}", log.display()))?;
        let size = file.metadata().map_err(|e| e.to_string())?.len();
        let mut file = BufReader::with_capacity(1 << 16, file);
        file.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
        Ok(Self { file, at, size: size.min(at.saturating_add(limit)) })
    }

    /// The next whole batch with its position; `None` where no whole one follows.
    pub(super) fn next(&mut self) -> Result<Option<(u64, BatchHeader, Vec<u8>)>, String> {
        if self.at + UP_TO_MAGIC >= self.size {
            return Ok(None);
        }
        let at = self.at;
        let damaged = |what: String| format!("damaged at byte {at}: {what}");
        let mut bytes = vec![0; UP_TO_MAGIC as usize];
        let read = |e: io::Error| damaged(e.to_string());
        self.file.read_exact(&mut bytes).map_err(read)?;
        let length = i32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if length < LENGTH_MIN {
            return Err(damaged(format!(
                "Found record size {length} smaller than minimum record overhead ({LENGTH_MIN})"
            )));
        }
        let whole = length as u64 + OVERHEAD;
        if at + whole > self.size {
            return Ok(None);
        }
        let magic = bytes[16].cast_signed();
        if magic != 2 {
            return Err(damaged(format!("a batch of format {magic}; only format 2 is read")));
        }
        bytes.resize(whole as usize, 0);
        self.file.read_exact(&mut bytes[UP_TO_MAGIC as usize..]).map_err(read)?;
        let header = BatchHeader::parse(&bytes).map_err(|e| damaged(e.to_string()))?;
        self.at += whole;
        Ok(Some((at, header, bytes)))
    }
}

/// Prints a log, or a snapshot of the metadata, which has the form of one.
pub(super) fn dump(
    file: &Path,
    options: &Options,
    table: &Table,
    findings: &mut Findings,
) -> Result<(), String> {
    println!("{}", title(file)?);
    let mut batches = Batches::open(file, 0, u64::from(options.max_bytes))?;
    let deep = options.prints_data() || options.deep_iteration;
    let mut out = io::stdout().lock();
    // Kafka's tool expects each file to begin at offset 0, and says so of all others.
    let mut last = -1;
    while let Some((at, header, bytes)) = batches.next()? {
        let mut lines = batch_line(at, &header, &bytes)?;
        let read = if deep {
            record_lines(&mut lines, &header, &bytes, (options, table), |offset| {
                if last + 1 != offset {
                    note(&mut findings.gaps, file, last, offset);
                }
                last = offset;
            })
        } else {
            Ok(())
        };
        out.write_all(lines.as_bytes()).map_err(|e| e.to_string())?;
        read.map_err(|what| format!("damaged in the batch at byte {at}: {what}"))?;
    }
    let rest = batches.size - batches.at;
    if rest > 0 && options.max_bytes == MAX_BYTES {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let text = format!("Found {rest} invalid bytes at the end of {name}\n");
        out.write_all(text.as_bytes()).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn title(file: &Path) -> Result<String, String> {
    let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let Some(id) = name.strip_suffix(".checkpoint") else {
        return Ok(format!("Log starting offset: {}", base_offset(file)?));
    };
    if id == "bootstrap" {
        return Ok("KRaft bootstrap snapshot".into());
    }
    let number = |digits: &str| digits.parse::<i64>().ok();
    let id = id.split_once('-').and_then(|(end, epoch)| Some((number(end)?, number(epoch)?)));
    let (end, epoch) = id.ok_or("the name is not that of a snapshot: offset-epoch.checkpoint")?;
    Ok(format!("Snapshot end offset: {end}, epoch: {epoch}"))
}

fn codec(header: &BatchHeader) -> Result<Codec, String> {
    let id = header.codec_id();
    Codec::from_id(id).ok_or_else(|| format!("Unknown compression type id: {id}"))
}

/// The records of a batch, not compressed.
fn plain(header: &BatchHeader, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let body = &bytes[HEADER_BYTES..];
    codec(header)?.decompress(body, RECORDS_BYTES_MAX).map_err(|e| e.to_string())
}

/// The newest timestamp of a batch's records, whatever its header says; -1 when there are none.
pub(super) fn newest(header: &BatchHeader, bytes: &[u8]) -> Result<i64, String> {
    let plain = plain(header, bytes)?;
    record::records(&plain, header.count).try_fold(-1, |newest, record| {
        let record = record.map_err(|e| e.to_string())?;
        Ok(timestamp(header, &record).max(newest))
    })
}

fn timestamp(header: &BatchHeader, record: &Record<'_>) -> i64 {
    if header.is_append_time() {
        header.max_timestamp
    } else {
        header.base_timestamp.wrapping_add(record.timestamp_delta)
    }
}

fn timestamp_type(header: &BatchHeader) -> &'static str {
    if header.is_append_time() { "LogAppendTime" } else { "CreateTime" }
}

pub(super) fn batch_line(at: u64, h: &BatchHeader, bytes: &[u8]) -> Result<String, String> {
    let horizon = match h.attributes & DELETE_HORIZON_BIT {
        0 => "OptionalLong.empty".to_owned(),
        _ => format!("OptionalLong[{}]", h.base_timestamp),
    };
    // Only damage makes it less than the -1 of no sequence.
    let last_sequence = match h.base_sequence {
        base if base < -1 => base.wrapping_add(h.last_offset_delta),
        _ => h.last_sequence(),
    };
    let codec = codec(h).map_err(|what| format!("damaged in the batch at byte {at}: {what}"))?;
    Ok(format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {last_sequence} \
         producerId: {} producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: \
         {} deleteHorizonMs: {horizon} position: {at} {}: {} size: {} magic: {} compresscodec: {} \
         crc: {} isvalid: {}\n",
        h.base_offset,
        h.last_offset(),
        h.count,
        h.base_sequence,
        h.producer_id,
        h.producer_epoch,
        h.leader_epoch,
        h.is_transactional(),
        h.is_control(),
        timestamp_type(h),
        h.max_timestamp,
        h.size_bytes,
        h.magic,
        codec.name(),
        h.crc,
        h.check_crc(bytes).is_ok(),
    ))
}

pub(super) fn record_lines(
    lines: &mut String,
    header: &BatchHeader,
    bytes: &[u8],
    (options, table): (&Options, &Table),
    mut on_offset: impl FnMut(i64),
) -> Result<(), String> {
    let plain = plain(header, bytes)?;
    for record in record::records(&plain, header.count) {
        let record = record.map_err(|e| e.to_string())?;
        on_offset(header.base_offset.0 + i64::from(record.offset_delta));
        lines.push('|');
        if !options.skip_record_metadata {
            metadata(lines, header, &record, table)?;
        }
        if options.prints_data() && !header.is_control() {
            contents(lines, header, &record, (options, table))?;
        }
        if lines.ends_with('|') {
            lines.pop();
        }
        lines.push('\n');
    }
    Ok(())
}

/// Key and value, as they are or in words.
fn contents(
    lines: &mut String,
    header: &BatchHeader,
    record: &Record<'_>,
    (options, table): (&Options, &Table),
) -> Result<(), String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (key, payload) = match options.words_for() {
        Some(kind) => {
            let offset = header.base_offset.0 + i64::from(record.offset_delta);
            table.words(kind, offset, record.key, record.value)?
        }
        None => (record.key.map(text), record.value.map(text)),
    };
    for (name, part) in [("key", key), ("payload", payload)] {
        if let Some(part) = part {
            let _ = write!(lines, " {name}: {part}");
        }
    }
    Ok(())
}

fn metadata(
    lines: &mut String,
    header: &BatchHeader,
    record: &Record<'_>,
    table: &Table,
) -> Result<(), String> {
    let timestamp = timestamp(header, record);
    let size = |part: Option<&[u8]>| part.map_or(-1, |p| p.len() as i64);
    let sequence = match header.base_sequence {
        base if base < 0 => -1,
        base => (i64::from(base) + i64::from(record.offset_delta)) & i64::from(i32::MAX),
    };
    let headers = record.headers().map(|(key, _)| key).collect::<Vec<_>>().join(",");
    let _ = write!(
        lines,
        " offset: {} {}: {timestamp} keySize: {} valueSize: {} sequence: {sequence} headerKeys: \
         [{headers}]",
        header.base_offset.0 + i64::from(record.offset_delta),
        timestamp_type(header),
        size(record.key),
        size(record.value),
    );
    if header.is_control() {
        control(lines, record, table)?;
    }
    Ok(())
}

/// A control record: the end of a transaction, one of the metadata's log, or one that nobody knows.
fn control(lines: &mut String, record: &Record<'_>, table: &Table) -> Result<(), String> {
    let number = |bytes: Option<&[u8]>| {
        let bytes = bytes.and_then(|b| b.get(2..4)).ok_or("a control record is too short")?;
        Ok::<_, String>(i16::from_be_bytes([bytes[0], bytes[1]]))
    };
    let kind = match number(record.key)? {
        0 => "ABORT",
        1 => "COMMIT",
        other => {
            let words = table.control(other, record.value.unwrap_or_default());
            let words = words.unwrap_or_else(|| Ok(format!("controlType: UNKNOWN({other})")))?;
            let _ = write!(lines, " {words}");
            return Ok(());
        }
    };
    let epoch = record.value.and_then(|v| v.get(2..6)).ok_or("a control record is too short")?;
    let epoch = i32::from_be_bytes([epoch[0], epoch[1], epoch[2], epoch[3]]);
    let _ = write!(lines, " endTxnMarker: {kind} coordinatorEpoch: {epoch}");
    Ok(())
}
