//! The batches of one partition: one open, the others closed, in the order of their records.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::{Moment, Offset};
use crate::client::cluster::PartitionName;
use crate::client::error::ClientError;
use crate::client::producer::identity::{Identity, Known};
use crate::client::producer::options::NewRecord;
use crate::wire::ErrorCode;
use crate::wire::batch::HEADER_BYTES;
use crate::wire::codec::{Codec, CodecError};
use crate::wire::record::{self, BatchBuilder, ProducerStamp};

/// Where a closed batch stands.
#[derive(Debug)]
enum Stage {
    /// It is to be sent, for the first time or again.
    Waiting,
    /// It is on its way.
    InFlight,
    /// It is over, and told when all before it are.
    Over(Result<Offset, ClientError>),
}

/// A closed batch.
#[derive(Debug)]
pub(super) struct Closed {
    builder: BatchBuilder,
    /// Its bytes, from the first sending on.
    built: Option<Bytes>,
    /// Whose number they have.
    stamp: Option<Known>,
    /// That number led nowhere: it gets another one.
    is_stale: bool,
    stage: Stage,
    attempts: u32,
    pub(super) count: i32,
    pub(super) bytes: usize,
    pub(super) since: Moment,
}

/// The batches of one partition.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) name: PartitionName,
    open: BatchBuilder,
    opened_at: Moment,
    /// The open batch has lingered long enough. It still grows until it is sent.
    is_due: bool,
    closed: VecDeque<Closed>,
    /// Number of the first of `closed`.
    first: u64,
    next_sequence: i32,
    /// Whose numbers `next_sequence` goes on with.
    numbered_by: Option<Known>,
    /// Whose batch was acknowledged last.
    accepted: Option<Known>,
    /// Nothing is sent before, since something failed.
    not_before: Moment,
    /// The producer has it on its list of those that have something to send.
    pub(super) is_listed: bool,
}

/// A batch on its way out.
pub(super) struct Built {
    /// Its number in the queue.
    pub(super) number: u64,
    pub(super) bytes: Bytes,
}

impl Queue {
    pub(super) fn new(name: PartitionName) -> Self {
        Self {
            name,
            open: BatchBuilder::default(),
            opened_at: Moment::default(),
            is_due: false,
            closed: VecDeque::new(),
            first: 0,
            next_sequence: 0,
            numbered_by: None,
            accepted: None,
            not_before: Moment::default(),
            is_listed: false,
        }
    }

    /// When the open batch was begun, while it lingers.
    pub(super) fn lingers_since(&self) -> Option<Moment> {
        (self.open.count() > 0 && !self.is_due).then_some(self.opened_at)
    }

    /// When the oldest record was pushed that has no delivery.
    pub(super) fn oldest(&self) -> Option<Moment> {
        let open = (self.open.count() > 0).then_some(self.opened_at);
        self.closed.front().map(|c| c.since).or(open)
    }

    /// Whether a record would make the open batch larger than `batch_bytes`.
    pub(super) fn is_full_for(&self, record: &NewRecord<'_>, batch_bytes: usize) -> bool {
        self.open.count() > 0 && self.open.size_bytes() + record.bytes_max() > batch_bytes
    }

    /// Appends a record to the open batch; returns the bytes it took, and whether it is the first.
    pub(super) fn push(&mut self, record: &NewRecord<'_>, now: Moment) -> (usize, bool) {
        let is_first = self.open.count() == 0;
        if is_first {
            self.opened_at = now;
        }
        let before = self.open.size_bytes();
        self.open.push(record.timestamp, record.key, record.value, record.headers);
        (self.open.size_bytes() - before, is_first)
    }

    /// The open batch shall wait no longer.
    pub(super) fn set_due(&mut self) {
        self.is_due = self.open.count() > 0;
    }

    /// Closes the open batch.
    pub(super) fn close(&mut self) {
        let builder = std::mem::take(&mut self.open);
        self.is_due = false;
        self.closed.push_back(Closed {
            count: builder.count(),
            bytes: builder.size_bytes() - HEADER_BYTES,
            builder,
            built: None,
            stamp: None,
            is_stale: false,
            stage: Stage::Waiting,
            since: self.opened_at,
            attempts: 0,
        });
    }

    /// Bytes of the batch that [`Self::send_next`] would send now.
    pub(super) fn next_bytes(&self, now: Moment, identity: &Identity) -> Option<usize> {
        if now < self.not_before {
            return None;
        }
        match self.next_closed(identity) {
            Some(at) => Some(self.closed[at].bytes),
            None if self.is_due && self.may_follow(self.closed.len(), None, identity) => {
                Some(self.open.size_bytes() - HEADER_BYTES)
            }
            None => None,
        }
    }

    /// Until when it waits because something failed.
    pub(super) fn waits_until(&self, now: Moment) -> Option<Moment> {
        let has_some = !self.closed.is_empty() || self.is_due;
        (has_some && self.not_before > now).then_some(self.not_before)
    }

