//! Groups on a shard: the requests that wait for them, and their records on the way to the log.
//!
//! Flow: a handler calls [`Shard::ask_groups`] -> the coordinator's effects: replies go out, records
//! are appended to `__consumer_offsets` -> when the high watermark passes them
//! (`on_group_log`) the coordinator hears of it, and replies go out again.

use std::collections::{BTreeMap, VecDeque};

use crate::base::Offset;
use crate::coordinator::{Answer, AppendFailure, At, Effect, Groups, Record, Ticket};
use crate::image::CONSUMER_OFFSETS;
use crate::shard::append::Acks;
use crate::shard::{Call, Shard};
use crate::storage::{LogId, StorageError};
use crate::wire::codec::Codec;
use crate::wire::frame;
use crate::wire::record::{BatchBuilder, ProducerStamp};

type Encode = dyn FnOnce(&Call, Answer) -> frame::Answer;

/// A request that waits for its group, with the way to encode what comes of it.
pub struct GroupCall {
    call: Call,
    encode: Box<Encode>,
}

impl GroupCall {
    /// The return address of `call`.
    pub fn new(call: &Call, encode: impl FnOnce(&Call, Answer) -> frame::Answer + 'static) -> Self {
        Self { call: call.clone(), encode: Box::new(encode) }
    }
}

/// Appends of groups that the high watermark has not passed, by log, in offset order.
pub(super) type GroupAppends = BTreeMap<LogId, VecDeque<(Offset, Ticket)>>;

type Effects = Vec<Effect<GroupCall>>;

impl Shard {
    /// Calls the coordinator and does what it wants done. Replies go to the slots of their calls.
    pub fn ask_groups(&mut self, ask: impl FnOnce(&mut Groups<GroupCall>, At, &mut Effects)) {
        let at = At { now: self.now, wall: self.wall };
        let mut out = Effects::new();
        ask(&mut self.groups, at, &mut out);
        // An append that fails at once has effects of its own.
        while !out.is_empty() {
            for effect in std::mem::take(&mut out) {
                match effect {
                    Effect::Reply { to: GroupCall { call, encode }, answer } => {
                        let answer = encode(&call, answer);
                        self.send(call.slot, answer);
                    }
                    Effect::Append { partition, records, ticket } => {
                        if let Some(result) = self.append_group(partition, &records, ticket) {
                            self.groups.on_append(ticket, result, at, &mut out);
                        }
                    }
                }
            }
        }
    }

    /// Appends a batch of group records; `Some` when it is clear at once what became of it.
    fn append_group(
        &mut self,
        partition: i32,
        records: &[Record],
        ticket: Ticket,
    ) -> Option<Result<(), AppendFailure>> {
        match self.try_append_group(partition, records) {
            Err(failure) => Some(Err(failure)),
            Ok((log, end)) if self.must_wait(log, end, Acks::All) => {
                self.group_appends.entry(log).or_default().push_back((end, ticket));
                None
            }
            Ok(_) => Some(Ok(())),
        }
    }

    fn try_append_group(
        &mut self,
        partition: i32,
        records: &[Record],
    ) -> Result<(LogId, Offset), AppendFailure> {
        let log = self.partitions.find(CONSUMER_OFFSETS, partition);
        let log = log.map_err(|_| AppendFailure::NotLeader)?;
        let leads = self.partitions.get(log).ok_or(AppendFailure::NotLeader)?;
        if leads.leader.in_sync() < leads.leader.min_in_sync() {
            return Err(AppendFailure::NotEnoughReplicas);
        }
        let limit_bytes = leads.rules.batch_bytes_max.min(leads.rules.segment_bytes);
        let mut builder = BatchBuilder::default();
        for record in records {
            builder.push(self.wall.0, Some(&record.key), record.value.as_deref(), &[]);
        }
        if builder.size_bytes() > limit_bytes {
            return Err(AppendFailure::TooLarge);
        }
        let batch = builder.build(Codec::None, ProducerStamp::NONE);
        let batch = batch.map_err(|_| AppendFailure::TooLarge)?;
        let end = self.append_own(log, &batch).map_err(|error| match error {
            StorageError::Deleted => AppendFailure::NotLeader,
            StorageError::BatchTooLarge { .. } => AppendFailure::TooLarge,
            _ => AppendFailure::Storage,
        })?;
        Ok((log, end))
    }

    /// The high watermark of a log has moved to `below`, or the log has failed or is gone.
    pub(super) fn on_group_log(
        &mut self,
        log: LogId,
        below: Offset,
        result: Result<(), AppendFailure>,
    ) {
        loop {
            let Some(waits) = self.group_appends.get_mut(&log) else { return };
            let Some((_, ticket)) = waits.pop_front_if(|(end, _)| *end <= below) else { return };
            self.ask_groups(|groups, at, out| groups.on_append(ticket, result, at, out));
        }
    }
}
