//! Joining: new members, members that come back, and static members that take over their name.
//!
//! A new dynamic member is first only promised its id (KIP-394), so that a client which gives up
//! leaves nothing behind but a session, whose memory is counted with what members say of themselves. A
//! static member (KIP-345) that comes back without its id takes over the place of the one with its
//! instance id; a stable group then stays as it is.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;

use crate::coordinator::appends::{Takeover, Then, Undo};
use crate::coordinator::error::GroupError;
use crate::coordinator::group::{Group, Member, State};
use crate::coordinator::held::Held;
use crate::coordinator::message::{Answer, At, Effect, Join, Joined};
use crate::coordinator::records::STRING_BYTES_MAX;
use crate::coordinator::timers::Timer;
use crate::coordinator::{Env, Groups, alive, rebalance, reply, session};

/// How long a new member may be parked: it knows no member id and can send no heartbeat.
const NEW_MEMBER_WAIT_MS: i32 = 300_000;

/// Why a join is refused, and the member id that the refusal names.
type Refusal = (Arc<str>, GroupError);

impl<R> Groups<R> {
    /// A member joins. Answered with [`Answer::Join`], as a rule when the join phase ends.
    pub fn join(&mut self, join: &Join<'_>, to: R, at: At, out: &mut Vec<Effect<R>>) {
        let mut to = Some(to);
        if let Err((member, error)) = self.try_join(join, &mut to, at, out) {
            reply(out, to, || Answer::Join(member, Err(error)));
        }
    }

    fn try_join(
        &mut self,
        join: &Join<'_>,
        to: &mut Option<R>,
        at: At,
        out: &mut Vec<Effect<R>>,
    ) -> Result<(), Refusal> {
        let refuse = |error| (Arc::from(join.member), error);
        self.check(join).map_err(refuse)?;
        let (groups, mut env) = self.seat(join.group, at, out).map_err(refuse)?;
        if join.member.is_empty() && !groups.contains_key(join.group) {
            let group = Group::new(join.group.into(), at.wall);
            groups.insert(group.id.clone(), group);
        }
        let group = alive(groups, join.group, GroupError::UnknownMemberId).map_err(refuse)?;
        let joined = admit(group, join, to, &mut env);
        Self::drop_void(groups, join.group);
        joined
    }

    /// What can be refused without a look at the group.
    fn check(&self, join: &Join<'_>) -> Result<(), GroupError> {
        if join.group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let (min_ms, max_ms) =
            (self.shared.limits.session_timeout_min_ms, self.shared.limits.session_timeout_max_ms);
        let asked_ms = join.session_timeout_ms;
        if !(min_ms..=max_ms).contains(&asked_ms) {
            return Err(GroupError::InvalidSessionTimeout { asked_ms, min_ms, max_ms });
        }
        let says: usize = join.protocols.iter().map(|(_, metadata)| metadata.len()).sum();
        let promise = || session::promise_bytes(join.group, join.client_id);
        let comes = says + if is_promised(join) { promise() } else { 0 };
        if self.size_bytes() + comes > self.shared.limits.metadata_bytes_max {
            return Err(GroupError::NotAvailable);
        }
        let names = [join.group, join.member, join.client_id, join.client_host, join.protocol_type]
            .into_iter()
            .chain(join.instance)
            .chain(join.protocols.iter().map(|(name, _)| *name));
        // What a member id adds to the client id or instance id it is made of.
        let limit_bytes = STRING_BYTES_MAX - "-00000000-0000-0000-0000-000000000000".len();
        match names.map(str::len).max() {
            Some(bytes) if bytes > limit_bytes => {
                Err(GroupError::NameTooLong { bytes, limit_bytes })
            }
            _ => Ok(()),
        }
    }
}

