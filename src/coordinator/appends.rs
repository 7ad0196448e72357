//! Records on their way to the log, and what happens when they are there or will never be.
//!
//! Invariants:
//! - A1. Tickets grow, so the append that waits longest is the first one.
//! - A2. Records change state when they are committed, in the order of the log; never before.
//! - A3. An append that takes longer than `offsets.commit.timeout.ms` is answered as failed, but it
//!   still counts when it is committed after all.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use crate::base::{Moment, WallMs};
use crate::coordinator::error::{AppendFailure, GroupError, RecordError};
use crate::coordinator::group::{Group, Member, State};
use crate::coordinator::message::{Answer, At, Effect, Ticket};
use crate::coordinator::records::{self, Key, Record};
use crate::coordinator::{Env, GroupMap, Groups, join, rebalance, reply, sync};

/// What waits for an append.
#[derive(Debug)]
pub(super) enum Then<R> {
    /// Nobody.
    Nothing,
    /// A reply, with these outcomes if all goes well.
    Each { to: Option<R>, outcomes: Vec<Result<(), GroupError>> },
    /// The members of a group, for the leader's assignment.
    Assignment { group: Arc<str>, generation: i32 },
    /// A static member that took over its instance id.
    Takeover(Box<Takeover>),
    /// The end of a group, and one place in a request for several of them.
    Deletion { group: Arc<str>, request: Option<(u64, usize)> },
}

/// A static member whose new id is being written down.
#[derive(Debug)]
pub(super) struct Takeover {
    pub(super) group: Arc<str>,
    pub(super) generation: i32,
    pub(super) member: Arc<str>,
    /// Leader to be named in the answer.
    pub(super) leader: Arc<str>,
    pub(super) can_skip_assignment: bool,
    pub(super) undo: Undo,
}

/// What the member was before.
#[derive(Debug)]
pub(super) struct Undo {
    pub(super) member: Arc<str>,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) protocols: Vec<(Arc<str>, bytes::Bytes)>,
}

#[derive(Debug)]
struct Pending<R> {
    partition: i32,
    records: Vec<Record>,
    since: Moment,
    then: Then<R>,
}

/// A request to delete several groups, which are written separately.
#[derive(Debug)]
struct Deletions<R> {
    to: R,
    outcomes: Vec<Result<(), GroupError>>,
    left: usize,
}

/// All appends that the shard has not reported yet.
#[derive(Debug)]
pub(super) struct Appends<R> {
    pending: BTreeMap<Ticket, Pending<R>>,
    next: Ticket,
    /// Every pending append before this one has been answered as late.
    late: Ticket,
    deletions: BTreeMap<u64, Deletions<R>>,
}

impl<R> Default for Appends<R> {
    fn default() -> Self {
        let (pending, deletions) = (BTreeMap::new(), BTreeMap::new());
        Self { pending, next: Ticket(0), late: Ticket(0), deletions }
    }
}

impl<R> Appends<R> {
    pub(super) fn begin(
        &mut self,
        partition: i32,
        records: Vec<Record>,
        then: Then<R>,
        now: Moment,
        out: &mut Vec<Effect<R>>,
    ) -> Ticket {
        let ticket = self.next;
        self.next = Ticket(ticket.0 + 1);
        let pending = Pending { partition, records: records.clone(), since: now, then };
        self.pending.insert(ticket, pending);
        out.push(Effect::Append { partition, records, ticket });
        ticket
    }

    /// Whether the shard has not reported this one yet.
    pub(super) fn is_pending(&self, ticket: Ticket) -> bool {
        self.pending.contains_key(&ticket)
    }

    /// Keys of the group's offsets that are on their way to the log.
    pub(super) fn offsets_of(&self, partition: i32, group: &str) -> Vec<(Arc<str>, i32)> {
        let pending = self.pending.values().filter(|p| p.partition == partition);
        let keys = pending.flat_map(|p| &p.records).filter_map(|r| Key::parse(&r.key).ok());
        keys.filter_map(|key| match key {
            Key::Offset { group: g, topic, partition } if g == group => {
                Some((topic.into(), partition))
            }
            _ => None,
        })
        .collect()
    }

