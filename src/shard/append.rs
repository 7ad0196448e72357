//! Appending to a partition, and waking whoever waited for what became safe.
//!
//! Flow: `api::produce` -> [`Shard::append_produced`] -> store; later a commit ends ->
//! [`Shard::on_store_event`] -> leader -> acks end, parked fetches are woken.

use crate::base::{LeaderEpoch, Moment, Offset, WallMs};
use crate::coordinator::AppendFailure;
use crate::metrics::{self, Traffic};
use crate::partition::append::{self, Refusal};
use crate::partition::leader::Effect;
use crate::partition::open::Opened;
use crate::partition::producers::{ProducerError, Sequence};
use crate::purgatory::acks::AckId;
use crate::shard::Shard;
use crate::shard::opening::Chore;
use crate::shard::park::{ParkedAck, WaitEnd};
use crate::shard::partition::{Partition, Wait};
use crate::storage::{Append, Appended, Laid, LogId, StorageError, StoreEvent};
use crate::wire::batch::BatchHeader;

/// What a produced batch became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// The broker's timestamp, if it set one; -1 otherwise. For a duplicate, the time of the batch.
    pub log_append_time: i64,
    /// Log start offset at this moment.
    pub log_start: Offset,
}

/// Why a produced batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// The batch is not valid, or not for this topic.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It does not follow what its producer sent before.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// Fewer replicas in sync than `min.insync.replicas`, and the request asked for all.
    #[error("{in_sync} replicas in sync, min.insync.replicas is {min}")]
    NotEnoughReplicas {
        /// In sync now.
        in_sync: usize,
        /// The topic's minimum.
        min: usize,
    },
    /// The log failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How many must have an append before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Nobody is told.
    None,
    /// The leader, as safely as the topic asks.
    Leader,
    /// Every replica in sync.
    All,
}

impl Shard {
    /// Appends the bytes that a producer sent for one partition, and counts them. `opened` is what came
    /// of opening them, if that was done.
    ///
    /// # Errors
    /// [`ProduceError`]; nothing was written.
    pub fn append_produced(
        &mut self,
        log: LogId,
        header: BatchHeader,
        batch: &[u8],
        opened: Option<Opened>,
        acks: Acks,
    ) -> Result<Produced, ProduceError> {
        let result = self.try_append(log, header, batch, opened, acks);
        self.count_produced(log, header.count, batch.len(), &result);
        result
    }

    /// The same for a batch that was checked and laid out.
    ///
    /// # Errors
    /// [`ProduceError`]; nothing was written.
    pub fn append_laid(
        &mut self,
        log: LogId,
        laid: Laid,
        acks: Acks,
    ) -> Result<Produced, ProduceError> {
        let header = *laid.header();
        let mut laid = Some(laid);
        let result = self.try_append_laid(log, &mut laid, acks);
        if let Some(unused) = laid {
            self.openings.push(Chore::drop(unused.size_bytes(), unused));
        }
        self.count_produced(log, header.count, header.size_bytes, &result);
        result
    }

    fn count_produced(
        &mut self,
        log: LogId,
        records: i32,
        bytes: usize,
        result: &Result<Produced, ProduceError>,
    ) {
        match result {
            Ok(_) => self.count(log, |t| {
                t.produces += 1;
                t.messages_in += u64::try_from(records).unwrap_or(0);
                t.bytes_in += bytes as u64;
            }),
            Err(e) => self.count_refused(log, bytes, e),
        }
    }

