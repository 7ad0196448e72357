//! The fetcher: a position in each partition, and the requests that move it: ListOffsets where the
//! position is not known yet, Fetch from every leader where it is.
//!
//! Flow: `assign` -> (ListOffsets) -> Fetch -> [`Fetched::Batch`], the position moves on -> Fetch ...
//!
//! Invariants:
//! - F1. A partition is in at most one request at a time, and a leader has at most one Fetch.
//! - F2. What comes back for a partition that was taken away or moved meanwhile is dropped.
//! - F3. Memory: a Fetch asks for `bytes_max`; the caller takes what came before it polls again.
//!
//! Each Fetch names all its partitions anew (no KIP-227 session): small, and nothing to get out of step.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Moment, NodeId, Offset};
use crate::client::call::{Outgoing, To, Typed};
use crate::client::cluster::{Cluster, PartitionName};
use crate::client::connection::Answer;
use crate::client::error::ClientError;
use crate::client::records::{self, FetchedBatch};
use crate::msg;
use crate::wire::ErrorCode;
use crate::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use crate::wire::messages::fetch_response::PartitionData;
use crate::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::wire::messages::list_offsets_response::ListOffsetsPartitionResponse;
use crate::wire::messages::{FetchRequest, ListOffsetsRequest};

/// Topics go by name up to this version of Fetch.
const FETCH_VERSION_MAX: i16 = 12;
/// ListOffsets: the end of the log.
pub const LATEST: i64 = -1;
/// ListOffsets: the start of the log.
pub const EARLIEST: i64 = -2;

/// Settings, in the words of Kafka's consumer.
#[derive(Debug, Clone)]
pub struct FetcherOptions {
    /// `fetch.max.wait.ms`.
    pub max_wait_ms: i32,
    /// `fetch.min.bytes`.
    pub min_bytes: i32,
    /// `fetch.max.bytes`.
    pub bytes_max: i32,
    /// `max.partition.fetch.bytes`.
    pub partition_bytes_max: i32,
    /// `isolation.level=read_committed`.
    pub read_committed: bool,
    /// `auto.offset.reset`: [`EARLIEST`], [`LATEST`], or none.
    pub reset: Option<i64>,
    /// `request.timeout.ms`.
    pub request_timeout_ms: u64,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// Bytes that one batch may have when decompressed.
    pub plain_bytes_max: usize,
}

impl Default for FetcherOptions {
    fn default() -> Self {
        Self {
            max_wait_ms: 500,
            min_bytes: 1,
            bytes_max: 50 << 20,
            partition_bytes_max: 1 << 20,
            read_committed: false,
            reset: Some(LATEST),
            request_timeout_ms: 30_000,
            retry_backoff: Duration::from_millis(100),
            plain_bytes_max: 256 << 20,
        }
    }
}

/// Where to read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// From this offset on.
    At(Offset),
    /// From where ListOffsets points for this time: milliseconds since 1970, [`EARLIEST`], [`LATEST`].
    Time(i64),
}

/// What the fetcher found.
#[derive(Debug)]
pub enum Fetched {
    /// Records.
    Batch(FetchedBatch),
    /// The partition has an error that will not pass; it is not asked for any more.
    Failed {
        /// The partition.
        partition: PartitionName,
        /// Why.
        error: ClientError,
    },
}

#[derive(Debug)]
struct Slot {
    position: Position,
    /// Number of the request that has it, or none.
    asked: Option<u64>,
    not_before: Moment,
}

#[derive(Debug)]
struct Asked {
    node: NodeId,
    is_fetch: bool,
    partitions: Vec<PartitionName>,
}

/// The fetcher.
#[derive(Debug)]
pub struct Fetcher {
    options: FetcherOptions,
    slots: BTreeMap<PartitionName, Slot>,
    asked: BTreeMap<u64, Asked>,
    next_id: u64,
}

impl Fetcher {
    /// A fetcher with no partitions.
    pub fn new(options: FetcherOptions) -> Self {
        Self { options, slots: BTreeMap::new(), asked: BTreeMap::new(), next_id: 0 }
    }

    /// Reads `partition` from `position` on; moves it when it is read already.
    pub fn assign(&mut self, partition: PartitionName, position: Position) {
        let slot = Slot { position, asked: None, not_before: Moment::default() };
        self.slots.insert(partition, slot);
    }

    /// Stops reading everything.
    pub fn clear(&mut self) {
        self.slots.clear();
    }

    /// Partitions that are read.
    pub fn assigned(&self) -> impl Iterator<Item = &PartitionName> {
        self.slots.keys()
    }

    /// Where a partition stands: the next offset to fetch, or the time that is looked up.
    pub fn position(&self, partition: &PartitionName) -> Option<Position> {
        self.slots.get(partition).map(|s| s.position)
    }

