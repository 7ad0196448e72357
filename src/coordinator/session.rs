//! Sessions: heartbeats keep them, silence and leaving end them.

use std::sync::Arc;

use crate::base::Moment;
use crate::coordinator::appends::Then;
use crate::coordinator::error::GroupError;
use crate::coordinator::group::{Group, Promise, State};
use crate::coordinator::held::Held;
use crate::coordinator::message::{Answer, At, Effect, Leaver, Sender};
use crate::coordinator::records::Record;
use crate::coordinator::timers::{Due, Timer};
use crate::coordinator::{Env, Groups, alive, rebalance, reply};

/// What a promised id takes beside the names in it, with a group that is there for it alone.
const PROMISE_BYTES: usize = 1024;

impl<R> Groups<R> {
    /// A member is alive. [`GroupError::RebalanceInProgress`] tells it to join again.
    ///
    /// # Errors
    /// The member is not in the group or not in its generation; a loading group is taken to be well.
    pub fn heartbeat(&mut self, from: &Sender<'_>, at: At) -> Result<(), GroupError> {
        if from.group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let mut none = Vec::new();
        let (groups, mut env) = match self.seat(from.group, at, &mut none) {
            Ok(seat) => seat,
            Err(GroupError::LoadInProgress) => return Ok(()),
            Err(error) => return Err(error),
        };
        let group = alive(groups, from.group, GroupError::UnknownMemberId)?;
        group.check_member(from.member, from.instance)?;
        group.check_generation(from.generation)?;
        restart(group, from.member, &mut env);
        match group.state {
            State::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Members leave, or are taken out. Answered with [`Answer::Each`].
    pub fn leave(
        &mut self,
        group: &str,
        leavers: &[Leaver<'_>],
        to: R,
        at: At,
        out: &mut Vec<Effect<R>>,
    ) {
        match self.try_leave(group, leavers, at, out) {
            Ok((outcomes, None)) => reply(out, Some(to), || Answer::Each(Ok(outcomes))),
            Ok((outcomes, Some((partition, record)))) => {
                let then = Then::Each { to: Some(to), outcomes };
                self.shared.appends.begin(partition, vec![record], then, at.now, out);
            }
            Err(error) => reply(out, Some(to), || Answer::Each(Err(error))),
        }
    }

    #[allow(clippy::type_complexity, reason = "private, and spelled out where it is used")]
    fn try_leave(
        &mut self,
        group: &str,
        leavers: &[Leaver<'_>],
        at: At,
        out: &mut Vec<Effect<R>>,
    ) -> Result<(Vec<Result<(), GroupError>>, Option<(i32, Record)>), GroupError> {
        if group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let (groups, mut env) = self.seat(group, at, out)?;
        if !groups.contains_key(group) {
            return Ok((vec![Err(GroupError::UnknownMemberId); leavers.len()], None));
        }
        let entry = alive(groups, group, GroupError::UnknownMemberId)?;
        let outcomes: Vec<_> = leavers.iter().map(|l| remove(entry, l, &mut env)).collect();
        let mut record = None;
        if outcomes.iter().any(Result::is_ok) && entry.state != State::Empty {
            record = rebalance::prepare_or_complete(entry, &mut env);
        }
        let partition = env.partition;
        Self::drop_void(groups, group);
        Ok((outcomes, record.map(|record| (partition, record))))
    }
}

fn remove<R>(
    group: &mut Group<R>,
    leaver: &Leaver<'_>,
    env: &mut Env<'_, R>,
) -> Result<(), GroupError> {
    let gone = GroupError::UnknownMemberId;
    if leaver.member.is_empty() {
        let member = leaver.instance.and_then(|i| group.statics.get(i)).cloned().ok_or(gone)?;
        group.remove(&member, gone, env);
        return Ok(());
    }
    if !group.promised.contains_key(leaver.member) {
        group.check_member(leaver.member, leaver.instance)?;
    }
    group.remove(leaver.member, gone, env);
    Ok(())
}

/// Sets the end of a member's session to its full length from now.
pub(super) fn restart<R>(group: &mut Group<R>, id: &str, env: &mut Env<'_, R>) {
    if let Some(member) = group.members.get(id) {
        let length_ms = member.session_timeout_ms;
        restart_for(group, id, length_ms, env);
    }
}

/// Sets the end of a member's session to `length_ms` from now.
pub(super) fn restart_for<R>(group: &mut Group<R>, id: &str, length_ms: i32, env: &mut Env<'_, R>) {
    let Some(member) = group.members.get_mut(id) else { return };
    let due = env.at.now.plus_ms(length_ms.into());
    let key = || Due::Session(env.partition, group.id.clone(), id.into());
    member.session.set(due, &mut env.shared.timers, key);
}

/// Starts the session of a member id that was just handed out.
pub(super) fn promise<R>(group: &mut Group<R>, id: Arc<str>, ms: i32, env: &mut Env<'_, R>) {
    let due = env.at.now.plus_ms(ms.into());
    let key = || Due::Session(env.partition, group.id.clone(), id.clone());
    let mut session = Timer::default();
    session.set(due, &mut env.shared.timers, key);
    let held = Held::new(promise_bytes(&group.id, &id), &env.shared.held);
    group.promised.insert(id, Promise { session, _held: held });
}

/// Memory of a promised id, about.
pub(super) fn promise_bytes(group: &str, id: &str) -> usize {
    PROMISE_BYTES + group.len() + id.len()
}

/// Starts the session of every member of a group that was read from the log, but of those that have been
/// heard of since.
pub(super) fn start_all<R>(group: &mut Group<R>, env: &mut Env<'_, R>) {
    let silent = group.members.iter().filter(|(_, m)| m.join.is_none() && !m.session.is_set());
    for id in silent.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
        restart(group, &id, env);
    }
}

/// The end of a session came up.
pub(super) fn on_due<R>(group: &mut Group<R>, armed: Moment, due: Due, env: &mut Env<'_, R>) {
    let Due::Session(_, _, id) = &due else { return };
    let (id, now) = (id.clone(), env.at.now);
    let record = if let Some(promise) = group.promised.get_mut(&id) {
        if !promise.session.fires(armed, now, &mut env.shared.timers, due) {
            return;
        }
        group.promised.remove(&id);
        complete_if_last(group, env)
    } else {
        let Some(member) = group.members.get_mut(&id) else { return };
        if !member.session.fires(armed, now, &mut env.shared.timers, due) {
            return;
        }
        // Whoever waits for the others is alive; its session starts anew with its answer.
        if !member.is_new && (member.join.is_some() || member.sync.is_some()) {
            return;
        }
        group.remove(&id, GroupError::UnknownMemberId, env);
        match group.state {
            State::Stable | State::CompletingRebalance => rebalance::prepare(group, env),
            _ => complete_if_last(group, env),
        }
    };
    rebalance::append(record, env);
}

/// Someone that the join phase waited for is gone; that can end even the initial one.
fn complete_if_last<R>(group: &mut Group<R>, env: &mut Env<'_, R>) -> Option<Record> {
    let over = group.state == State::PreparingRebalance && group.all_joined();
    if over { rebalance::complete(group, env) } else { None }
}
