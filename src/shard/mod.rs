//! What one core owns: its partitions, groups and logs, and the mail from and to its siblings.
//!
//! Flow: `api` handlers call into [`Shard`]; what it cannot answer at once it parks, and answers
//! into [`Shard::outbox`] when a commit, a record or a deadline makes that possible. The node's
//! turn (`server`) drains the outboxes. No clock, no I/O, no thread in here.

pub mod append;
mod apply;
pub mod call;
pub mod groups;
pub mod kept;
mod load;
pub mod mail;
pub mod metadata;
pub mod observe;
pub mod opening;
pub mod park;
pub mod partition;
pub mod pieces;
pub mod sessions;
pub mod survey;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::{Moment, NodeId, Offset, WallMs};
use crate::config::{Layers, NodeLimits, ServerConfig};
use crate::coordinator::Groups;
use crate::image::{Image, Node};
use crate::metrics::NodeMetrics;
use crate::partition::leader::Effect;
use crate::purgatory::acks::Acks;
use crate::runtime::network::ConnectionId;
use crate::runtime::space::Probe;
use crate::storage::{LogConfig, Store};
use crate::wire::frame::Answer;

use apply::{Application, PARTITIONS_PER_TURN};
pub use call::{Call, Slot};
use groups::GroupAppends;
pub use groups::GroupCall;
use kept::Kept;
use load::Loading;
pub use mail::{Mail, Post, ShardIndex};
use metadata::{METADATA_PARTITION, METADATA_TOPIC, Publisher};
use observe::Observing;
use opening::{Chore, Openings};
use park::{Fetches, ParkedAck};
use partition::Partitions;
use sessions::Sessions;
use survey::Survey;

/// The shard that holds the controller and the metadata log.
pub const CONTROLLER: ShardIndex = ShardIndex(0);

/// From one turn with a slice to the next: others get most of the core meanwhile. Without a pause the
/// scheduler would take the thread for a greedy one, and let it wait for the servants' turns.
const SLICE_PAUSE: Duration = Duration::from_micros(200);
/// Topics that may wait to be created.
const MISSING_MAX: usize = 10_000;
/// Partitions of a session that is given back at once.
const DROPPED_MAX: usize = 1000;
/// What a partition of a fetch session takes, about.
const SESSION_PARTITION_BYTES: usize = 256;

/// All state of one node.
pub struct Shard {
    /// Which of the process's shards this is.
    pub index: ShardIndex,
    /// The broker id that clients know it by.
    pub node: NodeId,
    /// Time of the current turn.
    pub now: Moment,
    /// Wall-clock time of the current turn.
    pub wall: WallMs,
    /// What the server was started with, as this node describes it.
    pub config: Arc<ServerConfig>,
    /// The metadata that this node goes by.
    pub image: Arc<Image>,
    /// On the controller's shard, the way of its records.
    pub publisher: Option<Publisher>,
    /// What the metadata begins with, until it has begun.
    start: Start,
    /// Images that are not applied yet.
    applying: VecDeque<Application>,
    /// Partitions that one turn applies of them.
    pub apply_max: usize,
    /// Observations that are under way.
    pub observing: VecDeque<Observing>,
    /// Surveys that are under way, with what they answer.
    pub surveys: VecDeque<(Call, Box<dyn Survey>)>,
    loading: Vec<Loading>,
    /// An image is applied: clients may come.
    pub ready: bool,
    /// Limits of this node that may change while it runs.
    pub limits: NodeLimits,
    /// Directory of the logs, for whoever asks.
    pub dir: Arc<str>,
    /// How much room the directory's file system has; a simulated one does not say.
    pub space: Option<Probe>,
    /// The logs.
    pub store: Store,
    /// The partitions that this node leads, and the way to them.
    pub partitions: Partitions,
    /// Incremental fetch sessions.
    pub sessions: Sessions,
    /// Fetches that found too little.
    pub fetches: Fetches,
    /// Requests that the opener works on.
    pub openings: Openings,
    /// The last long answer about the metadata.
    pub kept: Kept,
    /// The frame that is being served, if it is large enough to have its own buffer.
    pub frame: Option<Bytes>,
    /// The groups whose records this node leads.
    pub groups: Groups<GroupCall>,
    group_appends: GroupAppends,
    acks: Acks<Box<dyn ParkedAck>>,
    effects: Vec<Effect>,
    /// The journal failed: nothing can be promised any more, and the process must stop.
    pub failed: bool,
    /// State of the random numbers that topic ids are made of.
    pub random: u64,
    /// On the controller's shard, topics to create for clients that asked about them.
    pub missing: VecDeque<String>,
    /// Answers to requests that were parked, for connections of this shard.
    pub outbox: Vec<(Slot, Answer)>,
    /// Mail for sibling shards.
    pub post: Vec<Post>,
    /// What is counted.
    pub metrics: NodeMetrics,
    /// This turn does a slice of what takes too long for one: some steps to the next image, or some of an
    /// observation and of a survey, one piece of a large request and some of the topics that are missed;
    /// and one slice of a large fetch.
    pub in_slice: bool,
    /// When the next one does, if there is any.
    pub slice_at: Moment,
    /// Memory that answers may still take in this turn.
    pub answer_room: usize,
}

