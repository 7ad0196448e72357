//! The fetcher: a position in each partition, and the requests that move it: ListOffsets where the
//! position is not known yet, Fetch from every leader where it is.
//!
//! Flow: `assign` -> (ListOffsets) -> Fetch -> [`Fetched::Batch`], the position moves on -> Fetch ...
//!
//! Invariants:
//! - F1. A partition is in at most one leader's session, and a leader has at most one Fetch.
//! - F2. What comes back for a partition that was taken away or moved meanwhile is dropped.
//! - F3. Memory: a Fetch asks for `bytes_max`; the caller takes what came before it polls again.
//! - F4. Cost: a poll looks at the partitions that something happened to, not at all of them.

mod session;
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
use crate::wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use crate::wire::messages::fetch_response::PartitionData;
use crate::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::wire::messages::list_offsets_response::ListOffsetsPartitionResponse;
use crate::wire::messages::{FetchRequest, ListOffsetsRequest};

use session::Session;

/// Topics go by name up to this version of Fetch.
const FETCH_VERSION_MAX: i16 = 12;
/// A Fetch in a session that the broker does not have in that state.
const SESSION_LOST: [ErrorCode; 3] = [
    ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
    ErrorCode::INVALID_FETCH_SESSION_EPOCH,
    ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR,
];
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
    /// Number of the ListOffsets that has it, or none.
    asked: Option<u64>,
    not_before: Moment,
}

#[derive(Debug)]
enum Asked {
    Fetch(NodeId),
    Lookup(Vec<PartitionName>),
}

/// The fetcher.
#[derive(Debug)]
pub struct Fetcher {
    options: FetcherOptions,
    slots: BTreeMap<PartitionName, Slot>,
    /// Partitions that something happened to since the last poll.
    changed: BTreeSet<PartitionName>,
    /// Partitions that wait since something failed, by the end of the wait.
    delayed: BTreeSet<(Moment, PartitionName)>,
    sessions: BTreeMap<NodeId, Session>,
    asked: BTreeMap<u64, Asked>,
    next_id: u64,
    /// The cluster's when leaders were last looked at.
    version: u64,
}

impl Fetcher {
    /// A fetcher with no partitions.
    pub fn new(options: FetcherOptions) -> Self {
        Self {
            options,
            slots: BTreeMap::new(),
            changed: BTreeSet::new(),
            delayed: BTreeSet::new(),
            sessions: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_id: 0,
            version: 0,
        }
    }

    /// Reads `partition` from `position` on; moves it when it is read already.
    pub fn assign(&mut self, partition: PartitionName, position: Position) {
        let slot = Slot { position, asked: None, not_before: Moment::default() };
        self.changed.insert(partition.clone());
        self.slots.insert(partition, slot);
    }

    /// Stops reading everything.
    pub fn clear(&mut self) {
        self.changed.extend(std::mem::take(&mut self.slots).into_keys());
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
        let waiting = self.delayed.iter().map(|(until, _)| *until);
        waiting.filter(|until| *until > now).min().unwrap_or(Moment::NEVER)
    }

    /// Sends what can be sent.
    pub fn poll(&mut self, cluster: &mut Cluster, now: Moment, out: &mut Vec<Outgoing>) {
        if self.version != cluster.version() {
            self.version = cluster.version();
            self.changed.extend(self.slots.keys().cloned());
        }
        while self.delayed.first().is_some_and(|(until, _)| now >= *until) {
            self.changed.extend(self.delayed.pop_first().map(|(_, name)| name));
        }
        let mut lookups = BTreeMap::<NodeId, Vec<(PartitionName, i64)>>::new();
        for name in std::mem::take(&mut self.changed) {
            self.place(name, cluster, now, &mut lookups);
        }
        for (node, partitions) in lookups {
            self.send_lookup(node, partitions, out);
        }
        let nodes: Vec<_> = self.sessions.keys().copied().collect();
        for node in nodes {
            self.send_fetch(node, out);
        }
    }