fn admit<R>(
    group: &mut Group<R>,
    join: &Join<'_>,
    to: &mut Option<R>,
    env: &mut Env<'_, R>,
) -> Result<(), Refusal> {
    let limit = env.shared.limits.size_max;
    if !has_room(group, join.member, limit) {
        group.remove(join.member, GroupError::UnknownMemberId, env);
        let record = rebalance::complete_if_all_joined(group, env);
        rebalance::append(record, env);
        return Err((Arc::default(), GroupError::GroupMaxSizeReached { limit }));
    }
    if !group.supports(join.protocol_type, &join.protocols) {
        return Err((join.member.into(), GroupError::InconsistentProtocol));
    }
    if !join.member.is_empty() {
        return admit_known(group, join, to, env).map_err(|error| (join.member.into(), error));
    }
    let id = env.shared.ids.next(join.instance.unwrap_or(join.client_id));
    let holder = join.instance.and_then(|instance| group.statics.get(instance)).cloned();
    match (join.instance, holder) {
        (Some(_), Some(holder)) => take_over(group, join, &holder, id, to, env),
        (None, _) if is_promised(join) => {
            session::promise(group, id.clone(), join.session_timeout_ms, env);
            return Err((id, GroupError::MemberIdRequired));
        }
        _ => add(group, join, id, to, env),
    }
    Ok(())
}

/// Whether the member is first told an id.
fn is_promised(join: &Join<'_>) -> bool {
    join.member_id_required && join.member.is_empty() && join.instance.is_none()
}

/// During a join phase those that have joined count, so that a group which is over the limit drops
/// the members that come last.
fn has_room<R>(group: &Group<R>, member: &str, limit: usize) -> bool {
    match group.state {
        State::Empty | State::Dead => true,
        State::PreparingRebalance => {
            let waits = group.members.get(member).is_some_and(|m| m.join.is_some());
            waits || group.awaiting_join() < limit
        }
        State::CompletingRebalance | State::Stable => {
            group.members.contains_key(member) || group.members.len() < limit
        }
    }
}

/// A join with a member id.
fn admit_known<R>(
    group: &mut Group<R>,
    join: &Join<'_>,
    to: &mut Option<R>,
    env: &mut Env<'_, R>,
) -> Result<(), GroupError> {
    if join.instance.is_none() && group.promised.contains_key(join.member) {
        add(group, join, join.member.into(), to, env);
        return Ok(());
    }
    group.check_member(join.member, join.instance)?;
    let unchanged =
        group.members.get(join.member).is_some_and(|m| m.has_protocols(&join.protocols));
    let is_leader = group.is_leader(join.member);
    match group.state {
        // The answer to its first join was lost.
        State::CompletingRebalance if unchanged => {}
        State::Stable if unchanged && !is_leader => {}
        _ => {
            park(group, join, join.member, to, env);
            let record = rebalance::prepare_or_complete(group, env);
            rebalance::append(record, env);
            return Ok(());
        }
    }
    let joined = group.joined(join.member);
    reply(env.out, to.take(), || Answer::Join(join.member.into(), Ok(joined)));
    Ok(())
}

/// Takes the member's word for its protocols and timeouts, and parks its request.
fn park<R>(
    group: &mut Group<R>,
    join: &Join<'_>,
    id: &str,
    to: &mut Option<R>,
    env: &mut Env<'_, R>,
) {
    let Some(member) = group.members.get_mut(id) else { return };
    member.protocols = protocols(join, &env.shared.held);
    member.rebalance_timeout_ms = join.rebalance_timeout_ms;
    member.session_timeout_ms = join.session_timeout_ms;
    let before = std::mem::replace(&mut member.join, to.take());
    reply(env.out, before, || Answer::Join(id.into(), Err(GroupError::RebalanceInProgress)));
}

fn add<R>(
    group: &mut Group<R>,
    join: &Join<'_>,
    id: Arc<str>,
    to: &mut Option<R>,
    env: &mut Env<'_, R>,
) {
    let member = Member {
        instance: join.instance.map(Into::into),
        client_id: join.client_id.into(),
        client_host: join.client_host.into(),
        session_timeout_ms: join.session_timeout_ms,
        rebalance_timeout_ms: join.rebalance_timeout_ms,
        protocols: protocols(join, &env.shared.held),
        assignment: Bytes::new(),
        session: Timer::default(),
        is_new: true,
        owes_sync: false,
        join: to.take(),
        sync: None,
    };
    if let Some(initial) = &mut group.initial {
        initial.newcomer = true;
    }
    group.insert(id.clone(), member, join.protocol_type);
    session::restart_for(group, &id, NEW_MEMBER_WAIT_MS, env);
    let record = rebalance::prepare_or_complete(group, env);
    rebalance::append(record, env);
}