/// What the controller's shard has to know when the server starts.
#[derive(Debug, Default)]
pub struct Start {
    /// The cluster's id, should it be new.
    pub cluster_id: Arc<str>,
    /// All nodes of this server, with their addresses.
    pub nodes: Vec<Node>,
    /// Number of shards.
    pub shards: usize,
}

impl Shard {
    /// A node over its store, without metadata yet.
    pub fn new(index: ShardIndex, config: Arc<ServerConfig>, store: Store, random: u64) -> Self {
        let mut sessions = Sessions::new(config.fetch_sessions_max, random);
        sessions.partitions_max = config.memory_bytes as usize / 4 / SESSION_PARTITION_BYTES;
        let limits = NodeLimits::of(&Layers::of_server(&config));
        let groups = Groups::new(config.group.clone(), random);
        Self {
            index,
            node: config.node_id,
            config,
            image: Arc::default(),
            limits,
            dir: Arc::default(),
            space: None,
            publisher: None,
            start: Start::default(),
            applying: VecDeque::new(),
            apply_max: PARTITIONS_PER_TURN,
            observing: VecDeque::new(),
            surveys: VecDeque::new(),
            loading: Vec::new(),
            ready: false,
            now: Moment(0),
            wall: WallMs(0),
            store,
            partitions: Partitions::default(),
            sessions,
            fetches: Fetches::default(),
            openings: Openings::default(),
            kept: Kept::default(),
            frame: None,
            groups,
            group_appends: GroupAppends::default(),
            acks: Acks::default(),
            effects: Vec::new(),
            failed: false,
            random,
            missing: VecDeque::new(),
            outbox: Vec::new(),
            post: Vec::new(),
            metrics: NodeMetrics::default(),
            in_slice: true,
            slice_at: Moment(0),
            answer_room: usize::MAX,
        }
    }

    /// Begins to hold the controller: reads the metadata log, then publishes what it says. All
    /// shards are ready once they have applied that.
    pub fn start_controller(&mut self, start: Start) {
        self.start = start;
        let known = self.store.find(METADATA_PARTITION);
        if known.is_none() && self.store.logs().next().is_some() {
            return self.metadata_failed(Offset(0), "it is not there, and other partitions are");
        }
        let log = known.unwrap_or_else(|| {
            let kept_for_ever = LogConfig { delete: false, ..LogConfig::default() };
            self.store.create(METADATA_PARTITION, METADATA_TOPIC, kept_for_ever, self.now)
        });
        self.load_metadata(log);
    }

    /// Whether requests that change metadata run here.
    pub fn holds_controller(&self) -> bool {
        self.index == CONTROLLER
    }

    /// A turn begins.
    pub fn begin_turn(&mut self, now: Moment, wall: WallMs) {
        (self.now, self.wall) = (now, wall);
        self.openings.begin_turn();
        self.store.begin_turn();
        self.in_slice = now >= self.slice_at;
        if self.in_slice {
            self.slice_at = now + SLICE_PAUSE;
            self.fetches.begin_slice();
        }
    }

    /// A part of the frame that is being served, to keep: a large one is not copied.
    pub fn keep(&self, part: &[u8]) -> Bytes {
        self.frame.as_ref().map_or_else(|| Bytes::copy_from_slice(part), |f| f.slice_ref(part))
    }