    /// Counts a batch that is not appended.
    pub fn count_refused(&mut self, log: LogId, bytes: usize, error: &ProduceError) {
        use Refusal::{Corrupt, Magic, NoKey, OverMemory, OverSegment, TooLarge};
        match error {
            ProduceError::Refused(TooLarge { .. } | OverSegment { .. }) => {
                self.metrics.refuse(metrics::Refusal::BatchSize);
            }
            ProduceError::Refused(OverMemory { .. }) => {
                self.metrics.refuse(metrics::Refusal::PlainSize);
            }
            _ => {}
        }
        self.count(log, |t| {
            t.produces += 1;
            t.produces_failed += 1;
            match error {
                ProduceError::Refused(TooLarge { .. } | OverSegment { .. }) => {
                    t.bytes_rejected += bytes as u64;
                }
                ProduceError::Refused(Magic(_)) => t.invalid_magic += 1,
                ProduceError::Refused(Corrupt(_)) => t.invalid_crc += 1,
                ProduceError::Refused(NoKey(_)) => t.no_key += 1,
                ProduceError::Producer(_) => t.invalid_sequence += 1,
                _ => {}
            }
        });
    }

    /// Counts a read for a fetch; `log` is `None` when the partition is not there.
    pub fn count_fetch(&mut self, log: Option<LogId>, bytes: usize, failed: bool) {
        let add = |t: &mut Traffic| {
            t.fetches += 1;
            t.bytes_out += bytes as u64;
            t.fetches_failed += u64::from(failed);
        };
        match log {
            Some(log) => self.count(log, add),
            None => add(&mut self.metrics.traffic),
        }
    }

    fn count(&mut self, log: LogId, add: impl Fn(&mut Traffic)) {
        add(&mut self.metrics.traffic);
        if let Some(partition) = self.partitions.get_mut(log) {
            add(&mut partition.traffic);
        }
    }

    fn try_append(
        &mut self,
        log: LogId,
        header: BatchHeader,
        batch: &[u8],
        opened: Option<Opened>,
        acks: Acks,
    ) -> Result<Produced, ProduceError> {
        let (partition, leader_epoch) = self.appendable(log, acks)?;
        let append_time = partition.rules.append_time.then_some(self.wall);
        let checked = append::check(header, batch, &partition.rules, self.wall, opened)?;
        let (log_start, duplicate) = self.follows(log, &checked.header)?;
        if let Some(produced) = duplicate {
            return Ok(produced);
        }
        let how = Append { leader_epoch, append_time };
        let (times, bytes) = ((self.now, self.wall), checked.batch.as_ref());
        let appended = self.store.append(log, bytes, &checked.header, how, times)?;
        Ok(self.appended(log, &appended, append_time, log_start))
    }

    fn try_append_laid(
        &mut self,
        log: LogId,
        laid: &mut Option<Laid>,
        acks: Acks,
    ) -> Result<Produced, ProduceError> {
        let (_, leader_epoch) = self.appendable(log, acks)?;
        let header = laid.as_ref().ok_or(StorageError::Deleted)?.header();
        let (log_start, duplicate) = self.follows(log, header)?;
        if let Some(produced) = duplicate {
            return Ok(produced);
        }
        let laid = laid.take().ok_or(StorageError::Deleted)?;
        let (append_time, times) = (laid.append_time(), (self.now, self.wall));
        let appended = self.store.append_laid(log, laid, leader_epoch, times)?;
        Ok(self.appended(log, &appended, append_time, log_start))
    }

    /// The partition of a log that takes appends now, and its leader's epoch.
    #[inline]
    fn appendable(
        &self,
        log: LogId,
        acks: Acks,
    ) -> Result<(&Partition, LeaderEpoch), ProduceError> {
        let partition = self.partitions.get(log).ok_or(StorageError::Deleted)?;
        let leader = &partition.leader;
        let (in_sync, min) = (leader.in_sync(), leader.min_in_sync());
        if acks == Acks::All && in_sync < min {
            return Err(ProduceError::NotEnoughReplicas { in_sync, min });
        }
        Ok((partition, leader.epoch()))
    }

