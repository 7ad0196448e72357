//! The producer: collects records into batches by partition, and sends them so that their order stays.
//!
//! Flow: `push` -> open batch -> (full, or its linger is over and it is its turn) -> closed batches ->
//! `poll` -> Produce to the leader -> `on_answer` -> [`Delivery`], or sent once more.
//!
//! Invariants:
//! - P1. The batches of a partition are sent, and sent again, in the order of their records. Several
//!   may be on their way: an idempotent producer's broker refuses those that come before their turn.
//!   Without idempotence a batch that is sent again may come after later ones, as with Kafka's own
//!   producer; `in_flight_max` of 1 prevents it.
//! - P2. A batch keeps its bytes (producer id and sequence) over all its retries, so the broker
//!   recognises it. When one fails for good, a new producer id is asked for, since its sequence is a
//!   gap; a batch that the broker refused because of that gap gets a new number.
//! - P3. Every record pushed is accounted for in exactly one [`Delivery`]; those of a partition come in
//!   the order of the records.
//! - P4. Memory: `buffer_bytes_max`; `push` refuses what does not fit.
//! - P5. A batch with a new producer id is not sent while one with the old id is unfinished before it.
//! - P6. A producer id's first batch of a partition goes alone: a broker that has not seen the id takes
//!   any sequence, so that a second batch could overtake a first one that failed.
//!
//! Cost: a push looks up a topic and a partition; `poll` looks at the partitions that have something to
//! send, not at all of them.

mod identity;
mod options;
mod queue;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
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
use crate::wire::messages::produce_response::PartitionProduceResponse;
use crate::wire::messages::{ProduceRequest, ProduceResponse};

use identity::Identity;
pub use options::{Delivery, NewRecord, ProducerOptions, PushRefused};
use queue::Queue;

/// Topics go by name up to this version of Produce.
const PRODUCE_VERSION_MAX: i16 = 12;

#[derive(Debug)]
struct InFlight {
    node: NodeId,
    /// Queue, and number of the batch in it.
    batches: Vec<(usize, u64)>,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    sticky: Sticky,
    /// By partition index; made with the first record.
    queues: Vec<Option<usize>>,
}

/// The producer.
#[derive(Debug)]
pub struct Producer {
    options: ProducerOptions,
    identity: Identity,
    topics: BTreeMap<Arc<str>, Topic>,
    queues: Vec<Queue>,
    /// Open batches by the time that they were begun; some are closed already.
    lingering: VecDeque<(Moment, usize)>,
    /// Queues that may have something to send, the longest waiting first.
    ready: VecDeque<usize>,
    /// Queues that wait since something failed.
    delayed: VecDeque<(Moment, usize)>,
    in_flight: BTreeMap<u64, InFlight>,
    busy: BTreeMap<NodeId, usize>,
    next_id: u64,
    /// Records without a delivery, and their bytes.
    pending: u64,
    buffered_bytes: usize,
    /// No batch is over time before this moment.
    expires_at: Moment,
    flushing: bool,
}

