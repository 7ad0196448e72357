//! One group: its state, its members, its offsets. What moves it lies in the files beside this one.
//!
//! ```text
//!            join                    all joined, or time is up          leader's sync committed
//!   Empty ----------> PreparingRebalance ------------------> CompletingRebalance ------> Stable
//!     ^                |  ^        ^                                 |                      |
//!     |   nobody left  |  |        +--- join, leave, session over ---+                      |
//!     +----------------+  +------------ join, leave, session over --------------------------+
//!   Empty ----> Dead (its tombstone is on the way to the log) ----> gone
//! ```
//!
//! Invariants:
//! - G1. A group that is Empty or Dead has no members; one that is CompletingRebalance or Stable has.
//! - G2. The generation only grows, by one whenever a join phase ends.
//! - G3. Every request that is parked in a member is answered before the member goes.
//! - G4. All members have a protocol in common, and one protocol type.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{DetMap, TopicId, WallMs};
use crate::coordinator::error::GroupError;
use crate::coordinator::held::Held;
use crate::coordinator::message::{Answer, Joined, JoinedMember};
use crate::coordinator::records::{self, GroupValue, MemberValue, Record};
use crate::coordinator::timers::Timer;
use crate::coordinator::{Env, reply};

/// The protocol type whose subscriptions the coordinator can read.
const CONSUMER: &str = "consumer";

/// State of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
    Dead,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// The offset kept for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Offset of the next record to be read.
    pub offset: i64,
    /// Leader epoch of the last record read; -1 when not known.
    pub leader_epoch: i32,
    /// What the client wanted to keep with it.
    pub metadata: Arc<str>,
    /// When it was committed.
    pub commit_ms: i64,
    /// When it expires, if the client said so.
    pub expire_ms: Option<i64>,
    /// Topic it was committed for; zero when not known.
    pub topic_id: TopicId,
}

/// One member.
#[derive(Debug)]
pub(super) struct Member<R> {
    pub(super) instance: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    /// Name and metadata, the preferred one first.
    pub(super) protocols: Vec<(Arc<str>, Bytes)>,
    pub(super) assignment: Bytes,
    pub(super) session: Timer,
    /// Has not been through a join phase yet: its session ends even while its join is parked.
    pub(super) is_new: bool,
    /// Has been told the generation and has not asked for its assignment yet.
    pub(super) owes_sync: bool,
    pub(super) join: Option<R>,
    pub(super) sync: Option<R>,
}

impl<R> Member<R> {
    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| &**name == protocol)
    }

    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| Some(&**name) == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// Whether the protocols are the ones it has, in the same order.
    pub(super) fn has_protocols(&self, protocols: &[(&str, &[u8])]) -> bool {
        let own = self.protocols.iter().map(|(name, metadata)| (&**name, &**metadata));
        own.eq(protocols.iter().copied())
    }
}

/// What is kept of a member id that was handed out and not used yet.
#[derive(Debug)]
pub(super) struct Promise {
    pub(super) session: Timer,
    pub(super) _held: Held,
}

/// The initial join phase, which is longer so that many members start at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Initial {
    /// Length of the delay that runs.
    pub(super) delay_ms: i32,
    /// What the delay may still be extended by.
    pub(super) remaining_ms: i32,
    /// Someone joined during the delay.
    pub(super) newcomer: bool,
}

/// One group.
#[derive(Debug)]
pub(super) struct Group<R> {
    pub(super) id: Arc<str>,
    pub(super) state: State,
    /// When it came into its state.
    pub(super) since_ms: i64,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member<R>>,
    /// Instance id -> member id.
    pub(super) statics: DetMap<Arc<str>, Arc<str>>,
    /// Member ids that were handed out and not used yet.
    pub(super) promised: BTreeMap<Arc<str>, Promise>,
    pub(super) initial: Option<Initial>,
    /// The assignment of this generation is on its way to the log: there is no second one.
    pub(super) assigned: bool,
    pub(super) join_timer: Timer,
    pub(super) sync_timer: Timer,
    /// In order; `None` when the members' metadata does not say.
    pub(super) subscribed: Option<Vec<Arc<str>>>,
    /// Topic -> partition -> offset.
    pub(super) offsets: BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>,
}

