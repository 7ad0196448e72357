//! The producer: collects records into batches by partition and keeps at most one batch of a
//! partition on its way, so that retries never change the order.
//!
//! Flow: `push` -> open batch -> (full, linger or flush) -> waiting batches -> `poll` -> Produce to
//! the leader -> `on_answer` -> [`Delivery`], or back to the front of the waiting ones.
//!
//! Invariants:
//! - P1. The batches of a partition are sent, and sent again, in the order of their records.
//! - P2. A batch keeps its bytes (producer id and sequence) over all its retries, so the broker
//!   recognises it. When it fails for good, a new producer id is asked for: its sequence is a gap.
//! - P3. Every record pushed is accounted for in exactly one [`Delivery`].
//! - P4. Memory: `buffer_bytes_max`; `push` refuses what does not fit.

mod identity;
mod options;
mod queue;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{Moment, NodeId, Offset};
use crate::client::call::{Outgoing, To, Typed};
use crate::client::cluster::{Cluster, PartitionName};
use crate::client::connection::Answer;
use crate::client::error::ClientError;
use crate::client::partitioner::{Sticky, partition_of_key};
use crate::msg;
use crate::wire::ErrorCode;
use crate::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::wire::messages::{ProduceRequest, ProduceResponse};

use identity::Identity;
pub use options::{Delivery, NewRecord, ProducerOptions, PushRefused};
use queue::Queue;

/// Topics go by name up to this version of Produce.
const PRODUCE_VERSION_MAX: i16 = 12;

#[derive(Debug)]
struct InFlight {
    node: NodeId,
    partitions: Vec<PartitionName>,
}

/// The producer.
#[derive(Debug)]
pub struct Producer {
    options: ProducerOptions,
    identity: Identity,
    queues: BTreeMap<PartitionName, Queue>,
    sticky: BTreeMap<Arc<str>, Sticky>,
    in_flight: BTreeMap<u64, InFlight>,
    next_id: u64,
    buffered_bytes: usize,
    flushing: bool,
}

impl Producer {
    /// A producer with nothing to send.
    pub fn new(options: ProducerOptions) -> Self {
        let identity = if options.idempotent { Identity::wanted() } else { Identity::NotWanted };
        Self {
            options,
            identity,
            queues: BTreeMap::new(),
            sticky: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            next_id: 0,
            buffered_bytes: 0,
            flushing: false,
        }
    }

    /// Takes a record, and says which partition it goes to.
    ///
    /// # Errors
    /// [`PushRefused`].
    pub fn push(
        &mut self,
        cluster: &Cluster,
        record: &NewRecord<'_>,
        now: Moment,
    ) -> Result<i32, PushRefused> {
        let size = record.bytes_max();
        let limit = self.options.request_bytes_max;
        if size > limit {
            return Err(PushRefused::TooLarge { size, limit });
        }
        let (buffered, limit) = (self.buffered_bytes, self.options.buffer_bytes_max);
        if buffered > 0 && buffered + size > limit {
            return Err(PushRefused::BufferFull { buffered, limit });
        }
        let name = self.partition_of(cluster, record)?;
        let queue = self.queues.entry(name.clone()).or_default();
        if queue.is_full_for(record, self.options.batch_bytes) {
            queue.close();
            if let Some(sticky) = self.sticky.get_mut(&name.topic) {
                sticky.next_batch();
            }
        }
        self.buffered_bytes += queue.push(record, now);
        Ok(name.partition)
    }

    fn partition_of(
        &mut self,
        cluster: &Cluster,
        record: &NewRecord<'_>,
    ) -> Result<PartitionName, PushRefused> {
        let unknown = || PushRefused::TopicUnknown(record.topic.to_owned());
        let count = cluster.topic(record.topic).ok_or_else(unknown)?.partitions.len();
        if count == 0 {
            return Err(unknown());
        }
        let partition = match (record.partition, record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_of_key(key, count) as i32,
            (None, None) => {
                if !self.sticky.contains_key(record.topic) {
                    self.sticky.insert(record.topic.into(), Sticky::new(self.options.seed));
                }
                self.sticky.get_mut(record.topic).map_or(0, |s| s.current(count) as i32)
            }
        };
        if !usize::try_from(partition).is_ok_and(|p| p < count) {
            let topic = record.topic.to_owned();
            return Err(PushRefused::PartitionUnknown { topic, partition, count });
        }
        Ok(PartitionName::new(record.topic, partition))
    }

    /// Sends what is there without waiting for the linger, until [`Self::is_idle`].
    pub fn flush(&mut self) {
        self.flushing = true;
    }