    /// Does what is due of requests and groups; whether anything was.
    pub fn on_time(&mut self) -> bool {
        let (acks, groups) = (self.acks.next_deadline(), self.groups.next_deadline());
        if acks <= self.now {
            let mut expired = Vec::new();
            self.acks.expire(self.now, &mut expired);
            for request in expired {
                let (slot, answer) = request.finish();
                self.send(slot, answer);
            }
        }
        if groups <= self.now {
            self.ask_groups(Groups::on_time);
        }
        acks.min(groups) <= self.now
    }

    /// Lets the store do what is due; whether anything was.
    pub fn upkeep(&mut self) -> bool {
        let due = self.store.next_deadline() <= self.now;
        if due {
            self.store.on_time(self.now, self.wall);
        }
        due
    }

    /// When [`Self::on_time`], [`Self::upkeep`] or [`Self::answer_fetches`] has something to do.
    pub fn next_deadline(&self) -> Moment {
        let looks = !self.observing.is_empty() || !self.surveys.is_empty();
        let waits = !self.missing.is_empty() || !self.applying.is_empty();
        let slices = looks || waits || self.fetches.has_slices();
        let slice_at = if slices { self.slice_at } else { Moment::NEVER };
        let requests = self.acks.next_deadline().min(self.fetches.next_deadline());
        slice_at.min(requests).min(self.groups.next_deadline()).min(self.store.next_deadline())
    }

    /// Sends a request, as it came, to the controller's shard; the answer comes to the call's slot.
    pub fn forward(&mut self, call: Call, frame: Bytes) {
        self.post.push(Post { to: CONTROLLER, mail: Mail::Request { call, frame } });
    }

    /// Topics are missed: they are created soon, but for those beyond `MISSING_MAX`, which their
    /// clients will ask about again.
    pub fn miss(&mut self, names: Vec<String>) {
        let room = MISSING_MAX.saturating_sub(self.missing.len());
        self.missing.extend(names.into_iter().take(room));
    }

    /// Answers a parked request, wherever its connection lives.
    pub fn send(&mut self, slot: Slot, answer: Answer) {
        if slot.shard == self.index {
            self.answer_room = self.answer_room.saturating_sub(answer.len());
            self.outbox.push((slot, answer));
        } else {
            let mail = Mail::Answer { slot, answer: Box::new(answer) };
            self.post.push(Post { to: slot.shard, mail });
        }
    }

    /// Bytes that an answer may have whose client wants at most `bytes`, so that the answers of a
    /// turn fit into what memory is left.
    pub fn bound_answer(&self, bytes: i32) -> i32 {
        bytes.min(i32::try_from(self.answer_room).unwrap_or(i32::MAX))
    }

    /// Memory that is neither a connection's nor the fetch sessions', by estimate.
    pub fn memory_bytes(&self) -> usize {
        let parked = self.fetches.size_bytes() + self.openings.size_bytes();
        let made = self.store.cache_bytes() + self.store.window_bytes() + self.kept.size_bytes();
        made + self.groups.size_bytes() + parked
    }

    /// Memory of the fetch sessions, by estimate. Costs a look at each of them.
    pub fn session_bytes(&self) -> usize {
        self.sessions.counts().1 * SESSION_PARTITION_BYTES
    }

    /// Whether everything that was appended is answered, and every change applied: the controller's shard
    /// waits for that.
    pub fn has_settled(&self) -> bool {
        let metadata = self.publisher.as_ref().is_none_or(Publisher::has_settled);
        let groups = self.group_appends.values().all(VecDeque::is_empty);
        self.acks.is_empty() && groups && metadata && self.applying.is_empty()
    }

    /// Ends a fetch session, if there is one with this id.
    pub fn close_session(&mut self, id: i32) {
        if let Some(session) = self.sessions.take(id).filter(|s| s.len() > DROPPED_MAX) {
            self.openings.push(Chore::drop(0, session));
        }
    }

    /// A connection of this shard is gone.
    pub fn on_closed(&mut self, connection: ConnectionId) {
        self.fetches.drop_connection(connection);
        self.openings.drop_connection(connection);
        self.surveys.retain(|(call, _)| call.slot.connection != connection.0);
    }
}