impl Producer {
    /// A producer with nothing to send.
    pub fn new(options: ProducerOptions) -> Self {
        let identity = if options.idempotent { Identity::wanted() } else { Identity::NotWanted };
        Self {
            options,
            identity,
            topics: BTreeMap::new(),
            queues: Vec::new(),
            lingering: VecDeque::new(),
            ready: VecDeque::new(),
            delayed: VecDeque::new(),
            in_flight: BTreeMap::new(),
            busy: BTreeMap::new(),
            next_id: 0,
            pending: 0,
            buffered_bytes: 0,
            expires_at: Moment::NEVER,
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
        let (partition, at) = self.queue_of(cluster, record)?;
        if self.queues[at].is_full_for(record, self.options.batch_bytes) {
            self.queues[at].close();
            self.list(at);
            self.next_batch(at);
            if record.partition.is_none() && record.key.is_none() {
                return self.push(cluster, record, now);
            }
        }
        let (bytes, is_first) = self.queues[at].push(record, now);
        if is_first {
            self.lingering.push_back((now, at));
            if self.expires_at == Moment::NEVER {
                self.expires_at = now + self.options.delivery_timeout;
            }
        }
        self.buffered_bytes += bytes;
        self.pending += 1;
        Ok(partition)
    }

    /// Partition of a record, and its queue.
    fn queue_of(
        &mut self,
        cluster: &Cluster,
        record: &NewRecord<'_>,
    ) -> Result<(i32, usize), PushRefused> {
        let unknown = || PushRefused::TopicUnknown(record.topic.to_owned());
        let count = cluster.topic(record.topic).ok_or_else(unknown)?.partitions.len();
        if count == 0 {
            return Err(unknown());
        }
        if !self.topics.contains_key(record.topic) {
            let name: Arc<str> = record.topic.into();
            let sticky = Sticky::new(self.options.seed);
            let topic = Topic { name: Arc::clone(&name), sticky, queues: Vec::new() };
            self.topics.insert(name, topic);
        }
        let topic = self.topics.get_mut(record.topic).ok_or_else(unknown)?;
        let partition = match (record.partition, record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_of_key(key, count) as i32,
            (None, None) => topic.sticky.current(count) as i32,
        };
        let Some(index) = usize::try_from(partition).ok().filter(|p| *p < count) else {
            let topic = record.topic.to_owned();
            return Err(PushRefused::PartitionUnknown { topic, partition, count });
        };
        if topic.queues.len() < count {
            topic.queues.resize(count, None);
        }
        let queues = &mut self.queues;
        let at = *topic.queues[index].get_or_insert_with(|| {
            let name = PartitionName { topic: Arc::clone(&topic.name), partition };
            queues.push(Queue::new(name));
            queues.len() - 1
        });
        Ok((partition, at))
    }

    /// Records without a key go elsewhere from now on.
    fn next_batch(&mut self, at: usize) {
        if let Some(topic) = self.topics.get_mut(&self.queues[at].name.topic) {
            topic.sticky.next_batch();
        }
    }

    fn list(&mut self, at: usize) {
        if !std::mem::replace(&mut self.queues[at].is_listed, true) {
            self.ready.push_back(at);
        }
    }

    /// Sends what is there without waiting for the linger, until [`Self::is_idle`].
    pub fn flush(&mut self) {
        self.flushing = true;
    }

    /// Whether every record has its delivery.
    pub fn is_idle(&self) -> bool {
        self.pending == 0
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
        let linger = self.lingering.front().map(|(since, _)| *since + self.options.linger);
        let delay = self.delayed.front().map(|(until, _)| *until);
        let identity = match self.identity {
            Identity::Wanted { not_before } if self.pending > 0 => Some(not_before),
            _ => None,
        };
        let all = linger.into_iter().chain(delay).chain(identity).chain([self.expires_at]);
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
        if now >= self.expires_at {
            self.expire(now, done);
        }
        if self.is_idle() {
            self.flushing = false;
            self.lingering.clear();
            return;
        }
        self.end_waits(now);
        let timeout_ms = self.options.request_timeout_ms;
        if self.identity.is_ready(now, &mut self.next_id, timeout_ms, out) {
            // A request has one batch of a partition; what waits behind it goes with the next.
            loop {
                let ready = self.ready_by_leader(cluster, now);
                if ready.is_empty() {
                    break;
                }
                for (node, queues) in ready {
                    self.send(node, queues, out, done);
                }
            }
        }
    }

    /// Lists the queues whose linger or delay is over.
    fn end_waits(&mut self, now: Moment) {
        while let Some(&(since, at)) = self.lingering.front() {
            let is_over = self.flushing || now >= since + self.options.linger;
            if self.queues[at].lingers_since() == Some(since) {
                if !is_over {
                    break;
                }
                self.queues[at].set_due();
                self.list(at);
            }
            self.lingering.pop_front();
        }
        while let Some((_, at)) = self.delayed.pop_front_if(|(until, _)| now >= *until) {
            self.list(at);
        }
    }

    fn expire(&mut self, now: Moment, done: &mut Vec<Delivery>) {
        let timeout = self.options.delivery_timeout;
        let since = Moment(now.0.saturating_sub(timeout.as_nanos() as u64));
        let limit_ms = timeout.as_millis() as u64;
        for at in 0..self.queues.len() {
            let error = |queue: &Queue| {
                let partition = queue.name.to_string();
                ClientError::Undelivered { partition, limit_ms }
            };
            self.queues[at].expire(since, error);
            self.settle(at, done);
        }
        let oldest = self.queues.iter().filter_map(Queue::oldest).min();
        self.expires_at = oldest.map_or(Moment::NEVER, |since| since + timeout);
    }

    /// Takes from the listed queues what their leaders can be sent now: at most one batch a partition.
    fn ready_by_leader(
        &mut self,
        cluster: &mut Cluster,
        now: Moment,
    ) -> BTreeMap<NodeId, Vec<usize>> {
        let mut requests = BTreeMap::<_, (usize, Vec<_>)>::new();
        let are_all_busy = cluster.brokers().keys().all(|&node| self.is_busy(node));
        if are_all_busy && !cluster.brokers().is_empty() {
            return BTreeMap::new();
        }
        let mut left = VecDeque::new();
        while let Some(at) = self.ready.pop_front() {
            let queue = &mut self.queues[at];
            let Some(bytes) = queue.next_bytes(now, &self.identity) else {
                queue.is_listed = false;
                self.delayed.extend(queue.waits_until(now).map(|until| (until, at)));
                continue;
            };
            let leader = cluster.leader(&self.queues[at].name);
            if leader.is_none() {
                cluster.mark_stale();
            }
            let Some(node) = leader.filter(|&node| !self.is_busy(node)) else {
                left.push_back(at);
                continue;
            };
            let (size, queues) = requests.entry(node).or_default();
            if *size == 0 || *size + bytes <= self.options.request_bytes_max {
                *size += bytes;
                queues.push(at);
                self.queues[at].is_listed = false;
            } else {
                left.push_back(at);
            }
        }
        self.ready = left;
        requests.into_iter().map(|(node, (_, queues))| (node, queues)).collect()
    }

    fn is_busy(&self, node: NodeId) -> bool {
        self.busy.get(&node).is_some_and(|&n| n >= self.options.in_flight_max)
    }

    fn send(
        &mut self,
        node: NodeId,
        mut queues: Vec<usize>,
        out: &mut Vec<Outgoing>,
        done: &mut Vec<Delivery>,
    ) {
        // A topic is named once.
        queues.sort_unstable_by(|&a, &b| self.queues[a].name.cmp(&self.queues[b].name));
        let mut topic_data = Vec::<TopicProduceData>::new();
        let mut batches = Vec::with_capacity(queues.len());
        for at in queues {
            let queue = &mut self.queues[at];
            let (built, has_closed) = match queue.send_next(self.options.codec, &self.identity) {
                Ok(built) => built,
                Err((number, e)) => {
                    queue.set_over(number, Err(e));
                    self.settle(at, done);
                    continue;
                }
            };
            let name = &queue.name;
            let data =
                msg!(PartitionProduceData { index: name.partition, records: Some(built.bytes) });
            match topic_data.last_mut().filter(|t| *t.name == *name.topic) {
                Some(topic) => topic.partition_data.push(data),
                None => topic_data.push(msg!(TopicProduceData {
                    name: (&*name.topic).into(),
                    partition_data: vec![data],
                })),
            }
            batches.push((at, built.number));
            if has_closed {
                self.next_batch(at);
            }
            // More of the same partition goes with a request of its own.
            self.list(at);
        }
        if batches.is_empty() {
            return;
        }
        let (acks, timeout_ms) = (self.options.acks, self.options.request_timeout_ms);
        let timeout = i32::try_from(timeout_ms).unwrap_or(i32::MAX);
        let call = Typed::up_to(
            msg!(ProduceRequest { acks, timeout_ms: timeout, topic_data }),
            PRODUCE_VERSION_MAX,
        );
        let call = if acks == 0 { call.unanswered() } else { call };
        self.next_id += 1;
        out.push(Outgoing { to: To::Node(node), id: self.next_id, timeout_ms, call: call.boxed() });
        *self.busy.entry(node).or_default() += 1;
        self.in_flight.insert(self.next_id, InFlight { node, batches });
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
            return self.identity.on_answer(answer, now + self.options.retry_backoff);
        }
        let Some(InFlight { node, batches }) = self.in_flight.remove(&id) else { return Ok(()) };
        if let Some(busy) = self.busy.get_mut(&node) {
            *busy -= 1;
        }
        let answer =
            answer.and_then(|a| a.is_something().then(|| a.decode::<ProduceRequest>()).transpose());
        let retry = (now + self.options.retry_backoff, self.options.retries_max);
        for (at, number) in batches {
            let queue = &mut self.queues[at];
            let outcome = match &answer {
                Ok(Some(answer)) => outcome(answer, &queue.name),
                Ok(None) => Ok(Offset(-1)),
                Err(e) => Err(e.clone()),
            };
            match outcome {
                Ok(offset) => queue.set_over(number, Ok(offset)),
                Err(e) => {
                    cluster.mark_stale();
                    if queue.on_failure(number, e, retry, &self.identity) {
                        self.identity = Identity::wanted();
                    }
                }
            }
            self.settle(at, done);
            self.list(at);
        }
        Ok(())
    }