    /// The start of the log; and of a batch that came before, what it became then.
    #[inline]
    fn follows(
        &self,
        log: LogId,
        header: &BatchHeader,
    ) -> Result<(Offset, Option<Produced>), ProduceError> {
        let state = self.store.log(log).ok_or(StorageError::Deleted)?;
        let log_start = state.log_start();
        if !header.has_producer() {
            return Ok((log_start, None));
        }
        let Sequence::Duplicate(first) = state.producers().check(header)? else {
            return Ok((log_start, None));
        };
        let produced = Produced {
            base_offset: first.base_offset(),
            last_offset: first.last_offset,
            log_append_time: first.timestamp,
            log_start,
        };
        Ok((log_start, Some(produced)))
    }

    #[inline]
    fn appended(
        &mut self,
        log: LogId,
        appended: &Appended,
        append_time: Option<WallMs>,
        log_start: Offset,
    ) -> Produced {
        if !appended.durable_wait {
            self.on_safe(log, Offset(appended.last_offset.0 + 1));
        }
        Produced {
            base_offset: appended.base_offset,
            last_offset: appended.last_offset,
            log_append_time: append_time.map_or(-1, |t| t.0),
            log_start,
        }
    }

    /// Appends a batch that the broker made itself.
    ///
    /// # Errors
    /// [`StorageError`]; nothing was written.
    pub fn append_own(&mut self, log: LogId, batch: &[u8]) -> Result<Offset, StorageError> {
        let epoch = self.partitions.get(log).map_or(LeaderEpoch(0), |p| p.leader.epoch());
        let header = BatchHeader::parse(batch).map_err(|_| StorageError::Deleted)?;
        let how = Append { leader_epoch: epoch, append_time: None };
        let appended = self.store.append(log, batch, &header, how, (self.now, self.wall))?;
        let end = Offset(appended.last_offset.0 + 1);
        if !appended.durable_wait {
            self.on_safe(log, end);
        }
        Ok(end)
    }

    /// Whether an append that ends at `below` still has to be waited for.
    pub fn must_wait(&self, log: LogId, below: Offset, acks: Acks) -> bool {
        let Some(partition) = self.partitions.get(log) else { return false };
        match acks {
            Acks::None => false,
            Acks::Leader => partition.leader.local_end() < below,
            Acks::All => partition.leader.high_watermark() < below,
        }
    }

    /// Parks a request until each of its waits (log, end of its append) is over.
    pub fn park_ack(
        &mut self,
        request: Box<dyn ParkedAck>,
        waits: &[(LogId, Offset, u32)],
        acks: Acks,
        deadline: Moment,
    ) {
        let ack = self.acks.park(request, waits.len() as u32, deadline);
        for &(log, below, index) in waits {
            let Some(partition) = self.partitions.get_mut(log) else { continue };
            let wait = Wait { below, ack, index };
            match acks {
                Acks::All => partition.committed_acks.push_back(wait),
                Acks::Leader | Acks::None => partition.local_acks.push_back(wait),
            }
        }
    }

    /// Takes in what the store says.
    pub fn on_store_event(&mut self, event: &StoreEvent) {
        match event {
            StoreEvent::Durable { log, end } => self.on_safe(*log, *end),
            StoreEvent::Readable { log } => self.wake_readers(*log),
            StoreEvent::LogStartMoved { log, start } => self.on_safe_start(*log, *start),
            StoreEvent::Failed { log, error } => {
                tracing::error!(%error, remedy = error.remedy(), "storage failed");
                match log {
                    // Nothing can be decided any more; a restart reads it back.
                    Some(log) if self.publisher.as_ref().is_some_and(|p| p.log() == *log) => {
                        self.failed = true;
                    }
                    Some(log) => self.fail_waits(*log),
                    None => {
                        self.failed = true;
                        let logs: Vec<_> = self.partitions.iter().map(|p| p.log).collect();
                        for log in logs {
                            self.fail_waits(log);
                        }
                    }
                }
            }
        }
    }