    /// Whether every record has its delivery.
    pub fn is_idle(&self) -> bool {
        self.queues.values().all(Queue::is_empty)
    }

    /// Whether [`Self::push`] has room for a record of `bytes` and its overhead.
    pub fn has_room(&self, bytes: usize) -> bool {
        let size = bytes + options::RECORD_OVERHEAD_BYTES;
        self.buffered_bytes == 0 || self.buffered_bytes + size <= self.options.buffer_bytes_max
    }

    /// Bytes of records without a delivery.
    pub fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// The next moment at which [`Self::poll`], just called, has something to do by the clock alone.
    pub fn deadline(&self, now: Moment) -> Moment {
        let lingers =
            self.queues.values().filter_map(|q| Some(q.opened_at()? + self.options.linger));
        let waits = self.queues.values().filter_map(|queue| {
            let expires = queue.waiting.front()?.since + self.options.delivery_timeout;
            Some(if queue.not_before > now { expires.min(queue.not_before) } else { expires })
        });
        let identity = match self.identity {
            Identity::Wanted { not_before } => Some(not_before),
            _ => None,
        };
        let all = lingers.chain(waits).chain(identity);
        all.filter(|&moment| moment > now).min().unwrap_or(Moment::NEVER)
    }

    /// Sends what is ready, and gives up what has waited too long.
    pub fn poll(
        &mut self,
        cluster: &mut Cluster,
        now: Moment,
        out: &mut Vec<Outgoing>,
        done: &mut Vec<Delivery>,
    ) {
        self.close_and_expire(now, done);
        if self.is_idle() {
            self.flushing = false;
            return;
        }
        let timeout_ms = self.options.request_timeout_ms;
        if !self.identity.is_ready(now, &mut self.next_id, timeout_ms, out) {
            return;
        }
        for (node, partitions) in self.ready_by_leader(cluster, now) {
            self.send(node, partitions, out, done);
        }
    }

    fn close_and_expire(&mut self, now: Moment, done: &mut Vec<Delivery>) {
        let mut expired = Vec::new();
        for (name, queue) in &mut self.queues {
            let due = |opened: Moment| self.flushing || now >= opened + self.options.linger;
            if queue.opened_at().is_some_and(due) {
                queue.close();
                if let Some(sticky) = self.sticky.get_mut(&name.topic) {
                    sticky.next_batch();
                }
            }
            let first = queue.waiting.front();
            let over = first.is_some_and(|w| now >= w.since + self.options.delivery_timeout);
            if over && !queue.in_flight {
                expired.push(name.clone());
            }
        }
        for name in expired {
            let limit_ms = self.options.delivery_timeout.as_millis() as u64;
            let partition = name.to_string();
            self.finish(&name, Err(ClientError::Undelivered { partition, limit_ms }), done);
        }
    }

    fn ready_by_leader(
        &self,
        cluster: &mut Cluster,
        now: Moment,
    ) -> BTreeMap<NodeId, Vec<PartitionName>> {
        let mut ready = BTreeMap::<_, (usize, Vec<_>)>::new();
        let mut is_stale = false;
        for (name, queue) in &self.queues {
            let Some(first) = queue.waiting.front() else { continue };
            if queue.in_flight || now < queue.not_before {
                continue;
            }
            let Some(leader) = cluster.leader(name) else {
                is_stale = true;
                continue;
            };
            let (bytes, names) = ready.entry(leader).or_default();
            if *bytes == 0 || *bytes + first.bytes <= self.options.request_bytes_max {
                *bytes += first.bytes;
                names.push(name.clone());
            }
        }
        if is_stale {
            cluster.mark_stale();
        }
        let busy = |node| self.in_flight.values().filter(|f| f.node == node).count();
        ready.retain(|&node, _| busy(node) < self.options.in_flight_max);
        ready.into_iter().map(|(node, (_, names))| (node, names)).collect()
    }