    /// Tells of the batches at the head of a queue that are over (P3).
    fn settle(&mut self, at: usize, done: &mut Vec<Delivery>) {
        let queue = &mut self.queues[at];
        while let Some((batch, result, leaves_a_gap)) = queue.take_over(&self.identity) {
            self.buffered_bytes = self.buffered_bytes.saturating_sub(batch.bytes);
            self.pending = self.pending.saturating_sub(batch.count.unsigned_abs().into());
            if leaves_a_gap {
                self.identity = Identity::wanted();
            }
            let (count, since) = (batch.count, batch.since);
            done.push(Delivery { partition: queue.name.clone(), count, since, result });
        }
        if self.pending == 0 {
            self.expires_at = Moment::NEVER;
        }
    }
}

/// What an answer says of one partition. A duplicate is a success: the batch is there.
fn outcome(answer: &ProduceResponse, name: &PartitionName) -> Result<Offset, ClientError> {
    let partition = found(answer, name).ok_or_else(|| {
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

/// The partition's part. Brokers answer in the order of the request, which is sorted; one that does not
/// is searched through.
fn found<'a>(
    answer: &'a ProduceResponse,
    name: &PartitionName,
) -> Option<&'a PartitionProduceResponse> {
    let topic = answer.responses.iter().find(|t| *t.name == *name.topic)?;
    let all = &topic.partition_responses;
    match all.binary_search_by_key(&name.partition, |p| p.index) {
        Ok(at) => Some(&all[at]),
        Err(_) => all.iter().find(|p| p.index == name.partition),
    }
}
