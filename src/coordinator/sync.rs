//! The sync phase: the leader brings the assignment, everyone else waits for it.
//!
//! The assignment counts when its record is committed: only then is the group stable and are the
//! syncs answered. Had a join phase started meanwhile, the record changes nothing.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::DetMap;
use crate::coordinator::appends::Then;
use crate::coordinator::error::GroupError;
use crate::coordinator::group::{Group, State};
use crate::coordinator::message::{Answer, At, Effect, Sync, Synced};
use crate::coordinator::records::{self, GroupValue};
use crate::coordinator::{Env, Groups, alive, reply, session};

impl<R> Groups<R> {
    /// A member asks for its assignment. Answered with [`Answer::Sync`].
    pub fn sync(&mut self, sync: &Sync<'_>, to: R, at: At, out: &mut Vec<Effect<R>>) {
        let mut to = Some(to);
        if let Err(error) = self.try_sync(sync, &mut to, at, out) {
            reply(out, to, || Answer::Sync(Err(error)));
        }
    }

    fn try_sync(
        &mut self,
        sync: &Sync<'_>,
        to: &mut Option<R>,
        at: At,
        out: &mut Vec<Effect<R>>,
    ) -> Result<(), GroupError> {
        let from = &sync.from;
        if from.group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let (groups, mut env) = self.seat(from.group, at, out)?;
        let group = alive(groups, from.group, GroupError::UnknownMemberId)?;
        group.check_member(from.member, from.instance)?;
        group.check_generation(from.generation)?;
        let differs = |asked: Option<&str>, ours: &Option<Arc<str>>| {
            asked.is_some() && ours.is_some() && asked != ours.as_deref()
        };
        if differs(sync.protocol_type, &group.protocol_type)
            || differs(sync.protocol, &group.protocol)
        {
            return Err(GroupError::InconsistentProtocol);
        }
        match group.state {
            State::CompletingRebalance => park(group, sync, to, &mut env),
            State::Stable => {
                let (protocol_type, protocol) =
                    (group.protocol_type.clone(), group.protocol.clone());
                if let Some(member) = group.members.get_mut(from.member) {
                    member.owes_sync = false;
                    let assignment = member.assignment.clone();
                    let synced = Synced { protocol_type, protocol, assignment };
                    reply(env.out, to.take(), || Answer::Sync(Ok(synced)));
                }
            }
            _ => return Err(GroupError::RebalanceInProgress),
        }
        Ok(())
    }
}

fn park<R>(group: &mut Group<R>, sync: &Sync<'_>, to: &mut Option<R>, env: &mut Env<'_, R>) {
    if let Some(member) = group.members.get_mut(sync.from.member) {
        member.owes_sync = false;
        let before = std::mem::replace(&mut member.sync, to.take());
        reply(env.out, before, || Answer::Sync(Err(GroupError::RebalanceInProgress)));
    }
    if !group.is_leader(sync.from.member) || group.assigned {
        return;
    }
    group.assigned = true;
    let assigned: DetMap<&str, &[u8]> = sync.assignments.iter().copied().collect();
    let value = group.value(|id, _| {
        assigned.get(id).map(|bytes| Bytes::copy_from_slice(bytes)).unwrap_or_default()
    });
    let record = records::group_record(&group.id, &value);
    let then = Then::Assignment { group: group.id.clone(), generation: group.generation };
    env.append(vec![record], then);
}

/// The group's record is committed: if it is the assignment that the group waits for, everyone gets
/// theirs.
pub(super) fn adopt<R>(group: &mut Group<R>, value: &GroupValue, env: &mut Env<'_, R>) {
    if (group.state, group.generation) != (State::CompletingRebalance, value.generation) {
        return;
    }
    for given in &value.members {
        if let Some(member) = group.members.get_mut(&given.id) {
            member.assignment = given.assignment.clone();
        }
    }
    for id in group.members.keys().cloned().collect::<Vec<_>>() {
        let Some(member) = group.members.get_mut(&id) else { continue };
        if let Some(to) = member.sync.take() {
            let synced = Synced {
                protocol_type: group.protocol_type.clone(),
                protocol: group.protocol.clone(),
                assignment: member.assignment.clone(),
            };
            reply(env.out, Some(to), || Answer::Sync(Ok(synced)));
            session::restart(group, &id, env);
        }
    }
    group.move_to(State::Stable, env.at.wall);
    env.shared.tally.rebalances += 1;
}