    /// The next moment at which [`Self::poll`], just called, has something to send by the clock alone.
    pub fn deadline(&self, now: Moment) -> Moment {
        let waiting = self.slots.values().filter(|s| s.asked.is_none() && s.not_before > now);
        waiting.map(|s| s.not_before).min().unwrap_or(Moment::NEVER)
    }

    /// Sends what can be sent.
    pub fn poll(&mut self, cluster: &mut Cluster, now: Moment, out: &mut Vec<Outgoing>) {
        let fetching: BTreeSet<NodeId> =
            self.asked.values().filter(|a| a.is_fetch).map(|a| a.node).collect();
        let mut fetches = BTreeMap::<NodeId, Vec<(PartitionName, Offset)>>::new();
        let mut lookups = BTreeMap::<NodeId, Vec<(PartitionName, i64)>>::new();
        for (name, slot) in &self.slots {
            if slot.asked.is_some() || now < slot.not_before {
                continue;
            }
            match (cluster.leader(name), slot.position) {
                (None, _) => cluster.mark_stale(),
                (Some(node), Position::At(_)) if fetching.contains(&node) => {}
                (Some(node), Position::At(at)) => {
                    fetches.entry(node).or_default().push((name.clone(), at));
                }
                (Some(node), Position::Time(time)) => {
                    lookups.entry(node).or_default().push((name.clone(), time));
                }
            }
        }
        for (node, partitions) in lookups {
            self.send_lookup(node, partitions, out);
        }
        for (node, partitions) in fetches {
            self.send_fetch(node, partitions, out);
        }
    }

    fn send_lookup(
        &mut self,
        node: NodeId,
        partitions: Vec<(PartitionName, i64)>,
        out: &mut Vec<Outgoing>,
    ) {
        let topics = by_topic(&partitions, |name, &timestamp| {
            msg!(ListOffsetsPartition { partition_index: name.partition, timestamp })
        });
        let topic = |(name, partitions): (Arc<str>, _)| {
            msg!(ListOffsetsTopic { name: (&*name).into(), partitions })
        };
        let request = msg!(ListOffsetsRequest {
            replica_id: -1,
            isolation_level: i8::from(self.options.read_committed),
            topics: topics.into_iter().map(topic).collect(),
        });
        let names = partitions.into_iter().map(|(name, _)| name).collect();
        self.send(node, false, names, Typed::up_to(request, 10).boxed(), out);
    }

    fn send_fetch(
        &mut self,
        node: NodeId,
        partitions: Vec<(PartitionName, Offset)>,
        out: &mut Vec<Outgoing>,
    ) {
        let topics = by_topic(&partitions, |name, &at: &Offset| {
            msg!(FetchPartition {
                partition: name.partition,
                fetch_offset: at.0,
                partition_max_bytes: self.options.partition_bytes_max,
            })
        });
        let topic = |(name, partitions): (Arc<str>, _)| {
            msg!(FetchTopic { topic: (&*name).into(), partitions })
        };
        let request = msg!(FetchRequest {
            max_wait_ms: self.options.max_wait_ms,
            min_bytes: self.options.min_bytes,
            max_bytes: self.options.bytes_max,
            isolation_level: i8::from(self.options.read_committed),
            session_epoch: -1,
            topics: topics.into_iter().map(topic).collect(),
        });
        let names = partitions.into_iter().map(|(name, _)| name).collect();
        self.send(node, true, names, Typed::up_to(request, FETCH_VERSION_MAX).boxed(), out);
    }

    fn send(
        &mut self,
        node: NodeId,
        is_fetch: bool,
        partitions: Vec<PartitionName>,
        call: Box<dyn crate::client::call::Call>,
        out: &mut Vec<Outgoing>,
    ) {
        self.next_id += 1;
        let id = self.next_id;
        for name in &partitions {
            if let Some(slot) = self.slots.get_mut(name) {
                slot.asked = Some(id);
            }
        }
        self.asked.insert(id, Asked { node, is_fetch, partitions });
        let timeout_ms = self.options.request_timeout_ms;
        out.push(Outgoing { to: To::Node(node), id, timeout_ms, call });
    }

    /// The answer to a request of [`Self::poll`], or why there is none. Failures that may pass are
    /// asked again after the backoff, with the leaders looked up anew.
    ///
    /// # Errors
    /// The failure of the request as a whole, for whoever reports it; when
    /// [`ClientError::is_retriable`], it is being asked again.
    pub fn on_answer(
        &mut self,
        id: u64,
        answer: Result<Answer, ClientError>,
        cluster: &mut Cluster,
        now: Moment,
        out: &mut Vec<Fetched>,
    ) -> Result<(), ClientError> {
        let Some(asked) = self.asked.remove(&id) else { return Ok(()) };
        let mut still = BTreeSet::new();
        for name in asked.partitions {
            if let Some(slot) = self.slots.get_mut(&name).filter(|s| s.asked == Some(id)) {
                slot.asked = None;
                still.insert(name);
            }
        }
        let read = if asked.is_fetch {
            answer.and_then(|a| self.on_fetch(&a, &still, cluster, now, out))
        } else {
            answer.and_then(|a| self.on_lookup(&a, &still, cluster, now, out))
        };
        if read.is_err() {
            cluster.mark_stale();
            for name in &still {
                self.wait(name, now);
            }
        }
        read
    }