    fn next_closed(&self, identity: &Identity) -> Option<usize> {
        let at = self.closed.iter().position(|c| matches!(c.stage, Stage::Waiting))?;
        let batch = &self.closed[at];
        let has_number = batch.built.is_some() && !batch.is_stale;
        self.may_follow(at, has_number.then_some(batch.stamp), identity).then_some(at)
    }

    /// P5, P6: whether the batch at `at` may go while those before it are unfinished.
    fn may_follow(&self, at: usize, stamp: Option<Option<Known>>, identity: &Identity) -> bool {
        let stamp = stamp.unwrap_or_else(|| identity.known());
        let before = at.checked_sub(1).map(|at| self.closed[at].stamp);
        before.is_none_or(|before| before == stamp && (stamp.is_none() || self.accepted == stamp))
    }

    /// Bytes of the next batch to send, numbered when it goes out for the first time (P2). Closes the
    /// open batch when it is its turn; says so.
    pub(super) fn send_next(
        &mut self,
        codec: Codec,
        identity: &Identity,
    ) -> Result<(Built, bool), (u64, ClientError)> {
        let closed = self.next_closed(identity);
        let at = closed.unwrap_or(self.closed.len());
        if closed.is_none() {
            self.close();
        }
        let number = self.first + at as u64;
        let known = identity.known();
        let batch = &mut self.closed[at];
        batch.attempts += 1;
        batch.stage = Stage::InFlight;
        if let Some(bytes) = batch.built.as_ref().filter(|_| !batch.is_stale) {
            return Ok((Built { number, bytes: bytes.clone() }, closed.is_none()));
        }
        if self.numbered_by != known {
            (self.numbered_by, self.next_sequence) = (known, 0);
        }
        let stamp = known.map_or(ProducerStamp::NONE, |k| ProducerStamp {
            id: k.id,
            epoch: k.epoch,
            sequence: self.next_sequence,
            transactional: false,
        });
        let built = match &batch.built {
            Some(bytes) => Ok(record::with_stamp(bytes, stamp)),
            None => batch.builder.build(codec, stamp),
        };
        let refused = |e: CodecError| ClientError::Request { api: "Produce", what: e.to_string() };
        let bytes = built.map_err(|e| (number, refused(e)))?;
        batch.built = Some(bytes.clone());
        (batch.stamp, batch.is_stale) = (known, false);
        self.next_sequence = self.next_sequence.wrapping_add(batch.count) & i32::MAX;
        Ok((Built { number, bytes }, closed.is_none()))
    }

    fn index(&self, number: u64) -> Option<usize> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        (at < self.closed.len()).then_some(at)
    }

    /// A batch is over, one way or the other.
    pub(super) fn set_over(&mut self, number: u64, result: Result<Offset, ClientError>) {
        if let Some(at) = self.index(number) {
            if result.is_ok() {
                self.accepted = self.closed[at].stamp;
            }
            self.closed[at].stage = Stage::Over(result);
        }
    }

    /// A batch failed: it is sent again when the failure may pass. Returns whether the producer needs a
    /// new id (P2).
    pub(super) fn on_failure(
        &mut self,
        number: u64,
        error: ClientError,
        (retry_at, retries_max): (Moment, u32),
        identity: &Identity,
    ) -> bool {
        let Some(at) = self.index(number) else { return false };
        let is_first = at == 0;
        let batch = &mut self.closed[at];
        let is_gap = matches!(
            error,
            ClientError::Refused { code: ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, .. }
        ) && batch.stamp.is_some();
        if batch.attempts > retries_max || !(is_gap || error.is_retriable()) {
            batch.stage = Stage::Over(Err(error));
            return false;
        }
        batch.stage = Stage::Waiting;
        if !is_gap {
            self.not_before = self.not_before.max(retry_at);
        } else if is_first {
            // What was before it is gone for good: it was not appended, and needs a new number.
            batch.is_stale = true;
            let stamp = batch.stamp;
            self.not_before = self.not_before.max(retry_at);
            return stamp == identity.known();
        }
        false
    }

    /// Gives up the first batch when it was pushed before `since` and is not on its way.
    pub(super) fn expire(&mut self, since: Moment, error: impl Fn(&Self) -> ClientError) {
        if self.closed.is_empty() && self.open.count() > 0 && self.opened_at <= since {
            self.close();
        }
        let error = error(self);
        if let Some(front) = self.closed.front_mut()
            && front.since <= since
            && matches!(front.stage, Stage::Waiting)
        {
            front.stage = Stage::Over(Err(error));
        }
    }

    /// Takes off the first batch if it is over. The last value says whether its loss is a gap in the
    /// numbers of the present producer id.
    pub(super) fn take_over(
        &mut self,
        identity: &Identity,
    ) -> Option<(Closed, Result<Offset, ClientError>, bool)> {
        if !matches!(self.closed.front()?.stage, Stage::Over(_)) {
            return None;
        }
        let mut front = self.closed.pop_front()?;
        self.first += 1;
        let Stage::Over(result) = std::mem::replace(&mut front.stage, Stage::Waiting) else {
            return None;
        };
        let leaves_a_gap =
            result.is_err() && front.stamp.is_some() && front.stamp == identity.known();
        Some((front, result, leaves_a_gap))
    }
}
