//! Offsets by time: the first record at or after a timestamp, and the latest record.
//!
//! Both go by the time indexes to a batch and open it. Either is pending while indexes or batches
//! are being read, and while the opener opens a batch that takes too long for a turn (`lookups`).

use super::LogId;
use super::error::StorageError;
use super::lookups::Asked;
use super::read::Read;
use super::store::Store;
use crate::base::{LeaderEpoch, Offset};
use crate::wire::batch;

/// Bytes looked at in one go.
const STEP_BYTES: usize = 1 << 20;

/// A record found by time: offset, timestamp in ms, leader epoch of its batch.
pub type Found = (Offset, i64, LeaderEpoch);

/// The answer to a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Find {
    /// The record, or none.
    Ready(Option<Found>),
    /// It is being read; `StoreEvent::Readable` comes.
    Pending,
}

impl Store {
    /// The first record below `upto` with a timestamp at or after `target_ms`.
    ///
    /// # Errors
    /// [`StorageError::Fenced`], [`StorageError::Deleted`].
    pub fn find_timestamp(
        &mut self,
        id: LogId,
        target_ms: i64,
        upto: Offset,
    ) -> Result<Find, StorageError> {
        let log = self.served(id)?;
        let start = log.log_start;
        for i in log.segment_of(start)..log.segments.len() {
            let Some(index) = &log.segments[i].index else {
                self.load_index(id, i);
                return Ok(Find::Pending);
            };
            if index.max_timestamp().is_some_and(|(latest, _)| latest >= target_ms) {
                let from = index.floor_time(target_ms).max(start);
                return self.first_record(id, from, upto, target_ms);
            }
        }
        Ok(Find::Ready(None))
    }

    /// The record with the largest timestamp, when it lies below `upto`; the first of several.
    ///
    /// # Errors
    /// As [`Self::find_timestamp`].
    pub fn max_timestamp(&mut self, id: LogId, upto: Offset) -> Result<Find, StorageError> {
        let log = self.served(id)?;
        let mut best: Option<(i64, Offset)> = None;
        for i in log.segment_of(log.log_start)..log.segments.len() {
            let Some(index) = &log.segments[i].index else {
                self.load_index(id, i);
                return Ok(Find::Pending);
            };
            if let Some(latest) = index.max_timestamp()
                && best.is_none_or(|b| latest.0 > b.0)
            {
                best = Some(latest);
            }
        }
        match best {
            Some((timestamp, at)) if at >= log.log_start => {
                self.first_record(id, at, upto, timestamp)
            }
            _ => Ok(Find::Ready(None)),
        }
    }

    /// The first record from `from` on, below `upto`, with a timestamp at or after `target_ms`.
    fn first_record(
        &mut self,
        id: LogId,
        from: Offset,
        upto: Offset,
        target_ms: i64,
    ) -> Result<Find, StorageError> {
        let start = self.served(id)?.log_start;
        let mut at = from;
        while at < upto {
            let Read::Ready(batches) = self.read(id, at, upto, STEP_BYTES, true)? else {
                return Ok(Find::Pending);
            };
            let candidates = batches
                .parts
                .iter()
                .flat_map(|part| {
                    batch::iter(part).map(move |(header, batch)| (part, header, batch))
                })
                .filter(|(_, header, _)| header.max_timestamp >= target_ms);
            for (part, header, batch) in candidates {
                let asked = Asked { log: id, batch: header.base_offset, start, target_ms };
                match self.lookups.find(asked, &header, part, batch) {
                    Find::Ready(None) => {}
                    found => return Ok(found),
                }
            }
            if batches.bytes == 0 {
                break;
            }
            at = batches.next;
        }
        Ok(Find::Ready(None))
    }
}