    fn send(
        &mut self,
        node: NodeId,
        partitions: Vec<PartitionName>,
        out: &mut Vec<Outgoing>,
        done: &mut Vec<Delivery>,
    ) {
        let mut topic_data = Vec::<TopicProduceData>::new();
        let mut sent = Vec::new();
        for name in partitions {
            let Some(queue) = self.queues.get_mut(&name) else { continue };
            let records = match queue.build_first(self.options.codec, &self.identity) {
                Ok(records) => Some(records),
                Err(e) => {
                    self.finish(&name, Err(e), done);
                    continue;
                }
            };
            queue.in_flight = true;
            let data = msg!(PartitionProduceData { index: name.partition, records });
            match topic_data.last_mut().filter(|t| *t.name == *name.topic) {
                Some(topic) => topic.partition_data.push(data),
                None => topic_data.push(msg!(TopicProduceData {
                    name: (&*name.topic).into(),
                    partition_data: vec![data],
                })),
            }
            sent.push(name);
        }
        let acks = self.options.acks;
        let timeout_ms = self.options.request_timeout_ms;
        let request = msg!(ProduceRequest {
            acks,
            timeout_ms: i32::try_from(timeout_ms).unwrap_or(i32::MAX),
            topic_data,
        });
        let call = Typed::up_to(request, PRODUCE_VERSION_MAX);
        let call = if acks == 0 { call.unanswered() } else { call };
        self.next_id += 1;
        out.push(Outgoing { to: To::Node(node), id: self.next_id, timeout_ms, call: call.boxed() });
        self.in_flight.insert(self.next_id, InFlight { node, partitions: sent });
    }

    /// The answer to a request of [`Self::poll`], or why there is none; with acks=0, that the request
    /// is written (the answer is then [`Answer::nothing`]).
    ///
    /// # Errors
    /// When no producer id can be had for a reason that will not pass. Failures of single batches
    /// are their [`Delivery`].
    pub fn on_answer(
        &mut self,
        id: u64,
        answer: Result<Answer, ClientError>,
        cluster: &mut Cluster,
        now: Moment,
        done: &mut Vec<Delivery>,
    ) -> Result<(), ClientError> {
        if self.identity.is_asked(id) {
            self.identity.on_answer(answer, now + self.options.retry_backoff)?;
            for queue in self.queues.values_mut() {
                queue.next_sequence = 0;
            }
            return Ok(());
        }
        let Some(InFlight { partitions, .. }) = self.in_flight.remove(&id) else { return Ok(()) };
        let answer =
            answer.and_then(|a| a.is_something().then(|| a.decode::<ProduceRequest>()).transpose());
        for name in partitions {
            let outcome = match &answer {
                Ok(Some(answer)) => outcome(answer, &name),
                Ok(None) => Ok(Offset(-1)),
                Err(e) => Err(e.clone()),
            };
            match outcome {
                Ok(offset) => self.finish(&name, Ok(offset), done),
                Err(e) => {
                    cluster.mark_stale();
                    self.retry_or_fail(&name, e, now, done);
                }
            }
        }
        Ok(())
    }

    fn retry_or_fail(
        &mut self,
        name: &PartitionName,
        error: ClientError,
        now: Moment,
        done: &mut Vec<Delivery>,
    ) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        let attempts = queue.waiting.front().map_or(0, |w| w.attempts);
        if error.is_retriable() && attempts <= self.options.retries_max {
            queue.in_flight = false;
            queue.not_before = now + self.options.retry_backoff;
        } else {
            self.finish(name, Err(error), done);
        }
    }

    /// Takes the first waiting batch of a partition off (P3).
    fn finish(
        &mut self,
        name: &PartitionName,
        result: Result<Offset, ClientError>,
        done: &mut Vec<Delivery>,
    ) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        let Some(first) = queue.waiting.pop_front() else { return };
        queue.in_flight = false;
        self.buffered_bytes = self.buffered_bytes.saturating_sub(first.bytes);
        let leaves_a_gap = result.is_err() && first.was_sent();
        if leaves_a_gap && matches!(self.identity, Identity::Known { .. }) {
            self.identity = Identity::wanted();
        }
        let (count, since) = (first.count, first.since);
        done.push(Delivery { partition: name.clone(), count, since, result });
    }
}

/// What an answer says of one partition. A duplicate is a success: the batch is there.
fn outcome(answer: &ProduceResponse, name: &PartitionName) -> Result<Offset, ClientError> {
    let topic = answer.responses.iter().find(|t| *t.name == *name.topic);
    let partition = topic
        .and_then(|t| t.partition_responses.iter().find(|p| p.index == name.partition))
        .ok_or_else(|| {
            let what = format!("it says nothing of {name}");
            ClientError::Answer { api: "Produce", what }
        })?;
    if ErrorCode(partition.error_code) == ErrorCode::DUPLICATE_SEQUENCE_NUMBER {
        return Ok(Offset(-1));
    }
    let message = partition.error_message.as_deref();
    ClientError::check("Produce", partition.error_code, message)?;
    Ok(Offset(partition.base_offset))
}