    /// What ends the topic's offsets that are on their way to the log.
    pub(super) fn tombstones_of(&self, partition: i32, topic: &str) -> Vec<Record> {
        let pending = self.pending.values().filter(|p| p.partition == partition);
        let keys = pending.flat_map(|p| &p.records).filter_map(|r| Key::parse(&r.key).ok());
        let of_topic = |key: &Key<'_>| matches!(key, Key::Offset { topic: t, .. } if *t == topic);
        keys.filter(of_topic).map(|key| key.tombstone()).collect()
    }

    /// Opens a request for several deletions.
    pub(super) fn open_deletions(&mut self, to: R, outcomes: Vec<Result<(), GroupError>>) -> u64 {
        let request = self.next.0;
        self.deletions.insert(request, Deletions { to, outcomes, left: 1 });
        request
    }

    pub(super) fn add_deletion(&mut self, request: u64) {
        if let Some(deletions) = self.deletions.get_mut(&request) {
            deletions.left += 1;
        }
    }

    /// One deletion of the request is over; after the last one it is answered.
    pub(super) fn end_deletion(
        &mut self,
        request: u64,
        failed: Option<(usize, GroupError)>,
        out: &mut Vec<Effect<R>>,
    ) {
        let Some(deletions) = self.deletions.get_mut(&request) else { return };
        if let Some((place, error)) = failed {
            deletions.outcomes[place] = Err(error);
        }
        deletions.left -= 1;
        if deletions.left == 0
            && let Some(Deletions { to, outcomes, .. }) = self.deletions.remove(&request)
        {
            reply(out, Some(to), || Answer::Each(Ok(outcomes)));
        }
    }

    pub(super) fn next_deadline(&self, timeout_ms: i64) -> Moment {
        let first = self.pending.range(self.late..).next();
        first.map_or(Moment::NEVER, |(_, pending)| pending.since.plus_ms(timeout_ms))
    }

    /// The next append that has just become late.
    pub(super) fn overdue(&mut self, now: Moment, timeout_ms: i64) -> Option<Ticket> {
        let (&ticket, pending) = self.pending.range(self.late..).next()?;
        if pending.since.plus_ms(timeout_ms) > now {
            return None;
        }
        self.late = Ticket(ticket.0 + 1);
        Some(ticket)
    }

    /// The partition is gone: whoever waits for it is told, its appends are forgotten.
    pub(super) fn abandon(&mut self, partition: i32, out: &mut Vec<Effect<R>>) {
        let gone: Vec<_> = self.pending.extract_if(.., |_, p| p.partition == partition).collect();
        for (_, pending) in gone {
            match pending.then {
                Then::Each { to, .. } => {
                    reply(out, to, || Answer::Each(Err(GroupError::NotCoordinator)));
                }
                Then::Deletion { request: Some((request, place)), .. } => {
                    self.end_deletion(request, Some((place, GroupError::NotCoordinator)), out);
                }
                _ => {}
            }
        }
    }
}

impl<R> Groups<R> {
    /// The shard knows how an append went. A ticket of a partition that was lost is ignored.
    pub fn on_append(
        &mut self,
        ticket: Ticket,
        result: Result<(), AppendFailure>,
        at: At,
        out: &mut Vec<Effect<R>>,
    ) {
        let Some(pending) = self.shared.appends.pending.remove(&ticket) else { return };
        let Some(entry) = self.partitions.get_mut(&pending.partition) else { return };
        let result = result.map_err(GroupError::from);
        let mut env = Env { shared: &mut self.shared, partition: pending.partition, at, out };
        if result.is_ok() {
            for record in &pending.records {
                let applied =
                    replay(&mut entry.groups, &record.key, record.value.as_deref(), Some(&mut env));
                debug_assert!(applied.is_ok(), "A2: what is written here can be read here");
            }
        }
        finish(pending.then, result, &mut entry.groups, &mut env);
    }