impl<R> Group<R> {
    pub(super) fn new(id: Arc<str>, wall: WallMs) -> Self {
        Self {
            id,
            state: State::Empty,
            since_ms: wall.0,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: DetMap::default(),
            promised: BTreeMap::new(),
            initial: None,
            assigned: false,
            join_timer: Timer::default(),
            sync_timer: Timer::default(),
            subscribed: None,
            offsets: BTreeMap::new(),
        }
    }

    pub(super) fn move_to(&mut self, state: State, wall: WallMs) {
        self.state = state;
        self.since_ms = wall.0;
    }

    /// Nothing would be lost with it: no record of it was ever written.
    pub(super) fn is_void(&self) -> bool {
        self.state == State::Empty
            && self.generation == 0
            && self.promised.is_empty()
            && self.offsets.is_empty()
    }

    pub(super) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// Checks that the sender is a member and, when it is a static one, the right one.
    pub(super) fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(GroupError::UnknownMemberId),
                Some(known) if &**known != id => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    pub(super) fn check_generation(&self, asked: i32) -> Result<(), GroupError> {
        let current = self.generation;
        if asked == current {
            Ok(())
        } else {
            Err(GroupError::IllegalGeneration { asked, current })
        }
    }

    /// Whether all members could work with one of `protocols`.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[(&str, &[u8])]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let common = |name: &str| self.members.values().all(|m| m.supports(name));
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|(name, _)| common(name))
    }

    pub(super) fn awaiting_join(&self) -> usize {
        self.members.values().filter(|m| m.join.is_some()).count()
    }

    pub(super) fn all_joined(&self) -> bool {
        self.promised.is_empty() && self.members.values().all(|m| m.join.is_some())
    }

    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|m| m.rebalance_timeout_ms).max().unwrap_or(0)
    }

    pub(super) fn insert(&mut self, id: Arc<str>, member: Member<R>, protocol_type: &str) {
        self.promised.remove(&id);
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.into());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.members.insert(id, member);
    }

    /// Takes a member out. What it has parked is answered with `error`.
    pub(super) fn remove(&mut self, id: &str, error: GroupError, env: &mut Env<'_, R>) {
        self.promised.remove(id);
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        reply(env.out, member.join, || Answer::Join(Arc::default(), Err(error)));
        reply(env.out, member.sync, || Answer::Sync(Err(error)));
    }

    /// Puts a leader in place that has joined, if one has.
    pub(super) fn elect(&mut self) -> bool {
        let has_joined = |m: &Member<R>| m.join.is_some();
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(has_joined) {
            return true;
        }
        let joined = self.members.iter().find(|(_, m)| has_joined(m)).map(|(id, _)| id.clone());
        let found = joined.is_some();
        self.leader = joined.or_else(|| self.leader.take());
        found
    }

    /// Ends the join phase. The protocol is the one that most members prefer among those that all
    /// have; the leader's order breaks a tie.
    pub(super) fn next_generation(&mut self, wall: WallMs) {
        self.generation = self.generation.wrapping_add(1).max(0);
        (self.initial, self.assigned) = (None, false);
        self.protocol = self.vote();
        self.subscribed = self.read_subscriptions();
        let empty = self.members.is_empty();
        self.move_to(if empty { State::Empty } else { State::CompletingRebalance }, wall);
    }

    /// The protocol that the members would choose now.
    pub(super) fn vote(&self) -> Option<Arc<str>> {
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id))?;
        let common = |name: &str| self.members.values().all(|m| m.supports(name));
        let candidates: Vec<_> =
            leader.protocols.iter().map(|(name, _)| name).filter(|name| common(name)).collect();
        let mut votes = vec![0_usize; candidates.len()];
        for member in self.members.values() {
            let choice = member
                .protocols
                .iter()
                .find_map(|(name, _)| candidates.iter().position(|c| *c == name));
            if let Some(choice) = choice {
                votes[choice] += 1;
            }
        }
        let most = votes.iter().copied().max()?;
        let winner = votes.iter().position(|&n| n == most)?;
        Some(candidates[winner].clone())
    }

    /// Topics that any member reads; `None` when the group's metadata does not say.
    pub(super) fn read_subscriptions(&self) -> Option<Vec<Arc<str>>> {
        if !self.is_consumer() {
            return None;
        }
        let mut topics = Vec::new();
        for member in self.members.values() {
            let metadata = member.metadata(self.protocol.as_deref());
            topics.extend(records::subscribed_topics(&metadata)?);
        }
        topics.sort_unstable();
        topics.dedup();
        Some(topics)
    }

    pub(super) fn is_consumer(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether members read the topic; a consumer group that cannot tell is taken to read all.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.binary_search_by(|t| (**t).cmp(topic)).is_ok(),
            None => self.is_consumer(),
        }
    }

    /// What a member that joined is told of the current generation.
    pub(super) fn joined(&self, member: &str) -> Joined {
        let is_leader = self.is_leader(member);
        let info = |(id, m): (&Arc<str>, &Member<R>)| JoinedMember {
            member: id.clone(),
            instance: m.instance.clone(),
            metadata: m.metadata(self.protocol.as_deref()),
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            members: if is_leader { self.members.iter().map(info).collect() } else { Vec::new() },
        }
    }

    /// What a record says of the group, with the assignments that `assignment` gives.
    pub(super) fn value(&self, assignment: impl Fn(&str, &Member<R>) -> Bytes) -> GroupValue {
        let member = |(id, m): (&Arc<str>, &Member<R>)| MemberValue {
            id: id.clone(),
            instance: m.instance.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            rebalance_timeout_ms: m.rebalance_timeout_ms,
            session_timeout_ms: m.session_timeout_ms,
            subscription: m.metadata(self.protocol.as_deref()),
            assignment: assignment(id, m),
        };
        GroupValue {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since_ms: self.since_ms,
            members: self.members.iter().map(member).collect(),
        }
    }

    /// The record of the group as it is.
    pub(super) fn record(&self) -> Record {
        records::group_record(&self.id, &self.value(|_, member| member.assignment.clone()))
    }

    /// Becomes what a record says, as the log is read. Offsets stay.
    pub(super) fn restore(&mut self, value: GroupValue) {
        let GroupValue { protocol_type, generation, protocol, leader, since_ms, members } = value;
        self.state = if members.is_empty() { State::Empty } else { State::Stable };
        (self.generation, self.since_ms) = (generation, since_ms);
        (self.protocol_type, self.protocol) = (protocol_type, protocol);
        self.statics.clear();
        self.members.clear();
        for member in members {
            let name = self.protocol.clone().unwrap_or_default();
            if let Some(instance) = &member.instance {
                self.statics.insert(instance.clone(), member.id.clone());
            }
            let restored = Member {
                instance: member.instance,
                client_id: member.client_id,
                client_host: member.client_host,
                session_timeout_ms: member.session_timeout_ms,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                protocols: vec![(name, member.subscription)],
                assignment: member.assignment,
                session: Timer::default(),
                is_new: false,
                owes_sync: false,
                join: None,
                sync: None,
            };
            self.members.insert(member.id, restored);
        }
        let is_member = |id: &Arc<str>| self.members.contains_key(id);
        self.leader = leader.filter(is_member).or_else(|| self.members.keys().next().cloned());
        self.subscribed = self.read_subscriptions();
    }
}
