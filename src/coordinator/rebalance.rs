//! The join phase: how it starts, what it waits for, how it ends.
//!
//! A join phase ends when every member has joined and every promised member id is used, or when the
//! longest rebalance timeout is over; dynamic members that did not join are then out, static ones
//! stay. The first join phase of an empty group instead lasts `group.initial.rebalance.delay.ms`, and
//! as long again while members keep coming, up to the longest rebalance timeout.
//!
//! Functions that may leave the group empty return the record that says so; the caller appends it,
//! together with its own reply if it has one.

use crate::coordinator::Env;
use crate::coordinator::appends::Then;
use crate::coordinator::error::GroupError;
use crate::coordinator::group::{Group, Initial, State};
use crate::coordinator::message::{Answer, At};
use crate::coordinator::records::Record;
use crate::coordinator::timers::Due;
use crate::coordinator::{reply, session};

/// Pause before a join phase that nobody joined is looked at again, at least.
const RETRY_MIN_MS: i32 = 100;

/// A member came, changed or left: a join phase starts, or the one that runs may be over.
#[must_use]
pub(super) fn prepare_or_complete<R>(group: &mut Group<R>, env: &mut Env<'_, R>) -> Option<Record> {
    match group.state {
        State::Empty | State::CompletingRebalance | State::Stable => prepare(group, env),
        State::PreparingRebalance => complete_if_all_joined(group, env),
        State::Dead => None,
    }
}

/// Ends the join phase if nobody is missing. The initial one runs its time all the same.
#[must_use]
pub(super) fn complete_if_all_joined<R>(
    group: &mut Group<R>,
    env: &mut Env<'_, R>,
) -> Option<Record> {
    let over = group.state == State::PreparingRebalance && group.initial.is_none();
    if over && group.all_joined() { complete(group, env) } else { None }
}

/// Starts a join phase.
#[must_use]
pub(super) fn prepare<R>(group: &mut Group<R>, env: &mut Env<'_, R>) -> Option<Record> {
    if group.state == State::CompletingRebalance {
        refuse_syncs(group, GroupError::RebalanceInProgress, env);
    }
    group.sync_timer.cancel();
    for member in group.members.values_mut() {
        member.owes_sync = false;
    }
    let was_empty = group.state == State::Empty;
    group.move_to(State::PreparingRebalance, env.at.wall);
    if was_empty {
        let delay_ms = env.shared.limits.initial_rebalance_delay_ms;
        let remaining_ms = group.rebalance_timeout_ms().saturating_sub(delay_ms).max(0);
        group.initial = Some(Initial { delay_ms, remaining_ms, newcomer: false });
        wait_for_joins(group, delay_ms, env);
        return None;
    }
    if group.all_joined() {
        return complete(group, env);
    }
    wait_for_joins(group, group.rebalance_timeout_ms(), env);
    None
}

/// [`prepare`], for a caller without a reply of its own.
pub(super) fn prepare_and_append<R>(group: &mut Group<R>, env: &mut Env<'_, R>) {
    let record = prepare(group, env);
    append(record, env);
}

/// Appends the record of an empty generation that nobody waits for.
pub(super) fn append<R>(record: Option<Record>, env: &mut Env<'_, R>) {
    if let Some(record) = record {
        env.append(vec![record], Then::Nothing);
    }
}

/// Ends the join phase.
#[must_use]
pub(super) fn complete<R>(group: &mut Group<R>, env: &mut Env<'_, R>) -> Option<Record> {
    group.join_timer.cancel();
    let absent = group.members.iter().filter(|(_, m)| m.join.is_none() && m.instance.is_none());
    for id in absent.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
        group.remove(&id, GroupError::UnknownMemberId, env);
    }
    if !group.elect() && !group.members.is_empty() {
        let delay_ms = group.rebalance_timeout_ms().max(RETRY_MIN_MS);
        wait_for_joins(group, delay_ms, env);
        return None;
    }
    group.next_generation(env.at.wall);
    if group.state == State::Empty {
        return Some(group.record());
    }
    for id in group.members.keys().cloned().collect::<Vec<_>>() {
        let joined = group.joined(&id);
        if let Some(member) = group.members.get_mut(&id) {
            reply(env.out, member.join.take(), || Answer::Join(id.clone(), Ok(joined)));
            member.is_new = false;
            member.owes_sync = true;
        }
        session::restart(group, &id, env);
    }
    let due = env.at.now.plus_ms(group.rebalance_timeout_ms().into());
    let key = || Due::Sync(env.partition, group.id.clone());
    group.sync_timer.set(due, &mut env.shared.timers, key);
    None
}

/// Takes back what was assigned and answers the syncs that are parked.
pub(super) fn refuse_syncs<R>(group: &mut Group<R>, error: GroupError, env: &mut Env<'_, R>) {
    for id in group.members.keys().cloned().collect::<Vec<_>>() {
        let Some(member) = group.members.get_mut(&id) else { continue };
        member.assignment.clear();
        if let Some(to) = member.sync.take() {
            reply(env.out, Some(to), || Answer::Sync(Err(error)));
            session::restart(group, &id, env);
        }
    }
}

/// The join timer or the sync timer came up.
pub(super) fn on_due<R>(
    group: &mut Group<R>,
    armed: crate::base::Moment,
    due: Due,
    env: &mut Env<'_, R>,
) {
    let At { now, .. } = env.at;
    let record = if matches!(due, Due::Join(..)) {
        if !group.join_timer.fires(armed, now, &mut env.shared.timers, due) {
            return;
        }
        on_join_time(group, env)
    } else {
        if !group.sync_timer.fires(armed, now, &mut env.shared.timers, due) {
            return;
        }
        on_sync_time(group, env)
    };
    append(record, env);
}

fn on_join_time<R>(group: &mut Group<R>, env: &mut Env<'_, R>) -> Option<Record> {
    let full_delay_ms = env.shared.limits.initial_rebalance_delay_ms;
    match &mut group.initial {
        Some(initial) if initial.newcomer && initial.remaining_ms > 0 => {
            let delay_ms = full_delay_ms.min(initial.remaining_ms);
            let remaining_ms = (initial.remaining_ms - initial.delay_ms).max(0);
            *initial = Initial { delay_ms, remaining_ms, newcomer: false };
            wait_for_joins(group, delay_ms, env);
            None
        }
        _ => complete(group, env),
    }
}

/// Members that were told the generation and did not ask for their assignment are out.
fn on_sync_time<R>(group: &mut Group<R>, env: &mut Env<'_, R>) -> Option<Record> {
    let absent = group.members.iter().filter(|(_, m)| m.owes_sync).map(|(id, _)| id.clone());
    let absent: Vec<_> = absent.collect();
    if absent.is_empty() {
        return None;
    }
    for id in absent {
        group.remove(&id, GroupError::UnknownMemberId, env);
    }
    prepare(group, env)
}

fn wait_for_joins<R>(group: &mut Group<R>, delay_ms: i32, env: &mut Env<'_, R>) {
    let due = env.at.now.plus_ms(delay_ms.into());
    let key = || Due::Join(env.partition, group.id.clone());
    group.join_timer.set(due, &mut env.shared.timers, key);
}
