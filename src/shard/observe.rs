//! What a node tells of itself when it is asked: copies, made on its own thread.
//!
//! Flow: the admin endpoint mails [`Mail::Observe`](super::Mail) -> the partitions and groups are counted over several
//! turns, since there may be very many ([`Shard::observe_slice`]) -> the answer goes back by the channel in
//! the mail. A node that does not answer is one that does not turn.

use std::sync::Arc;

use crate::base::{NodeId, WallMs};
use crate::coordinator::{GroupCounts, Walk};
use crate::image::Image;
use crate::metrics::{NodeMetrics, Traffic, Turn};
use crate::shard::Shard;
use crate::shard::survey::SLICE;
use crate::storage::{self, LogId};

/// A node at one moment.
#[derive(Debug)]
pub struct Observed {
    /// Which one.
    pub node: NodeId,
    /// Its thread, as the kernel numbers it.
    pub thread: i32,
    /// Whether it accepts connections.
    pub ready: bool,
    /// Its journal failed.
    pub failed: bool,
    /// Its wall clock.
    pub wall: WallMs,
    /// What is counted; `None` when only its health was asked for.
    pub counts: Option<Box<Counts>>,
}

/// What a node has and has counted.
#[derive(Debug)]
pub struct Counts {
    /// Requests, turns, refusals.
    pub metrics: NodeMetrics,
    /// The store's counters.
    pub store: storage::Metrics,
    /// Age of the commit that is out, in seconds; 0 when none is.
    pub commit_age_s: f64,
    /// Bytes that are appended and not durable.
    pub dirty_bytes: usize,
    /// Memory in use, and its limit.
    pub memory: Memory,
    /// Open connections.
    pub connections: usize,
    /// Produce requests, and others that wait for the log.
    pub parked_acks: usize,
    /// Fetches that wait for records.
    pub parked_fetches: usize,
    /// Fetch sessions, and the partitions in them.
    pub sessions: (usize, usize),
    /// Groups.
    pub groups: GroupCounts,
    /// What the node that holds the controller knows of the cluster.
    pub controller: Option<Arc<Image>>,
    /// The partitions led here.
    pub led: LedCounts,
}

/// The partitions that a node leads.
#[derive(Debug, Default)]
pub struct LedCounts {
    /// Producers that their logs know.
    pub producers: usize,
    /// Those with fewer replicas in sync than they have.
    pub under_replicated: usize,
    /// Those with just `min.insync.replicas` in sync.
    pub at_min_in_sync: usize,
    /// Those with fewer than that.
    pub under_min_in_sync: usize,
    /// Those that are not served after a failure or damage.
    pub offline: usize,
    /// Each of them.
    pub logs: Vec<LogCounts>,
}

/// An observation that is under way.
#[derive(Debug)]
pub struct Observing {
    to: async_channel::Sender<Observed>,
    /// Places of partitions before this one are counted.
    at: usize,
    led: LedCounts,
    /// The groups are counted up to here.
    walk: Walk,
    groups: GroupCounts,
}

/// The cluster, as the controller sees it.
#[derive(Debug, Clone, Copy)]
pub struct Cluster {
    /// Topics.
    pub topics: usize,
    /// Partitions of all topics.
    pub partitions: usize,
    /// Nodes.
    pub nodes: usize,
    /// Partitions whose leader is no node of the cluster.
    pub leaderless: usize,
}

/// Memory of a node, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Where requests arrive.
    pub requests: usize,
    /// Answers on their way out.
    pub answers: usize,
    /// Tails of the logs, what was read of them, and fetches that wait.
    pub cache: usize,
    /// Fetch sessions, by estimate.
    pub sessions: usize,
    /// `node.memory.bytes`.
    pub limit: usize,
}

/// One partition.
#[derive(Debug)]
pub struct LogCounts {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its index.
    pub partition: i32,
    /// Bytes.
    pub size: u64,
    /// Oldest offset.
    pub start: i64,
    /// Next offset.
    pub end: i64,
    /// Segments.
    pub segments: usize,
    /// What came and went.
    pub traffic: Traffic,
}

impl Cluster {
    /// What an image says.
    pub fn of(image: &Image) -> Self {
        let partitions = image.topics().flat_map(|t| &t.partitions);
        Self {
            topics: image.topic_count(),
            partitions: image.partition_count(),
            nodes: image.nodes().len(),
            leaderless: partitions.filter(|p| image.node(p.leader).is_none()).count(),
        }
    }
}

impl Observing {
    /// One whose answer goes `to`.
    pub fn new(to: async_channel::Sender<Observed>) -> Self {
        let (led, groups) = (LedCounts::default(), GroupCounts::default());
        Self { to, at: 0, led, walk: Walk::default(), groups }
    }
}

impl Shard {
    /// How this node is, with or without its counts.
    pub fn observed(&self, thread: i32, counts: Option<Box<Counts>>) -> Observed {
        let (node, ready, failed, wall) = (self.node, self.ready, self.failed, self.wall);
        Observed { node, thread, ready, failed, wall, counts }
    }

    /// Goes on with the observations that are under way; those that have ended, and where they go. The
    /// turn adds what only it knows.
    pub fn observe_slice(&mut self) -> Option<(async_channel::Sender<Observed>, Box<Counts>)> {
        let mut observing = self.observing.pop_front()?;
        let upto = observing.at + SLICE;
        for place in observing.at..upto {
            self.count_led(LogId(place as u32), &mut observing.led);
        }
        observing.at = upto;
        let is_counted = upto >= self.partitions.places()
            && self.groups.count(&mut observing.groups, &mut observing.walk, SLICE);
        if !is_counted {
            self.observing.push_front(observing);
            return None;
        }
        Some((observing.to, Box::new(self.counts(observing.led, observing.groups))))
    }

    fn count_led(&self, log: LogId, led: &mut LedCounts) {
        let Some((partition, log)) = self.partitions.get(log).zip(self.store.log(log)) else {
            return;
        };
        led.producers += log.producers().len();
        led.offline += usize::from(log.is_failed());
        let (in_sync, min) = (partition.leader.in_sync(), partition.leader.min_in_sync());
        let state = self.image.partition(partition.id.topic, partition.id.partition);
        led.under_replicated += usize::from(state.is_some_and(|s| in_sync < s.replicas.len()));
        led.at_min_in_sync += usize::from(in_sync == min);
        led.under_min_in_sync += usize::from(in_sync < min);
        led.logs.push(LogCounts {
            topic: Arc::clone(&partition.topic),
            partition: partition.id.partition,
            size: log.size_bytes(),
            start: log.log_start().0,
            end: log.log_end().0,
            segments: log.segment_count(),
            traffic: partition.traffic,
        });
    }

    fn counts(&mut self, led: LedCounts, groups: GroupCounts) -> Counts {
        let metrics = self.metrics.clone();
        self.metrics.longest = Turn::default();
        let store = self.store.metrics.clone();
        let commit_age_s = store.commit_began.map_or(0.0, |at| self.now.since(at).as_secs_f64());
        Counts {
            metrics,
            store,
            commit_age_s,
            dirty_bytes: self.store.dirty_bytes(),
            memory: Memory {
                cache: self.memory_bytes(),
                sessions: self.session_bytes(),
                ..Memory::default()
            },
            connections: 0,
            parked_acks: self.acks.len(),
            parked_fetches: self.fetches.len(),
            sessions: self.sessions.counts(),
            groups,
            controller: self.holds_controller().then(|| Arc::clone(&self.image)),
            led,
        }
    }
}
