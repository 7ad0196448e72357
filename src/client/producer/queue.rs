//! The batches of one partition: one open, the others closed and waiting in the order of their records.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::Moment;
use crate::client::error::ClientError;
use crate::client::producer::identity::Identity;
use crate::client::producer::options::NewRecord;
use crate::wire::batch::HEADER_BYTES;
use crate::wire::codec::Codec;
use crate::wire::record::{BatchBuilder, ProducerStamp};

/// A closed batch.
#[derive(Debug)]
pub(super) struct Waiting {
    builder: BatchBuilder,
    /// Set at the first sending.
    built: Option<Bytes>,
    pub(super) count: i32,
    pub(super) bytes: usize,
    pub(super) since: Moment,
    pub(super) attempts: u32,
}

/// The batches of one partition.
#[derive(Debug, Default)]
pub(super) struct Queue {
    open: BatchBuilder,
    opened_at: Moment,
    pub(super) waiting: VecDeque<Waiting>,
    /// The first of `waiting` is on its way.
    pub(super) in_flight: bool,
    pub(super) next_sequence: i32,
    pub(super) not_before: Moment,
}

impl Queue {
    /// When the open batch was begun, if there is one.
    pub(super) fn opened_at(&self) -> Option<Moment> {
        (self.open.count() > 0).then_some(self.opened_at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.open.count() == 0
    }

    /// Whether a record would make the open batch larger than `batch_bytes`.
    pub(super) fn is_full_for(&self, record: &NewRecord<'_>, batch_bytes: usize) -> bool {
        self.open.count() > 0 && self.open.size_bytes() + record.bytes_max() > batch_bytes
    }

    /// Appends a record to the open batch and returns the bytes it took.
    pub(super) fn push(&mut self, record: &NewRecord<'_>, now: Moment) -> usize {
        if self.open.count() == 0 {
            self.opened_at = now;
        }
        let before = self.open.size_bytes();
        self.open.push(record.timestamp, record.key, record.value, record.headers);
        self.open.size_bytes() - before
    }

    /// Closes the open batch.
    pub(super) fn close(&mut self) {
        let builder = std::mem::take(&mut self.open);
        self.waiting.push_back(Waiting {
            count: builder.count(),
            bytes: builder.size_bytes() - HEADER_BYTES,
            builder,
            built: None,
            since: self.opened_at,
            attempts: 0,
        });
    }

    /// Bytes of the first waiting batch, stamped when it goes out for the first time (P2).
    pub(super) fn build_first(
        &mut self,
        codec: Codec,
        identity: &Identity,
    ) -> Result<Bytes, ClientError> {
        let bad = |what: String| ClientError::Request { api: "Produce", what };
        let sequence = self.next_sequence;
        let first = self.waiting.front_mut().ok_or_else(|| bad("no batch waits".to_owned()))?;
        first.attempts += 1;
        if let Some(built) = &first.built {
            return Ok(built.clone());
        }
        let stamp = match *identity {
            Identity::Known { id, epoch } => {
                ProducerStamp { id, epoch, sequence, transactional: false }
            }
            _ => ProducerStamp::NONE,
        };
        let built = first.builder.build(codec, stamp).map_err(|e| bad(e.to_string()))?;
        first.built = Some(built.clone());
        self.next_sequence = sequence.wrapping_add(first.count) & i32::MAX;
        Ok(built)
    }
}

impl Waiting {
    /// Whether the broker may have seen it.
    pub(super) fn was_sent(&self) -> bool {
        self.built.is_some()
    }
}
