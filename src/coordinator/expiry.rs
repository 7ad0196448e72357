//! Offsets that nobody needs any more.
//!
//! | the group is | an offset expires `offsets.retention.minutes` after |
//! |---|---|
//! | empty, with a protocol | the group became empty (or the commit, when the record does not say) |
//! | empty, without a protocol (simple) | its commit |
//! | stable, of consumers whose subscriptions can be read | its commit, if no member reads the topic |
//! | anything else | never |
//!
//! A client of old that named a retention has its own expiry time instead. An empty group that keeps
//! no offset goes too.
//!
//! A group whose offsets take more than one turn goes with a later look, which finds it without any.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::coordinator::Env;
use crate::coordinator::appends::Then;
use crate::coordinator::group::{CommittedOffset, Group, State};
use crate::coordinator::looks::{self, Found, Place};
use crate::coordinator::message::Ticket;
use crate::coordinator::records::Key;

/// Looks at the offsets of a group behind `after`. What was written, and where to go on when there is no
/// more room.
pub(super) fn expire<R>(
    group: &mut Group<R>,
    after: Option<&Place>,
    room: &mut usize,
    env: &mut Env<'_, R>,
) -> (Option<Ticket>, Option<Place>) {
    let mut in_flight = None;
    let is_gone = |topic: &Arc<str>, partition, offset: &CommittedOffset| {
        is_expired(group, topic, offset, env) && {
            let in_flight = in_flight.get_or_insert_with(|| in_flight_of(group, env));
            !in_flight.contains(&(topic.clone(), partition))
        }
    };
    let Found { mut gone, kept, stopped } = looks::find(group, after, room, is_gone);
    env.shared.tally.expirations += gone.len() as u64;
    let is_whole = after.is_none() && stopped.is_none();
    let goes = is_whole && !kept && group.state == State::Empty && group.promised.is_empty();
    let goes = goes && in_flight.unwrap_or_else(|| in_flight_of(group, env)).is_empty();
    let mut then = Then::Nothing;
    if goes {
        gone.push(Key::Group(&group.id).tombstone());
        group.state = State::Dead;
        then = Then::Deletion { group: group.id.clone(), request: None };
    }
    ((!gone.is_empty()).then(|| env.append(gone, then)), stopped)
}

fn in_flight_of<R>(group: &Group<R>, env: &Env<'_, R>) -> BTreeSet<Place> {
    env.shared.appends.offsets_of(env.partition, &group.id).into_iter().collect()
}

fn is_expired<R>(
    group: &Group<R>,
    topic: &Arc<str>,
    offset: &CommittedOffset,
    env: &Env<'_, R>,
) -> bool {
    let (now_ms, retention_ms) = (env.at.wall.0, env.shared.limits.offsets_retention_ms);
    let since_ms = match (group.state, &group.protocol_type) {
        (State::Dead, _) => return false,
        (State::Empty, Some(_)) if group.since_ms >= 0 => group.since_ms,
        (_, None) | (State::Empty, Some(_)) => offset.commit_ms,
        (State::Stable, Some(_)) if group.is_consumer() && group.subscribed.is_some() => {
            offset.commit_ms
        }
        _ => return false,
    };
    if group.is_subscribed_to(topic) {
        return false;
    }
    match offset.expire_ms {
        Some(expire_ms) => now_ms >= expire_ms,
        None => now_ms.saturating_sub(since_ms) >= retention_ms,
    }
}
