//! What a node tells of itself when it is asked: copies, made on its own thread.
//!
//! Flow: the admin endpoint mails [`Mail::Observe`](super::Mail) -> [`Shard::observe`] -> the answer
//! goes back by the channel in the mail. A node that does not answer is one that does not turn.

use std::sync::Arc;

use crate::base::{NodeId, WallMs};
use crate::coordinator::GroupCounts;
use crate::metrics::{NodeMetrics, Traffic, Turn};
use crate::shard::Shard;
use crate::storage;

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
    /// Producers that the logs know.
    pub producers: usize,
    /// Partitions with fewer replicas in sync than they have.
    pub under_replicated: usize,
    /// Partitions with just `min.insync.replicas` in sync.
    pub at_min_in_sync: usize,
    /// Partitions with fewer than that.
    pub under_min_in_sync: usize,
    /// Partitions that are not served after a failure or damage.
    pub offline: usize,
    /// Of the node that holds the controller.
    pub controller: Option<Cluster>,
    /// The partitions led here.
    pub logs: Vec<LogCounts>,
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

impl Shard {
    /// This node now; the turn adds what only it knows. `whole` asks for the counts as well.
    pub fn observe(&mut self, thread: i32, whole: bool) -> Observed {
        let counts = whole.then(|| Box::new(self.counts()));
        let (node, ready, failed, wall) = (self.node, self.ready, self.failed, self.wall);
        Observed { node, thread, ready, failed, wall, counts }
    }

    fn cluster(&self) -> Cluster {
        let image = &self.image;
        let partitions = image.topics().flat_map(|t| &t.partitions);
        Cluster {
            topics: image.topic_count(),
            partitions: image.partition_count(),
            nodes: image.nodes().len(),
            leaderless: partitions.filter(|p| image.node(p.leader).is_none()).count(),
        }
    }

    fn counts(&mut self) -> Counts {
        let metrics = self.metrics.clone();
        self.metrics.longest = Turn::default();
        let store = self.store.metrics.clone();
        let commit_age_s = store.commit_began.map_or(0.0, |at| self.now.since(at).as_secs_f64());
        let (mut producers, mut offline) = (0, 0);
        let (mut under_replicated, mut at_min_in_sync, mut under_min_in_sync) = (0, 0, 0);
        let mut logs = Vec::new();
        for partition in self.partitions.iter() {
            let Some(log) = self.store.log(partition.log) else { continue };
            producers += log.producers().len();
            offline += usize::from(log.is_failed());
            let (in_sync, min) = (partition.leader.in_sync(), partition.leader.min_in_sync());
            let state = self.image.partition(partition.id.topic, partition.id.partition);
            under_replicated += usize::from(state.is_some_and(|s| in_sync < s.replicas.len()));
            at_min_in_sync += usize::from(in_sync == min);
            under_min_in_sync += usize::from(in_sync < min);
            logs.push(LogCounts {
                topic: Arc::clone(&partition.topic),
                partition: partition.id.partition,
                size: log.size_bytes(),
                start: log.log_start().0,
                end: log.log_end().0,
                segments: log.segment_count(),
                traffic: partition.traffic,
            });
        }
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
            groups: self.groups.counts(),
            producers,
            under_replicated,
            at_min_in_sync,
            under_min_in_sync,
            offline,
            controller: self.holds_controller().then(|| self.cluster()),
            logs,
        }
    }
}