    /// Puts a partition where it belongs now: into its leader's session, a lookup, or neither.
    fn place(
        &mut self,
        name: PartitionName,
        cluster: &mut Cluster,
        now: Moment,
        lookups: &mut BTreeMap<NodeId, Vec<(PartitionName, i64)>>,
    ) {
        let mut leader = cluster.leader(&name);
        let mut position = None;
        if let Some(slot) = self.slots.get(&name) {
            if now < slot.not_before {
                self.delayed.insert((slot.not_before, name.clone()));
                leader = None;
            } else if leader.is_none() {
                // It is looked at again when the next metadata comes.
                cluster.mark_stale();
            }
            position = Some(slot.position).filter(|_| slot.asked.is_none());
        }
        let reads_at = match position {
            Some(Position::At(at)) => leader.map(|node| (node, at)),
            _ => None,
        };
        for (&node, session) in &mut self.sessions {
            if reads_at.is_none_or(|(leader, _)| leader != node) {
                session.unwant(&name);
            }
        }
        match (reads_at, position, leader) {
            (Some((node, at)), ..) => self.sessions.entry(node).or_default().want(name, at),
            (None, Some(Position::Time(time)), Some(node)) => {
                lookups.entry(node).or_default().push((name, time));
            }
            _ => {}
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
        let names: Vec<_> = partitions.into_iter().map(|(name, _)| name).collect();
        for name in &names {
            if let Some(slot) = self.slots.get_mut(name) {
                slot.asked = Some(self.next_id + 1);
            }
        }
        self.send(node, Asked::Lookup(names), Typed::up_to(request, 10).boxed(), out);
    }

    fn send_fetch(&mut self, node: NodeId, out: &mut Vec<Outgoing>) {
        let Some(session) = self.sessions.get_mut(&node) else { return };
        let Some(told) = session.tell() else { return };
        session.in_flight = Some(self.next_id + 1);
        let topics = by_topic(&told.partitions, |name, &at: &Offset| {
            msg!(FetchPartition {
                partition: name.partition,
                fetch_offset: at.0,
                partition_max_bytes: self.options.partition_bytes_max,
            })
        });
        let topic = |(name, partitions): (Arc<str>, _)| {
            msg!(FetchTopic { topic: (&*name).into(), partitions })
        };
        let forgotten = by_topic(&told.forgotten, |name, ()| name.partition);
        let forget = |(name, partitions): (Arc<str>, _)| {
            msg!(ForgottenTopic { topic: (&*name).into(), partitions })
        };
        let request = msg!(FetchRequest {
            max_wait_ms: self.options.max_wait_ms,
            min_bytes: self.options.min_bytes,
            max_bytes: self.options.bytes_max,
            isolation_level: i8::from(self.options.read_committed),
            session_id: told.session_id,
            session_epoch: told.session_epoch,
            topics: topics.into_iter().map(topic).collect(),
            forgotten_topics_data: forgotten.into_iter().map(forget).collect(),
        });
        let call = Typed::up_to(request, FETCH_VERSION_MAX).boxed();
        self.send(node, Asked::Fetch(node), call, out);
    }

    fn send(
        &mut self,
        node: NodeId,
        asked: Asked,
        call: Box<dyn crate::client::call::Call>,
        out: &mut Vec<Outgoing>,
    ) {
        self.next_id += 1;
        self.asked.insert(self.next_id, asked);
        let timeout_ms = self.options.request_timeout_ms;
        out.push(Outgoing { to: To::Node(node), id: self.next_id, timeout_ms, call });
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
        match self.asked.remove(&id) {
            None => Ok(()),
            Some(Asked::Lookup(names)) => {
                let mut still = BTreeSet::new();
                for name in names {
                    if let Some(slot) = self.slots.get_mut(&name).filter(|s| s.asked == Some(id)) {
                        slot.asked = None;
                        self.changed.insert(name.clone());
                        still.insert(name);
                    }
                }
                let read = answer.and_then(|a| self.on_lookup(&a, &still, cluster, now, out));
                if read.is_err() {
                    cluster.mark_stale();
                    for name in &still {
                        self.wait(name, now);
                    }
                }
                read
            }
            Some(Asked::Fetch(node)) => {
                let Some(mut session) = self.sessions.remove(&node) else { return Ok(()) };
                session.in_flight = None;
                let read = answer.and_then(|a| self.on_fetch(&a, &mut session, cluster, now, out));
                let read = match read {
                    // The broker has dropped the session, as it may: a full request follows.
                    Err(ClientError::Refused { code, .. }) if SESSION_LOST.contains(&code) => {
                        session.reset();
                        Ok(())
                    }
                    Err(e) => {
                        session.reset();
                        cluster.mark_stale();
                        for name in session.known() {
                            self.wait(name, now);
                        }
                        Err(e)
                    }
                    Ok(()) => Ok(()),
                };
                self.sessions.insert(node, session);
                read
            }
        }
    }

    fn on_fetch(
        &mut self,
        answer: &Answer,
        session: &mut Session,
        cluster: &mut Cluster,
        now: Moment,
        out: &mut Vec<Fetched>,
    ) -> Result<(), ClientError> {
        let answer = answer.decode::<FetchRequest>()?;
        ClientError::check("Fetch", answer.error_code, None)?;
        session.on_answer(answer.session_id);
        for topic in &answer.responses {
            for partition in &topic.partitions {
                let name = PartitionName::new(&topic.topic, partition.partition_index);
                let position = self.slots.get(&name).map(|slot| slot.position);
                let asked = session.asked(&name).map(Position::At);
                if asked.is_none() || asked != position {
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
                self.changed.insert(name.clone());
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
                self.changed.insert(name);
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
            self.changed.insert(name.clone());
        }
    }

    fn fail(&mut self, partition: PartitionName, error: ClientError, out: &mut Vec<Fetched>) {
        self.slots.remove(&partition);
        self.changed.insert(partition.clone());
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
