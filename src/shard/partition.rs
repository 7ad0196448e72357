//! The partitions that this node leads, and the way to them by topic name or id.
//!
//! Routing goes through [`Partitions::find`] alone: it says where a partition is, here or on
//! another node, so a node with more than one core changes one place.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::{Offset, SplitMap, TopicId, TopicPartition};
use crate::metrics::Traffic;
use crate::partition::append::Rules;
use crate::partition::leader::Leader;
use crate::purgatory::acks::AckId;
use crate::runtime::network::ConnectionId;
use crate::shard::sessions::Watchers;
use crate::storage::LogId;

/// One partition that this node leads.
#[derive(Debug)]
pub struct Partition {
    /// Its topic and index.
    pub id: TopicPartition,
    /// Name of its topic.
    pub topic: Arc<str>,
    /// Its log in the store.
    pub log: LogId,
    /// Who has what, and how far is it safe to read.
    pub leader: Leader,
    /// What the topic asks of a batch.
    pub rules: Rules,
    /// Clients may not write to it.
    pub internal: bool,
    /// Cleaned by compaction only, so records cannot be deleted.
    pub compact_only: bool,
    /// Requests that wait until the local log is safe up to an offset, in offset order.
    pub local_acks: VecDeque<Wait>,
    /// Requests that wait until the high watermark reaches an offset, in offset order.
    pub committed_acks: VecDeque<Wait>,
    /// The log start that is on disk.
    pub safe_start: Offset,
    /// Requests that wait until the log start on disk reaches an offset, in offset order.
    pub start_acks: VecDeque<Wait>,
    /// Connections whose parked fetch wants this partition; each is woken once.
    pub readers: Vec<ConnectionId>,
    /// What came and went.
    pub traffic: Traffic,
    /// Fetch sessions that have this partition.
    pub watchers: Watchers,
}

impl Partition {
    /// A partition that this node begins to lead, with the rules of a topic without settings.
    pub fn new(id: TopicPartition, topic: Arc<str>, log: LogId, leader: Leader) -> Self {
        Self {
            id,
            topic,
            log,
            leader,
            rules: Rules::default(),
            internal: false,
            compact_only: false,
            local_acks: VecDeque::new(),
            committed_acks: VecDeque::new(),
            safe_start: Offset(0),
            start_acks: VecDeque::new(),
            readers: Vec::new(),
            traffic: Traffic::default(),
            watchers: Watchers::default(),
        }
    }
}

impl Partition {
    /// Wakes the parked fetch of this connection when there is more to read.
    pub fn watch(&mut self, connection: ConnectionId) {
        if !self.readers.contains(&connection) {
            self.readers.push(connection);
        }
    }
}

/// One thing that a parked request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Arrived when everything below this offset is.
    pub below: Offset,
    /// The request.
    pub ack: AckId,
    /// Which of the request's waits this is.
    pub index: u32,
}

/// Why there is no partition to work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// No such topic name.
    #[error("the topic is not known")]
    Topic,
    /// No such topic id.
    #[error("the topic id is not known")]
    TopicId,
    /// The topic has fewer partitions.
    #[error("the topic has no such partition")]
    Partition,
    /// Another node leads it.
    #[error("another node leads the partition")]
    NotLeader,
}

/// A topic as this node sees it.
#[derive(Debug, Clone)]
pub struct LocalTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: TopicId,
    /// Per partition index, the log if this node leads it.
    pub partitions: Vec<Option<LogId>>,
}

/// All topics, and the partitions led here.
#[derive(Debug, Default)]
pub struct Partitions {
    /// In boxes, so that making room for more moves little.
    led: Vec<Option<Box<Partition>>>,
    by_name: SplitMap<Arc<str>, TopicId>,
    topics: SplitMap<TopicId, Arc<LocalTopic>>,
}

impl Partitions {
    /// The topic of a name.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn topic(&self, name: &str) -> Result<&Arc<LocalTopic>, Missing> {
        let id = self.by_name.of(name).get(name).ok_or(Missing::Topic)?;
        self.topics.of(id).get(id).ok_or(Missing::Topic)
    }

    /// The topic of an id.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn topic_by_id(&self, id: TopicId) -> Result<&Arc<LocalTopic>, Missing> {
        self.topics.of(&id).get(&id).ok_or(Missing::TopicId)
    }

    /// The log of a partition that is led here.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn find(&self, topic: &str, partition: i32) -> Result<LogId, Missing> {
        self.topic(topic)?.log(partition)
    }

    /// A partition that is led here.
    pub fn get(&self, log: LogId) -> Option<&Partition> {
        self.led.get(log.0 as usize)?.as_deref()
    }

    /// A partition that is led here.
    pub fn get_mut(&mut self, log: LogId) -> Option<&mut Partition> {
        self.led.get_mut(log.0 as usize)?.as_deref_mut()
    }

    /// Logs from this one on lead to no partition.
    pub fn places(&self) -> usize {
        self.led.len()
    }

    /// All that are led here.
    pub fn iter(&self) -> impl Iterator<Item = &Partition> {
        self.led.iter().flatten().map(|partition| &**partition)
    }

    /// Takes in partitions of a topic, new or changed: those from `first` on, with the log of each
    /// that is led here. The partitions themselves are put separately.
    pub fn put_logs(&mut self, name: &Arc<str>, id: TopicId, first: usize, logs: &[Option<LogId>]) {
        self.by_name.of_mut(name).insert(Arc::clone(name), id);
        let new = || {
            let name = Arc::clone(name);
            Arc::new(LocalTopic { name, id, partitions: Vec::new() })
        };
        let known =
            &mut Arc::make_mut(self.topics.of_mut(&id).entry(id).or_insert_with(new)).partitions;
        known.resize(known.len().max(first + logs.len()), None);
        known[first..][..logs.len()].copy_from_slice(logs);
    }

    /// Forgets a topic. Its partitions are removed separately.
    pub fn remove_topic(&mut self, id: TopicId) {
        let Some(topic) = self.topics.of_mut(&id).remove(&id) else { return };
        let names = self.by_name.of_mut(&topic.name);
        if names.get(&topic.name) == Some(&id) {
            names.remove(&topic.name);
        }
    }

    /// Begins to lead a partition.
    pub fn put(&mut self, partition: Partition) {
        let at = partition.log.0 as usize;
        if self.led.len() <= at {
            self.led.resize_with(at + 1, || None);
        }
        self.led[at] = Some(Box::new(partition));
    }

    /// Stops leading a partition.
    pub fn remove(&mut self, log: LogId) -> Option<Box<Partition>> {
        self.led.get_mut(log.0 as usize)?.take()
    }
}

impl LocalTopic {
    /// The log of a partition that is led here.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn log(&self, partition: i32) -> Result<LogId, Missing> {
        let at = usize::try_from(partition).map_err(|_| Missing::Partition)?;
        self.partitions.get(at).ok_or(Missing::Partition)?.ok_or(Missing::NotLeader)
    }
}