    /// A crash does not bring back what is below `start`.
    fn on_safe_start(&mut self, log: LogId, start: Offset) {
        let Some(partition) = self.partitions.get_mut(log) else { return };
        partition.safe_start = partition.safe_start.max(start);
        self.end_waits(log, start, |p| &mut p.start_acks, WaitEnd::Safe);
        self.wake_readers(log);
    }

    /// Parks a request until each of its waits (log, its new start) is over.
    pub fn park_starts(
        &mut self,
        request: Box<dyn ParkedAck>,
        waits: &[(LogId, Offset, u32)],
        deadline: Moment,
    ) {
        let ack = self.acks.park(request, waits.len() as u32, deadline);
        for &(log, below, index) in waits {
            let Some(partition) = self.partitions.get_mut(log) else { continue };
            partition.start_acks.push_back(Wait { below, ack, index });
        }
    }

    /// Everything below `end` is as safe as the topic asks.
    fn on_safe(&mut self, log: LogId, end: Offset) {
        if self.publisher.as_ref().is_some_and(|c| c.log() == log) {
            self.on_metadata_durable(end);
            return;
        }
        let Some(partition) = self.partitions.get_mut(log) else { return };
        let mut effects = std::mem::take(&mut self.effects);
        if end > partition.leader.local_end() {
            partition.leader.on_local_end(end, &mut effects);
        }
        let local = partition.leader.local_end();
        self.end_waits(log, local, |p| &mut p.local_acks, WaitEnd::Safe);
        self.carry_out(log, effects);
    }

    /// Does what the leader of a partition wants done; keeps the emptied list for the next one.
    pub(super) fn carry_out(&mut self, log: LogId, mut effects: Vec<Effect>) {
        for effect in effects.drain(..) {
            if let Effect::HighWatermarkMoved(to) = effect {
                let enough = self
                    .partitions
                    .get(log)
                    .is_some_and(|p| p.leader.in_sync() >= p.leader.min_in_sync());
                let end = if enough { WaitEnd::Safe } else { WaitEnd::TooFewInSync };
                self.end_waits(log, to, |p| &mut p.committed_acks, end);
                self.on_group_log(log, to, Ok(()));
                self.wake_readers(log);
            }
        }
        self.effects = effects;
    }

    fn end_waits(
        &mut self,
        log: LogId,
        below: Offset,
        queue: impl Fn(&mut Partition) -> &mut std::collections::VecDeque<Wait>,
        end: WaitEnd,
    ) {
        loop {
            let Some(partition) = self.partitions.get_mut(log) else { return };
            let waits = queue(partition);
            let Some(wait) = waits.front().copied().filter(|w| w.below <= below) else { return };
            waits.pop_front();
            self.end_wait(wait.ack, wait.index, end);
        }
    }

    fn end_wait(&mut self, ack: AckId, index: u32, end: WaitEnd) {
        if let Some(done) = self.acks.arrived(ack, |request| request.ended(index, end)) {
            let (slot, answer) = done.finish();
            self.send(slot, answer);
        }
    }

    /// The log failed or is gone.
    pub(super) fn fail_waits(&mut self, log: LogId) {
        self.end_waits(log, Offset(i64::MAX), |p| &mut p.local_acks, WaitEnd::Failed);
        self.end_waits(log, Offset(i64::MAX), |p| &mut p.committed_acks, WaitEnd::Failed);
        self.end_waits(log, Offset(i64::MAX), |p| &mut p.start_acks, WaitEnd::Failed);
        self.on_group_log(log, Offset(i64::MAX), Err(AppendFailure::Storage));
        self.wake_readers(log);
    }

    fn wake_readers(&mut self, log: LogId) {
        if let Some(partition) = self.partitions.get_mut(log) {
            for connection in partition.readers.drain(..) {
                self.fetches.wake(connection);
            }
            let fetches = &mut self.fetches;
            partition.watchers.wake(log, &mut self.sessions, |connection| fetches.wake(connection));
        }
    }
}
