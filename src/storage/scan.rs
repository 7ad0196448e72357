//! Reading batches back and telling whether they are what was written.
//!
//! Used by recovery (a file from some byte on) and by reads of old records (a window).

use std::path::Path;

use super::error::{Fault, StorageError};
use crate::base::Offset;
use crate::runtime::disk::DiskFile;
use crate::wire::batch::{BatchError, BatchHeader, HEADER_BYTES};

const BUFFER_BYTES: usize = 1 << 20;

/// Which base offset a batch may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// This one.
    Exactly(Offset),
    /// This one or a later one: compaction leaves gaps.
    AtLeast(Offset),
    /// The one whose batch ends with this offset: what an index says.
    EndsWith(Offset),
}

/// What follows a batch that ends before `next`.
pub(super) fn after(next: Offset, dense: bool) -> Expect {
    if dense { Expect::Exactly(next) } else { Expect::AtLeast(next) }
}

/// Checks a batch: version, checksum, offset.
pub(super) fn check(header: &BatchHeader, batch: &[u8], expect: Expect) -> Result<(), Fault> {
    if header.magic == 2 {
        header.check_crc(batch)?;
    }
    check_place(header, expect)
}

/// The same without its checksum.
pub(super) fn check_place(header: &BatchHeader, expect: Expect) -> Result<(), Fault> {
    let found = header.base_offset;
    let (expected, fits) = match expect {
        Expect::Exactly(o) => (o, found == o),
        Expect::AtLeast(o) => (o, found >= o),
        Expect::EndsWith(o) => (o, header.last_offset() == o),
    };
    if header.magic != 2 {
        return Err(Fault::Magic(header.magic));
    }
    if !fits || header.last_offset_delta < 0 {
        return Err(Fault::Offset { expected, found });
    }
    Ok(())
}

/// Where a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScanEnd {
    /// Byte after the last good batch.
    pub(super) at: u64,
    /// Offset after it.
    pub(super) next: Offset,
    /// What follows it, when that is not the end of the file.
    pub(super) fault: Option<Fault>,
}

/// Goes through the batches of a segment from byte `from` up to byte `size`: the first as `first`
/// says, each further one where the one before ended, or later unless `dense`. Ends at the first
/// bad one.
pub(super) fn scan(
    file: &dyn DiskFile,
    path: &Path,
    (from, size): (u64, u64),
    (first, dense): (Expect, bool),
    mut each: impl FnMut(&BatchHeader, u64),
) -> Result<ScanEnd, StorageError> {
    let (Expect::Exactly(start) | Expect::AtLeast(start) | Expect::EndsWith(start)) = first;
    let mut end = ScanEnd { at: from, next: start, fault: None };
    let mut expect = first;
    let mut buf = vec![0; BUFFER_BYTES.min((size - from) as usize)];
    let (mut buf_at, mut filled) = (from, 0);
    while end.at < size {
        let have = buf.get((end.at - buf_at) as usize..filled).unwrap_or_default();
        let need = match BatchHeader::parse_whole(have) {
            Ok((header, batch)) => {
                if let Err(fault) = check(&header, batch, expect) {
                    end.fault = Some(fault);
                    break;
                }
                each(&header, end.at);
                end.at += header.size_bytes as u64;
                end.next = header.next_offset();
                expect = after(end.next, dense);
                continue;
            }
            Err(BatchError::Short { need, .. }) => need,
            Err(e) => {
                end.fault = Some(e.into());
                break;
            }
        };
        let left = size - end.at;
        if need as u64 > left {
            let have = left as usize;
            end.fault = Some(BatchError::Short { have, need: need.max(HEADER_BYTES) }.into());
            break;
        }
        buf.resize(BUFFER_BYTES.min(left as usize).max(need), 0);
        buf_at = end.at;
        filled = file.read_at(&mut buf, buf_at).map_err(StorageError::disk("reading", path))?;
        if filled < need {
            end.fault = Some(Fault::Ends { durable: end.at + need as u64 });
            break;
        }
    }
    Ok(end)
}
