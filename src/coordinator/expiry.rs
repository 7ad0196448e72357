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
//! A look takes several turns when there is much to look at. The next one waits until what the one before
//! wrote is in the log, so that there is never more of it under way. A group whose offsets take more
//! than one turn goes with a later look, which finds it without any.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use crate::coordinator::appends::Then;
use crate::coordinator::group::{CommittedOffset, Group, State};
use crate::coordinator::message::Ticket;
use crate::coordinator::records::Key;
use crate::coordinator::timers::Due;
use crate::coordinator::{Env, Partition};

/// What one turn looks at: offsets that stay, or as many of the others as cost the same.
const LOOKS_PER_TURN: usize = 512;
/// What a group costs, an offset that goes, and an append.
const GROUP_LOOKS: usize = 4;
const EXPIRED_LOOKS: usize = 4;
const APPEND_LOOKS: usize = 16;
/// From one turn to the next.
const PAUSE: Duration = Duration::from_millis(1);

/// A topic and a partition of it.
type Place = (Arc<str>, i32);

/// Where a look goes on.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Groups before this one are done.
    group: Arc<str>,
    /// Its offsets up to this one are; all of them if there is none.
    offset: Option<Place>,
    /// The last that was written.
    written: Option<Ticket>,
}

/// Looks through some groups of a partition, and sets the time of the next look.
pub(super) fn sweep<R>(partition: &mut Partition<R>, env: &mut Env<'_, R>) {
    let written = partition.sweep.as_ref().and_then(|sweep| sweep.written);
    if !written.is_some_and(|ticket| env.shared.appends.is_pending(ticket)) {
        partition.sweep = step(partition, env);
    }
    let next = match partition.sweep {
        Some(_) => env.at.now + PAUSE,
        None => env.at.now.plus_ms(env.shared.limits.offsets_retention_check_interval_ms),
    };
    partition.expiry.set(next, &mut env.shared.timers, || Due::Expiry(env.partition));
}

/// Looks at as much as a turn may. Where to go on, if there is more.
fn step<R>(partition: &mut Partition<R>, env: &mut Env<'_, R>) -> Option<Sweep> {
    let mut from = partition.sweep.take();
    let begin = match &from {
        Some(Sweep { group, offset: Some(_), .. }) => Included(group.clone()),
        Some(Sweep { group, .. }) => Excluded(group.clone()),
        None => Unbounded,
    };
    let (mut room, mut written) = (LOOKS_PER_TURN, None);
    for (id, group) in partition.groups.range_mut((begin, Unbounded)) {
        let same = from.take().filter(|from| from.group == *id);
        let after = same.and_then(|from| from.offset);
        room = room.saturating_sub(GROUP_LOOKS);
        let (ticket, offset) = expire(group, after.as_ref(), &mut room, env);
        written = ticket.or(written);
        if offset.is_some() || room == 0 {
            return Some(Sweep { group: id.clone(), offset, written });
        }
    }
    None
}

/// Looks at the offsets of a group behind `after`. What was written, and where to go on when there is no
/// more room.
fn expire<R>(
    group: &mut Group<R>,
    after: Option<&Place>,
    room: &mut usize,
    env: &mut Env<'_, R>,
) -> (Option<Ticket>, Option<Place>) {
    let mut in_flight = None;
    let (mut gone, mut kept, mut stopped) = (Vec::new(), false, None);
    for ((topic, partition), offset) in offsets(group, after) {
        let expired = is_expired(group, topic, offset, env) && {
            let in_flight = in_flight.get_or_insert_with(|| in_flight_of(group, env));
            !in_flight.contains(&(topic.clone(), partition))
        };
        if expired {
            gone.push(Key::Offset { group: &group.id, topic, partition }.tombstone());
        }
        kept |= !expired;
        *room = room.saturating_sub(if expired { EXPIRED_LOOKS } else { 1 });
        if *room == 0 {
            stopped = Some((topic.clone(), partition));
            break;
        }
    }
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
    if gone.is_empty() {
        return (None, stopped);
    }
    *room = room.saturating_sub(APPEND_LOOKS);
    (Some(env.append(gone, then)), stopped)
}

/// The offsets of a group behind `after`.
fn offsets<'a, R>(
    group: &'a Group<R>,
    after: Option<&'a Place>,
) -> impl Iterator<Item = ((&'a Arc<str>, i32), &'a CommittedOffset)> {
    let first = after.map_or(Unbounded, |(topic, _)| Included(topic.clone()));
    group.offsets.range((first, Unbounded)).flat_map(move |(topic, offsets)| {
        let same = after.filter(|after| after.0 == *topic);
        let first = same.map_or(Unbounded, |after| Excluded(after.1));
        offsets.range((first, Unbounded)).map(move |(&partition, o)| ((topic, partition), o))
    })
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