    fn on_fetch(
        &mut self,
        answer: &Answer,
        still: &BTreeSet<PartitionName>,
        cluster: &mut Cluster,
        now: Moment,
        out: &mut Vec<Fetched>,
    ) -> Result<(), ClientError> {
        let answer = answer.decode::<FetchRequest>()?;
        ClientError::check("Fetch", answer.error_code, None)?;
        for topic in &answer.responses {
            for partition in &topic.partitions {
                let name = PartitionName::new(&topic.topic, partition.partition_index);
                if !still.contains(&name) {
                    continue;
                }
                match ErrorCode(partition.error_code) {
                    ErrorCode::NONE => self.on_records(&name, partition, out),
                    code => self.on_error("Fetch", name, code, (cluster, now), out),
                }
            }
        }
        Ok(())
    }

    fn on_records(&mut self, name: &PartitionName, data: &PartitionData, out: &mut Vec<Fetched>) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        let (Position::At(from), Some(bytes)) = (slot.position, &data.records) else { return };
        let listed = data.aborted_transactions.iter().flatten();
        let aborted: Vec<_> = listed.map(|t| (t.producer_id, t.first_offset)).collect();
        match records::open(name, bytes, from, &aborted, self.options.plain_bytes_max) {
            Ok(opened) => {
                slot.position = Position::At(opened.next);
                out.extend(opened.batches.into_iter().map(Fetched::Batch));
            }
            Err(what) => {
                let error = ClientError::Answer { api: "Fetch", what };
                self.fail(name.clone(), error, out);
            }
        }
    }

    fn on_lookup(
        &mut self,
        answer: &Answer,
        still: &BTreeSet<PartitionName>,
        cluster: &mut Cluster,
        now: Moment,
        out: &mut Vec<Fetched>,
    ) -> Result<(), ClientError> {
        let answer = answer.decode::<ListOffsetsRequest>()?;
        for topic in &answer.topics {
            for found in &topic.partitions {
                let name = PartitionName::new(&topic.name, found.partition_index);
                if !still.contains(&name) {
                    continue;
                }
                match ErrorCode(found.error_code) {
                    ErrorCode::NONE => self.on_found(&name, found),
                    code => self.on_error("ListOffsets", name, code, (cluster, now), out),
                }
            }
        }
        Ok(())
    }

    fn on_found(&mut self, name: &PartitionName, found: &ListOffsetsPartitionResponse) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        // No record is as late as the time that was asked for: go on at the end.
        slot.position = match found.offset {
            -1 => Position::Time(LATEST),
            offset => Position::At(Offset(offset)),
        };
    }

    fn on_error(
        &mut self,
        asked: &'static str,
        name: PartitionName,
        code: ErrorCode,
        (cluster, now): (&mut Cluster, Moment),
        out: &mut Vec<Fetched>,
    ) {
        match (code, self.options.reset, self.slots.get_mut(&name)) {
            (ErrorCode::OFFSET_OUT_OF_RANGE, Some(reset), Some(slot)) => {
                slot.position = Position::Time(reset);
            }
            _ if code.is_retriable() => {
                cluster.mark_stale();
                self.wait(&name, now);
            }
            _ => {
                let message = Some(format!("{} for {name}", code.name()));
                self.fail(name, ClientError::Refused { asked, code, message }, out);
            }
        }
    }

    fn wait(&mut self, name: &PartitionName, now: Moment) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.not_before = now + self.options.retry_backoff;
        }
    }

    fn fail(&mut self, partition: PartitionName, error: ClientError, out: &mut Vec<Fetched>) {
        self.slots.remove(&partition);
        out.push(Fetched::Failed { partition, error });
    }
}

/// Groups partitions that are sorted by name into topics, each partition turned into what `make` says.
pub(crate) fn by_topic<T, P>(
    partitions: &[(PartitionName, T)],
    make: impl Fn(&PartitionName, &T) -> P,
) -> Vec<(Arc<str>, Vec<P>)> {
    let mut topics = Vec::<(Arc<str>, Vec<P>)>::new();
    for (name, value) in partitions {
        let entry = make(name, value);
        match topics.last_mut().filter(|(topic, _)| *topic == name.topic) {
            Some((_, list)) => list.push(entry),
            None => topics.push((Arc::clone(&name.topic), vec![entry])),
        }
    }
    topics
}