/// A static member comes back: `holder` has its place now.
fn take_over<R>(
    group: &mut Group<R>,
    join: &Join<'_>,
    holder: &Arc<str>,
    id: Arc<str>,
    to: &mut Option<R>,
    env: &mut Env<'_, R>,
) {
    let leader = group.leader.clone().unwrap_or_default();
    let Some(undo) = group.members.get(holder).map(|m| Undo::of(holder.clone(), m)) else { return };
    rename(group, holder, id.clone(), env);
    park(group, join, &id, to, env);
    session::restart(group, &id, env);
    let record = match group.state {
        State::Stable if group.vote() == group.protocol => {
            let takeover = Takeover {
                group: group.id.clone(),
                generation: group.generation,
                member: id,
                leader,
                can_skip_assignment: join.can_skip_assignment,
                undo,
            };
            env.append(vec![group.record()], Then::Takeover(Box::new(takeover)));
            None
        }
        // An old id may already be with the leader: everyone joins again.
        State::Stable | State::CompletingRebalance => rebalance::prepare(group, env),
        _ => rebalance::complete_if_all_joined(group, env),
    };
    rebalance::append(record, env);
}

/// Gives a static member another id. Whatever the old one has parked is fenced.
fn rename<R>(group: &mut Group<R>, old: &Arc<str>, new: Arc<str>, env: &mut Env<'_, R>) {
    const FENCED: GroupError = GroupError::FencedInstanceId;
    let Some(mut member) = group.members.remove(old) else { return };
    reply(env.out, member.join.take(), || Answer::Join(old.clone(), Err(FENCED)));
    reply(env.out, member.sync.take(), || Answer::Sync(Err(FENCED)));
    (member.session, member.is_new) = (Timer::default(), false);
    if group.leader.as_ref() == Some(old) {
        group.leader = Some(new.clone());
    }
    if let Some(instance) = &member.instance {
        group.statics.insert(instance.clone(), new.clone());
    }
    group.members.insert(new, member);
}

/// The record of a takeover is committed, or will not be. If a join phase has started meanwhile, the
/// member takes part in it and is answered with the others.
pub(super) fn finish_takeover<R>(
    group: &mut Group<R>,
    takeover: Takeover,
    result: Result<(), GroupError>,
    env: &mut Env<'_, R>,
) {
    let Takeover { generation, member: id, leader, can_skip_assignment, undo, .. } = takeover;
    if (group.state, group.generation) != (State::Stable, generation) {
        return;
    }
    let Some(member) = group.members.get_mut(&id) else { return };
    let Some(to) = member.join.take() else { return };
    if let Err(error) = result {
        member.protocols = undo.protocols;
        member.session_timeout_ms = undo.session_timeout_ms;
        member.rebalance_timeout_ms = undo.rebalance_timeout_ms;
        rename(group, &id, undo.member.clone(), env);
        session::restart(group, &undo.member, env);
        // A record that was written meanwhile may have the new id.
        env.append(vec![group.record()], Then::Nothing);
        reply(env.out, Some(to), || Answer::Join(Arc::default(), Err(error)));
        return;
    }
    let mut joined = group.joined(&id);
    if can_skip_assignment {
        joined.skip_assignment = group.is_leader(&id);
    } else {
        // Before v9 a leader cannot be told to skip the assignment, so it is told of another one.
        joined = Joined { leader, members: Vec::new(), ..joined };
    }
    reply(env.out, Some(to), || Answer::Join(id, Ok(joined)));
}

fn protocols(join: &Join<'_>, held: &Arc<AtomicUsize>) -> Vec<(Arc<str>, Bytes)> {
    let own = |(name, metadata): &(&str, &[u8])| {
        let held = Held::new(metadata.len(), held);
        let metadata = Metadata { bytes: metadata.to_vec(), _held: held };
        (Arc::from(*name), Bytes::from_owner(metadata))
    };
    join.protocols.iter().map(own).collect()
}

/// What a member says of itself, counted for as long as anybody holds it.
struct Metadata {
    bytes: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Metadata {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