    /// Answers an append that takes too long; its records still count if they are committed later.
    pub(super) fn on_append_late(&mut self, ticket: Ticket, at: At, out: &mut Vec<Effect<R>>) {
        let Some(pending) = self.shared.appends.pending.get_mut(&ticket) else { return };
        let Some(entry) = self.partitions.get_mut(&pending.partition) else { return };
        let partition = pending.partition;
        let mut env = Env { shared: &mut self.shared, partition, at, out };
        let late = Err(GroupError::NotAvailable);
        let Some(pending) = env.shared.appends.pending.get_mut(&ticket) else { return };
        match &mut pending.then {
            Then::Each { to, .. } => {
                let to = to.take();
                finish(Then::Each { to, outcomes: Vec::new() }, late, &mut entry.groups, &mut env);
            }
            // The group stays on its way out until it is certain.
            Then::Deletion { request, .. } => {
                if let Some((request, place)) = request.take() {
                    let late = Some((place, GroupError::NotAvailable));
                    env.shared.appends.end_deletion(request, late, env.out);
                }
            }
            Then::Assignment { .. } | Then::Takeover(_) => {
                let then = mem::replace(&mut pending.then, Then::Nothing);
                finish(then, late, &mut entry.groups, &mut env);
            }
            Then::Nothing => {}
        }
    }
}

fn finish<R>(
    then: Then<R>,
    result: Result<(), GroupError>,
    groups: &mut GroupMap<R>,
    env: &mut Env<'_, R>,
) {
    match then {
        Then::Nothing => {}
        Then::Each { to, outcomes } => {
            reply(env.out, to, || Answer::Each(result.map(|()| outcomes)));
        }
        Then::Assignment { group, generation } => {
            if let (Some(group), Err(error)) = (groups.get_mut(&group), result)
                && (group.state, group.generation) == (State::CompletingRebalance, generation)
            {
                rebalance::refuse_syncs(group, error, env);
                rebalance::prepare_and_append(group, env);
            }
        }
        Then::Takeover(takeover) => {
            if let Some(group) = groups.get_mut(&takeover.group) {
                join::finish_takeover(group, *takeover, result, env);
            }
        }
        Then::Deletion { group, request } => {
            if let (Some(group), Err(_)) = (groups.get_mut(&group), result) {
                group.state = State::Empty;
            }
            if let Some((request, place)) = request {
                let failed = result.err().map(|error| (place, error));
                env.shared.appends.end_deletion(request, failed, env.out);
            }
        }
    }
}

/// Applies one record. Without an `env` the log is being read and the record is the whole truth;
/// with one, the group is live and a record of it only confirms what the group is waiting for.
pub(super) fn replay<R>(
    groups: &mut GroupMap<R>,
    key: &[u8],
    value: Option<&[u8]>,
    env: Option<&mut Env<'_, R>>,
) -> Result<(), RecordError> {
    match (Key::parse(key)?, value) {
        (Key::Offset { group, topic, partition }, Some(value)) => {
            let offset = records::read_offset(value)?;
            let wall = WallMs(offset.commit_ms);
            let group = entry(groups, group, wall);
            group.offsets.entry(topic.into()).or_default().insert(partition, offset);
        }
        (Key::Offset { group, topic, partition }, None) => {
            if let Some(group) = groups.get_mut(group)
                && let Some(partitions) = group.offsets.get_mut(topic)
            {
                partitions.remove(&partition);
                if partitions.is_empty() {
                    group.offsets.remove(topic);
                }
            }
        }
        (Key::Group(group), Some(value)) => {
            let value = records::read_group(value)?;
            match env {
                None => entry(groups, group, WallMs(value.since_ms)).restore(value),
                Some(env) => {
                    if let Some(group) = groups.get_mut(group) {
                        sync::adopt(group, &value, env);
                    }
                }
            }
        }
        (Key::Group(group), None) => {
            groups.remove(group);
        }
        (Key::Other, _) => {}
    }
    Ok(())
}

fn entry<'a, R>(groups: &'a mut GroupMap<R>, id: &str, wall: WallMs) -> &'a mut Group<R> {
    groups.entry(id.into()).or_insert_with_key(|id| Group::new(id.clone(), wall))
}

impl Undo {
    pub(super) fn of<R>(id: Arc<str>, member: &Member<R>) -> Self {
        Self {
            member: id,
            session_timeout_ms: member.session_timeout_ms,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            protocols: member.protocols.clone(),
        }
    }
}
